"""Keep versions of some weights and buffers for each task: the base class of methods that isolate parameters.

Letters: B samples of a batch, P weights, n weights of a version.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from clbench.core.errors import Refused
from clbench.strategies.part import Part

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from clbench.training.learner import ExperienceView, Learner, Output


@dataclass(kw_only=True)
class Bank(Part):
    """Keep a version of some weights and buffers for each task, and predict each sample with the version of its task.

    A subclass says which weights (:meth:`private`) and buffers (:meth:`private_buffers`) each task has for itself. The
    running task uses the live weights of the model; its version is stored when its experience ends, after the parts
    that move weights there. A task that returns begins from its version. All other weights are shared: a version runs
    with their current values.

    In evaluations the samples are grouped by their task labels, and each group passes once. A task that was not met yet
    uses the live weights.

    Replayed samples are in the batch of the running task, and pass through its live weights like all samples of a step.
    So they train the shared weights and the version of the running task, never a stored version.

    ``state["task"]`` is the task whose weights are live, ``state["versions"]`` maps a task to its version: ``w``, (n,)
    weights in the order of the flat weights, and ``buffers`` by name.
    """

    random_stream: ClassVar[str] = "Bank"
    needs: ClassVar[frozenset[str]] = frozenset({"task_labels", "boundaries", "single_tasks"})
    conflicts: ClassVar[dict[str, str]] = dict.fromkeys(
        ("Merged", "Accumulated"),
        "the first has weights for each task, and the second learns all tasks in one experience",
    )

    # ------------------------------------------------------------------ what a subclass defines

    def private(self, learner: Learner, task: int) -> Tensor:
        """Return (P,) bool, the weights of which a task has a version; the same at every call in a run."""
        raise NotImplementedError

    def private_buffers(self, learner: Learner) -> tuple[str, ...]:
        """Return the names of the buffers of which each task has a version; by default those of all norm layers."""
        return norm_buffers(learner)

    def start_task(self, learner: Learner, task: int) -> None:
        """Set the live weights with which a new task begins; by default, they stay those of the task before it."""

    def enter_task(self, learner: Learner, experience: ExperienceView, task: int) -> None:
        """Act when a task begins or returns and its weights are live, such as to freeze the shared weights."""

    def leave_task(self, learner: Learner, task: int) -> None:
        """Act when an experience of a task ends, before its version is stored."""

    def complete(self, learner: Learner, task: int, w: Tensor) -> None:
        """Change, in place, the weights (P,) with which a stored version predicts: a mask, for example.

        They are a copy that holds the shared weights and the version.
        """

    # ------------------------------------------------------------------ hooks

    def begin_experience(self, learner: Learner, experience: ExperienceView) -> None:
        task = task_of(experience, self.title)
        self.state["task"] = task
        version = self.state.setdefault("versions", {}).get(task)
        if version is None:
            self.start_task(learner, task)
        else:
            learner.w.data[self._places(learner, task)] = version["w"]
            buffers = dict(learner.model.named_buffers())
            for name, kept in version["buffers"].items():
                buffers[name].copy_(kept)
        self.enter_task(learner, experience, task)

    def end_experience(self, learner: Learner, experience: ExperienceView) -> None:
        task = task_of(experience, self.title)
        self.leave_task(learner, task)
        places, buffers = self._places(learner, task), dict(learner.model.named_buffers())
        heads = int(learner.head_mask[places].sum())
        learner.cost.task_weights, learner.cost.task_head_weights = len(places) - heads, heads
        self.state["versions"][task] = {
            "w": learner.w.detach()[places],  # (n,) a copy
            "buffers": {name: buffers[name].clone() for name in self.private_buffers(learner)},
        }

    def answer(self, learner: Learner, x: Tensor, task: Tensor | None) -> Output:
        assert task is not None  # the cell is skipped without task labels
        return by_task(x, task, lambda own, label: self._predict(learner, own, label))

    # ------------------------------------------------------------------ versions

    def _predict(self, learner: Learner, x: Tensor, task: int) -> Output:
        """Return the model's output under the version of one task."""
        from torch.func import functional_call

        output: Output
        if task == self.state.get("task") or task not in self.state.get("versions", {}):
            output = learner.model(x)
            return output
        key = f"bank/{self.twin}/{task}"
        if key not in learner.scratch:  # once per evaluation
            learner.scratch[key] = self._tensors(learner, task)
        output = functional_call(learner.model, learner.scratch[key], (x,))
        return output

    def _tensors(self, learner: Learner, task: int) -> dict[str, Tensor]:
        """Return the weights and buffers of a stored version by name, with the shared weights as they are now."""
        version, w = self.state["versions"][task], learner.w.detach().clone()
        w[self._places(learner, task)] = version["w"]
        self.complete(learner, task, w)
        shapes = {name: p.shape for name, p in learner.model.named_parameters() if name in learner.slices}
        tensors = {name: w[learner.slices[name]].view(shape) for name, shape in shapes.items()}
        return {**tensors, **version["buffers"]}

    def _places(self, learner: Learner, task: int) -> Tensor:
        """Return the places (n,) int64 of a task's own weights."""
        known: dict[int, Tensor] = self.__dict__.setdefault("_known_places", {})
        if task not in known:
            known[task] = self.private(learner, task).nonzero()[:, 0]
        return known[task]


# ---------------------------------------------------------------------------------------- what subclasses may use


def by_task(x: Tensor, task: Tensor, run: Callable[[Tensor, int], Output]) -> Output:
    """Return the output for samples of several tasks, of which each is passed once, with the samples of its task.

    Gradients flow through it.

    Args:
        x: (B, ...) inputs.
        task: (B,) their task labels.
        run: From the inputs of one task and its label to their output.
    """
    import torch

    from clbench.training.batch import ON_HOST

    known = getattr(task, ON_HOST, None)
    if known is None:
        found, counts = (each.tolist() for each in torch.unique_consecutive(task, return_counts=True))
    else:
        found, counts = _runs(known())
    if len(found) == 1:
        return run(x, found[0])
    if len(set(found)) < len(found):  # the samples of a task are not adjacent
        order = torch.argsort(task, stable=True)
        sorted_output = by_task(x[order], task[order], run)
        back = torch.argsort(order)
        return type(sorted_output)(sorted_output.logits[back], sorted_output.features[back])
    outputs = [run(own, label) for own, label in zip(x.split(counts), found, strict=True)]
    return type(outputs[0])(torch.cat([o.logits for o in outputs]), torch.cat([o.features for o in outputs]))


def _runs(values: NDArray[Any]) -> tuple[list[int], list[int]]:
    """Return the values (n,) without neighbours that are equal, and how many of each stand together."""
    import numpy as np

    starts = np.flatnonzero(np.diff(values, prepend=values[0] - 1))
    return values[starts].tolist(), np.diff(starts, append=len(values)).tolist()


def task_of(experience: ExperienceView, title: str) -> int:
    """Return the task label of an experience.

    Args:
        experience: All of its samples are of one task.
        title: The name of the part, for messages.

    Raises:
        Refused: It holds samples of several tasks.
    """
    from clbench.training.batch import TASK

    tasks = experience.index[TASK].unique().tolist()
    if len(tasks) > 1:
        raise Refused(
            f"{title} keeps weights for each task, and experience {experience.id} holds samples of tasks "
            f"{', '.join(map(str, tasks))}; choose a stream in which each experience holds one task, without joint"
        )
    return int(tasks[0])


def norm_weights(learner: Learner) -> Tensor:
    """Return (P,) bool, the weights and biases of all norm layers."""
    from clbench.models import weight_groups

    found = weight_groups.layers(learner.model, learner.slices)
    return weight_groups.mask([layer for layer in found if layer.kind == "norm"], learner.w)


def norm_buffers(learner: Learner) -> tuple[str, ...]:
    """Return the names of the running statistics of all norm layers, and their counts of batches."""
    from clbench.models.weight_groups import NORMS

    named = learner.model.named_modules()
    return tuple(f"{path}.{name}" for path, m in named if isinstance(m, NORMS) for name, _ in m.named_buffers())


def task_heads(learner: Learner, task: int) -> Tensor:
    """Return (P,) bool, the weights and biases of the last layer for the classes of a task."""
    import torch

    label = torch.tensor([task], device=learner.device)
    own = learner.classes.mask_of_tasks(label).competes
    units = torch.ones_like(learner.classes.seen) if own is None else own.reshape(-1)
    mask, head = torch.zeros_like(learner.w, dtype=torch.bool), getattr(learner.model, "head", None)
    mine = set() if head is None else {id(p) for p in head.parameters()}
    for name, parameter in learner.model.named_parameters():
        if name in learner.slices and id(parameter) in mine:
            each = parameter.shape[:1] == units.shape  # a scale serves all classes
            rows = units.reshape(-1, *(1 for _ in parameter.shape[1:])) if each else units.all()
            mask[learner.slices[name]] = rows.expand(parameter.shape).reshape(-1)
    return mask

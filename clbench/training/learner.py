"""What learns: model, weights as one vector, optimiser, memory and the side work that parts may ask for."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from clbench.benchmark.schema import Training
from clbench.core.cost import Cost
from clbench.core.global_rng import set_torch_states, torch_states
from clbench.core.rng import Generator
from clbench.core.types import Experience, Index, Stream
from clbench.families.class_mask import ClassMask
from clbench.models.flat_weights import flatten
from clbench.models.output import Output
from clbench.models.side_effects import draws
from clbench.training import optimizers
from clbench.training.arrivals import Arrivals
from clbench.training.batch import ROW, VIEW, Batch
from clbench.training.competing_classes import CompetingClasses
from clbench.training.device_rows import Resident
from clbench.training.head_weights import HeadWeights
from clbench.training.memory import Memory
from clbench.training.objective import task_loss
from clbench.training.passes import fewest_rows
from clbench.training.probe import Probe
from clbench.training.side_work import SideWork, Terms

OWN_MASKS = UNSEEN, IDLE = ("unseen heads", "idle heads")
"""Names of the masks that the learner sets itself."""

__all__ = ["Diverged", "ExperienceView", "Learner", "Output", "task_loss"]

INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}
"""By the bytes of a floating number."""


@dataclass(frozen=True, eq=False)
class ExperienceView:
    """What a strategy may know of the running experience. Hidden things are absent.

    Args:
        index: (5, N) index matrix of its rows.
        id: Its number, ``None`` where boundaries are hidden.
    """

    index: Tensor
    id: int | None

    def __len__(self) -> int:
        return self.index.shape[1]


class Diverged(Exception):
    """Something that has to be finite is not; the run ends.

    Args:
        step: Where it showed, in optimiser steps.
        what: What it was.
    """

    def __init__(self, step: int, what: str = "the model's outputs are not finite after") -> None:
        super().__init__(f"{what} step {step}; a smaller learning rate or strength may help")
        self.step = step


class Learner(SideWork):
    """A model with its flat weights and all that a strategy may use.

    What parts may ask for beside the steps stands in :class:`clbench.training.side_work.SideWork`.

    Args:
        model: Returns :class:`Output`; on its device, freshly initialised.
        training: Batch size, optimiser and longest gradient.
        stream: The stream it will learn; only what the stream reveals can be reached through the learner.
        train: The training rows, resident.
        memory: The run's memory.
        seed: The run's seed.
        separate_heads: Whether a task's part of the head stands still while only other tasks are learned; matters for
            optimisers with memory, where task labels are revealed.

    Attributes:
        classes: Which classes compete, and which were seen; see
            :class:`clbench.training.competing_classes.CompetingClasses`.
        batch_size: B, rows of the stream per step.
        clip_norm: Longest gradient that :meth:`apply` takes, by Euclidean norm over the weights that move; ``None``
            for no limit.
        w, g: (P,) flat weights and gradients; see :class:`clbench.models.flat_weights.Flat`.
        frozen: (P,) bool, weights that :meth:`apply` must not move; ``None`` for none.
        experience: Number of the running experience, ``None`` where boundaries are hidden.
        length: Experiences of the stream, and ``total_steps`` its optimiser steps; ``None`` where that is not revealed,
            and the first also where boundaries are hidden.
        probe: Takes the gradient apart at chosen steps, where that was asked for.
        family: The family of tasks of the stream.
        hooks: The strategy at work, for :meth:`loss`.
        fewest: Fewest rows that a step of the model can learn from; see ``clbench.training.passes``.
        reader: What reads out in the model's place, where a part does so.
        draws_globally: Whether the model draws from Python's or NumPy's global generator.
        steps_itself: Whether a part takes the steps, with gradients of its own.
        others: Optimisers that were given out to a part with a step of its own.
        scratch: What parts worked out for the look that is running, such as class means; every look begins with none.
    """

    def __init__(
        self,
        model: nn.Module,
        training: Training,
        *,
        stream: Stream,
        train: Resident,
        memory: Memory,
        seed: int,
        separate_heads: bool = False,
    ) -> None:
        self.model = model
        self.flat = flatten(model)
        self.w, self.g, self.slices = self.flat.w, self.flat.g, self.flat.slices
        self._training = training
        self.optimizer = optimizers.optimizer(training, [self.w])
        self.steps_itself = False
        self.others: list[torch.optim.Optimizer] = []
        self.separate_heads = separate_heads
        self.clip_norm = training.clip_norm
        self._rates = [group["lr"] for group in self.optimizer.param_groups]
        self.memory = memory
        self.batch_size = training.batch_size
        self.n_outputs = stream.n_outputs
        self.device = self.w.device
        self.cost = Cost(weights=self.w.numel())
        self.experience: int | None = None
        self.length: int | None = None
        self.total_steps: int | None = None
        self.hooks: Terms | None = None
        self.predictors: tuple[Any, ...] = ()
        self.reader: Callable[[Learner, Tensor, Tensor | None], Output] | None = None
        self.scratch: dict[str, Any] = {}
        self.probe: Probe | None = None
        self._losses: list[tuple[int, Tensor]] = []
        self._order = Generator(seed, "order")
        self._stream, self._train, self.family = stream, train, train.family
        self.classes = CompetingClasses(stream, self.device, has_classes=self.family.has_classes)
        labels = self.n_outputs if self.family.has_classes else stream.dataset.n_classes
        self._arrivals = Arrivals(labels, len(stream.tasks))
        self._heads = HeadWeights(model, self.flat)
        self._masks: dict[str, Tensor] = {}
        self._bits = (torch.empty(0), 0, torch.empty(0))
        self.modules = tuple(model.modules())
        self.buffers = tuple(model.buffers())
        self.fewest = fewest_rows(model, stream.dataset.shape, self.device)
        self.draws_globally = draws(model)

    # ------------------------------------------------------------------ experiences and batches

    def enter(self, experience: Experience) -> ExperienceView:
        """Make an experience's rows the current ones.

        Where its boundary is visible its classes count as seen from here on; where it is hidden, see :meth:`meet`.
        """
        stream, n = self._stream, len(experience)
        labels = stream.labels(stream.dataset.train, experience.rows, experience.view)
        rows, y = torch.from_numpy(experience.rows), torch.from_numpy(labels)
        task = experience.task if stream.task_labels else -1  # what is hidden is not in the index either
        number = experience.id if experience.boundary else -1
        columns = [rows, y, *(torch.as_tensor(c).expand(n) for c in (task, experience.view, number))]
        self.experience = experience.id if experience.boundary else None
        self._arrivals.enter(experience, labels)
        self.classes.see(experience.classes if experience.boundary else (), inside=False)
        self._freeze_unseen_heads()
        if self.probe is not None:
            self.probe.enter(experience.id)
        self.flat.check(self.model, gradients=not self.steps_itself)
        return ExperienceView(torch.stack(columns).to(self.device), self.experience)

    def go_on(self, stream: Stream, train: Resident) -> None:
        """From here on learn another stream with the same outputs, whose rows lie elsewhere; nothing else changes."""
        self._stream, self._train = stream, train

    def arriving(self, order: Tensor, spans: Sequence[tuple[int, int]]) -> dict[int, tuple[Index, Index]]:
        """The batches ``spans`` of a pass in this order (n,) with which classes or tasks arrive, for the loop alone:
        place of the first row -> what :meth:`meet` takes."""
        return self._arrivals.batches(lambda: order.cpu().numpy(), spans)

    def meet(self, arrivals: tuple[Index, Index], step: int) -> None:
        """Classes and tasks arrive with the batch to come, behind so many steps of the stream.

        Where the boundary of the running experience is hidden, that is when a class counts as seen and competes.
        """
        units, tasks = arrivals
        self._arrivals.note(units, tasks, step)
        if self.experience is None and len(units):
            self.classes.see(units.tolist(), inside=True)
            self._freeze_unseen_heads()

    @property
    def first_met(self) -> Index:
        """(C,) steps of the stream done before the first batch that held a row of each output unit, -1 for none."""
        return self._arrivals.met[: None if self.family.has_classes else 0].copy()

    @property
    def first_counted(self) -> Index:
        """(T,) steps done before the first batch that held a row of each task, where boundaries are hidden; (0,) where
        none is, and tasks count from the beginning of their experience."""
        return self._arrivals.counted[: None if self._arrivals.hides else 0].copy()

    def order(self, n: int, *, shuffled: bool = True) -> Tensor:
        """A fresh random order of n rows, (n,), from the generator for orders; else the order they have."""
        if not shuffled:
            return torch.arange(n, device=self.device)
        return torch.from_numpy(self._order.permutation(n)).to(self.device)

    def batch(self, index: Tensor, *, first_pass: bool = True) -> Batch:
        """A batch of the rows of an index matrix (5, B)."""
        return Batch(
            index,
            gather=self._train.gather,
            class_mask=self.classes.mask,
            targets=self._train.targets,
            family=self.family,
            first_pass=first_pass,
            task_labels=self.classes.task_labels,
        )

    def raw(self, index: Tensor) -> Tensor:
        """Inputs (n, ...) of the rows of an index matrix (5, n), un-augmented."""
        return self._train.present(index[ROW], index[VIEW])

    # ------------------------------------------------------------------ steps

    def note_loss(self, loss: Tensor, step: int) -> None:
        """Take notice of a step's loss, a scalar.

        Raises:
            Diverged: It is not finite; on a GPU :meth:`check_losses` says so later, without a wait at every step.
        """
        if self.device.type == "cpu":
            if not math.isfinite(loss.item()):
                raise Diverged(step, "the loss is not finite at")
        else:
            self._losses.append((step, loss.detach()))

    def check_losses(self) -> None:
        """Look at the losses noted since the last time.

        Raises:
            Diverged: One of them is not finite.
        """
        losses, self._losses = self._losses, []
        if losses:
            wrong = (~torch.stack([loss for _, loss in losses]).isfinite()).nonzero()
            if len(wrong):
                raise Diverged(losses[int(wrong[0])][0], "the loss is not finite at")

    def freeze(self, name: str, mask: Tensor | None) -> None:
        """Hold the weights where ``mask`` (P,) is true, until the same name is given ``None``; masks add up."""
        if mask is None:
            self._masks.pop(name, None)
        else:
            self._masks[name] = mask

    def _freeze_unseen_heads(self) -> None:
        """Hold the head weights of classes not seen so far, where weight decay would drift them."""
        decays = any(group.get("weight_decay") for group in self.optimizer.param_groups)
        self.freeze(UNSEEN, self._heads.serving(~self.classes.seen) if decays and self.classes.restricted else None)

    def hold_idle_heads(self, batch: Batch) -> None:
        """With separate heads: hold those that no row of the batch may use, against momentum left from before."""
        if self.separate_heads:
            used = batch.class_mask.classes()
            if used is not None and batch.also_trained is not None:
                used = used | batch.also_trained
            self.freeze(IDLE, None if used is None else self._heads.serving(~used))

    @property
    def head_mask(self) -> Tensor:
        """(P,) bool, the weights of the model's last layer."""
        return self._heads.serving(torch.ones_like(self.classes.seen))

    @property
    def holds(self) -> tuple[object, ...]:
        """What is held still, as an outline: equal where no mask and no module's mode has been changed."""
        masks = tuple((name, id(mask)) for name, mask in self._masks.items() if name not in OWN_MASKS)
        return (*masks, *(module.training for module in self.modules))

    @property
    def frozen(self) -> Tensor | None:
        masks = list(self._masks.values())
        if not masks:
            return None
        return masks[0] if len(masks) == 1 else torch.stack(masks).any(0)

    @property
    def lr(self) -> float:
        """The learning rate of the step to come, as the benchmark's schedule has it."""
        return float(self.optimizer.param_groups[0]["lr"])

    @property
    def base_lr(self) -> float:
        """The benchmark's learning rate before its schedule: what a loop of a part's own begins with."""
        return float(self._rates[0])

    def scale_lr(self, factor: float) -> None:
        """Set the learning rate to so many times the benchmark's."""
        for optimizer in (self.optimizer, *self.others):
            for group, rate in zip(optimizer.param_groups, self._rates, strict=True):
                group["lr"] = factor * rate

    def reset_optimizer(self) -> None:
        """Forget momentum and moments."""
        for optimizer in (self.optimizer, *self.others):
            optimizer.state.clear()

    def another_optimizer(self) -> torch.optim.Optimizer:
        """The benchmark's optimiser over the model's parameters one by one, for a part with a step of its own; its
        learning rate follows the benchmark's schedule."""
        made = optimizers.optimizer(self._training, list(self.flat.parameters))
        self.others.append(made)
        return made

    def apply(self, optimizer: torch.optim.Optimizer | None = None) -> None:
        """One optimiser step; frozen weights, their momentum and their moments stay as they are."""
        optimizer, frozen = optimizer or self.optimizer, self.frozen
        self.cost.steps += 1
        if self.clip_norm is not None:
            self.clip(self.clip_norm)
        if frozen is None:
            optimizer.step()
            return
        before = {name: t.clone() for name, t in self._held(optimizer)}
        optimizer.step()
        for name, tensor in self._held(optimizer):
            kept = self._all_bits(frozen, INTEGERS[tensor.element_size()])
            now = tensor.view(kept.dtype)
            old = before[name].view(kept.dtype) if name in before else 0  # a moment that this step created
            now.bitwise_xor_((now ^ old).bitwise_and_(kept))  # far quicker than a choice by a mask without order

    def _all_bits(self, mask: Tensor, dtype: torch.dtype) -> Tensor:
        """All bits where a mask (P,) is true and none elsewhere, as integers; made anew where the mask is another."""
        known, version, bits = self._bits
        if known is not mask or version != mask._version or bits.dtype != dtype:
            bits = mask.to(dtype).neg_()
            self._bits = (mask, mask._version, bits)
        return bits

    def _held(self, optimizer: torch.optim.Optimizer) -> list[tuple[str, Tensor]]:
        """Weights and the optimiser's tensors of the same shape, by name."""
        state = {"w": self.w.data, **optimizer.state.get(self.w, {})}
        return [(name, t) for name, t in state.items() if isinstance(t, Tensor) and t.shape == self.w.shape]

    # ------------------------------------------------------------------ prediction

    def output(self, x: Tensor, task: Tensor | None) -> Output:
        """What it makes of inputs (B, ...): the model's output, or that of a part that reads out by itself.

        Args:
            x: The inputs.
            task: (B,) task labels where the stream reveals them.
        """
        return self.model(x) if self.reader is None else self.reader(self, x, task)

    def predict(self, output: Output, task: Tensor | None) -> Tensor:
        """Scores (B, C) of all classes in evaluation: what parts make of the logits.

        Args:
            output: The model's.
            task: (B,) task labels where the stream reveals them.
        """
        scores = output.logits
        for act in self.predictors:
            scores = act(self, output, task, scores)
        return scores

    def class_mask(self, task: Tensor) -> ClassMask:
        """Return the class mask of evaluation rows of some tasks (B,)."""
        return self.classes.mask_of_tasks(task)

    @property
    def class_mask_changes(self) -> int:
        """A count that rises whenever the class mask changes inside an experience."""
        return self.classes.changes

    def standing(self) -> object:
        """What predictions depend on beside weights, inputs and the classes that compete: whatever a part that reads
        out may read of the learner and that changes where an experience begins."""
        if not self.predictors and self.reader is None:
            return None
        return self.experience, tuple(self.classes.seen.tolist())

    # ------------------------------------------------------------------ state

    def snapshot(self) -> dict[str, Any]:
        """All that the learner would need to go on bit for bit: weights, buffers, optimiser, memory, generators."""
        return {
            "w": self.w.detach().clone(),
            "buffers": [b.clone() for b in self.buffers],
            "modes": [m.training for m in self.modules],
            "optimizer": copy.deepcopy(self.optimizer.state_dict()),
            "others": [copy.deepcopy(other.state_dict()) for other in self.others],
            "memory": self.memory.state,
            "order": self._order.state,
            "augment": self._train.generator.get_state(),
            "torch": torch_states(self.device),
            "seen": self.classes.seen.clone(),
            "arrivals": self._arrivals.state,
            "masks": {name: mask.clone() for name, mask in self._masks.items()},
            "cost": dict(vars(self.cost)),
            "probe": None if self.probe is None else self.probe.state,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Return to a snapshot, of this device or of another; see :meth:`clbench.running.prepare.Run.restore`."""
        self.w.data.copy_(state["w"])
        for buffer, old in zip(self.buffers, state["buffers"], strict=True):
            buffer.copy_(old)
        for module, mode in zip(self.modules, state["modes"], strict=True):
            module.__dict__["training"] = mode
        self.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))
        self.others = []
        for other in state["others"]:
            self.another_optimizer().load_state_dict(copy.deepcopy(other))
        self.memory.state = state["memory"]
        self._order.state = state["order"]
        self._train.go_on(state["augment"])
        set_torch_states(state["torch"], self.device)
        self.classes.seen.copy_(state["seen"])
        self._arrivals.state = state["arrivals"]
        self._masks = {name: mask.to(self.device).clone() for name, mask in state["masks"].items()}
        vars(self.cost).update(state["cost"])
        if self.probe is not None:
            self.probe.state = state["probe"]

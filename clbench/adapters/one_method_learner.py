"""One-method learners in clbench's loop: classes with ``observe(x, y) -> loss``, the form of most papers' code.

``observe:FILE.py:NAME(alpha=0.5)`` takes a class (or a function that makes an object) from a file,
``observe:package.module.NAME`` an installed one. Its constructor gets, by name, the objects of :data:`GIVEN` that it
asks for. Its other parameters are the strategy's settings.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cache
from types import FunctionType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from clbench.adapters.constructor_recipes import find, recipe_of
from clbench.adapters.online_learner import OnlineLearner
from clbench.core.errors import Refused, did_you_mean
from clbench.core.global_rng import preserved
from clbench.core.registry import a, checksum, text_of
from clbench.strategies.chain import MEANING
from clbench.strategies.part import Part
from clbench.training.batch import TASK, Batch, Y
from clbench.training.learner import ExperienceView, Learner, Output

GIVEN = ("model", "optimizer", "n_outputs", "memory_size", "batch_size", "device")
"""Objects that a constructor may ask for: the benchmark's ``model`` (it returns logits; ``model.features`` are the
features), its ``optimizer`` over the model's parameters, the number of output units, the size of the replay buffer, the
number of stream samples per step, and the device."""

METHODS = {
    "observe": (2, ("raw_x", "task", "class_mask")),
    "predict": (1, ("task", "class_mask")),
    "begin_task": (0, ("x", "y", "task")),
    "end_task": (0, ("x", "y", "task")),
}
"""Method -> number of its fixed arguments, and the further arguments that it may ask for by name."""


class Logits(nn.Module):
    """Return only the logits of the benchmark's model, as other code expects.

    Args:
        model: A model that returns :class:`clbench.models.output.Output`.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, C) of inputs (B, ...)."""
        logits: Tensor = self.model(x).logits
        return logits

    def features(self, x: Tensor) -> Tensor:
        """Return the input of the last layer, (B, H)."""
        features: Tensor = self.model(x).features
        return features


@dataclass(kw_only=True)
class Observer(OnlineLearner):
    """Run a class with ``observe(x, y)`` as the loop's step.

    It may also have ``begin_task`` and ``end_task`` (called if boundaries are visible) and ``predict(x)``, which
    returns scores (B, C) or labels (B,); without it the benchmark's model predicts. In addition to ``x`` and ``y`` they
    get the objects that they ask for by name, see :data:`METHODS`: ``raw_x`` (inputs before augmentation), ``task``
    (task labels of the samples if the stream reveals them, else ``None``), ``class_mask`` ((C,) or (B, C) bool, true
    for classes that compete; ``None`` if all do). ``begin_task`` and ``end_task`` get ``x`` and ``y`` of the whole
    experience and its number ``task``.
    """

    random_stream: ClassVar[str] = "Observer"

    constructor: ClassVar[Callable[..., Any]]
    """The callable that makes the object; each recipe's parts have their own."""

    def attach(self, learner: Learner) -> None:
        """Make or restore the object, and determine what its methods ask for."""
        super().attach(learner)
        self._asks = _asks(self.wrapped, self.title)

    def make(self, learner: Learner) -> Any:
        """Make the object from the arguments that its constructor asks for."""
        asked = inspect.signature(self.constructor).parameters
        given: dict[str, Callable[[], Any]] = {
            "model": lambda: Logits(learner.model),
            "optimizer": learner.another_optimizer,
            "n_outputs": lambda: learner.n_outputs,
            "memory_size": lambda: learner.memory.size,
            "batch_size": lambda: learner.batch_size,
            "device": lambda: learner.device,
        }
        return self.constructor(**{name: give() for name, give in given.items() if name in asked}, **self.parameters)

    def begin_experience(self, learner: Learner, experience: ExperienceView) -> None:
        """Report to the object that a task begins."""
        self._tell("begin_task", learner, experience)

    def end_experience(self, learner: Learner, experience: ExperienceView) -> None:
        """Report to the object that a task has ended."""
        self._tell("end_task", learner, experience)

    def _tell(self, method: str, learner: Learner, experience: ExperienceView) -> None:
        index = experience.index
        if method in self._asks:
            self._call(method, x=lambda: learner.raw(index), y=lambda: index[Y], task=lambda: experience.id)

    def observe(self, learner: Learner, batch: Batch) -> Tensor | None:
        """Let the object make one step; return its loss, if it has one."""
        rows = self.rows(batch)
        loss = self._call(
            "observe",
            rows.x,
            rows.y,
            raw_x=lambda: learner.raw(rows.index),
            task=lambda: rows.index[TASK] if learner.classes.task_labels else None,
            class_mask=lambda: rows.class_mask.competes,
        )
        if loss is None:
            return None
        number = isinstance(loss, int | float) or getattr(loss, "ndim", None) == 0
        if not number:
            raise Refused(
                f"{self.name}: observe returns {_kind(loss)}; return the loss, a single number, or nothing at all"
            )
        return torch.as_tensor(loss, device=learner.device).detach()

    def answer(self, learner: Learner, x: Tensor, task: Tensor | None) -> Output:
        """Return the object's predictions, or those of the benchmark's model."""
        if "predict" not in self._asks:
            output: Output = learner.model(x)
            return output

        def class_mask() -> Tensor | None:
            tasks = torch.zeros(len(x), dtype=torch.int64) if task is None else task
            return learner.classes.mask_of_tasks(tasks).competes

        with preserved(only="python_and_numpy"):
            told = self._call("predict", x, task=lambda: task, class_mask=class_mask)
        scores = self.scores(told, learner.n_outputs, len(x)).to(learner.device)
        return Output(scores, scores)

    def _call(self, method: str, *first: Any, **named: Callable[[], Any]) -> Any:
        """Call a method with the named objects that it asks for; tensors are copied, since it may change them."""
        asked = {name: _own(named[name]()) for name in self._asks[method]}
        return getattr(self.wrapped, method)(*map(_own, first), **asked)


def _own(obj: Any) -> Any:
    return obj.clone() if isinstance(obj, Tensor) else obj


def _kind(value: Any) -> str:
    shape = getattr(value, "shape", None)
    return a(value) + (f" of shape {tuple(shape)}" if shape is not None else "")


def _asks(obj: Any, where: str) -> dict[str, tuple[str, ...]]:
    """Return method -> the arguments that it asks for by name, for an object or for objects of a class.

    Raises:
        Refused: There is no ``observe``, or a method asks for something that does not exist.
    """
    if not callable(getattr(obj, "observe", None)):
        raise Refused(f"{where} has no method observe(x, y); write one that learns a batch and returns its loss")
    found = {}
    for name, (first, known) in METHODS.items():
        method = getattr(obj, name, None)
        if not callable(method):
            continue
        bare = isinstance(obj, type) and isinstance(inspect.getattr_static(obj, name), FunctionType)
        found[name] = _asked_by(method, first + bare, known, f"{where}: {name}")
    return found


def _asked_by(method: Callable[..., Any], first: int, known: Collection[str], where: str) -> tuple[str, ...]:
    signature = inspect.signature(method)
    try:
        signature.bind_partial(*range(first))
    except TypeError:
        raise Refused(f"{where}{signature} takes too few arguments; it gets x and y, in that order") from None
    asked = []
    for parameter in list(signature.parameters.values())[first:]:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.name in known and parameter.kind is not parameter.POSITIONAL_ONLY:
            asked.append(parameter.name)
        elif parameter.default is parameter.empty:
            raise Refused(
                f"{where} asks for {parameter.name!r}, which does not exist; available by name are "
                f"{', '.join(known)}, and any other parameter needs a default"
            )
    return tuple(asked)


def recipe(rest: str) -> Callable[..., Part]:
    """Return the recipe of ``observe:REST``.

    Raises:
        Refused: The class does not exist, or cannot be used as a learner.
    """
    return _recipe(rest, checksum(rest) if ".py:" in rest else text_of(find("observe", rest, "learner")))


@cache
def _recipe(rest: str, source: str) -> Callable[..., Part]:
    name = f"observe:{rest}"
    constructor = find("observe", rest, "learner")
    if isinstance(constructor, type):
        _asks(constructor, name)
    needs = frozenset(getattr(constructor, "needs", ()))
    if needs - MEANING.keys():
        wrong = sorted(needs - MEANING.keys())[0]
        raise Refused(f"{name} declares to need {wrong!r}; {did_you_mean(wrong, MEANING)}")

    def make(parameters: Mapping[str, Any]) -> Part:
        part = Observer(name=name, parameters=dict(parameters))
        part.__dict__.update(needs=needs, constructor=constructor)
        return part

    return recipe_of(name, constructor, make, source=source, leave_out=GIVEN)

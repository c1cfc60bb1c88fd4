"""One-method learners: a class with ``observe(x, y) -> loss``, the shape that most papers' code has, in our loop.

``observe:FILE.py:NAME(alpha=0.5)`` takes a class (or a function that makes an object) from a file,
``observe:package.module.NAME`` one that is installed. Its constructor is given, by name, what it asks for among
:data:`GIVEN`; its other parameters are the strategy's settings.
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
"""What a constructor may ask for: the benchmark's ``model`` (returns logits; ``model.features`` what they are read
from), its ``optimizer`` over the model's parameters, the number of output units, the benchmark's budget of rows to
keep, rows of the stream per step, and the device."""

METHODS = {
    "observe": (2, ("raw_x", "task", "class_mask")),
    "predict": (1, ("task", "class_mask")),
    "begin_task": (0, ("x", "y", "task")),
    "end_task": (0, ("x", "y", "task")),
}
"""Method -> how many things it is always given, and what else it may ask for by name."""


class Logits(nn.Module):
    """The benchmark's model as other people's code knows models: logits out.

    Args:
        model: Returns :class:`clbench.models.output.Output`.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, C) of inputs (B, ...)."""
        logits: Tensor = self.model(x).logits
        return logits

    def features(self, x: Tensor) -> Tensor:
        """What the last layer reads, (B, H)."""
        features: Tensor = self.model(x).features
        return features


@dataclass(kw_only=True)
class Observer(OnlineLearner):
    """A class with ``observe(x, y)`` behind the loop's step.

    It may also have ``begin_task`` and ``end_task`` (called where boundaries are visible) and ``predict(x)``, which
    gives scores (B, C) or labels (B,); without it the benchmark's model predicts. Beside ``x`` and ``y`` they are given
    what they ask for by name, see :data:`METHODS`: ``raw_x`` (inputs before augmentation), ``task`` (labels of the rows
    where the stream reveals them, else ``None``), ``class_mask`` ((C,) or (B, C) bool, true for classes that compete;
    ``None`` where all do); ``begin_task`` and ``end_task`` get ``x`` and ``y`` of the whole experience and its number
    ``task``.
    """

    random_stream: ClassVar[str] = "Observer"

    constructor: ClassVar[Callable[..., Any]]
    """What makes the object; each recipe's parts have their own."""

    def attach(self, learner: Learner) -> None:
        """Make the object, or go on from what was saved, and read off what its methods ask for."""
        super().attach(learner)
        self._asks = _asks(self.wrapped, self.title)

    def make(self, learner: Learner) -> Any:
        """The object, given what its constructor asks for."""
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
        """Tell it that a task begins."""
        self._tell("begin_task", learner, experience)

    def end_experience(self, learner: Learner, experience: ExperienceView) -> None:
        """Tell it that a task has ended."""
        self._tell("end_task", learner, experience)

    def _tell(self, method: str, learner: Learner, experience: ExperienceView) -> None:
        index = experience.index
        if method in self._asks:
            self._call(method, x=lambda: learner.raw(index), y=lambda: index[Y], task=lambda: experience.id)

    def observe(self, learner: Learner, batch: Batch) -> Tensor | None:
        """One step of its own; its loss, where it gives one."""
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
        """Its predictions, or those of the benchmark's model."""
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
        """Call a method with those of the named things that it asks for: copies of tensors, which it may change."""
        asked = {name: _own(named[name]()) for name in self._asks[method]}
        return getattr(self.wrapped, method)(*map(_own, first), **asked)


def _own(thing: Any) -> Any:
    return thing.clone() if isinstance(thing, Tensor) else thing


def _kind(value: Any) -> str:
    shape = getattr(value, "shape", None)
    return a(value) + (f" of shape {tuple(shape)}" if shape is not None else "")


def _asks(thing: Any, where: str) -> dict[str, tuple[str, ...]]:
    """Method -> what it asks for by name, for those methods that an object has, or that those of a class will have.

    Raises:
        Refused: There is no ``observe``, or a method asks for what is not given.
    """
    if not callable(getattr(thing, "observe", None)):
        raise Refused(f"{where} has no method observe(x, y); write one that learns a batch and returns its loss")
    found = {}
    for name, (first, known) in METHODS.items():
        method = getattr(thing, name, None)
        if not callable(method):
            continue
        bare = isinstance(thing, type) and isinstance(inspect.getattr_static(thing, name), FunctionType)
        found[name] = _asked_by(method, first + bare, known, f"{where}: {name}")
    return found


def _asked_by(method: Callable[..., Any], first: int, known: Collection[str], where: str) -> tuple[str, ...]:
    signature = inspect.signature(method)
    try:
        signature.bind_partial(*range(first))
    except TypeError:
        raise Refused(f"{where}{signature} takes too little; it is given x and y, in that order") from None
    asked = []
    for parameter in list(signature.parameters.values())[first:]:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.name in known and parameter.kind is not parameter.POSITIONAL_ONLY:
            asked.append(parameter.name)
        elif parameter.default is parameter.empty:
            raise Refused(
                f"{where} asks for {parameter.name!r}, which it cannot be given; by name there is "
                f"{', '.join(known)}, and anything else needs a default"
            )
    return tuple(asked)


def recipe(rest: str) -> Callable[..., Part]:
    """The recipe of ``observe:REST``.

    Raises:
        Refused: No such class, or one that cannot be called as learners are.
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

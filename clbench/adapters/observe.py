"""One-method learners: a class with ``observe(x, y) -> loss``, the shape that most papers' code has, in our loop.

``observe:FILE.py:NAME(alpha=0.5)`` takes a class from a file, ``observe:package.module.NAME`` one that is installed.
Its constructor is given, by name, what it asks for among :data:`GIVEN`; its other parameters are the strategy's
settings.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from clbench.adapters.guest import Guest
from clbench.adapters.recipes import recipe_of
from clbench.batch import TASK, Batch, Y
from clbench.learner import Learner, Output, Shown
from clbench.parameters import Refused
from clbench.registry import checksum, from_file
from clbench.strategies.part import Part

GIVEN = ("model", "optimizer", "n_outputs", "memory_size", "batch_size", "device")
"""What a constructor may ask for: the benchmark's ``model`` (returns logits; ``model.features`` what they are read
from), its ``optimizer`` over the model's parameters, the number of classes, the benchmark's budget of rows to keep,
rows per step, and the device."""


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
class Observer(Guest):
    """A class with ``observe(x, y)`` behind the loop's step.

    It may also have ``begin_task``, ``end_task`` (where boundaries are visible) and ``predict(x)``, which gives scores
    (B, C) or labels (B,); without it the benchmark's model predicts. Beside ``x`` and ``y`` they are given, by name,
    what they ask for: ``raw_x`` (inputs before augmentation), ``task`` (labels of the rows where the stream reveals
    them, else ``None``), and in ``begin_task`` and ``end_task`` ``x`` and ``y`` of the whole experience and its number
    ``task``.
    """

    def make(self, learner: Learner) -> Any:
        """The object, given what its constructor asks for."""
        constructor = _find(self.name.removeprefix("observe:"))
        asked = inspect.signature(constructor).parameters
        given: dict[str, Callable[[], Any]] = {
            "model": lambda: Logits(learner.model),
            "optimizer": learner.another_optimizer,
            "n_outputs": lambda: learner.n_outputs,
            "memory_size": lambda: learner.memory.size,
            "batch_size": lambda: learner.batch_size,
            "device": lambda: learner.device,
        }
        made = constructor(**{name: give() for name, give in given.items() if name in asked}, **self.parameters)
        if not callable(getattr(made, "observe", None)):
            raise Refused(
                f"{self.name} has no method observe(x, y); write one that learns a batch and returns its loss"
            )
        return made

    def begin_experience(self, learner: Learner, experience: Shown) -> None:
        """Tell it that a task begins."""
        self._tell("begin_task", learner, experience)

    def end_experience(self, learner: Learner, experience: Shown) -> None:
        """Tell it that a task has ended."""
        self._tell("end_task", learner, experience)

    def _tell(self, method: str, learner: Learner, experience: Shown) -> None:
        listens = getattr(self.guest, method, None)
        if listens is None:
            return
        index = experience.index
        _call(
            listens,
            x=lambda: learner.raw(index),
            y=lambda: index[Y],
            task=lambda: experience.id,
        )

    def observe(self, learner: Learner, batch: Batch) -> Tensor | None:
        """One step of its own; its loss, where it gives one."""
        rows = self.rows(batch)
        loss = _call(
            self.guest.observe,
            rows.x,
            rows.y,
            raw_x=lambda: learner.raw(rows.index),
            task=lambda: rows.index[TASK] if learner.task_labels else None,
        )
        return None if loss is None else torch.as_tensor(loss, device=learner.device).detach()

    def answer(self, learner: Learner, x: Tensor, task: Tensor | None) -> Output:
        """Its predictions, or those of the benchmark's model."""
        if not hasattr(self.guest, "predict"):
            output: Output = learner.model(x)
            return output
        told = torch.as_tensor(_call(self.guest.predict, x, task=lambda: task), device=learner.device)
        scores = self.scores(told, learner.n_outputs)
        return Output(scores, scores)


def _call(function: Callable[..., Any], *first: Any, **named: Callable[[], Any]) -> Any:
    """Call with those of the named things that it has parameters for."""
    asked = inspect.signature(function).parameters
    return function(*first, **{name: give() for name, give in named.items() if name in asked})


def _find(rest: str) -> Any:
    if ".py:" in rest:
        return from_file(rest, "learner")
    module, _, name = rest.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise Refused(
            f"observe:{rest} is not there ({error}); write observe:FILE.py:NAME or observe:package.module.NAME"
        ) from error


def recipe(rest: str) -> Callable[..., Part]:
    """The recipe of ``observe:REST``.

    Raises:
        Refused: No such class.
    """
    return _recipe(rest, checksum(rest) if ".py:" in rest else "")


@cache
def _recipe(rest: str, source: str) -> Callable[..., Part]:
    name = f"observe:{rest}"

    def make(parameters: Mapping[str, Any]) -> Part:
        return Observer(name=name, parameters=dict(parameters))

    return recipe_of(name, _find(rest), make, source=source, leave_out=GIVEN)

"""Small runs of the strategy under test, and their results."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, cast
from unittest import SkipTest

import torch

from clbench.adapters.online_learner import OnlineLearner
from clbench.adapters.run_setup import Skip
from clbench.core.errors import Refused
from clbench.core.record import Kind, Trace
from clbench.running.cell_key import Cell
from clbench.running.error_text import place
from clbench.running.plan import plan
from clbench.running.prepare import prepare
from clbench.running.prepared_run import Run
from clbench.running.user_objects import UserObjects
from clbench.strategies import STRATEGIES
from clbench.strategies import notation as strategy_text
from clbench.strategies.part import Part
from clbench.strategies.strategy import Strategy
from clbench.testing.compare_runs import leaves
from clbench.training.loss_check import Diverged

BENCHMARK: Mapping[str, Any] = {
    "name": "contract",
    "stream": {"scenario": "split", "dataset": {"name": "digits", "train_rows": 200}, "setting": "class"},
    "model": {"name": "mlp", "hidden": [12]},
    "training": {"optimizer": "sgd", "lr": 0.05, "batch_size": 10, "epochs": 1},
    "memory": {"size": 30},
    "evaluation": {"every": 1, "rows_per_task": 10},
}
"""Digits in 5 experiences of about 40 samples: 20 steps, a few hundredths of a second."""

PRETRAINED = json.dumps(str(Path(__file__).with_name("pretrained_models.py")) + ":{}")


def begun(model: str) -> str:
    """Return the change to a small model, ``mlp`` or ``cnn``, with given initial weights."""
    return f"model={{name: {PRETRAINED.format(model)}, weights: made}}"


MEETS = {
    "task_labels": ("stream.setting=task", "model.heads=separate"),
    "augmentation": ("training.augment=crop-flip",),
    "length": ("reveal=[length]",),
    "pretrained": (begun("mlp"),),
    "convolutions": ("model={name: cnn, width: 4, hidden: 8}",),
    "transformer": ("model={name: vit, width: 8, depth: 2, attention_heads: 2}",),
}
"""What a part may declare as needed -> how the small benchmark provides it; everything else is always provided, or
never."""

Written = str | Mapping[str, Any] | Sequence[Any]
Tick = Callable[[int, float], Any]


class Broken(AssertionError):
    """Report that a strategy breaks a property.

    The message names the property, the observation, and the place of the cause.
    """


class Halted(Broken):
    """Report that a run is not possible, so that nothing more can be tested; ``why`` gives the reason in a few
    words."""

    why = "it does not run"


class Unsaved(Halted):
    """Report that a run cannot be saved, and therefore not be compared."""

    why = "what it keeps cannot be saved"


class Skipped(SkipTest):
    """Report that a property cannot be tested for a strategy, with the reason. Test runners show it as a skipped
    test."""


@dataclass(frozen=True)
class Ends:
    """Hold the results of a run.

    Args:
        kept: Everything that was trained or that draws, by name: weights, optimiser, replay buffer, state of parts.
        trace: The trace of the evaluator.
        cost: The cost of the run, without times.
        at: Weights (P,) at the end of each experience.
    """

    kept: dict[str, Any]
    trace: Trace
    cost: dict[str, float]
    at: list[torch.Tensor]


class Blind:
    """Replace the evaluator; make no evaluations, but report the end of each experience."""

    def __init__(self, ended: Callable[[int], None] | None = None) -> None:
        self.ended = ended

    def look(self, learner: Any, kind: Kind, experience: int, step: int) -> None:
        """Make no evaluation."""
        if kind is Kind.END and self.ended is not None:
            self.ended(experience)


class Noting(Blind):
    """Wrap an evaluator; evaluate as before, then report the end of each experience."""

    def __init__(self, looks: Any, ended: Callable[[int], None]) -> None:
        super().__init__(ended)
        self.looks = looks

    def look(self, learner: Any, kind: Kind, experience: int, step: int) -> None:
        """Evaluate, then report."""
        self.looks.look(learner, kind, experience, step)
        super().look(learner, kind, experience, step)


class Stop(Exception):
    """Report that a run was stopped on purpose."""


@dataclass
class Trial:
    """Describe a strategy under test.

    Args:
        strategy: The strategy as in a benchmark.
        defaults: Values for parameters without a default, by name, as in a benchmark's ``defaults``.
        seed: Seed of all runs.
    """

    strategy: Written
    defaults: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    seed: int = 0

    @cached_property
    def name(self) -> str:
        """Return the strategy's name in messages."""
        return strategy_text.label(self.strategy)

    @cached_property
    def parsed(self) -> Strategy:
        """Parse the strategy; refuse one that cannot be read, or whose parts exclude each other."""
        return Strategy.parse(self.strategy, self.defaults)

    @cached_property
    def located(self) -> tuple[Any, dict[str, Mapping[str, Any]]]:
        """Return strategy and defaults with absolute paths of files, so that a changed working directory has no
        effect."""
        return strategy_text.located(self.strategy, self.defaults)

    @cached_property
    def parts(self) -> list[Part]:
        """Return the strategy's parts, for their declarations."""
        return self.parsed.parts()

    @cached_property
    def needs(self) -> frozenset[str]:
        """Return what the parts declare as needed."""
        return frozenset().union(*(part.needs for part in self.parts))

    def skip_online_learners(self, why: str) -> None:
        """Skip a property for learners with a step of their own.

        Raises:
            Skipped: With the reason.
        """
        for part in self.parts:
            if isinstance(part, OnlineLearner):
                raise Skipped(f"{part.title} {why}")

    @cached_property
    def home(self) -> tuple[str, ...]:
        """Return the changes to the small benchmark that meet the strategy's needs."""
        return tuple(change for need in sorted(self.needs) for change in MEETS.get(need, ()))

    def cell(self, *changes: str) -> Cell:
        """Return the cell of the small benchmark with the strategy's needs and further changes."""
        chosen, defaults = self.located
        known = {name: values for name, values in defaults.items() if name in STRATEGIES}
        benchmark = {**BENCHMARK, "defaults": known}
        return plan(benchmark, strategies=[chosen], seeds=[self.seed], overrides=[*self.home, *changes]).cells[0]

    def ready(self, *changes: str, given: UserObjects | None = None, device: str = "cpu") -> Run:
        """Return a run that has not begun.

        Args:
            changes: Changes to the small benchmark.
            given: Arrays, a module or parts instead of names.
            device: The device of the run.

        Raises:
            Skipped: The strategy needs something that the changed benchmark hides.
            Halted: The run cannot be built.
        """
        cell = self.cell(*changes)
        try:
            return prepare(cell, given=given, device=device)
        except Skip as reason:
            raise Skipped(str(reason)) from None
        except (Refused, Broken):
            raise
        except Exception as error:
            raise Halted(f"a run cannot be built: {story(error)}") from error

    def train(self, run: Run, tick: Tick | None = None, *, looks: Any = None) -> Run:
        """Train a run to its end, or until ``tick`` or ``looks`` raise :class:`Stop`.

        Raises:
            Halted: The strategy raised an error, or diverged.
        """
        evaluator = run.evaluator
        if looks is not None:
            run.evaluator = cast(Any, looks)
        try:
            run.train(tick)
        except Stop:
            pass
        except (Broken, Skipped):
            raise
        except Refused as error:
            raise Halted(str(error)) from error
        except Diverged as error:
            raise Halted(f"{error}; the check needs parameters with which a small run trains") from error
        except Exception as error:
            raise Halted(f"a run raised {story(error)}") from error
        finally:
            run.evaluator = evaluator
        return run

    def trained(self, *changes: str, given: UserObjects | None = None, blind: bool = False) -> Ends:
        """Return the results of a new run, without evaluations if ``blind``; other arguments are as in
        :meth:`ready`."""
        run, at = self.ready(*changes, given=given), list[torch.Tensor]()

        def ended(_: int) -> None:
            at.append(run.learner.w.detach().clone())

        self.train(run, looks=Blind(ended) if blind else Noting(run.evaluator, ended))
        return ends(run, at)

    def reference(self, *, blind: bool = False) -> Ends:
        """Return the cached results of one unchanged run, with which many properties compare."""
        return _reference(self.question, blind)

    @cached_property
    def question(self) -> Question:
        """Return the key of cached results."""
        return Question(self, (self.cell().key, tuple(type(part) for part in self.parts)))


@dataclass(frozen=True)
class Question:
    """Identify a cell and its code."""

    trial: Trial = field(compare=False)
    key: tuple[str, tuple[type[Part], ...]]


@lru_cache(maxsize=16)
def _reference(question: Question, blind: bool) -> Ends:
    return question.trial.trained(blind=blind)


NAMES = {
    "w": "the weights",
    "torch": "torch's generator",
    "order": "the generator of orders",
    "masks": "frozen weights",
}
ACCOUNTS = ("cost", "probe", "arrivals")
"""Fields of a learner that no strategy reads."""
TIMES = ("seconds",)


def ends(run: Run, at: list[torch.Tensor] | None = None) -> Ends:
    """Return the results of a run so far.

    Raises:
        Unsaved: A part keeps something that cannot be saved.
    """
    try:
        learner, chain = run.trainer.snapshot(), run.chain.snapshot()
    except Refused as error:
        raise Unsaved(str(error)) from error
    kept = {NAMES.get(name, f"the learner's {name}"): v for name, v in learner.items() if name not in ACCOUNTS}
    for part, saved in zip(run.chain.parts, chain["parts"], strict=True):
        name = type(part).__name__
        # Equal objects need not pickle to equal bytes; what a wrapped learner has learned shows in its evaluations.
        left_out = {"wrapped"} if isinstance(part, OnlineLearner) else set()
        state = {what: value for what, value in saved["state"].items() if what not in left_out}
        kept |= {f"the state of {name}": state, f"the generator of {name}": saved["generator"]}
    cost = {name: value for name, value in learner["cost"].items() if not name.endswith(TIMES)}
    return Ends(dict(leaves(kept)), run.trace(), cost, at or [])


def story(error: Exception) -> str:
    """Return the error and its place in the innermost code outside of the check."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}{place(error, beside=Path(__file__).parent)}"

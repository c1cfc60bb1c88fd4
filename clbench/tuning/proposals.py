"""Propose settings to try. Optuna proposes them, and nothing is stored: with one seed it proposes the same ones for the
same scores, so that a search is replayed from its records."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

from clbench.core.errors import Refused, did_you_mean
from clbench.core.search_space import Knob

SAMPLERS = {
    "tpe": "tree-structured Parzen estimator: later proposals are near good ones",
    "qmc": "quasi-random points that cover the ranges evenly",
    "random": "random points",
}
"""The ways to propose, by name."""
BATCH = 4
"""Number of proposals that are made before the first of them is scored. It does not depend on the number of jobs, since
proposals depend on it."""
DIGITS = 3
"""Significant digits of a proposed number, so that people can read and repeat it."""

Values = dict[str, Any]
"""Place of a knob, such as ``ewc.strength`` -> its value."""


class Proposals:
    """Propose values for some knobs, a batch at a time.

    Args:
        knobs: The settings to search.
        sampler: A name in :data:`SAMPLERS`.
        seed: The seed of the proposals.

    Raises:
        Refused: Optuna is not installed, or there is no such sampler.
    """

    def __init__(self, knobs: Sequence[Knob], *, sampler: str = "tpe", seed: int = 0) -> None:
        check_sampler(sampler)
        optuna = _optuna()
        self.knobs = list(knobs)
        self._ranges = {knob.place: _distribution(optuna, knob) for knob in knobs}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the quasi-random sampler is called experimental
            made = {
                "tpe": optuna.samplers.TPESampler,
                "qmc": optuna.samplers.QMCSampler,
                "random": optuna.samplers.RandomSampler,
            }[sampler](seed=seed)
            self._study = optuna.create_study(direction="maximize", sampler=made)
        self._first: Values | None = first_values(knobs)
        if all(within(knob, self._first[knob.place]) for knob in knobs):
            self._study.enqueue_trial(self._first)
            self._first = None
        self._asked: list[Any] = []

    def ask(self, most: int = BATCH) -> list[Values]:
        """Return the next values to try; the first ones ever are the defaults.

        Defaults outside of their ranges are tried too, but Optuna does not know of them.
        """
        first = [] if self._first is None else [self._first]
        self._asked = [None for _ in first]
        self._asked += [self._study.ask(self._ranges) for _ in range(min(BATCH, most) - len(first))]
        self._first = None
        return first + [
            {knob.place: rounded(knob, trial.params[knob.place]) for knob in self.knobs}
            for trial in self._asked
            if trial is not None
        ]

    def tell(self, scores: Sequence[float]) -> None:
        """Give the scores of the values that were asked for last, in their order.

        Args:
            scores: Higher is better; NaN counts as the worst.
        """
        for trial, score in zip(self._asked, scores, strict=True):
            if trial is not None:
                self._study.tell(trial, -math.inf if math.isnan(score) else score)
        self._asked = []


def check_sampler(name: str) -> None:
    """Refuse a sampler that does not exist.

    Raises:
        Refused: There is no such sampler.
    """
    if name not in SAMPLERS:
        raise Refused(f"there is no sampler {name!r}; {did_you_mean(name, SAMPLERS)}")


def first_values(knobs: Sequence[Knob]) -> Values:
    """Return the values without tuning; for a setting without a default the middle of its range."""
    return {knob.place: middle(knob) if knob.required else knob.default for knob in knobs}


def within(knob: Knob, value: Any) -> bool:
    """Return whether a value lies in the range of a knob, on its grid if it has one."""
    if knob.low is None or knob.high is None:
        return value in knob.choices
    if isinstance(value, bool) or not isinstance(value, int | float) or not knob.low <= value <= knob.high:
        return False
    steps = (value - knob.low) / knob.step if knob.step is not None else 0.0
    return math.isclose(steps, round(steps), abs_tol=1e-9)


def middle(knob: Knob) -> Any:
    """Return the middle of a range, over orders of magnitude if it is searched so; of choices the first."""
    if knob.low is None or knob.high is None:
        return knob.choices[0]
    found = math.sqrt(knob.low * knob.high) if knob.log else (knob.low + knob.high) / 2
    if knob.step is not None:
        found = knob.low + knob.step * round((found - knob.low) / knob.step)
    return rounded(knob, found)


def rounded(knob: Knob, value: Any) -> Any:
    """Return a proposed value as it is tried: numbers with three significant digits, inside of their range."""
    if knob.choices or isinstance(value, bool) or not isinstance(value, int | float) or value == knob.default:
        return value
    return knob.value(value if knob.whole or knob.step is not None else float(f"{value:.{DIGITS}g}"))


def position(knob: Knob, value: Any) -> float:
    """Return where a value lies in its range, in [0, 1] from the low to the high end; for choices 0."""
    if knob.low is None or knob.high is None or not isinstance(value, int | float):
        return 0.0
    if knob.log:
        return math.log(max(value, knob.low) / knob.low) / math.log(knob.high / knob.low)
    return (value - knob.low) / (knob.high - knob.low)


def distance(knobs: Sequence[Knob], one: Values, other: Values) -> float:
    """Return how far two proposals are apart: the sum of distances in ranges; 1 for another choice."""
    return sum(_apart(knob, one[knob.place], other[knob.place]) for knob in knobs)


def _apart(knob: Knob, one: Any, other: Any) -> float:
    return float(one != other) if knob.choices else abs(position(knob, one) - position(knob, other))


def _distribution(optuna: Any, knob: Knob) -> Any:
    kinds = optuna.distributions
    if knob.low is None or knob.high is None:
        return kinds.CategoricalDistribution(list(knob.choices))
    if knob.whole:
        step = 1 if knob.step is None else int(knob.step)
        return kinds.IntDistribution(int(knob.low), int(knob.high), log=knob.log, step=step)
    return kinds.FloatDistribution(float(knob.low), float(knob.high), log=knob.log, step=knob.step)


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise Refused("clbench tune needs Optuna; install it with: pip install 'clbench[tune]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def check_installed() -> None:
    """Refuse a search without Optuna before anything runs.

    Raises:
        Refused: Optuna is not installed.
    """
    _optuna()

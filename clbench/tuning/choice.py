"""Choose among the trials of a search: the best one, and the default wherever the trials do not tell otherwise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from clbench.core.search_space import Knob, shown
from clbench.tuning.proposals import Values, distance, position

CLOSE = 0.01
"""Difference between two mean accuracies up to which the search hardly separates two trials."""
END = 0.05
"""Share of a range at each of its ends in which a chosen value counts as at the end."""


@dataclass(frozen=True)
class Trial:
    """Hold the result of one trial.

    Args:
        values: The values that were tried.
        scores: The metric at each seed, as the records have it; NaN if a run has none.
        digests: Digest of the trace of each run; empty if it has none.
        steps: Optimiser steps of all its runs.
        problem: Why it has no mean score; empty if it has one.
    """

    values: Values
    scores: tuple[float, ...]
    digests: tuple[str, ...]
    steps: float
    problem: str = ""

    @property
    def mean(self) -> float:
        """Return the mean score over the seeds; NaN if a run has none."""
        return math.nan if self.problem else sum(self.scores) / len(self.scores)

    def same_runs(self, other: Trial) -> bool:
        """Return whether the runs of two trials have equal traces, so that only their weights may differ."""
        return all(self.digests) and self.digests == other.digests


def best(trials: Sequence[Trial], knobs: Sequence[Knob], *, higher: bool = True) -> Trial | None:
    """Return the trial with the best mean; of equal ones the default, the first trial, or else the nearest to it.

    Args:
        trials: All trials; the first one has the values without tuning.
        knobs: The settings that were searched.
        higher: Whether higher scores are better.

    Returns:
        The trial; ``None`` if no trial has a mean.
    """
    finished = [trial for trial in trials if not math.isnan(trial.mean)]
    if not finished:
        return None
    sign = -1.0 if higher else 1.0
    first = trials[0].values
    return min(finished, key=lambda trial: (sign * trial.mean, _steps_away(knobs, trial.values, first)))


def _steps_away(knobs: Sequence[Knob], values: Values, first: Values) -> float:
    return 0.0 if values == first else max(distance(knobs, values, first), 1e-12)


def idle(trials: Sequence[Trial]) -> bool:
    """Return whether trials with different values have equal traces, all that have a result."""
    finished = [trial for trial in trials if not trial.problem]
    several = len({repr(sorted(trial.values.items())) for trial in finished}) > 1
    return several and all(trial.same_runs(finished[0]) for trial in finished)


def other_value(knob: Knob, values: Values) -> Values:
    """Return values that differ in one knob: at its default, or at the far end of its range if that is chosen.

    The run with these values shows whether the knob acts.
    """
    if values[knob.place] != knob.default and not knob.required:
        return {**values, knob.place: knob.default}
    if knob.low is None or knob.high is None:
        return {**values, knob.place: next(each for each in knob.choices if each != values[knob.place])}
    far = knob.high if position(knob, values[knob.place]) < 0.5 else knob.low
    return {**values, knob.place: knob.value(far)}


def remarks(
    chosen: Trial, trials: Sequence[Trial], knobs: Sequence[Knob], idle_places: Sequence[str], *, close: float | None
) -> list[str]:
    """Return what a reader has to know of a choice, one sentence each.

    Args:
        chosen: The chosen trial.
        trials: All trials, the default first.
        knobs: The settings that were searched.
        idle_places: Knobs that change no recorded score there.
        close: Difference between two means that hardly separates them; ``None`` for metrics without such a number.
    """
    lost = [trial for trial in trials if trial.problem]
    which = "the best trial, and the one that differs in it alone,"
    if idle(trials):
        which = "all trials with a score" if lost else "all trials"
    told = [
        f"{knob.place} changes no recorded score there: {which} have equal traces, so it keeps {_kept(knob)}; more "
        "experiences, or more held-out samples (stream.dataset.validation), may show an effect"
        for knob in knobs
        if knob.place in idle_places
    ]
    acting = [knob for knob in knobs if knob.place not in idle_places]
    told += [text for knob in acting if (text := _at_end(knob, chosen.values[knob.place]))]
    told += _close_calls(chosen, trials, acting, close)
    if lost:
        told.append(f"{len(lost)} of {len(trials)} trials have no score, and the first reason is: {lost[0].problem}")
    return told


def _kept(knob: Knob) -> str:
    if knob.required:
        return "the middle of its range, since it has no default"
    return f"its default {shown(knob.default)}"


def _at_end(knob: Knob, value: object) -> str:
    if knob.low is None or knob.high is None or not isinstance(value, int | float):
        return ""
    place = position(knob, value)
    if value == knob.default or END <= place <= 1 - END:
        return ""
    end = "low" if place < END else "high"
    return (
        f"{knob.place} = {shown(value)} is at the {end} end of its range, {shown(knob.low)} to {shown(knob.high)}; a "
        "wider range, by --space, may hold a better value"
    )


def _close_calls(chosen: Trial, trials: Sequence[Trial], knobs: Sequence[Knob], close: float | None) -> list[str]:
    if close is None or not knobs:
        return []
    first = trials[0]
    told = []
    if chosen is not first and not math.isnan(first.mean) and abs(chosen.mean - first.mean) <= close:
        told.append(
            f"the search hardly separates the choice from the values without tuning (means {chosen.mean:.3f} and "
            f"{first.mean:.3f})"
        )
    near = [trial for trial in trials if not math.isnan(trial.mean) and abs(trial.mean - chosen.mean) <= close]
    ranges = [f"{knob.place} from {shown(low)} to {shown(high)}" for knob in knobs for low, high in [_span(knob, near)]
              if low != high]  # fmt: skip
    if len(near) > 1 and ranges:
        told.append(
            f"{len(near)} of {len(trials)} trials are within {close:g} of the choice, with {' and '.join(ranges)}; "
            "they are about as good"
        )
    return told


def _span(knob: Knob, trials: Sequence[Trial]) -> tuple[object, object]:
    values = [trial.values[knob.place] for trial in trials]
    if knob.choices or any(not isinstance(value, int | float) for value in values):
        return values[0], values[0]
    return min(values), max(values)

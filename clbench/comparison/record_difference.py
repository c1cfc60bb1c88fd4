"""The first difference between two traces of one cell: where it is, and both scores."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from clbench.core.measure import ACCURACY, Measure
from clbench.core.record import Kind, Trace
from clbench.core.trace_equality import RECORDED, trace_difference

TIMES = ("step", "kind", "experience")
"""Columns of a trace that say when an evaluation was made."""
WHOLE = ("rows", "present")
"""Columns of a trace that hold for the whole run."""
MOST_DIGITS = 17
"""Significant digits that tell any two numbers of 64 bits apart."""


@dataclass(frozen=True)
class Difference:
    """Hold the first difference between two traces; ``str`` returns it as one sentence.

    Args:
        column: The column of the traces: ``score``, or ``step``, ``kind`` or ``experience`` if the evaluations were
            made at other moments, or ``rows`` or ``present`` if the tasks differ, or another one if all of these are
            equal.
        evaluation: Position of the first evaluation that differs, from 0; ``None`` if the difference is at none.
        step: Number of optimiser steps before this evaluation; likewise.
        kind: ``start``, ``step``, ``end`` or ``switch``; empty if there is none.
        experience: The running experience; -1 at the start, ``None`` if there is no evaluation.
        task: The first task whose score differs; ``None`` unless ``column`` is ``score``.
        scores: Its two scores, ``None`` for a score that was not evaluated; likewise.
        counts: The numbers of evaluations of both traces.
        measure: What the scores are.
    """

    column: str
    evaluation: int | None = None
    step: int | None = None
    kind: str = ""
    experience: int | None = None
    task: int | None = None
    scores: tuple[float | None, float | None] | None = None
    counts: tuple[int, int] = (0, 0)
    measure: Measure = ACCURACY

    def __str__(self) -> str:
        if self.column in WHOLE:
            return f"the tasks differ: {_TOLD[self.column]}"
        if self.column in TIMES and self.evaluation == min(self.counts):
            return f"the evaluations differ: there are {self.counts[0]} and {self.counts[1]} of them"
        if self.column in TIMES:
            return f"the evaluations were made at other moments, first {self._where()}"
        if self.scores is None:
            return f"column {self.column} of the traces differs, and the scores are equal"
        ours, theirs = _apart(self.scores, self.measure)
        return (
            f"the first difference is {self._where()}: {self.measure.name} on task {self.task} is {ours} and {theirs}"
        )

    def _where(self) -> str:
        """Return the moment of the evaluation in words."""
        return {
            "start": "at the start",
            "step": f"after step {self.step} in experience {self.experience}",
            "end": f"at the end of experience {self.experience} (step {self.step})",
            "switch": f"at the switch to experience {self.experience} (step {self.step})",
        }[self.kind]

    def data(self) -> dict[str, Any]:
        """Return the difference as plain data, with the sentence as ``text``."""
        told = {name: value for name, value in asdict(self).items() if name != "measure"}
        scores = None if self.scores is None else list(self.scores)
        return {**told, "scores": scores, "counts": list(self.counts), "text": str(self)}


_TOLD = {
    "rows": "their numbers of evaluation samples are not equal",
    "present": "the experiences do not hold samples of the same tasks",
}


def first_difference(ours: Trace, theirs: Trace) -> Difference | None:
    """Return the first difference between two traces in the columns that a cell determines, in the order of the run.

    Args:
        ours: A trace.
        theirs: Another one.

    Returns:
        The first evaluation that differs, with its first task that does; ``None`` for equal traces. Seconds do not
        count, nor a column that only one of the traces has recorded: older versions recorded fewer. Two scores are
        equal if they are the same number, or if neither was evaluated.
    """
    counts = len(ours.step), len(theirs.step)
    for column in WHOLE:
        if not np.array_equal(getattr(ours, column), getattr(theirs, column)):
            return Difference(column, counts=counts)
    common = min(counts)
    moments = {
        column: np.asarray(getattr(ours, column)[:common] != getattr(theirs, column)[:common]) for column in TIMES
    }
    a, b = ours.score[:common], theirs.score[:common]
    unequal = (a != b) & ~(np.isnan(a) & np.isnan(b))
    differs = unequal.any(axis=1) | np.logical_or.reduce(list(moments.values()))
    if not differs.any():
        if counts[0] != counts[1]:
            return _at(ours if counts[0] > counts[1] else theirs, common, counts)
        return _of_other_columns(ours, theirs)
    place = int(differs.argmax())
    for column in TIMES:
        if moments[column][place]:
            return _at(ours, place, counts, column)
    task = int(unequal[place].argmax())
    told = [None if math.isnan(score) else float(score) for score in (a[place, task], b[place, task])]
    return _at(ours, place, counts, "score", task=task, scores=(told[0], told[1]))


def _of_other_columns(ours: Trace, theirs: Trace) -> Difference | None:
    """Return the first of the other columns that both traces have recorded and that differs."""
    recorded = [{name for name in RECORDED if np.size(getattr(trace, name))} for trace in (ours, theirs)]
    absent = {name: getattr(ours, name) for name in RECORDED if name not in recorded[0] & recorded[1]}
    absent["readings"] = {name: theirs.readings.get(name, reading) for name, reading in ours.readings.items()}
    told = trace_difference(ours, replace(theirs, **absent))
    counts = len(ours.step), len(theirs.step)
    return Difference(told.removeprefix("the trace's "), counts=counts, measure=ours.measure) if told else None


def _at(trace: Trace, place: int, counts: tuple[int, int], column: str = "step", **found: Any) -> Difference:
    """Return a difference at one evaluation of a trace."""
    return Difference(
        column,
        evaluation=place,
        step=int(trace.step[place]),
        kind=Kind(int(trace.kind[place])).name.lower(),
        experience=int(trace.experience[place]),
        counts=counts,
        measure=trace.measure,
        **found,
    )


def _apart(scores: tuple[float | None, float | None], measure: Measure) -> tuple[str, str]:
    """Print two scores with as many digits as tell them apart, and at least those of the measure."""
    for digits in range(4, MOST_DIGITS + 1):
        told = [_number(score, measure, digits) for score in scores]
        if told[0] != told[1]:
            break
    return told[0], told[1]


def _number(score: float | None, measure: Measure, digits: int) -> str:
    return "not evaluated" if score is None else f"{measure.shown(score):.{digits}g} {measure.unit}".rstrip()

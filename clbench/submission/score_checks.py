"""Check that scores are possible: multiples of 1/n for n samples, of the tasks and samples that the settings name."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from clbench.core.measure import ACCURACY
from clbench.core.record import Kind, Trace
from clbench.core.types import Mask
from clbench.submission.check_results import Said, Subject
from clbench.submission.rebuilt_streams import StreamFacts

CHECK = "scores"
TOLERANCE = 1e-6
"""Largest distance from a whole number of samples that is rounding."""


def scores(subject: Subject) -> Iterator[Said]:
    """Check the scores of a trace."""
    trace = subject.trace
    if trace is None:
        return
    yield from _samples(subject, trace)
    if trace.measure != ACCURACY or trace.spread.size:
        reason = f"multiples of one sample: a score of the measure {trace.measure.name!r} is no count of samples"
        yield subject.unchecked(CHECK, reason)
    else:
        yield from _multiples(subject, trace)
    yield from _evaluated(subject, trace)


def _samples(subject: Subject, trace: Trace) -> Iterator[Said]:
    """Check the number of evaluation samples of each task against the settings and the stream."""
    wanted = (subject.record.cell.get("evaluation") or {}).get("rows_per_task")
    stream = subject.stream
    if isinstance(stream, StreamFacts):
        population = stream.population
        if trace.population.size and not np.array_equal(trace.population, population):
            yield subject.finding(CHECK, "names other numbers of test samples than its tasks have")
    elif trace.population.size:
        population = trace.population
    else:
        yield subject.unchecked(CHECK, f"the number of evaluation samples of each task: {stream}")
        return
    if len(population) != len(trace.rows):
        yield subject.finding(CHECK, f"evaluates {len(trace.rows)} tasks, and its stream has {len(population)}")
        return
    most = population if not isinstance(wanted, int) else np.minimum(wanted, population)
    if not np.array_equal(trace.rows, most):
        task = int(np.flatnonzero(trace.rows != most)[0])
        yield subject.finding(
            CHECK,
            f"evaluates {trace.rows[task]} samples of task {task}, and evaluation.rows_per_task = {wanted} gives "
            f"{most[task]}",
        )


def _multiples(subject: Subject, trace: Trace) -> Iterator[Said]:
    for name, values in (("score", trace.score), ("masked", trace.masked)):
        if not values.size:
            continue
        counts = values * trace.rows
        wrong = np.abs(counts - np.round(counts)) > TOLERANCE
        if wrong.any():
            look, task = np.argwhere(wrong)[0]
            yield subject.finding(
                CHECK,
                f"has an impossible {name} at evaluation {look + 1}: {values[look, task]:.6g} of task {task} is no "
                f"multiple of 1/{trace.rows[task]}",
            )


def _evaluated(subject: Subject, trace: Trace) -> Iterator[Said]:
    """Check that each evaluation includes exactly the tasks that the settings name."""
    which = (subject.record.cell.get("evaluation") or {}).get("tasks")
    if which is None:  # as in records of scripts
        yield subject.unchecked(CHECK, "the tasks of evaluations: its settings do not name them")
        return
    if which not in ("seen", "current", "all"):
        yield subject.finding(CHECK, f"has evaluation.tasks = {which!r}, which is none of seen, current and all")
        return
    expected = np.ones(trace.score.shape, dtype=bool)
    steps = np.flatnonzero(trace.kind == Kind.STEP)
    here = trace.experience[steps]
    if which != "all" and (here < 0).any():
        yield subject.finding(CHECK, "has an evaluation after a step that belongs to no experience")
        return
    if which == "seen":
        expected[steps] = np.logical_or.accumulate(trace.present, axis=0)[here]
    elif which == "current":
        expected[steps] = trace.present[here]
    found: Mask = ~np.isnan(trace.score)
    wrong = np.argwhere(found != expected)
    if len(wrong):
        look, task = wrong[0]
        does, should = ("evaluates", "does not") if found[look, task] else ("does not evaluate", "does")
        yield subject.finding(
            CHECK, f"{does} task {task} at evaluation {look + 1}, and evaluation.tasks = {which} {should}"
        )

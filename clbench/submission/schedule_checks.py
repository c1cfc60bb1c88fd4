"""Check that evaluations are those that the settings of a cell ask for: their number, steps and kinds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from clbench.benchmark import evaluation_schedules
from clbench.benchmark.evaluation_schedules import Due
from clbench.core.record import Kind, Trace
from clbench.submission.check_results import Said, Subject
from clbench.submission.rebuilt_streams import PartFacts, StreamFacts
from clbench.submission.trusted_code import foreign_code
from clbench.training.batch_splits import BatchSplit

CHECK = "schedule"
MOST_STEPS = 500_000
"""Runs of more steps are not planned again."""
KINDS = {Kind.START: "at the start", Kind.STEP: "after a step", Kind.END: "at an end", Kind.SWITCH: "at a switch"}

Look = tuple[int, int, int]
"""Step, kind and experience of an evaluation."""


def schedule(subject: Subject) -> Iterator[Said]:
    """Check the evaluations of a trace against the schedule of its cell, planned again without training."""
    trace, cell = subject.trace, subject.record.cell
    if trace is None:
        return
    evaluation = cell.get("evaluation") or {}
    if any(foreign_code({"evaluation": evaluation})):
        yield subject.unchecked(CHECK, "the schedule of evaluations: it uses code that is not clbench's own")
        return
    if int(trace.step[-1]) > MOST_STEPS:
        yield subject.unchecked(CHECK, f"the schedule of evaluations: the run has more than {MOST_STEPS:,} steps")
        return
    done = subject.record.status == "done"
    ends = _ends(trace, done=done)
    if isinstance(ends, str):
        yield subject.finding(CHECK, ends)
        return
    parts = subject.rebuilt.parts(subject.record)
    last = parts.at_end if isinstance(parts, PartFacts) else _ends_twice(trace)
    switches = bool(trace.competing.size) or bool((trace.kind == Kind.SWITCH).any())
    due = evaluation_schedules.due(evaluation.get("schedule") or "every", evaluation.get("every") or 0)
    found = zip(trace.step.tolist(), trace.kind.tolist(), trace.experience.tolist(), strict=True)
    yield from _compared(subject, found, _planned(due, ends, switches, last and done), done=done)
    if done:
        yield from _iterations(subject, ends)


def _ends(trace: Trace, *, done: bool) -> list[int] | str:
    """Return the step at which each experience ended, or what is wrong with the ends."""
    ends: list[int] = []
    for step, kind, experience in zip(trace.step.tolist(), trace.kind.tolist(), trace.experience.tolist(), strict=True):
        if kind == Kind.END and experience == len(ends):
            ends.append(step)
    if done and len(ends) < trace.n_experiences:
        return f"has no evaluation at the end of experience {len(ends)}"
    if not done:
        last = int(trace.experience[-1])
        if last >= len(ends):
            ends.append(int(trace.step[-1]))  # it diverged in the middle of this experience
    return ends


def _ends_twice(trace: Trace) -> bool:
    """Return whether the last two evaluations are at the end of the stream."""
    return bool(len(trace.kind) > 1 and (trace.kind[-2:] == Kind.END).all() and trace.step[-1] == trace.step[-2])


def _planned(due: Due, ends: Sequence[int], switches: bool, last: bool) -> Iterator[Look]:
    """Yield the evaluations of a run whose experiences end at given steps.

    Args:
        due: The schedule.
        ends: The step at which each experience ends.
        switches: Whether there are evaluations at switches.
        last: Whether there is one more at the end of the stream.
    """
    yield 0, Kind.START, -1
    before = 0
    for number, end in enumerate(ends):
        if switches:
            yield before, Kind.SWITCH, number
        for step in range(before + 1, end + 1):
            if due(step, step - before):
                yield step, Kind.STEP, number
        yield end, Kind.END, number
        before = end
    if last:
        yield before, Kind.END, len(ends) - 1


def _compared(subject: Subject, found: Iterable[Look], expected: Iterator[Look], *, done: bool) -> Iterator[Said]:
    """Yield the first evaluation that is not as planned. A run that diverged may end before its plan."""
    number = 0
    for number, one in enumerate(found, 1):
        other = next(expected, None)
        if one != other:
            planned = "ends before" if other is None else f"has it {_told(other)}"
            yield subject.finding(CHECK, f"has evaluation {number} {_told(one)}, and its schedule {planned}")
            return
    missing = next(expected, None) if done else None
    if missing is not None:
        yield subject.finding(CHECK, f"has {number} evaluations, and its schedule has one more {_told(missing)}")


def _told(look: Look) -> str:
    return f"{KINDS[Kind(look[1])]} in experience {look[2]} at step {look[0]}"


def _iterations(subject: Subject, ends: list[int]) -> Iterator[Said]:
    """Check the number of steps in each experience against the stream and the settings of training."""
    stream, parts = subject.stream, subject.rebuilt.parts(subject.record)
    if isinstance(stream, str) or isinstance(parts, str):
        yield subject.unchecked(CHECK, f"the number of steps in each experience: {stream}")
        return
    if len(ends) != len(stream.sizes):
        yield subject.finding(CHECK, f"learned {len(ends)} experiences, and its stream has {len(stream.sizes)}")
        return
    steps = np.diff([0, *ends]).tolist()
    wanted = steps_of(subject.record.cell["training"], stream)
    if any(steps == each for each in wanted):
        return
    training = subject.record.cell["training"]
    if training.get("stop") is not None:
        if all(count <= most for count, most in zip(steps, wanted[0], strict=True)):
            yield subject.unchecked(CHECK, "the number of steps in each experience: the run may end passes early")
            return
    elif parts.engine:
        yield subject.unchecked(CHECK, "the number of steps in each experience: another library's loop decides it")
        return
    elif parts.arranges:
        yield subject.unchecked(CHECK, "the number of steps in each experience: a part changes which samples it holds")
        return
    number = next(i for i, (one, other) in enumerate(zip(steps, wanted[0], strict=True)) if one != other)
    yield subject.finding(
        CHECK,
        f"made {steps[number]} steps in experience {number}, and its settings and stream give {wanted[0][number]}",
    )


def steps_of(training: Mapping[str, Any], stream: StreamFacts) -> list[list[int]]:
    """Return the number of steps in each experience: two answers, because a last batch of one sample joins the batch
    before it if the model needs two.

    Args:
        training: The section of the cell.
        stream: The facts of its stream.
    """
    iterations = training.get("iterations")
    if iterations is not None:
        return [[iterations * stream.share if size else 0 for size in stream.sizes]]
    splits = [BatchSplit(training["batch_size"], bool(training.get("drop_last")), fewest) for fewest in (1, 2)]
    return [[epochs_of(training, e) * split.count(size) for e, size in enumerate(stream.sizes)] for split in splits]


def epochs_of(training: Mapping[str, Any], experience: int) -> int:
    """Return the number of passes over an experience, counted from 0; the first may have a number of its own.

    Args:
        training: The section of the cell.
        experience: The experience.
    """
    own = {} if experience else training.get("first") or {}
    return int(own.get("epochs", training["epochs"]))

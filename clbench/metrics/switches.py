"""What happened to each old task at each switch: what the arrival of outputs did, and what training did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from clbench.core.errors import Refused
from clbench.core.record import Kind, Trace
from clbench.core.types import Index, Mask
from clbench.metrics.ends import Scores, end_looks, end_scores
from clbench.metrics.looks import step_looks
from clbench.metrics.metric import Undefined

Since = Literal["switch", "end"]
"""The look that falls are measured from: the one at the switch, or the last one at the end of the experience before."""

# Accuracies are multiples of 1/rows: this forgives the rounding of a level that one of them should reach exactly.
TOLERANCE = 1e-9

OWN = 2
"""The value of ``trace.units`` where a unit is one of the task's own classes."""

OLDER = (
    "the record is older than the look at a switch, so what training does cannot be told from what the arrival of "
    "outputs does; run it again, or ask for the name with @1, which is measured from the end before"
)


@dataclass(frozen=True, eq=False)
class Switches:
    """What happened to each old task in each experience that held none of its rows; n pairs, arrays of shape (n,).

    Args:
        task: The old task.
        experience: The experience that began with the switch.
        iteration: Iterations done when it began.
        length: Its length in iterations.
        ended: Accuracy on the task at the end of the experience before, in [0, 1].
        before: Accuracy when the experience began: its classes compete, and no step was taken. The same as ``ended``
            where falls are measured from the end before.
        expansion: ``ended - before``: what the arrival of outputs does.
        error: Standard error of ``before``, from the rows looked at.
        chance: Accuracy of guessing among the classes that compete at the look of ``before``; NaN where the trace does
            not tell.
        lowest: Smallest accuracy over the looks of the experience.
        lowest_error: Standard error of ``lowest``.
        lowest_after: Iterations from the switch to it.
        depth: ``max(0, before - lowest)``.
        residual: ``before`` minus the accuracy at the end of the experience; negative after a gain.
        transient: The part of the depth that was regained by the end, ``depth - max(0, residual)``.
        area: Mean accuracy missing below ``before``, over the iterations of the experience.
        recovery: Iterations from the switch to the recovery; the length where censored, NaN where nothing fell.
        censored: Whether accuracy fell and had not recovered when the experience ended.
    """

    task: Index
    experience: Index
    iteration: Index
    length: Index
    ended: Scores
    before: Scores
    expansion: Scores
    error: Scores
    chance: Scores
    lowest: Scores
    lowest_error: Scores
    lowest_after: Index
    depth: Scores
    residual: Scores
    transient: Scores
    area: Scores
    recovery: Scores
    censored: Mask

    def __len__(self) -> int:
        return len(self.task)

    @property
    def above_chance(self) -> Mask:
        """(n,) whether there was something to lose: ``before`` is above chance by more than two standard errors.

        Raises:
            Undefined: The trace does not tell how many classes compete.
        """
        if np.isnan(self.chance).any():
            raise Undefined("the record does not tell how many classes compete at its looks; run it again")
        return self.before > self.chance + 2 * self.error + TOLERANCE

    @property
    def fell(self) -> Mask:
        """(n,) whether accuracy fell by more than two standard errors, the larger ones of the two scores compared."""
        return self.depth > 2 * np.maximum(self.error, self.lowest_error) + TOLERANCE


def switches(trace: Trace, *, level: float = 0.9, since: Since = "switch") -> Switches:
    """All pairs of an old task and an experience in which it is absent.

    Recovery is the first look after the minimum at which accuracy, smoothed by the median of three looks, is back at
    ``lowest + level * (before - lowest)``. Depth is never smoothed.

    Args:
        trace: Of a finished run.
        level: Share of the depth that has to be regained, in (0, 1].
        since: The look that is ``before``. From ``"switch"`` on all that happens is what training does; ``"end"``
            counts what the arrival of outputs does as well.

    Raises:
        Refused: ``level`` is outside.
        Undefined: There is no such pair, there are no step looks, the run stopped early, or what training does cannot
            be told; see :func:`before_switches`.

    Source: our definition, after the variants of the stability-gap literature (De Lange et al. 2023; Hess et al. 2023).
    """
    if not 0 < level <= 1:
        raise Refused(f"a recovery to {level} of the depth means nothing; use a level above 0 and at most 1")
    step_looks(trace)
    ends, scores, old = end_looks(trace), end_scores(trace), old_pairs(trace)
    at = before_switches(trace) if since == "switch" else _ends_before(ends)
    experience = np.arange(trace.n_experiences)[:, None]
    finish = trace.step[ends]
    begin = np.append(0, finish[:-1])
    before = trace.score[at]  # (E, T)
    details = _details(trace, before, begin=begin, level=level)
    shared = {"experience": experience, "iteration": begin[:, None], "length": (finish - begin)[:, None]}
    ended = scores[np.maximum(experience[:, 0] - 1, 0)]  # nothing is old in the first experience
    found = {"ended": ended, "before": before, "expansion": ended - before, "error": trace.error_of(before)}
    found |= {"chance": _chance(trace, at), "lowest_error": trace.error_of(details["lowest"].astype(float))}
    pairs = {"task": np.arange(trace.n_tasks), **shared, **found, **details}
    return Switches(**{name: np.broadcast_to(values, old.shape)[old] for name, values in pairs.items()})


def old_pairs(trace: Trace) -> Mask:
    """(E, T) whether a task was seen before an experience and is absent from it.

    Raises:
        Undefined: That is nowhere so.
    """
    old = (trace.first_visit < np.arange(trace.n_experiences)[:, None]) & ~trace.present
    if not old.any():
        raise Undefined("no task was ever absent after its first visit")
    return old


def before_switches(trace: Trace) -> Index:
    """Position of the look that each experience begins with, (E,): from it on, all that happens is what training does.

    It is the look at the switch. Where there is none, or classes begin to compete later (hidden boundaries), the end
    before serves if the classes that compete on old tasks are provably the same until the experience ends.

    Raises:
        Undefined: They are not, or the trace does not tell.
    """
    old, at = old_pairs(trace), _ends_before(end_looks(trace))
    switch = np.flatnonzero(trace.kind == Kind.SWITCH)
    at[trace.experience[switch]] = switch
    if trace.competing.size:
        later = np.isin(trace.kind, (Kind.STEP, Kind.END))
        running = np.maximum(trace.experience, 0)
        grew = (trace.competing > 0) & (trace.competing != trace.competing[at][running])  # (K, T)
        grew &= later[:, None] & old[running]
        if grew.any():
            experience = trace.experience[np.flatnonzero(grew.any(axis=1))[0]]
            raise Undefined(
                f"in experience {experience} classes begin to compete after its first step, so what training does "
                "cannot be told from what the arrival of outputs does; the name with @1 is measured from the end before"
            )
    elif not np.isin(np.flatnonzero(old.any(axis=1)), trace.experience[switch]).all():
        first = int(np.argmax(old.any(axis=1)))
        if not _settled(trace, np.flatnonzero(trace.first_visit < first)):
            raise Undefined(OLDER)
    left_out = np.argwhere(np.isnan(trace.score[at]) & old)
    if len(left_out):
        experience, task = left_out[0]
        raise Undefined(f"task {task} was not looked at when experience {experience} began")
    return at


def measured_from_switches(trace: Trace) -> bool:
    """Whether what training does at switches can be told; true where there is nothing to tell."""
    try:
        old_pairs(trace)
        end_looks(trace)
    except Undefined:
        return True
    try:
        before_switches(trace)
    except Undefined:
        return False
    return True


def before_first(trace: Trace) -> int:
    """Position of the look before the first step among the classes that compete after it: that at the first switch.

    Raises:
        Undefined: There is none, and the look at the start is not provably among the same classes.
    """
    switch = np.flatnonzero((trace.kind == Kind.SWITCH) & (trace.experience == 0))
    start = np.flatnonzero(trace.kind == Kind.START)
    at = switch if len(switch) else start
    if not len(at):
        raise Undefined("there is no look before the first iteration")
    tasks = np.flatnonzero(trace.first_visit == 0)
    if trace.competing.size:
        step = int(np.argmax((trace.kind == Kind.STEP) | (trace.kind == Kind.END)))
        if (trace.competing[step, tasks] != trace.competing[at[0], tasks]).any():
            raise Undefined("classes begin to compete with the first step: no look before it is among the same ones")
    elif not len(switch) and not _settled(trace, tasks):
        raise Undefined(OLDER)
    return int(at[0])


def _settled(trace: Trace, tasks: Index) -> bool:
    """Whether a trace without the number of classes that compete at each look proves that it stays the same from the
    time on when some tasks were seen: by its settings, or by its units, where only a task's own classes compete with
    each other or these tasks have all.
    """
    if trace.settled:
        return True
    if not trace.units.size:
        return False
    own, visited = trace.units == OWN, trace.first_visit < trace.n_experiences
    return bool((own == (trace.units > 0))[visited].all() or own[tasks].any(axis=0).all())


def _ends_before(ends: Index) -> Index:
    """(E,) the end look before each experience; for the first, in which nothing is old, its own."""
    return np.concatenate([ends[:1], ends[:-1]]).astype(np.int64)


def _chance(trace: Trace, at: Index) -> Scores:
    """(E, T) accuracy of guessing among the classes that compete at some looks (E,); NaN where that is not known."""
    classes: NDArray[np.integer]
    if trace.competing.size:
        classes = trace.competing[at]
    elif trace.units.size:
        classes = np.broadcast_to((trace.units > 0).sum(axis=1), (len(at), trace.n_tasks))
    else:
        classes = np.zeros((len(at), trace.n_tasks), dtype=np.int64)
    chance: NDArray[np.float64] = np.divide(1.0, classes, out=np.full(classes.shape, np.nan), where=classes > 0)
    return chance


def _details(trace: Trace, before: Scores, *, begin: Index, level: float) -> dict[str, NDArray[np.generic]]:
    """Depth, recovery and so on of each experience and task, (E, T), all experiences at once.

    Looks are put side by side, each experience a segment; what belongs to tasks that are not old in it means nothing.
    """
    looks = np.flatnonzero(np.isin(trace.kind, (Kind.STEP, Kind.END)))
    looks = looks[np.argsort(trace.experience[looks], kind="stable")]
    experience, place = trace.experience[looks], np.arange(len(looks))[:, None]
    first = np.searchsorted(experience, np.arange(trace.n_experiences))  # (E,) where segments begin
    last = np.append(first[1:], len(looks)) - 1
    score = np.nan_to_num(trace.score[looks])
    since = trace.step[looks] - begin[experience]
    length = since[last][:, None]
    passed = np.diff(since, prepend=0)
    passed[first] = since[first]

    def first_where(condition: Mask) -> Index:
        return np.minimum.reduceat(np.where(condition, place, len(looks)), first)

    lowest = np.minimum.reduceat(score, first)
    lowest_at = first_where(score == lowest[experience])
    depth = np.maximum(0.0, before - lowest)
    residual = before - score[last]
    missing = np.maximum(0.0, before[experience] - score) * passed[:, None]
    left, right = np.maximum(place[:, 0] - 1, first[experience]), np.minimum(place[:, 0] + 1, last[experience])
    back = _median(score[left], score, score[right]) >= (lowest + level * depth - TOLERANCE)[experience]
    back_at = first_where(back & (place > lowest_at[experience]))
    fell, never = depth > 0, back_at == len(looks)
    return {
        "lowest": lowest,
        "lowest_after": since[lowest_at],
        "depth": depth,
        "residual": residual,
        "transient": depth - np.maximum(0.0, residual),
        "area": np.add.reduceat(missing, first) / np.maximum(length, 1),
        "recovery": np.where(fell, np.where(never, length, since[np.minimum(back_at, len(looks) - 1)]), np.nan),
        "censored": fell & never,
    }


def _median(a: Scores, b: Scores, c: Scores) -> Scores:
    return np.maximum(np.minimum(a, c), np.minimum(np.maximum(a, c), b))

"""Events at each switch for each old task: the effect of new outputs, and the effect of training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from clbench.core.errors import Refused
from clbench.core.measure import ACCURACY, Measure
from clbench.core.record import Kind, Trace
from clbench.core.types import Index, Mask
from clbench.metrics.accuracy_matrix import Scores, end_looks, end_scores
from clbench.metrics.anytime import step_looks
from clbench.metrics.metric import Undefined
from clbench.metrics.once_per_trace import once_per_trace

Since = Literal["switch", "end"]
"""The evaluation from which falls are measured: the one at the switch, or the last one of the experience before."""

# Accuracies are multiples of 1/samples: this tolerates rounding where one of them reaches a level exactly.
TOLERANCE = 1e-9

OWN = 2
"""The value of ``trace.units`` for a task's own classes."""

OLDER = (
    "the record is older than evaluations at switches, so the effect of training cannot be separated from that of "
    "new outputs; run it again, or use the metric with @1, which is measured from the end before"
)


@dataclass(frozen=True, eq=False)
class Switches:
    """Hold the changes on each old task in each experience without its samples; n pairs, arrays of shape (n,).

    Args:
        task: The old task.
        experience: The experience that began with the switch.
        iteration: Number of iterations before it.
        length: Its length in iterations.
        ended: Accuracy on the task at the end of the experience before, in [0, 1].
        before: Accuracy when the experience has begun: its classes compete, and no step was taken. Equal to ``ended``
            if falls are measured from the end before.
        expansion: ``ended - before``: the effect of new outputs.
        error: Standard error of ``before``, from the evaluated samples.
        chance: Score of guessing: that of the measure, or accuracy among the classes that compete in the evaluation of
            ``before``; NaN if the trace does not contain it.
        lowest: Lowest accuracy over the evaluations of the experience.
        lowest_error: Standard error of ``lowest``.
        lowest_after: Iterations from the switch to ``lowest``.
        depth: ``max(0, before - lowest)``.
        residual: ``before`` minus the accuracy at the end of the experience; negative after a gain.
        transient: The part of the depth that was regained by the end, ``depth - max(0, residual)``.
        area: Mean accuracy missing below ``before``, over the iterations of the experience.
        recovery: Iterations from the switch to the recovery; the length if censored, NaN if nothing fell.
        censored: Whether accuracy fell and had not recovered at the end of the experience.
        measure: What scores are.
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
    measure: Measure = ACCURACY

    def __len__(self) -> int:
        return len(self.task)

    @property
    def above_chance(self) -> Mask:
        """Return whether there was accuracy to lose, (n,): ``before`` is above chance by more than two standard errors.

        Raises:
            Undefined: Scores have no chance level, or the trace does not contain the number of competing classes.
        """
        if self.measure.chance is None:
            raise Undefined(f"{self.measure.name} has no chance level")
        if np.isnan(self.chance).any():
            raise Undefined("the record does not contain the number of classes that compete; run it again")
        return self.before > self.chance + 2 * self.error + TOLERANCE

    @property
    def fell(self) -> Mask:
        """Return whether accuracy fell by more than two standard errors, (n,); the larger error of the two scores
        counts."""
        return self.depth > 2 * np.maximum(self.error, self.lowest_error) + TOLERANCE


@once_per_trace
def switches(trace: Trace, *, level: float = 0.9, since: Since = "switch") -> Switches:
    """Return all pairs of an old task and an experience in which it is absent.

    Recovery is the first evaluation after the minimum at which accuracy, smoothed by the median of three evaluations,
    reaches ``lowest + level * (before - lowest)``. Depth is not smoothed.

    Args:
        trace: The trace of a finished run.
        level: Share of the depth that must be regained, in (0, 1].
        since: The evaluation that is ``before``. From ``"switch"``, only training has an effect. From ``"end"``, the
            effect of new outputs is included.

    Raises:
        Refused: ``level`` is outside (0, 1].
        Undefined: There is no such pair, there are no evaluations after steps, the run stopped early, or the effect of
            training cannot be separated; see :func:`before_switches`.

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
    ended = scores[np.maximum(experience[:, 0] - 1, 0)]  # no task is old in the first experience
    found = {"ended": ended, "before": before, "expansion": ended - before, "error": trace.standard_error[at]}
    found |= {"chance": _chance(trace, at)}
    pairs = {"task": np.arange(trace.n_tasks), **shared, **found, **details}
    return Switches(
        **{name: np.broadcast_to(values, old.shape)[old] for name, values in pairs.items()}, measure=trace.measure
    )


@once_per_trace
def old_pairs(trace: Trace) -> Mask:
    """Return whether a task was seen before an experience and is absent from it, (E, T).

    Raises:
        Undefined: There is no such pair.
    """
    old = (trace.first_visit < np.arange(trace.n_experiences)[:, None]) & ~trace.present
    if not old.any():
        raise Undefined("no task was ever absent after its first visit")
    return old


@once_per_trace
def before_switches(trace: Trace) -> Index:
    """Return the position of the evaluation after which only training has an effect, for each experience, (E,).

    It is the evaluation at the switch. If there is none, or if classes begin to compete later (hidden boundaries), it
    is the end before, provided that the classes that compete on old tasks provably stay the same until the experience
    ends.

    Raises:
        Undefined: They do not, or the trace does not contain it.
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
                f"in experience {experience} classes begin to compete after its first step, so the effect of training "
                "cannot be separated from that of new outputs; the metric with @1 is measured from the end before"
            )
    elif not np.isin(np.flatnonzero(old.any(axis=1)), trace.experience[switch]).all():
        first = int(np.argmax(old.any(axis=1)))
        if not _settled(trace, np.flatnonzero(trace.first_visit < first)):
            raise Undefined(OLDER)
    left_out = np.argwhere(np.isnan(trace.score[at]) & old)
    if len(left_out):
        experience, task = left_out[0]
        raise Undefined(f"task {task} was not evaluated when experience {experience} began")
    return at


def measured_from_switches(trace: Trace) -> bool:
    """Return whether the effect of training at switches can be separated; true if there is no old task."""
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
    """Return the position of the evaluation before the first step among the same classes: the one at the first switch.

    Raises:
        Undefined: There is none, and the evaluation at the start does not provably have the same classes.
    """
    switch = np.flatnonzero((trace.kind == Kind.SWITCH) & (trace.experience == 0))
    start = np.flatnonzero(trace.kind == Kind.START)
    at = switch if len(switch) else start
    if not len(at):
        raise Undefined("there is no evaluation before the first iteration")
    tasks = np.flatnonzero(trace.first_visit == 0)
    if trace.competing.size:
        step = int(np.argmax((trace.kind == Kind.STEP) | (trace.kind == Kind.END)))
        if (trace.competing[step, tasks] != trace.competing[at[0], tasks]).any():
            raise Undefined("classes begin to compete with the first step: no evaluation before it has the same ones")
    elif not len(switch) and not _settled(trace, tasks):
        raise Undefined(OLDER)
    return int(at[0])


def _settled(trace: Trace, tasks: Index) -> bool:
    """Return whether a trace without numbers of competing classes proves that they stay the same after tasks were seen.

    The proof is in its settings, or in its units: only a task's own classes compete, or these tasks have all classes.
    """
    if trace.settled:
        return True
    if not trace.units.size:
        return False
    own, visited = trace.units == OWN, trace.first_visit < trace.n_experiences
    return bool((own == (trace.units > 0))[visited].all() or own[tasks].any(axis=0).all())


def _ends_before(ends: Index) -> Index:
    """Return the end before each experience, (E,); for the first one, in which no task is old, its own."""
    return np.concatenate([ends[:1], ends[:-1]]).astype(np.int64)


def _chance(trace: Trace, at: Index) -> Scores:
    """Return the score of guessing in some evaluations (E,), (E, T); NaN if unknown."""
    if trace.measure.chance != "classes":
        level = np.nan if trace.measure.chance is None else trace.measure.chance
        return np.full((len(at), trace.n_tasks), level)
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
    """Compute depth, recovery and so on of each experience and task, (E, T), for all experiences at once.

    Evaluations are concatenated, with one segment per experience. Values for tasks that are not old have no meaning.
    """
    looks = np.flatnonzero(np.isin(trace.kind, (Kind.STEP, Kind.END)))
    looks = looks[np.argsort(trace.experience[looks], kind="stable")]
    experience, place = trace.experience[looks], np.arange(len(looks))[:, None]
    first = np.searchsorted(experience, np.arange(trace.n_experiences))  # (E,) start of each segment
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
    errors = np.nan_to_num(trace.standard_error[looks])
    return {
        "lowest": lowest,
        "lowest_error": np.take_along_axis(errors, lowest_at, axis=0),
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

"""The speed of learning on first visits: LCA, iterations to a criterion, forward facilitation."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from clbench.core.errors import Refused
from clbench.core.record import Kind, Trace
from clbench.core.types import Index, Mask
from clbench.metrics.accuracy_matrix import Scores, end_looks, visited
from clbench.metrics.anytime import step_looks
from clbench.metrics.metric import Metric, Undefined
from clbench.metrics.switches import before_first

# Accuracies are multiples of 1/samples: this tolerates rounding where one of them reaches a criterion exactly.
TOLERANCE = 1e-9


def _at_switches(trace: Trace) -> Index:
    """Return the position of the evaluation before each experience, (E,): the start, then the ends; -1 without a
    start."""
    start = np.flatnonzero(trace.kind == Kind.START)
    return np.concatenate([start[-1:] if len(start) else [-1], end_looks(trace)[:-1]]).astype(np.int64)


def _began(trace: Trace) -> Index:
    """Return the number of iterations before each experience, (E,)."""
    return np.concatenate([[0], trace.step[end_looks(trace)[:-1]]]).astype(np.int64)


def learning_curves(trace: Trace, beta: int) -> Scores:
    """Return the accuracy on each visited task after b = 0, ..., beta batches of its first visit, (n, beta + 1).

    Raises:
        Undefined: A first visit is shorter, or an evaluation is missing.
    """
    looks = step_looks(trace, all_seen=False)
    tasks = visited(trace)
    first = trace.first_visit[tasks]
    before = _at_switches(trace)[first]
    zero = np.where(before < 0, np.nan, trace.score[before, tasks])  # (n,)
    if np.isnan(zero).any():
        raise Undefined(f"task {tasks[np.isnan(zero)][0]} was not evaluated just before its first visit")
    wanted = _began(trace)[first][:, None] + np.arange(1, beta + 1)  # (n, beta)
    at = np.minimum(np.searchsorted(looks.step, wanted), len(looks.step) - 1)
    score = looks.score[at, tasks[:, None]]
    there = (looks.step[at] == wanted) & (looks.experience[at] == first[:, None]) & ~np.isnan(score)
    if not there.all():
        short = int(np.argmin(there.all(axis=1)))
        raise Undefined(
            f"the first visit of task {tasks[short]} was evaluated after {there[short].sum()} of {beta} batches; "
            "all are needed, as with evaluation.every at 1"
        )
    return np.column_stack([zero, score])


def _as_released(trace: Trace, beta: int) -> float:
    """Return LCA as released code of the stability gap computes it, from beta values.

    The values are those after 1, ..., beta batches. For tasks of the first experience they are those after 0, ..., beta
    - 1 batches, since the first evaluation comes before the first update.
    """
    curves, first = learning_curves(trace, beta), trace.first_visit[visited(trace)] == 0
    early = curves[first, :-1]
    early[:, 0] = trace.score[before_first(trace), visited(trace)[first]]
    return float(np.append(early.mean(axis=1), curves[~first, 1:].mean(axis=1)).mean())


def lca(beta: int = 10, *, zero_shot: bool = True, initial: bool = False) -> Metric:
    """Return the learning curve area: the mean accuracy on a task over the first batches of its first visit.

    Args:
        beta: Number of batches, at least 0.
        zero_shot: Whether the accuracy before the first batch counts, as in the paper: beta + 1 values. Released code
            of the stability gap averages beta values; ``False`` takes those after 1, ..., beta batches.
        initial: Whether to follow the released code exactly: as with ``zero_shot=False``, but in the first experience
            after 0, ..., beta - 1 batches.

    Raises:
        Refused: No value would remain to average.

    Source: Chaudhry et al. 2019 (A-GEM), LCA. The zero-shot value is from the last evaluation before the visit.
    """
    if beta < 0 or (beta == 0 and (initial or not zero_shot)):
        raise Refused(f"LCA over {beta} batches averages nothing; use 1 or more (or 0 with the zero-shot accuracy)")
    if initial:
        return replace(
            lca(beta, zero_shot=False),
            name=f"lca_initial{beta}",
            title=f"LCA{beta} (initial)",
            function=lambda trace: _as_released(trace, beta),
            formula=f"mean over tasks of the mean of A after 1, …, {beta} batches of the first visit, or after 0, …, "
            f"{beta - 1} in the first experience",
            source="released code of De Lange et al. 2023",
            needs="evaluations of the visited task after each of its batches, at the first switch and at ends",
        )
    first = 0 if zero_shot else 1
    return Metric(
        name=f"lca{beta}",
        title=f"LCA{beta}",
        function=lambda trace: float(learning_curves(trace, beta)[:, first:].mean()),
        formula=f"mean over tasks of the mean of A after {first}, …, {beta} batches of the first visit",
        low=0,
        high=1,
        higher_is_better=True,
        source="Chaudhry et al. 2019 (A-GEM)" + ("" if zero_shot else ", without the zero-shot accuracy"),
        needs="evaluations of the visited task after each of its batches, and at the start and at ends",
        unit="score",
    )


@dataclass(frozen=True, eq=False)
class FirstVisits:
    """Hold how long each visited task took to reach a criterion; n tasks, arrays of shape (n,).

    Args:
        task: The task.
        experience: The experience of its first visit.
        iterations: Iterations from the beginning of that experience to the first evaluation at or above the criterion;
            0 if it was reached before, the length of the experience if ``censored``.
        censored: Whether the criterion was not reached in that experience.
    """

    task: Index
    experience: Index
    iterations: Index
    censored: Mask

    def __len__(self) -> int:
        return len(self.task)


def first_visits(trace: Trace, *, criterion: float = 0.9) -> FirstVisits:
    """Return how many iterations each task's first visit took to reach an accuracy.

    Args:
        trace: The trace of a finished run with evaluations after steps; their period is the resolution.
        criterion: The accuracy, in (0, 1].

    Raises:
        Refused: ``criterion`` is outside (0, 1].
        Undefined: There are no evaluations after steps, one left out the visited task, or the run stopped early.
    """
    if not 0 < criterion <= 1:
        raise Refused(f"an accuracy of {criterion} is no criterion; use one above 0 and at most 1")
    step_looks(trace, all_seen=False)
    tasks, began, before = visited(trace), _began(trace), _at_switches(trace)
    iterations, censored = np.zeros(len(tasks), dtype=np.int64), np.zeros(len(tasks), dtype=bool)
    for place, task in enumerate(tasks):
        experience = trace.first_visit[task]
        looks = np.flatnonzero((trace.experience == experience) & (trace.kind != Kind.SWITCH))
        if np.isnan(trace.score[looks, task]).any():
            raise Undefined(f"task {task} was not evaluated throughout its first visit")
        since = np.append(0, trace.step[looks] - began[experience])
        score = np.append(
            trace.score[before[experience], task] if before[experience] >= 0 else np.nan, trace.score[looks, task]
        )
        reached = score >= criterion - TOLERANCE
        censored[place] = not reached.any()
        iterations[place] = since[-1] if censored[place] else since[reached.argmax()]
    return FirstVisits(tasks, trace.first_visit[tasks], iterations, censored)


def facilitation(trace: Trace, *, criterion: float = 0.9) -> float:
    """Return the forward facilitation: whether later tasks reach a criterion in fewer iterations.

    It is minus Spearman's rank correlation between the experience of a task's first visit and the iterations it took: 1
    if each task is faster than all before it, -1 if it is slower. Tasks that did not reach the criterion count with the
    length of the experience; see ``facilitation_censored``.

    Raises:
        Undefined: There are fewer than three tasks, none reached the criterion, or all values are equal.
    """
    from scipy.stats import spearmanr

    found = first_visits(trace, criterion=criterion)
    if len(found) < 3:
        raise Undefined(f"a rank correlation needs three tasks, here are {len(found)}")
    if found.censored.all():
        raise Undefined(f"no task reached {100 * criterion:g} % on its first visit")
    if len(set(found.experience)) == 1:
        raise Undefined("all tasks were first visited in the same experience")
    if len(set(found.iterations)) == 1:
        raise Undefined(f"every task took {found.iterations[0]} iterations to the criterion")
    return -float(spearmanr(found.experience, found.iterations).statistic)


def facilitation_censored(trace: Trace, *, criterion: float = 0.9) -> float:
    """Return the fraction of tasks that did not reach the criterion during their first visit."""
    return float(first_visits(trace, criterion=criterion).censored.mean())


def facilitation_at(percent: int) -> Metric:
    """Return the metric of :func:`facilitation` for a criterion in percent.

    Raises:
        Refused: It is not in 1 to 100.
    """
    if not 1 <= percent <= 100:
        raise Refused(f"an accuracy of {percent} % is no criterion; use one from 1 to 100")
    return Metric(
        name=f"facilitation{percent}",
        title=f"Facilitation ({percent} %)",
        function=lambda trace: facilitation(trace, criterion=percent / 100),
        formula=f"minus Spearman's correlation of the experience of first visit and its iterations to {percent} %",
        low=-1,
        high=1,
        higher_is_better=True,
        source="our definition; facilitation proper subtracts the same of a network trained on each task from scratch",
        needs="evaluations of the visited task after steps, and at the start and at ends",
        unit="correlation",
        bounded=True,
    )


LCA10 = lca(10)
FACILITATION = replace(facilitation_at(90), name="facilitation", title="Facilitation")
FACILITATION_CENSORED = Metric(
    name="facilitation_censored",
    title="Below criterion",
    function=facilitation_censored,
    formula="fraction of tasks that did not reach 90 % accuracy on their first visit",
    low=0,
    high=1,
    higher_is_better=False,
    source="our definition",
    needs="evaluations of the visited task after steps, and at the start and at ends",
    bounded=True,
)

"""Retention: accuracy by the time since a task was last seen or first introduced, and fitted laws of its loss."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from clbench.core.record import Trace
from clbench.core.types import Index
from clbench.metrics.accuracy_matrix import Scores, at_ends, end_looks, end_scores
from clbench.metrics.metric import Metric, Undefined

Unit = Literal["experiences", "iterations"]
Since = Literal["last", "first"]
"""The start of a lag: the end of the task's last visit, or of its first visit, its introduction."""
Form = Literal["power", "exponential"]


@dataclass(frozen=True, eq=False)
class ByLag:
    """Hold accuracy by time since last seen or first introduced; n distinct lags, arrays of shape (n,).

    Args:
        lag: Experiences (or iterations) since the task's last (or first) visit ended, ascending; 0 is its end.
        accuracy: Mean over the pairs of a task and an end of an experience at that lag, in [0, 1].
        pairs: Number of pairs.
        error: Standard error of the accuracy from the number of evaluation samples. Evaluations of one task at one lag
            count as one, since they share their samples. (0,) if unknown.
    """

    lag: Index
    accuracy: Scores
    pairs: Index
    error: Scores = field(default_factory=lambda: np.zeros(0))

    def __len__(self) -> int:
        return len(self.lag)


def lags(trace: Trace, *, since: Since = "last", unit: Unit = "experiences") -> Index:
    """Return the time since the last or the first visit of each task at each end, (E, T); -1 before the first.

    Raises:
        Undefined: The run stopped early.
    """
    experience = np.arange(trace.n_experiences)[:, None]
    visit = np.maximum.accumulate(np.where(trace.present, experience, -1), axis=0)  # (E, T)
    if since == "first":
        visit = np.where(visit >= 0, trace.first_visit, -1)
    clock = experience if unit == "experiences" else trace.step[end_looks(trace)][:, None]
    lag: Index = np.where(visit >= 0, clock - clock[visit, 0], -1)
    return lag


def by_lag(trace: Trace, *, since: Since = "last", unit: Unit = "experiences", task: int | None = None) -> ByLag:
    """Return the mean accuracy at ends of experiences, by the time since the task was last seen or first introduced.

    Long lags belong to tasks that came early. If that matters, use one ``task``.

    Args:
        trace: The trace of a finished run.
        since: The start of lags: the end of the ``last`` visit, with 0 while the task is present; or of the ``first``
            visit, for streams that rehearse every task repeatedly.
        unit: The unit of lags.
        task: One task; all of them by default.

    Raises:
        Undefined: The run stopped early, an evaluation at an end left out a task, or the task was never visited.

    Source: our definition; time since last seen as in Lesort et al. 2022 (SCoLe), since first introduction as in the
    power-law environments of Gandhi et al. 2024.
    """
    scores, lag = end_scores(trace), lags(trace, since=since, unit=unit)  # (E, T)
    errors = at_ends(trace, trace.standard_error)
    if task is not None:
        lag = np.where(np.arange(trace.n_tasks) == task, lag, -1)
    found = np.unique(lag[lag >= 0])
    if not len(found):
        raise Undefined(f"task {task} was never visited")
    mean, error, pairs = np.empty(len(found)), np.empty(len(found)), np.empty(len(found), dtype=np.int64)
    for at, value in enumerate(found):
        count = (lag == value).sum(axis=0)  # (T,)
        own = np.where(lag == value, scores, 0.0).sum(axis=0) / np.maximum(count, 1)
        of_rows = _error(trace, own, np.where(lag == value, errors, 0.0).sum(axis=0) / np.maximum(count, 1))
        pairs[at], weight = count.sum(), count / count.sum()
        mean[at], error[at] = weight @ own, np.sqrt(np.square(weight) @ np.square(of_rows))
    return ByLag(found, mean, pairs, error)


def _error(trace: Trace, mean: Scores, errors: Scores) -> Scores:
    """Return the standard error (T,) of the mean score of a task at several ends, at which its samples are the same.

    It is that of the mean accuracy or, if scores are not accuracies, the mean of the ends' own ``errors``.
    """
    return errors if trace.spread.size else trace.error_of(mean)


def _mean_over(trace: Trace, *, present: bool) -> float:
    scores = end_scores(trace)
    seen = trace.first_visit <= np.arange(trace.n_experiences)[:, None]
    pairs = seen & (trace.present == present)
    if not pairs.any():
        raise Undefined("no task was ever absent after its first visit")
    return float(scores[pairs].mean())


def acc_present(trace: Trace) -> float:
    """Return the mean accuracy over the tasks present in an experience, at its end: all pairs at lag 0."""
    return _mean_over(trace, present=True)


def acc_absent(trace: Trace) -> float:
    """Return the mean accuracy over the old tasks absent from an experience, at its end: all pairs at lags above 0."""
    return _mean_over(trace, present=False)


@dataclass(frozen=True, eq=False)
class Law:
    """Hold a fitted law of retention.

    Args:
        form: ``power`` is ``floor + a (1 + lag)^-b``, ``exponential`` is ``floor + a exp(-b lag)``.
        a: Accuracy above the floor at lag 0.
        b: Rate of loss; negative if accuracy rises.
        floor: The given accuracy that is never lost.
        residuals: (n,) accuracy minus the law, per lag.
        aic: Akaike's criterion, ``n log(RSS / n) + 6``, up to a constant that both laws share. RSS weights a lag by its
            pairs, relative to their mean. Three parameters are counted; the variance is one of them.
    """

    form: Form
    a: float
    b: float
    floor: float
    residuals: Scores
    aic: float

    def __call__(self, lag: Index | Scores | float) -> Scores:
        """Return the accuracy that the law gives for some lags."""
        return np.asarray(self.floor + LAWS[self.form](np.asarray(lag, dtype=float), self.a, self.b))


@dataclass(frozen=True, eq=False)
class Retention:
    """Hold both laws, fitted to one table; ``better`` names the one with the lower AIC, or ``neither`` if both fit
    exactly."""

    table: ByLag
    power: Law
    exponential: Law
    better: Literal["power", "exponential", "neither"]


LAWS: dict[str, Callable[[Scores, float, float], Scores]] = {
    "power": lambda lag, a, b: a * (1 + lag) ** -b,
    "exponential": lambda lag, a, b: a * np.exp(-b * lag),
}

# A smaller root-mean-square residual is rounding, and does not show which law is right.
EXACT = 1e-9


def retention(table: ByLag, *, floor: float = 0.0) -> Retention:
    """Fit a power law and an exponential to accuracy by lag.

    Both have two parameters and the value ``floor + a`` at lag 0; ``1 + lag`` keeps the power law finite there.

    Args:
        table: A table of :func:`by_lag`; a lag is weighted by its number of pairs.
        floor: The accuracy of guessing, in [0, 1), below which nothing is lost.

    Raises:
        Undefined: There are fewer than three lags, no accuracy is above the floor, or a fit does not converge.

    Source: the two forms of Wixted and Ebbesen 1991, with ``1 + lag`` for their delay; least squares.
    """
    if len(table) < 3:
        raise Undefined(f"a law of two parameters needs three lags, here are {len(table)}")
    if (table.accuracy <= floor).all():
        raise Undefined(f"no accuracy is above the floor of {floor:g}")
    power, exponential = (_fit(form, table, floor) for form in ("power", "exponential"))
    exact = all(np.sqrt(np.square(law.residuals).mean()) < EXACT for law in (power, exponential))
    if exact:
        return Retention(table, power, exponential, "neither")
    return Retention(table, power, exponential, "power" if power.aic < exponential.aic else "exponential")


def _fit(form: Form, table: ByLag, floor: float) -> Law:
    from scipy.optimize import OptimizeWarning, curve_fit

    lag, y = table.lag.astype(float), table.accuracy - floor
    weight = table.pairs / table.pairs.mean()
    axis = np.log1p(lag) if form == "power" else lag
    above = y > 0  # starts at the straight line through the logarithms
    b = -np.polyfit(axis[above], np.log(y[above]), 1)[0] if above.sum() > 1 else 1.0
    start = (max(float(y[0]), float(y[above].max()) / 2), float(b))
    try:
        with (
            warnings.catch_warnings(),
            np.errstate(over="ignore", invalid="ignore"),
        ):  # far from the fit a law overflows
            warnings.simplefilter("ignore", OptimizeWarning)  # only about the covariance, which is not used
            (a, b), _ = curve_fit(LAWS[form], lag, y, p0=start, sigma=1 / np.sqrt(weight))
    except (RuntimeError, ValueError) as error:
        raise Undefined(f"the {form} law does not fit: {error}") from None
    if not np.isfinite([a, b]).all():
        raise Undefined(f"the {form} law does not fit: its parameters grow without bound")
    residuals = y - LAWS[form](lag, a, b)
    squares = max(float((weight * np.square(residuals)).sum()), np.finfo(float).tiny)
    aic = len(lag) * math.log(squares / len(lag)) + 6
    return Law(form, float(a), float(b), floor, residuals, aic)


ACC_PRESENT = Metric(
    name="acc_present",
    title="ACC present",
    function=acc_present,
    formula="mean of R[e, i] over experiences e and tasks i present in e",
    low=0,
    high=1,
    higher_is_better=True,
    source="our definition",
    needs="evaluations at ends",
    unit="score",
)
ACC_ABSENT = Metric(
    name="acc_absent",
    title="ACC absent",
    function=acc_absent,
    formula="mean of R[e, i] over experiences e and tasks i seen before e and absent from it",
    low=0,
    high=1,
    higher_is_better=True,
    source="our definition: accuracy at all times since last seen, in one number",
    needs="evaluations at ends",
    unit="score",
)


def _rate(form: Form, since: Since) -> Metric:
    """Return the metric of the parameter b of a law, fitted to accuracy by lag since the first or the last visit."""
    law, per = {"power": ("(1 + lag)^−b", ""), "exponential": ("exp(−b lag)", " per experience")}[form]
    visit = {"first": "first introduction", "last": "last visit"}[since]
    return Metric(
        name=f"retention_{form}_{since}",
        title=f"Loss rate ({form}, since {since})",
        function=lambda trace: getattr(retention(by_lag(trace, since=since)), form).b,
        formula=f"b{per} of a {law}, least squares on accuracy by experiences since a task's {visit}",
        low=-math.inf,
        high=math.inf,
        higher_is_better=False,
        source="Wixted and Ebbesen 1991 with 1 + lag for their delay; no floor",
        needs="evaluations at ends with three or more lags",
        unit="rate",
        bounded=True,
    )


RETENTION_POWER_FIRST, RETENTION_POWER_LAST = _rate("power", "first"), _rate("power", "last")
RETENTION_EXPONENTIAL_FIRST, RETENTION_EXPONENTIAL_LAST = _rate("exponential", "first"), _rate("exponential", "last")

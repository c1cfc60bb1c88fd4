"""Accuracy by time since last seen, the laws fitted to it, and knowledge accumulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import trace_from

from clbench.core.errors import Refused
from clbench.core.record import Kind
from clbench.metrics import (
    ByLag,
    Undefined,
    acc_last,
    accumulation,
    all_accuracy,
    by_lag,
    compute,
    lags,
    retention,
)

ENDS = [[0.9, 0.0], [0.5, 0.8], [0.7, 0.4], [0.6, 0.3]]


def returning():
    """Task 0 is visited in experiences 0, 2 and 3, task 1 in experience 1; they are 2, 3, 4 and 5 iterations long."""
    return trace_from([[1, 0], [0, 1], [1, 0], [1, 0]], [2, 3, 4, 5], lambda _, e: np.array(ENDS[e]), every=0)


def test_accuracy_by_lag_counts_experiences_since_the_last_visit():
    table = by_lag(returning())
    assert table.lag.tolist() == [0, 1, 2]
    assert table.pairs.tolist() == [4, 2, 1]
    np.testing.assert_allclose(table.accuracy, [(0.9 + 0.8 + 0.7 + 0.6) / 4, (0.5 + 0.4) / 2, 0.3])


def test_accuracy_by_lag_counts_iterations_since_the_end_of_the_last_visit():
    table = by_lag(returning(), unit="iterations")
    assert table.lag.tolist() == [0, 3, 4, 9]
    np.testing.assert_allclose(table.accuracy, [0.75, 0.5, 0.4, 0.3])


def test_accuracy_by_lag_of_one_task_leaves_the_others_out():
    table = by_lag(returning(), task=1)
    assert table.lag.tolist() == [0, 1, 2]
    np.testing.assert_allclose(table.accuracy, [0.8, 0.4, 0.3])
    with pytest.raises(Undefined, match="task 1 was never visited"):
        by_lag(trace_from([[1, 0]], [2], lambda *_: np.array([0.5, 0.5])), task=1)


def test_the_standard_error_of_a_lag_counts_a_tasks_rows_once():
    present = [[1, 0], [0, 1], [1, 0], [0, 1]]
    ends = [[0.9, 0.0], [0.6, 0.8], [0.7, 0.5], [0.4, 0.9]]
    table = by_lag(trace_from(present, [5] * 4, lambda _, e: np.array(ends[e]), every=0))
    np.testing.assert_allclose(table.accuracy, [(0.9 + 0.8 + 0.7 + 0.9) / 4, (0.6 + 0.5 + 0.4) / 3])
    p0, p1 = (0.6 + 0.4) / 2, 0.5  # task 0 is absent twice, task 1 once
    expected = np.sqrt((2 / 3) ** 2 * p0 * (1 - p0) / 100 + (1 / 3) ** 2 * p1 * (1 - p1) / 100)
    assert table.error[1] == pytest.approx(expected)


def test_lags_are_counted_from_the_last_or_from_the_first_visit():
    trace = trace_from([[1, 0], [0, 1], [0, 1], [1, 0]], [2, 3, 4, 5], lambda *_: np.array([0.5, 0.5]))
    assert lags(trace).T.tolist() == [[0, 1, 2, 0], [-1, 0, 0, 1]]
    assert lags(trace, since="first").T.tolist() == [[0, 1, 2, 3], [-1, 0, 1, 2]]
    assert lags(trace, since="first", unit="iterations").T.tolist() == [[0, 3, 7, 12], [-1, 0, 4, 9]]


def test_accuracy_since_introduction_follows_a_task_through_its_later_visits():
    table = by_lag(returning(), since="first")
    assert table.lag.tolist() == [0, 1, 2, 3]
    assert table.pairs.tolist() == [2, 2, 2, 1]
    np.testing.assert_allclose(table.accuracy, [(0.9 + 0.8) / 2, (0.5 + 0.4) / 2, (0.7 + 0.3) / 2, 0.6])


def test_rates_of_loss_since_the_first_visit_exist_where_every_old_task_is_rehearsed():
    def accuracy(_, experience):
        age = max(experience, 0) - np.arange(5)
        return np.where(age >= 0, 0.8 * (1.0 + np.maximum(age, 0)) ** -0.4, 0.1)

    trace = trace_from(np.tril(np.ones((5, 5))), [2] * 5, accuracy, every=0)
    names = [f"retention_{form}_{since}" for form in ("power", "exponential") for since in ("first", "last")]
    values = compute(trace, names)
    assert values["retention_power_first"].value == pytest.approx(0.4)
    assert values["retention_exponential_first"].defined
    for form in ("power", "exponential"):
        assert "three lags, here are 1" in values[f"retention_{form}_last"].reason


def test_a_fit_that_wanders_off_raises_no_warning():
    """On the way to its fit an exponential of such lags overflows."""
    lag = np.array([0, 400, 900, 5000])
    try:
        retention(ByLag(lag, np.array([0.1, 0.9, 0.2, 0.9]), np.ones(4, dtype=int)))
    except Undefined as why:
        assert "does not fit" in str(why)  # noqa: PT017


def table_of(law, lags=12, pairs=None):
    lag = np.arange(lags)
    return ByLag(lag, law(lag), np.ones(lags, dtype=int) if pairs is None else np.asarray(pairs))


@pytest.mark.parametrize("floor", [0.0, 0.1])
@pytest.mark.parametrize(
    ("better", "law"),
    [
        ("power", lambda lag: 0.8 * (1 + lag) ** -0.6),
        ("exponential", lambda lag: 0.8 * np.exp(-0.3 * lag)),
    ],
)
def test_the_law_that_made_the_table_is_found_with_its_parameters(better, law, floor):
    found = retention(table_of(lambda lag: floor + law(lag)), floor=floor)
    own = getattr(found, better)
    assert found.better == better
    assert (own.a, own.b) == pytest.approx((0.8, 0.6 if better == "power" else 0.3))
    np.testing.assert_allclose(own.residuals, 0, atol=1e-7)
    assert own(3.0) == pytest.approx(floor + law(3.0))


def test_a_fit_is_the_weighted_least_squares_one_and_its_aic_follows_from_the_residuals():
    rng = np.random.default_rng(0)
    pairs = rng.integers(1, 9, 8)
    table = table_of(lambda lag: 0.9 * np.exp(-0.2 * lag) + 0.05 * rng.normal(size=8), 8, pairs)
    found = retention(table).exponential
    a, b = np.meshgrid(np.linspace(0.7, 1.1, 401), np.linspace(0.05, 0.4, 701), indexing="ij")
    squares = sum(
        w * (y - a * np.exp(-b * lag)) ** 2 for lag, y, w in zip(table.lag, table.accuracy, pairs, strict=True)
    )
    best = np.unravel_index(squares.argmin(), squares.shape)
    assert (found.a, found.b) == pytest.approx((a[best], b[best]), abs=1e-3)
    rss = sum(pairs / pairs.mean() * found.residuals**2)
    assert found.aic == pytest.approx(8 * math.log(rss / 8) + 6)
    np.testing.assert_allclose(found.residuals, table.accuracy - found.a * np.exp(-found.b * table.lag))


def test_constant_accuracy_decides_for_neither_law():
    found = retention(table_of(lambda lag: np.full(len(lag), 0.7)))
    assert found.better == "neither"
    assert found.power.b == pytest.approx(0, abs=1e-6)
    assert found.exponential.b == pytest.approx(0, abs=1e-6)


def test_a_law_is_not_fitted_to_less_than_three_lags_or_to_guessing():
    with pytest.raises(Undefined, match="three lags, here are 2"):
        retention(table_of(lambda lag: 0.5 + 0 * lag, 2))
    with pytest.raises(Undefined, match=r"above the floor of 0\.1"):
        retention(table_of(lambda lag: 0.1 + 0 * lag), floor=0.1)


@given(st.integers(0, 2**32 - 1), st.integers(3, 12))
def test_any_table_has_two_fits_or_a_reason(seed, lags):
    rng = np.random.default_rng(seed)
    table = ByLag(np.arange(lags), rng.integers(0, 11, lags) / 10, rng.integers(1, 5, lags))
    try:
        found = retention(table)
    except Undefined as why:
        assert str(why)  # noqa: PT017
        return
    assert np.isfinite([found.power.aic, found.exponential.aic, found.power.b, found.exponential.b]).all()


# ---------------------------------------------------------------------------------------------------- accumulation


def long_stream(accuracy, *, experiences=30, rows=None):
    """Two tasks in turn; the accuracy on each when experience e (from 1) ends is ``accuracy(e)``."""
    present = np.arange(2) == np.arange(experiences)[:, None] % 2
    return trace_from(present, [1] * experiences, lambda _, e: np.array(accuracy(e + 1)), every=0)


def test_accumulation_is_the_slope_of_a_line_whatever_it_is_averaged_over():
    trace = long_stream(lambda e: (0.2 + 0.01 * e, 0.4 + 0.02 * e))
    for last in (1, 5, 20):
        assert accumulation(trace, last=last) == pytest.approx(0.015)


def test_accumulation_over_the_logarithm_is_the_factor_of_the_logarithm():
    trace = long_stream(lambda e: (0.1 * math.log(e) if e else 0.0, 0.3 * math.log(e) if e else 0.0))
    assert accumulation(trace, last=1, log=True) == pytest.approx(0.2)


def test_averaging_takes_out_that_the_present_task_does_best():
    trace = long_stream(lambda e: (0.9, 0.1) if e % 2 else (0.3, 0.7))
    np.testing.assert_allclose(all_accuracy(trace), 0.5)
    assert accumulation(trace) == pytest.approx(0, abs=1e-15)


@given(st.integers(0, 2**32 - 1), st.integers(22, 40))
def test_accumulation_agrees_with_a_polynomial_fit_of_trailing_means(seed, experiences):
    rng = np.random.default_rng(seed)
    trace = long_stream(lambda _: rng.random(2), experiences=experiences)
    ends = trace.score[trace.kind == Kind.END].mean(axis=1)
    means = [ends[e - 20 : e].mean() for e in range(20, experiences + 1)]
    learned = np.arange(20, experiences + 1)
    values = compute(trace, ["accumulation", "accumulation_log", "acc_last20"])
    assert values["accumulation"].value == pytest.approx(np.polyfit(learned, means, 1)[0], abs=1e-12)
    assert values["accumulation_log"].value == pytest.approx(np.polyfit(np.log(learned), means, 1)[0], abs=1e-11)
    assert values["acc_last20"].value == pytest.approx(means[-1])


def test_accumulation_weighs_rows_and_the_last_end_alone_is_the_final_accuracy_over_rows():
    trace = long_stream(lambda e: (0.2, 0.02 * e))
    object.__setattr__(trace, "rows", np.array([30, 10]))
    assert acc_last(1)(trace).value == compute(trace, ["acc_seen"])["acc_seen"].value == pytest.approx(0.15 + 0.15)


def test_short_streams_have_no_accumulation_and_a_mean_of_nothing_is_refused():
    values = compute(long_stream(lambda _: (0.5, 0.5), experiences=21), ["accumulation", "acc_last20"])
    assert "the slope of means over 20 needs 22" in values["accumulation"].reason
    assert values["acc_last20"].value == pytest.approx(0.5)
    assert "fewer than the 20" in acc_last(20)(long_stream(lambda _: (0.5, 0.5), experiences=19)).reason
    with pytest.raises(Refused, match="use 1 or more"):
        acc_last(0)


def test_accumulation_needs_looks_at_all_tasks():
    trace = long_stream(lambda e: (0.5, 0.5 if e > 1 else math.nan))
    assert "task 1 was not evaluated when experience 0 ended" in compute(trace, ["accumulation"])["accumulation"].reason

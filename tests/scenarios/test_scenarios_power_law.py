"""Power-law streams: budgets and counts by hand, the lag law recovered from what was drawn, and self-scheduling."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recurrence import assert_consistent, pickled, realised, tiny, trace_of

from clbench.core.errors import Refused
from clbench.core.rng import Generator
from clbench.scenarios import make
from clbench.scenarios.lags import Weights, fitted_exponent, frequency_by_lag, largest_remainder, perform
from clbench.scenarios.permuted import permuted
from clbench.scenarios.power_law import power_law
from clbench.scenarios.schedules import counts
from clbench.scenarios.scole import scole
from clbench.scenarios.split import split

DATA = tiny()  # 63 training rows
SCHEDULES = ("power_law", "exponential", "uniform", "last", "first", "log_uniform")


# --------------------------------------------------------------------------------------------------- budgets


def test_largest_remainders_by_hand():
    assert largest_remainder(np.array([4.0, 2.0, 1.0]), 10).tolist() == [6, 3, 1]  # 5.71 2.86 1.43
    assert largest_remainder(np.array([1.0, 1.0, 1.0]), 10).tolist() == [3, 3, 4]  # a tie goes to the last
    assert largest_remainder(np.array([0.1] * 3), 3).tolist() == [1, 1, 1]
    assert largest_remainder(np.array([1.0, 0.0]), 0).tolist() == [0, 0]


@given(weights=st.lists(st.floats(0, 1e6), min_size=1, max_size=20), total=st.integers(0, 10**6))
def test_largest_remainders_add_up_and_are_off_by_less_than_one(weights, total):
    w = np.array(weights) + 1e-3
    whole = largest_remainder(w, total)
    assert whole.sum() == total
    assert (np.abs(whole - total * w / w.sum()) < 1 + 1e-6).all()


@pytest.mark.parametrize(
    ("schedule", "last_phase"),
    [
        ("power_law", [2, 3, 7]),  # 1/3 1/2 1 of 11/6: 2.18 3.27 6.55
        ("exponential", [1, 3, 8]),  # e^-2 e^-1 1 of 1.503: 1.08 2.94 7.98
        ("uniform", [4, 4, 4]),
        ("last", [0, 0, 12]),
        ("first", [12, 0, 0]),
        ("log_uniform", [2, 4, 6]),  # log 4/3, log 3/2, log 2 of log 4: 2.49 3.51 6
        ("none", [0, 0, 0]),
    ],
)
def test_rows_of_a_phase_are_split_by_lag_as_worked_out_by_hand(schedule, last_phase):
    stream = power_law(DATA, 0, tasks=4, new_rows=12, rehearsal=1.0, schedule=schedule)
    realised_counts = [np.bincount(e.task, minlength=4).tolist() for e in stream]
    np.testing.assert_array_equal(counts(stream), realised_counts)
    assert realised_counts[0] == [12, 0, 0, 0]
    assert realised_counts[1] == [0 if schedule == "none" else 12, 12, 0, 0]
    assert realised_counts[3] == [*last_phase, 12]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**40),
    tasks=st.integers(1, 6),
    rehearsal=st.floats(0, 3),
    new_rows=st.none() | st.integers(1, 17),  # the smallest group of split has 8 + 9 rows
    keep=st.none() | st.integers(5, 30),
    over=st.sampled_from(["permuted", "split"]),
)
def test_all_schedules_spend_the_same_budget(seed, tasks, rehearsal, new_rows, keep, over):
    options = {"tasks": min(tasks, 3) if over == "split" else tasks, "over": over, "new_rows": new_rows, "keep": keep}
    spent = [counts(power_law(DATA, seed, rehearsal=rehearsal, schedule=s, **options)).sum(axis=1) for s in SCHEDULES]
    assert all((s == spent[0]).all() for s in spent)
    new = np.diag(counts(power_law(DATA, seed, rehearsal=rehearsal, **options)))
    assert spent[0].tolist() == [n + (round(rehearsal * int(n)) if t else 0) for t, n in enumerate(new)]


def test_exponent_zero_is_uniform():
    flat, uniform = (power_law(DATA, 3, tasks=5, **kind) for kind in ({"alpha": 0.0}, {"schedule": "uniform"}))
    assert realised(flat) == realised(uniform)


# --------------------------------------------------------------------------------------------------- rows of phases


def test_new_and_rehearsed_rows_belong_to_their_task_and_occur_once():
    stream = power_law(DATA, 1, over="split", tasks=3, rehearsal=0.7)
    groups = [set(e.rows.tolist()) for e in split(DATA, 1, experiences=3)]
    for t, e in enumerate(stream):
        assert len(set(e.rows.tolist())) == len(e)
        for j in range(t + 1):
            assert set(e.rows[e.task == j].tolist()) <= groups[j]
        assert set(e.rows[e.task == t].tolist()) == groups[t]


def test_tasks_and_transforms_are_those_of_the_family():
    for over, seed in (("permuted", 4), ("rotated", 5), ("split", 6)):
        stream = power_law(DATA, seed, over=over, tasks=3)
        plain = make(
            {"scenario": over, "experiences": 3, "setting": "class" if over == "split" else "domain"}, DATA, seed
        )
        assert [t.name for t in stream.tasks] == [t.name for t in plain.tasks]
        if over != "split":
            assert stream.transform.describe() == plain.transform.describe()
            assert all((e.view == e.task).all() for e in stream)


def test_fresh_rows_are_drawn_anew_in_each_phase():
    stream = power_law(DATA, 0, tasks=3, rehearsal=0.5, schedule="first")
    rehearsed = [set(stream[t].rows[stream[t].task == 0].tolist()) for t in (1, 2)]
    assert len(rehearsed[0]) == len(rehearsed[1]) == 32  # half of 63, rounded to even
    assert rehearsed[0] != rehearsed[1]


def test_more_rows_than_a_task_has_repeat_evenly():
    e = power_law(DATA, 0, tasks=2, rehearsal=2.5)[1]  # 158 rows of 63: each twice, 32 of them three times
    times = np.bincount(e.rows[e.task == 0], minlength=63)
    assert sorted(times.tolist()) == [2] * 31 + [3] * 32


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**40), keep=st.integers(4, 40), new_rows=st.none() | st.integers(5, 20))
def test_a_bounded_memory_rehearses_shown_rows_only_and_forgets_for_good(seed, keep, new_rows):
    stream = power_law(DATA, seed, tasks=5, keep=keep, new_rows=new_rows, rehearsal=20.0, schedule="uniform")
    pools = {}
    for t, e in enumerate(stream):
        held = 0
        for j in range(t):
            times = np.bincount(e.rows[e.task == j])
            assert times.max() - times[times > 0].min() <= 1
            pool = set(np.flatnonzero(times).tolist())
            assert pool <= pools[j]
            pools[j], held = pool, held + len(pool)
        assert held <= keep
        pools[t] = set(e.rows[e.task == t].tolist())


@pytest.mark.parametrize("setting", ["class", "task", "domain"])
@pytest.mark.parametrize("over", ["permuted", "split"])
def test_settings_of_the_family_carry_over(over, setting):
    stream = power_law(DATA, 2, over=over, tasks=3, setting=setting)
    plain = (split if over == "split" else permuted)(DATA, 2, setting=setting, experiences=3)
    assert (stream.n_outputs, stream.task_labels) == (plain.n_outputs, plain.task_labels)
    assert_consistent(stream)


# --------------------------------------------------------------------------------------------------- the law


@settings(max_examples=25, deadline=None)
@given(alpha=st.floats(0, 3), t0=st.floats(0, 4), tasks=st.integers(4, 12))
def test_the_exponent_is_recovered_from_the_counts_of_phases(alpha, t0, tasks):
    stream = power_law(DATA, 0, tasks=tasks, rehearsal=100.0, alpha=alpha, t0=t0)
    assert fitted_exponent(stream) == pytest.approx(alpha, abs=0.02)
    lags, frequency = frequency_by_lag(stream)
    assert lags.tolist() == list(range(1, tasks))
    np.testing.assert_allclose(frequency, ((lags + t0) / (1 + t0)) ** -alpha, atol=0.005)


@pytest.mark.parametrize(("alpha", "t0"), [(0.5, 0.0), (1.0, 0.0), (1.0, 2.0)])
def test_the_exponent_is_recovered_from_what_performed_itself(alpha, t0):
    stream = power_law(DATA, 0, mode="self", tasks=6, blocks=4000, enter_every=3, alpha=alpha, t0=t0)
    # the standard error of the fit is below 0.03 here
    assert fitted_exponent(stream) == pytest.approx(alpha, abs=0.1)
    lags, frequency = frequency_by_lag(stream)
    np.testing.assert_allclose(frequency[:4], ((lags[:4] + t0) / (1 + t0)) ** -alpha, rtol=0.15)


def test_comparison_schedules_have_the_exponents_that_they_must_have():
    streams = {s: power_law(DATA, 0, tasks=6, schedule=s, rehearsal=20.0) for s in (*SCHEDULES, "none")}
    fits = {s: fitted_exponent(stream) for s, stream in streams.items()}
    assert fits["uniform"] == pytest.approx(0, abs=0.01)
    assert 0.5 < fits["log_uniform"] < fits["power_law"] < fits["exponential"] < fits["last"] == np.inf
    assert fits["first"] == -np.inf
    assert np.isnan(fits["none"])
    np.testing.assert_allclose(frequency_by_lag(streams["uniform"])[1], 1, atol=0.01)
    assert np.isnan(frequency_by_lag(streams["none"])[1]).all()


def test_a_stream_without_choices_has_no_exponent_and_other_scenarios_have_no_lags():
    assert np.isnan(fitted_exponent(power_law(DATA, 0, tasks=2)))
    with pytest.raises(Refused, match="this one is 'scole'"):
        fitted_exponent(scole(DATA, 0))


# --------------------------------------------------------------------------------------------------- self-scheduled


def test_the_first_free_choices_follow_the_time_since_each_task_was_performed():
    # Entries at 0 and 2, block 1 is task 0. At block 3 task 0 is 2 blocks old and task 1 one: 1/2 against 1.
    drawn = [perform(s, Weights("power_law"), tasks=2, blocks=5, enter_every=2, floor=0.0) for s in range(3000)]
    assert all(p[:3].tolist() == [0, 0, 1] for p in drawn)
    third, fourth = np.array([p[3] for p in drawn]), np.array([p[4] for p in drawn])
    assert (third == 0).mean() == pytest.approx(1 / 3, abs=0.03)  # standard error 0.009
    # At block 4 the one performed at 3 is one block old; else task 0 is 3 and task 1 is 2 blocks old.
    assert (fourth[third == 0] == 0).mean() == pytest.approx(2 / 3, abs=0.05)
    assert (fourth[third == 1] == 0).mean() == pytest.approx(1 / 4, abs=0.04)


def test_a_floor_mixes_in_the_uniform_choice():
    drawn = [perform(s, Weights("power_law"), tasks=2, blocks=4, enter_every=2, floor=0.5)[3] for s in range(3000)]
    assert np.mean(np.array(drawn) == 0) == pytest.approx(1 / 2 * 1 / 3 + 1 / 2 * 1 / 2, abs=0.03)


def by_fractions(seed, *, tasks, blocks, enter_every, shift):
    """The same choices in exact arithmetic, for exponent 2, by rejection of nothing: cumulative sums of fractions."""
    last, out = {}, []
    for b, u in enumerate(Generator(seed, "stream/schedule").uniform(blocks)):
        if b % enter_every == 0 and b // enter_every < tasks:
            task = b // enter_every
        else:
            weights = {j: Fraction(1, (b - at + shift) ** 2) for j, at in sorted(last.items())}
            reached, goal = Fraction(0), Fraction(u) * sum(weights.values())
            for task, weight in weights.items():  # noqa: B007
                reached += weight
                if reached > goal:
                    break
        out.append(task)
        last[task] = b
    return out


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**40), tasks=st.integers(1, 5), enter_every=st.integers(1, 6), shift=st.integers(0, 3))
def test_self_scheduling_agrees_with_exact_arithmetic(seed, tasks, enter_every, shift):
    weights = Weights("power_law", alpha=2.0, t0=float(shift))
    ours = perform(seed, weights, tasks=tasks, blocks=60, enter_every=enter_every, floor=0.0)
    theirs = by_fractions(seed, tasks=tasks, blocks=60, enter_every=enter_every, shift=shift)
    assert ours.tolist() == theirs


def test_occasions_of_blocks_are_the_times_since_tasks_were_performed():
    stream = power_law(DATA, 7, mode="self", tasks=3, blocks=40, enter_every=4)
    since, drawn = stream.build.occasions()
    last = {}
    for b, task in enumerate(stream.build.performed):
        entering = b % 4 == 0 and b // 4 < 3
        assert since[b].tolist() == [0 if entering else b - last.get(j, b) for j in range(3)]
        assert drawn[b].tolist() == [not entering and j == task for j in range(3)]
        last[task] = b


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**40), rows=st.none() | st.integers(1, 17), over=st.sampled_from(["permuted", "split"]))
def test_blocks_hold_different_rows_of_one_task_and_tasks_enter_on_time(seed, rows, over):
    stream = power_law(DATA, seed, over=over, mode="self", tasks=3, blocks=12, enter_every=3, block_rows=rows)
    assert [stream[b].tasks for b in (0, 3, 6)] == [(0,), (1,), (2,)]
    for e in stream:
        assert len(set(e.rows.tolist())) == len(e)
        assert rows in (None, len(e))
    np.testing.assert_array_equal(counts(stream), [np.bincount(e.task, minlength=3) for e in stream])
    assert_consistent(stream)


# --------------------------------------------------------------------------------------------------- all of it


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"tasks": 0}, "ask for at least 1"),
        ({"over": "split", "tasks": 7}, "has 6 classes, too few for 7"),
        ({"alpha": -1.0}, "alpha = -1.0 is out of range; give a number at least 0"),
        ({"schedule": "exponential", "beta": 0.0}, "beta = 0.0 is out of range; give a number above 0"),
        ({"rehearsal": -0.1}, "rehearsed samples per new sample"),
        ({"new_rows": 0}, "the smallest of 10 tasks of 'tiny' has 63 training samples"),
        ({"keep": 8}, "shared by up to 9 old tasks"),
        ({"blocks": 200}, "blocks = 200 has no effect with mode = 'phases'; leave it at 100"),
        ({"mode": "self", "rehearsal": 1.0}, "rehearsal = 1.0 has no effect with mode = 'self'; leave it at 0.5"),
        ({"mode": "self", "schedule": "last"}, "schedule = 'last' is not possible here"),
        ({"mode": "self", "blocks": 90}, "ask for at least 91 blocks"),
        ({"mode": "self", "enter_every": 0}, "at least 1 block"),
        ({"mode": "self", "floor": 1.5}, "a probability from 0 to 1"),
        ({"mode": "self", "block_rows": 64}, "ask for 1 to that many"),
        ({"over": "sequence"}, "over = 'sequence'"),
    ],
)
def test_impossible_settings_are_refused_with_the_numbers_that_clash(config, sentence):
    with pytest.raises(Refused, match=sentence):
        make({"scenario": "power_law", **config}, DATA, 0)


def test_schedules_are_described_by_the_numbers_they_use():
    a, b = (power_law(DATA, 0, schedule="uniform", alpha=alpha) for alpha in (1.0, 2.0))
    assert a.fingerprint == b.fingerprint != power_law(DATA, 0, alpha=2.0).fingerprint


def test_a_stream_of_ten_thousand_blocks_is_small():
    stream = power_law(DATA, 0, mode="self", blocks=10_000, block_rows=5)
    size, copy = pickled(stream)
    assert size < 500_000
    np.testing.assert_array_equal(copy[9_999].rows, stream[9_999].rows)


GOLDEN = [
    ({"tasks": 4}, 0, "eb2dbe12469caa75", "f794baf9c63ecabe"),
    (
        {
            "over": "split",
            "tasks": 3,
            "setting": "task",
            "schedule": "exponential",
            "new_rows": 9,
            "keep": 7,
            "rehearsal": 1.0,
        },
        1,
        "79a61b59dc5fd073",
        "ef322b6f3bb3faef",
    ),
    (
        {
            "over": "rotated",
            "tasks": 3,
            "mode": "self",
            "blocks": 12,
            "enter_every": 3,
            "block_rows": 11,
            "alpha": 1.5,
            "t0": 1.0,
            "floor": 0.1,
        },
        2,
        "3f3afc91a729d4a7",
        "4af8f02a97d16f7e",
    ),
]


@pytest.mark.parametrize(("config", "seed", "fingerprint", "rows"), GOLDEN)
def test_power_law_streams_are_what_they_were(config, seed, fingerprint, rows):
    stream = make({"scenario": "power_law", **config}, DATA, seed)
    assert (stream.fingerprint, realised(stream)) == (fingerprint, rows)


@pytest.mark.parametrize("strategy", ["naive", "er"])
@pytest.mark.parametrize("mode", [{}, {"mode": "self", "blocks": 8, "enter_every": 3}])
def test_recurring_tasks_are_learned_and_looked_at(strategy, mode):
    trace = trace_of(strategy, {"scenario": "power_law", "tasks": 3, **mode})
    assert trace.present.shape == (8 if mode else 3, 3)
    assert trace.present[0].tolist() == [True, False, False]
    assert np.isfinite(trace.score[-1]).all()
    assert trace.score[-1].max() > 0.2

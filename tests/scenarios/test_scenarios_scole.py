"""SCoLe streams: frequencies of classes against their expectation, cycles, couples, variants, and rows."""

from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recurrence import assert_consistent, pickled, realised, tiny, trace_of

from clbench.core.errors import Refused
from clbench.scenarios import make
from clbench.scenarios.schedules import counts, draw_different
from clbench.scenarios.scole import probabilities, scole

DATA = tiny()  # classes 0 to 5 with 8 to 13 training rows


def shown(stream):
    """(T, N) whether each class occurs in each experience."""
    return counts(stream) > 0


# --------------------------------------------------------------------------------------------------- which classes


def test_every_experience_shows_k_different_classes_about_equally_often():
    present = shown(scole(DATA, 0, experiences=3000, k=2))
    assert (present.sum(axis=1) == 2).all()
    np.testing.assert_allclose(present.mean(axis=0), 2 / 6, atol=0.035)  # standard error 0.009


def test_all_couples_of_classes_occur_about_equally_often():
    present = shown(scole(DATA, 0, experiences=6000, k=2)).astype(int)
    together = present.T @ present
    assert together[np.triu_indices(6, 1)].min() > 0.8 * 6000 / 15


def test_all_classes_at_once_is_every_class_in_every_experience():
    assert shown(scole(DATA, 0, experiences=10, k=6)).all()


def test_imbalance_is_the_published_one_for_ten_and_for_a_hundred_classes():
    for n_classes, factor in ((10, 0.05), (20, 0.05), (100, 0.01)):
        published = (1 - factor * np.arange(n_classes)) ** 3
        ours = np.sort(probabilities(0, n_classes, imbalance=3.0))[::-1]
        np.testing.assert_allclose(ours, published / published.sum())
    ten = probabilities(0, 10, imbalance=10.0)
    assert ten.max() / ten.min() == pytest.approx(394.8, abs=0.1)  # (1 / 0.55) ** 10
    np.testing.assert_array_equal(probabilities(0, 7, imbalance=0.0), np.full(7, 1 / 7))


def test_the_seed_decides_which_class_is_rare():
    assert len({int(probabilities(seed, 6, imbalance=2.0).argmin()) for seed in range(40)}) == 6


def test_imbalanced_classes_occur_as_often_as_successive_draws_expect():
    p = probabilities(5, 6, imbalance=10.0)
    expected = np.zeros(6)
    for a, b in permutations(range(6), 2):  # a first, then b of what is left
        expected[[a, b]] += p[a] * p[b] / (1 - p[a])
    present = shown(scole(DATA, 5, experiences=8000, k=2, imbalance=10.0))
    np.testing.assert_allclose(present.mean(axis=0), expected, atol=0.02)


def test_draws_are_worked_out_by_hand_from_their_uniform_numbers():
    weights = np.array([[1.0, 1.0, 2.0], [0.0, 3.0, 1.0], [1.0, 1.0, 2.0]])
    uniforms = np.array([[0.6, 0.4], [0.0, 0.5], [0.25, 0.999999]])
    # 0.6 of 4 is in the third; 0.4 of 1 + 1 in the first. 0 of 4 is in the first that has weight. 0.25 of 4 is the
    # beginning of the second; 0.999999 of 1 + 2 is in the third.
    assert draw_different(weights, uniforms).tolist() == [[2, 0], [1, 2], [1, 2]]


def test_a_longer_stream_begins_like_a_shorter_one():
    short, long = (scole(DATA, 0, experiences=n, k=3, rows_per_class=2) for n in (50, 3000))
    for a, b in zip(short, long[:50], strict=True):
        np.testing.assert_array_equal(a.rows, b.rows)


def test_a_reduced_probability_brings_the_classes_not_shown_yet():
    visits = shown(scole(DATA, 0, experiences=3 * 20, k=2, prob_reduction=1e6)).reshape(20, 3, 6).sum(axis=1)
    assert (visits == 1).all()  # with so large a factor, three experiences of two are all six, again and again
    even, free = (shown(scole(DATA, 0, experiences=300, prob_reduction=d)).sum(axis=0) for d in (2.0, 1.0))
    assert np.ptp(even) <= 6 < np.ptp(free)


def test_a_class_shown_once_is_as_much_less_likely_as_asked_for():
    drawn = [scole(DATA, seed, experiences=2, k=1, prob_reduction=2.0).build.classes[:, 0] for seed in range(3000)]
    again = np.mean([first == second for first, second in drawn])
    assert again == pytest.approx(1 / 11, abs=0.02)  # 1/2 against five times 1; standard error 0.005


def test_reducing_by_one_changes_nothing_that_is_drawn():
    from clbench.scenarios.scole import _drawn

    p = probabilities(0, 6, imbalance=1.0)
    blocks, one_by_one = (_drawn(0, p, 2, 200, "default", d) for d in (1.0, 1.0 + 1e-15))
    np.testing.assert_array_equal(blocks, one_by_one)


# --------------------------------------------------------------------------------------------------- cycles and couples


def test_without_randomness_all_subsets_come_in_order_again_and_again():
    stream = scole(DATA, 0, experiences=20, k=2, randomized=0.0)
    every = list(combinations(range(6), 2))
    assert [e.classes for e in stream] == every + every[:5]


def test_many_subsets_are_not_listed_to_cycle_through_the_first_ones():
    stream = scole(tiny(60, per_class=2), 0, experiences=3, k=30, randomized=0.0)  # 1.2e17 subsets
    assert stream[0].classes == tuple(range(30))
    assert stream[1].classes == (*range(29), 30)


def test_a_cycled_class_is_replaced_with_the_given_probability_by_any_class():
    stream = scole(DATA, 3, experiences=6000, k=2, randomized=0.3)
    order = np.array([*combinations(range(6), 2)] * 400)
    drawn = stream.build.classes
    changed = (drawn != order).mean()
    assert changed == pytest.approx(0.3 * 5 / 6, abs=0.02)  # one replacement in six is the class itself
    assert np.bincount(drawn[drawn != order], minlength=6).min() > 0
    one_class = np.array([len(e.classes) == 1 for e in stream[:2000]])
    np.testing.assert_array_equal(one_class, drawn[:2000, 0] == drawn[:2000, 1])
    assert one_class.any()  # replacements may duplicate


def test_restricted_couples_are_a_fixed_fraction_of_all_subsets():
    seen = [{e.classes for e in scole(DATA, seed, experiences=400, couples=0.4)} for seed in (0, 1)]
    assert [len(s) for s in seen] == [6, 6]  # 0.4 of 15
    assert seen[0] != seen[1]


# --------------------------------------------------------------------------------------------------- variants


def test_two_periods_show_half_of_the_classes_each():
    present = shown(scole(DATA, 0, experiences=101, k=2, variant="two_periods"))
    assert not present[:50, 3:].any()
    assert not present[50:, :3].any()
    assert present[:50, :3].any(axis=0).all()
    assert present[50:, 3:].any(axis=0).all()


def test_the_second_half_of_the_classes_is_not_visited_after_the_middle():
    present = shown(scole(DATA, 0, experiences=200, k=2, variant="stop_visiting"))
    assert present[:101, 3:].any(axis=0).all()  # experience 100 is not later than T / 2
    assert not present[101:, 3:].any()
    assert present[101:, :3].all(axis=0).sum() == 0  # and the first half goes on to vary


def test_visits_stop_just_after_the_middle():
    present = np.array([shown(scole(DATA, seed, experiences=4, k=1, variant="stop_visiting")) for seed in range(60)])
    assert present[:, :, 3:].any(axis=(0, 2)).tolist() == [True, True, True, False]  # experience 2 is at T / 2


# --------------------------------------------------------------------------------------------------- rows


def test_all_rows_of_the_classes_are_shown_and_a_task_is_a_class():
    stream = scole(DATA, 0, experiences=10, k=3)
    assert [t.classes for t in stream.tasks] == [(c,) for c in range(6)]
    for task in stream.tasks:
        assert (DATA.test.y[task.rows] == task.id).all()
    for e in stream:
        np.testing.assert_array_equal(np.sort(e.rows), np.flatnonzero(np.isin(DATA.train.y, e.classes)))
        np.testing.assert_array_equal(e.task, DATA.train.y[e.rows])


def test_rows_of_a_class_and_the_held_out_rows_are_drawn_anew_in_each_experience():
    few = scole(DATA, 0, experiences=30, k=2, rows_per_class=3)
    assert all(counts(few)[i][list(e.classes)].tolist() == [3, 3] for i, e in enumerate(few))
    halves = scole(DATA, 0, experiences=30, k=6, train_fraction=0.9)
    assert [len(e) for e in halves] == [57] * 30  # 0.9 of 63 is 56.7
    assert len({tuple(e.rows) for e in halves}) == 30
    for stream in (few, halves):
        assert all(len(set(e.rows.tolist())) == len(e) for e in stream)
        np.testing.assert_array_equal(counts(stream), [np.bincount(e.task, minlength=6) for e in stream])


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(-(2**40), 2**40),
    experiences=st.integers(2, 30),
    k=st.integers(1, 3),
    mode=st.sampled_from(
        [
            {"randomized": 0.5},
            {"couples": 0.5},
            {"imbalance": 5.0, "prob_reduction": 1e12},
            {"variant": "two_periods", "imbalance": 100.0},
            {"variant": "stop_visiting", "prob_reduction": 3.0},
        ]
    ),
    rows=st.sampled_from([{}, {"rows_per_class": 8}, {"train_fraction": 0.01}]),
)
def test_every_scole_stream_holds_what_it_says(seed, experiences, k, mode, rows):
    stream = scole(DATA, seed, experiences=experiences, k=k, **mode, **rows)
    assert len(stream) == experiences
    assert_consistent(stream)
    sizes = [len(e.classes) for e in stream]
    if "train_fraction" not in rows:
        assert max(sizes) <= k
        assert "randomized" in mode or min(sizes) == k


# --------------------------------------------------------------------------------------------------- all of it


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"k": 7}, "k = 7 classes per experience are not possible with 6 classes; ask for 1 to 6"),
        ({"k": 0}, "ask for 1 to 6"),
        ({"k": 4, "variant": "two_periods"}, "restricts experiences to half of them; ask for 1 to 3"),
        ({"experiences": 0}, "ask for at least 1"),
        ({"experiences": 1, "variant": "two_periods"}, "cannot have two periods"),
        ({"imbalance": -1.0}, "imbalance = -1.0 is out of range"),
        ({"imbalance": 9999.0}, "leaves the rarest of 6 classes no chance; give at most 800"),
        ({"prob_reduction": 0.5}, "a number at least 1"),
        ({"randomized": 1.5}, "a number from 0 to 1"),
        ({"couples": 0.01}, "leaves none of the 15 subsets of 2 of 6 classes; give at least 0.06667"),
        ({"randomized": 0.5, "imbalance": 1.0}, "imbalance = 1.0 has no effect with randomized = 0.5"),
        ({"randomized": 0.5, "couples": 0.5}, "couples = 0.5 has no effect with"),
        ({"couples": 0.5, "prob_reduction": 2.0}, "prob_reduction = 2.0 has no effect with couples = 0.5"),
        ({"rows_per_class": 9}, "has classes of 8 training samples"),
        ({"rows_per_class": 0}, "ask for 1 to that many"),
        ({"train_fraction": 0.0}, "above 0 and up to 1"),
        ({"rows_per_class": 3, "train_fraction": 0.9}, "train_fraction = 0.9 has no effect with rows_per_class = 3"),
        ({"variant": "two_period"}, "two_period"),
    ],
)
def test_impossible_settings_are_refused_with_the_numbers_that_clash(config, sentence):
    with pytest.raises(Refused, match=sentence):
        make({"scenario": "scole", **config}, DATA, 0)


def test_too_many_subsets_to_choose_couples_from_are_refused():
    with pytest.raises(Refused, match="subsets of 10 of 40 classes; that is possible up to 1000000"):
        scole(tiny(40, per_class=2), 0, k=10, couples=0.5)


def test_a_class_without_test_rows_is_refused():
    from dataclasses import replace

    from clbench.core.types import Rows

    kept = DATA.test.y != 4
    lacking = replace(DATA, test=Rows(DATA.test.x[kept], DATA.test.y[kept]))
    with pytest.raises(Refused, match=r"has no test samples of classes \[4\]"):
        scole(lacking, 0)


def test_a_stream_of_ten_thousand_experiences_is_small():
    stream = scole(DATA, 0, experiences=10_000)
    size, copy = pickled(stream)
    assert size < 500_000
    assert copy.fingerprint == stream.fingerprint
    np.testing.assert_array_equal(copy[9_999].rows, stream[9_999].rows)


GOLDEN = [
    ({"experiences": 12}, 0, "15034407ef160df5", "fe11b254fde71de9"),
    (
        {"experiences": 12, "k": 3, "imbalance": 4.0, "prob_reduction": 2.0, "rows_per_class": 4},
        1,
        "d05918bd8378da21",
        "97aea5ace0c0d65c",
    ),
    ({"experiences": 12, "randomized": 0.25, "train_fraction": 0.9}, 2, "d1442f09e787af57", "94bdd484c4aa43cf"),
    ({"experiences": 12, "couples": 0.3, "output": "seen"}, 3, "a7080f94189450e6", "c76c832e8f145fa7"),
    ({"experiences": 12, "variant": "two_periods", "boundaries": False}, 4, "779b09c8daca0bca", "ceab00c949acbd80"),
]


@pytest.mark.parametrize(("config", "seed", "fingerprint", "rows"), GOLDEN)
def test_scole_streams_are_what_they_were(config, seed, fingerprint, rows):
    stream = make({"scenario": "scole", **config}, DATA, seed)
    assert (stream.fingerprint, realised(stream)) == (fingerprint, rows)


@pytest.mark.parametrize("strategy", ["naive", "er"])
def test_every_class_is_looked_at_from_the_first_experience_on(strategy):
    trace = trace_of(strategy, {"scenario": "scole", "experiences": 12, "rows_per_class": 20})
    assert trace.present.sum(axis=1).tolist() == [2] * 12
    ends = trace.score[trace.kind == 2]
    assert ends.shape == (12, 10)
    assert np.isfinite(ends).all()
    assert ends[-1].max() > 0.2

"""The Gaussian schedule: presence follows the bells, from the disjoint split at width 0 to i.i.d. at infinity."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ordered_streams import check, documented, fingerprints, own_bytes, rows_of, sequence, short_runs

from clbench.core.errors import Refused
from clbench.scenarios import canonical, make
from clbench.scenarios.gaussian import gaussian, weights


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(3, 30), min_size=1, max_size=7),
    sigma=st.sampled_from(["iid", 0.0, 1e-300, 1e-9, 1e300]) | st.floats(0, 2),
    replace=st.booleans(),
    fraction=st.floats(0.1, 1),
    experiences=st.integers(1, 4),
    seed=st.integers(0, 2**40),
)
def test_any_width_gives_the_rows_asked_for_in_equal_pieces(sizes, sigma, replace, fraction, experiences, seed):
    data = rows_of(sizes)
    length = max(experiences, round(len(data.train) * fraction * (3 if replace else 1)))
    if not replace:
        length = min(length, len(data.train))
        experiences = min(experiences, length)
    stream = gaussian(data, seed, sigma=sigma, replace=replace, length=length, experiences=experiences)
    check(stream)
    rows = sequence(stream)
    assert len(rows) == length
    assert replace or len(set(rows)) == length
    assert max(map(len, stream)) - min(map(len, stream)) <= 1
    assert not any(e.shuffled or e.boundary for e in stream)


def test_width_zero_is_the_disjoint_split_whatever_the_class_sizes():
    data = rows_of([5, 30, 11, 2, 17])
    stream, split = gaussian(data, 4, sigma=0.0, experiences=1), make({"scenario": "split", "experiences": 5}, data, 4)
    y, order = data.train.y[sequence(stream)], stream.description["classes"]
    assert [order.index(c) for c in y] == sorted(order.index(c) for c in y)  # class after class
    start = 0
    for experience in split:  # the same rows as the experiences of a split with the same seed
        assert sorted(sequence(stream)[start : start + len(experience)]) == sorted(experience.rows)
        start += len(experience)


def test_a_vanishing_width_equals_width_zero():
    data = rows_of([20, 30, 25])
    for replace in (False, True):
        tiny, zero = (sequence(gaussian(data, 1, sigma=s, replace=replace)) for s in (1e-300, 0.0))
        np.testing.assert_array_equal(tiny, zero)


def test_an_infinite_width_is_one_random_order_of_all_rows():
    """Every piece holds the classes in proportion to their sizes, to the last: nothing runs out."""
    data = rows_of([3000, 1000])
    stream = gaussian(data, 2, sigma="iid", experiences=10)
    shares = [(data.train.y[e.rows] == 0).mean() for e in stream]
    assert np.abs(np.array(shares) - 0.75).max() < 0.08  # deviation 0.022
    np.testing.assert_array_equal(sequence(stream), sequence(gaussian(data, 2, sigma=math.inf)))
    wide = [(data.train.y[e.rows] == 0).mean() for e in gaussian(data, 2, sigma=1e6, experiences=10)]
    assert np.abs(np.array(wide) - 0.75).max() < 0.08


@pytest.mark.parametrize("sigma", [0.05, 0.2])
def test_with_replacement_a_class_comes_in_proportion_to_its_bell(sigma):
    """Against the formula written out: five classes, peaks at 0.1, 0.3, ..., shares by twentieths of the stream."""
    data, length = rows_of([10] * 5), 40_000
    stream = gaussian(data, 0, sigma=sigma, replace=True, length=length)
    order = stream.description["classes"]
    place = np.argsort(order)[data.train.y[sequence(stream)]]
    for k in range(20):
        expected = np.zeros(5)
        for n in range(k * length // 20, (k + 1) * length // 20):
            w = [math.exp(-(((n + 0.5) / length - (c + 0.5) / 5) ** 2) / (2 * sigma**2)) for c in range(5)]
            expected += np.array(w) / sum(w) / (length // 20)
        found = np.bincount(place[k * length // 20 : (k + 1) * length // 20], minlength=5) / (length // 20)
        np.testing.assert_allclose(found, expected, atol=0.05)  # 2000 rows: deviation at most 0.011


def test_without_replacement_moments_of_a_class_spread_by_sigma_around_its_peak():
    """In the interior, where the bells add up to a constant, moments are places: mean μ and deviation sigma."""
    data = rows_of([2000] * 10)
    stream = gaussian(data, 0, sigma=0.05)
    place = np.argsort(stream.description["classes"])[data.train.y[sequence(stream)]]
    for c in range(3, 7):
        where = (np.flatnonzero(place == c) + 0.5) / len(place)
        assert where.mean() == pytest.approx((c + 0.5) / 10, abs=0.006)
        assert where.std() == pytest.approx(0.05, abs=0.005)


def test_rows_of_a_class_are_drawn_evenly_with_replacement():
    data = rows_of([4, 4])
    drawn = np.bincount(sequence(gaussian(data, 3, sigma="iid", replace=True, length=8000)), minlength=8)
    assert np.abs(drawn - 1000).max() < 150  # deviation 30


def test_weights_are_one_at_the_nearest_peak_and_follow_the_bell():
    peaks = np.array([0.25, 0.75])
    np.testing.assert_array_equal(weights(np.array([0.1, 0.9]), peaks, 0.0), [[1, 0], [0, 1]])
    np.testing.assert_array_equal(weights(np.array([0.1, 0.9]), peaks, 1e-200), [[1, 0], [0, 1]])
    np.testing.assert_array_equal(weights(np.array([0.1]), peaks, np.inf), [[1, 1]])
    ratio = math.exp((0.15**2 - 0.65**2) / (2 * 0.3**2))
    np.testing.assert_allclose(weights(np.array([0.1]), peaks, 0.3), [[1, ratio]], rtol=1e-12)


def test_tasks_are_classes_and_each_row_belongs_to_its_own():
    data = rows_of([6, 7, 8])
    stream = gaussian(data, 0, experiences=2, sigma=0.3)
    assert [task.classes for task in stream.tasks] == [(0,), (1,), (2,)]
    for e in stream:
        np.testing.assert_array_equal(np.broadcast_to(e.task, len(e)), data.train.y[e.rows])


GOLDEN = [
    ({"scenario": "gaussian", "experiences": 4}, 0, "b8ea9a45a190db5d", "47f45f1142134882"),
    (
        {"scenario": "gaussian", "experiences": 3, "sigma": "iid", "length": 40},
        1,
        "3f6876a9bb11a7e9",
        "ab7b2a49b214c55c",
    ),
    (
        {"scenario": "gaussian", "experiences": 3, "sigma": 0.2, "replace": True, "length": 100},
        2,
        "c8cf0551a56f2be4",
        "5b3687898fde5c3a",
    ),
]


@pytest.mark.parametrize(("config", "seed", "fingerprint", "rows"), GOLDEN)
def test_gaussian_streams_are_what_they_were_when_their_fingerprints_were_recorded(config, seed, fingerprint, rows):
    assert fingerprints(config, seed, rows_of([10, 12, 14, 16, 18, 20])) == (fingerprint, rows)


def test_every_setting_and_the_seed_enter_the_fingerprint():
    data = rows_of([9] * 4)
    changes = [{}, {"experiences": 3}, {"sigma": 0.0}, {"sigma": "iid"}, {"replace": True}, {"length": 30}]
    changes += [{"output": "all"}, {"boundaries": True}]
    prints = [make({"scenario": "gaussian", **change}, data, 0).fingerprint for change in changes]
    prints.append(make({"scenario": "gaussian"}, data, 1).fingerprint)
    assert len(set(prints)) == len(prints)


def test_ten_thousand_experiences_stay_small():
    stream = gaussian(rows_of([6000] * 10), 0, experiences=10_000)
    assert len(stream) == 10_000
    assert own_bytes(stream) < 500_000  # 4 bytes a row and 8 an experience


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"sigma": -0.1}, "give 0 or more"),
        ({"sigma": math.nan}, "sigma = nan is not allowed"),
        ({"length": 0}, "has 30 training samples"),
        ({"length": 31}, "or for replace = true"),
        ({"experiences": 31}, "experiences = 31 is not possible with 30 samples"),
        ({"experiences": 0}, "ask for at least 1"),
        ({"output": "some"}, "output"),
    ],
)
def test_impossible_bells_are_refused_with_a_sentence(config, sentence):
    with pytest.raises(Refused, match=sentence):
        make({"scenario": "gaussian", **config}, rows_of([10] * 3), 0)


def test_the_infinite_width_has_a_name_in_files():
    assert canonical({"scenario": "gaussian", "sigma": "iid"})["sigma"] == "iid"
    with pytest.raises(Refused, match="sigma"):
        canonical({"scenario": "gaussian", "sigma": "wide"})


def test_a_short_run_forgets_less_the_wider_the_bells_are():
    """Three widths, naive: disjoint classes are forgotten, i.i.d. ones are not; rehearsal helps in between."""
    final = {s: {k: r.trace.score[-1].mean() for k, r in short_runs(scenario="gaussian", sigma=s).items()}
             for s in (0.0, 0.2, "iid")}  # fmt: skip
    assert final[0.0]["naive"] < 0.25 < final["iid"]["naive"]
    assert final[0.0]["naive"] <= final[0.2]["naive"] < final["iid"]["naive"]
    assert final[0.2]["er"] > final[0.2]["naive"]


def test_the_docs_name_every_setting_and_their_example_is_a_stream():
    assert len(documented("gaussian")) == 10

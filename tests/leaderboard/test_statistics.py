"""Statistics of pairs against scipy, against values that someone worked out, and in simulations."""

import itertools
import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from clbench.leaderboard.statistics import (
    detectable,
    groups,
    holm,
    holm_matrix,
    p_matrix,
    paired,
    power,
    seeds_to_separate,
    sign_test,
    t_test,
)


def by_seed(values):
    return dict(enumerate(values))


@pytest.mark.parametrize("n", [3, 5, 10])
def test_a_pair_agrees_with_scipys_paired_t_test_its_interval_and_its_permutation_test(n):
    rng = np.random.default_rng(n)
    common = rng.normal(size=n)
    one, other = 0.5 + 0.1 * common + 0.05 * rng.normal(size=n), 0.46 + 0.1 * common + 0.05 * rng.normal(size=n)
    pair, theirs = paired(by_seed(one), by_seed(other)), stats.ttest_rel(one, other)
    assert pair.t_p == pytest.approx(theirs.pvalue)
    low, high = theirs.confidence_interval(0.95)
    assert (pair.difference - pair.half, pair.difference + pair.half) == pytest.approx((low, high))
    permuted = stats.permutation_test(
        (one - other,), lambda x, axis: x.mean(axis=axis), permutation_type="samples", n_resamples=2**n, vectorized=True
    )
    assert pair.sign_p == pytest.approx(permuted.pvalue)
    assert pair.sd == pytest.approx(np.std(one - other, ddof=1))
    assert pair.pairing == pytest.approx(pair.sd / math.sqrt(np.var(one, ddof=1) + np.var(other, ddof=1)))
    assert (pair.n, pair.smallest_sign_p) == (n, 2 / 2**n)


def test_the_signs_of_darwins_maize_give_the_p_value_that_fisher_worked_out():
    # R. A. Fisher, The Design of Experiments, 1935, section 21: 863 of 2**15 patterns have a sum as large, on one side
    # 835 are larger and 28 equal; both sides together are 1726 of 32768, or 5.267 %
    eighths = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
    assert sum(eighths) == 314
    assert sign_test(eighths) == 1726 / 32768
    assert t_test([eighths])[0] == pytest.approx(0.0497, abs=5e-5)  # his t of 2.148 with 14 degrees of freedom


@pytest.mark.parametrize(("n", "smallest"), [(3, 0.25), (5, 0.0625), (6, 0.03125), (10, 2 / 1024)])
def test_with_five_seeds_or_fewer_signs_separate_nothing(n, smallest):
    pair = paired(by_seed(np.arange(1, n + 1.0)), by_seed(np.zeros(n)))
    assert pair.sign_p == pair.smallest_sign_p == smallest
    assert pair.signs_can_separate == (n > 5)


def test_many_seeds_sample_the_patterns_of_signs_and_their_p_value_is_near_the_exact_one():
    differences = np.random.default_rng(0).normal(0.4, 1, size=18)
    patterns = np.array(list(itertools.product([1, -1], repeat=9)))
    first, second = patterns @ differences[:9], patterns @ differences[9:]
    sums = np.abs(first[:, None] + second)  # all 2**18 patterns
    exact = np.mean(sums >= abs(differences.sum()) - 1e-12)
    assert sign_test(differences) == pytest.approx(exact, abs=4 * math.sqrt(exact / 2**16))
    assert sign_test(differences) == sign_test(-differences)
    assert paired(by_seed(np.arange(1.0, 19)), by_seed(np.zeros(18))).smallest_sign_p == 2**-16


def test_holms_p_values_agree_with_a_worked_example_and_leave_out_what_is_no_test():
    # smallest first: 0.005 * 4, 0.01 * 3, 0.03 * 2, and 0.04, which may not be below the one before
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    with_gap = holm([0.01, math.nan, 0.04, 0.03, 0.005])
    assert np.delete(with_gap, 1) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert math.isnan(with_gap[1])
    assert holm([0.6, 0.9]).tolist() == [1.0, 1.0]
    assert holm([]).tolist() == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0.001, 0.5))
def test_holm_rejects_what_its_closed_form_over_all_subsets_rejects(p_values, level):
    # closure: a hypothesis falls if every set that contains it has a p value of at most level / size of the set
    n = len(p_values)
    subsets = [s for size in range(1, n + 1) for s in itertools.combinations(range(n), size)]
    adjusted = [max(min(p_values[j] for j in s) * len(s) for s in subsets if i in s) for i in range(n)]
    assert holm(p_values) == pytest.approx([min(1.0, p) for p in adjusted])


# the smallest numbers of pairs of G*Power 3.1 for the two-sided paired t test, level 5 %, power 80 %
@pytest.mark.parametrize(("effect", "pairs"), [(0.2, 199), (0.5, 34), (0.8, 15), (1.0, 10)])
def test_the_seeds_that_separate_an_effect_are_those_of_published_tables(effect, pairs):
    assert seeds_to_separate(effect, 1.0) == pairs
    assert power(effect, pairs) >= 0.8 > power(effect, pairs - 1)


@pytest.mark.parametrize(("n", "sds"), [(3, 3.26), (5, 1.68), (10, 1.00), (20, 0.66)])
def test_the_detectable_difference_is_that_of_the_noncentral_t_distribution(n, sds):
    assert detectable(n) == pytest.approx(sds, abs=0.006)
    bound = stats.t.isf(0.025, n - 1)
    shifted = stats.nct(n - 1, detectable(n) * math.sqrt(n))
    assert shifted.sf(bound) + shifted.cdf(-bound) == pytest.approx(0.8, abs=1e-6)


def test_the_power_is_the_share_of_simulated_experiments_that_find_the_difference():
    drawn = np.random.default_rng(1).normal(1.2, 1.0, size=(20_000, 6))
    assert np.mean(t_test(drawn) < 0.05) == pytest.approx(power(1.2, 6), abs=0.012)


def test_a_difference_that_no_number_of_seeds_finds_has_none():
    assert seeds_to_separate(0.0, 0.1) is None
    assert seeds_to_separate(1e-4, 0.1) is None
    assert seeds_to_separate(math.nan, 0.1) is None
    assert seeds_to_separate(0.1, 0.0) == 3
    assert seeds_to_separate(0.1, 0.1, level=0.05 / 15) > seeds_to_separate(0.1, 0.1) == 10


def test_degenerate_pairs_have_decided_values_and_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        none = paired({0: 0.5}, {1: 0.5})
        one = paired({0: 0.5, 1: math.nan}, {0: 0.25, 1: 0.5})
        two = paired({0: 0.5, 1: 0.75}, {0: 0.25, 1: 0.25})
        equal = paired(by_seed([0.5] * 5), by_seed([0.5] * 5))
        shifted = paired(by_seed([0.5, 0.75, 0.25]), by_seed([0.25, 0.5, 0.0]))
        rounded = paired(by_seed([0.1 + 0.2, 0.5, 0.5]), by_seed([0.3, 0.5, 0.5]))
    assert (none.n, one.n, two.n) == (0, 1, 2)
    assert math.isnan(none.difference)
    assert (one.difference, two.difference) == (0.25, 0.375)
    for pair in (none, one, two):
        assert all(math.isnan(x) for x in (pair.half, pair.t_p, pair.sign_p, pair.sd, pair.pairing, pair.detectable))
    assert (equal.difference, equal.half, equal.t_p, equal.sign_p, equal.detectable) == (0, 0, 1, 1, 0)
    assert math.isnan(equal.pairing)
    assert (shifted.difference, shifted.half, shifted.t_p, shifted.sign_p, shifted.pairing) == (0.25, 0, 0, 0.25, 0)
    assert shifted.seeds_saved == math.inf
    assert rounded.t_p == rounded.sign_p == 1


def test_pairing_of_0_7_is_worth_twice_the_seeds():
    rng = np.random.default_rng(3)
    base, noise = rng.normal(size=200), rng.normal(size=200)
    pair = paired(by_seed(base), by_seed(base / 2 + noise))
    # variances 1 and 1.25 unpaired; of the difference 0.25 + 1
    assert pair.pairing == pytest.approx(math.sqrt(1.25 / 2.25), abs=0.07)
    assert pair.seeds_saved == pytest.approx(1 / pair.pairing**2)


def test_a_group_holds_the_rows_that_are_not_separated_from_its_best_row():
    apart = np.zeros((5, 5), dtype=bool)
    for i, j in [(0, 2), (0, 3), (0, 4), (2, 4), (1, 2)]:
        apart[i, j] = apart[j, i] = True
    # the best one keeps the second; the third begins group 2 and keeps the fourth; the fifth begins group 3
    assert groups(apart) == [1, 1, 2, 2, 3]
    assert groups(np.ones((3, 3), dtype=bool)) == [1, 2, 3]
    assert groups(np.zeros((3, 3), dtype=bool)) == [1, 1, 1]
    apart[0, 3] = apart[3, 0] = False  # not separated from the best, though the one before it is
    assert groups(apart) == [1, 1, 2, 1, 3]
    assert groups(np.zeros((0, 0))) == []


VALUES = st.dictionaries(st.integers(0, 9), st.floats(0, 1).map(lambda x: round(x, 3)), min_size=1, max_size=10)


@settings(max_examples=60)
@given(st.lists(VALUES, min_size=2, max_size=6))
def test_the_p_value_of_a_pair_has_the_same_bits_among_any_others_and_in_both_orders(scores):
    found = p_matrix(scores)
    for i, j in itertools.permutations(range(len(scores)), 2):
        pair, turned = paired(scores[i], scores[j]), paired(scores[j], scores[i])
        assert np.array_equal([pair.t_p, pair.t_p], [found[i, j], found[j, i]], equal_nan=True)
        assert np.array_equal(
            [turned.t_p, turned.sign_p, turned.sd, turned.half, turned.pairing, -turned.difference],
            [pair.t_p, pair.sign_p, pair.sd, pair.half, pair.pairing, pair.difference],
            equal_nan=True,
        )


def test_intervals_of_simulated_boards_cover_the_true_difference_in_95_of_100():
    rng = np.random.default_rng(16)
    covered = []
    for _ in range(2000):
        n = int(rng.choice([3, 5, 10]))
        seeds = rng.normal(0, 0.03, size=n)
        one, other = 0.6 + seeds + rng.normal(0, 0.02, n), 0.57 + seeds + rng.normal(0, 0.03, n)
        pair = paired(by_seed(one), by_seed(other))
        covered.append(abs(pair.difference - 0.03) <= pair.half)
    assert 0.935 <= np.mean(covered) <= 0.965


def test_equal_strategies_are_grouped_apart_in_at_most_5_of_100_simulated_boards():
    rng = np.random.default_rng(17)
    false, boards = 0, 2000
    for _ in range(boards):
        seeds = rng.normal(0, 0.03, size=5)
        scores = [by_seed(0.5 + seeds + rng.normal(0, 0.02, 5)) for _ in range(6)]
        scores.sort(key=lambda own: -np.mean(list(own.values())))
        false += max(groups(holm_matrix(p_matrix(scores)) < 0.05)) > 1
    assert 0 < false / boards <= 0.05

"""Randomness: Philox against its published answers, and the integer and exact arithmetic above it."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from clbench.core.rng import Generator, derive

MASK = 2**64 - 1


def philox(counter: int, key: tuple[int, int]) -> list[int]:
    """One block of Philox4x64-10, written from the paper (Salmon et al. 2011, section 3.3) with Python's integers."""
    c = [counter >> 64 * i & MASK for i in range(4)]
    k0, k1 = key
    for _ in range(10):
        a, b = 0xD2E7470EE14C6C93 * c[0], 0xCA5A826395121157 * c[2]
        c = [b >> 64 ^ c[1] ^ k0, b & MASK, a >> 64 ^ c[3] ^ k1, a & MASK]
        k0, k1 = k0 + 0x9E3779B97F4A7C15 & MASK, k1 + 0xBB67AE8584CAA73B & MASK
    return c


def test_the_philox_of_this_file_gives_the_published_answers():
    # Random123, kat_vectors, philox4x64 10
    zeros = [0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B]
    ones = [0x87B092C3013FE90B, 0x438C3C67BE8D0224, 0x9CC7D7C69CD777B6, 0xA09CAEBF594F0BA0]
    assert philox(0, (0, 0)) == zeros
    assert philox(2**256 - 1, (MASK, MASK)) == ones


@pytest.mark.parametrize(("seed", "purpose"), [(0, "order"), (41, "memory/admit"), (-3, "part/Replay/0")])
def test_words_are_the_blocks_of_philox_keyed_by_a_digest_of_seed_and_purpose(seed, purpose):
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    key = (int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:16], "little"))
    expected = [word for block in (1, 2, 3) for word in philox(block, key)]
    assert Generator(seed, purpose).words(12).tolist() == expected


def test_draws_never_change_between_versions():
    assert [hex(w) for w in Generator(0, "order").words(3).tolist()] == [
        "0x9faddb0676a1c7c8",
        "0x9e22773d2a443f77",
        "0xcd90afcc6fe147a4",
    ]
    assert Generator(0, "order").permutation(10).tolist() == [3, 8, 5, 4, 1, 0, 7, 2, 6, 9]
    assert Generator(0, "order").integers(6, 100).tolist() == [62, 61, 80, 10, 54, 52]
    assert Generator(7, "x").sample(1000, 5).tolist() == [412, 331, 748, 998, 557]
    assert derive(0, "init") == 3330654677893223573


def test_uniform_numbers_are_the_upper_53_bits_of_the_words():
    words = Generator(5, "a").words(50).tolist()
    assert Generator(5, "a").uniform(50).tolist() == [(word >> 11) / 2**53 for word in words]


def test_a_permutation_sorts_the_words():
    words = Generator(5, "a").words(100).tolist()
    assert Generator(5, "a").permutation(100).tolist() == sorted(range(100), key=words.__getitem__)


@given(sizes=st.lists(st.integers(0, 17), max_size=8))
@settings(max_examples=50, deadline=None)
def test_words_do_not_depend_on_the_sizes_of_calls(sizes):
    generator = Generator(1, "calls")
    pieces = [generator.words(n) for n in sizes]
    whole = Generator(1, "calls").words(sum(sizes))
    assert np.concatenate([*pieces, np.empty(0, np.uint64)]).tolist() == whole.tolist()


@given(drawn=st.integers(0, 30), more=st.integers(1, 30))
@settings(max_examples=50, deadline=None)
def test_a_state_written_to_json_and_given_to_another_generator_continues_its_stream(drawn, more):
    one, other = Generator(2, "state"), Generator(9, "elsewhere")
    one.words(drawn)
    other.state = json.loads(json.dumps(one.state))
    assert other.words(more).tolist() == one.words(more).tolist()


def test_other_seeds_and_purposes_give_other_streams():
    streams = [Generator(seed, purpose).words(4).tolist() for seed in (0, 1, 10) for purpose in ("a", "b", "0/a")]
    assert len({tuple(s) for s in streams}) == 9
    assert Generator(1, "0/a").words(1)[0] != Generator(10, "a").words(1)[0]


@given(n=st.integers(0, 300), seed=st.integers(0, 5))
@settings(max_examples=50, deadline=None)
def test_a_permutation_holds_every_number_once(n, seed):
    assert sorted(Generator(seed, "p").permutation(n).tolist()) == list(range(n))


def test_permutations_are_uniform():
    generator = Generator(0, "uniform orders")
    counts = np.zeros((4, 4))
    for _ in range(2000):
        counts[np.arange(4), generator.permutation(4)] += 1
    assert chisquare(counts.ravel(), ddof=6).pvalue > 0.01


@given(n=st.integers(1, 2000), share=st.floats(0, 1), seed=st.integers(0, 5))
@settings(max_examples=80, deadline=None)
def test_a_sample_holds_different_numbers_of_the_range(n, share, seed):
    k = int(share * n)
    drawn = Generator(seed, "s").sample(n, k).tolist()
    assert len(drawn) == len(set(drawn)) == k
    assert all(0 <= i < n for i in drawn)


@given(n=st.integers(0, 60), share=st.floats(0, 1), seed=st.integers(0, 2**16))
def test_a_subset_is_the_set_of_a_sample_and_leaves_the_generator_at_the_same_place(n, share, seed):
    k = int(share * n)
    subset, sample = Generator(seed, "s"), Generator(seed, "s")
    assert np.flatnonzero(subset.subset(n, k)).tolist() == sorted(sample.sample(n, k).tolist())
    assert subset.words(1).tolist() == sample.words(1).tolist()


def test_a_dense_sample_is_the_head_of_a_permutation_and_a_sparse_one_the_first_different_integers():
    assert Generator(2, "s").sample(16, 4).tolist() == Generator(2, "s").permutation(16)[:4].tolist()
    drawn = list(dict.fromkeys(Generator(2, "s").integers(8, 17).tolist()))
    assert Generator(2, "s").sample(17, 4).tolist() == drawn[:4]


@pytest.mark.parametrize("n", [16, 17])  # a permutation up to four times k, repeated draws beyond
def test_samples_are_uniform_in_both_branches(n):
    generator = Generator(3, "uniform samples")
    place = np.zeros((4, n))
    for _ in range(2500):
        place[np.arange(4), generator.sample(n, 4)] += 1
    assert chisquare(place.sum(0)).pvalue > 0.01
    assert min(chisquare(row).pvalue for row in place) > 0.002


def test_a_sparse_sample_costs_words_of_its_own_size_only():
    generator = Generator(0, "cost")
    generator.sample(10**12, 3)
    assert int(generator.state["counter"][0]) <= 2
    assert generator.state["counter"][1] == 0


def test_sampling_more_than_there_is_is_refused():
    with pytest.raises(ValueError, match="out of 3; ask for at most 3"):
        Generator(0, "s").sample(3, 4)


@given(high=st.integers(1, 2**52 - 1))
@settings(max_examples=100, deadline=None)
def test_integers_stay_below_their_bound_even_for_the_largest_uniform_number(high):
    generator = Generator(0, "edge")
    generator.uniform = lambda n: np.full(n, 1 - 2.0**-53)
    assert generator.integers(1, high).tolist() == [high - 1]


class Fixed(Generator):
    """Uniform numbers given by the test."""

    def __init__(self, *values: float) -> None:
        self.values = list(values)

    def uniform(self, n: int) -> np.ndarray:
        return np.array([self.values.pop(0) for _ in range(n)])


def test_weighted_draws_invert_the_cumulative_distribution():
    weights = np.array([0.0, 1.0, 0.0, 2.0, 1.0, 0.0])
    largest = 1 - 2.0**-53
    assert Fixed(0.0, 0.2499, 0.25, 0.74, 0.75, largest).weighted(weights, 6).tolist() == [1, 1, 3, 3, 4, 4]


def test_weighted_draws_without_replacement_renormalise_what_is_left():
    # 0.6 of 4 is index 2; then 0.6 of the remaining 2 is index 1; then only index 0 is left
    assert Fixed(0.6, 0.6, 0.99).weighted(np.array([1.0, 1.0, 2.0]), 3, replace=False).tolist() == [2, 1, 0]


@given(
    weights=st.lists(st.one_of(st.just(0.0), st.floats(1e-300, 1e300)), min_size=1, max_size=8),
    u=st.floats(0, 1, exclude_max=True),
)
@settings(max_examples=200, deadline=None)
def test_an_index_of_weight_zero_never_comes_up(weights, u):
    if not any(weights):
        return
    drawn = Fixed(u).weighted(np.array(weights), 1)[0]
    assert weights[drawn] > 0


def test_weighted_draws_have_the_frequencies_of_their_weights():
    drawn = Generator(0, "w").weighted(np.array([1.0, 0.0, 3.0]), 4000)
    assert chisquare(np.bincount(drawn, minlength=3)[[0, 2]], [1000, 3000]).pvalue > 0.01


@pytest.mark.parametrize(
    ("weights", "k", "replace"), [([1.0, -1.0], 1, True), ([0.0, 0.0], 1, True), ([1.0, 0.0], 2, False)]
)
def test_impossible_weights_are_refused(weights, k, replace):
    with pytest.raises(ValueError, match="weights must be non-negative"):
        Generator(0, "w").weighted(np.array(weights), k, replace=replace)


def test_weights_are_not_changed_by_drawing():
    weights = np.array([1.0, 2.0])
    Generator(0, "w").weighted(weights, 2, replace=False)
    assert weights.tolist() == [1.0, 2.0]

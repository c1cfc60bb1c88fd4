"""Teacher: labels are signs of sums worked out here, teachers have their correlation, and patterns are of one law."""

from __future__ import annotations

import numpy as np
import pytest

from clbench.core.errors import Refused
from clbench.core.rng import Generator
from clbench.data import load
from clbench.data.patterns import signs
from clbench.scenarios import canonical, make
from clbench.strategies.expected_results import kind


@pytest.fixture(scope="module")
def patterns():
    return load("patterns", size=101)


def stream(data, seed=0, **settings):
    return make({"scenario": "teacher", **settings}, data, seed)


def test_patterns_are_balanced_and_independent_signs():
    data = load("patterns", size=301)
    assert (len(data.train), len(data.test), data.shape) == (3010, 1204, (301,))
    assert set(np.unique(data.train.x)) == {-1.0, 1.0}
    assert abs(data.train.x.mean()) < 5 / np.sqrt(data.train.x.size)
    products = data.train.x.T @ data.train.x / len(data.train)
    assert np.abs(products[~np.eye(301, dtype=bool)]).max() < 6 / np.sqrt(3010)
    assert abs(data.train.y.mean() - 0.5) < 0.04
    assert load("patterns", size=301).checksum == data.checksum


def test_an_odd_number_of_values_is_drawn_bit_by_bit():
    drawn = signs(Generator(0, "test"), 70)
    words = Generator(0, "test").words(2)
    expected = [1.0 if int(words[i // 64]) >> (8 * (i % 64 // 8) + 7 - i % 8) & 1 else -1.0 for i in range(70)]
    assert drawn.tolist() == expected


@pytest.mark.parametrize("seed", [0, 7])
def test_every_label_is_the_sign_of_its_teachers_sum(patterns, seed):
    made = stream(patterns, seed, alpha=[1.5, 0.5, 2.0], correlation=0.3)
    for part, rows in [(e, made.dataset.train) for e in made] + [(t, made.dataset.test) for t in made.tasks]:
        number = part.task if hasattr(part, "task") else part.id
        sums = (rows.x[part.rows].astype(np.int64) * made.tasks[number].teacher.weights.astype(np.int64)).sum(1)
        assert (sums != 0).all()
        assert (rows.y[part.rows] == (sums > 0)).all()
    assert [len(e) for e in made] == [round(a * 101) for a in (1.5, 0.5, 2.0)]
    assert [t.teacher.load for t in made.tasks] == [len(e) / 101 for e in made]


def test_no_pattern_is_used_twice(patterns):
    made = stream(patterns, alpha=[2.0, 3.0, 4.0])
    for parts in (list(made), made.tasks):
        rows = np.concatenate([part.rows for part in parts])
        assert len(np.unique(rows)) == len(rows)


@pytest.mark.parametrize("correlation", [-0.5, 0.0, 0.5])
def test_later_teachers_have_the_wanted_correlation_with_the_first_one(correlation):
    data = load("patterns", size=1001)
    made = stream(data, 3, alpha=[0.1, 0.1, 0.1], correlation=correlation)
    weights = [task.teacher.weights for task in made.tasks]
    overlaps = [float(w @ weights[0]) / 1001 for w in weights]
    assert made.description["overlaps"] == overlaps
    assert overlaps[0] == 1.0
    assert all(abs(each - correlation) < 4 / np.sqrt(1001) for each in overlaps[1:])


def test_correlations_of_one_and_minus_one_give_the_same_teacher_and_its_opposite(patterns):
    same, opposite = (stream(patterns, correlation=r).description["overlaps"] for r in (1.0, -1.0))
    assert same == [1.0, 1.0]
    assert opposite == [1.0, -1.0]


def test_seeds_have_other_teachers_and_other_patterns_and_a_seed_is_repeatable(patterns):
    first, again, other = stream(patterns, 0), stream(patterns, 0), stream(patterns, 1)
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert (first[0].rows == again[0].rows).all()
    assert not (first[0].rows == other[0].rows).all()
    assert abs(float(first.tasks[0].teacher.weights @ other.tasks[0].teacher.weights)) < 5 * np.sqrt(101)
    assert first.dataset.checksum != other.dataset.checksum


def test_it_counts_as_a_domain_stream(patterns):
    config = canonical({"scenario": "teacher"})
    assert kind(config) == "domain"
    assert config["alpha"] == (2.0, 2.0)
    assert stream(patterns).n_outputs == 2


def test_what_is_impossible_is_refused_with_what_to_do(patterns):
    with pytest.raises(Refused, match="sum of alpha is at most 10"):
        stream(patterns, alpha=[6.0, 6.0])
    with pytest.raises(Refused, match="give a number for each experience"):
        stream(patterns, alpha=[])
    with pytest.raises(Refused, match="correlation"):
        stream(patterns, correlation=1.5)
    with pytest.raises(Refused, match="dataset: patterns"):
        stream(load("digits"))
    with pytest.raises(Refused, match="without normalize"):
        stream(load("patterns", size=101, normalize="mean-std"))
    with pytest.raises(Refused, match="2 or more"):
        load("patterns", size=1)

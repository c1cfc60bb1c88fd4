"""Streams with repetition: slots counted by hand, and the laws of first occurrence and of repetition."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from recurrence import assert_consistent, pickled, realised, tiny, trace_of
from scipy import stats

from clbench.core.errors import Refused
from clbench.scenarios import make
from clbench.scenarios.cir import cir, occurrences
from clbench.scenarios.schedules import counts, first_positions, repetition_probabilities

DATA = tiny()  # classes 0 to 5 with 8 to 13 training rows
SAMPLING = {"generator": "sampling", "rows_per_experience": 12}


# --------------------------------------------------------------------------------------------------- slots


def test_as_many_slots_as_classes_show_every_class_every_time():
    stream = cir(DATA, 0, experiences=4, slots=6)
    assert all(e.classes == tuple(range(6)) for e in stream)
    # 8 to 13 rows in 4 slots: 2 rows for classes 0 to 3, 3 rows for 4 and 5
    assert counts(stream).tolist() == [[2, 2, 2, 2, 3, 3]] * 4


@pytest.mark.parametrize(("experiences", "slots"), [(3, 2), (2, 3), (6, 1)])
def test_as_many_slots_in_total_as_classes_is_class_incremental(experiences, slots):
    stream = cir(DATA, 1, experiences=experiences, slots=slots)
    together = np.concatenate([e.rows for e in stream])
    assert sorted(together.tolist()) == list(range(63))  # nothing is left over
    assert sorted(c for e in stream for c in e.classes) == list(range(6))
    assert all(len(e.classes) == slots for e in stream)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(-(2**40), 2**40), experiences=st.integers(1, 12), slots=st.integers(1, 6))
def test_slots_are_counted_and_rows_are_used_at_most_once(seed, experiences, slots):
    total = experiences * slots
    assume(total >= 6)
    assume(-(-total // 6) <= 8)
    stream = cir(DATA, seed, experiences=experiences, slots=slots)
    assert len(stream) == experiences
    rows = np.concatenate([e.rows for e in stream])
    assert len(set(rows.tolist())) == len(rows)
    classes = stream.build.classes
    per_class = np.bincount(classes.ravel(), minlength=6)
    assert classes.shape == (experiences, slots)
    assert sorted(per_class) == [total // 6] * (6 - total % 6) + [total // 6 + 1] * (total % 6)
    size = (8 + np.arange(6)) // per_class
    np.testing.assert_array_equal(counts(stream), [np.bincount(c, minlength=6) * size for c in classes])
    np.testing.assert_array_equal(counts(stream), [np.bincount(e.task, minlength=6) for e in stream])
    np.testing.assert_array_equal(counts(stream).sum(axis=0), size * per_class)
    assert_consistent(stream)


def test_repeats_within_an_experience_gather_at_the_beginning():
    repeats = np.zeros(10)
    for seed in range(200):
        classes = cir(tiny(6, per_class=20), seed, experiences=10, slots=4).build.classes
        repeats += [len(set(c.tolist())) < 4 for c in classes]
    assert repeats[0] > 0
    assert repeats[3:].sum() == 0


def test_the_last_experience_is_dealt_first_and_evenly():
    last = [cir(DATA, seed, experiences=6, slots=2).build.classes[-1] for seed in range(1200)]
    assert all(len(set(c.tolist())) == 2 for c in last)
    np.testing.assert_allclose(np.bincount(np.ravel(last), minlength=6) / 1200, 2 / 6, atol=0.06)


# --------------------------------------------------------------------------------------------------- sampling


def test_first_positions_are_those_of_the_distributions():
    at = np.arange(30)
    for kind, parameter, expected in (
        ("geometric", 0.01, stats.geom.pmf(at + 1, 0.01)),
        ("geometric", None, stats.geom.pmf(at + 1, 0.01)),
        ("zipf", 1.5, (at + 1.0) ** -1.5),
        ("poisson", 4.0, stats.poisson.pmf(at, 4.0)),
        ("uniform", None, np.ones(30)),
    ):
        np.testing.assert_allclose(first_positions(kind, parameter, 30), expected / expected.sum(), rtol=1e-10)


def test_probabilities_of_repetition_are_dealt_out_to_the_classes():
    def of(kind, parameter=None, seed=0):
        return repetition_probabilities(seed, kind, parameter, 8)

    np.testing.assert_array_equal(of("fixed"), np.full(8, 0.2))
    np.testing.assert_allclose(np.sort(of("zipf", 2.0))[::-1], 1 / np.arange(1, 9) ** 2.0)
    assert np.sort(of("dual", [0.25, 0.1, 1.0])).tolist() == [0.1] * 2 + [1.0] * 6
    assert len({tuple(of("dual", [0.25, 0.1, 1.0], seed)) for seed in range(10)}) > 5
    uniform = of("random")
    assert ((uniform >= 0) & (uniform < 1)).all()
    assert len(set(uniform)) == 8


def test_classes_first_occur_and_return_as_often_as_their_laws_say():
    at, again = np.array([0.1, 0.0, 0.6, 0.3]), np.array([0.0, 0.5, 1.0])
    first, returned, chances = np.zeros((3, 4)), np.zeros(3), np.zeros(3)
    for seed in range(2000):
        present = occurrences(seed, at, again)
        begin = present.argmax(axis=0)
        first[np.arange(3), begin] += 1 / 2000
        returned += present.sum(axis=0) - 1
        chances += 3 - begin
    np.testing.assert_allclose(first, np.tile(at, (3, 1)), atol=0.04)  # standard error 0.011
    np.testing.assert_allclose(returned / chances, again, atol=0.05)


def test_experiences_in_which_no_class_occurs_are_left_out():
    stream = cir(DATA, 3, **SAMPLING, experiences=40, first="uniform", repetition_parameter=0.1)
    law = first_positions("uniform", None, 40), repetition_probabilities(3, "fixed", 0.1, 6)
    table = occurrences(3, *law)
    assert not table.any(axis=1).all()
    np.testing.assert_array_equal(counts(stream) > 0, table[table.any(axis=1)])


def test_certain_repetition_only_ever_adds_classes():
    stream = cir(DATA, 3, **SAMPLING, experiences=30, first="zipf", repetition="fixed", repetition_parameter=1.0)
    present = counts(stream) > 0
    assert (present[1:] >= present[:-1]).all()
    assert present[-1].all()


def test_without_repetition_each_class_occurs_in_one_experience_and_empty_ones_are_removed():
    stream = cir(DATA, 0, **SAMPLING, experiences=500, first="uniform", repetition_parameter=0.0)
    present = counts(stream) > 0
    assert present.sum(axis=0).tolist() == [1] * 6
    assert len(stream) <= 6
    assert present.any(axis=1).all()


def test_rows_are_divided_equally_and_an_experience_is_shorter_where_its_classes_are():
    stream = cir(DATA, 1, **SAMPLING, experiences=60, first="uniform", repetition_parameter=0.6)
    for i, e in enumerate(stream):
        held = counts(stream)[i]
        present = held > 0
        full = np.minimum(-(-12 // present.sum()), 8 + np.arange(6))
        assert (held[present] <= full[present]).all()
        assert (held[present] >= np.minimum(12 // present.sum(), 8 + np.arange(6))[present]).all()
        assert len(e) == held.sum() <= 12
        assert len(e) == 12 or present.sum() == 1  # only class 0 to 3 alone have fewer than 12 rows
        assert len(set(e.rows.tolist())) == len(e)
    assert_consistent(stream)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(-(2**40), 2**40),
    experiences=st.integers(1, 60),
    first=st.sampled_from([("geometric", 0.2), ("zipf", 1.0), ("poisson", 3.0), ("uniform", None)]),
    repetition=st.sampled_from([("fixed", 0.3), ("zipf", 0.5), ("dual", [0.5, 0.0, 1.0]), ("random", None)]),
    rows=st.integers(6, 100),
)
def test_every_sampled_stream_holds_each_class_and_no_empty_experience(seed, experiences, first, repetition, rows):
    stream = cir(
        DATA,
        seed,
        generator="sampling",
        experiences=experiences,
        first=first[0],
        first_parameter=first[1],
        repetition=repetition[0],
        repetition_parameter=repetition[1],
        rows_per_experience=rows,
    )
    assert 1 <= len(stream) <= experiences
    held = counts(stream)
    assert (held.sum(axis=0) > 0).all()
    np.testing.assert_array_equal(held, [np.bincount(e.task, minlength=6) for e in stream])
    assert_consistent(stream)


# --------------------------------------------------------------------------------------------------- all of it


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"slots": 7}, "slots = 7 per experience are not possible with 6 classes"),
        ({"slots": 0}, "ask for 1 to 6"),
        ({"experiences": 2, "slots": 2}, "make 4 slots, which leaves 2 of 6 classes empty; ask for at least 3"),
        ({"experiences": 50, "slots": 5}, "a class of 8 training samples; ask for at most 9 experiences"),
        ({"experiences": 0}, "ask for at least 1"),
        ({"first": "zipf"}, "first = 'zipf' has no effect with generator = 'slot'"),
        ({"rows_per_experience": 10}, "rows_per_experience = 10 has no effect with generator = 'slot'"),
        ({**SAMPLING, "slots": 2}, "slots = 2 has no effect with generator = 'sampling'"),
        ({**SAMPLING, "first_parameter": 1.0}, "strictly between 0 and 1"),
        ({**SAMPLING, "first": "poisson"}, "has no published default; give first_parameter"),
        ({**SAMPLING, "first": "uniform", "first_parameter": 1.0}, "has no effect with first = 'uniform'"),
        ({**SAMPLING, "repetition_parameter": 1.5}, "one number from 0 to 1"),
        ({**SAMPLING, "repetition": "dual", "repetition_parameter": 0.5}, r"write it as in \[0.3, 0.1, 1.0\]"),
        ({**SAMPLING, "repetition_parameter": [0.3, 0.1, 1.0]}, "one number from 0 to 1"),
        ({"generator": "slots"}, "generator"),
    ],
)
def test_impossible_settings_are_refused_with_the_numbers_that_clash(config, sentence):
    with pytest.raises(Refused, match=sentence):
        make({"scenario": "cir", **config}, DATA, 0)


def test_the_bound_on_slots_that_a_refusal_names_is_possible():
    assert len(cir(DATA, 0, experiences=9, slots=5)) == 9


def test_fewer_rows_than_classes_in_an_experience_are_refused():
    with pytest.raises(Refused, match="rows_per_experience = 5 leaves a class empty where 6 classes are present"):
        cir(DATA, 0, generator="sampling", repetition_parameter=1.0, rows_per_experience=5)


@pytest.mark.parametrize("generator", [{"slots": 1}, SAMPLING])
def test_a_stream_of_thousands_of_experiences_is_small(generator):
    stream = cir(tiny(6, per_class=1700), 0, experiences=10_000, **generator)
    size, copy = pickled(stream)
    assert size < 1_500_000
    np.testing.assert_array_equal(copy[-1].rows, stream[-1].rows)


GOLDEN = [
    ({"experiences": 6, "slots": 4}, 0, "1b4a7bb54488ff47", "1bb1c1ce281416ae"),
    ({"experiences": 7, "slots": 1}, 1, "602c39415d8d2274", "44ac521710da9731"),
    (
        {"generator": "sampling", "experiences": 12, "rows_per_experience": 10},
        2,
        "2a169a9b2e30a475",
        "e0ba7136c2db1984",
    ),
    (
        {
            "generator": "sampling",
            "experiences": 12,
            "rows_per_experience": 20,
            "first": "poisson",
            "first_parameter": 2.0,
            "repetition": "dual",
            "repetition_parameter": [0.5, 0.1, 0.9],
        },
        3,
        "5ffec5a8ab37853e",
        "b014a03c9e1a6519",
    ),
]


@pytest.mark.parametrize(("config", "seed", "fingerprint", "rows"), GOLDEN)
def test_cir_streams_are_what_they_were(config, seed, fingerprint, rows):
    stream = make({"scenario": "cir", **config}, DATA, seed)
    assert (stream.fingerprint, realised(stream)) == (fingerprint, rows)


@pytest.mark.parametrize("strategy", ["naive", "er"])
@pytest.mark.parametrize("generator", [{"experiences": 6}, {**SAMPLING, "experiences": 10, "rows_per_experience": 60}])
def test_repeated_classes_are_learned_and_looked_at(strategy, generator):
    trace = trace_of(strategy, {"scenario": "cir", **generator})
    assert trace.present.any(axis=0).all()
    assert np.isfinite(trace.score[-1]).all()
    assert trace.score[-1].max() > 0.2

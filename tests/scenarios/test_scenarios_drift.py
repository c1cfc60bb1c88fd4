"""Concept drift: labels change when and how they should, evaluation follows, and memory keeps what it was told."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ordered_streams import check, documented, fingerprints, own_bytes, rows_of, sequence, short_runs
from support import trained

from clbench.core.errors import Refused
from clbench.core.record import Kind
from clbench.scenarios import make
from clbench.scenarios.drift import drift
from clbench.training.batch import EXPERIENCE, ROW, VIEW, Y


def starts(stream) -> list[int]:
    """Rows of the stream before each experience."""
    return [0, *np.cumsum([len(e) for e in stream]).tolist()][:-1]


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(6, 20), min_size=2, max_size=5),
    kind=st.sampled_from(["swap", "permute"]),
    pattern=st.sampled_from(["sudden", "gradual", "recurring"]),
    changes=st.integers(0, 4),
    width=st.integers(1, 2),
    passes=st.integers(1, 3),
    pieces=st.integers(1, 2),
    tasks=st.sampled_from(["all", "classes"]),
    seed=st.integers(0, 2**40),
)
def test_every_row_occurs_once_a_pass_under_a_concept_that_is_a_permutation(
    sizes, kind, pattern, changes, width, passes, pieces, tasks, seed
):
    data = rows_of(sizes)
    how = {"kind": kind, "pattern": pattern, "width": 0 if pattern == "sudden" else width, "tasks": tasks}
    stream = drift(data, seed, changes=changes, passes=passes, pieces=pieces, **how)
    check(stream)
    n, rows = len(data.train), sequence(stream)
    for p in range(passes):
        assert sorted(rows[p * n : (p + 1) * n]) == list(range(n))
    assert len(stream) == (changes + 1) * pieces
    for concept in stream.label_map:
        assert sorted(concept) == list(range(len(sizes)))
    np.testing.assert_array_equal(stream.label_map[0], np.arange(len(sizes)))
    lengths = [len(e) for e in stream]
    assert max(lengths) - min(lengths) <= 2
    for e in stream:
        current = stream.task_views(e.id)
        assert current.shape == (len(stream.tasks),)
        assert (current == e.id // pieces % len(stream.label_map)).all()
        if pattern == "sudden":
            assert e.view == current[0]


# --------------------------------------------------------------------------------------------------- when


@pytest.mark.parametrize(
    ("how", "at"),
    [
        ({"changes": 3}, [0, 10, 20, 30]),
        ({"changes": 0}, [0]),
        ({}, [0, 8, 16, 24, 32]),  # four changes
        ({"changes": 2}, [0, 13, 27]),  # 40 / 3 and 80 / 3
        ({"times": [0.25, 0.3]}, [0, 10, 12]),
        ({"times": []}, [0]),
        ({"changes_per_pass": 2.0, "passes": 2}, [0, 20, 40, 60]),  # the one at the very end is left out
        ({"changes_per_pass": 0.5, "passes": 4}, [0, 80]),
        ({"changes_per_pass": 1.5}, [0, 27]),  # after 40 / 1.5 rows
        ({"changes_per_pass": 0.0, "passes": 2}, [0]),
        ({"changes_per_pass": 1.0}, [0]),
        ({"changes": 1, "pieces": 3}, [0, 7, 14, 20, 27, 34]),  # 20 rows as 7, 7 and 6
    ],
)
def test_changes_come_when_they_were_asked_for(how, at):
    assert starts(drift(rows_of([10] * 4), 0, **how)) == at


def test_every_pass_has_an_order_of_its_own_and_the_changes_do_not_move_it():
    data = rows_of([10] * 4)
    rows = sequence(drift(data, 0, passes=3, changes=5))
    assert len({tuple(rows[p * 40 : (p + 1) * 40]) for p in range(3)}) == 3
    np.testing.assert_array_equal(rows, sequence(drift(data, 0, passes=3, changes_per_pass=4.0, kind="permute")))


# --------------------------------------------------------------------------------------------------- what


def test_swaps_exchange_two_classes_and_pile_up():
    label_map = drift(rows_of([30] * 5), 0, changes=20).label_map
    assert label_map.shape == (21, 5)
    for before, after in pairwise(label_map):
        i, j = np.flatnonzero(before != after)  # exactly two
        assert (after[i], after[j]) == (before[j], before[i])
    assert len(np.unique(label_map, axis=0)) > 10  # they pile up


def test_swapped_pairs_are_spread_evenly_over_all_pairs():
    label_map = drift(rows_of([1000] * 4), 1, changes=3000).label_map
    pairs = [tuple(np.flatnonzero(a != b)) for a, b in pairwise(label_map)]
    found = np.unique(pairs, axis=0, return_counts=True)[1]
    assert len(found) == 6
    assert np.abs(found - 500).max() < 100  # deviation 20


def test_permutations_are_drawn_anew_and_differ_from_the_one_before():
    label_map = drift(rows_of([40, 40]), 0, kind="permute", changes=9).label_map  # with two classes, the only other one
    np.testing.assert_array_equal(label_map[:, 0], np.arange(10) % 2)
    wide = drift(rows_of([30] * 8), 0, kind="permute", changes=9).label_map
    assert len(np.unique(wide, axis=0)) == 10
    assert (wide[1:] != wide[:-1]).sum(1).mean() > 5  # a swap would move 2 of 8


@pytest.mark.parametrize("kind", ["swap", "permute"])
def test_recurring_concepts_go_round_and_are_all_different(kind):
    stream = drift(rows_of([30] * 4), 0, kind=kind, pattern="recurring", concepts=3, changes=6)
    assert [e.view for e in stream] == [0, 1, 2, 0, 1, 2, 0]
    assert [stream.task_views(i)[0] for i in range(-1, 7)] == [0, 0, 1, 2, 0, 1, 2, 0]
    assert len(np.unique(stream.label_map, axis=0)) == 3
    if kind == "swap":
        assert ((stream.label_map != np.arange(4)).sum(1) == [0, 2, 2]).all()


def test_all_concepts_that_exist_can_recur():
    every = drift(rows_of([30] * 3), 0, kind="permute", pattern="recurring", concepts=6, changes=6)
    assert len(np.unique(every.label_map, axis=0)) == 6
    swaps = drift(rows_of([30] * 4), 0, pattern="recurring", concepts=7, changes=6)
    assert len(np.unique(swaps.label_map, axis=0)) == 7


# --------------------------------------------------------------------------------------------------- how


@pytest.mark.parametrize("pieces", [1, 4])
def test_a_gradual_change_rises_linearly_and_evaluation_switches_half_way(pieces):
    data, width, share = rows_of([200] * 4), 200, np.zeros(10)
    for seed in range(40):
        stream = drift(data, seed, pattern="gradual", width=width, changes=1, pieces=pieces)
        view = np.concatenate([np.broadcast_to(e.view, len(e)) for e in stream])
        assert not view[:300].any()
        assert view[500:].all()
        share += view[300:500].reshape(10, -1).mean(1) / 40
        assert [stream.task_views(i)[0] for i in range(2 * pieces)] == [0] * pieces + [1] * pieces
    np.testing.assert_allclose(share, (np.arange(10) + 0.5) / 10, atol=0.06)  # 800 rows a bin: deviation 0.018


def test_two_gradual_changes_may_meet_but_never_mix_three_concepts():
    stream = drift(rows_of([100] * 4), 0, pattern="gradual", width=100, changes=3)
    for i, e in enumerate(stream):
        first, last = np.split(np.broadcast_to(e.view, len(e)), 2)
        assert set(first) <= {i - 1, i}
        assert set(last) <= {i, i + 1}
        assert min(e.view) >= 0
        assert max(e.view) <= 3


def test_only_the_swapped_classes_are_wrong_right_after_the_change_and_both_recover():
    """Evaluation under the current concept: what was learned as one class is asked for as the other."""
    record = short_runs(scenario="drift", changes=1, passes=6, tasks="classes")["naive"]
    trace = record.trace
    swapped = trace.score[(trace.experience == 1) & (trace.kind == Kind.STEP)][0] < 0.5
    before, after = trace.score[(trace.experience == 0) & (trace.kind == Kind.END)][0], trace.score[-1]
    assert swapped.sum() == 2
    assert before[swapped].min() > 0.7
    assert after[swapped].min() > 0.7


def test_rows_in_memory_keep_the_label_of_the_time_when_they_were_admitted():
    stream = "stream={scenario: drift, changes: 2, dataset: {name: digits, train_rows: 300}}"
    run = trained("er", stream)
    index = run.learner.memory.all().index.numpy()
    assert set(index[VIEW]) == {0, 1, 2}
    assert set(index[EXPERIENCE]) == {-1}  # boundaries are hidden
    raw = run.stream.dataset.train.y[index[ROW]]
    np.testing.assert_array_equal(index[Y], run.stream.label_map[index[VIEW], raw])


# --------------------------------------------------------------------------------------------------- all of them

GOLDEN = [
    ({"scenario": "drift", "tasks": "classes", "pieces": 2}, 0, "d2970f50a2b9512f", "a778b0b3a6232890"),
    (
        {"scenario": "drift", "kind": "permute", "pattern": "gradual", "width": 12, "passes": 2},
        1,
        "2171422c1729924f",
        "ab69acc5d89326ea",
    ),
    (
        {"scenario": "drift", "pattern": "recurring", "concepts": 3, "changes": 5, "width": 4},
        2,
        "64c521ebb95e55d0",
        "5a47440c70b8dc45",
    ),
]


@pytest.mark.parametrize(("config", "seed", "fingerprint", "rows"), GOLDEN)
def test_drifting_streams_are_what_they_were_when_their_fingerprints_were_recorded(config, seed, fingerprint, rows):
    assert fingerprints(config, seed, rows_of([10, 12, 14, 16, 18, 20])) == (fingerprint, rows)


def test_every_setting_and_the_seed_enter_the_fingerprint():
    data = rows_of([20] * 4)
    changes = [{}, {"changes": 3}, {"times": [0.3]}, {"changes_per_pass": 2.0}, {"kind": "permute"}, {"passes": 2}]
    changes += [{"pattern": "gradual", "width": w} for w in (2, 3)]
    changes += [{"pattern": "recurring", "concepts": k} for k in (2, 3)]
    changes += [{"pieces": 2}, {"tasks": "classes"}, {"output": "all"}, {"boundaries": True}]
    prints = [make({"scenario": "drift", **change}, data, 0).fingerprint for change in changes]
    prints.append(make({"scenario": "drift"}, data, 1).fingerprint)
    assert len(set(prints)) == len(prints)


def test_two_ways_to_say_the_same_times_are_one_stream():
    data = rows_of([20] * 4)
    ways = ({"changes": 3}, {"times": [0.25, 0.5, 0.75]}, {"changes_per_pass": 4.0})
    assert len({drift(data, 0, **way).fingerprint for way in ways}) == 1


def test_ten_thousand_experiences_stay_small():
    assert own_bytes(drift(rows_of([1000] * 10), 0, changes=9999)) < 1_000_000  # 8 bytes for each class and concept
    passes = drift(rows_of([1000] * 10), 0, changes=9999, passes=50, pattern="recurring", width=7)
    assert len(passes) == 10_000
    assert own_bytes(passes) < 100_000  # orders of the passes are drawn when they are needed


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"kind": "swop"}, "kind"),
        ({"times": [0.5], "changes": 1}, "times and changes both say when"),
        ({"times": [0.0]}, "above 0 and below 1"),
        ({"times": [0.5, 0.4]}, "do not ascend"),
        ({"times": [0.5, 0.501]}, "leave no sample between"),
        ({"changes": -1}, "changes = -1 is not possible"),
        ({"changes": 80}, "changes = 80 is not possible: the stream has 80 samples"),
        ({"changes_per_pass": -1.0}, "changes_per_pass = -1.0 is not possible"),
        ({"changes_per_pass": 81.0}, "changes_per_pass = 81.0 is not possible"),
        ({"passes": 0}, "passes = 0 makes no stream"),
        ({"pieces": 17}, "pieces = 17 is not possible with 16 samples"),
        ({"pieces": 0}, "pieces = 0 is not possible"),
        ({"width": 1}, r"a sudden change has none \(0\)"),
        ({"pattern": "gradual"}, "width = 0 does not go with pattern = 'gradual'"),
        ({"pattern": "gradual", "width": 17}, "mixes 1 to 16 samples"),
        ({"pattern": "recurring", "width": 17}, "a recurring one 0 to 16"),
        ({"concepts": 2}, "concepts = 2 belongs to pattern = 'recurring'"),
        ({"pattern": "recurring", "concepts": 1}, "ask for 2 to 7"),
        ({"pattern": "recurring", "concepts": 8}, "ask for 2 to 7"),  # 1 + 4 · 3 / 2
        ({"pattern": "recurring", "kind": "permute", "concepts": 25}, "ask for 2 to 24"),
    ],
)
def test_impossible_drift_is_refused_with_a_sentence(config, sentence):
    with pytest.raises(Refused, match=sentence):
        make({"scenario": "drift", **config}, rows_of([20] * 4), 0)


def test_a_single_class_cannot_drift():
    with pytest.raises(Refused, match="has one class"):
        drift(rows_of([9]), 0)


def test_as_many_changes_as_there_are_rows_between_them():
    stream = drift(rows_of([20] * 4), 0, changes=79)
    assert [len(e) for e in stream] == [1] * 80


@pytest.mark.parametrize("settings", [{"pattern": "gradual", "width": 40}, {"pattern": "recurring", "kind": "permute"}])
def test_a_short_run_follows_the_concept_and_stale_labels_do_not_help(settings):
    records = short_runs(scenario="drift", changes=2, passes=2, **settings)
    assert [r.status for r in records.values()] == ["done", "done"]
    assert records["naive"].trace.score.shape[1] == 1
    assert records["naive"].trace.score[-1, 0] > 0.6
    assert records["er"].trace.score[-1, 0] < records["naive"].trace.score[-1, 0] + 0.1


def test_the_docs_name_every_setting_and_their_example_is_a_stream():
    assert len(documented("drift")) == 4

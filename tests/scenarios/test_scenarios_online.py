"""Online streams: every row once in pieces, i.i.d. or by groups of classes, with the class sizes asked for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ordered_streams import check, documented, fingerprints, own_bytes, rows_of, sequence, short_runs
from support import ready, stream_rows

from clbench.core.errors import Refused
from clbench.scenarios import make
from clbench.scenarios.online import online


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(8, 30), min_size=2, max_size=6),
    kind=st.sampled_from(["iid", "class"]),
    pieces=st.integers(1, 4),
    groups=st.integers(1, 2),
    shuffled=st.booleans(),
    seed=st.integers(0, 2**40),
)
def test_every_row_occurs_once_in_pieces_of_equal_size(sizes, kind, pieces, groups, shuffled, seed):
    data = rows_of(sizes)
    settings = {"groups": groups, "experiences": groups * pieces} if kind == "class" else {"experiences": pieces}
    stream = online(data, seed, kind=kind, shuffled=shuffled, **settings)
    check(stream)
    assert sorted(sequence(stream)) == list(range(len(data.train)))
    assert all(e.shuffled is shuffled for e in stream)
    for g in range(groups if kind == "class" else 1):
        lengths = [len(e) for e in stream[g * pieces : (g + 1) * pieces]]
        assert max(lengths) - min(lengths) <= 1


def test_one_piece_per_group_is_the_split_with_the_same_seed():
    data = rows_of([9, 12, 7, 10])
    stream, split = online(data, 8, experiences=2), make({"scenario": "split", "experiences": 2}, data, 8)
    assert [sorted(e.rows) for e in stream] == [sorted(e.rows) for e in split]
    assert [t.rows.tolist() for t in stream.tasks] == [t.rows.tolist() for t in split.tasks]
    assert [e.task for e in stream] == [0, 1]


def test_pieces_of_a_group_follow_each_other():
    stream = online(rows_of([10, 10, 10, 10]), 0, experiences=6, groups=2)
    assert [e.task for e in stream] == [0, 0, 0, 1, 1, 1]
    assert [len(e) for e in stream] == [7, 7, 6, 7, 7, 6]
    assert [len(group) for group in stream.description["groups"]] == [2, 2]


def test_iid_pieces_hold_the_classes_in_proportion():
    data = rows_of([3000, 1000])
    stream = online(data, 1, kind="iid", experiences=8)
    shares = np.array([(data.train.y[e.rows] == 0).mean() for e in stream])
    assert np.abs(shares - 0.75).max() < 0.08  # 500 rows each: deviation 0.018
    assert [t.name for t in stream.tasks] == ["all classes"]
    assert {e.task for e in stream} == {0}


@pytest.mark.parametrize(
    ("factor", "sizes", "expected"),
    [
        (100.0, [1000, 1000, 1000], {1000, 100, 10}),  # 1000 · 100^(-i/2)
        (10.0, [500] * 4, {500, 232, 107, 50}),  # 500 · 10^(-i/3)
        (1.0, [30, 50, 40], {30}),  # as many as the smallest class has, from each
        (None, [30, 50, 40], {30, 50, 40}),
    ],
)
def test_a_long_tail_has_the_sizes_of_the_formula(factor, sizes, expected):
    data = rows_of(sizes)
    stream = online(data, 0, experiences=1, long_tail=factor)
    found = np.bincount(data.train.y[sequence(stream)])
    assert set(found) == expected
    assert found.tolist() == stream.description["class_sizes"]
    assert sum(len(t.rows) for t in stream.tasks) == len(data.test)


def test_the_head_of_a_long_tail_is_as_large_as_every_class_allows():
    """Classes of 40 and 100 rows at imbalance 4: 40 as the head gives 40 and 10, 100 as the head gives 100 and 25."""
    found = {tuple(online(rows_of([40, 100]), s, experiences=1, long_tail=4.0).description["class_sizes"])
             for s in range(8)}  # fmt: skip
    assert found == {(40, 10), (25, 100)}


def test_the_order_of_the_tail_follows_the_seed_and_is_not_the_order_of_the_classes():
    data = rows_of([64] * 5)
    seen = set()
    for seed in range(6):
        plain, tailed = (online(data, seed, long_tail=f) for f in (None, 16.0))
        assert plain.description["groups"] == tailed.description["groups"]
        seen.add(tuple(tailed.description["class_sizes"]))
    assert len(seen) > 3


def test_given_order_reaches_the_learner_and_is_the_same_on_every_pass():
    setting = "{scenario: online, kind: iid, experiences: 2, dataset: {name: digits, train_rows: 60}, shuffled: %s}"
    run = ready("naive", "stream=" + setting % "false", "training.epochs=2")
    pieces = [e.rows.tolist() for e in run.stream]
    met = [row for batch in stream_rows(run) for row in batch]
    assert met == [*pieces[0], *pieces[0], *pieces[1], *pieces[1]]
    shuffled = [row for batch in stream_rows(ready("naive", "stream=" + setting % "true")) for row in batch]
    assert shuffled[: len(pieces[0])] != pieces[0]
    assert sorted(shuffled[: len(pieces[0])]) == sorted(pieces[0])


GOLDEN = [
    ({"scenario": "online", "experiences": 6, "groups": 3}, 0, "f7498b35875d6ab3", "8ccef268c0cf97e7"),
    ({"scenario": "online", "kind": "iid", "experiences": 4}, 1, "1b816d392d31c673", "519153e92195d79c"),
    (
        {"scenario": "online", "experiences": 2, "long_tail": 5.0, "tasks": "classes", "shuffled": True},
        2,
        "e9a7a1549849ce75",
        "9774c39aa44e9d33",
    ),
]


@pytest.mark.parametrize(("config", "seed", "fingerprint", "rows"), GOLDEN)
def test_online_streams_are_what_they_were_when_their_fingerprints_were_recorded(config, seed, fingerprint, rows):
    assert fingerprints(config, seed, rows_of([10, 12, 14, 16, 18, 20])) == (fingerprint, rows)


def test_every_setting_and_the_seed_enter_the_fingerprint():
    data = rows_of([20] * 4)
    changes = [{}, {"experiences": 2}, {"groups": 2}, {"kind": "iid"}, {"long_tail": 2.0}, {"shuffled": True}]
    changes += [{"tasks": "all"}, {"tasks": "classes"}, {"output": "all"}, {"boundaries": False}]
    base = {"scenario": "online", "experiences": 4}
    prints = [make({**base, **change}, data, 0).fingerprint for change in changes]
    prints.append(make(base, data, 1).fingerprint)
    assert len(set(prints)) == len(prints)


@pytest.mark.parametrize("kind", [{"kind": "iid"}, {"kind": "class", "groups": 5}])
def test_ten_thousand_experiences_stay_small(kind):
    assert own_bytes(online(rows_of([6000] * 10), 0, experiences=10_000, **kind)) < 500_000


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"kind": "batch"}, "kind"),
        ({"experiences": 0}, "ask for at least 1"),
        ({"experiences": 7}, "cannot be pieces of 7 groups of the 6 classes"),
        ({"experiences": 4, "groups": 3}, r"choose groups among \[1, 2, 4\]"),
        ({"experiences": 4, "groups": 2, "kind": "iid"}, "groups = 2 belongs to kind = 'class'"),
        ({"experiences": 121, "kind": "iid"}, "experiences = 121 is not possible with 120 samples"),
        ({"experiences": 186, "groups": 6}, "experiences / groups = 31 is not possible with 20 samples"),
        ({"long_tail": 0.5}, "give 1"),
        ({"long_tail": 21.0}, "would have 20; choose at most 20"),
        ({"tasks": "groups", "kind": "iid"}, "known: all, classes"),
    ],
)
def test_impossible_online_streams_are_refused_with_a_sentence(config, sentence):
    with pytest.raises(Refused, match=sentence):
        make({"scenario": "online", **config}, rows_of([20] * 6), 0)


def test_short_runs_learn_all_classes_from_iid_pieces_and_forget_class_by_class():
    iid, by_class = (short_runs(scenario="online", kind=kind) for kind in ("iid", "class"))
    assert iid["naive"].trace.score.shape[1] == 1
    assert by_class["naive"].trace.score.shape[1] == 5
    assert iid["naive"].trace.score[-1, 0] > 0.6
    assert by_class["naive"].trace.score[-1].mean() < 0.3 < by_class["er"].trace.score[-1].mean()


def test_the_docs_name_every_setting_and_their_example_is_a_stream():
    assert len(documented("online")) == 5

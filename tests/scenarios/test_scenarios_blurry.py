"""i-Blurry, Si-Blurry and linear transitions: every row once, the shares that were asked for, and honest homes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ordered_streams import check, documented, fingerprints, own_bytes, rows_of, sequence, short_runs

from clbench.core.errors import Refused
from clbench.scenarios import make
from clbench.scenarios.blurry import blurry


def counts(stream) -> np.ndarray:
    """(E, C) rows of each class in each experience."""
    y = stream.dataset.train.y
    return np.array([np.bincount(y[e.rows], minlength=stream.dataset.n_classes) for e in stream])


@settings(max_examples=60, deadline=None)
@given(
    variant=st.sampled_from(["i_blurry", "si_blurry"]),
    sizes=st.lists(st.integers(20, 60), min_size=3, max_size=8),
    experiences=st.integers(1, 4),
    disjoint=st.floats(0, 100),
    blur=st.floats(60, 100),
    tasks=st.sampled_from(["classes", "home"]),
    seed=st.integers(0, 2**40),
)
def test_every_row_occurs_once_whatever_leaks(variant, sizes, experiences, disjoint, blur, tasks, seed):
    data = rows_of(sizes)
    if disjoint >= 100 / len(sizes) * (len(sizes) - 1):
        disjoint = 0.0
    kind = {"variant": variant, "disjoint": disjoint, "blurry": blur, "tasks": tasks}
    stream = blurry(data, seed, experiences=experiences, **kind)
    check(stream)
    assert sorted(sequence(stream)) == list(range(len(data.train)))
    assert len(stream) == experiences
    assert sorted(np.concatenate([t.rows for t in stream.tasks])) == list(range(len(data.test)))
    assert not any(e.shuffled or e.boundary for e in stream)
    table = counts(stream)
    apart = [c for home, n in zip(*(stream.description[k] for k in ("homes", "disjoint_classes")), strict=True)
             for c in home[:n]]  # fmt: skip
    assert len(apart) == int(len(sizes) * disjoint / 100)
    assert all((table[:, c] > 0).sum() == 1 for c in apart)


def test_i_blurry_50_10_has_the_shares_of_the_published_splits():
    """Ten classes of 5000 rows in five tasks: 500 rows of each blurry class go into the pool, a fifth of it returns."""
    stream = blurry(rows_of([5000] * 10), 0)
    table, homes = counts(stream), stream.description["homes"]
    assert table.sum(1).tolist() == [10000] * 5
    for i, (apart, leaky) in enumerate(homes):
        assert table[i, apart] == 5000
        away = np.delete(table[:, leaky], i)
        # 100 of 500 in each experience on average; hypergeometric with a deviation of 8
        assert table[i, leaky] == 5000 - away.sum()
        assert np.all(np.abs(away - 100) < 40)
        assert 4500 <= table[i, leaky] <= 4640
    assert stream.description["given"] == [500] * 5


def test_the_same_share_of_every_blurry_class_leaks():
    """Two blurry classes per experience, in class order in the data: a first part of the rows would be of one class."""
    stream = blurry(rows_of([100] * 4, mixed=False), 3, experiences=2, disjoint=0, blurry=50)
    assert stream.description["given"] == [100, 100]
    for i, home in enumerate(stream.description["homes"]):
        # of each class of 100 rows, 50 stay, and the other 50 are dealt out among both experiences
        assert all(50 < counts(stream)[i, c] < 100 for c in home)


def test_nothing_is_left_over_where_shares_do_not_divide():
    """7 classes in 3 experiences, 2 disjoint; pools of 5 · 11 % of 13 rows, each rounded down by experience."""
    stream = blurry(rows_of([13] * 7), 1, experiences=3, disjoint=30, blurry=11)
    assert [len(home) for home in stream.description["homes"]] == [3, 3, 1]
    assert stream.description["given"] == [2, 2, 1]  # 11 % of 26, 26 and 13
    assert [len(e) for e in stream] == [13 * 3 - 2 + 2, 13 * 3 - 2 + 2, 13 - 1 + 1]


def test_without_blur_the_stream_is_disjoint_and_with_all_of_it_mixed():
    disjoint = counts(blurry(rows_of([60] * 6), 0, experiences=3, blurry=0))
    assert ((disjoint > 0).sum(0) == 1).all()
    mixed = counts(blurry(rows_of([600] * 6), 0, experiences=3, disjoint=0, blurry=100))
    assert np.abs(mixed - 200).max() < 60  # hypergeometric with a deviation of 10


def test_si_blurry_gives_and_takes_the_same_random_numbers_while_the_stock_lasts():
    data = rows_of([100] * 10)
    seen = set()
    for seed in range(20):
        stream = blurry(data, seed, variant="si_blurry")
        given, homes = np.array(stream.description["given"]), stream.description["homes"]
        stock = 100 * (np.array([len(h) for h in homes]) - stream.description["disjoint_classes"])
        assert given.sum() <= 50  # 10 % of 5 blurry classes
        assert (given <= stock).all()
        if given.sum() == 50:  # nothing was short
            assert [len(e) for e in stream] == [100 * len(h) for h in homes]
        seen.add((tuple(map(len, homes)), tuple(given)))
    assert len(seen) == 20


def test_si_blurry_draws_its_cuts_again_where_an_experience_would_stay_empty():
    sizes = [len(e) for seed in range(30) for e in blurry(rows_of([9] * 3), seed, variant="si_blurry", experiences=3)]
    assert min(sizes) > 0
    with pytest.raises(Refused, match="ask for fewer experiences or a higher blurry percentage"):
        blurry(rows_of([9] * 3), 0, variant="si_blurry", experiences=30)


def test_home_tasks_hold_the_classes_at_home_in_each_experience():
    stream = blurry(rows_of([40] * 6), 0, experiences=3, tasks="home", blurry=20)
    homes = stream.description["homes"]
    assert [set(task.classes) for task in stream.tasks] == [set(home) for home in homes]
    y = stream.dataset.train.y
    for e in stream:
        home_of = {c: t for t, home in enumerate(homes) for c in home}
        np.testing.assert_array_equal(e.task, [home_of[c] for c in y[e.rows]])


# --------------------------------------------------------------------------------------------------- linear


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.integers(10, 30), min_size=3, max_size=6), seed=st.integers(0, 2**40), width=st.integers(0, 10)
)
def test_a_linear_transition_uses_every_row_once_and_mixes_neighbours_only(sizes, seed, width):
    data = rows_of(sizes)
    stream = blurry(data, seed, variant="linear", experiences=3, width=width)
    check(stream)
    rows = sequence(stream)
    assert sorted(rows) == list(range(len(data.train)))
    group = {c: g for g, home in enumerate(stream.description["homes"]) for c in home}
    groups = np.array([group[c] for c in data.train.y[rows]])
    switches = np.cumsum(stream.description["sizes"])[:-1]
    for n, g in enumerate(groups):
        # a row's moment lies within width / 2 of its place, and so does the moment of whichever row has its place
        assert min([abs(n - s) for s in switches]) <= width or g == np.searchsorted(switches, n, side="right")
    if width == 0:
        assert (np.diff(groups) >= 0).all()


def test_the_share_of_the_next_group_rises_linearly_around_the_switch():
    """Averaged over seeds: at (n - switch) / width = x it is 1/2 + x, here read in ten bins of the width."""
    width, bins, share = 200, 10, np.zeros(10)
    for seed in range(40):
        stream = blurry(rows_of([400] * 2), seed, variant="linear", experiences=2, width=width)
        later = stream.dataset.train.y[sequence(stream)] == stream.description["homes"][1][0]
        share += later[300:500].reshape(bins, -1).mean(1) / 40
        assert not later[:280].any()
        assert later[520:].all()
    np.testing.assert_allclose(share, (np.arange(bins) + 0.5) / bins, atol=0.05)  # 800 rows a bin: deviation 0.018


def test_a_sharp_linear_stream_is_a_split():
    data = rows_of([7, 9, 11, 8])
    split = make({"scenario": "split", "experiences": 2}, data, 5)
    sharp = blurry(data, 5, variant="linear", experiences=2, width=0)
    assert [sorted(e.rows) for e in sharp] == [sorted(e.rows) for e in split]


# --------------------------------------------------------------------------------------------------- all of them


GOLDEN = [
    ({"scenario": "blurry", "experiences": 3}, 0, "cbfcc92858e8fb72", "044ef730939d212d"),
    (
        {"scenario": "blurry", "experiences": 3, "variant": "si_blurry", "tasks": "home"},
        1,
        "08e668f9bf1a124e",
        "98d22865918d8536",
    ),
    (
        {"scenario": "blurry", "experiences": 2, "variant": "linear", "width": 9},
        2,
        "82e421382c0eb403",
        "4226dc9343f448e5",
    ),
]


@pytest.mark.parametrize(("config", "seed", "fingerprint", "rows"), GOLDEN)
def test_blurry_streams_are_what_they_were_when_their_fingerprints_were_recorded(config, seed, fingerprint, rows):
    assert fingerprints(config, seed, rows_of([10, 12, 14, 16, 18, 20])) == (fingerprint, rows)


def test_another_process_makes_the_same_streams_of_all_four_families_and_imports_no_torch():
    configs = [
        {"scenario": "blurry", "variant": "si_blurry"},
        {"scenario": "gaussian", "sigma": 0.1},
        {"scenario": "gaussian", "sigma": 0.1, "replace": True},
        {"scenario": "online", "long_tail": 3.0},
        {"scenario": "drift", "pattern": "gradual", "width": 5},
    ]
    program = (
        f"import json, sys; sys.path[:0] = {[str(path) for path in Path(__file__).parents[1:3]]}\n"
        "from ordered_streams import fingerprints, rows_of\n"
        f"print(json.dumps([fingerprints(c, 0, rows_of([20] * 6)) for c in {configs}]))\n"
        "print('torch' in sys.modules)\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert json.loads(out[0]) == [list(fingerprints(c, 0, rows_of([20] * 6))) for c in configs]
    assert out[1] == "False"


def test_every_setting_and_the_seed_enter_the_fingerprint():
    data = rows_of([20] * 6)
    base = {"scenario": "blurry", "experiences": 3}
    changes = [
        {},
        {"experiences": 2},
        {"disjoint": 20.0},
        {"blurry": 30.0},
        {"variant": "si_blurry"},
        {"tasks": "home"},
    ]
    changes += [{"output": "all"}, {"boundaries": True}, *({"variant": "linear", "width": w} for w in (0, 5))]
    prints = [make({**base, **change}, data, 0).fingerprint for change in changes]
    prints.append(make(base, data, 1).fingerprint)
    assert len(set(prints)) == len(prints)


def test_a_blurry_stream_stays_small():
    assert own_bytes(blurry(rows_of([5000] * 10), 0)) < 250_000  # 4 bytes a row


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"variant": "blurred"}, "variant"),
        ({"disjoint": 101.0}, "disjoint = 101.0 is not a percentage"),
        ({"blurry": -1.0}, "blurry = -1.0 is not a percentage"),
        ({"experiences": 0}, "ask for at least 1"),
        ({"experiences": 9}, r"experiences \[.*\] would hold no samples"),
        ({"width": 3}, "width = 3 belongs to variant = 'linear'"),
        ({"variant": "linear"}, "width = None is not possible"),
        ({"variant": "linear", "width": 41, "experiences": 3}, "the smallest has 40"),
        ({"variant": "linear", "width": 1, "experiences": 7}, "has 6 classes, too few for 7"),
    ],
)
def test_impossible_blur_is_refused_with_a_sentence(config, sentence):
    with pytest.raises(Refused, match=sentence):
        make({"scenario": "blurry", **config}, rows_of([20] * 6), 0)


def test_a_class_without_test_rows_is_refused():
    data = rows_of([5, 5, 0])
    with pytest.raises(Refused, match=r"no training samples of classes \[2\]"):
        blurry(data, 0, experiences=2)


@pytest.mark.parametrize("variant", ["i_blurry", "si_blurry", "linear"])
def test_a_short_run_learns_and_rehearsal_does_not_hurt(variant):
    width = {"width": 30} if variant == "linear" else {}
    records = short_runs(scenario="blurry", variant=variant, **width)
    assert [r.status for r in records.values()] == ["done", "done"]
    final = {label: record.trace.score[-1] for label, record in records.items()}
    assert final["er"].shape == (10,)
    assert final["er"].mean() >= final["naive"].mean() > 0.1


def test_the_docs_name_every_setting_and_their_example_is_a_stream():
    assert len(documented("blurry")) == 5

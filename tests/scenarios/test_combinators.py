"""Combinators change streams as they say, compose, and stay pure, lazy and small."""

from __future__ import annotations

import pickle
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_scenarios_fingerprints import fixed
from tiny_data import tiny

import clbench
from clbench.core.errors import Refused
from clbench.core.rng import Generator
from clbench.scenarios import canonical, make
from clbench.scenarios.combinators import COMBINATORS, applied, chosen, recur, repeat, subsample
from clbench.scenarios.first_experiences import first
from clbench.scenarios.interleave import interleave
from clbench.scenarios.label_noise import label_noise
from clbench.scenarios.permuted import permuted
from clbench.scenarios.realised import check_stream, realised_hash
from clbench.scenarios.split import split

SPLIT = {"scenario": "split", "experiences": 3}


def groups(stream) -> list[tuple[int, ...]]:
    return [e.classes for e in stream]


# ------------------------------------------------------------------------------------------- writing them


def test_apply_is_written_out_and_is_its_own_canonical_form():
    written = {**SPLIT, "apply": ["repeat", {"subsample": {"fraction": 0.5}}]}
    full = canonical(written)
    assert full["apply"] == [{"repeat": {"times": 2, "order": "same"}}, {"subsample": {"fraction": 0.5}}]
    assert canonical(full) == full
    assert "apply" not in canonical({**SPLIT, "apply": []})
    nested = canonical({**SPLIT, "apply": [{"interleave": {"other": {"scenario": "permuted"}}}]})
    assert nested["apply"][0]["interleave"]["other"] == canonical({"scenario": "permuted"})


@pytest.mark.parametrize(
    ("apply", "sentence"),
    [
        ("repeat", "is not a list"),
        ([{"repeat": {}, "recur": {}}], "is not one combinator"),
        ([{"repeet": {}}], "did you mean 'repeat'"),
        ([{"repeat": {"time": 2}}], "did you mean 'times'"),
        ([{"repeat": 2}], "not a mapping"),
        (["subsample"], "needs a value for 'fraction'"),
        ([{"repeat": {"times": 0}}], "give at least 1"),
        ([{"subsample": {"fraction": 0}}], "above 0"),
        ([{"subsample": {"fraction": 1.5}}], "at most 1"),
        ([{"recur": {"visits": 2}}], "ask for at least 3 visits"),
        ([{"recur": {"visits": 9, "enter_every": 5}}], "ask for at least 11 visits"),
        ([{"recur": {"visits": 9, "floor": 2}}], "within 0 to 1"),
        ([{"recur": {"visits": 9, "alpha": -1}}], "alpha"),
        ([{"label_noise": {"fraction": 1.1}}], "from 0 to 1"),
        ([{"label_noise": {"fraction": 0.1, "kind": "pair"}}], "pairwise"),
        ([{"interleave": {"other": {"scenario": "splt"}}}], "did you mean 'split'"),
        ([{"interleave": {"other": {"scenario": "split"}, "block": 0}}], "at least 1 experience"),
        ([{"interleave": {"other": {"scenario": "permuted", "setting": "class"}}}], "outputs = 'separate'"),
        ([{"interleave": {"other": {"scenario": "permuted", "task_labels": True}}}], "same task_labels"),
    ],
)
def test_impossible_combinators_are_refused_with_a_sentence(apply, sentence):
    with pytest.raises(Refused, match=sentence):
        make({**SPLIT, "apply": apply}, tiny(6), 0)


def test_every_combinator_and_setting_enters_the_fingerprint_and_their_order_does():
    steps = [
        [],
        ["repeat"],
        [{"repeat": {"times": 3}}],
        [{"repeat": {"order": "seeded"}}],
        [{"recur": {"visits": 9}}],
        [{"recur": {"visits": 9, "alpha": 2}}],
        [{"subsample": {"fraction": 0.5}}],
        ["repeat", {"subsample": {"fraction": 0.5}}],
        [{"subsample": {"fraction": 0.5}}, "repeat"],
        [{"label_noise": {"fraction": 0.5}}],
        [{"label_noise": {"fraction": 0.5, "kind": "pairwise"}}],
        [{"interleave": {"other": {"scenario": "split"}}}],
        [{"interleave": {"other": {"scenario": "split"}, "block": 2}}],
    ]
    prints = [make({**SPLIT, "apply": each}, tiny(6), 0).fingerprint for each in steps]
    assert len(set(prints)) == len(prints)


# ------------------------------------------------------------------------------------------- repeat, recur


def test_repeat_goes_through_the_same_experiences_again():
    base = split(tiny(6), 0, experiences=3)
    stream = repeat(base, times=3)
    assert [e.id for e in stream] == list(range(9))
    for i, experience in enumerate(stream):
        np.testing.assert_array_equal(experience.rows, base[i % 3].rows)
        assert experience.task == i % 3
    assert stream.tasks is base.tasks


def test_repeat_in_seeded_order_shuffles_from_the_second_time_on():
    base = permuted(tiny(6), 3, experiences=12)
    views = [e.view for e in repeat(base, times=3, order="seeded")]
    rounds = [views[k : k + 12] for k in (0, 12, 24)]
    assert rounds[0] == list(range(12))
    assert all(sorted(r) == list(range(12)) for r in rounds)
    assert len(set(map(tuple, rounds))) == 3


def test_repeat_carries_a_drifting_world_along():
    base = make({"scenario": "drift", "changes": 2}, tiny(6), 0)
    stream = repeat(base, times=2)
    assert [int(stream.task_views(i)[0]) for i in range(6)] == [0, 1, 2, 0, 1, 2]


def test_recurrence_enters_in_order_and_follows_its_weights():
    base = split(tiny(8), 0, experiences=4)
    stream = recur(base, visits=4000, enter_every=5, schedule="uniform")
    tasks = np.array([e.task for e in stream])
    assert tasks[[0, 5, 10, 15]].tolist() == [0, 1, 2, 3]
    assert all(tasks[b] <= b // 5 for b in range(20))
    share = np.bincount(tasks[20:]) / 3980
    np.testing.assert_allclose(share, 0.25, atol=4 * (0.25 * 0.75 / 3980) ** 0.5)


def test_a_steep_power_law_stays_with_the_last_experience_and_alpha_0_is_uniform():
    base = split(tiny(8), 0, experiences=4)
    steep = [e.task for e in recur(base, visits=50, alpha=60)]
    assert steep == [0, 1, 2] + [3] * 47
    flat = recur(base, visits=300, alpha=0)
    assert [e.task for e in flat] == [e.task for e in recur(base, visits=300, schedule="uniform")]


def test_recurrence_over_ten_thousand_visits_is_fast_and_small():
    base = split(tiny(6), 0, experiences=6)
    began = time.perf_counter()
    stream = subsample(recur(base, visits=10_000, enter_every=100), fraction=0.5)
    assert time.perf_counter() - began < 2
    assert len(pickle.dumps(stream)) < 500_000
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(stream))[9_999].rows, stream[9_999].rows)


# ------------------------------------------------------------------------------------------- subsample


@settings(max_examples=60, deadline=None)
@given(
    strata=st.lists(st.integers(0, 4), min_size=1, max_size=60),
    fraction=st.floats(0, 1),
    least=st.integers(0, 1),
    seed=st.integers(0, 2**40),
)
def test_a_share_of_every_stratum_is_rounded_half_up(strata, fraction, least, seed):
    strata = np.array(strata)
    mask = chosen(strata, fraction, Generator(seed, "x"), least=least)
    for s in set(strata.tolist()):
        n = int((strata == s).sum())
        assert mask[strata == s].sum() == max(least, int(fraction * n + 0.5))
    more = chosen(strata, min(1, fraction + 0.3), Generator(seed, "x"), least=least)
    assert (more >= mask).all()


def test_subsample_keeps_classes_tasks_and_the_order_of_rows():
    data = tiny(6, per_class=20)
    base = make({"scenario": "power_law", "tasks": 3}, data, 0)
    stream = subsample(base, fraction=0.25)
    for before, after in zip(base, stream, strict=True):
        assert before.tasks == after.tasks
        assert before.classes == after.classes
        assert len(after) == pytest.approx(len(before) / 4, rel=0.35)  # each class and task rounds alone
        columns = [np.stack([e.rows, np.asarray(e.task), np.asarray(e.view)], axis=1).tolist() for e in (before, after)]
        remaining = iter(columns[0])
        assert all(row in remaining for row in columns[1])  # a subsequence


def test_subsample_draws_anew_for_each_experience_and_before_repeat_it_does_not():
    base = permuted(tiny(6, per_class=20), 0, experiences=2)
    fresh = subsample(repeat(base), fraction=0.5)
    assert len({tuple(e.rows) for e in fresh}) == 4
    kept = repeat(subsample(base, fraction=0.5))
    np.testing.assert_array_equal(kept[0].rows, kept[2].rows)


def test_the_whole_fraction_is_the_identity():
    base = make({"scenario": "power_law", "tasks": 3}, tiny(6), 0)
    for before, after in zip(base, subsample(base, fraction=1), strict=True):
        np.testing.assert_array_equal(before.rows, after.rows)
        np.testing.assert_array_equal(before.view, after.view)


# ------------------------------------------------------------------------------------------- label noise


def test_symmetric_noise_changes_its_share_of_every_class_to_all_others_alike():
    data = tiny(5, per_class=2000)
    base = split(data, 0, experiences=5)
    noisy = label_noise(base, fraction=0.3).dataset.train.y
    for c in range(5):
        new = noisy[data.train.y == c]
        n = len(new)
        assert (new != c).sum() == int(0.3 * n + 0.5)
        others = np.bincount(new, minlength=5)[np.arange(5) != c]
        np.testing.assert_allclose(others / n, 0.3 / 4, atol=4 * (0.075 / n) ** 0.5)


def test_pairwise_noise_goes_to_the_next_class_and_from_the_last_to_the_first():
    data = tiny(4, per_class=10)
    noisy = label_noise(split(data, 0, experiences=2), fraction=0.5, kind="pairwise").dataset.train.y
    changed = noisy != data.train.y
    assert changed.sum() == sum(int(0.5 * n + 0.5) for n in (10, 11, 12, 13))
    np.testing.assert_array_equal(noisy[changed], (data.train.y[changed] + 1) % 4)


def test_noise_among_the_experience_stays_in_its_group():
    data = tiny(6, per_class=50)
    base = split(data, 0, setting="domain", experiences=2)
    stream = label_noise(base, fraction=0.4, among="experience")
    for before, after in zip(base, stream, strict=True):
        np.testing.assert_array_equal(before.rows, after.rows)
        old, new = (s.labels(s.dataset.train, before.rows, before.view) for s in (base, stream))
        assert (old != new).mean() == pytest.approx(0.4, abs=0.02)
        assert before.classes == after.classes
    assert check_stream(lambda: stream) == []


def test_noise_leaves_rows_test_labels_and_the_given_data_alone():
    data = tiny(6)
    before = data.train.y.copy()
    base = split(data, 0, experiences=3)
    stream = label_noise(base, fraction=0.5)
    np.testing.assert_array_equal(data.train.y, before)
    assert stream.dataset.test is data.test
    assert stream.dataset.train.x is data.train.x
    assert stream.dataset.checksum != data.checksum
    for clean, noisy in zip(base, stream, strict=True):
        np.testing.assert_array_equal(clean.rows, noisy.rows)
        assert set(noisy.classes) == set(stream.dataset.train.y[noisy.rows])
    assert label_noise(base, fraction=0).dataset.train.y.tolist() == before.tolist()


def test_more_noise_changes_the_same_rows_and_more_of_them():
    base = split(tiny(6, per_class=30), 0, experiences=3)
    little, much = (label_noise(base, fraction=f).dataset.train.y for f in (0.2, 0.5))
    changed = little != base.dataset.train.y
    np.testing.assert_array_equal(much[changed], little[changed])
    assert (much != base.dataset.train.y).sum() > changed.sum()


@pytest.mark.parametrize(
    ("config", "among", "sentence"),
    [
        ({"scenario": "split", "setting": "domain", "experiences": 3}, "all", "choose among = 'experience'"),
        ({"scenario": "split", "setting": "task", "experiences": 3}, "all", "choose among = 'experience'"),
        ({"scenario": "split", "experiences": 6}, "experience", "single class"),
        ({"scenario": "scole", "experiences": 50}, "experience", "fixed groups"),
    ],
)
def test_noise_that_would_leave_its_task_is_refused(config, among, sentence):
    with pytest.raises(Refused, match=sentence):
        label_noise(make(config, tiny(6), 0), fraction=0.2, among=among)


def test_noise_under_views_with_units_of_their_own_is_possible():
    base = permuted(tiny(3), 0, setting="task", experiences=2)
    assert check_stream(lambda: label_noise(base, fraction=0.5)) == []


# ------------------------------------------------------------------------------------------- interleave


def test_two_streams_take_turns_and_tasks_are_counted_on():
    base = split(tiny(6), 0, experiences=3, order="fixed")
    stream = interleave(base, other={"scenario": "split", "experiences": 6, "order": "fixed"}, block=2)
    assert [e.id for e in stream] == list(range(9))
    assert [e.task for e in stream] == [0, 1, 3, 4, 2, 5, 6, 7, 8]
    assert [t.id for t in stream.tasks] == list(range(9))
    assert groups(stream)[:4] == [(0, 1), (2, 3), (0,), (1,)]
    assert stream.transform is None
    assert stream.label_map is None


def test_the_other_stream_is_the_one_its_settings_make_but_with_a_seed_of_its_own():
    data, other = tiny(6), {"scenario": "permuted", "experiences": 2, "first_identity": False}
    stream = interleave(split(data, 0, experiences=2), other=other)
    x = torch.rand(5, 1, 4, 4)
    rows = torch.arange(5)
    second = stream.transform.second
    assert second.orders.tolist() != make(other, data, 0).transform.orders.tolist()
    for i, view in ((1, 0), (3, 1)):
        shown = stream.transform.apply(x, torch.full((5,), stream[i].view), rows)
        torch.testing.assert_close(shown, second.apply(x, torch.full((5,), view), rows))
    assert torch.equal(stream.transform.apply(x, torch.full((5,), stream[0].view), rows), x)
    mixed = stream.transform.apply(x, torch.tensor([stream[0].view, stream[3].view, 0, 2, 1]), rows)
    assert torch.equal(mixed[[0, 2]], x[[0, 2]])


def test_separate_outputs_are_counted_on_and_shared_ones_are_not():
    base = split(tiny(6), 0, setting="domain", experiences=3)  # two units
    other = {"scenario": "rotated", "degrees": [0, 90]}  # six units
    stream = interleave(base, other=other, outputs="separate")
    assert stream.n_outputs == 8
    assert stream[0].classes == (0, 1)
    assert stream[1].classes == (2, 3, 4, 5, 6, 7)
    assert check_stream(lambda: interleave(base, other=other, outputs="separate")) == []


def test_evaluation_of_a_drifting_world_waits_while_the_other_stream_runs():
    base = make({"scenario": "drift", "changes": 1}, tiny(6), 0)  # one task, two concepts
    stream = interleave(base, other={"scenario": "permuted", "experiences": 2})
    assert len(base.label_map) == 2
    assert [stream.task_views(i).tolist() for i in range(4)] == [[0, 2, 3], [0, 2, 3], [1, 2, 3], [1, 2, 3]]
    assert [int(np.max(e.view)) for e in stream] == [0, 2, 1, 3]


def test_label_noise_follows_interleaving():
    base = split(tiny(6), 0, experiences=3)
    other = {"scenario": "split", "apply": [{"label_noise": {"fraction": 0.1}}]}
    with pytest.raises(Refused, match="let the noise follow interleave"):
        interleave(base, other=canonical(other))


# ------------------------------------------------------------------------------------------- together

STEPS = [
    ["repeat"],
    [{"repeat": {"times": 3, "order": "seeded"}}, {"subsample": {"fraction": 0.3}}],
    [{"recur": {"visits": 12}}, {"subsample": {"fraction": 0.5}}],
    [{"subsample": {"fraction": 0.5}}, {"subsample": {"fraction": 0.5}}],
    [{"label_noise": {"fraction": 0.3}}, {"recur": {"visits": 9, "schedule": "uniform"}}],
    [{"interleave": {"other": {"scenario": "permuted", "experiences": 2}}}, {"label_noise": {"fraction": 0.2}}],
    [{"interleave": {"other": {"scenario": "corrupted", "setting": "class"}, "outputs": "separate"}}, "repeat"],
    [{"repeat": {"times": 2}}, {"first": {"experiences": 2}}],
]
BASES = [
    SPLIT,
    {"scenario": "scole", "experiences": 5},
    {"scenario": "corrupted", "order": "mixed", "corruptions": ["fog", "contrast"]},
    {"scenario": "gaussian", "experiences": 5},
    {"scenario": "drift", "changes": 2},
]


@pytest.mark.parametrize("steps", STEPS, ids=str)
@pytest.mark.parametrize("base", BASES, ids=lambda b: b["scenario"])
@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 2**40))
def test_every_composition_keeps_the_contract(base, steps, seed):
    data = tiny(6, per_class=20)
    assert check_stream(lambda: make({**base, "apply": steps}, data, seed)) == []


def test_all_registered_combinators_are_tried_here():
    tried = {name for steps in STEPS for step in steps for name in ([step] if isinstance(step, str) else step)}
    assert {entry.name for entry in COMBINATORS} == tried


def test_the_same_combinator_twice_draws_different_numbers():
    base = permuted(tiny(6, per_class=20), 0, experiences=1)
    once = subsample(base, fraction=0.5)
    again = subsample(once, fraction=0.5)
    ranks = np.isin(once[0].rows, again[0].rows)
    first = np.isin(base[0].rows, once[0].rows)[: len(ranks)]
    assert not np.array_equal(ranks, first)


def test_applying_no_steps_changes_nothing():
    base = split(tiny(6), 0)
    assert applied(base, []) is base


GOLDEN = [
    ({**SPLIT, "apply": [{"repeat": {"times": 3, "order": "seeded"}}]}, 0, "21cfbaf4693b999b", "681398c7ab4bf045"),
    (
        {**SPLIT, "apply": [{"recur": {"visits": 40, "enter_every": 3}}, {"subsample": {"fraction": 0.5}}]},
        1,
        "841c0f216a2e72ea",
        "01720b3a8f4599b1",
    ),
    (
        {**SPLIT, "apply": [{"label_noise": {"fraction": 0.3, "among": "experience"}}]},
        2,
        "5f2abe738f416ceb",
        "5c34608f6291dc5c",
    ),
    (
        {**SPLIT, "apply": [{"interleave": {"other": {"scenario": "permuted"}, "block": 2}}]},
        3,
        "2d1325be2fb21877",
        "fcdeada12d543234",
    ),
]


@pytest.mark.parametrize(("config", "seed", "fingerprint", "realised"), GOLDEN)
def test_streams_are_what_they_were_when_their_fingerprints_were_recorded(config, seed, fingerprint, realised):
    stream = make(config, fixed(), seed)
    assert (stream.fingerprint, realised_hash(stream)) == (fingerprint, realised)


def test_a_recurring_noisy_stream_is_learned_and_rehearsed():
    document = {
        "name": "tiny-combined",
        "stream": {
            "scenario": "split",
            "dataset": {"name": "digits", "train_rows": 300},
            "apply": [
                {"interleave": {"other": {"scenario": "rotated", "degrees": [0, 90]}}},
                {"label_noise": {"fraction": 0.1}},
                {"recur": {"visits": 20, "schedule": "uniform"}},
            ],
        },
        "model": {"name": "mlp", "hidden": [32]},
        "training": {"lr": 0.1, "batch_size": 16, "epochs": 2},
        "memory": {"size": 60},
        "evaluation": {"every": 0, "rows_per_task": 40},
        "strategies": ["naive", "er"],
        "seeds": 1,
    }
    done = clbench.run(document)
    assert [record.status for record in done] == ["done", "done"]
    assert all(record.trace.present.shape == (20, 7) for record in done)
    assert done[1].trace.score[-1].mean() > 0.4  # chance is 0.1
    clean = clbench.run(replace_apply(document, []))
    assert clean[0].key != done[0].key


def replace_apply(document: dict, apply: list) -> dict:
    return {**document, "stream": {**document["stream"], "apply": apply}}


def test_noisy_labels_are_what_the_learner_is_given():
    data = replace(tiny(4), name="given")
    stream = label_noise(split(data, 0, experiences=1), fraction=1.0, kind="pairwise")
    labels = stream.labels(stream.dataset.train, stream[0].rows, stream[0].view)
    np.testing.assert_array_equal(labels, (data.train.y + 1) % 4)


# ------------------------------------------------------------------------------------------- the beginning of a stream


def test_first_keeps_the_samples_and_leaves_out_tasks_that_do_not_occur():
    base = split(tiny(6), 0, experiences=3)
    stream = first(base, experiences=2)
    assert len(stream) == 2
    assert [e.rows.tolist() for e in stream] == [base[0].rows.tolist(), base[1].rows.tolist()]
    assert [task.rows.tolist() for task in stream.tasks] == [task.rows.tolist() for task in base.tasks[:2]]
    assert stream.n_outputs == base.n_outputs
    assert check_stream(lambda: first(split(tiny(6), 0, experiences=3), experiences=2)) == []


def test_first_renumbers_tasks_that_occur_late_and_keeps_their_samples():
    base = repeat(split(tiny(6), 0, experiences=3), times=2)
    late = replace(base, build=lambda i: replace(base.build(i + 1), id=i), length=5)
    stream = first(late, experiences=2)  # of tasks 1 and 2
    assert [e.task for e in stream] == [0, 1]
    assert [task.id for task in stream.tasks] == [0, 1]
    assert [task.classes for task in stream.tasks] == [base.tasks[1].classes, base.tasks[2].classes]


def test_first_of_all_experiences_is_the_stream_with_another_description():
    base = make({"scenario": "drift", "changes": 2}, tiny(6), 0)
    stream = first(base, experiences=len(base))
    assert stream.tasks is base.tasks
    assert stream.fingerprint != base.fingerprint
    assert [stream.task_views(i).tolist() for i in range(3)] == [base.task_views(i).tolist() for i in range(3)]


@pytest.mark.parametrize("experiences", [0, 4])
def test_first_refuses_more_experiences_than_there_are(experiences):
    with pytest.raises(Refused, match="give 1 to 3"):
        make({**SPLIT, "apply": [{"first": {"experiences": experiences}}]}, tiny(6), 0)

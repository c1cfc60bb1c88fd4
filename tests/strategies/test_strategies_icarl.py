"""iCaRL: herding against brute force, the loss by hand, what is learned with what, and the read-out by means."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from support import NoLooks, assert_same, batches, everything, ready, train_until, trained
from torch.nn import functional as F

from clbench.models.output import Output
from clbench.running.alarms import alarms
from clbench.running.prepare import Skip
from clbench.training.batch import EXPERIENCE, ROW, Y
from clbench.training.herding import herd

# ------------------------------------------------------------------------- herding


def brute_force(features: np.ndarray, n: int) -> list[int]:
    """Algorithm 4 as it is written: at each turn the row that brings the mean of the chosen closest to the mean."""
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    mean, chosen = unit.mean(axis=0), []
    for _ in range(n):
        rest = [i for i in range(len(unit)) if i not in chosen]
        chosen.append(min(rest, key=lambda i: float(np.linalg.norm(mean - unit[[*chosen, i]].mean(axis=0)))))
    return chosen


@pytest.mark.parametrize("seed", range(4))
def test_herding_agrees_with_brute_force(seed):
    features = np.random.default_rng(seed).gamma(0.6, size=(30, 7))
    assert herd(torch.from_numpy(features), 30).tolist() == brute_force(features, 30)


def test_herding_by_hand():
    # unit vectors at 0, 60, 90 and 120 degrees; their mean is (0.25, 0.683)
    angles = torch.deg2rad(torch.tensor([0.0, 60.0, 90.0, 120.0]))
    features = torch.stack([angles.cos(), angles.sin()], dim=1) * torch.tensor([3.0, 1.0, 2.0, 5.0])[:, None]
    # products with the mean are 0.25, 0.72, 0.68, 0.47: 60 degrees; with 2 mean - (0.5, 0.87) = (0, 0.5) they are
    # 0, -, 0.5, 0.43: 90 degrees; with 3 mean - (0.5, 1.87) = (0.25, 0.18) they are 0.25, -, -, 0.03: 0 degrees
    assert herd(features, 4).tolist() == [1, 2, 0, 3]


def test_the_beginning_of_a_herded_list_is_the_list_of_that_length():
    features = torch.from_numpy(np.random.default_rng(1).normal(size=(20, 5)))
    assert herd(features, 20).tolist()[:6] == herd(features, 6).tolist()
    assert sorted(herd(features, 50).tolist()) == list(range(20))


def test_a_row_without_any_active_feature_is_a_row_like_others():
    # the mean is (1/3, 1/3): the row of zeros is nearest to it, then (1/2, 0) and (0, 1/2) are equally near
    assert herd(torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 2.0]]), 3).tolist() == [1, 0, 2]


# ------------------------------------------------------------------------- memory


def test_memory_is_shared_by_the_classes_seen_and_filled_to_the_last_row():
    run, at_ends = ready("icarl"), []
    run.chain.end_experience += (lambda learner, _: at_ends.append(learner.memory.all().index.clone()),)
    run.train()
    for number, index in enumerate(at_ends):
        seen = 2 * (number + 1)
        counts = Counter(index[Y].tolist())
        assert sorted(counts) == sorted({c for e in run.stream[: number + 1] for c in e.classes})
        assert sum(counts.values()) == 40
        assert set(counts.values()) <= {40 // seen, 40 // seen + 1}
        assert [counts[c] for c in sorted(counts)] == sorted(counts.values(), reverse=True)


def test_a_class_that_is_not_there_keeps_the_beginning_of_its_list():
    run, at_ends = ready("icarl"), []
    run.chain.end_experience += (lambda learner, _: at_ends.append(learner.memory.all().index.clone()),)
    run.train()
    for before, after in pairwise(at_ends):
        for c in set(before[Y].tolist()):
            old, new = (index[ROW, index[Y] == c].tolist() for index in (before, after))
            assert old[: len(new)] == new
            assert new


def test_exemplars_are_herded_on_features_of_the_model_that_the_experience_leaves():
    run = ready("icarl")
    learner = run.learner

    def check(learner, experience):
        with torch.no_grad():
            learner.model.eval()
            for c in experience.index[Y].unique().tolist():
                own = experience.index[:, experience.index[Y] == c]
                features = learner.model(learner.batch(own).x).features.numpy().astype(np.float64)
                kept = learner.memory.all().index
                kept = kept[ROW, kept[Y] == c].tolist()
                assert kept == own[ROW][brute_force(features, len(kept))].tolist()
            learner.model.train()

    run.chain.end_experience += (check,)
    train_until(run, 9)
    assert len(learner.memory) == 40


def test_where_classes_come_back_they_are_herded_from_old_exemplars_and_new_rows():
    run = ready("icarl", "stream.setting=domain", "memory.size=41")
    shares, at_ends = [], []

    def note(learner, experience):
        index = learner.memory.all().index
        at_ends.append(index)
        assert index[ROW].unique().numel() == index.shape[1]
        shares.append(sorted(Counter(index[Y].tolist()).items()))

    run.chain.end_experience += (note,)
    run.train()
    assert all(share == [(0, 21), (1, 20)] for share in shares)
    assert len(set(at_ends[-1][EXPERIENCE].tolist())) > 1  # some of them are old


def test_a_row_that_comes_back_is_kept_once():
    run, twice = ready("icarl", "stream.apply=[repeat]"), []

    def note(learner, _):
        rows = learner.memory.all().index[ROW].tolist()
        twice.append(len(rows) - len(set(rows)))

    run.chain.end_experience += (note,)
    run.train()
    assert twice == [0] * 10


def test_fewer_slots_than_classes_are_refused_with_a_sentence():
    with pytest.raises(ValueError, match=r"memory\.size 3 leaves no exemplar for each of the 4 classes"):
        trained("icarl", "memory.size=3")


def test_icarl_is_skipped_with_a_reason_where_boundaries_are_hidden_or_there_is_no_memory():
    with pytest.raises(Skip, match="visible boundaries"):
        ready("icarl", "stream.boundaries=false")
    with pytest.raises(Skip, match="memory"):
        ready("icarl", "memory.size=0")


# ------------------------------------------------------------------------- learning


def test_exemplars_are_shuffled_among_the_rows_of_the_experience_once_a_pass():
    run = ready("icarl", "training.epochs=2")
    learned = batches(run)
    for number, experience in enumerate(run.stream):
        own = [
            b for b in learned if number in b.index[EXPERIENCE].tolist() and int(b.index[EXPERIENCE].max()) == number
        ]
        rows = Counter(row for b in own for row in b.rows.tolist())
        old = {row for b in own for row in b.rows[b.index[EXPERIENCE] < number].tolist()}
        assert len(old) == (40 if number else 0)
        assert rows == Counter(dict.fromkeys([*experience.rows.tolist(), *old], 2))
        if number:
            shares = [float((b.index[EXPERIENCE] < number).float().mean()) for b in own]
            assert sum(0.1 < share < 0.9 for share in shares) > len(shares) / 2  # mixed, not one after the other
    cost = run.learner.cost
    assert cost.stream_rows == 600
    assert cost.replay_rows == 4 * 40 * 2


@pytest.mark.parametrize("over_classes", ["mean", "sum"])
def test_the_loss_is_the_binary_cross_entropy_with_old_outputs_as_the_old_model_had_them(over_classes):
    run = ready(f"icarl(over_classes={over_classes})")
    train_until(run, 6)  # in the second experience
    learner, experience = run.learner, run.stream[1]
    old = sorted(run.stream[0].classes)
    before = ready(f"icarl(over_classes={over_classes})")
    train_until(before, -(-len(run.stream[0]) // 16))  # to the end of the first
    index = torch.cat([learner.memory.all().index[:, :5], run.trainer.enter(experience).index[:, :5]], dim=1)
    batch = learner.batch(index)
    output = learner.model(batch.x)
    p = output.logits.double().sigmoid()
    with torch.no_grad():
        q = before.learner.model(batch.x).logits.double().sigmoid()
    terms = []
    for row in range(10):
        for c in sorted({*old, *experience.classes}):
            t = q[row, c] if c in old else float(batch.y[row] == c)
            terms.append(-(t * p[row, c].log() + (1 - t) * (1 - p[row, c]).log()))
    expected = sum(terms) / 10 / (4 if over_classes == "mean" else 1)
    torch.testing.assert_close(run.chain.objective(learner, batch, output).double(), expected, rtol=1e-5, atol=1e-7)


# ------------------------------------------------------------------------- reading out


def test_the_class_with_the_nearest_mean_of_exemplars_is_predicted():
    run = trained("icarl")
    learner, (_, part) = run.learner, run.chain.parts
    kept, test = learner.memory.all().index, run.stream.dataset.test
    x = torch.from_numpy(test.x[:200]).float() * run.stream.dataset.scale
    learner.model.eval()
    with torch.no_grad():
        unit = F.normalize(learner.model(learner.batch(kept).x).features)
        output = learner.model(x)
        learner.scratch.clear()
        scores = part.predict(learner, output, None, output.logits)
    means = torch.stack([unit[kept[Y] == c].mean(0) for c in range(10)])
    means /= means.norm(dim=1, keepdim=True)
    distance = torch.cdist(F.normalize(output.features), means)
    assert torch.equal(scores.argmax(1), distance.argmin(1))
    torch.testing.assert_close(scores, 1 - distance.square() / 2, rtol=1e-3, atol=1e-4)
    assert float((scores.argmax(1).numpy() == test.y[:200]).mean()) > 0.5


def test_within_an_experience_its_first_rows_stand_for_new_classes_and_unseen_ones_rank_behind():
    run = ready("icarl")
    train_until(run, 6)
    learner, (_, part) = run.learner, run.chain.parts
    state, new = part.state, sorted(run.stream[1].classes)
    rows = state["stand_in"][:, : state["stand_ins"]]
    assert sorted(Counter(rows[Y].tolist())) == new
    assert set(Counter(rows[Y].tolist()).values()) == {10}  # 40 slots, 4 classes
    first = run.trainer.enter(run.stream[1]).index
    for c in new:
        assert rows[ROW, rows[Y] == c].tolist() == first[ROW, first[Y] == c][:10].tolist()
    learner.scratch.clear()
    output = Output(torch.randn(30, 10, generator=torch.Generator().manual_seed(0)), torch.ones(30, 16))
    scores = part.predict(learner, output, None, output.logits)
    seen = torch.zeros(10, dtype=torch.bool)
    seen[[*run.stream[0].classes, *new]] = True
    assert float(scores[:, seen].min()) >= -1.001
    assert float(scores[:, ~seen].max()) < -1.999
    assert torch.equal(scores[:, ~seen].argsort(1), output.logits[:, ~seen].argsort(1))


def test_before_anything_is_learned_and_on_demand_the_logits_are_read():
    run = ready("icarl")
    output = Output(torch.randn(3, 10, generator=torch.Generator().manual_seed(0)), torch.ones(3, 16))
    assert run.chain.parts[1].predict(run.learner, output, None, output.logits) is output.logits
    run = trained("icarl(read_out=logits)")
    assert run.chain.parts[1].predict(run.learner, output, None, output.logits) is output.logits
    means = trained("icarl")
    assert torch.equal(means.learner.w, run.learner.w)  # the read-out has no part in learning
    assert not np.array_equal(means.evaluator.trace().score[-1], run.evaluator.trace().score[-1])


def test_means_are_worked_out_once_per_look_and_training_does_not_notice():
    run = ready("icarl")
    train_until(run, 6)
    asked, inner = [], run.learner.side_work.features
    run.learner.side_work.features = lambda index: (asked.append(index.shape[1]), inner(index))[1]
    everything_before = everything(run)
    run.evaluator.take(run.trainer.readout, 1, 1, 6)
    assert asked == [40 + 20]
    run.evaluator.take(run.trainer.readout, 1, 1, 6)
    assert len(asked) == 2
    assert_same(everything(run), everything_before)
    off = ready("icarl", "training.momentum=0.9")
    off.evaluator = NoLooks()
    off.train()
    assert_same(everything(off), everything(trained("icarl", "training.momentum=0.9")))


# ------------------------------------------------------------------------- composition


def test_icarl_raises_no_alarm():
    run = trained("icarl", "training.epochs=3")
    assert alarms(run.chain, run.trainer, run.stream, run.evaluator.trace()) == ()


@pytest.mark.parametrize("other", ["er_aml", "gem", "pred_kd"])
def test_icarl_is_not_joined_with_what_sets_the_same_things(other):
    with pytest.raises(ValueError, match=r"cannot be joined|keep one of the parts"):
        ready(f"icarl + {other}")


def test_what_is_kept_between_experiences_has_one_size():
    run, sizes = ready("icarl"), []
    run.chain.end_experience += (lambda *_: sizes.append(run.chain.bytes),)
    run.train()
    assert len(set(sizes[1:])) == 1


def test_icarl_beats_replay_on_the_small_benchmark_with_ten_passes():
    ours, theirs = (trained(s, "training.epochs=10").evaluator.trace().score[-1].mean() for s in ("icarl", "er"))
    assert ours > theirs

"""The bounds: what naive, joint and cumulative see of a stream, and how often they step."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from support import batches, joined, ready, stream_rows, trained

from clbench.running.prepare import Skip


@pytest.mark.parametrize("epochs", [1, 3])
def test_naive_steps_once_per_batch_of_each_experience_and_uses_no_memory(epochs):
    run = ready("naive", f"training.epochs={epochs}")
    steps = [len(rows) for rows in stream_rows(run)]
    assert len(steps) == epochs * sum(math.ceil(len(e) / 16) for e in run.stream)
    assert sum(steps) == epochs * 300
    assert run.learner.memory.draws == 0


@pytest.mark.parametrize("epochs", [1, 3])
def test_joint_sees_every_row_once_per_epoch_in_batches_mixed_over_all_experiences(epochs):
    run = ready("joint", f"training.epochs={epochs}")
    rows = stream_rows(run)
    assert len(rows) == epochs * math.ceil(300 / 16)
    assert run.learner.cost.steps == len(rows)
    for epoch in range(epochs):
        own = rows[19 * epoch : 19 * (epoch + 1)]
        assert sorted(joined(own)) == list(range(300))
    labels = [len(set(run.stream.dataset.train.y[r].tolist())) for r in rows if len(r) == 16]
    assert min(labels) >= 4


def test_cumulative_sees_in_each_experience_all_rows_so_far_once_and_goes_on_from_the_last_weights():
    plain, run = ready("naive").stream, ready("cumulative")
    learned = batches(run)
    start = 0
    for number in range(5):
        sofar = np.concatenate([plain[i].rows for i in range(number + 1)])
        steps = math.ceil(len(sofar) / 16)
        own = [row for batch in learned[start : start + steps] for row in batch.rows.tolist()]
        assert sorted(own) == sorted(sofar.tolist())
        start += steps
    assert start == len(learned)


def test_the_bounds_are_evaluated_on_the_tasks_of_the_stream_itself():
    for strategy, experiences in (("naive", 5), ("joint", 1), ("cumulative", 5)):
        trace = trained(strategy).evaluator.trace()
        assert trace.n_tasks == 5
        assert trace.n_experiences == experiences
        assert np.isfinite(trace.score[-1]).all()
    assert np.array_equal(trained("cumulative").evaluator.trace().present, np.eye(5, dtype=bool))


def test_joint_rows_keep_their_task_label_and_view():
    run = ready("joint", "stream.setting=task")
    for batch in batches(run):
        raw = run.stream.dataset.train.y[batch.rows.numpy()]
        assert torch.equal(batch.y, torch.from_numpy(raw))
        assert bool(batch.class_mask.competes.gather(1, batch.y[:, None]).all())
        assert set(batch.class_mask.competes.sum(1).tolist()) == {2}
    turned = ready("joint", "stream.scenario=rotated", "stream.degrees=[0, 90]")
    seen = {(int(r), int(v)) for batch in batches(turned) for r, v in zip(batch.index[0], batch.index[3], strict=True)}
    assert seen == {(row, view) for row in range(300) for view in (0, 1)}


def test_the_published_order_holds_naive_forgets_cumulative_and_joint_do_not():
    final = {
        s: np.mean([trained(s, "training.epochs=10", seed=seed).evaluator.trace().score[-1].mean() for seed in (0, 1)])
        for s in ("naive", "cumulative", "joint")
    }
    assert final["naive"] < 0.3
    assert min(final["joint"], final["cumulative"]) > 0.75


def test_frozen_learns_the_first_experience_as_naive_does_and_takes_no_step_after_it():
    settings = ("training.momentum=0.9", "training.weight_decay=0.01", "training.epochs=2")
    ours, theirs = (ready(s, *settings) for s in ("frozen", "naive"))
    ends: list[torch.Tensor] = []
    theirs.chain.end_experience = (lambda learner, _: ends.append(learner.w.detach().clone()),)
    ours.train()
    theirs.train()
    assert torch.equal(ours.learner.w, ends[0])
    assert ours.learner.cost.steps == 2 * math.ceil(len(ours.stream[0]) / 16)


def test_frozen_offers_later_rows_to_memory_all_the_same():
    ours, theirs = trained("frozen"), trained("naive")
    assert torch.equal(ours.learner.memory.index, theirs.learner.memory.index)


def test_frozen_needs_boundaries():
    with pytest.raises(Skip, match="needs visible boundaries"):
        ready("frozen", "stream.boundaries=false")

"""Experience replay: its three losses by hand, when and how much it draws, and a run against a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support import batches, ready, trained
from torch.nn import functional as F

from clbench.core.rng import Generator
from clbench.families.class_mask import ALL
from clbench.models import make
from clbench.running.prepare import Skip
from clbench.strategies.chain import Chain
from clbench.strategies.replay import Replay
from clbench.training.batch import EXPERIENCE, ROW, Batch
from clbench.training.learner import task_loss

LOGITS = torch.tensor([[1.0, -1.0], [0.5, 2.0], [0.0, 0.0], [3.0, 1.0], [-1.0, 2.0]])
LABELS = [0, 0, 1, 0, 0]
# cross-entropy of two classes is log(1 + exp(other - own)): the difference other - own of each row, by hand
ROWS = np.log1p(np.exp([-2.0, 1.5, 0.0, -2.0, 3.0]))


def handmade(coefficients: tuple[float | None, float | None]) -> Batch:
    """Two rows of the stream and three of memory."""
    index = torch.zeros((5, 5), dtype=torch.int64)
    index[1] = torch.tensor(LABELS)
    batch = Batch(index[:, :2], gather=lambda i: i, class_mask=lambda i: ALL)
    batch.stream.coefficient = coefficients[0]
    batch.append(index[:, 2:], coefficient=coefficients[1])
    return batch


@pytest.mark.parametrize(
    ("coefficients", "expected"),
    [
        ((None, None), ROWS.mean()),
        ((0.3, 0.7), 0.3 * ROWS[:2].mean() + 0.7 * ROWS[2:].mean()),
        ((1.0, 1.0), ROWS[:2].mean() + ROWS[2:].mean()),
        ((1.0, None), ROWS[:2].mean() + 3 / 5 * ROWS[2:].mean()),
    ],
    ids=["concat", "weighted", "sum", "one share"],
)
def test_the_loss_is_the_hand_computed_sum_over_sources(coefficients, expected):
    assert float(task_loss(LOGITS, handmade(coefficients))) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("written", "coefficients"),
    [
        ("er", (None, None)),
        ("er(loss=concat)", (None, None)),
        ("er(loss=weighted, new_weight=0.3)", (0.3, 0.7)),
        ("er(loss=weighted)", (0.5, 0.5)),
        ("er(loss=sum)", (1.0, 1.0)),
    ],
)
def test_every_form_of_the_loss_sets_its_coefficients_once_there_is_a_draw(written, coefficients):
    for batch in batches(ready(written)):
        found = tuple(source.coefficient for source in batch.sources)
        assert found == (coefficients if len(batch.sources) == 2 else (None,))


def test_the_weight_one_over_k_counts_experiences_from_one():
    for batch in batches(ready("er(loss=weighted, new_weight='1/k')")):
        k = 1 + int(batch.index[EXPERIENCE, 0])
        if k > 1:
            assert [s.coefficient for s in batch.sources] == [pytest.approx(1 / k), pytest.approx(1 - 1 / k)]
    with pytest.raises(Skip, match="needs visible boundaries"):
        ready("er(loss=weighted, new_weight='1/k')", "stream.boundaries=false")


def test_a_weight_written_as_an_integer_is_a_weight():
    chain = Chain([Replay(loss_form="weighted", new_weight=1)], seed=0)
    run = ready("er")
    run.chain.batch = chain.batch
    later = [b for b in batches(run) if len(b.sources) == 2]
    assert {tuple(s.coefficient for s in b.sources) for b in later} == {(1, 0)}


def test_the_first_experience_draws_nothing_and_every_later_step_draws_as_many_rows_as_the_batch_has():
    run = ready("er", "training.epochs=2")
    first = len(run.stream[0])
    learned = batches(run)
    for batch in learned:
        running = int(batch.index[EXPERIENCE, 0])
        replayed = len(batch) - len(batch.stream)
        assert replayed == (0 if running == 0 else len(batch.stream))
    rows = sum(len(b) - len(b.stream) for b in learned)
    assert rows == 2 * (300 - first) == run.learner.cost.replay_rows
    assert run.learner.cost.stream_rows == 600


def test_with_start_any_every_step_but_the_very_first_draws():
    learned = batches(ready("er(start=any, rows=8)"))
    assert len(learned[0].sources) == 1
    assert all(len(b) - len(b.stream) == 8 for b in learned[1:])
    assert set(learned[1].rows[16:].tolist()) <= set(learned[0].rows.tolist())


def test_start_means_the_same_where_boundaries_are_hidden():
    earlier, anything = (batches(ready(s, "stream.boundaries=false")) for s in ("er", "er(start=any)"))
    assert [b.rows.tolist() for b in earlier] == [b.rows.tolist() for b in anything]


def test_the_number_of_rehearsed_rows_is_the_one_asked_for_or_all_there_are():
    learned = batches(ready("er(rows=7)"))
    assert {len(b) - len(b.stream) for b in learned if len(b.sources) == 2} == {7}
    learned = batches(ready("er(rows=64)", "memory.size=20"))
    assert {len(b) - len(b.stream) for b in learned if len(b.sources) == 2} == {20}


def test_rehearsed_rows_are_different_rows_of_memory_as_it_was_before_the_step():
    run, before = ready("er"), []
    run.chain.batch = (lambda learner, _: before.append(learner.memory.all().index.clone()), *run.chain.batch)
    for batch, memory in zip(batches(run), before, strict=True):
        replayed = batch.index[:, len(batch.stream) :]
        assert replayed[ROW].unique().numel() == replayed.shape[1]
        kept = {tuple(column) for column in memory.T.tolist()}
        assert {tuple(column) for column in replayed.T.tolist()} <= kept


def test_weights_one_and_zero_reduce_er_to_naive_and_to_memory_alone():
    assert torch.allclose(
        trained("er(loss=weighted, new_weight=1)").learner.w, trained("naive").learner.w, atol=1e-5, rtol=0
    )
    with_new = ready("er(loss=weighted, new_weight=0)")
    gradients: list[tuple[torch.Tensor, Batch]] = []
    with_new.chain.gradient = (lambda learner, batch: gradients.append((learner.g.clone(), batch)),)
    w: list[torch.Tensor] = []
    with_new.chain.before_step = (lambda learner, _: w.append(learner.w.detach().clone()),)
    with_new.train()
    g, batch = gradients[-1]
    with_new.learner.w.data.copy_(w[-1])
    alone = with_new.learner.batch(batch.index[:, len(batch.stream) :])
    torch.testing.assert_close(with_new.learner.side_work.gradient(alone), g, rtol=1e-4, atol=1e-6)


def reservoir_of(seed: int, size: int):
    """Algorithm R over row numbers, from the memory's own randomness."""
    generator, slots, offered = Generator(seed, "memory/admit"), [], 0

    def offer(rows: list[int]) -> list[int]:
        nonlocal offered
        for row in rows:
            if len(slots) < size:
                slots.append(row)
            elif (j := int(generator.uniform(1)[0] * (offered + 1))) < size:
                slots[j] = row
            offered += 1
        return slots

    return offer


def test_a_run_of_er_equals_a_plain_loop_over_torch_parameters():
    run = ready("er", "training.epochs=2", "training.momentum=0.5", seed=4)
    model = make({"name": "mlp", "hidden": [16]}, (1, 8, 8), 10)
    model.load_state_dict(run.learner.model.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.5)
    train = run.stream.dataset.train
    x, y = torch.from_numpy(train.x) / 16, torch.from_numpy(train.y)
    order, draw, offer = Generator(4, "order"), Generator(4, "part/Replay/0"), reservoir_of(4, 40)
    kept: list[int] = []
    seen = torch.zeros(10, dtype=torch.bool)
    for experience in run.stream:
        seen[list(experience.classes)] = True
        for epoch in range(2):
            permuted = experience.rows[order.permutation(len(experience))].tolist()
            for start in range(0, len(permuted), 16):
                new = permuted[start : start + 16]
                old = [kept[i] for i in draw.sample(len(kept), min(len(new), len(kept)))] if experience.id else []
                rows = new + old
                logits = model(x[rows]).logits.masked_fill(~seen, -torch.inf)
                optimizer.zero_grad()
                F.cross_entropy(logits, y[rows]).backward()
                optimizer.step()
                if epoch == 0:
                    kept = offer(new)
    run.train()
    flat = torch.cat([p.detach().reshape(-1) for p in model.parameters()])
    torch.testing.assert_close(run.learner.w.detach(), flat, rtol=0, atol=1e-6)


def test_er_forgets_less_than_naive():
    settings = ("training.epochs=10", "memory.size=100", "evaluation.every=0")
    scores = {s: trained(s, *settings).evaluator.trace().score[-1].mean() for s in ("er", "naive")}
    assert scores["er"] > scores["naive"] + 0.2

"""The loop: parity with bare PyTorch, the places where parts act and their order, passes and iterations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from support import NoLooks, assert_same, batches, everything, joined, ready, same_trace, stream_rows, trained
from torch.nn import functional as F

from clbench.benchmark.schema import Training
from clbench.core.record import Kind
from clbench.core.rng import Generator
from clbench.models import make
from clbench.training.loop import train

# --------------------------------------------------------------------------------------------------- bare PyTorch

OPTIMIZERS = {
    "sgd": ((), lambda p: torch.optim.SGD(p, lr=0.1)),
    "sgd with momentum": (("training.momentum=0.9",), lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9)),
    "sgd with decay": (("training.weight_decay=0.01",), lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.01)),
    "adam": (("training.optimizer=adam", "training.lr=0.01"), lambda p: torch.optim.Adam(p, lr=0.01)),
    "adamw": (
        ("training.optimizer=adamw", "training.lr=0.01", "training.weight_decay=0.02"),
        lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.02),
    ),
}
NETS = {
    "mlp": {"name": "mlp", "hidden": [16, 8]},
    "cnn": {"name": "cnn", "width": 4, "hidden": 8},
    "resnet": {"name": "resnet", "width": 2, "norm": "batch"},
}


def by_hand(run, net, optimizer, *, seed: int, epochs: int, output: str) -> tuple[torch.Tensor, int]:
    """Weights after a loop that anyone would write: a module, an optimiser over its parameters, cross-entropy."""
    model = make(NETS[net], (1, 8, 8), 10)
    model.load_state_dict(run.learner.model.state_dict())
    stepper = optimizer(model.parameters())
    train_rows, order, steps = run.stream.dataset.train, Generator(seed, "order"), 0
    x, y = torch.from_numpy(train_rows.x) / 16, torch.from_numpy(train_rows.y)
    seen = torch.zeros(10, dtype=torch.bool)
    for experience in run.stream:
        seen[list(experience.classes)] = True
        for _ in range(epochs):
            permuted = torch.from_numpy(experience.rows[order.permutation(len(experience))])
            for start in range(0, len(permuted), 16):
                rows = permuted[start : start + 16]
                logits = model(x.index_select(0, rows)).logits  # contiguous, as kernels choose by layout
                if output == "seen":
                    logits = logits.masked_fill(~seen, -torch.inf)
                stepper.zero_grad()
                F.cross_entropy(logits, y[rows]).backward()
                stepper.step()
                steps += 1
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()]), steps


@pytest.mark.parametrize("net", ["mlp", "cnn"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_run_is_bit_identical_to_a_bare_loop_with_an_optimiser_over_parameters(name, net):
    changes, optimizer = OPTIMIZERS[name]
    run = ready("naive", f"model={NETS[net]}", "stream.output=all", *changes, seed=5)
    expected, steps = by_hand(run, net, optimizer, seed=5, epochs=1, output="all")
    run.train()
    assert steps >= 20
    assert run.cursor.step == steps
    assert torch.equal(run.learner.w.detach(), expected)


@pytest.mark.parametrize("output", ["seen", "all"])
@pytest.mark.parametrize("net", NETS)
def test_parity_with_the_bare_loop_holds_over_epochs_masks_and_running_statistics(net, output):
    changes, optimizer = OPTIMIZERS["sgd with momentum"]
    more = ("training.epochs=2", f"stream.output={output}", "stream.dataset.train_rows=200")
    run = ready("naive", f"model={NETS[net]}", *more, *changes, seed=6)
    expected, _ = by_hand(run, net, optimizer, seed=6, epochs=2, output=output)
    run.train()
    assert torch.equal(run.learner.w.detach(), expected)


# --------------------------------------------------------------------------------------------------- inputs


def test_inputs_are_scaled_shown_under_their_view_and_normalised_in_this_order():
    run = ready("naive", "stream.scenario=permuted", "stream.setting=domain", "stream.dataset.normalize=mean-std")
    dataset, orders = run.stream.dataset, run.stream.transform.orders
    index = torch.tensor([[4, 250, 9], [0, 0, 0], [0, 0, 0], [0, 2, 5], [0, 0, 0]])  # rows and views matter
    x = run.learner._rows.gather(index)
    for got, row, view in zip(x, (4, 250, 9), (0, 2, 5), strict=True):
        scaled = dataset.train.x[row].reshape(-1) / 16
        expected = (scaled[np.asarray(orders)[view]] - dataset.mean[0]) / dataset.std[0]
        np.testing.assert_allclose(got.reshape(-1).numpy(), expected, rtol=1e-5, atol=1e-6)
    assert x.shape == (3, 1, 8, 8)


def test_augmentation_changes_training_inputs_and_nothing_that_is_looked_at():
    run = ready("naive", "training.augment=crop-flip")
    index = run.trainer.enter(run.stream[0]).index[:, :30]
    resident = run.learner._rows
    first, second, plain = resident.gather(index), resident.gather(index), resident.present(index[0], index[3])
    assert not torch.equal(first, second)
    assert torch.equal(plain, resident.present(index[0], index[3]))
    run.evaluator.look(run.trainer.readout, Kind.END, 0, 0)
    assert torch.equal(run.evaluator.panels._x, ready("naive").evaluator.panels._test.present(*looked_at(run)))


def looked_at(run) -> tuple[torch.Tensor, torch.Tensor]:
    rows = np.concatenate([run.evaluator.panels.rows[t] for t in run.evaluator.panels._order])
    return torch.from_numpy(rows), torch.zeros(len(rows), dtype=torch.int64)


# --------------------------------------------------------------------------------------------------- where parts act

HOOKS = (
    "begin_experience",
    "order",
    "batch",
    "before_step",
    "loss",
    "gradient",
    "after_step",
    "end_experience",
    "end_stream",
)


def test_hooks_are_called_in_the_published_order_and_memory_admits_after_the_step_before_the_look():
    run = ready("naive", "stream.experiences=2", "stream.dataset.train_rows=60", "training.batch_size=20")
    calls: list[str] = []
    for hook in HOOKS:
        setattr(
            run.chain, hook, (lambda *args, hook=hook: calls.append(hook) or (args[3] if hook == "order" else None),)
        )
    admit, look = run.learner.memory.admit, run.evaluator.look
    run.learner.memory.admit = lambda batch: (calls.append("admit"), admit(batch))
    run.evaluator.look = lambda learner, kind, *rest: (calls.append(kind.name), look(learner, kind, *rest))
    run.train()
    step = ["batch", "before_step", "loss", "gradient", "after_step", "admit", "STEP"]
    first, second = (math.ceil(len(e) / 20) for e in run.stream)
    ours = [["SWITCH", "begin_experience", "order", *step * n, "end_experience", "END"] for n in (first, second)]
    assert calls == ["START", *ours[0], *ours[1], "end_stream", "END"]


def test_parts_see_the_weights_before_the_step_its_gradient_and_the_weights_after():
    run = ready("naive", "training.lr=0.25")
    before, gradient, after = [], [], []
    run.chain.before_step = (lambda learner, _: before.append(learner.w.detach().clone()),)
    run.chain.gradient = (lambda learner, _: gradient.append(learner.g.clone()),)
    run.chain.after_step = (lambda learner, _: after.append(learner.w.detach().clone()),)
    run.train()
    for w, g, new in zip(before, gradient, after, strict=True):
        assert torch.equal(torch.add(w, g, alpha=-0.25), new)
    assert all(torch.equal(a, b) for a, b in zip(after[:-1], before[1:], strict=True))


def test_an_objective_replaces_the_loss_and_terms_still_add_to_it():
    run = ready("naive")
    gradients: list[torch.Tensor] = []
    run.chain.objective = lambda learner, batch, output: 2 * learner.w.sum()
    run.chain.loss = (lambda learner, batch, output: 3 * learner.w.sum(), lambda *_: None)
    run.chain.gradient = (lambda learner, _: gradients.append(learner.g.clone()),)
    run.train()
    assert all(bool((g == 5).all()) for g in gradients)


def test_a_parts_order_decides_rows_and_repetition_inside_the_experience():
    run = ready("naive", "training.batch_size=4")
    run.chain.order = (lambda learner, shown, epoch, order: order[:2].repeat(3),)
    learned = stream_rows(run)
    order = Generator(0, "order")
    expected = []
    for experience in run.stream:
        a, b = experience.rows[order.permutation(len(experience))][:2].tolist()
        expected += [[a, b, a, b], [a, b]]
    assert learned == expected


def test_an_order_that_reaches_outside_its_experience_is_caught():
    run = ready("naive")
    run.chain.order = (lambda learner, shown, epoch, order: order + 1,)
    with pytest.raises(AssertionError, match="outside the running experience"):
        run.train()


# --------------------------------------------------------------------------------------------------- passes


def test_dropping_the_last_batch_leaves_only_whole_batches():
    run = ready("naive", "training.drop_last=true", "training.epochs=2")
    learned = stream_rows(run)
    assert {len(rows) for rows in learned} == {16}
    assert len(learned) == 2 * sum(len(e) // 16 for e in run.stream)


def test_a_number_of_iterations_takes_the_place_of_epochs():
    run = ready("naive", "training.iterations=9")
    limited = stream_rows(run)
    assert len(limited) == 9 * 5
    assert limited[:9] == stream_rows(ready("naive", "training.epochs=3"))[:9]  # passes go on until they are done
    for experience in run.stream:
        own = limited[9 * experience.id : 9 * (experience.id + 1)]
        assert set(joined(own)) == set(experience.rows.tolist())


def test_joint_takes_the_iterations_of_all_experiences_together():
    run = trained("joint", "training.iterations=9", "evaluation.every=0")
    assert run.cursor.step == 45


def test_batch_passes_are_told_apart():
    run = ready("naive", "training.epochs=2")
    learned = batches(run)
    per_pass = math.ceil(len(run.stream[0]) / 16)
    assert [b.first_pass for b in learned[: 2 * per_pass]] == [True] * per_pass + [False] * per_pass


def test_progress_is_told_after_every_step_and_reaches_one():
    run, told = ready("naive", "training.epochs=2"), []
    run.train(lambda step, done: told.append((step, done)))
    assert [step for step, _ in told] == list(range(1, run.cursor.step + 1))
    fractions = [done for _, done in told]
    assert fractions == sorted(fractions)
    assert 0 < fractions[0] < 0.1
    assert fractions[-1] == pytest.approx(1.0)


def test_the_cost_counts_steps_rows_and_looks():
    run = trained("er", "training.epochs=2", "evaluation.every=3")
    cost, trace = run.learner.cost, run.evaluator.trace()
    assert cost.steps == run.cursor.step
    assert cost.stream_rows == 600
    assert cost.looks == len(trace.step)
    assert cost.evaluation_rows == int((~np.isnan(trace.score) * trace.rows).sum())
    assert cost.weights == 64 * 16 + 16 + 16 * 10 + 10


def test_the_loop_alone_does_what_a_prepared_run_does():
    one, other = ready("er + ewc"), trained("er + ewc")
    train(one.trainer, one.stream, one.chain, one.evaluator, Training(epochs=1))
    assert_same(everything(one), everything(other))
    assert same_trace(one, other)
    bare = ready("er + ewc")
    train(bare.trainer, bare.stream, bare.chain, NoLooks(), Training(epochs=1))
    assert_same(everything(bare), everything(other))

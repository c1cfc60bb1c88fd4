"""Dynamic sparse training: densities, what stays fixed, what is dropped and what becomes active, by hand."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from support import assert_same, everything, ready, train_until, trained

from clbench.adapters.run_setup import Skip
from clbench.strategies.dst import DST, erk

CNN = "model={name: cnn, width: 8, hidden: 32, norm: batch, heads: separate}"
QUICK = (CNN, "evaluation.schedule=ends", "training.epochs=3")
ADAM = ("training.optimizer=adam", "training.lr=0.01")
MASKED = 8 * 9 + 8 * 8 * 9 + 8 * 16 * 9 + 16 * 16 * 9 + 32 * 16 * 4
"""Weights of the four convolutions and of the hidden layer of this network on 8x8 images."""


def masks(run):
    return run.chain.parts[-1].state["masks"]


@pytest.mark.parametrize("model", [CNN, "model={name: mlp, hidden: [60, 40]}"])
@pytest.mark.parametrize("init", ["uniform", "erk"])
@pytest.mark.parametrize("density", [0.2, 0.05])
def test_the_realised_density_is_the_given_one_within_a_hundredth_of_it(init, density, model):
    run = trained(f"dst(density={density}, init={init}, every=2)", model, "evaluation.schedule=ends")
    assert len(masks(run)) == 5
    for mask in masks(run).values():
        assert float(mask.double().mean()) == pytest.approx(density, rel=0.01)


def test_every_masked_weight_is_one_of_a_convolution_or_linear_layer_that_is_not_the_head():
    run = ready("dst", *QUICK)
    places, ranges, ratios = run.chain.parts[0]._layout(run.learner)
    assert len(places) == MASKED
    names = [
        name for name in run.learner.slices if name.endswith("weight") and "norm" not in name and "head" not in name
    ]
    assert places.tolist() == [p for name in names for p in range(*run.learner.slices[name].indices(10**9))]
    assert [each.stop - each.start for each in ranges] == [72, 576, 1152, 2304, 2048]
    assert ratios == pytest.approx([(8 + 1 + 6) / 72, (8 + 8 + 6) / 576, (16 + 8 + 6) / 1152, 38 / 2304, 96 / 2048])
    with_head = ready("dst(form=code)", *QUICK)
    assert len(with_head.chain.parts[0]._layout(with_head.learner)[0]) == MASKED + 320


def test_densities_of_erk_are_in_proportion_and_dense_layers_are_full():
    # factor · (0.5 · 100 + 0.1 · 1000) + 10 = 0.1 · 1110, so that layer 1 has 101 / 150 · 0.5, layer 2 101 / 150 · 0.1
    told = erk([10, 100, 1000], [5.0, 0.5, 0.1], 0.1)
    assert told == pytest.approx([1.0, 101 / 150 * 0.5, 101 / 150 * 0.1])
    for density in (0.01, 0.2, 0.7, 1.0):
        sizes, ratios = [72, 576, 1152, 2304, 2048], [15 / 72, 22 / 576, 30 / 1152, 38 / 2304, 96 / 2048]
        found = erk(sizes, ratios, density)
        assert sum(n * d for n, d in zip(sizes, found, strict=True)) == pytest.approx(density * sum(sizes))
        assert all(0 < d <= 1 for d in found)


def test_without_rewiring_the_used_share_is_that_of_independent_random_masks():
    run = trained("dst(density=0.2, rewire=0, rewire_end=0)", *QUICK[:2])
    capacity = run.chain.parts[0].state["capacity"]
    for tasks, used in enumerate(capacity, 1):
        expected = 1 - 0.8**tasks
        assert abs(used - expected) < 3 * math.sqrt(expected * (1 - expected) / MASKED)
    assert sorted(capacity) == capacity
    ours = torch.stack(list(masks(run).values())).any(0).double().mean()
    assert capacity[-1] == pytest.approx(float(ours))


@pytest.mark.parametrize("growth", ["random", "unfired", "gradient", "momentum"])
def test_logits_of_a_finished_task_have_the_same_bits_at_every_later_evaluation(growth):
    run = ready(f"dst(growth={growth}, every=4)", *QUICK, *ADAM, "training.weight_decay=0.001")
    x, told = torch.randn(30, 1, 8, 8), {}

    def answers(learner, shown):
        with learner.side_work.undisturbed(training=False), torch.no_grad():
            for task in range(shown.id + 1):
                learner.scratch.clear()
                own = sorted(run.stream.tasks[task].classes)
                output = run.trainer.readout.output(x, torch.full((30,), task))
                told.setdefault(task, []).append(output.logits[:, own].clone())

    run.chain.end_experience += (answers,)
    run.train()
    assert run.chain.parts[0].state["rewired"] > 5
    for task, logits in told.items():
        assert len(logits) == 5 - task
        assert all(torch.equal(later, logits[0]) for later in logits[1:])
    score = run.evaluator.trace().score
    ends = [score[k] for k in range(len(score)) if run.evaluator.trace().kind[k] == 2]
    for task in range(4):
        assert len({row[task] for row in ends[task:]}) == 1  # forgetting is exactly 0


@pytest.mark.parametrize(
    "optimizer",
    [ADAM, ("training.momentum=0.9", "training.weight_decay=0.01", "training.lr=0.05"),
     ("training.optimizer=adamw", "training.lr=0.01", "training.weight_decay=0.1")],
)  # fmt: skip
def test_weights_of_other_tasks_do_not_move_and_unused_ones_are_zero_under_any_optimiser(optimizer):
    run, seen = ready("dst(every=3, growth=random)", *QUICK, *optimizer), []

    def check(learner, batch):
        state, w = part.state, learner.w.detach()[places]
        mask, held = state["masks"][state["task"]], state["held"]
        assert torch.equal(w[held & mask], state["dense"][held & mask])
        assert not bool(w[~mask].any())
        seen.append(int((held & mask).sum()))

    part = run.chain.parts[0]
    places, *_ = part._layout(run.learner)
    run.chain.after_step += (check,)
    run.train()
    assert seen[0] == 0
    assert seen[-1] > 100


def test_what_a_task_has_learned_stays_in_the_network_when_later_tasks_drop_it():
    run, kept = ready("dst(every=2, rewire=0.9, rewire_end=0.9)", *QUICK, *ADAM), {}
    part = run.chain.parts[0]
    run.chain.end_experience += (
        lambda learner, shown: kept.setdefault(part.state["task"], part.state["dense"].clone()),
    )
    run.train()
    for task, dense in kept.items():
        mask = masks(run)[task]
        assert torch.equal(part.state["dense"][mask], dense[mask])


def layer_by_hand(part, *, w, mask, held, dense, g=None, fired=None, step=0, steps=100):
    """Rewire a single layer whose weights are the whole model; return weights and mask."""

    class Learner:
        def __init__(self):
            self.w, self.g, self.device = torch.tensor(w), torch.tensor(g or [0.0] * len(w)), torch.device("cpu")

        def freeze(self, name, mask):
            self.name, self.mask = name, mask

    learner = Learner()
    part.__dict__["_known_layout"] = torch.arange(len(w)), [slice(0, len(w))], [1.0]
    part.state.update(
        masks={0: torch.tensor(mask)}, task=0, held=torch.tensor(held), dense=torch.tensor(dense), step=step,
        steps=steps, rewired=0,
    )  # fmt: skip
    if fired is not None:
        part.state["fired"] = torch.tensor(fired)
    part.after_step(learner, None)
    return learner.w.tolist(), part.state["masks"][0].tolist(), learner


def test_the_smallest_weights_are_dropped_and_the_largest_gradients_grow():
    on = [True, True, True, True, False, False, False, False]
    w, mask, learner = layer_by_hand(
        DST(growth="gradient", every=1, rewire=0.5, rewire_end=0.5),
        w=[0.9, -0.1, 0.2, -0.8, 0.0, 0.0, 0.0, 0.0],
        mask=on,
        held=[False, False, True, False, True, False, False, False],
        dense=[9.0, 9.0, 0.2, 9.0, 7.0, 9.0, 9.0, 9.0],
        g=[0.0, 0.1, 0.0, 0.0, 5.0, -3.0, 0.5, 2.0],
    )
    # 2 of 4 are dropped: -0.1 and the held 0.2; the held place 4 has no gradient of its own, so 5 and 7 grow
    assert mask == [True, False, False, True, False, True, False, True]
    assert w == pytest.approx([0.9, 0.0, 0.0, -0.8, 0.0, 0.0, 0.0, 0.0])
    assert learner.mask.tolist() == [False, True, True, False, True, False, True, False]
    assert learner.name == "dst/0"


def test_a_weight_that_is_dropped_and_grows_at_once_keeps_its_value_and_one_of_other_tasks_gets_theirs():
    part = DST(growth="gradient", every=1, rewire=1.0, rewire_end=1.0)
    w, mask, _ = layer_by_hand(
        part,
        w=[0.5, -0.4, 0.0, 0.0],
        mask=[True, True, False, False],
        held=[False, False, True, True],
        dense=[9.0, 9.0, 3.0, 4.0],
        g=[1.0, 2.0, 8.0, 9.0],
    )
    assert mask == [True, True, False, False]
    assert w == pytest.approx([0.5, -0.4, 0.0, 0.0])

    from clbench.core.rng import Generator

    part = DST(growth="random", every=1, rewire=1.0, rewire_end=1.0)
    part.generator = Generator(3, "test")
    seen = set()
    for _ in range(20):
        w, mask, _ = layer_by_hand(
            part,
            w=[0.5, -0.4, 0.0, 0.0],
            mask=[True, True, False, False],
            held=[False, False, True, False],
            dense=[9.0, 9.0, 3.0, 4.0],
        )
        assert sum(mask) == 2
        assert w == pytest.approx([v if on else 0.0 for v, on in zip([0.5, -0.4, 3.0, 0.0], mask, strict=True)])
        seen.add(tuple(mask))
    assert len(seen) > 3


def test_unfired_growth_takes_weights_that_were_never_active_while_there_are_some():
    from clbench.core.rng import Generator

    part = DST(growth="unfired", every=1, rewire=0.5, rewire_end=0.5)
    part.generator = Generator(3, "test")
    _, mask, _ = layer_by_hand(
        part,
        w=[0.9, 0.1, 0.2, 0.8, 0.0, 0.0, 0.0],
        mask=[True, True, True, True, False, False, False],
        held=[False] * 7,
        dense=[0.0] * 7,
        fired=[True, True, True, True, False, True, True],
    )
    assert [mask[0], mask[3], mask[4], sum(mask)] == [True, True, True, 4]  # the only one, and one at random
    assert part.state["fired"].tolist() == [True, True, True, True, True, True, True]


def test_the_share_that_is_replaced_falls_as_a_cosine_over_the_steps_of_the_experience():
    run = ready("dst(every=3)", CNN, "evaluation.schedule=ends", "training.epochs=3")
    part, seen = run.chain.parts[0], []
    run.chain.after_step += (lambda learner, batch: seen.append((part.state["step"], part.state["steps"], part.share)),)
    run.train()
    step, steps, _ = (np.array(column) for column in zip(*seen, strict=True))
    assert step.max() == steps.max()
    first = [share for (at, of, share) in seen if at == of]
    assert first == pytest.approx([0.005] * 5)
    for at, of, share in seen:
        assert share == pytest.approx(0.005 + 0.2475 * (1 + math.cos(math.pi * at / of)))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (("training.epochs=3", "training.batch_size=16"), lambda n: 3 * math.ceil(n / 16)),
        (("training.epochs=1", "training.batch_size=7", "training.drop_last=true"), lambda n: n // 7),
        (("training.iterations=11",), lambda n: 11),
    ],
)
def test_an_experience_says_how_many_iterations_it_has(changes, expected):
    run = ready("naive", *changes, "evaluation.schedule=ends")
    made, at = [], []
    run.chain.begin_experience += (lambda learner, shown: made.append((shown.steps, len(shown))),)
    run.chain.end_experience += (lambda learner, shown: at.append(learner.cost.steps),)
    run.train()
    assert [steps for steps, _ in made] == [expected(n) for _, n in made] == np.diff([0, *at]).tolist()


def test_the_form_of_the_code_starts_new_weights_at_zero_and_draws_weight_by_weight():
    ours, code = (ready(f"dst(form={form}, rewire=0, rewire_end=0)", *QUICK[:2], *ADAM) for form in ("paper", "code"))
    started = {}
    for name, run in (("paper", ours), ("code", code)):
        part = run.chain.parts[0]
        places, *_ = part._layout(run.learner)

        def note(learner, shown, part=part, places=places, name=name):
            mask, held = part.state["masks"][part.state["task"]], part.state["held"]
            fresh = learner.w.detach()[places][mask & ~held]
            started.setdefault(name, []).append(float((fresh != 0).float().mean()))

        run.chain.begin_experience += (note,)
        run.train()
    assert started["paper"] == [1.0] * 5
    assert started["code"] == [1.0, 0.0, 0.0, 0.0, 0.0]
    counts = {int(mask.sum()) for mask in masks(code).values()}
    assert len(counts) > 1
    assert len({int(mask.sum()) for mask in masks(ours).values()}) == 1


RETURNING = (*QUICK, "stream.apply=[{repeat: {times: 2}}]", "training.momentum=0.9")


@pytest.mark.parametrize("growth", ["unfired", "momentum"])
def test_a_run_resumes_within_an_experience_of_a_returning_task(growth):
    strategy = f"dst(growth={growth}, every=4)"
    whole, half, again = (ready(strategy, *RETURNING) for _ in range(3))
    whole.train()
    train_until(half, 74)
    again.restore(half.snapshot())
    again.train()
    assert_same(everything(again), everything(whole))
    for task, mask in masks(whole).items():
        assert torch.equal(mask, masks(again)[task])


def test_a_returning_task_trains_only_what_no_other_task_uses():
    run, ends = ready("dst(every=4)", *RETURNING, "training.lr=0.05"), []
    part = run.chain.parts[0]
    run.chain.end_experience += (
        lambda learner, shown: ends.append(
            (part.state["task"], part.state["dense"].clone(), {t: m.clone() for t, m in masks(run).items()})
        ),
    )
    run.train()
    for (_, before, theirs), (task, after, _) in pairwise(ends[4:]):
        others = torch.stack([mask for other, mask in theirs.items() if other != task]).any(0)
        assert torch.equal(before[others], after[others])
        assert not torch.equal(before, after)


def test_bytes_are_those_of_masks_of_the_network_and_of_versions():
    run = trained("dst(rewire=0, rewire_end=0)", *QUICK[:2])
    channels = 8 + 8 + 16 + 16
    own = 2 * channels + 32  # norm layers, and the bias of the hidden layer
    cost = run.account()
    assert (cost.task_weights, cost.task_head_weights) == (own, 2 * 33)
    versions = 5 * (4 * (own + 2 * 33) + 2 * 4 * channels + 4 * 8)
    assert cost.state_bytes == versions + 4 * MASKED + 5 * MASKED + MASKED  # network, masks, what others use


def test_a_mask_that_never_changes_and_a_full_network_are_reported():
    run = trained("dst(density=0.9, every=400)", *QUICK[:2])
    told = " ".join(run.chain.parts[0].self_checks(run.learner))
    assert "could train less than 5% of its weights in experience 2, 3, 4" in told
    assert "never changed a mask, since no experience has 400 steps" in told
    assert trained("dst(every=2)", *QUICK[:2]).chain.parts[0].self_checks(run.learner) == []


def test_without_task_labels_the_cell_is_skipped():
    with pytest.raises(Skip, match="needs task labels"):
        ready("dst", "stream.setting=class")

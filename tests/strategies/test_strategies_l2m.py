"""Learning to modulate: what is added to the model, which member serves which sample, and what is trained."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support import SMALL, batches, ready, trained
from torch import nn
from torch.nn import functional as F

from clbench.core.errors import Refused
from clbench.data.arrays import from_arrays
from clbench.models.builders import mlp
from clbench.running.plan import plan
from clbench.running.prepare import Skip, prepare
from clbench.running.saved_models import load_model, save
from clbench.strategies.modulation_pool import Choice, LowRank, Pool, choice_of, layers_of
from clbench.testing.trial_runs import begun

VIT = "model={name: vit, patch: 4, width: 8, depth: 2, attention_heads: 2}"


def weights_of(run):
    return {name: p.detach().clone() for name, p in run.learner.model.named_parameters()}


def disturb(model):
    """Give every B of a pool other values than 0."""
    for layer in model.l2m.layers:
        with torch.no_grad():
            layer.b.normal_()


# ------------------------------------------------------------------------- what is added


@pytest.mark.parametrize("model", ["model={name: mlp, hidden: [16, 16]}", VIT])
@pytest.mark.parametrize("gradients", [True, False])
@pytest.mark.parametrize("rows", [1, 7, 80])
def test_with_zero_b_the_logits_are_those_of_the_base_bit_for_bit(model, gradients, rows):
    x = torch.randn(rows, 1, 8, 8)
    plain, ours = ready("naive", model).learner.model.eval(), ready("l2m", model).learner.model.eval()
    with torch.set_grad_enabled(gradients):
        assert torch.equal(plain(x).logits, ours(x).logits)
    disturb(ours)
    with torch.set_grad_enabled(gradients):
        assert not torch.allclose(plain(x).logits, ours(x).logits, atol=1e-3)


def test_a_pool_adds_its_keys_and_a_pair_of_matrices_for_each_layer():
    run = ready("l2m(pool=5, rank=3)", "model={name: mlp, hidden: [16, 12]}")
    shapes = {name: tuple(p.shape) for name, p in run.learner.model.l2m.named_parameters()}
    assert shapes == {
        "keys": (5, 64), "layers.0.a": (5, 3, 64), "layers.0.b": (5, 16, 3),
        "layers.1.a": (5, 3, 16), "layers.1.b": (5, 12, 3),
    }  # fmt: skip
    added = 5 * (64 + 3 * (64 + 16) + 3 * (16 + 12))
    assert (
        run.learner.cost.weights == ready("naive", "model={name: mlp, hidden: [16, 12]}").learner.cost.weights + added
    )
    pool = run.learner.model.l2m
    assert -1 < float(pool.keys.detach().min()) < -0.9 < 0.9 < float(pool.keys.detach().max()) < 1
    assert float(pool.layers[0].a.detach().abs().max()) <= 64**-0.5
    assert not pool.layers[0].b.any()


@pytest.mark.parametrize(
    ("where", "names"),
    [
        ("query+value+mlp", ["attention.query", "attention.value", "up", "down"]),
        ("attention", ["attention.query", "attention.key", "attention.value", "attention.output"]),
        ("down", ["down"]),
    ],
)
def test_where_chooses_kinds_of_layers_of_every_block(where, names):
    model = ready("naive", VIT).learner.model
    assert set(layers_of(model, where)) == {f"blocks.{block}.{name}" for block in range(2) for name in names}


@pytest.mark.parametrize(
    ("where", "model", "told"),
    [
        ("query", "model={name: mlp, hidden: [16]}", "kinds fc; write query, key"),
        ("queri", VIT, "kinds query, key, value, output, up, down"),
    ],
)
def test_a_model_without_such_layers_is_refused_with_the_kinds_that_it_has(where, model, told):
    with pytest.raises(Refused, match=told):
        ready(f"l2m(where={where})", model)


# ------------------------------------------------------------------------- products of single samples


def test_each_sample_gets_the_product_of_its_own_member_with_and_without_gradients():
    torch.manual_seed(0)
    layer, pool = nn.Linear(6, 4), Pool(3, 6)
    added = LowRank(layer, pool, 2)
    with torch.no_grad():
        added.b.normal_()
    for x in (torch.randn(4, 6), torch.randn(4, 5, 6)):
        for chosen in (torch.tensor([2, 0, 2, 1]), torch.tensor([1, 1, 1, 1])):
            own = [layer.weight + 2 * added.b[k] @ added.a[k] for k in chosen]
            by_hand = torch.stack([F.linear(row, w, layer.bias) for row, w in zip(x, own, strict=True)])
            for choice in (choice_of(chosen), Choice(chosen, None, None)):
                pool.__dict__["choice"] = choice
                assert torch.allclose(added.add(layer, (x,), layer(x)), by_hand, atol=1e-5)


@pytest.mark.parametrize("model", ["model={name: mlp, hidden: [16]}", VIT])
def test_gradients_of_single_samples_agree_with_one_backward_pass_for_each(model):
    run = ready("l2m(pool=4)", model)
    disturb(run.learner.model)
    learner = run.learner
    index = run.trainer.enter(run.stream[0]).index[:, :6]
    found = learner.side_work.per_row(index, lambda logits: logits.square().sum(1), power="square")
    total = torch.zeros_like(found)
    learner.model.eval()
    for row in index.split(1, dim=1):
        output = learner.model(learner.raw(row)).logits * learner.classes.mask(row).competes
        learner.g.zero_()
        output.square().sum().backward()
        total += learner.g.square()
    assert torch.allclose(found, total / 6, rtol=1e-3, atol=1e-6)


# ------------------------------------------------------------------------- which member is chosen


def test_the_query_of_a_transformer_is_the_mean_embedded_token_and_of_an_mlp_the_input():
    run = ready("l2m", VIT)
    model, x = run.learner.model.train(), torch.randn(3, 1, 8, 8)
    model(x)
    pieces = x.unfold(2, 4, 4).unfold(3, 4, 4).reshape(3, 4, 16)
    query = (model.embedding(pieces) + model.positions).mean(1)
    cosines = F.cosine_similarity(query[:, None], model.l2m.keys[None], dim=2)
    assert torch.equal(model.l2m.noted.member, cosines.argmax(1))
    assert torch.allclose(model.l2m.noted.cosine, cosines.max(1).values, atol=1e-6)
    flat = ready("l2m").learner.model.train()
    flat(x)
    cosines = F.cosine_similarity(x.flatten(1)[:, None], flat.l2m.keys[None], dim=2)
    assert torch.equal(flat.l2m.noted.member, cosines.argmax(1))


def test_two_separated_clusters_take_two_keys_each_its_own():
    rng = np.random.default_rng(0)
    centres = np.array([np.r_[np.ones(8), np.zeros(8)], np.r_[np.zeros(8), np.ones(8)]])
    domain = np.repeat([0, 1], 200)
    x = (centres[domain] + 0.1 * rng.normal(size=(400, 16))).astype("float32").reshape(-1, 1, 4, 4)
    y = np.arange(400) % 2
    data = from_arrays("clusters", x, y, x[:40], y[:40])
    run = trained(
        "l2m(pull=5)", "training.epochs=4", "stream.experiences=1", "training.lr=0.5", dataset=data,
        model=lambda shape, n: mlp(shape, n, hidden=[8]),
    )  # fmt: skip
    model = run.learner.model.eval()
    with torch.no_grad():
        model(torch.from_numpy(x))
    index = model.l2m.choice.member.numpy()
    first, second = (set(index[domain == each].tolist()) for each in (0, 1))
    assert len(first) == len(second) == 1
    assert first != second
    (key,) = first
    cosine = F.cosine_similarity(model.l2m.keys[key].detach(), torch.tensor(centres[0]).float(), dim=0)
    assert cosine > 0.9  # the pull has moved it to its cluster


def test_the_loss_pulls_chosen_keys_and_nothing_else():
    run = ready("l2m(pull=3)")
    learner = run.learner
    batch = learner.batch(run.trainer.enter(run.stream[0]).index[:, :8])
    part = run.chain.parts[0]
    learner.model.train()
    output = learner.run(batch)
    term = part.loss(learner, batch, output)
    index = batch.kept(part)["member"]
    keys = learner.model.l2m.keys
    by_hand = -3 * F.cosine_similarity(batch.x.flatten(1), keys[index], dim=1).mean()
    assert float(term.detach()) == pytest.approx(float(by_hand.detach()), rel=1e-5)
    named = dict(learner.model.named_parameters())
    parts = torch.autograd.grad(term, list(named.values()), retain_graph=True, allow_unused=True)
    assert [name for name, part in zip(named, parts, strict=True) if part is not None] == ["l2m.keys"]
    moved = torch.autograd.grad(term, keys)[0].abs().sum(1) > 0
    assert torch.equal(moved.nonzero().flatten(), index.unique())


def test_the_term_is_that_of_the_batch_although_another_part_ran_the_model_since():
    run = ready("l2m")
    learner, part = run.learner, run.chain.parts[0]
    index = run.trainer.enter(run.stream[0]).index
    batch, other = learner.batch(index[:, :8]), learner.batch(index[:, 8:12])
    learner.model.train()
    output = learner.run(batch)
    own = float(part.loss(learner, batch, output).detach())
    learner.run(batch)
    learner.run(other)
    assert float(part.loss(learner, batch, output).detach()) == pytest.approx(own, rel=1e-6)
    assert len(batch.kept(part)["member"]) == 8


def test_the_penalty_is_the_normalised_inverse_share_of_earlier_experiences_and_absent_in_the_first():
    run = ready("l2m(pool=4)", "stream.experiences=2")
    part, pool, penalties, counts = run.chain.parts[0], run.learner.model.l2m, [], []

    def note(_learner, _batch):
        penalties.append(pool.penalty.clone())
        counts.append(part.state["served"].clone())

    run.chain.after_step += (note,)
    run.train()
    half = next(step for step, each in enumerate(penalties) if not torch.equal(each, torch.ones(4)))
    assert torch.equal(torch.stack(penalties[:half]), torch.ones(half, 4))
    served = counts[half - 1].double()
    inverse = 1 / (served / served.sum() + 1e-6)
    assert torch.allclose(penalties[-1].double(), inverse / inverse.sum(), rtol=1e-5)
    assert all(torch.equal(each, penalties[half]) for each in penalties[half:])  # constant inside an experience
    assert int(counts[-1].sum()) == 300  # never reset: every sample of both experiences
    assert torch.equal(trained("l2m(pool=4, usage_penalty=false)").learner.model.l2m.penalty, torch.ones(4))


def test_the_penalty_multiplies_cosines_that_are_shifted_to_positive_numbers_and_only_in_training():
    pool = Pool(3, 2)
    with torch.no_grad():
        pool.keys.copy_(torch.tensor([[1.0, 0.0], [-1.0, 0.2], [-0.2, -1.0]]))
    pool.penalty.copy_(torch.tensor([0.01, 0.9, 0.09]))
    layer, x = nn.Linear(2, 2), torch.tensor([[1.0, 0.0]])
    cosine = F.cosine_similarity(x, pool.keys.detach())
    shifted = (cosine + 1) / 2 * pool.penalty  # 0.01, 0.0087..., 0.0362...: unused members with cosines below 0 can win
    pool.train().choose(layer, (x,))
    assert int(pool.choice.member) == int(shifted.argmax()) == 2
    pool.eval().choose(layer, (x,))
    assert int(pool.choice.member) == 0


# ------------------------------------------------------------------------- what is trained


def test_the_base_is_frozen_after_the_first_experience_and_keys_pool_and_head_are_trained():
    run = ready("l2m", "training.momentum=0.9", "training.weight_decay=0.01")
    ends = []
    run.evaluator.ended.append(lambda _: ends.append(weights_of(run)))
    begun_with = weights_of(run)
    run.train()
    for name in begun_with:
        own = name.startswith(("l2m.", "head."))
        assert not torch.equal(begun_with[name], ends[0][name]), name  # the first experience trains everything
        assert torch.equal(ends[0][name], ends[-1][name]) != own, name


def test_pretrained_weights_are_frozen_from_the_start_and_need_no_boundaries():
    run = ready("l2m", begun("mlp"))
    before = weights_of(run)
    run.train()
    for name, value in weights_of(run).items():
        assert torch.equal(before[name], value) != name.startswith(("l2m.", "head.")), name
    assert run.chain.parts[0].needs == {"linear_layers"}
    assert ready("l2m").chain.parts[0].needs == {"linear_layers", "boundaries"}


@pytest.mark.parametrize("model", ["model={name: mlp, hidden: []}", "model={name: resnet, width: 2}"])
def test_a_model_without_linear_layers_before_its_head_is_skipped_with_the_reason(model):
    with pytest.raises(Skip, match="l2m needs a model with linear layers before the last one"):
        ready("l2m", model)


def test_hidden_boundaries_are_skipped_for_random_weights_alone():
    with pytest.raises(Skip, match="visible boundaries"):
        ready("l2m", "stream.boundaries=false")
    assert ready("l2m", "stream.boundaries=false", begun("mlp")).learner.model.l2m is not None


def test_running_statistics_stay_those_of_the_first_experience():
    def net(shape, n_outputs):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, n_outputs))

    run = ready("l2m", model=net)
    ends = []
    buffers = dict(run.learner.model.named_buffers())
    run.evaluator.ended.append(lambda _: ends.append({name: b.clone() for name, b in buffers.items()}))
    run.train()
    statistics = [name for name in ends[0] if "running" in name]
    assert len(statistics) == 2
    assert all(torch.equal(ends[0][name], ends[-1][name]) for name in statistics)


def test_replayed_samples_are_routed_too():
    run = ready("er + l2m")
    seen = batches(run)
    part = run.chain.parts[-1]
    assert any(len(batch) > len(batch.stream) for batch in seen)
    assert all(len(batch.kept(part)["member"]) == len(batch) for batch in seen)


def test_two_pools_in_one_strategy_are_refused():
    with pytest.raises(Refused, match="both set the modulation pool"):
        ready("l2m + l2m(pool=5)")


def test_the_members_of_a_pool_come_from_the_runs_seed_and_leave_all_other_weights_alone():
    first, again, other = (ready("l2m", seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.learner.w, again.learner.w)
    assert not torch.equal(first.learner.model.l2m.keys, other.learner.model.l2m.keys)
    plain = weights_of(ready("naive"))
    assert all(torch.equal(value, weights_of(first)[name]) for name, value in plain.items())


# ------------------------------------------------------------------------- kept models


@pytest.mark.parametrize("model", ["model={name: mlp, hidden: [16]}", VIT])
def test_a_kept_model_predicts_with_its_pool_and_can_be_written_as_a_graph(model, tmp_path):
    cell = plan(SMALL, strategies=["l2m"], seeds=1, overrides=[model]).cells[0]
    run = prepare(cell)
    run.train()
    disturb(run.learner.model)
    save(run, cell, tmp_path / "kept.pt")
    kept = load_model(tmp_path / "kept.pt")
    assert kept.read_out == "network"
    x = run.stream.dataset.test.x[:70]
    with torch.no_grad():
        own = run.learner.model.eval()(
            run.evaluator.panels._test.normalised(torch.tensor(x) * run.stream.dataset.scale)
        )
    assert torch.allclose(kept.scores(x), own.logits, atol=1e-5)
    graph = torch.export.load(kept.export(tmp_path / "kept.pt2")).module()
    scores = graph(torch.from_numpy(x))
    assert torch.allclose(scores, kept.scores(x), atol=1e-5)

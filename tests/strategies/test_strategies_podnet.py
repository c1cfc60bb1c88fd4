"""PODNet: head, loss and distillation by plain loops, proxies that stay, tuning of the head alone, stages of models."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from support import ready, trained
from torch.nn import functional as F

from clbench.core.errors import Refused
from clbench.core.rng import Generator
from clbench.models.cosine_head import CosineHead, ProxyHead
from clbench.strategies.podnet import k_means
from clbench.training.batch import Y
from clbench.training.stage_maps import StageMaps, maps_of, pooled_distance

FIXED = ("stream.order=fixed", "evaluation.every=0", "training.epochs=2")


def test_the_head_weighs_the_cosines_of_proxies_by_their_softmax_and_one_proxy_is_a_cosine_head():
    torch.manual_seed(0)
    head, x = ProxyHead(5, 3, 4, 2.0), torch.randn(6, 5)
    for b in range(6):
        for c in range(3):
            cosines = [F.cosine_similarity(x[b], w, dim=0).item() for w in head.weight[c].detach().view(4, 5)]
            shares = np.exp(cosines) / np.exp(cosines).sum()
            assert head(x)[b, c].item() == pytest.approx(2 * float(shares @ cosines), abs=1e-5)
    one, plain = ProxyHead(5, 3, 1), CosineHead(5, 3)
    plain.weight.data.copy_(one.weight.data)
    torch.testing.assert_close(one(x), plain(x))


def by_hand(a, b):
    """The distance between pooled maps of two passes, sample after sample."""
    stages = []
    for ours, theirs in zip(a, b, strict=True):
        found = []
        for one, other in zip(ours, theirs, strict=True):
            pair = []
            for m in (one, other):
                profile = [(m[c, i] ** 2).sum().item() for c in range(len(m)) for i in range(m.shape[1])]
                profile += [(m[c, :, j] ** 2).sum().item() for c in range(len(m)) for j in range(m.shape[2])]
                pair.append(np.array(profile) / np.linalg.norm(profile))
            found.append(np.linalg.norm(pair[0] - pair[1]))
        stages.append(np.mean(found))
    return float(np.mean(stages))


@pytest.mark.parametrize("form", ["paper", "code"])
def test_objective_and_distillation_are_those_of_the_paper_or_the_code(form):
    run, checked, copies = ready(f"podnet(form={form}, passes=1)", *FIXED), [], []
    learner = run.learner
    run.chain.end_experience += (lambda *_: copies.append(learner.side_work.copy()),)
    term, objective = run.chain.loss[0], run.chain.objective

    def watched(learner, batch, output):
        ours = term(learner, batch, output)
        if ours is None:
            assert not copies
            return ours
        seen = 2 * (len(copies) + 1)
        old = run.chain.parts[1]._held(learner, batch.x, None)
        maps, theirs = [[m.detach() for m in maps_of(o.features)] for o in (output, old)]
        assert [tuple(m.shape[2:]) for m in maps] == [(8, 8), (4, 4)]
        flat = 1 - F.cosine_similarity(output.features, old.features, dim=1).mean().item()
        wanted = math.sqrt(seen / 2) * (5 * by_hand(maps, theirs) + flat)
        eta, s = learner.model.head.scale.item(), learner.model.head.cosines(output.features.detach())
        each = []
        for row, y in zip(s[:, :seen].tolist(), batch.y.tolist(), strict=True):
            margin = 0.6 if form == "paper" else 0.0
            others = sum(math.exp(eta * v) for c, v in enumerate(row) if c != y)
            each.append(math.log(others) - eta * (row[y] - margin))
        nca = np.mean(np.maximum(each, 0)) if form == "paper" else max(0, np.mean(each))
        checked.append((ours.item(), wanted, objective(learner, batch, output).item(), nca))
        return ours

    run.chain.loss = (watched,)
    run.train()
    assert len(checked) > 10
    for ours, wanted, theirs, nca in checked:
        assert ours == pytest.approx(wanted, rel=1e-3, abs=1e-4)
        assert theirs == pytest.approx(nca, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("optimizer", ["training.optimizer=adam", "training.momentum=0.9"])
def test_proxies_of_old_classes_keep_their_bits_and_the_tuning_moves_the_head_alone(optimizer):
    run = ready("podnet", *FIXED, optimizer, "training.weight_decay=0.1", "training.lr=0.01")
    begun, learned, tuned = [], [], []
    begin, end = run.chain.begin_experience, run.chain.end_experience
    snap = lambda kept: lambda learner, _: kept.append(learner.w.detach().clone())  # noqa: E731
    run.chain.begin_experience = (*begin, snap(begun))
    run.chain.end_experience = (snap(learned), *end, snap(tuned))
    run.train()
    head, place = run.learner.head_mask, run.learner.slices["head.weight"]
    for number in range(1, 5):
        rows = [w[place].view(10, -1)[: 2 * number] for w in (begun[number], learned[number])]
        assert torch.equal(*rows)
        assert torch.equal(learned[number][~head], tuned[number][~head])
        assert not torch.equal(learned[number][head], tuned[number][head])
    assert torch.equal(learned[0], tuned[0])


def test_new_proxies_are_centres_of_features_as_long_as_known_ones():
    run, checked = ready("podnet(proxies=2)", *FIXED), []
    begin = run.chain.begin_experience

    def watched(learner, experience):
        before = learner.model.head.weight.detach().clone()
        for each in begin:
            each(learner, experience)
        number = learner.experience
        if number:
            after = learner.model.head.weight.detach()
            assert torch.equal(after[: 2 * number], before[: 2 * number])
            for c in experience.index[Y].unique().tolist():
                proxies = after[c].view(2, -1)
                width = proxies.shape[1]
                length = before[: 2 * number].reshape(-1, width).norm(dim=1).mean()
                torch.testing.assert_close(proxies.norm(dim=1), length.expand(2))
                checked.append(c)

    run.chain.begin_experience = (watched,)
    run.train()
    assert checked == [2, 3, 4, 5, 6, 7, 8, 9]


def test_k_means_finds_groups_and_repeats_points_where_they_are_few():
    points = torch.tensor([[0.0, 0.0], [0.2, 0.0], [10.0, 10.0], [10.2, 10.0]])
    for seed in range(8):
        centres = k_means(points, 2, Generator(seed, "test"))
        assert sorted(centres[:, 0].tolist()) == pytest.approx([0.1, 10.1])
    assert k_means(points[:1], 3, Generator(0, "test")).tolist() == [[0, 0]] * 3


@pytest.mark.parametrize(
    ("model", "sizes"),
    [("{name: cnn, width: 4, hidden: 8}", [8, 4]), ("{name: resnet, width: 4}", [8, 4, 2, 1])],
)
def test_a_stage_is_a_resolution_and_equal_passes_have_no_distance(model, sizes):
    run = ready("podnet", f"model={model}")
    watching, net = StageMaps(run.learner.model), run.learner.model.eval()
    x = torch.rand(3, 1, 8, 8)
    output = net(x)
    assert [m.shape[2] for m in maps_of(output.features)] == sizes
    with torch.no_grad():
        assert maps_of(net(x).features) == ()
        with watching.without_graph():
            other = net(x)
    distance = pooled_distance(maps_of(output.features), maps_of(other.features))
    assert distance.item() == 0
    distance.backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in net.parameters())


def test_a_pass_in_chunks_is_refused_and_a_model_without_convolutions_skips_the_cell():
    with pytest.raises(Refused, match=r"leave out training\.accumulate"):
        trained("podnet", "training.accumulate=2")
    with pytest.raises(Exception, match="a model with convolutions"):
        ready("podnet", "model={name: mlp, hidden: [8]}")


def test_the_scale_stays_above_0_and_it_forgets_less_than_naive():
    changes = ("memory.size=40", "training.epochs=20", "evaluation.every=0")
    ours = [trained("podnet", *changes, seed=seed) for seed in range(2)]
    assert all(run.learner.model.head.scale.item() > 1 for run in ours)
    assert np.mean([np.nanmean(run.evaluator.trace().score[-1]) for run in ours]) > 0.5

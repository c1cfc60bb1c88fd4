"""LUCIR: terms by hand, imprinted weights, old weights that stay, and a cosine head on every kind of model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support import ready, trained
from torch.nn import functional as F

from clbench.core.errors import Refused
from clbench.models.cosine_head import CosineHead, WithCosineHead, with_cosine_head
from clbench.models.output import Output
from clbench.training.batch import Y

FIXED = ("stream.order=fixed", "evaluation.every=0", "training.epochs=2")


def test_the_head_computes_cosines_and_features_of_zeros_have_none():
    torch.manual_seed(0)
    head, x = CosineHead(5, 3, 7.0), torch.randn(4, 5)
    x[2] = 0
    wanted = torch.stack([7 * F.cosine_similarity(x, w[None], dim=1) for w in head.weight], dim=1)
    torch.testing.assert_close(head(x), wanted)
    assert not head(x)[2].any()


def hinge(cosines, y, old, new, margin, hardest):
    """The ranking term by hand, sample after sample."""
    found = []
    for row, label in zip(cosines, y.tolist(), strict=True):
        if old[label]:
            best = sorted((row[k].item() for k in range(len(row)) if new[k]), reverse=True)[:hardest]
            found.append(np.mean([max(0.0, margin - row[label].item() + value) for value in best]))
    return float(np.mean(found)) if found else 0.0


def test_both_terms_are_those_of_the_paper():
    run, checked = ready("lucir", *FIXED), []
    part, learner = run.chain.parts[0], run.learner
    copies = []
    run.chain.end_experience += (lambda *_: copies.append(learner.side_work.copy()),)
    loss = run.chain.loss[0]

    def watched(learner, batch, output):
        ours = loss(learner, batch, output)
        if learner.experience == 0:
            assert ours is None
            return None
        seen = 2 * learner.experience
        with torch.no_grad():
            before = learner.side_work.forward(batch.x, **copies[-1]).features
            cosine = F.cosine_similarity(output.features, before, dim=1)
            old, new = [c < seen for c in range(10)], [seen <= c < seen + 2 for c in range(10)]
            cosines = learner.model.head.cosines(output.features)
        wanted = 5 * (seen / 2) ** 0.5 * (1 - cosine).mean().item()
        ranked = hinge(cosines, batch.y, old, new, 0.5, 2)
        checked.append((float(ours.detach()), wanted + ranked, ranked))
        return ours

    run.chain.loss = (watched,)
    run.train()
    assert len(checked) > 10
    assert max(ranked for *_, ranked in checked) > 0.01
    for ours, wanted, _ in checked:
        assert ours == pytest.approx(wanted, rel=1e-4, abs=1e-5)
    assert part.state["count"] == 8


def test_new_weights_are_the_mean_direction_of_features_and_as_long_as_old_ones():
    run, checked = ready("lucir", *FIXED), []
    begin = run.chain.begin_experience[0]

    def watched(learner, experience):
        head = learner.model.head.weight.detach().clone()
        begin(learner, experience)
        if learner.experience:
            z = F.normalize(learner.side_work.features(experience.index).features, dim=1)
            length = head[: 2 * learner.experience].norm(dim=1).mean()
            for c in experience.index[Y].unique().tolist():
                mean = z[experience.index[Y] == c].mean(0)
                torch.testing.assert_close(learner.model.head.weight[c].detach(), length * mean / mean.norm())
                checked.append(c)
            assert torch.equal(
                learner.model.head.weight.detach()[: 2 * learner.experience], head[: 2 * learner.experience]
            )

    run.chain.begin_experience = (watched, *run.chain.begin_experience[1:])
    run.train()
    assert checked == [2, 3, 4, 5, 6, 7, 8, 9]


@pytest.mark.parametrize("optimizer", ["training.optimizer=adam", "training.momentum=0.9"])
def test_weights_of_old_classes_keep_their_bits(optimizer):
    run, kept = ready("lucir", *FIXED, optimizer, "training.weight_decay=0.1", "training.lr=0.01"), []
    run.chain.end_experience += (lambda learner, _: kept.append(learner.model.head.weight.detach().clone()),)
    run.train()
    for number in range(1, 5):
        assert torch.equal(kept[number][: 2 * number], kept[number - 1][: 2 * number])
        assert not torch.equal(kept[number][2 * number : 2 * number + 2], kept[number - 1][2 * number : 2 * number + 2])


@pytest.mark.parametrize(
    "model", ["{name: mlp, hidden: [8]}", "{name: cnn, width: 4, hidden: 8}", "{name: resnet, width: 4}"]
)
def test_it_stands_on_every_kind_of_model_and_the_old_last_layer_is_not_trained(model):
    run = trained("lucir", f"model={model}", "evaluation.every=0")
    assert isinstance(run.learner.model.head, CosineHead)
    assert sorted(name for name in run.learner.slices if "head" in name) == ["head.scale", "head.weight"]
    assert torch.isfinite(run.learner.w).all()


def test_without_terms_it_is_replay_with_a_cosine_head():
    """One experience has no old classes: the loop of torch on the cosine head."""
    run, batches = ready("lucir", "stream.experiences=1", "evaluation.every=0", "training.momentum=0.9"), []
    model = run.learner.model
    start = {name: p.detach().clone().requires_grad_() for name, p in model.named_parameters() if p.requires_grad}
    run.chain.before_step += (lambda _, batch: batches.append((batch.x.clone(), batch.y.clone())),)
    run.train()
    optimizer = torch.optim.SGD(start.values(), lr=0.1, momentum=0.9)
    for x, y in batches:
        optimizer.zero_grad()
        F.cross_entropy(torch.func.functional_call(model, start, (x,)).logits, y).backward()
        optimizer.step()
    for name, parameter in model.named_parameters():
        if name in start:
            torch.testing.assert_close(parameter.detach(), start[name].detach(), atol=1e-6, rtol=1e-4)


def test_it_forgets_less_than_a_linear_head_on_few_exemplars():
    changes = ("memory.size=20", "training.epochs=4", "evaluation.every=0")
    ours = [np.nanmean(trained("lucir", *changes, seed=seed).evaluator.trace().score[-1]) for seed in range(3)]
    naive = [np.nanmean(trained("naive", *changes, seed=seed).evaluator.trace().score[-1]) for seed in range(3)]
    assert np.mean(ours) > np.mean(naive) + 0.1


def test_a_model_that_ends_otherwise_is_refused():
    with pytest.raises(Refused, match="a cosine head stands in place of a linear layer"):
        with_cosine_head(with_cosine_head(torch.nn.ModuleDict({"head": torch.nn.Linear(3, 2)})))


def test_a_wrapped_model_gets_one_around_it_and_its_own_last_layer_is_not_trained():
    from clbench.models.wrap import wrap

    plain = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 6), torch.nn.ReLU(), torch.nn.Linear(6, 10))
    model = with_cosine_head(wrap(plain, 10, shape=(1, 8, 8)))
    assert isinstance(model, WithCosineHead)
    x = torch.rand(3, 1, 8, 8)
    features = torch.relu(plain[1](x.flatten(1)))
    torch.testing.assert_close(model(x).logits, model.head(features))
    assert [p.requires_grad for p in plain[3].parameters()] == [False, False]


def test_a_number_of_the_head_serves_all_classes():
    """A scale of one number, in a model of a user's own."""

    class Scaled(torch.nn.Module):
        def __init__(self, shape, n_outputs):
            super().__init__()
            self.head = CosineHead(64, 10)
            self.head.scale = torch.nn.Parameter(torch.tensor([3.0]))

        def forward(self, x):
            return Output(self.head(x.flatten(1)), x.flatten(1))

    run = trained("naive", "training.weight_decay=0.1", "training.optimizer=adam", model=Scaled)
    assert torch.isfinite(run.learner.w).all()
    some = torch.zeros(10, dtype=torch.bool).index_fill_(0, torch.tensor([1, 2]), True)
    assert int(run.learner._heads.serving(some).sum()) == 2 * 64
    assert int(run.learner.head_mask.sum()) == 10 * 64 + 1

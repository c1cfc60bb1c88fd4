"""A batch that passes the model in chunks leads to the weights of the whole batch."""

from __future__ import annotations

import re

import pytest
import torch
from support import assert_same, everything, ready, train_until, trained
from torch import nn

from clbench.core.errors import Refused
from clbench.models.output import Output
from clbench.training.accumulated_pass import AccumulatedPass


class Small(nn.Module):
    """A network that counts the samples of each of its passes."""

    def __init__(self, n_inputs=5, n_outputs=3):
        super().__init__()
        self.body, self.head = nn.Linear(n_inputs, 7), nn.Linear(7, n_outputs)
        self.passes = []

    def forward(self, x):
        self.passes.append(len(x))
        features = torch.tanh(self.body(x))
        return Output(self.head(features), features)


def contrast(output):
    """A loss in which every sample meets every other one."""
    return torch.logsumexp(output.features @ output.features.T, dim=1).mean() + output.logits.square().mean()


@pytest.mark.parametrize(("chunks", "sizes"), [(2, [6, 5]), (3, [4, 4, 3]), (11, [1] * 11), (20, [1] * 11)])
def test_gradients_are_those_of_the_whole_batch_for_a_loss_over_all_pairs(chunks, sizes):
    model = Small().double()
    x = torch.randn(11, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    whole = torch.autograd.grad(contrast(model(x)), list(model.parameters()))
    model.passes.clear()
    parts = torch.autograd.grad(contrast(AccumulatedPass(model, chunks)(x)), list(model.parameters()))
    for ours, theirs in zip(parts, whole, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)
    assert model.passes[: len(sizes)] == sizes
    assert sorted(model.passes[len(sizes) :]) == sorted(sizes), "each chunk passes once more"


def test_gradients_are_the_sum_of_a_plain_loop_over_chunks():
    model = Small()
    x, y = torch.randn(12, 5, generator=torch.Generator().manual_seed(1)), torch.arange(12) % 3
    nn.functional.cross_entropy(AccumulatedPass(model, 4)(x).logits, y).backward()
    ours = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    for k in range(4):
        own = slice(3 * k, 3 * k + 3)
        (nn.functional.cross_entropy(model(x[own]).logits, y[own]) / 4).backward()
    for mine, parameter in zip(ours, model.parameters(), strict=True):
        torch.testing.assert_close(mine, parameter.grad, rtol=1e-5, atol=1e-7)


def test_without_gradients_a_batch_passes_once():
    model = Small()
    with torch.no_grad():
        AccumulatedPass(model, 4)(torch.zeros(8, 5))
    assert model.passes == [8]


@pytest.mark.parametrize("strategy", ["naive", "er + ewc + lwf", "er_ace", "agem", "derpp(alpha=0.1, beta=0.5)", "mir"])
def test_runs_end_with_the_weights_of_a_batch_k_times_larger(strategy):
    whole, parts = trained(strategy), trained(strategy, "training.accumulate=4")
    torch.testing.assert_close(parts.learner.w, whole.learner.w, rtol=1e-5, atol=1e-5)
    assert parts.learner.cost.steps == whole.learner.cost.steps


def test_probed_runs_and_dropout_work_and_a_resumed_run_is_the_same_bits():
    changes = ("training.accumulate=2", "model.dropout=0.2", "evaluation.probe=3")
    whole = trained("er", *changes)
    saved = train_until(ready("er", *changes), 7).snapshot()
    rest = ready("er", *changes)
    rest.restore(saved)
    rest.train()
    assert_same(everything(rest), everything(whole))


def test_chunks_of_a_dropout_model_get_the_same_mask_when_they_pass_again():
    torch.manual_seed(0)
    layer = nn.Linear(4, 4, bias=False)

    class Dropping(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            out = nn.functional.dropout(self.layer(x), 0.5)
            return Output(out, x)

    x = torch.eye(4)
    output = AccumulatedPass(Dropping(), 2)(x)
    kept = output.logits.detach() != 0
    output.logits.sum().backward()
    torch.testing.assert_close(layer.weight.grad, 2.0 * kept.float().T)


@pytest.mark.parametrize(
    ("strategy", "changes", "words"),
    [
        ("naive", ("model={name: resnet, width: 2, norm: batch}",), "the statistics of batch normalisation"),
        ("slda", (), "a part of this strategy makes the steps itself"),
    ],
)
def test_what_cannot_be_divided_is_refused(strategy, changes, words):
    with pytest.raises(Refused, match=re.escape(words)):
        ready(strategy, "training.accumulate=2", *changes)

"""Adapters: the sum by hand, what is trained, and training against a loop of torch's own."""

from __future__ import annotations

import pytest
import torch
from support import ready
from torch.func import functional_call

from clbench.adapters.run_setup import Skip
from clbench.models.adapter import Adapter
from clbench.models.vit import Block

SMALL = "adapters(width=3)"


def test_an_adapter_reads_tokens_before_the_norm_and_begins_at_nothing():
    torch.manual_seed(0)
    block, x = Block(8, 2, 16), torch.randn(2, 5, 8)
    plain = block(x)
    block.adapter = Adapter(8, 3, 0.1)
    assert torch.equal(block(x), plain)
    with torch.no_grad():
        block.adapter.up.weight.normal_(), block.adapter.up.bias.normal_(), block.adapter.down.bias.normal_()
    mixed = x + block.attention(block.attention_norm(x))
    added = torch.relu(mixed @ block.adapter.down.weight.T + block.adapter.down.bias)
    added = 0.1 * (added @ block.adapter.up.weight.T + block.adapter.up.bias)
    torch.testing.assert_close(block(x), plain + added)


def test_only_adapters_and_head_are_trained_and_the_body_keeps_its_bits_under_adam_with_decay():
    run = ready(SMALL, "training.optimizer=adam", "training.weight_decay=0.1", "evaluation.every=0")
    learner = run.learner
    frozen = {n: p.clone() for n, p in learner.model.named_parameters() if n not in learner.slices}
    names = {
        f"blocks.{b}.adapter.{layer}.{kind}" for b in (0, 1) for layer in ("down", "up") for kind in ("weight", "bias")
    }
    assert set(learner.slices) == {*names, "head.weight", "head.bias"}
    run.train()
    named = dict(learner.model.named_parameters())
    assert all(torch.equal(named[name], value) for name, value in frozen.items())
    assert all(learner.w.detach()[learner.slices[name]].any() for name in names)


def test_training_is_that_of_a_plain_loop():
    run, batches = ready(SMALL, "training.momentum=0.9", "evaluation.every=0", "stream.output=all"), []
    model, names = run.learner.model, list(run.learner.slices)
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    run.chain.before_step += (lambda _, batch: batches.append((batch.x.clone(), batch.y.clone())),)
    run.train()
    theirs = {name: start[name].clone().requires_grad_() for name in names}
    optimizer = torch.optim.SGD(theirs.values(), lr=0.1, momentum=0.9)
    for x, y in batches:
        optimizer.zero_grad()
        logits = functional_call(model, {**start, **theirs}, (x,)).logits
        torch.nn.functional.cross_entropy(logits, y).backward()
        optimizer.step()
    for name in names:
        torch.testing.assert_close(
            dict(model.named_parameters())[name].detach(), theirs[name].detach(), atol=1e-6, rtol=1e-4
        )


def test_it_needs_a_transformer():
    with pytest.raises(Skip, match="needs a vision transformer, and the benchmark's model is none"):
        ready("adapters", "model={name: mlp}")

"""Generated weights: their spread, their number, and how many weights generate them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from clbench import models
from clbench.models.hypernetwork import CONSTANT_SPREAD, Hypernetwork, largest_chunk


def made(form="chunks", hidden=(25, 25), chunk=None, embedding=8, **network):
    torch.manual_seed(0)
    target = models.make({"name": "mlp", "hidden": [100]} | network, (1, 28, 28), 10)
    return Hypernetwork(target, form=form, embedding=embedding, chunk=chunk, hidden=hidden)


class Small(nn.Module):
    """A network of 110 weights."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(10, 10)


def count(model):
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize(("form", "hidden"), [("chunks", (25, 25)), ("chunks", ()), ("rnn", (32,))])
def test_by_default_a_hypernetwork_has_as_many_weights_as_a_chunk_allows_without_more_than_it_generates(form, hidden):
    model = made(form, hidden)
    d, chunk = sum(model.generator.sizes), model.generator.last.out_features
    assert d == 784 * 100 + 100 + 100 * 10 + 10
    assert chunk == largest_chunk(d, form=form, embedding=8, hidden=hidden)
    assert count(model) <= d
    assert count(made(form, hidden, chunk + 1)) > d
    assert len(model.generator.chunks) == -(-d // chunk)


def test_if_no_chunk_is_so_small_the_one_with_the_fewest_weights_is_taken():
    every = {c: count(Hypernetwork(Small(), form="chunks", embedding=4, chunk=c, hidden=(20,))) for c in range(1, 111)}
    assert min(every.values()) > 110
    best = largest_chunk(110, form="chunks", embedding=4, hidden=(20,))
    assert every[best] <= min(every.values()) + 4  # K is rounded up


@pytest.mark.parametrize("form", ["chunks", "rnn"])
def test_generated_weights_begin_with_the_spread_of_the_networks_own(form):
    torch.manual_seed(0)
    own = [float(p.detach().std()) for p in models.make({"name": "mlp", "hidden": [100]}, (1, 28, 28), 10).parameters()]
    model = made(form, (25, 25) if form == "chunks" else (32,))
    generated = model.generator.tensors(model.embedding)
    for tensor, spread in zip(generated, own, strict=True):
        assert float(tensor.detach().std()) == pytest.approx(spread, rel=0.6)
    values = torch.cat([t.detach() / s for t, s in zip(generated, own, strict=True)])
    assert float(values.std()) == pytest.approx(1, rel=0.15)


def test_generated_scales_of_norm_layers_lie_around_one_and_their_shifts_around_zero():
    torch.manual_seed(0)
    target = models.make({"name": "cnn", "width": 8, "norm": "batch"}, (3, 16, 16), 10)
    model = Hypernetwork(target, form="chunks", embedding=8, chunk=None, hidden=(25, 25))
    generated = dict(zip(model.shapes, model.generator.tensors(model.embedding), strict=True))
    for name, tensor in generated.items():
        if name.startswith("norms"):
            middle = 1.0 if name.endswith("weight") else 0.0
            assert float((tensor.detach() - middle).abs().max()) < 8 * CONSTANT_SPREAD
            assert float((tensor.detach() - middle).square().mean().sqrt()) == pytest.approx(CONSTANT_SPREAD, rel=0.9)


def test_the_network_computes_with_the_generated_weights_and_has_none_of_its_own():
    model = made(hidden=(7,))
    x = torch.randn(5, 1, 28, 28)
    generated = model.generator.tensors(model.embedding)
    first, bias, head, shift = (g.view(s) for g, s in zip(generated, model.shapes.values(), strict=True))
    features = (x.flatten(1) @ first.T + bias).relu()
    torch.testing.assert_close(model(x).features, features)
    torch.testing.assert_close(model(x).logits, features @ head.T + shift)
    assert not any(p.requires_grad or p.any() for p in model.target.parameters())
    assert model.head is model.target.head


def test_a_chunk_is_the_last_layer_at_its_own_embedding_for_a_linear_generator():
    model = made(hidden=(), chunk=1000, embedding=3)
    generator, e = model.generator, torch.randn(2, 3)
    both = torch.cat([e[1], generator.chunks[4]])
    values = generator.last.weight @ both + generator.last.bias  # weights 4000 to 4999, all of the first layer
    torch.testing.assert_close(generator(e)[1, 4000:5000], values)
    torch.testing.assert_close(generator.tensors(e[1])[0][4000:5000], generator.spreads[0] * values)


def test_an_lstm_lets_a_chunk_depend_on_the_chunks_before_it_and_not_on_those_after_it():
    model = made("rnn", (16,), chunk=1000)
    generator, e = model.generator, torch.randn(1, 8)
    before = generator(e).detach()
    generator.chunks.data[4] += 1
    after = generator(e).detach()
    assert torch.equal(before[0, :4000], after[0, :4000])
    assert not torch.equal(before[0, 5000:6000], after[0, 5000:6000])


def test_weights_that_serve_units_are_all_but_the_rows_of_other_units_in_the_head():
    model = made()
    serving = model.serving(torch.arange(10) < 3)
    first, bias, head, shift = (
        s.view(shape) for s, shape in zip(serving.split(model.generator.sizes), model.shapes.values(), strict=True)
    )
    assert first.all()
    assert bias.all()
    assert head.all(1).tolist() == head.any(1).tolist() == shift.tolist() == [True] * 3 + [False] * 7

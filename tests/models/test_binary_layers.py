"""Layers with binary weights: moments against sampled weights, gradients against derivatives worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from clbench.core.errors import Refused
from clbench.models import make
from clbench.models.binary_layers import BinaryConv2d, BinaryLinear, BinaryUnit, binary_layers, with_binary_weights
from clbench.models.linear import linear
from clbench.models.perceptron import ProbitUnit

SETS = 10_000


def sampled_weights(layer, n):
    """n sets of weights ±1, each +1 with probability e^(βθ) / (e^(βθ) + e^(-βθ))."""
    up = torch.exp(layer.beta * layer.weight) / (2 * torch.cosh(layer.beta * layer.weight))
    return torch.where(torch.rand(n, *layer.weight.shape) < up, 1.0, -1.0)


@pytest.mark.parametrize("beta", [0.3, 1.0, 4.0])
def test_moments_of_a_linear_layer_are_those_of_ten_thousand_sampled_weight_sets(beta):
    torch.manual_seed(0)
    layer = BinaryLinear(nn.Linear(30, 4))
    layer.beta.fill_(beta)
    x = torch.randn(5, 30)
    mean, variance = (each.detach() for each in layer.moments(x, F.linear))
    sums = torch.einsum("soi,bi->sbo", sampled_weights(layer, SETS), x) / math.sqrt(30)  # (S, B, O)
    error = (variance / SETS).sqrt()
    assert ((sums.mean(0) - mean).abs() < 4.5 * error + 1e-6).all()
    assert torch.allclose(sums.var(0), variance, rtol=0.12, atol=1e-6)


def test_moments_of_a_convolution_are_those_of_sampled_weight_sets():
    torch.manual_seed(1)
    layer = BinaryConv2d(nn.Conv2d(2, 3, 3, stride=2, padding=1))
    x = torch.randn(2, 2, 5, 5)
    made = layer.moments(x, lambda x, w: F.conv2d(x, w, stride=2, padding=1))
    mean, variance = (each.detach() for each in made)
    sets = sampled_weights(layer, SETS)
    sums = F.conv2d(x, sets.reshape(-1, 2, 3, 3), stride=2, padding=1).reshape(2, SETS, 3, 3, 3) / math.sqrt(18)
    assert ((sums.mean(1) - mean).abs() < 4.5 * (variance / SETS).sqrt() + 1e-6).all()
    assert torch.allclose(sums.var(1), variance, rtol=0.12, atol=1e-6)


def test_training_draws_sums_with_these_moments_and_evaluation_draws_nothing():
    torch.manual_seed(2)
    layer = BinaryLinear(nn.Linear(6, 3))
    x = torch.randn(1, 6)
    mean, variance = (each.detach() for each in layer.moments(x, F.linear))
    drawn = layer(x.expand(20_000, 6)).detach()
    assert torch.allclose(drawn.mean(0), mean[0], atol=0.03)
    assert torch.allclose(drawn.var(0), variance[0], rtol=0.05)
    layer.eval()
    state = torch.get_rng_state()
    assert torch.equal(layer(x), layer(x))
    assert torch.allclose(layer(x), mean)
    layer.read_out = "sign"
    assert torch.allclose(layer(x), x @ torch.sign(layer.weight).T / math.sqrt(6))
    assert torch.equal(torch.get_rng_state(), state)
    layer.read_out = "sample"
    assert not torch.equal(layer(x), layer(x))


def test_the_gradient_goes_through_mean_and_variance():
    torch.manual_seed(3)
    layer = BinaryLinear(nn.Linear(5, 2))
    layer.beta.fill_(1.7)
    x, signal = torch.randn(3, 5), torch.randn(3, 2)
    noise = layer.normal(signal)
    layer.draws.zero_()
    (layer(x) * signal).sum().backward()
    theta = layer.weight.detach()
    mu = torch.tanh(1.7 * theta)
    spread = 1 - mu**2
    deviation = (x**2 @ spread.T / 5).sqrt()  # (B, O)
    through_mean = signal.T @ x / math.sqrt(5)
    through_variance = (signal * noise / deviation).T @ x**2 * mu / 5
    assert torch.allclose(layer.weight.grad, 1.7 * spread * (through_mean - through_variance), atol=1e-5)


def test_a_sample_of_zeros_gives_finite_gradients():
    layer = BinaryLinear(nn.Linear(4, 2))
    x = torch.zeros(3, 4, requires_grad=True)
    layer(x).sum().backward()
    assert torch.isfinite(layer.weight.grad).all()
    assert torch.isfinite(x.grad).all()


def test_a_perceptrons_logits_are_the_exact_probabilities_of_the_sign():
    torch.manual_seed(5)
    model = make({"name": "perceptron"}, (101,), 2)
    assert with_binary_weights(model) == 1
    assert isinstance(model.head, BinaryUnit)
    x = torch.where(torch.rand(4, 101) < 0.5, 1.0, -1.0)
    probability = model(x).logits.exp()  # (B, 2)
    assert torch.allclose(probability.sum(1), torch.ones(4), atol=1e-5)
    sums = torch.einsum("soi,bi->sb", sampled_weights(model.head, SETS), x)
    assert torch.allclose((sums > 0).float().mean(0), probability[:, 1], atol=0.03)


def test_the_energy_of_a_perceptron_is_minus_the_logarithm_of_the_tail_of_a_gaussian():
    torch.manual_seed(6)
    model = make({"name": "perceptron"}, (21,), 2)
    with_binary_weights(model)
    x, y = torch.where(torch.rand(6, 21) < 0.5, 1.0, -1.0), torch.tensor([0, 1, 1, 0, 1, 0])
    mu = torch.tanh(model.head.weight.detach()[0])
    field = (2 * y - 1) * (x @ mu) / (1 - mu**2).sum().sqrt()
    tail = 0.5 * torch.erfc(-field / math.sqrt(2))
    assert torch.allclose(F.cross_entropy(model(x).logits, y), -tail.log().mean(), atol=1e-5)


def test_every_linear_and_convolutional_layer_of_a_model_becomes_binary_and_loses_its_bias():
    model = make({"name": "cnn", "width": 4, "hidden": 8}, (1, 8, 8), 10)
    norms = [name for name, module in model.named_modules() if isinstance(module, nn.GroupNorm)]
    assert with_binary_weights(model) == 6
    assert len(list(binary_layers(model))) == 6
    assert not any("bias" in name and name.rpartition(".")[0] not in norms for name, _ in model.named_parameters())
    assert model(torch.rand(3, 1, 8, 8)).logits.shape == (3, 10)


def test_a_layer_that_is_used_twice_becomes_one_binary_layer():
    shared = nn.Linear(4, 4)
    model = nn.Sequential(shared, nn.ReLU(), shared)
    assert with_binary_weights(model) == 1
    assert model[0] is model[2]


def test_a_wrapped_module_still_gives_the_features_of_its_last_layer():
    from clbench.models.wrap import wrap

    model = wrap(nn.Sequential(nn.Flatten(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)), 3, shape=(6,))
    with_binary_weights(model)
    output = model.eval()(torch.rand(2, 6))
    assert output.features.shape == (2, 5)
    assert torch.allclose(output.logits, model.head(output.features))


def test_large_batches_without_gradients_use_the_binary_weights_too():
    torch.manual_seed(7)
    layer = BinaryLinear(nn.Linear(12, 5)).eval()
    x = torch.randn(200, 12)
    with torch.no_grad():
        assert torch.allclose(linear(layer, x), x @ torch.tanh(layer.weight).T / math.sqrt(12), atol=1e-6)


def test_a_perceptron_has_two_classes_and_one_unit():
    model = make({"name": "perceptron"}, (7,), 2)
    assert [tuple(p.shape) for p in model.parameters()] == [(1, 7)]
    assert isinstance(model.head, ProbitUnit)
    x = torch.randn(5, 7)
    z = (x @ model.head.weight.detach()[0]) / math.sqrt(7)
    assert torch.allclose(model(x).logits.exp()[:, 1], 0.5 * torch.erfc(-z / math.sqrt(2)), atol=1e-6)
    with pytest.raises(Refused, match="two classes"):
        make({"name": "perceptron"}, (7,), 3)

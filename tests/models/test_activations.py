"""Activations are seen however a model computes them, and the model stays as it is."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from clbench import models
from clbench.models.activations import activations_of, active_share, dormant_share, watched_activations

X = torch.randn(96, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def made(name, **settings):
    torch.manual_seed(0)
    return models.make({"name": name, **settings}, (3, 16, 16), 5).eval()


@pytest.mark.parametrize(
    ("name", "settings", "units"),
    [
        ("mlp", {"hidden": [12, 7]}, [12, 7]),
        ("mlp", {"hidden": [12], "activation": "tanh"}, [12]),
        ("mlp", {"hidden": [12], "activation": "gelu"}, [12]),
        ("cnn", {"width": 4, "hidden": 9}, [4, 4, 8, 8, 9]),
        ("resnet", {"width": 3}, [3] + 4 * [3] + 4 * [6] + 4 * [12] + 4 * [24]),
        ("resnet_cifar", {"width": 3, "depth": 14}, [3] + 4 * [3] + 4 * [6] + 4 * [12]),
        ("vit", {"width": 8, "depth": 2, "attention_heads": 2, "patch": 4, "mlp_ratio": 2}, [16, 16]),
    ],
)
def test_every_layer_of_our_models_is_seen_with_its_units(name, settings, units):
    model = made(name, **settings)
    assert [layer.units for layer in activations_of(model, [X])] == units


class Own(nn.Module):
    """Computes ReLUs in every way that users do."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3), nn.Linear(4, 6)
        self.rest = nn.ModuleList(nn.Linear(6, 6) for _ in range(7))

    def forward(self, x):
        x = self.a(x).relu()  # (B, 4, 14, 14)
        x = F.relu_(self.b(x.permute(0, 2, 3, 1)))  # (B, 14, 14, 6), channels last
        x = x.mean((1, 2))
        calls = (torch.relu, nn.ReLU(inplace=True), nn.ReLU6(), torch.Tensor.relu_, F.leaky_relu)
        for layer, call in zip(self.rest, calls, strict=False):
            x = call(layer(x))
        x = torch.clamp(self.rest[5](x), min=0)
        return self.rest[6](x).clamp_min(0)


def test_every_way_to_write_a_relu_is_seen():
    torch.manual_seed(0)
    found = activations_of(Own().eval(), [X])
    assert [layer.units for layer in found] == [4, 6, 6, 6, 6, 6, 6, 6, 6]


def test_the_shares_are_those_of_the_values_themselves():
    model = made("cnn", width=4, hidden=9)
    values = []
    with torch.no_grad():
        x = X
        for i, (convolution, norm) in enumerate(zip(model.convolutions, model.norms, strict=True)):
            x = F.relu(norm(convolution(x)))
            values.append(x.transpose(0, 1).flatten(1))  # (U, samples and positions)
            x = F.max_pool2d(x, 2) if i % 2 else x
        values.append(F.relu(model.hidden(x.flatten(1))).T)
    found = activations_of(model, X.split(40))  # unequal batches
    share = torch.cat([(v > 0).double().mean(1) for v in values])
    assert active_share(found) == pytest.approx(float(share.mean()), abs=1e-6)
    torch.testing.assert_close(torch.cat(found.active), share, atol=1e-6, rtol=0)
    means = [v.double().mean(1) for v in values]
    torch.testing.assert_close(torch.cat(found.magnitude), torch.cat(means), atol=1e-6, rtol=1e-5)
    low = torch.cat([m <= 0.5 * m.mean() for m in means])
    assert dormant_share(found, 0.5) == pytest.approx(float(low.double().mean()))


def test_layers_of_a_transformer_of_torch_are_seen_although_its_kernel_is_fused_without_gradients():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, dim_feedforward=20, batch_first=True, dropout=0.0).eval()
    (only,) = activations_of(layer, [torch.randn(70, 5, 8)])
    assert only.units == 20


def test_a_kernel_that_multiplies_and_clips_at_once_is_seen():
    model, inputs = made("mlp", hidden=[12, 7]), X
    with watched_activations(model) as found, torch.inference_mode():
        model(inputs)
    torch.testing.assert_close(torch.cat(found.active), torch.cat(activations_of(model, [X]).active), atol=0.02, rtol=0)


def test_watching_changes_no_output_no_gradient_and_no_hook():
    model = made("resnet", width=3)
    plain = model(X).logits
    with watched_activations(model):
        watched = model(X).logits
    assert torch.equal(plain, watched)
    ours, theirs = (torch.autograd.grad(each.square().sum(), list(model.parameters())) for each in (plain, watched))
    assert all(map(torch.equal, ours, theirs))
    assert not model._forward_pre_hooks


def test_a_network_without_activation_functions_has_no_share():
    found = activations_of(nn.Linear(4, 2), [torch.zeros(3, 4)])
    assert len(found) == 0
    assert active_share(found) != active_share(found)  # NaN

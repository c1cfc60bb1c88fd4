"""What models are made of: layers written out by hand, flat weights, and operations counted by hand."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from clbench.core.errors import Refused
from clbench.models import linear as linear_module
from clbench.models.blank import Blank
from clbench.models.flat_weights import flatten
from clbench.models.flops import per_row
from clbench.models.linear import FEWEST_ROWS, fused_available, linear
from clbench.models.mlp import ACTIVATIONS, MLP
from clbench.models.norm import norm_layer
from clbench.models.output import Output
from clbench.models.resnet import Block


def seeded(make):
    torch.manual_seed(0)
    return make()


# ---------------------------------------------------------------------------------------------- linear


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("rows", [1, FEWEST_ROWS - 1, FEWEST_ROWS, 500])
def test_a_layer_is_its_product_with_and_without_gradients(rows, relu):
    layer = seeded(lambda: nn.Linear(20, 7))
    x = torch.randn(rows, 20)
    expected = x.double() @ layer.weight.double().T + layer.bias.double()
    expected = expected.clamp(min=0) if relu else expected
    with torch.no_grad():
        fast = linear(layer, x, relu=relu)
    slow = linear(layer, x, relu=relu)
    assert torch.allclose(fast.double(), expected, atol=1e-5)
    assert torch.allclose(slow.double(), expected, atol=1e-5)
    assert slow.requires_grad
    assert not fast.requires_grad


def test_training_takes_torchs_own_path_bit_for_bit():
    layer = seeded(lambda: nn.Linear(64, 32))
    x = torch.randn(256, 64)
    assert torch.equal(linear(layer, x), layer(x))
    assert torch.equal(linear(layer, x, relu=True), torch.relu(layer(x)))


@pytest.mark.parametrize("case", ["few rows", "double", "hooked", "no kernel"])
def test_where_the_fast_kernel_does_not_fit_the_plain_layer_is_called(case, monkeypatch):
    layer = seeded(lambda: nn.Linear(8, 4))
    x = torch.randn(FEWEST_ROWS, 8)
    calls = []
    if case == "few rows":
        x = x[1:]
    elif case == "double":
        layer, x = layer.double(), x.double()
    elif case == "hooked":
        layer.register_forward_hook(lambda *_: calls.append(1))
    else:
        monkeypatch.setattr(linear_module, "fused_available", lambda: False)
    with torch.no_grad():
        assert torch.equal(linear(layer, x), F.linear(x, layer.weight, layer.bias))
    assert len(calls) == (case == "hooked")


def test_the_kernel_is_used_only_where_it_computes_what_it_should():
    assert fused_available() in (True, False)
    assert fused_available() is fused_available()


# ---------------------------------------------------------------------------------------------- layers


@pytest.mark.parametrize(("channels", "groups"), [(8, 8), (16, 8), (20, 4), (6, 2), (7, 1), (3, 1)])
def test_group_normalisation_has_as_many_of_eight_groups_as_divide_the_channels(channels, groups):
    layer = norm_layer("group", channels)
    assert layer.num_groups == groups
    x = torch.randn(2, channels, 3, 3)
    by_hand = x.reshape(2, groups, -1)
    by_hand = (by_hand - by_hand.mean(-1, keepdim=True)) / (by_hand.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    assert torch.allclose(layer(x), by_hand.reshape(x.shape), atol=1e-5)


def test_other_norms_are_those_of_torch_or_nothing():
    assert isinstance(norm_layer("batch", 5), nn.BatchNorm2d)
    assert isinstance(norm_layer("none", 5), nn.Identity)


def test_a_residual_block_is_two_convolutions_and_a_shortcut():
    block = seeded(lambda: Block(4, 4, stride=1, norm="none"))
    x = torch.randn(2, 4, 6, 6)
    y = F.conv2d(x, block.first.weight, padding=1).relu()
    assert torch.allclose(block(x), (F.conv2d(y, block.second.weight, padding=1) + x).relu(), atol=1e-6)
    assert isinstance(block.shortcut, nn.Identity)


def test_a_residual_block_whose_shape_changes_has_a_convolution_in_its_shortcut():
    block = seeded(lambda: Block(4, 8, stride=2, norm="none"))
    x = torch.randn(2, 4, 6, 6)
    y = F.conv2d(x, block.first.weight, stride=2, padding=1).relu()
    short = F.conv2d(x, block.shortcut[0].weight, stride=2)
    assert torch.allclose(block(x), (F.conv2d(y, block.second.weight, padding=1) + short).relu(), atol=1e-6)
    assert block(x).shape == (2, 8, 3, 3)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_an_mlp_is_its_layers_written_out_whatever_its_activation(activation):
    model = seeded(lambda: MLP((2, 3), 4, hidden=[5, 6], activation=activation, dropout=0.0))
    x = torch.randn(7, 2, 3)
    function = {"relu": F.relu, "tanh": torch.tanh, "elu": F.elu, "gelu": F.gelu}[activation]
    h = function(x.reshape(7, 6) @ model.layers[0].weight.T + model.layers[0].bias)
    h = function(h @ model.layers[1].weight.T + model.layers[1].bias)
    out = model(x)
    assert torch.allclose(out.features, h, atol=1e-6)
    assert torch.allclose(out.logits, h @ model.head.weight.T + model.head.bias, atol=1e-6)


def test_a_blank_model_answers_zero_whatever_it_is_shown():
    model = Blank(3)
    out = model(torch.randn(4, 1, 2, 2))
    assert torch.equal(out.logits, torch.zeros(4, 3))
    assert sum(p.numel() for p in model.parameters()) == 1


# ---------------------------------------------------------------------------------------------- operations


class Plain(nn.Module):
    """A convolution and a layer, whose operations are counted by hand."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(1, 2, 3, padding=1, bias=False)
        self.head = nn.Linear(2 * 4 * 4, 5)

    def forward(self, x):
        features = self.convolution(x).flatten(1)
        return Output(self.head(features), features)


def test_operations_of_a_row_are_those_of_products_and_convolutions():
    counted = per_row(Plain(), (1, 4, 4))
    convolution = 2 * (4 * 4) * 2 * (1 * 3 * 3)  # 2 operations x places x channels out x window
    head = 2 * 32 * 5
    assert counted.forward == convolution + head
    # backward: the gradient of both weights, and that of the head's input
    assert counted.backward == convolution + head + head


def test_weights_that_are_not_trained_have_no_gradient_to_count():
    model = Plain()
    model.convolution.requires_grad_(False)
    counted = per_row(model, (1, 4, 4))
    assert counted.backward == 2 * 32 * 5  # the head's weights alone


def test_counting_leaves_no_gradient_behind():
    model = Plain()
    per_row(model, (1, 4, 4))
    assert all(p.grad is None for p in model.parameters())


# ---------------------------------------------------------------------------------------------- flat weights


def two_layers():
    return seeded(lambda: nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1, bias=False)))


def test_all_weights_are_one_vector_in_the_order_of_the_module():
    model = two_layers()
    before = torch.cat([p.detach().reshape(-1).clone() for p in model.parameters()])
    flat = flatten(model)
    assert torch.equal(flat.w, before)
    assert flat.slices == {"0.weight": slice(0, 6), "0.bias": slice(6, 8), "1.weight": slice(8, 10)}
    assert torch.equal(flat.g, torch.zeros(10))


def test_a_change_of_the_vector_is_a_change_of_the_module_and_the_other_way_round():
    model = two_layers()
    flat = flatten(model)
    with torch.no_grad():
        flat.w[6:8] = torch.tensor([5.0, 7.0])
        model[1].weight.fill_(9.0)
    assert model[0].bias.tolist() == [5.0, 7.0]
    assert flat.w[8:].tolist() == [9.0, 9.0]


def test_gradients_of_a_loss_and_of_a_formula_in_the_vector_add_up():
    model = two_layers()
    flat = flatten(model)
    x = torch.randn(4, 3)
    model(x).sum().backward()
    of_loss = flat.g.clone()
    (3.0 * flat.w.square().sum()).backward()
    assert torch.allclose(flat.g, of_loss + 6.0 * flat.w.detach())
    assert torch.equal(flat.g[:6].view(2, 3), model[0].weight.grad)


def test_weights_that_are_not_trained_stay_where_they_are():
    model = two_layers()
    model[0].requires_grad_(False)
    flat = flatten(model)
    assert list(flat.slices) == ["1.weight"]
    with torch.no_grad():
        flat.w.zero_()
    assert model[0].weight.abs().sum() > 0


def test_per_parameter_tensors_are_laid_end_to_end():
    flat = flatten(two_layers())
    parts = (torch.ones(2, 3), torch.full((2,), 2.0), torch.tensor([[3.0, 4.0]]))
    assert flat.concatenate(parts).tolist() == [1.0] * 6 + [2.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize(
    ("sever", "name"),
    [
        (lambda m: m.zero_grad(set_to_none=True), "0.weight"),
        (lambda m: m[1].double(), "1.weight"),
        (lambda m: setattr(m[0], "bias", nn.Parameter(torch.zeros(2))), "0.bias"),
        (lambda m: setattr(m[0].bias, "data", torch.zeros(2)), "0.bias"),
        (lambda m: setattr(m[1].weight, "grad", torch.zeros(1, 2)), "1.weight"),
    ],
)
def test_a_parameter_that_left_the_vector_is_found_by_its_name(sever, name):
    model = two_layers()
    flat = flatten(model)
    flat.check(model)
    sever(model)
    with pytest.raises(Refused, match=f"'{name}'"):
        flat.check(model)


def test_a_copy_of_a_module_is_not_the_one_that_was_flattened():
    model = two_layers()
    flat = flatten(model)
    with pytest.raises(Refused, match="no longer shares"):
        flat.check(copy.deepcopy(model))


def test_gradients_may_live_elsewhere_where_only_weights_are_asked_for():
    model = two_layers()
    flat = flatten(model)
    model.zero_grad(set_to_none=True)
    flat.check(model, gradients=False)


@pytest.mark.parametrize("case", ["no parameters", "two types"])
def test_a_module_that_cannot_be_one_vector_is_refused(case):
    model = two_layers()
    if case == "two types":
        model[1].double()
    else:
        model = torch.nn.ReLU()
    with pytest.raises(Refused, match="one dtype on one device"):
        flatten(model)

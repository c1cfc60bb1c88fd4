"""Inputs of layers are what their weights multiply: by hand, by torch's unfold, and by the span of gradients."""

import itertools
from dataclasses import dataclass

import pytest
import torch
from support import everything, ready
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from clbench.models import make
from clbench.models.output import Output
from clbench.strategies.part import Part
from clbench.training.layer_inputs import as_rows, joined, recorded


def rows(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_inputs_of_a_two_layer_network_are_the_samples_and_its_hidden_units():
    model = make({"name": "mlp", "hidden": [2]}, (3,), 2)
    with torch.no_grad():
        model.layers[0].weight.copy_(torch.tensor([[1.0, 0, -1], [0, 2, 0]]))
        model.layers[0].bias.copy_(torch.tensor([0.0, -1]))
        x = torch.tensor([[1.0, 2, 3], [4, 0, 1]])
        with recorded(model) as seen:
            model(x)
    found = joined(seen)
    assert list(found) == ["layers.0", "head"]
    torch.testing.assert_close(found["layers.0"], x)
    torch.testing.assert_close(found["head"], torch.tensor([[0.0, 3], [3, 0]]))  # relu of (-2, 3) and (3, -1)


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"), [(3, 1, 1, 1), (3, 2, 0, 1), (2, 1, 1, 2), ((3, 1), (1, 2), (2, 0), 1)]
)
def test_patches_of_a_convolution_are_those_of_torchs_unfold(kernel, stride, padding, dilation):
    layer = nn.Conv2d(3, 4, kernel, stride, padding, dilation)
    x = rows(2, 3, 7, 6)
    expected = F.unfold(x, kernel, dilation, padding, stride).transpose(1, 2).flatten(0, 1)  # (n, I)
    assert torch.equal(as_rows(layer, x), expected)


CONVOLUTIONS = [
    nn.Conv1d(4, 6, 3, stride=2, padding=1, groups=2),
    nn.Conv2d(4, 6, 3, padding="same", dilation=2),
    nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect", groups=2),
    nn.Conv2d(4, 4, 3, padding=1, groups=4),
    nn.Conv3d(2, 3, (1, 2, 3), padding=(0, 1, 1)),
]


@pytest.mark.parametrize("layer", CONVOLUTIONS, ids=str)
def test_products_of_patches_and_weights_are_the_output_of_any_convolution(layer):
    x = rows(2, layer.in_channels, *(6 for _ in layer.kernel_size))
    patches = as_rows(layer, x).unflatten(0, (2, layer.groups, -1))  # (B, groups, positions, I)
    weight = layer.weight.flatten(1).unflatten(0, (layer.groups, -1))  # (groups, out / groups, I)
    out = torch.einsum("bgpi,goi->bgop", patches, weight).flatten(1, 2)
    ours = out + layer.bias[:, None]
    torch.testing.assert_close(ours, layer(x).flatten(2), rtol=1e-4, atol=1e-5)


def test_tokens_of_attention_are_rows_and_layers_with_the_same_input_read_the_same():
    model = make({"name": "vit", "patch": 4, "width": 8, "depth": 1, "attention_heads": 2}, (1, 8, 8), 5)
    with recorded(model) as seen, torch.no_grad():
        features = model(rows(3, 1, 8, 8)).features
    found = joined(seen)
    assert {name: tuple(r.shape) for name, r in found.items()} == {
        "embedding": (12, 16),
        **{f"blocks.0.attention.{name}": (12, 8) for name in ("query", "key", "value", "output")},
        "blocks.0.up": (12, 8),
        "blocks.0.down": (12, 16),
        "head": (3, 8),
    }
    assert torch.equal(found["blocks.0.attention.query"], found["blocks.0.attention.value"])
    torch.testing.assert_close(found["head"], features)


MODELS = [
    {"name": "mlp", "hidden": [30, 20]},
    {"name": "cnn", "width": 4, "hidden": 300},
    {"name": "resnet", "width": 8, "norm": "batch"},
    {"name": "vit", "patch": 2, "width": 16, "depth": 1, "attention_heads": 2},
]


@pytest.mark.parametrize("config", MODELS, ids=lambda config: config["name"])
def test_gradients_of_each_layer_lie_in_the_span_of_its_inputs(config):
    torch.manual_seed(0)
    model = make(config, (1, 8, 8), 4).double().eval()
    x = rows(2, 1, 8, 8).double()
    with recorded(model) as seen:
        F.cross_entropy(model(x).logits, torch.tensor([0, 3])).backward()
    found = joined(seen)
    layers = {name: m for name, m in model.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)}
    assert set(found) == set(layers)
    narrow = 0
    for name, layer in layers.items():
        gradient = layer.weight.grad.flatten(1)  # (out, I)
        _, values, right = torch.linalg.svd(found[name], full_matrices=False)
        basis = right[values > 1e-12 * values[0]]  # (r, I)
        narrow += len(basis) < gradient.shape[1]
        assert gradient.norm() > 0
        torch.testing.assert_close(gradient @ basis.T @ basis, gradient)
    assert narrow  # for some layer this says something


class Twice(nn.Module):
    """It calls a layer twice, changes its input in place, and passes it by name."""

    def __init__(self):
        super().__init__()
        self.middle, self.head = nn.Linear(2, 2, bias=False), nn.Linear(2, 2)

    def forward(self, x):
        x = x.clone()
        once = self.middle(input=x)
        x.zero_()
        features = self.middle(once)
        return Output(self.head(features), features)


def test_a_layer_that_is_called_twice_has_the_rows_of_both_calls_as_they_were_read():
    model, x = Twice(), rows(3, 2)
    with recorded(model) as seen, torch.no_grad():
        model(x)
    torch.testing.assert_close(joined(seen)["middle"], torch.cat([x, x @ model.middle.weight.T]).detach())


def test_layers_that_share_their_weights_share_a_name():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    with recorded(model) as seen:
        model(rows(3, 2))
    assert {name: [len(r) for r in found] for name, found in seen.items()} == {"0": [3, 3]}


CNN = "model={name: cnn, width: 4, hidden: 8, norm: batch}"


def test_learner_gives_the_inputs_under_present_or_other_weights_in_evaluation_mode():
    run = ready("naive", CNN)
    learner, index = run.learner, run.trainer.enter(run.stream[0]).index[:, :20]
    found = learner.inputs(index)
    assert list(found) == [*(f"convolutions.{i}" for i in range(4)), "hidden", "head"]
    model = learner.model.eval()
    torch.testing.assert_close(found["head"], model(learner.raw(index)).features.detach(), rtol=1e-4, atol=1e-5)
    zero = learner.inputs(index, w=torch.zeros_like(learner.w))
    assert torch.equal(zero["convolutions.0"], found["convolutions.0"])
    assert not zero["head"].any()


@dataclass(kw_only=True)
class Doubled(Part):
    """It answers with weights twice as large, in training too."""

    answers_in_training = True

    def answer(self, learner, x, task):
        doubled = {name: 2 * p for name, p in learner.model.named_parameters()}
        return functional_call(learner.model, doubled, (x,))


def test_inputs_are_those_under_the_weights_with_which_a_part_answers():
    bare = "model={name: mlp, hidden: [6, 5], bias: false}"
    plain, own = ready("naive", bare), ready("naive", bare, alter=lambda parts: [*parts, Doubled()])
    index = own.trainer.enter(own.stream[0]).index[:, :20]
    ours, theirs = own.learner.inputs(index), plain.learner.inputs(index)
    for name, factor in (("layers.0", 1), ("layers.1", 2), ("head", 4)):  # ReLU layers without biases
        torch.testing.assert_close(ours[name], factor * theirs[name])


def test_asking_for_inputs_leaves_no_trace_and_is_counted():
    run = ready("naive", CNN)
    learner = run.learner
    index = run.trainer.enter(run.stream[0]).index[:, :20]
    learner.model.train()
    before = {name: t.clone() for name, t in everything(run).items()}
    drawn, spent = torch.get_rng_state(), learner.cost.extra_forward_rows
    learner.inputs(index)
    assert all(torch.equal(t, before[name]) for name, t in everything(run).items())
    assert torch.equal(torch.get_rng_state(), drawn)
    assert learner.model.training
    assert not any(itertools.chain.from_iterable(m._forward_pre_hooks for m in learner.model.modules()))
    assert learner.cost.extra_forward_rows - spent == 20

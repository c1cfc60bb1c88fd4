"""Models return logits and features of the right shapes, have the published sizes, learn, and survive copying."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from clbench.core.compat import import_torchvision
from clbench.core.errors import Refused
from clbench.models import MODELS, canonical, completed, make
from clbench.models.output import Output
from clbench.models.wrap import wrap

IMAGE = (3, 8, 8)
OURS = [
    {"name": "mlp", "hidden": [12, 9]},
    {"name": "mlp", "hidden": []},
    {"name": "mlp", "hidden": [16], "activation": "tanh", "dropout": 0.5},
    {"name": "cnn", "width": 4, "hidden": 16},
    {"name": "cnn", "width": 4, "hidden": 16, "norm": "none"},
    {"name": "cnn", "width": 4, "hidden": 16, "norm": "none", "bias": False},
    {"name": "mlp", "hidden": [12, 9], "bias": False},
    {"name": "resnet", "width": 3},
    {"name": "resnet", "width": 4, "norm": "batch"},
    {"name": "resnet_cifar", "width": 4, "depth": 14},
    {"name": "resnet_cifar", "width": 4, "depth": 8, "norm": "group"},
]


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def rows(n: int, shape: tuple[int, ...] = IMAGE) -> torch.Tensor:
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("config", OURS, ids=str)
def test_head_reads_the_features_that_come_with_the_logits(config):
    model = make(config, IMAGE, 5)
    output = model(rows(4))
    assert isinstance(output, Output)
    assert output.logits.shape == (4, 5)
    assert output.features.shape == (4, model.head.in_features)
    torch.testing.assert_close(model.head(output.features), output.logits)


@pytest.mark.parametrize("config", OURS, ids=str)
def test_one_small_gradient_step_reduces_the_loss_by_rate_times_squared_gradient(config):
    torch.manual_seed(0)
    model = make({**config, **({"dropout": 0.0} if "dropout" in config else {})}, IMAGE, 5).double()
    x, y, rate = rows(20).double(), torch.arange(20) % 5, 1e-6
    before = F.cross_entropy(model(x).logits, y)
    before.backward()
    expected = rate * sum(parameter.grad.square().sum() for parameter in model.parameters())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= rate * parameter.grad
        decrease = before - F.cross_entropy(model(x).logits, y)
    assert expected > 0
    torch.testing.assert_close(decrease, expected, rtol=0.05, atol=0)


@pytest.mark.parametrize("config", OURS, ids=str)
def test_models_survive_pickling_and_deep_copies(config):
    model = make(config, IMAGE, 5).eval()
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        torch.testing.assert_close(other(rows(3)), model(rows(3)), rtol=0, atol=0)


def test_mlp_has_the_weights_of_the_reference_job():
    # (784 + 1) * 400 + (400 + 1) * 400 + (400 + 1) * 10
    assert count(make({"name": "mlp", "hidden": [400, 400]}, (1, 28, 28), 10)) == 314_000 + 160_400 + 4_010


def test_mlp_without_hidden_layers_is_linear():
    model = make({"name": "mlp", "hidden": []}, (4,), 3)
    x = rows(5, (4,))
    torch.testing.assert_close(model(x).logits, x @ model.head.weight.T + model.head.bias)
    torch.testing.assert_close(model(x).features, x)


def test_mlp_is_relu_of_products_written_out():
    model = make({"name": "mlp", "hidden": [7]}, (2, 3), 3)
    x = rows(5, (2, 3))
    (layer,) = model.layers
    features = (x.reshape(5, 6) @ layer.weight.T + layer.bias).clamp(min=0)
    torch.testing.assert_close(model(x), Output(features @ model.head.weight.T + model.head.bias, features))


def test_dropout_acts_while_training_only():
    model = make({"name": "mlp", "hidden": [200], "dropout": 0.5}, (8,), 3)
    x = rows(1, (8,))
    dropped = (model.train()(x).features == 0).sum() - (model.eval()(x).features == 0).sum()
    assert 20 < dropped < 80  # about half of the roughly 100 active units
    torch.testing.assert_close(model(x), model(x), rtol=0, atol=0)


def test_cnn_has_the_weights_worked_out_by_hand():
    convolutions = 9 * (3 * 32 + 32 * 32 + 32 * 64 + 64 * 64)
    norms = 2 * (32 + 32 + 64 + 64)
    dense = (64 * 8 * 8 + 1) * 128 + (128 + 1) * 10
    assert count(make({"name": "cnn"}, (3, 32, 32), 10)) == convolutions + norms + dense
    assert count(make({"name": "cnn", "norm": "none"}, (3, 32, 32), 10)) == convolutions + norms // 2 + dense


def test_models_without_bias_have_weight_matrices_and_norm_layers_alone():
    mlp = make({"name": "mlp", "hidden": [100, 100], "bias": False}, (784,), 10)
    assert count(mlp) == 784 * 100 + 100 * 100 + 100 * 10
    bare, batch = (make({"name": "cnn", "norm": n, "bias": False}, (3, 32, 32), 10) for n in ("none", "batch"))
    matrices = 9 * (3 * 32 + 32 * 32 + 32 * 64 + 64 * 64) + 64 * 8 * 8 * 128 + 128 * 10
    assert count(bare) == matrices
    assert count(batch) == matrices + 2 * (32 + 32 + 64 + 64)
    assert [name for name, _ in bare.named_parameters() if name.endswith("bias")] == []
    many = rows(70, (784,))  # enough for the kernel of evaluations
    with torch.no_grad():
        torch.testing.assert_close(mlp(many).logits[:3], mlp(many[:3]).logits)


def test_cnn_with_batch_norm_has_running_statistics_of_each_convolution():
    model = make({"name": "cnn", "width": 4, "norm": "batch"}, IMAGE, 5)
    x = 3 * rows(50) + 1
    model.train()(x)
    seen = model.convolutions[0](x)  # (B, 4, 8, 8)
    torch.testing.assert_close(model.norms[0].running_mean, 0.1 * seen.mean((0, 2, 3)).detach())
    assert [len(norm.running_mean) for norm in model.norms] == [4, 4, 8, 8]


def test_a_setting_added_to_a_model_stands_in_a_cell_only_where_it_differs_from_its_default():
    older = {"name": "mlp", "hidden": (3,), "activation": "relu", "dropout": 0.0}
    assert canonical({"name": "mlp", "hidden": [3]}) == older
    assert canonical({"name": "mlp", "hidden": [3], "bias": True}) == older
    assert canonical({"name": "mlp", "hidden": [3], "bias": False}) == {**older, "bias": False}
    assert completed({"name": "mlp", "hidden": [3]}) == {**older, "bias": True}
    assert canonical({"name": "cnn"}) == {"name": "cnn", "width": 32, "hidden": 128, "norm": "group"}


def test_settings_with_a_bias_that_is_no_yes_or_no_are_refused():
    with pytest.raises(Refused, match="bias = 'some' is not allowed"):
        canonical({"name": "cnn", "bias": "some"})


@pytest.mark.parametrize("norm", ["group", "batch"])
def test_slim_resnet_has_the_published_size(norm):
    model = make({"name": "resnet", "norm": norm}, (3, 32, 32), 10)
    # Stem, then per stage: first block, second block (3x3 convolutions), 1x1 shortcut where the width changes.
    weights = 9 * 3 * 20 + 9 * 4 * 20 * 20
    norms = 5 * 2 * 20
    for narrow, wide in ((20, 40), (40, 80), (80, 160)):
        weights += 9 * (narrow * wide + 3 * wide * wide) + narrow * wide
        norms += 5 * 2 * wide
    assert count(model) == weights + norms + 160 * 10 + 10 == 1_094_750
    assert model(torch.zeros(2, 3, 32, 32)).features.shape == (2, 160)


def test_slim_resnet_agrees_with_torchvisions_resnet_of_the_same_width():
    """torchvision's 18-layer network with its stem replaced is the same function of the same weights."""
    ours = make({"name": "resnet", "width": 64, "norm": "batch"}, (3, 16, 16), 10).eval()
    theirs = import_torchvision().models.resnet18(num_classes=10).eval()
    theirs.conv1, theirs.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    pairs = zip(ours.state_dict().values(), theirs.state_dict(), strict=True)
    theirs.load_state_dict({name: value for value, name in pairs})
    x = rows(2, (3, 16, 16))
    torch.testing.assert_close(ours(x).logits, theirs(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("depth", "weights"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7)])
def test_a_resnet_for_cifar_has_the_published_size(depth, weights):
    """Table 6 of He et al., in millions; n blocks in a stage, and no weights in a shortcut."""
    model, n = make({"name": "resnet_cifar", "depth": depth}, (3, 32, 32), 10), (depth - 2) // 6
    convolutions = 27 * 16 + 9 * (2 * n * 256 + 512 + (2 * n - 1) * 1024 + 2048 + (2 * n - 1) * 4096)
    assert count(model) == convolutions + 2 * (16 + 2 * n * (16 + 32 + 64)) + 650
    assert round(count(model) / 1e6, 2 if depth < 110 else 1) == weights
    assert model(torch.zeros(2, 3, 32, 32)).features.shape == (2, 64)


def test_a_resnet_for_cifar_is_its_formula():
    """A second network, of functions alone, with the same weights."""
    torch.manual_seed(0)
    model = make({"name": "resnet_cifar", "depth": 14, "width": 4}, (3, 9, 9), 5)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(), module.running_var.uniform_(0.5, 2), module.weight.data.normal_()
    state, x = model.eval().state_dict(), rows(3, (3, 9, 9))

    def convolved(x, name, stride=1):
        norm = [state[f"{name}_norm.{key}"] for key in ("running_mean", "running_var", "weight", "bias")]
        return F.batch_norm(F.conv2d(x, state[f"{name}.weight"], stride=stride, padding=1), *norm)

    y = convolved(x, "stem").relu()
    for block in range(6):
        stride = 2 if block in (2, 4) else 1
        inner = convolved(y, f"blocks.{block}.first", stride).relu()
        shortcut = F.avg_pool2d(y, 1, stride)  # every second pixel
        shortcut = torch.cat([shortcut, torch.zeros_like(shortcut)], dim=1) if stride == 2 else shortcut
        y = (convolved(inner, f"blocks.{block}.second") + shortcut).relu()
    expected = F.linear(y.mean((2, 3)), state["head.weight"], state["head.bias"])
    torch.testing.assert_close(model(x).logits, expected, rtol=1e-4, atol=1e-5)


def test_convolutions_of_a_resnet_for_cifar_are_drawn_from_the_published_distribution():
    torch.manual_seed(0)
    model = make({"name": "resnet_cifar", "width": 32}, (3, 32, 32), 10)
    for block in (1, 6, 14):
        weight = model.blocks[block].second.weight
        assert float(weight.detach().std()) == pytest.approx((2 / (9 * len(weight))) ** 0.5, rel=0.03)


@pytest.mark.parametrize("depth", [2, 18, 31])
def test_a_resnet_for_cifar_has_no_other_depths(depth):
    with pytest.raises(Refused, match=rf"depth = {depth} is not allowed: .* choose 8, 14, 20, 32"):
        make({"name": "resnet_cifar", "depth": depth}, (3, 32, 32), 10)


@pytest.mark.parametrize("config", [{"name": "cnn"}, {"name": "resnet"}, {"name": "resnet_cifar", "norm": "group"}])
def test_group_norm_makes_a_row_independent_of_its_batch_and_of_the_mode(config):
    model = make(config, IMAGE, 5)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    assert not list(model.buffers())
    x = rows(6)
    torch.testing.assert_close(model.train()(x).logits[:1], model.eval()(x[:1]).logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("architecture", ["resnet18", "mobilenet_v3_small"])
def test_torchvision_classifiers_take_grey_images_and_any_number_of_classes(architecture):
    model = make({"name": f"torchvision:{architecture}"}, (1, 32, 32), 7).eval()
    x = rows(2, (1, 32, 32))
    output = model(x)
    assert output.logits.shape == (2, 7)
    torch.testing.assert_close(model.head(output.features), output.logits)
    torch.testing.assert_close(pickle.loads(pickle.dumps(model))(x), output, rtol=0, atol=0)
    torch.testing.assert_close(copy.deepcopy(model)(x), output, rtol=0, atol=0)


def test_torchvision_weights_come_from_a_file_and_the_head_is_new(tmp_path):
    source = import_torchvision().models.resnet18().eval()
    torch.save(source.state_dict(), tmp_path / "weights.pt")
    config = {"name": "torchvision:resnet18", "weights": str(tmp_path / "weights.pt"), "resize": 40}
    model = make(config, (3, 16, 16), 4).eval()
    x = rows(2, (3, 16, 16))
    large = F.interpolate(x, size=(40, 40), mode="bilinear", align_corners=False)
    source.fc = nn.Identity()
    torch.testing.assert_close(model(x).features, source(large))
    (tmp_path / "weights.pt").write_bytes(b"not weights")
    with pytest.raises(Refused, match="does not hold weights of torchvision's resnet18"):
        make(config, (3, 16, 16), 4)


# --------------------------------------------------------------------------------------------------- wrap


class Odd(nn.Module):
    """Registers its last layer first, draws from the global generator and counts its calls in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(6, 3)
        self.first = nn.Linear(4, 6)
        self.gate = nn.Linear(6, 6)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        x = self.first(x) + torch.rand(6)
        return self.last(x * self.gate(x).sigmoid())


def test_wrapping_a_plain_module_keeps_its_logits_and_adds_the_features():
    plain = nn.Sequential(nn.Flatten(), nn.Linear(192, 10), nn.ReLU(), nn.Linear(10, 5))
    model = wrap(plain, 5, shape=IMAGE)
    output = model(rows(4))
    torch.testing.assert_close(output.logits, plain(rows(4)))
    torch.testing.assert_close(output.features, plain[:3](rows(4)))
    assert model.head is plain[3]
    assert count(model) == count(plain)
    copied = pickle.loads(pickle.dumps(model))
    assert copied.head is copied.module[3]
    torch.testing.assert_close(copied(rows(4)), output)
    output.features.sum().backward()
    assert plain[1].weight.grad.abs().sum() > 0


def test_wrapping_finds_the_layer_that_runs_last_and_touches_nothing():
    module = Odd()
    generator = torch.random.get_rng_state()
    model = wrap(module, 3, shape=(4,))
    assert model.head is module.last
    assert module.calls == 0
    assert module.training
    assert not module.gate._forward_pre_hooks
    assert torch.equal(generator, torch.random.get_rng_state())


def test_a_module_that_returns_output_is_passed_on_unchanged():
    model = make({"name": "mlp"}, IMAGE, 5)
    assert wrap(model, 5, shape=IMAGE) is model


class Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(x.reshape(len(x), -1, 4)).mean(1)


class Pair(nn.Linear):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # type: ignore[override]
        return super().forward(x), x


@pytest.mark.parametrize(
    ("module", "sentence"),
    [
        (nn.Linear(8, 4), r"returns shape \(1, 4\).*give its last layer 3 outputs"),
        (nn.Linear(9, 3), "does not accept samples of shape"),
        (Pair(8, 3), "returns a tuple"),
        (Tokens(), "has no torch.nn.Linear with 3 outputs"),
        (nn.Sequential(nn.Unflatten(1, (8, 1)), nn.Conv1d(8, 3, 1), nn.Flatten()), "has no torch.nn.Linear"),
        (nn.LazyLinear(3), "lazy layers"),
    ],
)
def test_modules_that_do_not_fit_are_refused_with_a_sentence(module, sentence):
    with pytest.raises(Refused, match=sentence):
        wrap(module, 3, shape=(8,))


# --------------------------------------------------------------------------------------------------- names and settings


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"hidden": [3]}, "a model needs name: NAME"),
        ({"name": "mpl"}, "did you mean 'mlp'"),
        ({"name": "mlp", "hiden": [3]}, "did you mean 'hidden'"),
        ({"name": "mlp", "hidden": [3, 0]}, "hidden = 0 is not a size"),
        ({"name": "mlp", "dropout": 1.0}, r"not a fraction in \[0, 1\)"),
        ({"name": "resnet", "norm": "layer"}, "norm"),
        ({"name": "resnet:18"}, "only torchvision:ARCHITECTURE"),
        ({"name": "torchvision"}, "needs a value for 'architecture'"),
        ({"name": "torchvision:resnet81"}, "did you mean 'resnet18'"),
        ({"name": "torchvision:squeezenet1_1"}, "does not end in a linear layer"),
        ({"name": "torchvision:vit_b_16"}, "does not accept samples of shape"),
        ({"name": "torchvision:resnet18", "weights": "none.pt"}, "neither a file nor published for resnet18"),
    ],
)
def test_impossible_models_are_refused_with_a_sentence(config, sentence):
    with pytest.raises(Refused, match=sentence):
        make(config, IMAGE, 5)


@pytest.mark.parametrize("name", ["cnn", "resnet", "torchvision:resnet18"])
def test_models_for_images_refuse_vectors(name):
    with pytest.raises(Refused, match="takes images"):
        make({"name": name}, (64,), 5)


def test_short_form_of_a_torchvision_model_has_the_same_canonical_form():
    long = canonical({"name": "torchvision", "architecture": "resnet18"})
    assert canonical({"name": "torchvision:resnet18"}) == long
    assert long == {"name": "torchvision", "architecture": "resnet18", "weights": None, "resize": None}


def test_listing_models_and_checking_their_settings_imports_no_torch():
    program = (
        "import sys; from clbench.models import MODELS, canonical\n"
        "assert canonical({'name': 'mlp', 'hidden': [3]})['hidden'] == (3,)\n"
        "[entry.load() for entry in MODELS]; print('torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "False"
    assert {entry.name for entry in MODELS} >= {"mlp", "cnn", "resnet", "torchvision"}

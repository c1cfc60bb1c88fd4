"""Models with pretrained weights by source: their identity, their inputs, what is trained, and what is refused."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import nn

from clbench import models
from clbench.core.compat import import_torchvision
from clbench.core.errors import Refused
from clbench.models import pretrained
from clbench.models.flat_weights import flatten
from clbench.models.pretrained.loaded import weights_checksum
from clbench.models.trained_weights import train_only
from clbench.running.plan import plan
from clbench.running.prepare import prepare

LITE = {"name": "pretrained", "source": "package:efficientnet-lite0"}


def lite(n_outputs: int = 4, **settings: object) -> nn.Module:
    torch.manual_seed(0)
    return models.make({**LITE, "resize": 32, **settings}, (3, 16, 16), n_outputs)


def test_the_network_inside_the_package_reads_its_own_normalisation_and_has_a_new_last_layer():
    model = lite().eval()
    x = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        features = model(x).features
        bare = model.module.model
        bare._fc = nn.Identity()
        told = bare((x - 127 / 255) / (128 / 255))
    assert features.shape == (2, 1280)
    torch.testing.assert_close(features, told)
    assert lite().head.weight.shape == (4, 1280)


def test_inputs_are_left_in_0_to_1_or_normalised_as_imagenet():
    x = torch.full((1, 3, 16, 16), 0.5)
    for name, first in (("unit", 0.5), ("imagenet", (0.5 - 0.485) / 0.229), ("own", (0.5 - 127 / 255) / (128 / 255))):
        assert lite(input=name).module.images(x)[0, 0, 0, 0].item() == pytest.approx(first, abs=1e-6)


def test_the_cell_holds_the_checksum_of_the_weights_and_another_file_makes_another_cell(tmp_path):
    state = nn.Sequential(nn.Linear(2, 3)).state_dict()
    key = "weights_checksum"
    assert len(models.canonical(LITE)[key]) == 32
    from clbench.models.image_input import ImageInput
    from clbench.models.transformer import Form, VisionTransformer

    form = Form(width=8, depth=1, heads=1, hidden=8, patch=4, grid=(2, 2))
    found = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        network = VisionTransformer(form, ImageInput((0.0,) * 3, (1.0,) * 3, None), 3)
        torch.save(network.state_dict(), tmp_path / "vit.pth")
        found.append(models.canonical({"name": "pretrained", "source": f"file:{tmp_path}/vit.pth"}))
    assert found[0][key] != found[1][key]
    with pytest.raises(Refused, match="are not those that this cell was planned with"):
        models.make(found[0], (3, 8, 8), 3)
    made = models.make({**found[1], "attention_heads": 1}, (3, 8, 8), 5)
    assert torch.equal(made.blocks[0].up.weight, network.blocks[0].up.weight)
    assert made.head.weight.shape == (5, 8)
    assert weights_checksum(state) != weights_checksum({name: t + 1 for name, t in state.items()})


def test_what_is_not_trained_is_no_part_of_the_weights_and_stays_in_evaluation_mode():
    model = lite(train="head")
    flat = flatten(model)
    assert flat.w.numel() == 1280 * 4 + 4
    model.train()
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    before = norms[0].running_mean.clone()
    model(torch.rand(4, 3, 16, 16))
    assert model.training
    assert not any(norm.training for norm in norms)
    assert torch.equal(norms[0].running_mean, before)


@pytest.mark.parametrize(
    ("what", "kept"),
    [("all", {"stem", "norm", "bias", "head"}), ("norm+bias+head", {"norm", "bias", "head"}), ("head", {"head"})],
)
def test_kinds_of_modules_are_trained(what, kept):
    model = models.make({"name": "vit", "depth": 2, "width": 8, "attention_heads": 2}, (1, 8, 8), 3)
    train_only(model, what)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    norms = {f"{n}.{p}" for n, m in model.named_modules() if isinstance(m, nn.LayerNorm) for p in ("weight", "bias")}
    biases = {name for name, _ in model.named_parameters() if name.endswith(".bias")}
    expected = {"head.weight", "head.bias"}
    expected |= norms if "norm" in kept else set()
    expected |= biases if "bias" in kept else set()
    assert trained == (set(dict(model.named_parameters())) if what == "all" else expected)


def test_without_trained_weights_the_vectors_are_empty():
    assert flatten(lite(train="none")).w.numel() == 0


def test_a_strategy_that_trains_says_that_nothing_is_trained():
    with pytest.raises(Refused, match="no weights of this model are trained"):
        run_with("none")


def run_with(what: str):
    """A finished run of naive whose model trains some modules."""
    small = {
        "name": "small-pretrained",
        "stream": {"scenario": "split", "dataset": {"name": "digits", "train_rows": 60}, "experiences": 2},
        "model": {**LITE, "resize": 32, "train": what},
        "training": {"batch_size": 10, "lr": 0.01},
        "evaluation": {"schedule": "ends", "rows_per_task": 10},
    }
    run = prepare(plan(small, strategies=["naive"], seeds=1).cells[0])
    run.train()
    return run


def test_a_head_is_trained_and_the_body_keeps_its_bits():
    run = run_with("head")
    fresh = lite(10)
    trained_model = run.learner.model
    for (name, new), (_, old) in zip(trained_model.state_dict().items(), fresh.state_dict().items(), strict=True):
        assert torch.equal(new, old) == ("_fc" not in name), name


def test_a_network_of_the_users_function_gets_a_new_last_layer(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import torch\nfrom torch import nn\n\n\ndef net():\n    torch.manual_seed(3)\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(48, 6), nn.ReLU(), nn.Linear(6, 99))\n\n\n"
        "def text():\n    return 'x'\n"
    )
    model = models.make({"name": "pretrained", "source": f"{tmp_path}/mine.py:net"}, (3, 4, 4), 5)
    assert model(torch.rand(2, 3, 4, 4)).logits.shape == (2, 5)
    assert model.head.in_features == 6
    with pytest.raises(Refused, match=r"returns a str; return a torch\.nn\.Module"):
        models.canonical({"name": "pretrained", "source": f"{tmp_path}/mine.py:text"})


def test_a_classifier_in_a_file_needs_the_name_of_its_architecture(tmp_path):
    tv = import_torchvision()
    torch.save(tv.models.get_model("squeezenet1_1", weights=None).state_dict(), tmp_path / "no.pth")
    torch.save(tv.models.get_model("shufflenet_v2_x0_5", weights=None).state_dict(), tmp_path / "net.pth")
    file = {"name": "pretrained", "source": f"file:{tmp_path}/net.pth"}
    with pytest.raises(Refused, match="say of which architecture it is a state dict"):
        models.make(file, (3, 32, 32), 3)
    model = models.make({**file, "architecture": "shufflenet_v2_x0_5"}, (3, 32, 32), 3)
    assert model.head.weight.shape == (3, 1024)
    with pytest.raises(Refused, match="does not hold weights of torchvision's shufflenet_v2_x0_5"):
        models.make({**file, "source": f"file:{tmp_path}/no.pth", "architecture": "shufflenet_v2_x0_5"}, (3, 32, 32), 3)


def test_published_weights_are_identified_by_their_file(tmp_path, monkeypatch):
    tv = import_torchvision()
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setenv("CLBENCH_OFFLINE", "1")
    net = {"name": "pretrained", "source": "torchvision:shufflenet_v2_x0_5"}
    with pytest.raises(
        Refused, match=r"are not at .*shufflenetv2_x0\.5-f707e7126e\.pth, and downloads are switched off"
    ):
        models.canonical(net)
    (tmp_path / "checkpoints").mkdir()
    state = tv.models.get_model("shufflenet_v2_x0_5", weights=None).state_dict()
    torch.save(state, tmp_path / "checkpoints" / "shufflenetv2_x0.5-f707e7126e.pth")
    assert len(models.canonical(net)["weights_checksum"]) == 32


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("resnet50", "is not of a known form; write one of file:"),
        ("torchvison:resnet50", "is not of a known form"),
        ("torchvision:resnet5", "torchvision has no classifier 'resnet5'"),
        ("torchvision:resnet18/V9", "neither a file nor published for resnet18"),
        ("package:efficientnet-lite1", "package:efficientnet-lite1 is not known; did you mean 'efficientnet-lite0'"),
        ("file:/no/such.pth", "file:/no/such.pth is not there"),
        ("timm:vit_base_patch16_225", "timm has no model 'vit_base_patch16_225'"),
        ("timm:vit_tiny_patch16_224", "downloads are switched off by CLBENCH_OFFLINE"),
        ("open_clip:ViT-B-1/openai", "open_clip has no model 'ViT-B-1'"),
        ("open_clip:ViT-B-16/nobody", "open_clip:ViT-B-16 has no weights 'nobody'; known: openai"),
        ("open_clip:ViT-B-16/openai", "downloads are switched off by CLBENCH_OFFLINE"),
    ],
)
def test_a_source_that_cannot_be_used_is_refused_before_training(source, sentence, monkeypatch, tmp_path):
    monkeypatch.setenv("CLBENCH_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(Refused, match=sentence):
        models.canonical({"name": "pretrained", "source": source})


@pytest.mark.parametrize(
    ("source", "module", "line"),
    [
        ("timm:vit_tiny_patch16_224", "from_timm", r"pip install 'clbench\[timm\]'"),
        ("open_clip:ViT-B-16/openai", "from_open_clip", r"pip install 'clbench\[open_clip\]'"),
        ("package:efficientnet-lite0", "from_package", r"pip install 'clbench\[pretrained\]'"),
    ],
)
def test_a_missing_extra_is_named_with_the_line_that_installs_it(source, module, line, monkeypatch):
    pretrained.scheme_of(source)
    loaded = sys.modules[f"clbench.models.pretrained.{module}"]
    monkeypatch.setattr(loaded, "find_spec", lambda _: None)
    with pytest.raises(Refused, match=line):
        models.canonical({"name": "pretrained", "source": source})


def test_a_file_that_is_no_state_dict_is_named(tmp_path):
    (tmp_path / "a.pth").write_text("hello")
    torch.save([1, 2], tmp_path / "b.pth")
    for name, sentence in (("a", "is not a readable state dict"), ("b", "does not hold a state dict")):
        with pytest.raises(Refused, match=sentence):
            models.make({"name": "pretrained", "source": f"file:{tmp_path}/{name}.pth"}, (3, 8, 8), 2)


def test_modules_that_the_model_lacks_are_named():
    with pytest.raises(Refused, match="'attention' names no modules of this model"):
        lite(train="attention")

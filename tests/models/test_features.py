"""Rows replaced by features of a frozen, pretrained model: right, computed once, and part of a cell's identity."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML

import clbench
import clbench.running.plan as plan_module
from clbench import data
from clbench.core.compat import import_torchvision
from clbench.core.errors import Refused
from clbench.models import extractor, frozen_features
from clbench.running.plan import make_stream, plan


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images 3x16x16 of 4 classes, the same in grey, and weights of two architectures, made at random."""
    folder = tmp_path_factory.mktemp("pretrained")
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 256, (4, 16, 16, 3))

    def images(n):
        y = np.arange(n) % 4
        return (patterns[y] + rng.normal(0, 30, (n, 16, 16, 3))).clip(0, 255).astype(np.uint8), y

    (x, y), (x_test, y_test) = images(80), images(40)
    np.savez(folder / "images.npz", x_train=x, y_train=y, x_test=x_test, y_test=y_test)
    np.savez(folder / "grey.npz", x_train=x[..., 0], y_train=y, x_test=x_test[..., 0], y_test=y_test)
    np.savez(folder / "vectors.npz", x_train=x[:, 0, 0], y_train=y, x_test=x_test[:, 0, 0], y_test=y_test)
    models = import_torchvision().models
    for name, seed in (("resnet18", 1), ("squeezenet1_1", 2)):
        torch.manual_seed(seed)
        torch.save(getattr(models, name)().state_dict(), folder / f"{name}.pt")
    return folder


def load(folder, name="images", architecture="resnet18", **settings):
    options = {key: settings.pop(key) for key in ("normalize", "validation", "train_rows") if key in settings}
    chosen = {"architecture": architecture, "weights": str(folder / f"{architecture}.pt"), **settings}
    return frozen_features.load(f"npz:{folder / name}.npz", features=chosen, **options)


def theirs(folder, x, resize=None):
    """The same by hand: torchvision's network, its last layer left out."""
    model = import_torchvision().models.resnet18().eval()
    model.load_state_dict(torch.load(folder / "resnet18.pt", weights_only=True))
    model.fc = torch.nn.Identity()
    x = torch.from_numpy(np.array(x)).float() / 255
    x = (x - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    if resize:
        x = torch.nn.functional.interpolate(x, size=(resize, resize), mode="bilinear", align_corners=False)
    with torch.no_grad():
        return model(x).numpy()


@pytest.mark.parametrize("resize", [None, 40])
def test_features_are_what_the_last_layer_reads_of_images_normalised_as_imagenets(folder, resize):
    made, images = load(folder, resize=resize), data.load(f"npz:{folder / 'images'}.npz")
    for ours, rows in ((made.train, images.train), (made.test, images.test)):
        np.testing.assert_allclose(ours.x, theirs(folder, rows.x, resize), rtol=1e-4, atol=1e-5)
        assert ours.x.dtype == np.float32
        assert np.array_equal(ours.y, rows.y)
    assert made.shape == (512,)
    assert made.scale == 1.0
    assert made.class_names == images.class_names
    assert made.checksum != images.checksum


def test_grey_images_are_shown_in_three_equal_channels(folder):
    made, images = load(folder, "grey"), data.load(f"npz:{folder / 'grey'}.npz")
    expected = theirs(folder, np.repeat(images.train.x, 3, axis=1))
    np.testing.assert_allclose(made.train.x, expected, rtol=1e-4, atol=1e-5)


def test_a_layer_in_the_middle_is_averaged_over_places(folder):
    made = load(folder, layer="layer2")
    model = import_torchvision().models.resnet18().eval()
    model.load_state_dict(torch.load(folder / "resnet18.pt", weights_only=True))
    images = torch.from_numpy(np.array(data.load(f"npz:{folder / 'images'}.npz").test.x)).float() / 255
    mean, std = (torch.tensor(v)[:, None, None] for v in (extractor.MEAN, extractor.STD))
    with torch.no_grad():
        x = model.maxpool(model.relu(model.bn1(model.conv1((images - mean) / std))))
        expected = model.layer2(model.layer1(x)).mean(dim=(2, 3))
    assert made.shape == (128,)
    np.testing.assert_allclose(made.test.x, expected.numpy(), rtol=1e-4, atol=1e-5)


def test_an_architecture_without_a_last_linear_layer_gives_features_of_a_named_layer(folder):
    with pytest.raises(Refused, match="does not end in a linear layer"):
        load(folder, architecture="squeezenet1_1", resize=32)
    assert load(folder, architecture="squeezenet1_1", resize=32, layer="features").shape == (512,)


def test_they_are_computed_once_and_mapped_from_then_on(folder, monkeypatch):
    first = load(folder, resize=20)
    calls = []
    monkeypatch.setattr(extractor, "extract", lambda *a, **k: calls.append(k) or np.zeros((len(a[0]), 2), np.float32))
    again = load(folder, resize=20)
    assert calls == []
    assert again.checksum == first.checksum
    assert isinstance(again.train.x.base, np.memmap)
    load(folder, resize=21)
    load(folder, "grey", resize=20)
    load(folder, resize=20, layer="layer3")
    assert [call["settings"]["resize"] for call in calls] == [21, 21, 20, 20, 20, 20]  # training and test rows each


def test_other_weights_under_the_same_name_are_another_cell_and_other_features(folder, tmp_path):
    weights = tmp_path / "weights.pt"
    benchmark = {
        "name": "b",
        "stream": {
            "scenario": "split",
            "experiences": 2,
            "dataset": {
                "name": f"npz:{folder / 'images'}.npz",
                "features": {"architecture": "resnet18", "weights": str(weights)},
            },
        },
        "model": {"name": "mlp", "hidden": []},
        "strategies": ["naive"],
    }
    seen = []
    for seed in (5, 6):
        torch.manual_seed(seed)
        torch.save(import_torchvision().models.resnet18().state_dict(), weights)
        cell = plan(benchmark, seeds=1).cells[0]
        seen.append((cell.key, make_stream(cell.config["stream"], 0).fingerprint, cell))
    assert len({key for key, _, _ in seen}) == 2
    assert len({fingerprint for _, fingerprint, _ in seen}) == 2
    plan_module._dataset.cache_clear()  # as in another process
    with pytest.raises(Refused, match="have changed since this cell was planned"):
        make_stream(seen[0][2].config["stream"], 0)


def test_cells_without_features_do_not_mention_them():
    assert "features" not in plan("split-digits", seeds=1).cells[0].config["stream"]["dataset"]
    explicit = plan("split-digits", seeds=1, overrides=["stream.dataset.features=null"])
    assert explicit.cells[0].key == plan("split-digits", seeds=1).cells[0].key


def test_what_a_benchmark_asks_of_a_data_set_is_asked_of_the_features(folder):
    made = load(folder, normalize="mean-std", validation=0.2, train_rows=40)
    assert made.train.x.shape == (40, 512)
    x = np.asarray(made.train.x, dtype=np.float64)
    assert made.mean == pytest.approx((x.mean(),))
    assert made.std == pytest.approx((x.std(),))


def benchmark(folder, scenario, **stream):
    chosen = {"architecture": "resnet18", "weights": str(folder / "resnet18.pt")}
    return {
        "name": "frozen",
        "stream": {
            "scenario": scenario,
            **stream,
            "dataset": {"name": f"npz:{folder / 'images'}.npz", "features": chosen, "normalize": "mean-std"},
        },
        "model": {"name": "mlp", "hidden": []},
        "training": {"lr": 0.01, "batch_size": 8, "epochs": 2},
        "memory": {"size": 16},
        "evaluation": {"every": 0},
    }


def test_a_linear_head_on_frozen_features_learns_a_class_incremental_stream(folder):
    records = clbench.run(benchmark(folder, "split", experiences=2), strategies="naive, er", seeds=1)
    naive, er = (record.trace.score[-1].mean() for record in records)
    assert [record.status for record in records] == ["done", "done"]
    assert er > 0.9 > 0.75 > naive  # the four patterns are far apart; naive keeps the last two of them


def test_scenarios_that_need_only_rows_take_features_and_those_that_turn_images_refuse_them(folder):
    (record,) = clbench.run(benchmark(folder, "permuted", experiences=2), strategies="naive", seeds=1)
    assert record.status == "done"
    with pytest.raises(Refused, match=r"has samples of shape \(512,\), which cannot be rotated"):
        clbench.run(benchmark(folder, "rotated"), strategies="naive", seeds=1)
    with pytest.raises(Refused, match=r"has samples of shape \(512,\), which cannot be corrupted"):
        clbench.run(benchmark(folder, "corrupted"), strategies="naive", seeds=1)
    augmented = {**benchmark(folder, "split", experiences=2), "training": {"augment": "crop-flip"}}
    (record,) = clbench.run(augmented, strategies="naive", seeds=1)
    assert record.status == "failed"
    assert "are not images (C, H, W)" in record.reason


def test_joined_data_sets_keep_their_origins(folder):
    chosen = {"architecture": "resnet18", "weights": str(folder / "resnet18.pt")}
    name = f"npz:{folder / 'images'}.npz+npz:{folder / 'grey'}.npz"
    made = frozen_features.load(name, features=chosen)
    assert made.train.x.shape == (160, 512)
    assert [origin.train for origin in made.origins] == [(0, 80), (80, 160)]


def test_the_benchmark_on_the_page_is_one(monkeypatch):
    page = (Path(__file__).parents[2] / "docs" / "pretrained.md").read_text(encoding="utf-8")
    blocks = [YAML(typ="safe").load(block) for block in re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)]
    first, frozen, tuned = blocks
    assert plan(first, seeds=1).cells[0].config["stream"]["dataset"]["features"]["input"] == "own"
    planned = plan(frozen, seeds=1)
    assert [cell.label for cell in planned.cells] == ["naive", "er", "joint"]
    chosen = {"architecture": "resnet18", "weights": "DEFAULT", "resize": 224, "layer": None}
    assert planned.cells[0].config["stream"]["dataset"]["features"] == chosen
    tuned["model"]["source"] = "package:efficientnet-lite0"  # the checksum of torchvision's would need a download
    assert plan({**frozen, **tuned}, seeds=1).cells[0].config["model"]["train"] == "norm+bias+head"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"architecture": "resnet81"}, "no classifier 'resnet81'; did you mean 'resnet18'"),
        ({"layer": "layer9"}, "has no module 'layer9'; did you mean"),
        ({"resize": 0}, "resize = 0 is not allowed"),
        ({"weight": "x"}, "no parameter 'weight'; did you mean 'weights'"),
        (
            {"weights": "squeezenet1_1.pt"},
            r"does not hold weights of torchvision's resnet18 \(it lacks conv1\.weight\)",
        ),
        ({"weights": "nowhere.pt"}, "neither a file nor published for resnet18; known: DEFAULT, IMAGENET1K_V1"),
        ({"weights": "DEFAULT"}, "downloads are switched off by CLBENCH_OFFLINE; put the file there"),
        (
            {"architecture": "vit_b_16", "weights": "DEFAULT"},
            "DEFAULT of torchvision's vit_b_16 are not at",
        ),
    ],
)
def test_what_cannot_be_had_is_refused_with_a_sentence(folder, change, sentence, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    chosen = {"architecture": "resnet18", "weights": "resnet18.pt", **change}
    if chosen["weights"].startswith(("resnet18", "squeeze")):
        chosen["weights"] = str(folder / chosen["weights"])
    with pytest.raises(Refused, match=sentence):
        frozen_features.load(f"npz:{folder / 'images'}.npz", features=chosen)


def test_weights_of_another_width_or_that_are_not_finite_are_refused_with_the_name_of_the_layer(folder, tmp_path):
    state = torch.load(folder / "resnet18.pt", weights_only=True)
    for change, sentence in (
        ({"fc.bias": torch.zeros(10)}, r"fc\.bias has shape \(10,\) instead of \(1000,\)"),
        ({"extra.weight": torch.zeros(1)}, r"it has extra\.weight, which this architecture lacks"),
        ({"conv1.weight": state["conv1.weight"] / 0}, r"conv1\.weight holds values that are not finite"),
    ):
        torch.save({**state, **change}, tmp_path / "other.pt")
        with pytest.raises(Refused, match=sentence):
            load(folder, weights=str(tmp_path / "other.pt"))


def test_rows_that_are_not_images_and_images_that_are_too_small_are_refused(folder):
    with pytest.raises(Refused, match="a pretrained model takes images of 1 or 3 channels"):
        load(folder, "vectors")
    with pytest.raises(Refused, match=r"does not take images of shape .*set resize"):
        load(folder, architecture="squeezenet1_1", layer="features", resize=1)
    with pytest.raises(Refused, match="features = 'resnet18' is not allowed; write"):
        frozen_features.canonical("resnet18")


def test_published_weights_of_a_model_too_are_not_fetched_offline(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    from clbench import models

    with pytest.raises(Refused, match="downloads are switched off"):
        models.make({"name": "torchvision:resnet18", "weights": "DEFAULT"}, (3, 32, 32), 4)


def test_long_extraction_says_how_far_it_is(folder, monkeypatch, capsys):
    monkeypatch.setattr(extractor, "QUIET_SECONDS", -1.0)
    load(folder, resize=17)
    told = capsys.readouterr().err
    assert "training samples by resnet18: 64 of 80 images, about" in told


CACHED = """
import sys
from clbench.models import frozen_features as features
made = features.load({name!r}, features={{"architecture": "resnet18", "weights": {weights!r}}})
print(made.shape, sorted({{"torch", "torchvision"}} & set(sys.modules)))
"""


def test_no_torch_is_imported_where_features_are_in_the_cache(folder):
    load(folder)
    code = CACHED.format(name=f"npz:{folder / 'images'}.npz", weights=str(folder / "resnet18.pt"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(512,) []"


# ---------------------------------------------------------------------------------------- by source

LITE = {"source": "package:efficientnet-lite0", "resize": 32}


def of_source(folder, name="images", **settings):
    return frozen_features.load(f"npz:{folder / name}.npz", features={**LITE, **settings})


def test_features_of_a_source_are_those_of_the_model_of_the_same_source(folder):
    from clbench import models

    found = of_source(folder)
    model = models.make({"name": "pretrained", **LITE}, (3, 16, 16), 3).eval()
    images = np.load(folder / "images.npz")["x_train"].transpose(0, 3, 1, 2)
    with torch.no_grad():
        told = model(torch.from_numpy(images.copy()).float() / 255).features.numpy()
    assert found.shape == (1280,)
    np.testing.assert_allclose(found.train.x, told, atol=1e-4)


def test_the_checksum_of_a_sources_weights_is_in_the_cell_and_its_own_normalisation_is_the_default(folder):
    chosen = frozen_features.canonical(LITE)
    assert set(chosen) == {"source", "input", "resize", "layer", "architecture", "attention_heads", "checksum"}
    assert chosen["input"] == "own"
    assert not np.allclose(of_source(folder).train.x[0], of_source(folder, input="unit").train.x[0])
    with pytest.raises(Refused, match="package:efficientnet-lite0 have changed since this cell was planned"):
        frozen_features.load(f"npz:{folder / 'images'}.npz", features={**LITE, "checksum": "0"})


def test_a_block_of_a_transformer_gives_the_mean_of_its_patches_without_the_class_token(folder, tmp_path):
    from clbench import models
    from clbench.models.image_input import ImageInput
    from clbench.models.transformer import Form, VisionTransformer

    torch.manual_seed(0)
    form = Form(width=8, depth=3, heads=2, hidden=8, patch=4, grid=(4, 4))
    network = VisionTransformer(form, ImageInput((0.0,) * 3, (1.0,) * 3, None), 1)
    network.class_token.data.fill_(5.0)
    torch.save(network.state_dict(), tmp_path / "vit.pth")
    source = {"source": f"file:{tmp_path}/vit.pth", "attention_heads": 2, "input": "unit"}
    found = frozen_features.load(f"npz:{folder / 'images'}.npz", features={**source, "layer": "blocks.1"})
    model = models.make({"name": "pretrained", **source}, (3, 16, 16), 1).eval()
    images = torch.from_numpy(np.load(folder / "images.npz")["x_train"].transpose(0, 3, 1, 2).copy()).float() / 255
    with torch.no_grad():
        told = model.blocks[1](model.blocks[0](model.tokens(images)))[:, 1:].mean(1)
    np.testing.assert_allclose(found.train.x, told.numpy(), atol=1e-5)
    with pytest.raises(Refused, match=r"has no module 'blocks\.7'; did you mean"):
        frozen_features.load(f"npz:{folder / 'images'}.npz", features={**source, "layer": "blocks.7"})


def test_an_extraction_that_was_killed_continues_with_whole_forward_passes(tmp_path, monkeypatch):
    from clbench.data import row_files
    from clbench.models import extractor

    class Killed(BaseException):
        pass

    class Means(torch.nn.Module):
        """Features that depend on the batch, as the last bits of sums may."""

        def __init__(self, **_):
            super().__init__()

        def forward(self, x):
            passes.append(len(x))
            if len(passes) == dies_at:
                raise Killed
            return x.flatten(1) + len(x)

    monkeypatch.setattr(extractor, "Extractor", Means)
    monkeypatch.setattr(row_files, "MARK_BYTES", 1)
    x = np.random.default_rng(0).integers(0, 256, (200, 1, 2, 2), dtype=np.uint8)
    settings = {"architecture": "means"}
    passes, dies_at = [], 0
    whole = extractor.extract(x, 1 / 255, settings=settings, what="x")
    passes, dies_at = [], 3
    with pytest.raises(Killed), row_files.desk_for(tmp_path / "entry"):
        extractor.extract(x, 1 / 255, settings=settings, what="x")
    passes, dies_at = [], 0
    with row_files.desk_for(tmp_path / "entry") as desk:
        rest = extractor.extract(x, 1 / 255, settings=settings, what="x")
        assert desk.file_of(rest) is not None
        assert passes == [64, 8]
        assert np.array_equal(rest, whole)

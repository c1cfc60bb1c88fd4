"""A user's network is called by position or by the names of its parameters, and never with a wrong guess."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import nn

import clbench
from clbench.core.errors import Refused
from clbench.core.public_names import public
from clbench.models import canonical, make
from clbench.models.user_signature import arguments, filled, makes_network

IMAGE, VECTOR = (3, 8, 8), (5,)


def by_position(a, b, *, width=4): ...
def usual(shape, n_outputs, depth=2): ...
def images(in_channels=1, num_classes=10, width=8): ...
def values(in_features, hidden, out_features): ...
def side(image_size, in_chans, num_classes): ...
def either(input_size, num_classes): ...
def either_of_images(in_channels, input_size, num_classes): ...
def two_outputs(in_dim, out_dim=64, num_classes=10): ...


@pytest.mark.parametrize(
    ("target", "shape", "positional", "named"),
    [
        (by_position, VECTOR, (VECTOR, 7), {}),
        (usual, IMAGE, (), {"shape": IMAGE, "n_outputs": 7}),
        (images, IMAGE, (), {"in_channels": 3, "num_classes": 7}),
        (side, IMAGE, (), {"image_size": 8, "in_chans": 3, "num_classes": 7}),
        (either, VECTOR, (), {"input_size": 5, "num_classes": 7}),
        (either_of_images, IMAGE, (), {"in_channels": 3, "input_size": 8, "num_classes": 7}),
        (two_outputs, IMAGE, (), {"in_dim": 192, "num_classes": 7}),
        (functools.partial(values, hidden=3), VECTOR, (), {"in_features": 5, "out_features": 7}),
    ],
)
def test_each_form_is_given_what_it_asks_for(target, shape, positional, named):
    assert arguments(target, shape, 7, {}) == (positional, named)


@pytest.mark.parametrize(
    ("target", "shape", "sentence"),
    [
        (
            images,
            VECTOR,
            "in_channels has no clear value for vectors of 5 values; set in_channels in the model",
        ),
        (either, IMAGE, r"input_size has no clear value for images of shape \(3, 8, 8\)"),
        (side, (3, 8, 6), "image_size has no clear value"),
        (lambda a: None, VECTOR, r"cannot be called with the shape of a sample \(5,\) and 7 outputs; write it as NAME"),
        (lambda hidden, depth, width: None, VECTOR, r"NAME\(in_channels, num_classes\)"),
    ],
)
def test_what_has_no_clear_value_is_refused_with_both_forms(target, shape, sentence):
    with pytest.raises(Refused, match=sentence):
        arguments(target, shape, 7, {})


def test_a_value_that_the_user_sets_replaces_the_one_that_would_be_given():
    assert arguments(either, IMAGE, 7, {"input_size": 192}) == ((), {"input_size": 192, "num_classes": 7})


def test_classes_of_modules_and_functions_with_outputs_make_networks():
    assert makes_network(nn.Linear)
    assert makes_network(images)
    assert not makes_network(by_position)
    assert not makes_network(dict)
    assert filled(nn.Linear) == ("out_features", "in_features")


FILE = '''
from torch import nn


class ConvNet(nn.Module):
    """Mine."""

    def __init__(self, in_channels=3, num_classes=10, width: int = 4, act=nn.ReLU):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(in_channels, width, 3), act(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.fc = nn.Linear(4 * width, num_classes)

    def forward(self, x):
        return self.fc(self.body(x))


def flat(shape, n_outputs, *, hidden: int = 4):
    n = 1
    for side in shape:
        n *= side
    return nn.Sequential(nn.Flatten(), nn.Linear(n, hidden), nn.ReLU(), nn.Linear(hidden, n_outputs))


ready = nn.Linear(2, 2)
'''


@pytest.fixture
def file(tmp_path):
    (tmp_path / "nets.py").write_text(FILE)
    return str(tmp_path / "nets.py")


def test_a_class_of_a_file_is_made_with_its_settings_and_its_source_is_in_the_cell(file):
    config = canonical({"name": f"{file}:ConvNet", "width": 6})
    assert {name: value for name, value in config.items() if name not in ("name", "source")} == {"width": 6}
    model = make(config, (1, 8, 8), 5)
    assert model(torch.zeros(2, 1, 8, 8)).logits.shape == (2, 5)
    assert sum(p.numel() for p in model.parameters()) == 9 * 6 + 6 + 4 * 6 * 5 + 5
    assert config["source"]


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ({"name": "ConvNet", "widt": 6}, "model 'nets.py:ConvNet' has no parameter 'widt'; did you mean 'width'"),
        ({"name": "ConvNet", "width": "wide"}, "width = 'wide' is not allowed"),
        ({"name": "ConvNet", "num_classes": 3}, "num_classes is the number of outputs, which the stream sets"),
        ({"name": "ConvNet", "act": "relu"}, "has no parameter 'act'"),
        ({"name": "ready"}, "is a network, whose initial weights would differ in every process"),
        ({"name": "Convnet"}, "did you mean 'ConvNet'"),
    ],
)
def test_a_mistake_in_the_section_is_refused_by_the_name_of_the_file(file, section, sentence):
    with pytest.raises(Refused, match=sentence):
        canonical({**section, "name": f"{file}:{section['name']}"})


def test_a_benchmark_with_a_network_of_a_file_runs_in_a_worker_and_notices_an_edit(file, tmp_path):
    settings = {"model": {"name": f"{file}:flat", "hidden": 8}, "training.epochs": 1, "evaluation.every": 0}

    def run():
        return clbench.run(
            "split-digits", strategies="naive", seeds=1, overrides=settings, out=tmp_path / "r", isolated=True
        )

    [first] = run()
    assert first.status == "done"
    assert run()[0].created == first.created
    (tmp_path / "nets.py").write_text(FILE.replace("nn.ReLU(), nn.Linear", "nn.Tanh(), nn.Linear"))
    [second] = run()
    assert second.key != first.key


def test_show_and_check_know_a_network_of_a_file(file):
    from typer.testing import CliRunner

    from clbench.cli.app import app

    shown = CliRunner().invoke(app, ["show", f"{file}:ConvNet"])
    assert shown.exit_code == 0
    assert "clbench gives it num_classes, in_channels; its other parameters are settings" in shown.output
    assert "width  int  = 4" in shown.output
    checked = CliRunner().invoke(app, ["check", f"{file}:flat", "--set", "hidden=3"])
    assert (checked.exit_code, "The contract is kept." in checked.output) == (0, True)
    wrong = CliRunner().invoke(app, ["show", file])
    assert wrong.exit_code != 0


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/home/ada/code/mine.py:Net", "mine.py:Net"),
        ("csv:/home/ada/my data/points.csv?label=y", "csv:points.csv?label=y"),
        ("/home/ada/my weights.pt", "my weights.pt"),
        (r"C:\Users\ada\mine.py:Net", "mine.py:Net"),
        ("~/mine.py:Net", "mine.py:Net"),
        ("er + /home/ada/mine.py:Mine(strength=2)", "er + mine.py:Mine(strength=2)"),
        ("folder:/d/cats+folder:/d/dogs", "folder:cats+folder:dogs"),
        ("see https://arxiv.org/abs/1706.08840", "see https://arxiv.org/abs/1706.08840"),
        ("data/points.csv", "data/points.csv"),
        ("samples / second, and/or 1/2", "samples / second, and/or 1/2"),
        ("<b>er</b>, 5 %/step, f(x)/g", "<b>er</b>, 5 %/step, f(x)/g"),
        ("<b>/home/ada/mine.py:Net</b>", "<b>mine.py:Net</b>"),
    ],
)
def test_public_texts_name_files_without_the_folders_of_a_machine(text, shown):
    assert public(text) == shown
    assert public({"a": [text, 1]}) == {"a": [shown, 1]}

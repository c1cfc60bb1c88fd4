"""The contract of models tells each fault of a module where it is, and finds none where there is none."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from command_line import call
from torch import nn

from clbench.core.errors import Refused
from clbench.testing import MODEL_PROPERTIES, Broken, check_model, examine_model


class Good(nn.Module):
    def __init__(self, shape, n_outputs):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), 12), nn.BatchNorm1d(12), nn.ReLU())
        self.fc = nn.Linear(12, n_outputs)

    def forward(self, x):
        return self.fc(self.layers(x))


class Counts(Good):
    """Its scale is a number beside the module's parameters."""

    def __init__(self, shape, n_outputs):
        super().__init__(shape, n_outputs)
        self.scale = 1.0

    def forward(self, x):
        if self.training:
            self.scale *= 1.01
        return super().forward(x) * self.scale


class Stays(Good):
    def __init__(self, shape, n_outputs):
        super().__init__(shape, n_outputs)
        self.mean = torch.full(shape, 0.5)

    def forward(self, x):
        return super().forward(x - self.mean)


class Beside(Good):
    """In evaluation mode it takes the mean of the batch."""

    def forward(self, x):
        return super().forward(x - x.mean(0))


MET = [0.0]


class Global(Good):
    """Counts outside of itself."""

    def forward(self, x):
        MET[0] += 0.01
        return super().forward(x) * (1 + MET[0])


class OwnGenerator(Good):
    made = random.Random(5)

    def __init__(self, shape, n_outputs):
        super().__init__(shape, n_outputs)
        with torch.no_grad():
            self.fc.bias.fill_(self.made.random())


class Detached(Good):
    def forward(self, x):
        return self.fc(self.layers(x)).detach().requires_grad_()


class Changes(Good):
    def forward(self, x):
        x -= 0.5
        return super().forward(x)


class Draws(Good):
    def forward(self, x):
        return super().forward(x) * (1 + 0.1 * np.random.rand() * self.training)  # noqa: NPY002


def verdicts(model, **how):
    return {v.property: v for v in examine_model(model, **how)}


@pytest.mark.parametrize(
    "model", [Good, "mlp", "cnn", "resnet", "resnet_cifar", "vit", {"name": "resnet", "norm": "batch"}], ids=str
)
def test_sound_models_keep_all_of_it(model):
    found = verdicts(model)
    assert list(found) == list(MODEL_PROPERTIES)
    assert {v.status for v in found.values()} == {"kept"}
    check_model(model)


BROKEN = {
    "state": (Counts, r"Counts\.scale.* changes in training"),
    "device": (Stays, r"Stays\.mean.* does not move with the module"),
    "one_row": (Beside, "depends on the other samples"),
    "deterministic": (Global, "different gradients"),
    "modes": (Detached, "no weight has a gradient"),
}


@pytest.mark.parametrize("prop", BROKEN)
def test_each_fault_is_told_where_it_is(prop):
    model, sentence = BROKEN[prop]
    with pytest.raises(Broken, match=f"{prop}: .*{sentence}"):
        check_model(model)


def test_weights_from_a_generator_of_its_own_are_no_function_of_the_seed():
    assert "begin with different weights" in verdicts(OwnGenerator)["deterministic"].text


def test_what_is_provided_for_is_kept_and_noted():
    assert "receives copies" in verdicts(Changes)["inputs"].text
    assert "seeded for it" in verdicts(Draws)["randomness"].text
    assert {v.status for model in (Changes, Draws) for v in verdicts(model).values()} == {"kept"}


def test_a_model_that_no_run_could_use_is_asked_nothing_else():
    found = verdicts(lambda shape, n: Good(shape, n + 1))
    assert found["outputs"].status == "broken"
    assert {v.status for name, v in found.items() if name != "outputs"} == {"skipped"}
    with pytest.raises(Refused, match="did you mean 'mlp'"):
        verdicts("mlpp")


def test_asking_leaves_the_global_generators_alone():
    before = torch.random.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    check_model(Draws)
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert before[1:] == (random.getstate(), np.random.get_state()[1].tolist())  # noqa: NPY002


MINE = """
from torch import nn


def mine(shape, n_outputs):
    return Mine()


class Mine(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Linear(64, 10)
        self.n = 0.0

    def forward(self, x):
        self.n += 1
        return self.last(x.flatten(1))
"""


def test_the_command_asks_models_by_name_and_of_files(tmp_path):
    answer = call("check", "mlp", "--set", "hidden=[8]")
    assert answer.code == 0
    assert "The contract is kept." in answer.out
    (tmp_path / "mine.py").write_text(MINE)
    answer = call("check", f"{tmp_path / 'mine.py'}:mine", "--kind", "model")
    assert answer.code == 1
    assert "Mine.n" in answer.out.replace("\n", " ")
    assert call("check", f"{tmp_path / 'mine.py'}:mine").out == answer.out
    assert "The samples are those of digits. If the model is for others" in answer.out


def test_a_model_is_asked_with_the_samples_of_a_benchmark(tmp_path):
    (tmp_path / "t.csv").write_text("a,b,label\n" + "".join(f"{i},{-i},{i % 4}\n" for i in range(40)))
    (tmp_path / "small.yaml").write_text(
        "name: small\nstream: {scenario: split, experiences: 2, dataset: 'csv:t.csv'}\nmodel: {name: mlp}\n"
    )
    answer = call("check", "mlp", "--set", "hidden=[8]", "--dataset", tmp_path / "small.yaml")
    assert answer.code == 0
    assert "mlp for samples of shape (2,) and 4 output units" in answer.out
    assert "those of digits" not in answer.out

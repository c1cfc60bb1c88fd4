"""What modules of other people do beside giving an answer, and what is made of what a program hands over."""

import random
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from clbench.core.errors import Refused
from clbench.core.global_rng import comparable_states
from clbench.models.output import Output
from clbench.models.side_effects import observe, protect, rows
from clbench.models.user_models import build

SHAPE = (2, 3)


class Net(nn.Module):
    """Two layers; ``act`` is done to the input before anything else."""

    def __init__(self, act=lambda x: x, n_outputs=4):
        super().__init__()
        self.first, self.last, self.act = nn.Linear(6, 5), nn.Linear(5, n_outputs), act

    def forward(self, x):
        return self.last(self.first(self.act(x).flatten(1)).relu())


# ---------------------------------------------------------------------------------------------- observed


def test_rows_to_try_a_module_on_are_always_the_same_and_lie_in_the_unit_range():
    first, again = rows(5, SHAPE), rows(5, SHAPE)
    assert torch.equal(first, again)
    assert first.shape == (5, 2, 3)
    assert first.min() >= 0
    assert first.max() < 1


def test_layers_are_seen_in_the_order_in_which_they_run():
    model = Net()
    seen = observe(model, SHAPE)
    assert [layer.name for layer in seen.layers] == ["first", "last"]
    x = rows(1, SHAPE).flatten(1)
    assert torch.equal(seen.layers[0].input, x)
    assert torch.equal(seen.layers[0].output, F.linear(x, model.first.weight, model.first.bias))
    assert seen.layers[1].output is seen.output


def test_a_well_mannered_module_changes_nothing_and_draws_nothing():
    seen = observe(Net(), SHAPE)
    assert (seen.changes_input, seen.draws) == (False, False)
    assert seen.training.shape == (2, 4)


@pytest.mark.parametrize("act", [lambda x: x.mul_(2), lambda x: x.zero_(), lambda x: x.add_(0)])
def test_a_change_of_the_input_is_seen_even_where_its_values_stay(act):
    assert observe(Net(act), SHAPE).changes_input


def test_a_change_of_the_input_in_training_alone_is_seen_too():
    class Careless(Net):
        def forward(self, x):
            return super().forward(x.mul_(2) if self.training else x)

    assert observe(Careless(), SHAPE).changes_input


def noisy(x):
    return x + random.random()


def noisy_too(x):
    return x + float(np.random.random())  # noqa: NPY002


@pytest.mark.parametrize(("act", "draws"), [(noisy, True), (noisy_too, True), (lambda x: x + torch.rand(1), False)])
def test_draws_from_pythons_and_numpys_generators_are_seen_and_torchs_are_seeded_anyway(act, draws):
    model = Net(act)
    before = comparable_states()
    assert observe(model, SHAPE).draws is draws
    assert comparable_states() == before


def test_a_module_that_fails_on_two_rows_in_training_has_no_output_there():
    class OneRow(Net):
        def forward(self, x):
            assert len(x) == 1
            return super().forward(x)

    assert observe(OneRow(), SHAPE).training is None


def test_what_a_module_raises_in_evaluation_is_raised():
    with pytest.raises(RuntimeError, match="shapes"):
        observe(Net(), (2, 4))


def test_outputs_keep_their_graph_where_that_is_asked_for():
    assert observe(Net(), SHAPE, gradients=True).output.requires_grad
    assert not observe(Net(), SHAPE).output.requires_grad


def test_a_protected_module_is_given_copies_once_and_for_all():
    model = Net(lambda x: x.mul_(2))
    protect(model)
    protect(model)
    assert len(model._forward_pre_hooks) == 1
    x = torch.ones(1, 2, 3)
    expected = Net.forward(model, torch.ones(1, 2, 3))
    assert torch.equal(model(x), expected)
    assert (x == 1).all()


# ---------------------------------------------------------------------------------------------- handed over


def make(shape, n_outputs):
    """A function that makes a model."""
    return Net(n_outputs=n_outputs)


class FromShape(Net):
    """A class that is a model."""

    def __init__(self, shape, n_outputs):
        super().__init__(n_outputs=n_outputs)


@pytest.mark.parametrize("given", [make, FromShape, partial(make), lambda shape, n: Net(n_outputs=n), Net()])
def test_modules_classes_and_functions_make_a_model_with_features_and_logits(given):
    model = build(given, SHAPE, 4)
    out = model(rows(3, SHAPE))
    assert isinstance(out, Output)
    assert (out.logits.shape, out.features.shape) == ((3, 4), (3, 5))


def test_a_module_is_copied_with_its_weights():
    given = Net()
    before = given.first.weight.clone()
    model = build(given, SHAPE, 4)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert torch.equal(given.first.weight, before)


def fails(shape, n_outputs):
    raise ZeroDivisionError("a division\nof nothing")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("mlp", ["'mlp'", "overrides="]),
        ({"name": "mlp"}, ["overrides=", "'name': 'mlp'"]),
        (Net().state_dict(), ["state", "load_state_dict"]),
        (3, ["is a int", "torch.nn.Module"]),
        (lambda: Net(), ["cannot be called with"]),
        (lambda shape, n, more: Net(), ["cannot be called with", "(2, 3)", "4 outputs"]),
        (fails, ["fails raised ZeroDivisionError: a division of nothing", "test_models_side_effects.py, line"]),
        (lambda shape, n: None, ["a NoneType", "return"]),
        (lambda shape, n: 3, ["a int"]),
        (Net(n_outputs=7), ["4"]),
    ],
)
def test_anything_else_is_refused_in_one_sentence(given, words):
    with pytest.raises(Refused) as caught:
        build(given, SHAPE, 4)
    assert "\n" not in str(caught.value)
    assert [word for word in words if word not in str(caught.value)] == []


def test_a_module_that_cannot_be_copied_is_refused_with_a_way_out():
    given = Net()
    given.generator = (i for i in range(3))
    with pytest.raises(Refused, match="cannot be copied") as caught:
        build(given, SHAPE, 4)
    assert "function" in str(caught.value)


def test_a_refusal_of_a_function_is_its_own():
    def refuses(shape, n_outputs):
        raise Refused("not for these rows")

    with pytest.raises(Refused, match=r"^not for these rows$"):
        build(refuses, SHAPE, 4)

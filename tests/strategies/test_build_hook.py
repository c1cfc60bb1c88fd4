"""Parts that add to the model: the same initial weights, weights of their own, checkpoints and kept models."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from support import ready, train_until, trained
from torch import nn

from clbench.core.errors import Refused
from clbench.models.output import Output
from clbench.strategies.part import Part


class Scaled(nn.Module):
    """A model, with a factor for each feature before its head."""

    def __init__(self, model, scale):
        super().__init__()
        self.model, self.scale = model, nn.Parameter(scale)

    @property
    def head(self):
        return self.model.head

    def forward(self, x):
        features = self.model.features(x) * self.scale
        return Output(self.model.head(features), features)


@dataclass(kw_only=True)
class Scale(Part):
    random_stream = "Scale"
    spread: float = 0.0

    def build(self, model, shape, n_outputs):
        assert shape == (1, 8, 8)
        assert n_outputs == 10
        return Scaled(model, 1 + self.spread * torch.randn(16))


def with_parts(*parts):
    return lambda own: [*own, *parts]


def test_the_rest_of_the_model_begins_with_the_same_bits():
    plain, built = ready(), ready(alter=with_parts(Scale(spread=0.5)))
    added = built.learner.slices["scale"]
    assert built.learner.w.numel() == plain.learner.w.numel() + 16 == built.learner.cost.weights
    rest = torch.cat([p.detach().flatten() for name, p in built.learner.model.model.named_parameters()])
    assert torch.equal(rest, plain.learner.w)
    assert built.learner.w[added].std() > 0.2


def test_a_part_that_adds_nothing_that_matters_and_draws_leaves_the_run_as_it_is():
    @dataclass(kw_only=True)
    class Idle(Part):
        def build(self, model, shape, n_outputs):
            torch.randn(100)
            np.random.rand(3)  # noqa: NPY002 what a part of a user may call
            return model

    plain, idle = trained("er"), trained("er", alter=with_parts(Idle()))
    assert torch.equal(plain.learner.w, idle.learner.w)
    assert np.array_equal(plain.trace().score, idle.trace().score, equal_nan=True)


def test_what_a_part_draws_depends_on_the_seed_and_its_own_name_alone():
    def scale(strategy, seed):
        learner = ready(strategy, seed=seed, alter=with_parts(Scale(spread=0.5))).learner
        return learner.w.detach()[learner.slices["scale"]]

    assert torch.equal(scale("naive", 0), scale("er + ewc", 0))
    assert not torch.equal(scale("naive", 0), scale("naive", 1))


def test_parts_build_in_the_order_of_the_chain():
    order = []

    @dataclass(kw_only=True)
    class First(Part):
        def build(self, model, shape, n_outputs):
            order.append(type(model).__name__)
            return Scaled(model, torch.ones(16))

    @dataclass(kw_only=True)
    class Second(Part):
        def build(self, model, shape, n_outputs):
            order.append(type(model).__name__)
            return model

    ready(alter=with_parts(First(), Second()))
    assert order == ["MLP", "Scaled"]


def test_added_weights_are_learned_and_resumed_bit_for_bit():
    whole = trained("er", "training.momentum=0.9", alter=with_parts(Scale(spread=0.5)))
    half = train_until(ready("er", "training.momentum=0.9", alter=with_parts(Scale(spread=0.5))), 9)
    again = ready("er", "training.momentum=0.9", alter=with_parts(Scale(spread=0.5)))
    again.restore(half.snapshot())
    again.train()
    assert torch.equal(whole.learner.w, again.learner.w)
    assert not torch.equal(
        whole.learner.w[whole.learner.slices["scale"]], ready(alter=with_parts(Scale(spread=0.5))).learner.w[:16]
    )


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda model: None, "returned a NoneType; it returns the model"),
        (lambda model: nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), "returns a Tensor for one sample"),
        (lambda model: _Narrow(), "returns logits of shape (1, 3)"),
        (lambda model: _Headless(), "without an attribute 'head'"),
    ],
)
def test_a_build_that_returns_no_model_is_refused_in_a_sentence(made, said):
    @dataclass(kw_only=True)
    class Wrong(Part):
        def build(self, model, shape, n_outputs):
            return made(model)

    with pytest.raises(Refused, match="build of Wrong") as error:
        ready(alter=with_parts(Wrong()))
    assert said in str(error.value)


class _Narrow(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(64, 3)

    def forward(self, x):
        return Output(self.head(x.flatten(1)), x.flatten(1))


class _Headless(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Linear(64, 10)

    def forward(self, x):
        return Output(self.last(x.flatten(1)), x.flatten(1))

"""A given model is told what is wrong with it before anything runs; what it does beside its answer harms nothing."""

from __future__ import annotations

import random
from functools import partial

import numpy as np
import pytest
import torch
from support import EVERY_STRATEGY, SMALL, assert_same, everything, ready, same_trace, trained
from torch import nn
from torch.nn import functional as F

import clbench
from clbench.core.errors import Refused
from clbench.models.output import Output
from clbench.models.side_effects import draws
from clbench.models.wrap import wrap

SHAPE, C = (1, 8, 8), 10
DECAY = ("training.weight_decay=0.01", "training.momentum=0.9", "training.clip_norm=1.0")


class Net(nn.Module):
    """One network; subclasses write its last layer under different names, and return different things."""

    def __init__(self, shape, n_outputs):
        super().__init__()
        self.first = nn.Linear(int(np.prod(shape)), 12)
        self.last_layer(n_outputs)

    def last_layer(self, n_outputs):
        self.head = nn.Linear(12, n_outputs)

    def features(self, x):
        return torch.relu(self.first(x.flatten(1)))

    def forward(self, x):
        z = self.features(x)
        return Output(self.head(z), z)


class Plain(Net):
    def forward(self, x):
        return self.head(self.features(x))


class Fc(Net):
    def last_layer(self, n_outputs):
        self.fc = nn.Linear(12, n_outputs)

    def forward(self, x):
        return self.fc(self.features(x))


class FcBoth(Fc):
    def forward(self, x):
        z = self.features(x)
        return Output(self.fc(z), z)


class HeadElsewhere(Fc):
    """Its ``head`` is another layer than the one its logits come from."""

    def __init__(self, shape, n_outputs):
        super().__init__(shape, n_outputs)
        self.head = nn.Linear(1, 1, bias=False).requires_grad_(False)

    def forward(self, x):
        z = self.features(x)
        return Output(self.fc(z), z)


class Auxiliary(Fc):
    """A second output of the same width, which runs last and is not what the model gives."""

    def last_layer(self, n_outputs):
        super().last_layer(n_outputs)
        with torch.random.fork_rng():
            self.aux = nn.Linear(12, n_outputs)
        self.aux.requires_grad_(False)

    def forward(self, x):
        z = self.features(x)
        logits = self.fc(z)
        self.aux(z)
        return logits


@pytest.mark.parametrize("strategy", ["naive", "er", "icarl", "fpf", "k_fpf", "hft", "group_mask", "gdumb", "agem"])
@pytest.mark.parametrize("other", [Plain, Fc, FcBoth, HeadElsewhere, Auxiliary])
def test_one_network_gives_one_run_however_its_last_layer_is_called(strategy, other):
    if strategy not in EVERY_STRATEGY:
        pytest.skip("no such strategy")
    ours, theirs = (trained(strategy, *DECAY, "model.heads=separate", model=m) for m in (Net, other))
    assert same_trace(ours, theirs)
    assert torch.equal(ours.learner.w, theirs.learner.w)
    assert torch.equal(ours.learner.head_mask, theirs.learner.head_mask)
    assert int(ours.learner.head_mask.sum()) == 12 * C + C


class Scaled(Fc):
    """Logits are made of the auxiliary layer's, of the main one's, and not by any layer alone."""

    def last_layer(self, n_outputs):
        super().last_layer(n_outputs)
        self.aux = nn.Linear(12, n_outputs)

    def forward(self, x):
        z = self.features(x)
        logits = self.fc(z).log_softmax(1)
        self.aux(z)
        return logits


def test_of_several_layers_of_the_same_width_the_head_is_one_that_the_logits_depend_on():
    made = wrap(Scaled(SHAPE, C), C, shape=SHAPE)
    assert made.head is made.module.fc


class NoLayer(nn.Module):
    def __init__(self, shape, n_outputs, both):
        super().__init__()
        self.both, self.weight = both, nn.Parameter(torch.zeros(int(np.prod(shape)), n_outputs))

    def forward(self, x):
        logits = x.flatten(1) @ self.weight
        return Output(logits, x.flatten(1)) if self.both else logits


class CosineHead(nn.Module):
    def __init__(self, shape, n_outputs):
        super().__init__()
        self.head = nn.Module()
        self.head.weight = nn.Parameter(torch.randn(n_outputs, int(np.prod(shape))))

    def forward(self, x):
        z = x.flatten(1)
        return Output(F.normalize(z) @ F.normalize(self.head.weight).T, z)


def test_a_head_of_another_kind_serves_where_its_parameters_have_a_row_for_each_class():
    run = trained("naive", *DECAY, model=CosineHead)
    assert bool(run.learner.head_mask.all())


class Open(Fc):
    def __init__(self, shape, n_outputs):
        super().__init__(shape, n_outputs)
        self.lock = (i for i in range(3))


class Failing(Fc):
    def __init__(self, shape, n_outputs):
        raise ZeroDivisionError("nothing to divide")


def _no_arguments():
    return Fc(SHAPE, C)


WRONG = {
    "a name": ("mlp", "overrides={'model': {'name': 'mlp'}}"),
    "a section": ({"name": "mlp"}, "name models in the benchmark"),
    "a number": (3, "model= is a int"),
    "a factory without arguments": (
        _no_arguments,
        r"_no_arguments\(\): it cannot be called with the shape of a sample",
    ),
    "a factory that returns nothing": (lambda shape, n: None, "returns a NoneType.*end it with return"),
    "a factory that fails": (Failing, r"Failing raised ZeroDivisionError: nothing to divide \(test_models_given.py"),
    "a function of three": (lambda shape, n, width: None, r"lambda>\(shape, n, width\): it cannot be called with"),
    "no last layer": (partial(NoLayer, both=False), "no torch.nn.Linear with 10 outputs"),
    "no last layer beside features": (partial(NoLayer, both=True), "no layer that makes its logits"),
    "a module that cannot be copied": (Open(SHAPE, C), "cannot be copied"),
    "another number of outputs": (lambda shape, n: Fc(shape, n + 1), r"returns shape \(1, 11\)"),
    "a tuple": (lambda shape, n: _Pair(shape, n), "returns a tuple"),
    "a tuple while it is trained": (
        lambda shape, n: _Training(shape, n),
        r"returns a tuple for two samples in training mode.*\(2, 10\)",
    ),
    "the state of a model": (nn.Linear(2, 2).state_dict(), "model= is the state of a model"),
}


class _Training(Fc):
    """Beside its logits an auxiliary output, as some networks have while they are trained."""

    def forward(self, x):
        logits = super().forward(x)
        return (logits, logits) if self.training else logits


class _Pair(Fc):
    def forward(self, x):
        return super().forward(x), None


@pytest.mark.parametrize("what", WRONG)
def test_a_model_that_no_run_could_use_is_refused_in_one_sentence_before_anything_runs(what):
    model, sentence = WRONG[what]
    events = []
    with pytest.raises(Refused, match=sentence) as told:
        clbench.run(SMALL, strategies="naive, er", seeds=2, model=model, watch=events.append)
    assert not events
    assert "\n" not in str(told.value)


def test_a_class_and_a_function_that_calls_it_give_the_same_run():
    runs = [
        clbench.run(SMALL, strategies="naive", seeds=1, model=model)[0]
        for model in (Fc, lambda shape, n: Fc(shape, n), partial(Fc))
    ]
    assert all(record.status == "done" for record in runs)
    assert all(np.array_equal(runs[0].trace.score, other.trace.score, equal_nan=True) for other in runs[1:])


# --------------------------------------------------------------------------------------------------- inputs in place


def _subtract(x):
    x -= 0.5
    x /= 2
    return x


def _by_data(x):
    x.data.sub_(0.5).div_(2)
    return x


def _by_numpy(x):
    view = x.detach().numpy()
    view -= 0.5
    view /= 2
    return x


def _sometimes(x):
    """A change that the trial on rows in [0, 1) does not see: no row of it is all below 0.4, some digits' rows are."""
    if float(x[:, 0].max()) < 0.01:
        return _subtract(x)
    return (x - 0.5) / 2


class Changing(Fc):
    def __init__(self, shape, n_outputs, how):
        super().__init__(shape, n_outputs)
        self.how = how

    def features(self, x):
        return super().features(self.how(x))


@pytest.mark.parametrize("strategy", EVERY_STRATEGY)
def test_a_model_that_changes_its_input_in_place_gives_the_run_of_one_that_does_not(strategy):
    same = partial(Changing, how=lambda x: (x - 0.5) / 2)
    assert_same(
        everything(trained(strategy, model=partial(Changing, how=_subtract))), everything(trained(strategy, model=same))
    )


@pytest.mark.parametrize("how", [_subtract, _by_data, _by_numpy, _sometimes])
@pytest.mark.parametrize("strategy", ["er", "icarl"])
@pytest.mark.parametrize("changes", [(), ("evaluation.tasks=current",), ("stream.setting=task",)])
def test_looks_are_those_of_a_model_that_changes_nothing_however_the_change_is_made(how, strategy, changes):
    same = trained(strategy, *changes, model=partial(Changing, how=lambda x: (x - 0.5) / 2))
    assert same_trace(trained(strategy, *changes, model=partial(Changing, how=how)), same)


# --------------------------------------------------------------------------------------------------- generators


class Drawing(Fc):
    """Draws its noise and its initial weights from Python's and NumPy's generators."""

    def __init__(self, shape, n_outputs):
        super().__init__(shape, n_outputs)
        with torch.no_grad():
            self.fc.bias.copy_(torch.from_numpy(np.random.normal(size=n_outputs)))  # noqa: NPY002

    def features(self, x):
        return super().features(x) * (1 + 0.1 * np.random.rand() + 0.1 * random.random())  # noqa: NPY002


def test_a_model_that_draws_from_numpy_and_python_repeats_and_looks_leave_their_generators_alone():
    first = trained("er", model=Drawing)
    np.random.seed(77)  # noqa: NPY002
    random.seed(77)
    assert_same(everything(trained("er", model=Drawing)), everything(first))
    assert_same(everything(trained("er", "evaluation.every=0", model=Drawing)), everything(first))
    assert draws(first.learner.model)
    assert not draws(trained("naive", model=Fc).learner.model)


def test_a_run_of_a_drawing_model_goes_on_from_its_snapshot():
    whole, half = trained("er", model=Drawing), ready("er", model=Drawing)
    kept = []
    half.train(lambda step, done: kept.append(half.snapshot()) if not kept and done > 0.4 else None)
    np.random.seed(5)  # noqa: NPY002
    random.seed(5)
    resumed = ready("er", model=Drawing)
    resumed.restore(kept[0])
    resumed.train()
    assert_same(everything(resumed), everything(whole))
    assert same_trace(resumed, whole)


def test_a_record_leaves_numpys_and_pythons_generators_as_they_were():
    before = np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    clbench.run(SMALL, strategies="naive", seeds=1, model=Drawing)
    assert (np.random.get_state()[1].tolist(), random.getstate()) == before  # noqa: NPY002


# --------------------------------------------------------------------------------------------------- accounts


def test_finding_the_widest_layer_is_not_booked_as_evaluation():
    """A part that reads out with a pass of its own: each look books its rows twice, whatever came before the first."""
    run = ready("naive", "evaluation.every=0", model=Fc)
    run.trainer.readout.reader = lambda learner, x, task: learner.side_work.forward(x)
    run.train()
    # looks at the start, 5 switches and 5 ends, of 5 tasks of 20 rows; each row once by the look, once by the part
    assert run.learner.cost.evaluation_rows == 2 * 11 * 100

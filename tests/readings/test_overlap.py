"""The overlap of a student with its teachers, by hand, and its metrics beside the theory."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from support import assert_same, everything, trained
from torch import nn

from clbench.metrics import compute
from clbench.metrics.binary_perceptron import typical_error
from clbench.models import make
from clbench.models.binary_layers import with_binary_weights
from clbench.readings.overlap import linear_weights

STREAM = (
    "stream={scenario: teacher, dataset: {name: patterns, size: 51}, alpha: [1, 3], correlation: 0.5}",
    "training={optimizer: adam, lr: 0.05, batch_size: 51, epochs: 5}",
    "memory.size=0",
)
READ = "evaluation.readings=[overlap]"
NAMES = ("generalisation_error", "analytic_error")


def by_hand(run, v):
    """Overlaps of weights v with the teachers of a run."""
    teachers = [task.teacher.weights for task in run.stream.tasks]
    return [float(v @ w / (np.linalg.norm(v) * math.sqrt(51))) for w in teachers]


@pytest.mark.parametrize(
    ("strategy", "model", "weights"),
    [
        ("naive", "{name: perceptron}", lambda w: w),
        ("naive", "{name: mlp, hidden: [], bias: false}", lambda w: w.reshape(2, 51)[1] - w.reshape(2, 51)[0]),
        ("binary(anneal=constant, beta=1)", "{name: perceptron}", lambda w: np.where(w >= 0, 1.0, -1.0)),
    ],
)
def test_the_last_overlap_is_that_of_the_final_weights(strategy, model, weights):
    run = trained(strategy, *STREAM, READ, f"model={model}")
    trace = run.evaluator.trace()
    steps, values = trace.readings["overlap"]
    assert values.shape == (len(steps), 2, 2)
    overlaps = by_hand(run, weights(run.learner.w.detach().numpy().astype(np.float64)))
    assert values[-1, 0].tolist() == pytest.approx(overlaps, abs=1e-6)
    assert values[-1, 1].tolist() == pytest.approx([typical_error(1.0), 0.0])
    error, analytic = (compute(trace, [name])[name].value for name in NAMES)
    assert error == pytest.approx(np.mean([math.acos(r) / math.pi for r in overlaps]), abs=1e-6)
    assert analytic == pytest.approx(typical_error(1.0) / 2)


def test_the_error_of_the_overlap_is_near_the_measured_error_on_test_patterns():
    stream = "stream={scenario: teacher, dataset: {name: patterns, size: 301}, alpha: [2, 2]}"
    run = trained("naive", stream, *STREAM[1:], READ, "model={name: perceptron}", "evaluation.rows_per_task=all")
    trace = run.evaluator.trace()
    error = compute(trace, NAMES[:1])[NAMES[0]].value
    wrong = 1 - trace.score[-1].mean()
    assert 0.1 < wrong < 0.4
    assert error == pytest.approx(wrong, abs=4 * math.sqrt(0.25 / (4 * 301)))


def test_reading_it_changes_nothing():
    runs = [trained("binary(anneal=constant, beta=1)", *STREAM, "model={name: perceptron}", *more)
            for more in ((), (READ, "evaluation.reading_schedule=dense"))]  # fmt: skip
    assert_same(everything(runs[0]), everything(runs[1]))


def test_models_without_one_sum_over_the_inputs_have_no_overlap():
    single = make({"name": "mlp", "hidden": [], "bias": False}, (5,), 2)
    first, second = single.head.weight.detach().double()
    assert torch.allclose(linear_weights(single), second - first, atol=1e-6)
    with_binary_weights(single)
    first, second = (torch.where(row >= 0, 1.0, -1.0) for row in single.head.weight.detach())
    assert linear_weights(single).tolist() == (second - first).tolist()
    for settings, outputs in (
        ({"hidden": [3], "bias": False}, 2),
        ({"hidden": []}, 2),
        ({"hidden": [], "bias": False}, 3),
    ):
        assert linear_weights(make({"name": "mlp", **settings}, (5,), outputs)) is None
    assert linear_weights(nn.Conv2d(1, 1, 3, bias=False)) is None


def test_where_it_has_no_value_the_metric_says_what_it_needs():
    deep = trained("naive", *STREAM, READ).evaluator.trace()
    assert np.isnan(deep.readings["overlap"].values[:, 0]).all()
    assert deep.readings["overlap"].values[-1, 1].tolist() == pytest.approx([typical_error(1.0), 0.0])
    assert "single layer without a bias" in compute(deep, NAMES)["generalisation_error"].reason
    other = trained("naive", READ).evaluator.trace()
    assert np.isnan(other.readings["overlap"].values).all()
    assert "scenario teacher" in compute(other, NAMES)["analytic_error"].reason
    without = trained("naive", *STREAM).evaluator.trace()
    assert "evaluation.readings=[overlap]" in compute(without, NAMES)["generalisation_error"].reason

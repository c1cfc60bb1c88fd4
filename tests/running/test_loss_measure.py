"""The measured form of a loss: weights and competing classes as the strategies define them, and nothing disturbed."""

from __future__ import annotations

from statistics import median

import pytest
import torch
from support import ready, trained

from clbench.running.loss_measure import LossMeasure


def measured(strategy, *changes):
    run = ready(strategy, *changes)
    measure = LossMeasure(run)
    run.train()
    return run, measure


@pytest.mark.parametrize(
    ("strategy", "new", "old"),
    [
        ("er", 0.5, 0.5),
        ("er(loss=sum)", 1, 1),
        ("er(loss=weighted, new_weight=0.3)", 0.3, 0.7),
        ("er(rows=32)", 1 / 3, 2 / 3),
        ("er_ace", 1, 1),  # its own class mask on the stream's samples is no other weight
        ("er + loss_form(new=0.4, old=2, old_classes=all)", 0.4, 2),
        ("er + ewc(strength=100)", 0.5, 0.5),  # a penalty is no part of the form
    ],
)
def test_weights_of_the_sources_are_those_that_the_strategy_sets(strategy, new, old):
    _, measure = measured(strategy)
    both = [step for step in measure.steps if step.rehearsed and step.size - step.rehearsed == 16]
    assert len(both) > 10
    assert median(step.weights["stream"] for step in both) == pytest.approx(new, rel=1e-3)
    assert median(step.weights["rehearsed"] for step in both) == pytest.approx(old, rel=1e-3)
    assert all(step.weighted["rehearsed"] for step in both)


def test_the_gradient_of_a_sum_is_twice_as_long_and_that_of_one_mean_is_the_mean():
    assert {round(step.length, 4) for step in measured("er")[1].steps} == {1.0}
    lengths = [step.length for step in measured("er(loss=sum)")[1].steps if step.rehearsed == step.size / 2]
    assert lengths == pytest.approx([2.0] * len(lengths), rel=1e-4)


@pytest.mark.parametrize(
    ("strategy", "outside"),
    [
        ("er", {}),
        ("er_ace", {}),
        ("lwf", {}),
        ("derpp", {"derpp": {"rehearsed"}}),
        ("er + loss_form(new_classes=all)", {"objective": {"stream"}}),
    ],
)
def test_outputs_of_classes_that_do_not_compete_are_found_and_by_whom(strategy, outside):
    found: dict[str, set[str]] = {}
    for step in measured(strategy)[1].steps:
        for part, sources in step.outside.items():
            found.setdefault(part, set()).update(sources)
    assert found == outside


def test_under_output_all_every_class_competes():
    assert all(not step.outside for step in measured("derpp", "stream.output=all")[1].steps)


def test_heads_of_other_tasks_that_lwf_distils_are_its_own_declaration():
    assert all(not step.outside for step in measured("lwf", "stream.setting=task")[1].steps)


def test_a_loss_that_is_no_weighted_form_is_not_taken_for_one():
    steps = [step for step in measured("derpp(alpha=0.5, beta=0)")[1].steps if step.rehearsed]
    assert sum(step.weighted["rehearsed"] for step in steps) < len(steps) / 4


@pytest.mark.parametrize("strategy", ["er", "derpp", "mir", "er + refresh(form=code)", "icarl"])
def test_measuring_changes_no_bit_of_the_run(strategy):
    run, measure = measured(strategy, "training.momentum=0.9")
    assert torch.equal(run.learner.w, trained(strategy, "training.momentum=0.9").learner.w)
    assert [step.step for step in measure.steps] == list(range(1, len(measure.steps) + 1))


def test_a_learner_with_a_step_of_its_own_is_not_measured():
    measure = LossMeasure(ready("slda"))
    assert measure.reason == "slda makes its own step"
    assert measure.steps == []

"""Alarms: what looks wrong although nothing failed. Each case is made wrong on purpose, and its cure is silent."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from support import ready, trained

from clbench.alarms import alarms
from clbench.cell import record, run_cell
from clbench.learner import Diverged
from clbench.strategies.part import Part


def raised(run):
    return record(run.cell, run, status="done", reason="", device="cpu").alarms


@pytest.mark.parametrize(
    "strategy", ["naive", "joint", "cumulative", "er", "er_ace", "agem", "ewc(strength=1)", "l2(strength=0.1)"]
)
def test_a_method_that_works_raises_no_alarm(strategy):
    assert raised(trained(strategy, "training.epochs=4")) == ()


@pytest.mark.parametrize("strategy", ["ewc(strength=0)", "l2(strength=0)"])
def test_a_penalty_that_is_always_zero_raises_one(strategy):
    (alarm,) = raised(trained(strategy))
    assert "never changed the gradient" in alarm
    assert "strength 0" in alarm


def test_the_watch_counts_only_behind_the_first_experience():
    run = trained("ewc(strength=1)", "training.epochs=4")
    (watch,) = run.chain.watches
    steps = [-(-len(e) // 16) * 4 for e in run.stream]
    assert watch.calls == sum(steps)
    powers = [n for n in range(1, sum(steps) + 1) if n & (n - 1) == 0 or n % 32 == 0]
    assert watch.looked == watch.acted == sum(n > steps[0] for n in powers)


def test_a_projection_that_never_bends_raises_one(monkeypatch):
    run = ready("agem")
    monkeypatch.setattr(run.learner, "grad", lambda _: run.learner.g.clone())  # memory agrees with every step
    run.train()
    (alarm,) = raised(run)
    assert alarm.startswith("AGEM never changed the gradient")


def test_a_memory_that_is_never_drawn_from_raises_one(monkeypatch):
    run = ready("er")
    monkeypatch.setattr(run.learner.memory, "has_earlier", lambda _: False)
    run.train()
    assert raised(run) == ("the memory of 40 rows was never drawn from",)


def test_a_loss_term_that_is_always_zero_raises_one():
    for factor, expected in ((0.0, 1), (0.1, 0)):
        run = trained(f"{__file__}:Term(factor={factor})")
        assert len(raised(run)) == expected


@dataclass(kw_only=True)
class Term(Part):
    """A term of the loss."""

    factor: float

    def loss(self, learner, batch, output):
        return self.factor * output.logits.square().mean()


def test_an_accuracy_below_guessing_raises_one():
    run = trained("naive")
    trace = run.evaluator.trace()
    silent = alarms(run.chain, run.learner, run.stream, trace)
    low = replace(trace, score=np.where(np.isfinite(trace.score), 0.0, np.nan))
    (alarm,) = alarms(run.chain, run.learner, run.stream, low)
    assert silent == ()
    assert alarm == "the final accuracy is 0.0 %, below the 10.0 % of guessing"


def test_a_masked_read_out_below_the_plain_one_raises_one():
    run = trained("naive")
    trace = run.evaluator.trace()
    fine = replace(trace, masked=trace.score)
    broken = replace(trace, masked=np.where(trace.score > 0.5, 0.4, trace.score))
    assert alarms(run.chain, run.learner, run.stream, fine) == ()
    (alarm,) = alarms(run.chain, run.learner, run.stream, broken)
    assert f"at {int((trace.score > 0.5).sum())} scores" in alarm


def test_alarms_are_written_into_the_record_and_survive_a_snapshot():
    run = ready("l2(strength=0)")
    assert any("L2 never" in alarm for alarm in run_cell(run.cell).alarms)
    kept = []
    run.train(lambda step, _: kept.append(run.snapshot()) if step == 12 else None)
    resumed = ready("l2(strength=0)")
    resumed.restore(kept[0])
    resumed.train()
    assert raised(resumed) == raised(run)


@pytest.mark.parametrize("every", [0, 1])
def test_a_loss_that_is_not_finite_ends_the_cell_as_diverged_with_the_iteration(every):
    run = ready("naive", f"evaluation.every={every}")
    inner = run.learner.model.forward

    def overflow(x):
        output = inner(x)
        broken = run.cursor.step == 6 and run.learner.model.training and torch.is_grad_enabled()
        return output._replace(logits=output.logits * float("inf")) if broken else output

    run.learner.model.forward = overflow
    with pytest.raises(Diverged, match="the loss is not finite at step 7"):
        run.train()


def test_a_rate_that_is_far_too_large_is_recorded_as_diverged():
    made = run_cell(ready("naive", "training.lr=1e30", "evaluation.every=0").cell)
    assert made.status == "diverged"
    assert "not finite at step" in made.reason

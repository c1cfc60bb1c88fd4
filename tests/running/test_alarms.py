"""Alarms: what looks wrong although nothing failed. Each case is made wrong on purpose, and its cure is silent."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from support import ready, trained

from clbench.benchmark.schema import Evaluation, Training
from clbench.evaluate import Evaluator, Panels
from clbench.evaluate.trace_alarms import of_trace
from clbench.running.alarms import alarms
from clbench.running.run_cell import record, run_cell
from clbench.strategies.part import Part
from clbench.training.loop import train
from clbench.training.loss_check import Diverged


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


def test_the_watch_compares_every_call_behind_the_first_experience_until_the_hook_has_acted():
    idle, active = (trained(f"ewc(strength={s})", "training.epochs=5") for s in (0, 1))
    behind = sum(-(-len(e) // 16) * 5 for e in idle.stream if e.id)
    (hook,) = idle.chain.watched
    assert behind > 64
    assert (hook.calls, hook.acted) == (behind, False)
    assert hook.compared == 64 + sum(n % 32 == 0 for n in range(65, behind + 1))
    (hook,) = active.chain.watched
    assert hook.acted
    assert hook.calls < 4  # at the boundary itself the weights are the old ones


def test_a_projection_that_never_bends_raises_one(monkeypatch):
    few, run = ready("agem"), ready("agem", "training.epochs=3")
    for each in (few, run):  # memory agrees with every step
        monkeypatch.setattr(each.learner.side_work, "gradient", lambda _, learner=each.learner: learner.g.clone())
        each.train()
    assert raised(few) == ()  # in so few steps that may be true
    (alarm,) = raised(run)
    assert alarm.startswith("agem never changed the gradient")


def test_a_memory_that_is_never_drawn_from_raises_one(monkeypatch):
    run = ready("er")
    monkeypatch.setattr(run.learner.memory, "has_earlier", lambda _: False)
    run.train()
    assert raised(run) == ("the replay buffer of 40 samples was never drawn from",)


@pytest.mark.parametrize(
    "strategy", ["fpf(loss=kd, alpha=0.5, iters=2)", "view_batch(views=2, strong=none)", "icarl", "derpp"]
)
def test_a_part_that_only_keeps_side_tensors_or_arranges_rows_raises_none(strategy):
    assert raised(trained(strategy, "training.epochs=2", "stream.output=all")) == ()


@pytest.mark.parametrize(
    ("strategy", "sentence"),
    [
        ("ncm + hft", "what is frozen at the 20 calls that were observed after the first experience"),
        ("ncm + hft(start_experience=1, redraw=never)", "what is frozen at the 20 calls"),
        ("joint + frozen", "never changed the samples that are learned"),
        ("joint + er", "the replay buffer of 40 samples was never drawn from"),
        ("joint + ewc(strength=1)", "never changed the gradient at the 19 calls that were observed;"),
        ("gdumb(passes=1) + refresh(strength=0.1)", "was never called at a step"),
        ("frozen + ewc(strength=1)", "was never called at a step after the first experience"),
        ("icarl + fpf", "did at the end of the stream changed no score"),
        ("pred_kd(strength=0)", "never distilled anything: its strength is 0"),
        ("fpf(iters=0)", "never moved the weights or running statistics"),
        ("k_fpf(every=100000)", "acts after every 100000 steps, of which the stream has 20: only at its end"),
        ("freeze_norm", "never changed the samples that are learned, the classes that compete, or what is frozen"),
        ("view_batch(views=4, strong=none)", "learned 1 / 4 of the samples of each experience"),
    ],
)
def test_what_does_nothing_in_its_strategy_or_on_its_benchmark_raises_one(strategy, sentence):
    (alarm,) = raised(trained(strategy))
    assert sentence in alarm


@pytest.mark.parametrize(
    "strategy",
    [
        "hft", "hft(start_experience=1, redraw=never)", "gdumb(passes=1) + hft", "joint + refresh(strength=0.1)",
        "frozen", "sensitivity", "group_mask", "k_fpf(every=8)", "k_fpf(every=4)",
        "fpf(when=boundary)", "icarl + fpf(modules=all)",
        "gdumb(passes=1)", "gdumb(passes=1, when=stream)",
    ],
)  # fmt: skip
def test_what_acts_by_rows_masks_or_training_of_its_own_raises_none(strategy):
    assert [alarm for alarm in raised(trained(strategy)) if "guessing" not in alarm] == []


def test_batch_norm_held_still_is_an_effect():
    model = "model={name: resnet, width: 2, norm: batch}"
    assert raised(trained("freeze_norm", model, "stream.dataset.train_rows=100", "evaluation.every=0")) == ()


def test_rounds_that_never_had_a_row_of_memory_raise_one(monkeypatch):
    run = ready("k_fpf(every=8)")
    monkeypatch.setattr(run.learner.memory, "offer", lambda *_, **__: None)
    run.train()
    alarms = raised(run)
    assert any("never found both samples in the replay buffer" in alarm for alarm in alarms)


def test_of_a_run_that_diverged_it_is_not_said_that_something_never_happened():
    made = run_cell(ready("er + ewc(strength=1)", "training.lr=1e30", "evaluation.every=0").cell)
    assert made.status == "diverged"
    assert not any("never" in alarm for alarm in made.alarms)


def test_views_of_which_there_is_one_raise_one():
    (alarm,) = raised(trained("view_batch(views=1, strong=none)"))
    assert alarm.startswith("view_batch never added a term")


def test_of_two_parts_of_one_class_the_idle_one_is_told():
    (alarm,) = raised(trained("ewc(strength=0) + ewc(strength=1, mode=online)"))
    assert alarm.startswith("ewc(strength=0.0, mode='separate'")


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
    silent = alarms(run.chain, run.trainer, run.stream, trace)
    low = replace(trace, score=np.where(np.isfinite(trace.score), 0.0, np.nan))
    (alarm,) = alarms(run.chain, run.trainer, run.stream, low)
    assert silent == ()
    assert alarm == "the final accuracy is 0.0 %, below the 10.0 % of guessing"


def joined_tasks(stream):
    """Task 0 has the rows and classes of tasks 0 and 1, so that half of its classes come in experience 1."""
    first, second, *rest = stream.tasks
    rows, classes = np.concatenate([first.rows, second.rows]), (*first.classes, *second.classes)
    return replace(stream, tasks=(replace(first, rows=rows, classes=classes), second, *rest))


def looked_at_joined_tasks(*changes):
    run = ready("naive", *changes)
    stream = joined_tasks(run.stream)
    looks = Evaluator(stream, Evaluation(masked=True))
    train(run.trainer, stream, run.chain, looks, Training(epochs=4))
    return stream, looks.trace()


def lowered(trace, experience, task):
    """The trace with masked scores of one task a little lower than the plain ones while one experience runs."""
    masked = trace.masked.copy()
    at = trace.experience == experience
    masked[at, task] = trace.score[at, task] - 0.01
    return replace(trace, masked=masked)


def test_a_masked_read_out_may_be_lower_while_some_of_a_tasks_classes_do_not_compete_yet():
    stream, trace = looked_at_joined_tasks()
    lower = trace.masked < trace.score
    assert set(zip(trace.experience[lower.any(axis=1)], np.flatnonzero(lower.any(axis=0)), strict=False)) == {(0, 0)}
    assert lower.sum() > 10  # rows of seen classes are lost to classes of the task that have no weights yet
    assert of_trace(stream, trace) == []


def test_a_masked_read_out_that_is_lower_where_all_of_a_tasks_classes_compete_raises_one():
    stream, trace = looked_at_joined_tasks()
    for experience, task, expected in ((0, 0, 0), (1, 0, 1), (4, 0, 1), (0, 1, 0), (1, 1, 1), (-1, 3, 1)):
        assert len(of_trace(stream, lowered(trace, experience, task))) == expected, (experience, task)
    stream, trace = looked_at_joined_tasks("stream.output=all")
    assert not (trace.masked < trace.score).any()
    assert len(of_trace(stream, lowered(trace, 0, 0))) == 1
    run = trained("naive", "stream.setting=task", "evaluation.masked=true")
    assert len(of_trace(run.stream, lowered(run.evaluator.trace(), 0, 0))) == 1


def test_a_read_out_among_the_wrong_classes_is_found(monkeypatch):
    right = Panels._classes_of_tasks
    monkeypatch.setattr(Panels, "_classes_of_tasks", lambda self, views: np.roll(right(self, views), 1, axis=1))
    run = trained("naive", "evaluation.masked=true")
    (alarm,) = raised(run)
    assert "the predictions are wrong" in alarm


def test_alarms_are_written_into_the_record_and_survive_a_snapshot():
    run = ready("l2(strength=0)")
    assert any("l2 never" in alarm for alarm in run_cell(run.cell).alarms)
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

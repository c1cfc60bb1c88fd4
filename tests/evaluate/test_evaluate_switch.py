"""The look at a switch: right after an experience is entered, before anything is done about it."""

import numpy as np
import pytest
import torch
from support import Stopped, everything, ready, same_trace, trained

from clbench.benchmark.schema import Training
from clbench.core.record import Kind
from clbench.training.loop import train

CLASS, TASK, DOMAIN = (f"stream.setting={setting}" for setting in ("class", "task", "domain"))
EXTRAS = ("evaluation.masked=true", "evaluation.classes=true")
STREAMS = {
    "classes": (CLASS,),
    "classes, all compete": (CLASS, "stream.output=all"),
    "task labels": (TASK,),
    "domains": (DOMAIN,),
    "a world that drifts": ("stream={scenario: drift, changes: 2, dataset: {name: digits, train_rows: 300}}",),
    "hidden boundaries": ("stream={scenario: gaussian, dataset: {name: digits, train_rows: 300}, experiences: 6}",),
}


def switch_looks(trace):
    return trace.at(trace.kind == Kind.SWITCH)


def before(trace):
    """The looks just before those at switches: the start, then the ends."""
    return trace.at(np.flatnonzero(trace.kind == Kind.SWITCH) - 1)


@pytest.mark.parametrize("name", STREAMS)
def test_every_experience_is_looked_at_on_all_tasks_between_the_end_before_and_its_first_step(name):
    trace = trained("naive", *STREAMS[name]).trace()
    at = np.flatnonzero(trace.kind == Kind.SWITCH)
    assert trace.experience[at].tolist() == list(range(trace.n_experiences))
    assert trace.kind[at - 1].tolist() == [Kind.START] + [Kind.END] * (len(at) - 1)
    assert (trace.step[at] == trace.step[at - 1]).all()
    assert (trace.kind[at + 1] == Kind.STEP).all()
    assert (trace.step[at + 1] == trace.step[at] + 1).all()
    assert np.isfinite(trace.score[at]).all()


@pytest.mark.parametrize("name", STREAMS)
def test_a_look_that_is_written_down_once_more_is_what_a_forward_pass_gives(name):
    """A part that reads out leaves every look to a pass; this one changes no score."""
    runs = [ready("naive", *STREAMS[name], *EXTRAS) for _ in range(2)]
    runs[1].trainer.readout.predictors = (lambda learner, output, task, scores: scores,)
    for run in runs:
        run.train()
    assert same_trace(*runs)
    short, full = (run.trace() for run in runs)
    for column in ("masked", "class_score", "units", "competing"):
        np.testing.assert_array_equal(getattr(short, column), getattr(full, column))


PASSES = {"classes": 6 - 1, "classes, all compete": 0, "task labels": 0, "domains": 0, "hidden boundaries": 0}


@pytest.mark.parametrize("name", PASSES)
def test_a_look_at_a_switch_costs_rows_only_where_other_classes_compete(name):
    run = ready("naive", *STREAMS[name], "evaluation.every=0")
    run.train()
    trace, cost = run.trace(), run.learner.cost
    block = run.evaluator.panels.passed(range(trace.n_tasks), 0)
    assert cost.looks == len(trace.step)
    changed = (switch_looks(trace).competing != before(trace).competing).any(axis=1)
    assert cost.evaluation_rows == (1 + trace.n_experiences + changed.sum()) * block
    if name != "hidden boundaries":
        assert changed.sum() == PASSES[name]


def test_with_new_classes_the_same_weights_are_asked_among_more_of_them():
    trace = trained("naive", *STREAMS["classes"], "evaluation.rows_per_task=all").trace()
    assert switch_looks(trace).competing.tolist() == [[2 * (e + 1)] * 5 for e in range(5)]
    assert before(trace).competing.tolist() == [[10] * 5, *([2 * e] * 5 for e in range(1, 5))]
    change = switch_looks(trace).score - before(trace).score
    old = np.arange(5) < np.arange(5)[:, None]
    assert (change[old] <= 0).all()  # a row that was wrong among some classes is not right among more
    assert change[old].min() < 0


def test_where_the_world_drifts_the_look_is_at_the_world_to_come():
    run = ready("naive", *STREAMS["a world that drifts"], "evaluation.rows_per_task=all")
    scores = []
    inner = run.evaluator.look

    def look(readout, kind, experience, step):
        if kind is Kind.SWITCH and experience:
            test, (task,) = run.stream.dataset.test, run.stream.tasks
            y = run.stream.labels(test, task.rows, int(run.stream.task_views(experience)[0]))
            with torch.inference_mode():  # labels drift and inputs do not
                logits = readout.learner.model(run.evaluator.panels._x).logits
            scores.append(float((logits.argmax(1).numpy() == y).mean()))
        inner(readout, kind, experience, step)

    run.evaluator.look = look
    run.train()
    trace = run.trace()
    found = switch_looks(trace).score[1:, 0]
    np.testing.assert_allclose(found, scores, atol=1e-12)
    assert (found != before(trace).score[1:, 0]).all()


def test_what_a_part_does_when_an_experience_begins_comes_after_the_look():
    run = ready("naive", *STREAMS["task labels"])
    start = run.learner.w.detach().clone()
    run.chain.begin_experience = (lambda learner, shown: learner.w.data.copy_(start),)
    run.train()
    trace = run.trace()
    np.testing.assert_array_equal(switch_looks(trace).score, before(trace).score)
    first_steps = trace.at(np.flatnonzero(trace.kind == Kind.SWITCH) + 1)
    assert (switch_looks(trace).score - first_steps.score)[1:].diagonal().min() > 0.05  # of the task just learned


@pytest.mark.parametrize("strategy", ["naive", "er", "icarl"])
@pytest.mark.parametrize("place", ["in the middle", "after the last step"])
def test_a_run_that_goes_on_neither_takes_a_look_twice_nor_leaves_it_out(strategy, place):
    whole = trained(strategy)
    ends = whole.trace().step[whole.trace().kind == Kind.END]
    stop = int(ends[1]) - (2 if place == "in the middle" else 0)
    run, snapshot = ready(strategy), {}

    def halt(done, _):
        if done == stop:
            snapshot.update(run.snapshot())
            raise Stopped

    with pytest.raises(Stopped):
        run.train(halt)
    later = ready(strategy)
    later.restore(snapshot)
    later.train()
    assert same_trace(whole, later)
    np.testing.assert_array_equal(whole.trace().competing, later.trace().competing)
    assert later.learner.cost.evaluation_rows == whole.learner.cost.evaluation_rows


@pytest.mark.parametrize("strategy", ["er", "icarl", "ewc"])
def test_looks_at_switches_change_no_weight_and_no_other_look(strategy):
    run, without = ready(strategy), ready(strategy)
    look = without.evaluator.look
    without.evaluator.look = lambda learner, kind, *rest: None if kind is Kind.SWITCH else look(learner, kind, *rest)
    for each in (run, without):
        each.train()
    trace = run.trace()
    for name, value in everything(run).items():
        assert torch.equal(value, everything(without)[name])
    np.testing.assert_array_equal(trace.at(trace.kind != Kind.SWITCH).score, without.trace().score)


@pytest.mark.parametrize("schedule", ["dense", "{at: [1, 5, 9]}", "ends"])
def test_schedules_count_from_the_switch_as_before(schedule):
    trace = trained("naive", f"evaluation.schedule={schedule}").trace()
    ends = trace.step[trace.kind == Kind.END]
    steps = trace.step[trace.kind == Kind.STEP].tolist()
    every = list(range(1, int(ends[-1]) + 1))
    assert steps == {"dense": every, "{at: [1, 5, 9]}": [1, 5, 9], "ends": []}[schedule]
    assert (trace.kind == Kind.SWITCH).sum() == 5


def test_an_experience_without_a_step_has_its_look_too():
    run = ready("naive")
    run.learner.batch_size = 128  # more than any experience has
    train(run.trainer, run.stream, run.chain, run.evaluator, Training(epochs=1, drop_last=True))
    assert run.trace().kind.tolist() == [Kind.START, *[Kind.SWITCH, Kind.END] * 5]


def test_a_trace_of_some_looks_holds_all_that_belongs_to_them():
    trace = trained("naive", *EXTRAS).trace()
    some = trace.at(trace.kind == Kind.END)
    assert some.step.tolist() == trace.step[trace.kind == Kind.END].tolist()
    for column in ("score", "masked", "class_score", "competing", "seconds"):
        np.testing.assert_array_equal(getattr(some, column), getattr(trace, column)[trace.kind == Kind.END])
    np.testing.assert_array_equal(some.present, trace.present)

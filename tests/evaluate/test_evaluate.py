"""The evaluator: its scores against a plain loop over tasks, when it looks, at which rows, and its clock."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from support import Disturbable, assert_same, everything, ready, trained

from clbench.benchmark.schema import Evaluation, Training
from clbench.core.record import Kind
from clbench.evaluate import Diverged, Evaluator, evaluator
from clbench.training.device_rows import Resident
from clbench.training.loop import train

# --------------------------------------------------------------------------------------------------- scores


def plain_scores(run, tasks: list[int], rows: list[np.ndarray], seen: set[int]) -> dict[int, float]:
    """Accuracy of each task, one task and one row at a time, written without any of the evaluator's shortcuts."""
    stream, model, found = run.stream, run.learner.model, {}
    shown = Resident(stream.dataset.test, stream.dataset, transform=stream.transform)
    modes = [m.training for m in model.modules()]
    model.eval()
    for t in tasks:
        task, correct = stream.tasks[t], 0
        for row in rows[t].tolist():
            x = shown.present(torch.tensor([row]), torch.tensor([task.view]))
            label = int(stream.dataset.test.y[row])
            label = label if stream.label_map is None else int(stream.label_map[task.view, label])
            with torch.no_grad():
                logits = model(x).logits[0].tolist()
            compete = set(task.classes) if stream.task_labels else set(range(stream.n_outputs))
            if stream.output == "seen" and not stream.task_labels and seen:
                compete = seen
            correct += label == max(sorted(compete), key=logits.__getitem__)
        found[t] = correct / len(rows[t])
    for module, mode in zip(model.modules(), modes, strict=True):
        module.training = mode
    return found


STREAMS = {
    "class, seen compete": (),
    "class, all compete": ("stream.output=all",),
    "class, looked at as validation, normalised": ("stream.dataset.normalize=mean-std", "stream.order=fixed"),
    "task labels revealed": ("stream.setting=task",),
    "domain, labels mapped": ("stream.setting=domain",),
    "permuted views": ("stream.scenario=permuted", "stream.setting=domain", "stream.experiences=3"),
    "permuted, own units": ("stream.scenario=permuted", "stream.setting=class", "stream.experiences=3"),
    "rotated, task labels": ("stream.scenario=rotated", "stream.setting=task", "stream.degrees=[0, 60]"),
}


@pytest.mark.parametrize("chunk", [1 << 19, 64 * 70])
@pytest.mark.parametrize("stream", STREAMS)
def test_fused_scores_equal_a_plain_loop_over_tasks_and_rows(stream, chunk, monkeypatch):
    monkeypatch.setattr(evaluator, "CHUNK_VALUES", chunk)  # the smaller one cuts through tasks
    changes = (*STREAMS[stream], "evaluation.every=9", "stream.dataset.train_rows=150", "training.lr=0.3")
    run = ready("naive", *changes, model=Disturbable)
    expected: list[dict[int, float]] = []
    inner, rows = run.evaluator.look, run.evaluator.panels.rows

    def look(learner, kind, experience, step):
        if kind is Kind.STEP and step % 9:
            return
        seen = {c for e in range(experience + 1) for c in run.stream[e].classes}
        tasks = list(range(experience + 1)) if kind is Kind.STEP else [t.id for t in run.stream.tasks]
        expected.append(plain_scores(run, tasks, rows, seen))
        inner(learner, kind, experience, step)

    run.evaluator.look = look
    run.train()
    trace = run.evaluator.trace()
    assert len(trace.step) == len(expected) > 3
    wrong = 0.0
    for k, scores in enumerate(expected):
        assert set(np.flatnonzero(np.isfinite(trace.score[k])).tolist()) == set(scores)
        wrong += sum(abs(trace.score[k, t] - score) * trace.rows[t] for t, score in scores.items())
    assert wrong <= 1  # a tie may fall either way where sums are taken in another order
    assert np.nanmax(trace.score) > 0.3


def test_parts_turn_scores_into_scores_before_hidden_classes_are_taken_out():
    run = ready("naive")
    told: list[object] = []
    run.trainer.readout.predictors = (
        lambda learner, x, task, scores: (told.append(task), scores + 1e6 * (torch.arange(10) == 3))[1],
        lambda learner, x, task, scores: torch.where(torch.arange(10) == 3, scores, scores - 5),
    )
    run.train()
    trace, owner = run.evaluator.trace(), next(t for t in run.stream.tasks if 3 in t.classes)
    rows = run.evaluator.panels.rows
    for k in range(1, len(trace.step)):
        seen = trace.experience[k] >= owner.id
        for t in np.flatnonzero(np.isfinite(trace.score[k])):
            share = float((run.stream.dataset.test.y[rows[t]] == 3).mean())
            if seen:
                assert trace.score[k, t] == pytest.approx(share)
            elif t == owner.id:
                assert trace.score[k, t] == 0
    assert set(told) == {None}


def test_prediction_is_given_task_labels_only_where_the_stream_reveals_them():
    run = ready("naive", "stream.setting=task")
    told: list[torch.Tensor] = []
    run.trainer.readout.predictors = (lambda learner, x, task, scores: (told.append(task), scores)[1],)
    run.train()
    assert told[-1].tolist() == sorted(told[-1].tolist())
    assert set(told[-1].tolist()) == set(range(5))


# --------------------------------------------------------------------------------------------------- when it looks


@pytest.mark.parametrize("every", [0, 1, 4])
def test_it_looks_at_the_start_every_so_many_steps_and_at_ends(every):
    run = trained("naive", f"evaluation.every={every}", "training.epochs=2")
    trace, steps = run.evaluator.trace(), run.cursor.step
    at_steps = list(range(every, steps + 1, every)) if every else []
    assert trace.step[trace.kind == Kind.STEP].tolist() == at_steps
    assert trace.step[trace.kind == Kind.START].tolist() == [0]
    ends = np.cumsum([2 * -(-len(e) // 16) for e in run.stream])
    assert trace.step[trace.kind == Kind.END].tolist() == ends.tolist()
    assert trace.experience[trace.kind == Kind.END].tolist() == [0, 1, 2, 3, 4]
    assert trace.step[trace.kind == Kind.SWITCH].tolist() == [0, *ends[:-1]]
    assert trace.experience[trace.kind == Kind.SWITCH].tolist() == [0, 1, 2, 3, 4]
    assert trace.experience[0] == -1
    assert (np.diff(trace.step) >= 0).all()
    assert trace.every == every
    for step, kind, experience in zip(trace.step, trace.kind, trace.experience, strict=True):
        if kind in (Kind.STEP, Kind.END):
            assert experience == np.searchsorted(ends, step)


def test_start_and_end_looks_are_at_all_tasks_and_step_looks_at_those_seen():
    trace = trained("naive").evaluator.trace()
    for kind, experience, score in zip(trace.kind, trace.experience, trace.score, strict=True):
        looked = np.isfinite(score).tolist()
        assert looked == ([t <= experience for t in range(5)] if kind == Kind.STEP else [True] * 5)


def test_work_after_the_stream_is_looked_at_once_more():
    run = ready("naive")
    run.chain.end_stream = (lambda learner: learner.w.data.zero_(),)
    run.train()
    trace = run.evaluator.trace()
    assert trace.kind[-2:].tolist() == [Kind.END, Kind.END]
    assert trace.step[-2] == trace.step[-1] == run.cursor.step
    assert trace.experience[-2:].tolist() == [4, 4]
    assert trace.score[-1].tolist() != trace.score[-2].tolist()


def test_a_look_at_the_end_sees_what_parts_did_at_the_boundary():
    run = ready("naive")
    run.chain.end_experience = (lambda learner, _: learner.w.data.zero_(),)
    run.train()
    trace = run.evaluator.trace()
    zero = trace.score[trace.kind == Kind.END]
    first_seen = [min(c for e in range(k + 1) for c in run.stream[e].classes) for k in range(5)]
    for k in range(5):
        share = [(run.stream.dataset.test.y[rows] == first_seen[k]).mean() for rows in run.evaluator.panels.rows]
        assert zero[k].tolist() == pytest.approx(share)  # equal logits: the lowest class that competes


def test_tasks_that_are_visited_out_of_order_again_and_together_are_scored_under_their_own_names():
    run = ready("naive")
    whole = run.stream
    visits = ([2], [0], [4, 2], [1, 3])

    def build(i: int):
        experiences = [whole[t] for t in visits[i]]
        return replace(
            experiences[0],
            id=i,
            rows=np.concatenate([e.rows for e in experiences]),
            task=np.concatenate([np.full(len(e), e.id) for e in experiences]),
            classes=tuple(sorted(c for e in experiences for c in e.classes)),
        )

    stream = replace(whole, length=4, build=build)
    run.stream, run.evaluator = stream, Evaluator(stream, Evaluation(rows_per_task=20))
    rows, inner, expected = run.evaluator.panels.rows, run.evaluator.look, []

    def look(learner, kind, experience, step):
        sofar = {t for v in visits[: experience + 1] for t in v}
        seen = {c for t in sofar for c in whole[t].classes}
        expected.append(plain_scores(run, sorted(sofar) if kind is Kind.STEP else [*range(5)], rows, seen))
        inner(learner, kind, experience, step)

    run.evaluator.look = look
    train(run.trainer, stream, run.chain, run.evaluator, Training(epochs=3))
    trace = run.evaluator.trace()
    for k, scores in enumerate(expected):
        got = {int(t): trace.score[k, t] for t in np.flatnonzero(np.isfinite(trace.score[k]))}
        assert got == pytest.approx(scores, abs=0.051)
    table = [[t in visit for t in range(5)] for visit in visits]
    assert trace.present.tolist() == table
    assert trace.first_visit.tolist() == [1, 3, 0, 3, 2]
    distinct = trace.score[trace.kind == Kind.END]
    assert distinct[0].tolist() == pytest.approx([0, 0, distinct[0, 2], 0, 0])
    assert distinct[0, 2] > 0.4


# --------------------------------------------------------------------------------------------------- at which rows


def test_rows_of_a_task_are_fixed_stratified_by_label_and_the_same_for_every_strategy():
    evaluators = [ready(s, "evaluation.rows_per_task=20", seed=2).evaluator for s in ("naive", "er", "joint")]
    for other in evaluators[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(evaluators[0].panels.rows, other.panels.rows, strict=True))
    y = ready("naive", seed=2).stream.dataset.test.y
    for task, rows in zip(ready("naive", seed=2).stream.tasks, evaluators[0].panels.rows, strict=True):
        assert len(set(rows.tolist())) == 20
        assert set(rows.tolist()) <= set(task.rows.tolist())
        counts = [int((y[rows] == c).sum()) for c in task.classes]
        assert counts == [10, 10]
    other_seed = ready("naive", "stream.order=fixed", seed=3).evaluator
    same_tasks = ready("naive", "stream.order=fixed", seed=2).evaluator
    assert any(not np.array_equal(a, b) for a, b in zip(other_seed.panels.rows, same_tasks.panels.rows, strict=True))


def test_uneven_labels_keep_their_shares_and_small_tasks_keep_all_rows():
    stream = ready("naive", "stream.experiences=1").stream
    y = stream.dataset.test.y
    zeros, ones, twos = (np.flatnonzero(y == c) for c in (0, 1, 2))
    rows = np.sort(np.concatenate([zeros[:30], ones[:15], twos[:5]]))
    small = replace(stream, tasks=(replace(stream.tasks[0], rows=rows), replace(stream.tasks[0], id=1, rows=zeros[:7])))
    drawn = Evaluator(small, Evaluation(rows_per_task=10)).panels.rows
    assert np.bincount(y[drawn[0]]).tolist() == [6, 3, 1]
    assert np.array_equal(drawn[1], zeros[:7])
    assert Evaluator(small).panels.rows[0].tolist() == rows.tolist()


def test_every_look_goes_through_the_same_inputs():
    run = ready("naive", "stream.scenario=permuted", "stream.setting=domain", "stream.experiences=3")
    digests: dict[int, set[float]] = {}
    inner = run.evaluator._pass

    def spy(learner, panel, *rest):
        for position, task in enumerate(panel.tasks):
            digests.setdefault(task, set()).add(float(panel.x[panel.place == position].double().square().sum()))
        return inner(learner, panel, *rest)

    run.evaluator._pass = spy
    run.train()
    assert {task: len(d) for task, d in digests.items()} == {0: 1, 1: 1, 2: 1}


# --------------------------------------------------------------------------------------------------- divergence


@pytest.mark.parametrize(("every", "noticed"), [(1, "after step 7"), (5, "at step 8"), (0, "at step 8")])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_outputs_that_are_not_finite_end_the_run_at_the_next_look_or_the_next_loss(every, noticed, value):
    run = ready("naive", f"evaluation.every={every}")

    def spoil(learner, _):
        if run.cursor.step == 6:  # counted after the step
            learner.model.head.bias.data[run.stream[0].classes[0]] = value

    run.chain.after_step = (spoil,)
    with pytest.raises(Diverged, match=f"{noticed};") as caught:
        run.train()
    assert caught.value.step == int(noticed[-1])
    trace = run.evaluator.trace()
    assert trace.step[-1] == {1: 7, 5: 5, 0: 4}[every]


def test_a_class_that_does_not_compete_counts_as_divergence_too():
    run = ready("naive")
    hidden = run.stream[4].classes[0]
    run.chain.after_step = (lambda learner, _: learner.model.head.bias.data[hidden].fill_(torch.inf),)
    with pytest.raises(Diverged, match="after step 1;"):
        run.train()


def test_of_several_looks_that_are_checked_together_the_first_bad_one_is_named():
    evaluator = trained("naive").evaluator
    steps = [look[0] for look in evaluator._looks]
    evaluator._sums = [torch.tensor(v) for v in (1.0, torch.nan, 2.0, torch.nan)]
    with pytest.raises(Diverged, match=f"after step {steps[-3]};"):
        evaluator._check()


# --------------------------------------------------------------------------------------------------- neutrality


def test_a_look_leaves_modes_buffers_and_generators_as_they_were():
    run = ready("naive", model=Disturbable)
    run.trainer.enter(run.stream[0])
    run.learner.model.train()
    list(run.learner.model.modules())[4].eval()
    before, modes = everything(run), [m.training for m in run.learner.model.modules()]
    generator, g = torch.random.get_rng_state(), run.learner.g.clone()
    run.evaluator.look(run.trainer.readout, Kind.START, -1, 0)
    assert_same(everything(run), before)
    assert [m.training for m in run.learner.model.modules()] == modes
    assert torch.equal(torch.random.get_rng_state(), generator)
    assert torch.equal(run.learner.g, g)
    assert run.learner.w.requires_grad
    assert not run.learner.w.is_inference()


def test_the_training_clock_stands_still_while_looking(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(evaluator, "perf_counter", lambda: now[0])
    run = ready("naive", "evaluation.every=2")
    inner = run.evaluator._pass
    run.evaluator._pass = lambda *args: (now.__setitem__(0, now[0] + 100.0), inner(*args))[1]
    run.chain.after_step = (lambda *_: now.__setitem__(0, now[0] + 1.0),)
    run.train()
    trace = run.evaluator.trace()
    assert trace.seconds.tolist() == [float(step) for step in trace.step]
    assert run.evaluator.seconds == 100.0 * len(trace.step)
    assert run.evaluator.elapsed == run.evaluator.seconds + run.cursor.step


def test_the_training_clock_goes_on_from_a_snapshot(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(evaluator, "perf_counter", lambda: now[0])
    first = ready("naive").evaluator
    now[0] = 7.0
    state = first.snapshot()
    now[0] = 1000.0
    second = ready("naive").evaluator
    now[0] = 1010.0
    second.restore(state)
    now[0] = 1013.0
    assert second.elapsed == 10.0


def test_all_tasks_are_looked_at_after_every_step_where_that_is_asked_for():
    seen, everything_looked_at = (
        trained("naive", *changes).evaluator.trace() for changes in ((), ("evaluation.tasks=all",))
    )
    steps = seen.kind == Kind.STEP
    assert np.isnan(seen.score[steps]).any()
    assert not np.isnan(everything_looked_at.score[steps]).any()
    there = ~np.isnan(seen.score)
    np.testing.assert_array_equal(seen.score[there], everything_looked_at.score[there])

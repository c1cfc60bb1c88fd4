"""What a look writes down beside the scores: masked read-out, accuracy per unit, shared rows, standard errors."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from support import Disturbable, ready, trained

from clbench.benchmark.schema import Evaluation, Training
from clbench.core.record import Kind, Trace
from clbench.evaluate import Evaluator
from clbench.metrics import compute
from clbench.training.device_rows import Resident
from clbench.training.loop import train

BOTH = ("evaluation.masked=true", "evaluation.classes=true", "evaluation.every=7", "training.epochs=2")


def logits_of(run, rows) -> torch.Tensor:
    """Logits (n, C) in evaluation mode, without the evaluator."""
    shown = Resident(run.stream.dataset.test, run.stream.dataset, transform=run.stream.transform)
    run.learner.model.eval()
    with torch.no_grad():
        return run.learner.model(shown.present(torch.as_tensor(rows), torch.zeros(len(rows), dtype=torch.int64))).logits


# --------------------------------------------------------------------------------------------------- masked


def test_masked_scores_are_those_among_the_tasks_own_classes():
    run = trained("naive", *BOTH)
    trace, y = run.evaluator.trace(), run.stream.dataset.test.y
    assert trace.masked.shape == trace.score.shape
    np.testing.assert_array_equal(np.isnan(trace.masked), np.isnan(trace.score))
    for task in run.stream.tasks:
        rows, own = run.evaluator.panels.rows[task.id], list(task.classes)
        chosen = np.array(own)[logits_of(run, rows)[:, own].argmax(1).numpy()]
        assert trace.masked[-1, task.id] == pytest.approx((chosen == y[rows]).mean())
    later = trace.kind == Kind.END  # then every class of a task looked at competes once it was seen
    assert (trace.masked[later][-1] >= trace.score[later][-1]).all()
    assert trace.masked[-1].mean() > trace.score[-1].mean() + 0.2


def test_masked_scores_equal_the_scores_where_task_labels_already_mask():
    trace = trained("naive", *BOTH, "stream.setting=task").evaluator.trace()
    np.testing.assert_array_equal(trace.masked, trace.score)


def test_masked_scores_are_read_from_what_parts_made_of_the_logits():
    run = ready("naive", "evaluation.masked=true", "evaluation.every=0")
    lowest = torch.tensor([min(t.classes) for t in run.stream.tasks])
    run.trainer.readout.predictors = (
        lambda learner, x, task, scores: scores + 1e6 * torch.isin(torch.arange(10), lowest),
    )
    run.train()
    trace, y = run.evaluator.trace(), run.stream.dataset.test.y
    for task, rows in zip(run.stream.tasks, run.evaluator.panels.rows, strict=True):
        assert trace.masked[-1, task.id] == pytest.approx((y[rows] == min(task.classes)).mean())


# --------------------------------------------------------------------------------------------------- units


def test_a_trace_tells_which_units_are_a_tasks_own_and_which_compete_with_them():
    every = "evaluation.every=0"
    own = np.zeros((5, 10), dtype=np.int8)
    for task in ready().stream.tasks:
        own[task.id, list(task.classes)] = 1
    np.testing.assert_array_equal(trained("naive", every).evaluator.trace().units, 1 + own)
    np.testing.assert_array_equal(trained("naive", every, "stream.setting=task").evaluator.trace().units, 2 * own)
    shared = trained("naive", every, "stream.setting=domain").evaluator.trace().units
    np.testing.assert_array_equal(shared, np.full((5, 2), 2))


def test_forward_transfer_needs_no_masked_read_out_where_classes_are_shared_or_labels_revealed():
    found = {
        setting: compute(trained("naive", "evaluation.every=0", f"stream.setting={setting}").evaluator.trace(), ["fwt"])
        for setting in ("domain", "task", "class")
    }
    assert found["domain"]["fwt"].defined
    assert found["task"]["fwt"].defined
    assert "class-incremental" in found["class"]["fwt"].reason


def test_units_whose_labels_drift_are_the_tasks_own_from_then_on():
    """All labels are unit 0 under view 0 and unit 2 under view 1; task 1 is under view 1 from experience 1 on."""
    run = ready("naive", "evaluation.every=0")
    tasks = run.stream.tasks[:2]
    label_map = np.repeat([[0], [2]], 10, axis=1)
    drifting = replace(
        run.stream, tasks=tasks, label_map=label_map, views_at=lambda e: np.array([0, int(e > 0)]), n_outputs=10,
        length=2,
    )  # fmt: skip
    looks = Evaluator(drifting, Evaluation(every=0))
    for experience in (0, 1):
        looks.look(run.trainer.readout, Kind.END, experience, experience + 1)
    assert looks.trace().units[:, :4].tolist() == [[2, 1, 1, 1], [2, 1, 2, 1]]


# --------------------------------------------------------------------------------------------------- per output unit


def test_accuracy_per_unit_adds_up_to_the_scores_and_is_right_for_the_last_model():
    run = trained("naive", *BOTH)
    trace, y = run.evaluator.trace(), run.stream.dataset.test.y
    assert trace.class_score.shape == (len(trace.step), 10)
    for k in range(len(trace.step)):
        looked = np.flatnonzero(np.isfinite(trace.score[k]))
        units = np.bincount(y[np.concatenate([run.evaluator.panels.rows[t] for t in looked])], minlength=10)
        np.testing.assert_array_equal(np.isnan(trace.class_score[k]), units == 0)
        right = np.nansum(trace.class_score[k] * units)
        assert right == pytest.approx((trace.score[k, looked] * trace.rows[looked]).sum())
    rows = np.concatenate(run.evaluator.panels.rows)
    chosen = logits_of(run, rows).argmax(1).numpy()
    assert trace.class_score[-1].tolist() == [pytest.approx((chosen[y[rows] == c] == c).mean()) for c in range(10)]


def test_nothing_more_is_written_down_unless_it_is_asked_for():
    trace = trained("naive").evaluator.trace()
    assert trace.masked.shape == trace.class_score.shape == (0, 0)
    assert trace.probe.shape == (0, 6)
    assert trace.probe_step.shape == (0,)


# --------------------------------------------------------------------------------------------------- current tasks


def visiting(whole, visits):
    """The stream that visits the tasks of another as told, several in one experience."""

    def build(i: int):
        experiences = [whole[t] for t in visits[i]]
        return replace(
            experiences[0],
            id=i,
            rows=np.concatenate([e.rows for e in experiences]),
            task=np.concatenate([np.full(len(e), e.id) for e in experiences]),
            classes=tuple(sorted(c for e in experiences for c in e.classes)),
        )

    return replace(whole, length=len(visits), build=build)


@pytest.mark.parametrize("shared", [False, True])
def test_looks_at_current_tasks_see_those_with_rows_in_the_running_experience(shared):
    visits = ([2], [0], [4, 2], [1, 3], [2, 0])
    traces = []
    for tasks in ("all", "current"):
        run = ready("naive")
        stream = visiting(run.stream, visits)
        if shared:  # tasks 0 and 2 are evaluated on overlapping rows
            rows = np.union1d(stream.tasks[0].rows[:30], stream.tasks[2].rows[5:25])
            stream = replace(stream, tasks=tuple(replace(t, rows=rows) if t.id == 2 else t for t in stream.tasks))
        looks = Evaluator(stream, Evaluation(tasks=tasks, masked=True, classes=True))
        train(run.trainer, stream, run.chain, looks, Training(epochs=2))
        traces.append(looks.trace())
    everything, current = traces
    steps = current.kind == Kind.STEP
    for experience, looked in zip(current.experience[steps], np.isfinite(current.score[steps]), strict=True):
        assert np.flatnonzero(looked).tolist() == sorted(visits[experience])
    assert np.isfinite(current.score[~steps]).all()
    there = np.isfinite(current.score)
    np.testing.assert_array_equal(current.score[there], everything.score[there])
    np.testing.assert_array_equal(current.masked[there], everything.masked[there])
    assert list(Evaluator(stream, Evaluation(tasks="current")).panels.step_tasks()) == [sorted(v) for v in visits]
    assert list(Evaluator(stream).panels.step_tasks()) == [[2], [0, 2], [0, 2, 4], [0, 1, 2, 3, 4], [0, 1, 2, 3, 4]]


# --------------------------------------------------------------------------------------------------- shared rows


def overlapping(stream):
    """Tasks 0 and 1 as they are, and a third with all rows of both and ten of another task."""
    rows = np.concatenate([stream.tasks[1].rows, stream.tasks[3].rows[:10], stream.tasks[0].rows])
    classes = tuple(sorted({*stream.tasks[0].classes, *stream.tasks[1].classes, *stream.tasks[3].classes}))
    tasks = (stream.tasks[0], stream.tasks[1], replace(stream.tasks[2], rows=rows, classes=classes))
    return replace(stream, tasks=tasks, length=2)


@pytest.mark.parametrize("chunk", [1 << 19, 64 * 70])
def test_rows_that_tasks_share_go_through_once_and_count_for_each(chunk, monkeypatch):
    monkeypatch.setattr("clbench.evaluate.evaluator.CHUNK_VALUES", chunk)
    run = ready("naive", model=Disturbable)
    stream = overlapping(run.stream)
    n0, n1 = (len(stream.tasks[t].rows) for t in (0, 1))
    looks = Evaluator(stream, Evaluation(every=3, masked=True, classes=True))
    passed = []
    inner = run.trainer.readout.predict
    run.trainer.readout.predict = lambda output, *a, **k: (passed.append(len(output.logits)), inner(output, *a, **k))[1]
    train(run.trainer, stream, run.chain, looks, Training(epochs=2))
    trace, cost = looks.trace(), run.learner.cost
    steps = trace.kind == Kind.STEP
    at_steps = [n0 if e == 0 else n0 + n1 for e in trace.experience[steps]]
    assert sum(passed) == cost.evaluation_rows == sum(at_steps) + (~steps).sum() * (n0 + n1 + 10)
    assert looks.panels.passed([0, 1, 2], 0) == n0 + n1 + 10
    assert trace.rows.tolist() == [n0, n1, n0 + n1 + 10]

    y, seen = stream.dataset.test.y, sorted({*stream[0].classes, *stream[1].classes})
    for task, score, masked in zip(stream.tasks, trace.score[-1], trace.masked[-1], strict=True):
        logits = logits_of(run, task.rows)
        for classes, expected in ((seen, score), (list(task.classes), masked)):
            chosen = np.array(classes)[logits[:, classes].argmax(1).numpy()]
            assert expected == pytest.approx((chosen == y[task.rows]).mean())
    assert trace.masked[-1, 0] > trace.score[-1, 0]


def test_rows_shared_under_other_labels_go_through_once_and_are_judged_by_each_tasks_labels():
    run = ready("naive", "stream.output=all")
    turned = np.stack([np.arange(10), (np.arange(10) + 1) % 10])
    tasks = tuple(replace(run.stream.tasks[0], id=t, rows=np.arange(200), view=t) for t in (0, 1))
    stream = replace(run.stream, tasks=tasks, length=1, label_map=turned, output="all")
    looks = Evaluator(stream, Evaluation(every=0))
    train(run.trainer, stream, run.chain, looks, Training(epochs=3))
    chosen, y = logits_of(run, np.arange(200)).argmax(1).numpy(), run.stream.dataset.test.y[:200]
    expected = [(chosen == y).mean(), (chosen == (y + 1) % 10).mean()]
    assert looks.trace().score[-1].tolist() == pytest.approx(expected)
    assert run.learner.cost.evaluation_rows == 2 * 200


def test_rows_shared_under_other_views_of_the_inputs_go_through_under_each():
    stream = ready("naive", "stream.scenario=permuted", "stream.setting=domain", "stream.experiences=3").stream
    looks = Evaluator(stream)
    assert looks.panels.passed([0, 1, 2], 0) == 3 * len(stream.dataset.test)


def test_where_task_labels_are_revealed_every_row_goes_through_with_its_own():
    run = ready("naive", "stream.setting=task")
    stream = overlapping(run.stream)
    looks = Evaluator(stream, Evaluation(every=0))
    told = []
    run.trainer.readout.predictors = (lambda learner, x, task, scores: (told.append(task), scores)[1],)
    train(run.trainer, stream, run.chain, looks, Training(epochs=1))
    assert told[-1].tolist() == np.repeat([0, 1, 2], [len(t.rows) for t in stream.tasks]).tolist()
    # the start, and the switch and the end of two experiences: what reads out may read the learner, so all are passes
    assert run.learner.cost.evaluation_rows == 5 * looks.panels.passed([0, 1, 2], 0)


# --------------------------------------------------------------------------------------------------- standard errors


def made(score, rows, population=None):
    tasks = len(rows)
    extra = {} if population is None else {"population": np.array(population)}
    return Trace(
        step=np.zeros(1, dtype=np.int64),
        kind=np.full(1, int(Kind.START)),
        experience=np.full(1, -1),
        score=np.array([score], dtype=float),
        rows=np.array(rows),
        present=np.ones((1, tasks), dtype=bool),
        **extra,
    )


def test_standard_error_is_the_spread_of_all_samples_that_might_have_been_drawn():
    for population in ([1, 1, 0, 0], [1, 0, 0, 0, 1, 1, 1]):
        size = len(population)
        for n in (1, 2, 3):
            means = np.array([np.mean(s) for s in combinations(population, n)])
            trace = made([np.mean(population)], [n], [size])
            assert trace.standard_error[0, 0] == pytest.approx(means.std())


def test_standard_error_by_hand_with_and_without_a_known_population():
    # p = 0.9, n = 1000 of N = 2000: sqrt(9e-5 · 1000 / 1999)
    np.testing.assert_allclose(
        made([0.9, 0.9], [1000, 1000], [2000, 1000]).standard_error, [[0.00670988, 0]], rtol=1e-5
    )
    np.testing.assert_allclose(made([0.9, np.nan], [1000, 1]).standard_error, [[0.00948683, np.nan]], rtol=1e-5)
    assert made([1.0], [1], [1]).standard_error.tolist() == [[0.0]]


def test_a_run_records_from_how_many_rows_those_of_a_task_were_drawn():
    run = trained("naive")
    trace = run.evaluator.trace()
    assert trace.population.tolist() == [len(t.rows) for t in run.stream.tasks]
    assert trace.rows.tolist() == [20] * 5
    assert (trace.standard_error[-1] > 0).any()
    assert np.nanmax(trained("naive", "evaluation.rows_per_task=all").evaluator.trace().standard_error) == 0


@pytest.mark.parametrize(("name", "shape"), [("masked", (2, 2)), ("class_score", (3, 4)), ("population", (5,))])
def test_an_extra_column_of_another_length_is_refused(name, shape):
    trace = made([0.5, 0.5], [10, 10])
    with pytest.raises(ValueError, match=f"trace.{name} has shape"):
        replace(trace, **{name: np.zeros(shape)})


# --------------------------------------------------------------------------------------------------- precision


def test_half_precision_rounds_what_the_model_computes_and_hands_parts_single_precision():
    runs = [ready("naive", f"evaluation.precision={p}", "evaluation.every=0") for p in ("float32", "bfloat16")]
    seen: list[list[torch.Tensor]] = [[], []]
    for run, kept in zip(runs, seen, strict=True):
        inner = run.trainer.readout.predict
        run.trainer.readout.predict = lambda output, *a, inner=inner, kept=kept, **k: (
            kept.append(output.logits.clone()),
            inner(output, *a, **k),
        )[1]
        run.train()
    assert torch.equal(runs[0].learner.w, runs[1].learner.w)
    single, half = (torch.cat(kept) for kept in seen)
    assert half.dtype == torch.float32
    assert torch.equal(half.bfloat16().float(), half)
    assert not torch.equal(single, half)
    torch.testing.assert_close(single, half, rtol=0.05, atol=0.05)

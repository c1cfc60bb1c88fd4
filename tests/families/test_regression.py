"""The family of numbers: score and error against scikit-learn, likelihood against plain autograd, and the trace."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numbers_data import dataset, ready, trained
from sklearn.metrics import mean_squared_error, r2_score

import clbench
from clbench import families
from clbench.benchmark.schema import Evaluation
from clbench.core.errors import Refused
from clbench.core.record import Kind
from clbench.core.rng import Generator
from clbench.core.store import load_all
from clbench.evaluate import Evaluator
from clbench.families.class_mask import ALL
from clbench.families.regression import Regression
from clbench.metrics import get
from clbench.metrics.switches import switches
from clbench.models import make
from clbench.models.flat_weights import flatten
from clbench.training.fisher import estimate


def predicted(run) -> tuple[np.ndarray, np.ndarray]:
    """Numbers that a run predicts for all test rows, in the units of the targets, and what they should have been."""
    data, learner = run.stream.dataset, run.learner
    with torch.no_grad():
        outputs = learner.model.eval()(torch.from_numpy(data.test.x)).logits.double().numpy()
    train = data.train.target.astype(np.float64)
    return outputs * train.std(axis=0) + train.mean(axis=0), data.test.target.astype(np.float64)


# ------------------------------------------------------------------------------------------- loss and score


def test_the_loss_is_the_squared_error_of_standardised_columns():
    data, family = dataset(), families.of(dataset())
    target = torch.from_numpy(family.targets(data.train))
    by_hand = (data.train.target - data.train.target.mean(0)) / data.train.target.std(0)
    np.testing.assert_allclose(target.numpy(), by_hand, atol=1e-5)
    outputs = torch.zeros_like(target)
    torch.testing.assert_close(family.loss(outputs, target, ALL), target.square().mean(1))
    assert float(family.mean_loss(outputs, target, ALL)) == pytest.approx(1.0, abs=1e-5)  # variance of what is standard


@pytest.mark.parametrize("columns", [1, 2])
def test_final_r2_and_mse_are_those_of_scikit_learn(columns):
    run = trained("naive", "stream.scenario=online", "stream.kind=iid", columns=columns)
    trace = run.trace()
    ours, truth = predicted(run)
    assert trace.measure.name == "R²"
    assert float(get("acc")(trace).value) == pytest.approx(r2_score(truth, ours), abs=1e-5)
    assert float(get("mse")(trace).value) == pytest.approx(mean_squared_error(truth, ours), rel=1e-5)


def test_over_tasks_that_divide_the_rows_r2_is_that_of_all_rows_together():
    run = trained("er")
    ours, truth = predicted(run)
    assert float(get("acc_seen")(run.trace()).value) == pytest.approx(r2_score(truth, ours), abs=1e-5)
    each = run.trace().score[-1]
    spread = truth.var(axis=0)
    for task in run.stream.tasks:
        own = 1 - (np.square(ours - truth)[task.rows] / spread).mean()
        assert each[task.id] == pytest.approx(own, abs=1e-5)


def test_the_mean_of_the_training_targets_scores_about_0_and_the_truth_scores_1():
    data, family = dataset(), families.of(dataset())
    target = torch.from_numpy(family.targets(data.test))
    assert family.score(target, target).tolist() == [1.0] * len(target)
    held = family.score(torch.full_like(target, 0.0), target)
    truth = data.test.target.astype(np.float64)
    guess = np.broadcast_to(data.train.target.mean(axis=0, dtype=np.float64), truth.shape)
    assert float(held.mean()) == pytest.approx(r2_score(truth, guess), abs=1e-5)


def test_the_standard_error_is_that_of_a_mean_of_rows_drawn_without_replacement():
    run = trained("naive", "evaluation.rows_per_task=8")
    trace, family, data = run.trace(), families.of(run.stream.dataset), run.stream.dataset
    ours, truth = predicted(run)
    spread = truth.var(axis=0)
    for task in run.stream.tasks:
        rows = run.evaluator.panels.rows[task.id]
        scores = 1 - (np.square(ours - truth)[rows] / spread).mean(axis=1)
        left = (len(task.rows) - 8) / (len(task.rows) - 1)
        assert trace.standard_error[-1, task.id] == pytest.approx(np.sqrt(scores.var() / 8 * left), rel=1e-4)
    assert family.measure is trace.measure
    assert len(data.test) > 3 * 8


def test_a_column_that_never_varies_is_refused():
    x, y = np.zeros((20, 2), np.float32), np.ones(20)
    x[:, 0] = np.arange(20)
    with pytest.raises(Refused, match=r"has one value .* in every sample, so there is nothing to predict"):
        clbench.data.from_arrays("still", x, y, x, y, family="regression")


# ------------------------------------------------------------------------------------------- likelihood


def jacobian_squares(model, x: torch.Tensor) -> torch.Tensor:
    """Σ over rows and outputs of the squared gradient of each output, (P,), by plain autograd."""
    total = 0
    for row in x:
        for output in model(row[None]).logits[0]:
            gradients = torch.autograd.grad(output, list(model.parameters()), retain_graph=True)
            total = total + torch.cat([g.reshape(-1) for g in gradients]).square()
    return total


def fisher(estimator: str, x: torch.Tensor, target: torch.Tensor, model, generator=None) -> torch.Tensor:
    made = estimate(
        model.eval(), flatten(model), x, target, family=Regression(), estimator=estimator, class_mask=ALL,
        generator=generator,
    )  # fmt: skip
    return made.total


def test_exact_fisher_information_is_the_sum_of_squared_jacobians():
    model, x = make({"name": "mlp", "hidden": [5], "activation": "tanh"}, (4,), 3), torch.randn(6, 4)
    torch.testing.assert_close(fisher("exact", x, torch.zeros(6, 3), model), jacobian_squares(model, x))


def test_sampled_fisher_information_has_the_exact_one_as_its_mean():
    model, x = make({"name": "mlp", "hidden": []}, (4,), 2), torch.randn(5, 4)
    exact, generator = fisher("exact", x, torch.zeros(5, 2), model), Generator(0, "draws")
    mean = sum(fisher("sampled", x, torch.zeros(5, 2), model, generator) for _ in range(1500)) / 1500
    torch.testing.assert_close(mean, exact, rtol=0.2, atol=0.0)


def test_empirical_fisher_information_is_residual_times_jacobian_squared():
    model, x, target = make({"name": "mlp", "hidden": []}, (4,), 1), torch.randn(5, 4), torch.randn(5, 1)
    expected = 0
    for row, t in zip(x, target, strict=True):
        output = model(row[None]).logits[0, 0]
        gradients = torch.autograd.grad(-0.5 * (output - t[0]).square(), list(model.parameters()))
        expected = expected + torch.cat([g.reshape(-1) for g in gradients]).square()
    torch.testing.assert_close(fisher("empirical", x, target, model), expected)


# ------------------------------------------------------------------------------------------- what goes with classes


def test_reading_labels_of_a_batch_of_numbers_is_one_clear_sentence():
    run = ready()
    batch = run.learner.batch(run.trainer.enter(run.stream[0]).index[:, :4])
    with pytest.raises(Refused, match=r"batch\.y is for class labels, and this stream is of the family 'regression'"):
        _ = batch.y
    assert batch.target.shape == (4, 2)


@pytest.mark.parametrize("option", ["masked", "classes"])
def test_readouts_of_classes_are_refused(option):
    with pytest.raises(Refused, match=rf"evaluation\.{option} needs classes"):
        Evaluator(ready().stream, Evaluation(**{option: True}))


def test_methods_that_need_classes_are_skipped_with_the_reason():
    benchmark = {"name": "n", "stream": {"scenario": "split", "dataset": "x"}, "model": {"name": "mlp", "hidden": [4]},
                 "training": {"epochs": 1}, "memory": {"size": 20}, "evaluation": {"every": 0}}  # fmt: skip
    cells = clbench.run(
        benchmark,
        dataset=dataset(),
        seeds=1,
        strategies=["pcr(views=1)", "icarl", "lwf(strength=1, temperature=2)", "gdumb(passes=2)", "group_mask", "ncm"],
    )
    assert [cell.status for cell in cells] == ["skipped"] * 6
    assert all("is defined for classification, and this stream is of the family regression" in c.reason for c in cells)


def test_keeping_predictions_of_numbers_is_refused_before_anything_runs(tmp_path):
    benchmark = {"name": "n", "stream": {"scenario": "split", "dataset": "x"}, "model": {"name": "mlp", "hidden": [4]}}
    with pytest.raises(Refused, match=r"save_predictions .* needs classes"):
        clbench.run(benchmark, dataset=dataset(), seeds=1, out=tmp_path, save_predictions=True)


# ------------------------------------------------------------------------------------------- the gap


def test_gap_metrics_are_differences_of_r2():
    run = trained("naive", "training.epochs=6")
    trace, found = run.trace(), switches(run.trace())
    ends = [np.flatnonzero((trace.kind == Kind.END) & (trace.experience == e))[-1] for e in range(3)]
    for place, (task, experience) in enumerate(zip(found.task, found.experience, strict=True)):
        before = trace.score[ends[experience - 1], task]
        during = trace.score[(trace.experience == experience) & (trace.kind != Kind.SWITCH), task]
        assert found.before[place] == pytest.approx(before)
        assert found.depth[place] == pytest.approx(max(0.0, before - during.min()))
        assert found.residual[place] == pytest.approx(before - trace.score[ends[experience], task])
    assert found.expansion.tolist() == [0.0] * len(found)  # no outputs arrive
    assert set(found.chance.tolist()) == {0.0}
    assert float(get("gap_depth")(trace).value) == pytest.approx(found.depth.mean())
    assert "has other bounds" in get("facilitation")(trace).reason


def test_a_trace_of_numbers_is_saved_and_read_with_its_measure(tmp_path):
    record = clbench.run(
        {"name": "n", "stream": {"scenario": "split", "experiences": 2, "dataset": "x"}, "model": {"name": "mlp"}},
        dataset=dataset(), seeds=1, out=tmp_path, strategies=["naive"],
    )[0]  # fmt: skip
    (again,) = load_all(tmp_path)
    assert again.trace.measure == record.trace.measure
    np.testing.assert_array_equal(again.trace.spread, record.trace.spread)
    np.testing.assert_array_equal(again.trace.further["mse"], record.trace.further["mse"])


def test_a_kept_model_predicts_in_the_units_of_the_data(tmp_path):
    benchmark = {"name": "n", "stream": {"scenario": "split", "experiences": 2, "dataset": "x"},
                 "model": {"name": "mlp", "hidden": [8]}}  # fmt: skip
    (record,) = clbench.run(benchmark, dataset=dataset(), seeds=1, out=tmp_path, strategies=["naive"], save_model=True)
    model, data = clbench.load_model(tmp_path / "models" / f"{record.key}.pt"), dataset()
    found = model.predict(data.test.x)
    assert found.shape == (60, 2)
    assert model.classes == ("target 0", "target 1")
    assert float(get("acc_seen")(record.trace).value) == pytest.approx(r2_score(data.test.target, found), abs=1e-4)
    with pytest.raises(Refused, match="has no classes; use predict"):
        model.predict_proba(data.test.x)

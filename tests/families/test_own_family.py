"""A third family, defined in this one file: counts, with a Poisson loss. It is run to a board and a picture."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

import clbench
from clbench import plots
from clbench.core.measure import Measure
from clbench.core.types import Dataset, Rows
from clbench.families import FAMILIES, Family
from clbench.families.class_mask import ClassMask
from clbench.leaderboard import board, render


class Counts(Family):
    """Predict how often something happens: outputs are logarithms of rates; a target is a count, (B, 1) float32."""

    name: ClassVar[str] = "counts"
    measure: ClassVar[Measure] = Measure(
        name="deviance", short="deviance", high=0.0, decimals=3, lower_is_better=True, legend="Poisson deviance per row"
    )

    def loss(self, outputs: Tensor, target: Tensor, class_mask: ClassMask) -> Tensor:
        return (outputs.exp() - target * outputs).sum(1)

    def score(self, answer: Tensor, target: Tensor) -> Tensor:
        ratio = torch.where(target > 0, target * (target.clamp(min=1).log() - answer), torch.zeros_like(target))
        return -2.0 * (ratio - (target - answer.exp())).sum(1)


FAMILIES.add("counts", Counts, "counts, for tests")

BENCHMARK = {
    "name": "counts",
    "stream": {"scenario": "split", "experiences": 2, "dataset": "arrays"},
    "model": {"name": "mlp", "hidden": [8]},
    "training": {"lr": 0.02, "batch_size": 16, "epochs": 3},
    "memory": {"size": 40},
    "evaluation": {"every": 4},
}


def counts() -> Dataset:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(240, 3)).astype(np.float32)
    y = rng.poisson(np.exp(0.5 + 0.8 * x[:, 0])).astype(np.float32)[:, None]
    group = (x[:, 1] > 0).astype(np.int64)
    train, test = (Rows(x[part], group[part], y[part]) for part in (slice(0, 160), slice(160, 240)))
    return Dataset("visits", train, test, ("low", "high"), 1.0, "made up", family="counts", target_names=("visits",))


@pytest.fixture(scope="module")
def records():
    return clbench.run(
        BENCHMARK, dataset=counts(), seeds=2, strategies=["naive", "er", "ewc(strength=1)", "pcr(views=1)"]
    )


def test_a_family_of_one_file_is_learned_and_methods_it_is_not_defined_for_are_skipped(records):
    status = {record.label: record.status for record in records}
    assert status == {"naive": "done", "er": "done", "ewc(strength=1)": "skipped", "pcr(views=1)": "skipped"}
    naive = records[0].trace
    assert naive.measure is Counts.measure
    assert naive.score[-1].mean() > naive.score[0].mean() + 0.3  # deviance falls from that of the initial model


def test_the_score_is_minus_the_mean_deviance_of_scikit_learn():
    from sklearn.metrics import mean_poisson_deviance

    rates, target = torch.tensor([[0.5], [2.0], [3.0]]), torch.tensor([[0.0], [2.0], [7.0]])
    ours = -float(Counts().score(rates.log(), target).mean())
    assert ours == pytest.approx(mean_poisson_deviance(target[:, 0], rates[:, 0]), rel=1e-6)


def test_its_board_and_picture_speak_of_its_measure(records):
    made = board(records, metrics=["acc", "min_acc", "gap_depth", "gap_depth_relative"])
    text = render(made, "md")
    assert "| deviance ↓ | min-deviance ↓ | Gap depth ↓ |" in text
    assert "Poisson deviance per row" in text
    second = next(row for row in made.tables[0].rows if row.rank == 2)
    shown = ", ".join(f"{-value:.3f}" for value in second.metrics["acc"].values.values())
    assert f"| {shown} |" in text  # the negative of the score, as people read it
    relative = made.tables[0].rows[0].metrics["gap_depth_relative"]
    assert relative.reason == "deviance has no chance level"
    figure = plots.stability_gap(records)
    assert figure.axes[0].get_ylabel() == "deviance, first task"

"""The benchmarks of parameter isolation: their protocol, and what the committed records of the short tier promise."""

from pathlib import Path

import numpy as np
import pytest

from clbench import api
from clbench.core.record import Kind
from clbench.metrics import compute
from clbench.running.plan import plan

NAME = "split-cifar10-isolation"
FOLDER = Path(__file__).parents[2] / "baselines" / "isolation" / "short"


@pytest.mark.parametrize("name", [NAME, f"{NAME}-short"])
def test_tasks_have_heads_of_their_own_and_the_network_batch_norms_that_methods_keep_per_task(name):
    cells = plan(name, seeds=1).cells
    assert {cell.config["strategy"][0]["name"] for cell in cells} == {
        "naive", "frozen", "only", "clr", "dst", "hypernet", "joint",
    }  # fmt: skip
    for cell in cells:
        config = cell.config
        assert config["stream"]["setting"] == "task"
        assert config["model"]["norm"] == "batch"
        assert config["model"]["heads"] == "separate"
        training = config["training"]
        assert [training[key] for key in ("optimizer", "lr", "weight_decay", "optimizer_state")] == [
            "adam", 0.001, 0.0, "reset",
        ]  # fmt: skip


def at_ends(record):
    """Accuracy of each task at the end of each experience."""
    trace = record.trace
    ends = [place for place, kind in enumerate(trace.kind) if kind == Kind.END]
    return trace.score[ends]


def test_the_committed_records_are_those_of_the_short_tier():
    expected = {cell.key for cell in plan(f"{NAME}-short", seeds=3).cells}
    assert expected <= {record.key for record in api.records(FOLDER)}


def test_clr_and_dst_forget_exactly_nothing_and_hypernet_less_than_half_a_point_in_the_mean():
    found, generated = set(), []
    for record in api.records(FOLDER):
        name = record.cell["strategy"][0]["name"]
        if name in ("clr", "dst", "hypernet"):
            found.add(name)
            forgetting = compute(record.trace, ["forgetting"])["forgetting"].value
            if name == "hypernet":
                generated.append(forgetting)
                assert abs(forgetting) < 0.01
            else:
                assert forgetting == 0
        if name in ("clr", "dst"):
            scores = at_ends(record)
            for task in range(5):
                assert len(np.unique(scores[task:, task])) == 1
    assert found == {"clr", "dst", "hypernet"}
    assert len(generated) == 3
    assert abs(np.mean(generated)) < 0.005


def test_naive_training_forgets_and_isolated_tasks_end_above_it():
    acc = {}
    for record in api.records(FOLDER):
        values = compute(record.trace, ["acc", "forgetting"])
        acc[record.cell["strategy"][0]["name"], record.cell["seed"]] = values["acc"].value
        if record.cell["strategy"][0]["name"] == "naive":
            assert values["forgetting"].value > 0.05
    for name in ("clr", "dst"):
        assert acc[name, 0] > acc["frozen", 0]

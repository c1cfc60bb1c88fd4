"""The class-incremental benchmark from scratch: its cells, and what the committed records of the short tier promise."""

from collections import defaultdict
from pathlib import Path

import numpy as np

from clbench import api
from clbench.metrics import compute
from clbench.running.plan import plan

NAME = "split-fashion-cil-short"
FOLDER = Path(__file__).parents[2] / "baselines" / "fashion-cil" / "short"


def test_the_committed_records_are_those_of_the_benchmark():
    assert {cell.key for cell in plan(NAME).cells} == {record.key for record in api.records(FOLDER)}


def test_methods_with_exemplars_end_above_replay_and_naive_training_forgets():
    found = defaultdict(list)
    for record in api.records(FOLDER):
        found[record.label].append(compute(record.trace, ["acc"])["acc"].value)
    acc = {label.partition(" [")[0]: float(np.mean(values)) for label, values in found.items()}
    assert acc["naive"] < 0.2
    assert acc["er"] > 0.4
    for name in ("icarl(over_classes=sum)", "bic", "wa", "expand"):
        assert acc["er"] + 0.05 < acc[name] < acc["joint"]


def test_the_network_that_grows_is_six_backbones():
    weights = {record.label.partition(" [")[0]: record.cost["weights"] for record in api.records(FOLDER)}
    assert 6 < weights["expand"] / weights["bic"] < 6.1

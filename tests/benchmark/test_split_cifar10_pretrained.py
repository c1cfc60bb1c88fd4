"""The benchmark on a pretrained network: its cells, and what the committed records of the short tier promise."""

from collections import defaultdict
from pathlib import Path

import numpy as np

from clbench import api
from clbench.metrics import compute
from clbench.running.plan import plan

NAME = "split-cifar10-pretrained-short"
FOLDER = Path(__file__).parents[2] / "baselines" / "pretrained" / "short"


def test_the_committed_records_are_those_of_the_benchmark():
    assert {cell.key for cell in plan(NAME).cells} == {record.key for record in api.records(FOLDER)}


def test_closed_forms_end_near_joint_training_and_above_nearest_means_and_naive_training_forgets():
    found = defaultdict(list)
    for record in api.records(FOLDER):
        found[record.label].append(compute(record.trace, ["acc"])["acc"].value)
    acc = {label: float(np.mean(values)) for label, values in found.items()}
    slda, ranpac = acc["slda(shrinkage=0.5)"], acc["ranpac(features=pixels, size=2000)"]
    assert min(slda, ranpac) > acc["joint"] - 0.02
    assert slda > acc["ncm"] + 0.03
    assert ranpac > acc["ncm"] + 0.015
    assert acc["naive"] < 0.35
    assert slda > acc["slda(shrinkage=0.0001, target=identity)"] + 0.1

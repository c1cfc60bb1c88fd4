"""The finding about active units is worked out from the committed records, and the page says what they say."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from synthetic import trace_from

from clbench.api import records
from clbench.core.record import Kind, Reading

HERE = Path(__file__).parents[2] / "baselines" / "plasticity"


@pytest.fixture(scope="module")
def correlation():
    sys.path.insert(0, str(HERE))
    try:
        return importlib.import_module("correlation")
    finally:
        sys.path.remove(str(HERE))


def committed():
    found = {}
    for record in records(HERE):
        found.setdefault(record.label.partition(" [")[0], []).append(record.trace)
    return {label: found[label] for label in ("sgd", "adam")}


def test_the_tables_of_the_page_are_those_of_the_records(correlation):
    traces = committed()
    assert {label: len(own) for label, own in traces.items()} == {"sgd": 5, "adam": 5}
    page = (HERE / "README.md").read_text(encoding="utf-8")
    assert f"{correlation.BEGIN}{correlation.tables(traces)}{correlation.END}" in page
    for label, words in (("adam", "is {}"), ("sgd", "correlation {}")):
        rho = correlation.told(correlation.row(traces[label], "fau").rho, 2)
        assert words.format(rho) in page


def test_correlations_are_those_of_ranks_and_of_changes(correlation):
    accuracy = [0.9, 0.8, 0.85, 0.7, 0.6]
    trace = trace_from(np.eye(5), [2] * 5, lambda step, _: np.full(5, accuracy[min(4, max(0, (step - 1) // 2))]))
    steps = trace.step[np.isin(trace.kind, (Kind.START, Kind.END))]
    values = np.array([0.99, 0.5, 0.4, 0.3, 0.2, 0.1], dtype=np.float32)
    held = trace.__class__(**{**vars(trace), "readings": {"fau": Reading(steps, values)}})
    assert correlation.learned(held) == pytest.approx(accuracy)
    # ranks of accuracy 5 3 4 2 1 and of the reading 5 4 3 2 1: squared differences 0 1 1 0 0
    found = correlation.row([held, held], "fau")
    assert found.rho == pytest.approx([1 - 6 * 2 / (5 * 24)] * 2)

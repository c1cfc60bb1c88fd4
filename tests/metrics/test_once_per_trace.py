"""Tables that several metrics read are computed once for a trace."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest

from clbench import metrics
from clbench.core.record import Kind, Trace
from clbench.metrics.accuracy_matrix import end_looks
from clbench.metrics.metric import Undefined
from clbench.metrics.once_per_trace import once_per_trace
from clbench.metrics.switches import before_switches, old_pairs, switches


def trace_of(*scores: float) -> Trace:
    """Return two experiences of one iteration each; task 0 is old in the second one."""
    at = [(0, Kind.START, -1), (1, Kind.STEP, 0), (1, Kind.END, 0), (2, Kind.STEP, 1), (2, Kind.END, 1)]
    step, kind, experience = (np.array(column) for column in zip(*at, strict=True))
    return Trace(
        step=step,
        kind=kind,
        experience=experience,
        score=np.column_stack([scores, np.full(5, 0.5)]),
        rows=np.array([10, 10]),
        present=np.array([[True, False], [False, True]]),
        settled=True,
    )


def test_a_table_is_computed_once_for_each_trace_and_its_arguments_whichever_way_they_are_written() -> None:
    calls = []

    @once_per_trace
    def table(trace: Trace, *, level: float = 0.9) -> float:
        calls.append(level)
        return float(trace.score.max()) * level

    one, other = trace_of(0, 0.9, 0.8, 0.3, 0.7), trace_of(0, 0.4, 0.4, 0.4, 0.4)
    assert [table(one), table(one, level=0.9), table(one)] == [0.9 * 0.9] * 3
    assert (table(one, level=0.5), table(other)) == (0.45, 0.45)
    assert calls == [0.9, 0.5, 0.9]


def test_a_reason_is_kept_as_well_and_raised_anew() -> None:
    calls = []

    @once_per_trace
    def table(trace: Trace) -> float:
        calls.append(trace)
        raise Undefined("no task was visited")

    trace = trace_of(0, 0.9, 0.8, 0.3, 0.7)
    raised = []
    for _ in range(2):
        with pytest.raises(Undefined, match="no task was visited") as caught:
            table(trace)
        raised.append(caught.value)
    assert len(calls) == 1
    assert raised[0] is not raised[1]  # a traceback would keep the frames of the first caller alive


@pytest.mark.parametrize("table", [end_looks, before_switches, old_pairs, lambda trace: switches(trace).depth])
def test_no_caller_can_change_what_others_get(table) -> None:
    trace = trace_of(0, 0.9, 0.8, 0.3, 0.7)
    with pytest.raises(ValueError, match="read-only"):
        table(trace)[...] = 0
    assert float(switches(trace).depth[0]) == pytest.approx(0.5)  # from 0.8 at the end before to 0.3


def test_a_changed_trace_has_tables_of_its_own_and_a_copy_keeps_its_numbers() -> None:
    trace = trace_of(0, 0.9, 0.8, 0.3, 0.7)
    before = metrics.compute(trace)
    lower = replace(trace, score=np.minimum(trace.score, 0.6))
    assert metrics.gap_depth(lower) == pytest.approx(0.3)
    assert metrics.gap_depth(trace.at(np.arange(5))) == pytest.approx(0.5)
    copied = pickle.loads(pickle.dumps(trace))
    after = metrics.compute(copied)
    assert {name: (repr(value.value), value.reason) for name, value in before.items()} == {
        name: (repr(value.value), value.reason) for name, value in after.items()
    }

"""Equal runs have equal digests. A change of a value that a cell determines changes the digest, and is named."""

from dataclasses import replace

import numpy as np
import pytest
from synthetic import dipping, record

from clbench.core import store
from clbench.core.measure import Measure
from clbench.core.trace_equality import COLUMNS, trace_difference, trace_digest

K, T, C = 11, 2, 3
FURTHER = {
    "every": 3,
    "population": np.array([50, 60]),
    "masked": np.full((K, T), 0.5),
    "class_score": np.full((K, C), 0.25),
    "probe_step": np.array([4]),
    "probe": np.full((1, 6), 0.125),
    "units": np.ones((T, C), dtype=np.int8),
    "competing": np.full((K, T), 2),
    "met": np.array([0, 1, -1]),
    "counted": np.array([0, 7]),
    "spread": np.full((K, T), 0.1),
    "further": np.zeros((K, T), dtype=[("error", "f8"), ("bias", "f8")]),
    "measure": Measure(name="R2", short="R2"),
}


@pytest.fixture
def ours():
    return dipping(0, tasks=2, length=3)


@pytest.mark.parametrize("column", COLUMNS)
def test_each_column_that_a_cell_determines_is_compared(ours, column):
    changed = np.array(getattr(ours, column))
    changed.flat[-1] = ~changed.flat[-1] if changed.dtype == bool else changed.flat[-1] + 1
    other = replace(ours, **{column: changed})
    assert trace_difference(ours, other) == f"the trace's {column}"
    assert trace_digest(ours) != trace_digest(other)


@pytest.mark.parametrize("column", FURTHER)
def test_each_further_column_is_compared_where_one_run_recorded_it(ours, column):
    other = replace(ours, **{column: FURTHER[column]})
    assert trace_difference(ours, other) == f"the trace's {column}"
    assert trace_digest(ours) != trace_digest(other)


def test_equal_runs_have_equal_digests(ours):
    again = dipping(0, tasks=2, length=3)
    assert trace_difference(ours, again) == ""
    assert trace_digest(ours) == trace_digest(again)


def test_seconds_are_no_difference(ours):
    slower = replace(ours, seconds=np.arange(float(len(ours.step))))
    assert trace_difference(ours, slower) == ""
    assert trace_digest(ours) == trace_digest(slower)


def test_nan_and_zero_of_other_bits_are_no_difference(ours):
    score = np.array(ours.score)
    score[0, 0], score[0, 1] = np.nan, 0.0
    other = score.copy()
    other[0, 0] = np.frombuffer(b"\x01\x00\x00\x00\x00\x00\xf8\xff")[0]  # another NaN
    other[0, 1] = -0.0
    assert trace_digest(replace(ours, score=score)) == trace_digest(replace(ours, score=other))


def test_the_layout_in_memory_is_no_difference(ours):
    other = replace(ours, score=np.asfortranarray(ours.score), step=ours.step.astype(">i8"))
    assert trace_digest(ours) == trace_digest(other)


def test_a_digest_stays_what_it_was_when_records_were_published(ours):
    assert trace_digest(ours) == "e55319e096ec14b76852e07bdf7f3a1c"


def test_a_record_holds_the_digest_of_its_trace(tmp_path, ours):
    kept = store.load(store.save(record("er", 0, ours), tmp_path))
    assert kept.trace_digest == trace_digest(kept.trace) == trace_digest(ours)

"""Traces on disk are read when they are asked for, and few of them stay in memory."""

from __future__ import annotations

import copy
import gc
import pickle
import shutil
from dataclasses import replace

import numpy as np
import pytest
from synthetic import dipping, record

from clbench.core import store, stored_trace, trace_file
from clbench.core.errors import Damaged
from clbench.core.trace_equality import trace_difference


@pytest.fixture
def folder(tmp_path):
    """A result folder of five records with traces of different lengths."""
    for seed in range(5):
        store.save(record("er", seed, dipping(seed, tasks=2, length=4 + seed)), tmp_path)
    return tmp_path


@pytest.fixture
def decoded(monkeypatch):
    """The contents that were decoded."""
    found, decode = [], trace_file.decoded
    monkeypatch.setattr(trace_file, "decoded", lambda content: found.append(content) or decode(content))
    return found


def test_records_of_a_folder_are_read_without_decoding_a_trace(folder, decoded):
    records = list(store.load_all(folder))
    assert [each.has_trace for each in records] == [True] * 5
    assert decoded == []
    told = {
        each.seed: trace_difference(each.trace, dipping(each.seed, tasks=2, length=4 + each.seed)) for each in records
    }
    assert told == dict.fromkeys(range(5), "")
    assert len(decoded) == 5


def test_a_trace_that_somebody_holds_is_one_object(folder, decoded, monkeypatch):
    monkeypatch.setattr(stored_trace, "_LATEST", stored_trace._Latest(most=0))
    first, second, *_ = store.load_all(folder)
    held = first.trace
    assert second.trace is not None  # the only one that stays
    assert first.trace is held
    assert len(decoded) == 2


def test_traces_that_nobody_holds_stay_up_to_a_number_of_bytes(folder, decoded, monkeypatch):
    latest = stored_trace._Latest(most=10**9)
    monkeypatch.setattr(stored_trace, "_LATEST", latest)
    records = list(store.load_all(folder))
    sizes = [stored_trace.size_of(each.trace) for each in records]
    latest.most = sizes[-1] + sizes[-2]
    for each in records:
        assert each.trace.n_tasks == 2
    gc.collect()
    assert [held.checksum for held in latest.kept] == [each.stored_trace.checksum for each in records[-2:]]
    assert latest.bytes == sizes[-1] + sizes[-2]
    decoded.clear()
    for each in (records[-1], records[-2], records[-1], records[0]):
        assert each.trace.n_tasks == 2
    assert len(decoded) == 1  # the first record's: the last two were in memory


def test_a_trace_that_changes_after_its_record_was_read_is_damaged(folder):
    first, second, *_ = store.load_all(folder)
    shutil.copy(store.trace_path(second.key, folder), store.trace_path(first.key, folder))
    with pytest.raises(Damaged, match="it does not belong to this record"):
        first.trace  # noqa: B018


@pytest.mark.parametrize(
    "copied", [lambda it: pickle.loads(pickle.dumps(it)), copy.deepcopy, lambda it: replace(it, label="x")]
)
def test_a_copy_of_a_record_needs_no_files(folder, copied):
    original = next(iter(store.load_all(folder)))
    made, expected = copied(original), original.trace
    shutil.rmtree(folder)
    assert made.stored_trace is None
    assert trace_difference(made.trace, expected) == ""
    np.testing.assert_array_equal(made.trace.seconds, expected.seconds)
    assert (made.key, made.cell, made.cost) == (original.key, original.cell, original.cost)


def test_a_record_that_is_loaded_alone_is_checked_to_its_digest(folder):
    path = store.record_path(next(iter(store.load_all(folder))).key, folder)
    made = store.load(path)
    assert made.trace_digest == stored_trace.trace_digest(made.trace)

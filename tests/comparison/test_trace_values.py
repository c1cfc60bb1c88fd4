"""Values of records are those of their traces, whether they come from the cache or not."""

from __future__ import annotations

import ast
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synthetic import dipping, record

import clbench
from clbench import metrics
from clbench.comparison import trace_values
from clbench.comparison.record_groups import JointRuns, is_finished
from clbench.comparison.trace_values import TraceFacts, TraceValues
from clbench.core import store, trace_file
from clbench.core.notices import Notice
from clbench.leaderboard import render
from clbench.leaderboard.board import board
from clbench.leaderboard.frame import frame

BASELINES = Path(__file__).parents[2] / "baselines"
FORMATS = ("md", "csv", "json", "latex")


@pytest.fixture
def decoded(monkeypatch):
    """The contents that were decoded."""
    found, decode = [], trace_file.decoded
    monkeypatch.setattr(trace_file, "decoded", lambda content: found.append(content) or decode(content))
    return found


@pytest.fixture
def folder(tmp_path):
    """A result folder with three records of one strategy, and one of joint training."""
    for seed in range(3):
        store.save(record("er", seed, dipping(seed, tasks=3, length=6)), tmp_path)
    store.save(record("cumulative", 0, dipping(7, tasks=3, length=6)), tmp_path)
    return tmp_path


def everything(records):
    """All metrics and facts of records, as text with all bits."""
    joint = JointRuns(records)
    with TraceValues() as values:
        found = {}
        for each in filter(is_finished, values.readable(records)):
            own = values.metrics(each, metrics.metric_names(), joint.reference(each))
            found[each.key] = {name: (repr(v.value), v.reason) for name, v in own.items()}, values.facts(each)
        return found


def computed(records):
    """The same, by the functions themselves."""
    joint = JointRuns(records)
    found = {}
    for each in filter(is_finished, records):
        upper = joint.reference(each)
        values = metrics.compute(each.trace, reference=None if upper is None else upper.trace)
        found[each.key] = {n: (repr(v.value), v.reason) for n, v in values.items()}, TraceFacts.of(each.trace)
    return found


@pytest.mark.parametrize("name", ["split-digits", "split-diabetes"])
def test_boards_frames_and_values_of_committed_records_are_the_same_without_and_with_the_cache(name, tmp_path):
    shutil.copytree(BASELINES / name, tmp_path / name, ignore=shutil.ignore_patterns(".cache"))
    in_memory = [replace(each) for each in store.load_all(tmp_path / name)]
    assert all(each.stored_trace is None for each in in_memory)
    expected = computed(in_memory)
    shown = {form: render(board(in_memory), form) for form in FORMATS}
    table = frame(in_memory).drop(columns="trace").to_csv()
    assert not (tmp_path / name / ".cache").exists()
    for _ in range(2):  # computed and saved, then read
        records = list(store.load_all(tmp_path / name))
        assert everything(records) == expected
        assert {form: render(board(records), form) for form in FORMATS} == shown
        assert frame(records).drop(columns="trace").to_csv() == table
        assert len(list((tmp_path / name / ".cache").glob("metrics-*.json"))) >= 1


def test_with_the_cache_a_board_decodes_no_trace(folder, decoded):
    first = render(board(store.load_all(folder)), "json")
    assert len(decoded) == 4
    decoded.clear()
    assert render(board(store.load_all(folder)), "json") == first
    assert decoded == []
    shutil.rmtree(folder / ".cache")
    assert render(board(store.load_all(folder)), "json") == first
    assert len(decoded) == 4


def test_a_changed_trace_has_values_of_its_own(folder):
    before = everything(list(store.load_all(folder)))
    changed = next(each for each in store.load_all(folder) if each.label == "er")
    lower = replace(changed, trace=replace(changed.trace, score=changed.trace.score / 2))
    store.save(lower, folder)
    after = everything(list(store.load_all(folder)))
    assert after[changed.key][0]["acc"] == (repr(float(metrics.acc(lower.trace))), "")
    assert {key for key in before if before[key] != after[key]} == {changed.key}


def test_changed_code_of_metrics_computes_everything_again(folder, decoded, monkeypatch):
    board(store.load_all(folder))
    decoded.clear()
    monkeypatch.setattr(trace_values, "code_digest", lambda: "0123456789abcdef")
    board(store.load_all(folder))
    assert len(decoded) == 4


def test_a_damaged_trace_is_left_out_although_the_cache_knows_its_values(folder):
    board(store.load_all(folder))
    first = next(each for each in store.load_all(folder) if each.label == "er")
    path = store.trace_path(first.key, folder)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.warns(Notice, match=first.key):
        made = board(store.load_all(folder))
    assert [len(row.records) for row in made.tables[0].rows if row.label == "er"] == [2]


def test_a_trace_that_is_damaged_after_its_record_was_read_is_left_out_and_named(folder):
    records = list(store.load_all(folder))
    store.trace_path(records[0].key, folder).write_bytes(b"no trace")
    with pytest.warns(Notice, match=f"left out: the trace .*{records[0].key}"):
        made = board(records)
    assert sum(len(row.records) for row in made.tables[0].rows) == 3


def test_metrics_of_other_code_and_of_further_files_are_never_kept(folder, decoded, monkeypatch):
    mine = replace(metrics.get("acc"), name="mine", function=lambda trace: float(np.nanmax(trace.score)))
    monkeypatch.setattr(trace_values, "get", lambda name: mine if name == "mine" else metrics.get(name))
    first = next(iter(store.load_all(folder)))
    with TraceValues() as values:
        names = ["mine", "top5", "acc", "wf7"]
        found = values.metrics(first, names)
    assert found["mine"].value == np.nanmax(first.trace.score)
    assert found["top5"].reason.startswith("predictions were not kept")
    kept = trace_values.CacheShards(folder, "metrics", trace_values.code_digest()).get(first.stored_trace.checksum)
    assert set(kept) == {"acc", "wf7"}


def test_metrics_of_records_in_memory_are_computed_and_leave_no_files(tmp_path):
    made = record("er", 0, dipping(0, tasks=3, length=6))
    with TraceValues() as values:
        assert values.metrics(made, ["acc"])["acc"].value == metrics.acc(made.trace)
    assert list(tmp_path.iterdir()) == []


def test_the_digest_covers_all_code_of_clbench_that_metrics_import():
    package = Path(clbench.__file__).parent
    covered = {path for pattern in trace_values.CODE for path in package.glob(pattern)}
    needless = {"core/errors.py", "core/registry.py", "core/trace_on_demand.py"}  # no number depends on them
    found = set()
    for path in covered:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("clbench"):
                found.add(package.parent / (node.module.replace(".", "/") + ".py"))
    missing = {path.relative_to(package).as_posix() for path in found - covered if path.exists()}
    assert missing - needless == set()

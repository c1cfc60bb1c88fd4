"""Cells whose code has changed run again on request alone: equal results keep their records, others are told."""

import pytest
from command_line import call

import clbench
from clbench.core import store
from clbench.core.errors import Refused
from clbench.core.notices import Notice
from clbench.core.record import Record
from clbench.running import run_cell
from clbench.running.code_digest import code_of

OTHER = {"engine": "0" * 16, "strategy": "1" * 16}
SHORT = {"strategies": "naive", "seeds": 2, "overrides": {"training.epochs": 1, "evaluation.every": 50}}


def run_short(out, **more):
    """The records, and the cells that were run for them."""
    ran = []

    def watch(event):
        if isinstance(event, Record):
            ran.append(event.seed)

    return clbench.run("split-digits", out=out, watch=watch, **{**SHORT, **more}), sorted(ran)


@pytest.fixture
def older(tmp_path):
    """A result folder whose first cell was run by other code, and the second one by the present code."""
    records, _ = run_short(tmp_path)
    store.amend(records[0].key, tmp_path, code=OTHER)
    return tmp_path, records


def test_nothing_is_run_again_unasked(older):
    out, _ = older
    records, ran = run_short(out)
    assert ran == []
    assert records[0].code == OTHER


def test_a_stale_cell_with_an_equal_result_keeps_its_record_with_the_code_of_now(older):
    out, before = older
    records, ran = run_short(out, rerun="stale")
    assert ran == [0]
    assert records[0].code == code_of(records[0].cell)
    assert (records[0].created, records[0].cost) == (before[0].created, before[0].cost)
    assert not (out / "superseded").exists()
    assert run_short(out, rerun="stale")[1] == []


def test_a_record_of_unknown_code_is_run_again_too(older):
    out, records = older
    store.amend(records[1].key, out, code={})
    assert run_short(out, rerun="stale")[1] == [0, 1]


def test_a_stale_cell_with_another_result_replaces_the_old_record_and_tells_the_first_difference(older):
    out, records = older
    changed = dict(records[0].cell)
    path = store.record_path(records[0].key, out)
    trace = records[0].trace
    score = trace.score.copy()
    score[-1, 0] = 0.123
    forged = Record(**{**vars(records[0]), "cell": changed, "trace": type(trace)(**{**vars_of(trace), "score": score})})
    store.save(forged, out)
    store.amend(records[0].key, out, code=OTHER)
    with pytest.warns(Notice, match=r"naive, seed 0: the new run has another result \(the first difference .* 12\.3"):
        again, ran = run_short(out, rerun="stale")
    assert ran == [0]
    assert again[0].trace_digest == records[0].trace_digest == store.load(path).trace_digest
    [old] = store.load_all(out / "superseded")
    assert (old.key, old.code, old.trace.score[-1, 0]) == (records[0].key, OTHER, 0.123)


def vars_of(trace):
    return {name: value for name, value in vars(trace).items() if name in type(trace).__dataclass_fields__}


def test_a_stale_cell_that_fails_this_time_keeps_its_record_and_the_failure_is_in_the_answer(older, monkeypatch):
    out, records = older

    def fail(*_, **__):
        raise RuntimeError("no memory left")

    monkeypatch.setattr(run_cell, "prepare_job", fail)
    with pytest.warns(Notice, match="the new run was not used, because it failed"):
        again, _ = run_short(out, rerun="stale")
    assert again[0].status == "failed"
    kept = store.load(store.record_path(records[0].key, out))
    assert (kept.status, kept.code) == ("done", OTHER)


def test_a_word_that_is_not_known_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(Refused, match="rerun = 'stael' is not known; did you mean 'stale'"):
        run_short(tmp_path, rerun="stael")


def test_the_command_says_which_cells_would_run_again_and_why(older):
    out, records = older
    given = ["--strategies", "naive", "--set", "training.epochs=1", "--set", "evaluation.every=50", "--out", str(out)]
    ask = ["run", "split-digits", *given, "--seeds", "2", "--rerun", "stale", "--dry-run", "--no-time"]
    told = call(*ask).out
    assert told.startswith(
        "1 of 2 cells finished earlier with other code: they run again, and a record with another result moves to "
    )
    assert "2 cells: 1 finished, 1 to do" in told
    store.amend(records[1].key, out, code={})
    assert call(*ask).out.startswith("2 of 2 cells finished earlier with other code (1) or unknown code (1): ")


def test_a_record_is_shown_with_the_code_that_made_it_and_whether_it_is_that_of_now(older):
    out, records = older
    shown = call("show", str(out), records[0].key).out.partition("\ncode\n")[2].splitlines()
    assert [line.split(maxsplit=1) for line in shown[:2]] == [
        ["engine", "0" * 16 + ", changed since"],
        ["strategy", "1" * 16 + ", changed since"],
    ]
    assert "as now" in call("show", str(out), records[1].key).out


def test_a_key_does_not_depend_on_code(older, tmp_path, monkeypatch):
    _, records = older
    monkeypatch.setattr(run_cell, "code_of", lambda _cell: OTHER)
    again, ran = run_short(tmp_path / "elsewhere")
    assert ran == [0, 1]
    assert [(each.key, each.code) for each in again] == [(each.key, OTHER) for each in records]

"""A cell that was run more than once has one record: the first, unless a new run was asked for."""

from dataclasses import replace

import pytest
from synthetic import dipping, record

from clbench.core import store
from clbench.core.notices import Notice
from clbench.core.trace_equality import trace_digest
from clbench.running.standing_records import keep_first, renew, result_difference

ONE, OTHER = (dipping(seed, tasks=2, length=4) for seed in (0, 1))


def made(trace=ONE, **fields):
    return replace(record("er", 0, trace, **({} if trace else {"status": "failed"})), **fields)


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def held(folder):
    [found] = store.load_all(folder)
    return found


def test_an_equal_record_changes_nothing(tmp_path):
    keep_first(made(cost={"train_seconds": 1.0}), tmp_path)
    before = content(tmp_path)
    standing = keep_first(made(cost={"train_seconds": 2.0}, created="later"), tmp_path)
    assert standing.cost == {"train_seconds": 1.0}
    assert content(tmp_path) == before


def test_a_different_record_is_kept_apart_and_the_first_difference_is_reported(tmp_path):
    keep_first(made(), tmp_path)
    with pytest.warns(
        Notice, match=r"er, seed 0: another run .* different result \(the first difference is at .*conflicts"
    ):
        standing = keep_first(made(OTHER), tmp_path)
    assert standing.trace_digest == trace_digest(ONE) == held(tmp_path).trace_digest
    assert held(tmp_path / "conflicts").trace_digest == trace_digest(OTHER)


def test_conflicts_of_one_cell_do_not_replace_each_other_and_equal_ones_are_kept_once(tmp_path):
    keep_first(made(), tmp_path)
    third = dipping(2, tasks=2, length=4)
    for trace in (OTHER, third, OTHER, third):
        with pytest.warns(Notice, match="conflicts"):
            keep_first(made(trace), tmp_path)
    assert held(tmp_path / "conflicts").trace_digest == trace_digest(OTHER)
    assert held(tmp_path / "conflicts" / "2").trace_digest == trace_digest(third)
    assert not (tmp_path / "conflicts" / "3").exists()


def test_a_failed_run_of_a_finished_cell_is_no_conflict(tmp_path):
    keep_first(made(), tmp_path)
    before = content(tmp_path)
    assert keep_first(made(None, reason="no memory"), tmp_path).status == "done"
    assert content(tmp_path) == before


def test_a_cell_that_was_done_once_and_diverged_once_is_a_conflict(tmp_path):
    keep_first(made(), tmp_path)
    with pytest.warns(Notice, match=r"the first was done, the other one diverged \(the loss is not finite\)"):
        keep_first(made(status="diverged", reason="the loss is not finite"), tmp_path)
    assert held(tmp_path / "conflicts").status == "diverged"


def test_what_is_known_of_a_run_after_its_record_was_written_is_added(tmp_path):
    keep_first(made(), tmp_path)
    started = ({"began": "2026-01-01T00:00:00+00:00", "from_step": 0},)
    assert keep_first(made(attempts=started), tmp_path).attempts == started
    assert held(tmp_path).attempts == started


def test_a_new_run_with_an_equal_result_renews_the_code_of_the_old_record_alone(tmp_path):
    old = made(code={"engine": "0" * 16, "strategy": "1" * 16}, created="then", cost={"train_seconds": 1.0})
    keep_first(old, tmp_path)
    trace = store.trace_path(old.key, tmp_path).read_bytes()
    now = {"engine": "2" * 16, "strategy": "1" * 16}
    renew(made(code=now, created="now", cost={"train_seconds": 9.0}), tmp_path)
    assert (held(tmp_path).code, held(tmp_path).created, held(tmp_path).cost) == (now, "then", {"train_seconds": 1.0})
    assert store.trace_path(old.key, tmp_path).read_bytes() == trace
    assert not (tmp_path / "superseded").exists()


def test_a_new_run_with_another_result_replaces_the_old_record_which_is_kept_with_its_files(tmp_path):
    old = made(code={"engine": "0" * 16})
    path = store.save(old, tmp_path)
    before, model = path.read_bytes(), store.model_path(old.key, tmp_path)
    store.write(model, b"weights")
    with pytest.warns(Notice, match=r"the new run has another result \(the first difference .*superseded"):
        renew(made(OTHER, code={"engine": "1" * 16}), tmp_path)
    assert held(tmp_path).trace_digest == trace_digest(OTHER)
    aside = tmp_path / "superseded"
    assert store.record_path(old.key, aside).read_bytes() == before
    assert held(aside).trace_digest == trace_digest(ONE)
    assert store.model_path(old.key, aside).read_bytes() == b"weights"
    assert not model.exists()


@pytest.mark.parametrize("status", ["failed", "diverged", "skipped"])
def test_a_new_run_that_is_worse_replaces_no_done_record(tmp_path, status):
    keep_first(made(), tmp_path)
    before = content(tmp_path)
    with pytest.warns(Notice, match="the new run was not used, because it .*; the old record stands"):
        assert (
            renew(made(None if status == "failed" else OTHER, status=status, reason="why"), tmp_path).status == "done"
        )
    assert content(tmp_path) == before


@pytest.mark.parametrize("moment", range(6))
def test_a_process_that_is_stopped_while_it_replaces_a_record_leaves_the_old_one_or_the_new_one(
    tmp_path, monkeypatch, moment
):
    class Killed(BaseException):
        pass

    store.save(made(), tmp_path)
    written = []
    fsync = store.write.__globals__["os"].fsync

    def die(descriptor):
        if len(written) == moment:
            raise Killed
        written.append(descriptor)
        fsync(descriptor)

    monkeypatch.setattr(store.write.__globals__["os"], "fsync", die)
    with pytest.warns(Notice) if moment > 3 else pytest.raises(Killed):
        renew(made(OTHER), tmp_path)
    monkeypatch.undo()
    standing = held(tmp_path)
    assert standing.trace_digest == trace_digest(OTHER if moment > 3 else ONE)


def test_a_column_that_only_the_newer_record_has_is_no_difference(tmp_path):
    import numpy as np

    newer = replace(ONE, masked=np.full(ONE.score.shape, 0.5))
    assert trace_digest(newer) != trace_digest(ONE)
    assert result_difference(made(), made(newer)) == ""
    assert result_difference(made(newer), made(replace(ONE, masked=np.full(ONE.score.shape, 0.25)))) != ""

"""Workers that are kept between matrices: started once, ended at the end, and never used with other options."""

from __future__ import annotations

import os
import signal

import psutil
import pytest
from support import SMALL

import clbench
from clbench.running.executors.kept_workers import KEPT, KeptWorkers, workers_kept


def children() -> set[int]:
    return {each.pid for each in psutil.Process().children()}


def test_a_second_matrix_uses_the_workers_of_the_first_and_all_end_with_the_context():
    before = children()
    alone = clbench.run(SMALL, strategies="er", seeds="0,1")
    with workers_kept():
        first = clbench.run(SMALL, strategies="er", seeds="0,", isolated=True)
        (worker,) = children() - before
        second = clbench.run(SMALL, strategies="er", seeds="1,", isolated=True)
        assert children() - before == {worker}
        os.kill(worker, signal.SIGKILL)
        psutil.wait_procs([psutil.Process(worker)], timeout=10)
        third = clbench.run(SMALL, strategies="naive", seeds="0,", isolated=True)
        assert third[0].status == "done", "a kept worker that died is replaced"
        assert worker not in children()
    assert children() == before
    assert KEPT.get() is None
    for ours, theirs in zip(alone, [*first, *second], strict=True):
        assert ours.trace_digest == theirs.trace_digest


def test_a_worker_is_taken_only_with_the_options_that_it_was_started_with():
    ended = []
    kept = KeptWorkers()
    for name, started in (("one", (b"a", 1)), ("two", (b"a", 2)), ("three", (b"b", 1))):
        kept.keep(started, name, lambda name=name: ended.append(name))
    assert kept.take((b"c", 1)) is None
    assert kept.take((b"a", 2)) == "two"
    assert kept.take((b"a", 2)) is None
    kept.end()
    assert sorted(ended) == ["one", "three"]


def test_workers_of_a_matrix_that_is_stopped_are_not_kept():
    class Stop(BaseException):
        pass

    def stop(event):
        raise Stop

    before = children()
    with workers_kept():
        with pytest.raises(Stop):
            clbench.run(SMALL, strategies="er", seeds=1, isolated=True, watch=stop)
        assert children() == before

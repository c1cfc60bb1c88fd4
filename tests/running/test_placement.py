"""Cells are placed on devices, and where a cell ran changes nothing of its record."""

from __future__ import annotations

import re
from dataclasses import replace

import cloudpickle
import pytest
import torch
from support import SMALL

import clbench
from clbench import Refused
from clbench.core.environment import environment
from clbench.running.executors import worker_pool
from clbench.running.placement import check_jobs, device_names, least_used

GPUS = ("cuda:0", "cuda:1")


@pytest.fixture
def gpus(monkeypatch):
    """Two GPUs that torch seems to find; a worker placed on one of them works on the CPU. Returns the placements."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    placed, start = [], worker_pool._start

    def start_here(packed, threads):
        options = cloudpickle.loads(packed)
        placed.append(options.device)
        return start(cloudpickle.dumps(replace(options, device="cpu")), threads)

    monkeypatch.setattr(worker_pool, "_start", start_here)
    return placed


def test_workers_are_spread_evenly_and_an_ended_one_is_replaced_on_its_device():
    taken = []
    for _ in range(7):
        taken.append(least_used(3, taken))
    assert taken == [0, 1, 2, 0, 1, 2, 0]
    assert least_used(3, [0, 0, 2, 2, 1]) == 1


def test_devices_are_read_in_their_order_and_one_may_be_named_twice():
    assert device_names("cuda") == ("cuda",)
    assert device_names("cuda:1, cuda:0,cuda:1") == ("cuda:1", "cuda:0", "cuda:1")


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("cuda:0,,cuda:1", "has an empty name"),
        ("auto,cuda:1", "auto beside other devices"),
        ("cpu,cuda:0", "mixes kinds of devices"),
    ],
)
def test_other_lists_of_devices_are_refused(written, words):
    with pytest.raises(Refused, match=words):
        device_names(written)


def test_fewer_jobs_than_devices_are_refused():
    with pytest.raises(Refused, match=re.escape("jobs = 1 leaves devices idle, since 2 devices are named")):
        check_jobs(GPUS, 1)
    check_jobs(GPUS, "auto")
    check_jobs(GPUS, 2)
    check_jobs(("cpu",), 1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"executor": "in-process"}, "the executor in-process does not place cells on several devices"),
        ({"device": "cuda:0,cuda:2"}, "device 'cuda:2' is not available: torch finds 2 GPUs"),
        ({"jobs": 1}, "jobs = 1 leaves devices idle"),
    ],
)
def test_devices_that_cannot_be_used_are_refused_before_anything_runs(gpus, options, words):
    with pytest.raises(Refused, match=re.escape(words)):
        clbench.run(SMALL, strategies="naive", seeds="0,1", **{"device": "cuda:0,cuda:1", "jobs": 2, **options})
    assert not gpus


def test_the_number_of_devices_changes_no_key_and_no_number(gpus):
    asked = {"strategies": "naive,er", "seeds": "0,1"}
    alone = clbench.run(SMALL, **asked)
    placed = clbench.run(SMALL, **asked, device="cuda:0,cuda:1", jobs=3)
    assert sorted(gpus) == ["cuda:0", "cuda:0", "cuda:1"]
    twice = clbench.run(SMALL, **asked, device="cpu,cpu", jobs=2)
    for one, *others in zip(alone, placed, twice, strict=True):
        for other in others:
            assert (other.key, other.trace_digest, other.status) == (one.key, one.trace_digest, "done")


def test_a_record_names_the_kind_of_device_and_the_model_of_its_gpu(monkeypatch):
    environment.cache_clear()
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"model of {device}")
    try:
        found = environment("cuda:1")
    finally:
        environment.cache_clear()
    assert (found["device"], found["hardware"]) == ("cuda", "model of cuda:1")

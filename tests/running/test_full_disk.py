"""A disk that is full: one sentence, nothing half written, and the same command afterwards completes.

A limit of the size of files, which the kernel enforces, makes every larger write fail in the middle.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import Answer, call
from ruamel.yaml import YAML
from support import SMALL

from clbench.core import store
from clbench.core.record_folder import LeftOut
from clbench.core.trace_equality import trace_digest

resource = pytest.importorskip("resource")  # not on Windows
pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="a process cannot be copied here"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),  # newer Pythons warn of threads
]
MORE = pytest.mark.slow


def with_limit(size: int, work: Callable[[], Any]) -> Any:
    """Return what a function returns in a copy of this process that cannot write files of more than some bytes."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
            told = pickle.dumps(work())
        except BaseException:
            told = pickle.dumps(traceback.format_exc())
        with os.fdopen(theirs, "wb") as pipe:
            pipe.write(told)
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        told = pickle.loads(pipe.read())
    os.waitpid(child, 0)
    assert not isinstance(told, str), told
    return told


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("full") / "small.yaml"
    with path.open("w", encoding="utf-8") as file:
        YAML().dump({**SMALL, "version": 1, "strategies": ["naive", "er"], "seeds": 2}, file)
    return path


def command(benchmark: Path, out: Path) -> list[str | Path]:
    return ["run", benchmark, "--out", out, "--save-model", "--save-predictions"]


@pytest.fixture(scope="module")
def undisturbed(benchmark: Path) -> Path:
    out = benchmark.parent / "undisturbed"
    answer = call(*command(benchmark, out))
    assert answer.code == 0, answer.err
    return out


def files(out: Path) -> dict[str, bytes]:
    """The files of a result folder without its cache, by their path."""
    found = (path for path in sorted(out.rglob("*")) if path.is_file() and ".cache" not in path.parts)
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in found}


def equal_in_all_runs(name: str) -> bool:
    """Whether the content of a file does not depend on the time of the run."""
    return name in ("leaderboard.md", "leaderboard.csv") or name.startswith("predictions/")


def check_whole(out: Path, expected: dict[str, bytes]) -> None:
    """Nothing in a result folder is half written, and nothing is there that is not of a finished run."""
    left = LeftOut(out)
    for record in store.load_folder(left):
        assert record.trace is None or record.trace.score.size
    assert left.sentences() == []
    for name, content in files(out).items():
        path = Path(name)
        assert not path.name.startswith("."), name
        assert path.parts[0] != "claims", name
        if path.suffix == ".json":
            json.loads(content)
        if path.parts[0] not in ("attempts", "partial"):
            assert name in expected, name
        if equal_in_all_runs(name):
            assert content == expected[name], name


def sizes(undisturbed: Path) -> list[int]:
    """Limits at which one more kind of file cannot be written."""
    found = {len(content) for content in files(undisturbed).values()}
    return sorted({0, 100, 200, 300, *(size - 1 for size in found), *(size // 2 for size in found)})


def check_full_disk(benchmark: Path, undisturbed: Path, out: Path, limit: int) -> Answer:
    expected = files(undisturbed)
    answer: Answer = with_limit(limit, lambda: call(*command(benchmark, out)))
    assert answer.code in (0, 1, 2), answer.err
    assert "Traceback" not in answer.err + answer.out
    check_whole(out, expected)
    assert not list(Path(tempfile.gettempdir()).glob(f"clbench-rescued-{out.name}"))
    again = call(*command(benchmark, out))
    assert again.code == 0, again.err
    check_whole(out, expected)
    assert files(out).keys() == expected.keys()
    for ours, theirs in zip(store.load_all(out), store.load_all(undisturbed), strict=True):
        assert ours.key == theirs.key
        assert trace_digest(ours.trace) == trace_digest(theirs.trace)
    shutil.rmtree(out)
    return answer


FAULTS = {
    "claims": (0, "cells cannot be claimed in", "the attempts of a cell cannot be written to"),
    "records": (100, "the record of naive, seed 0 cannot be written to", "make room and run the same command again"),
    "models": (100, "the model could not be kept in", "the same command runs the cell again for it"),
    "leaderboard.json": (1000, "leaderboard.json cannot be written", "the same command writes the files"),
    "stability_gap.png": (1000, "stability_gap.png cannot be written", "the same command writes the files"),
}
"""Kinds of files, how many bytes of the largest one are above the limit, and words of the messages.

Records and boards hold times, so their sizes differ by some bytes between two runs: one byte is not enough."""


@pytest.mark.parametrize("kind", FAULTS)
def test_a_disk_that_is_full_for_a_kind_of_file_costs_a_sentence_and_the_same_command_completes(
    benchmark, undisturbed, tmp_path, kind
):
    less, *words = FAULTS[kind]
    largest = max((len(held) for name, held in files(undisturbed).items() if name.startswith(kind)), default=0)
    answer = check_full_disk(benchmark, undisturbed, tmp_path / "full", largest - less)
    assert answer.code == 2
    for said in words:
        assert said in answer.err
    assert all(line.startswith("clbench: ") for line in answer.err.splitlines())


@MORE
def test_a_disk_that_is_full_at_any_file_costs_a_sentence_and_the_same_command_completes(
    benchmark, undisturbed, tmp_path
):
    for limit in sizes(undisturbed):
        answer = check_full_disk(benchmark, undisturbed, tmp_path / "full", limit)
        assert answer.code == 2
        assert all(line.startswith("clbench: ") for line in answer.err.splitlines())


def test_a_checkpoint_that_cannot_be_written_costs_a_warning_and_not_the_cell(benchmark, undisturbed, tmp_path):
    kinds = ("records", "traces")
    limit = max(len(held) for name, held in files(undisturbed).items() if name.startswith(kinds)) + 100
    words = ["run", benchmark, "--out", tmp_path / "out", "--seeds", "1", "--snapshot-every", "0.001s"]
    answer = with_limit(limit, lambda: call(*words))
    assert answer.err.count("no snapshot can be written to") == 2  # one for each cell
    left = LeftOut(tmp_path / "out")
    found = {record.key: record for record in store.load_folder(left)}
    assert [record.status for record in found.values()] == ["done", "done"]
    assert not list((tmp_path / "out" / "partial").glob("*"))
    for key, record in found.items():
        whole = store.load(store.record_path(key, undisturbed))
        assert trace_digest(record.trace) == trace_digest(whole.trace)


def test_a_table_needs_no_room_for_its_cache(undisturbed, tmp_path):
    shutil.copytree(undisturbed, tmp_path / "out")
    shutil.rmtree(tmp_path / "out" / ".cache", ignore_errors=True)
    before = files(tmp_path / "out")
    answer = with_limit(50, lambda: call("board", tmp_path / "out"))
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == call("board", tmp_path / "out").out
    assert files(tmp_path / "out") == before

"""What is printed reaches consoles that have few letters, and a console that breaks stops no run."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from command_line import FAST, call

import clbench
from clbench.cli import main
from clbench.cli.console import PLAIN, plain_console


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("results")
    clbench.run("split-digits", strategies="naive", seeds=2, overrides=["training.epochs=1"], out=out)
    return out


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_every_command_prints_on_a_console_of_any_encoding(results, monkeypatch, encoding):
    run = ["run", "split-digits", "--strategies", "naive", "--seeds", "2", *FAST, "--out", str(results)]
    commands = [
        run, [*run, "--dry-run", "--no-time"], ["board", str(results)], ["board", str(results), "--format", "md"],
        ["board", str(results), "--format", "html"], ["show", "split-digits"], ["list"], ["list", "strategies"],
        ["show", "ewc"], ["plot", str(results)],
    ]  # fmt: skip
    for command in commands:
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2))
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            with pytest.raises(SystemExit) as stop:
                main(command)
        out.flush()
        assert stop.value.code in (0, None), command
        assert out.buffer.getvalue().decode(encoding).strip(), command
        assert out.errors == "strict"  # as it was


def test_letters_that_a_console_lacks_have_plain_ones_in_their_place(monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", out)
    with plain_console():
        print("84.0 ± 1.5 → λ ≤ ½ │─┼ 猫")
    out.flush()
    assert out.buffer.getvalue() == b"84.0 +- 1.5 -> lambda <= 1/2 |-+ ?\n"
    assert all(text.isascii() for text in PLAIN.values())


def test_a_process_without_standard_output_runs_its_command(results, monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(SystemExit) as stop:
        main(["board", str(results)])
    assert not stop.value.code


def test_a_console_that_breaks_in_the_middle_stops_no_run(tmp_path, monkeypatch):
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", Full())
        with pytest.raises(SystemExit) as stop:
            main(["run", "split-digits", "--strategies", "naive", "--seeds", "2", *FAST, "--out", str(tmp_path)])
    assert stop.value.code == 1
    assert len(list((tmp_path / "records").glob("*.json"))) == 2
    assert (tmp_path / "leaderboard.md").exists()


def test_a_full_disk_does_not_hide_the_leaderboard_of_finished_cells(tmp_path, monkeypatch):
    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    command = ["run", "split-digits", "--strategies", "naive", "--seeds", "2", *FAST, "--out", tmp_path]
    assert call(*command).code == 0
    with monkeypatch.context() as patch:
        patch.setattr("clbench.core.atomic_files.write", full)
        answer = call(*command)
    assert answer.code == 2
    assert "naive" in answer.out
    assert "2/2" in answer.out
    assert answer.err.splitlines()[-1].endswith(
        "No space left on device; make room or choose another place; all records are kept, and the same command "
        "writes the files"
    )


def test_a_run_of_nothing_but_skipped_cells_is_an_error_with_the_reasons(tmp_path):
    answer = call(
        "run", "split-digits", "--strategies", "er", "--seeds", "2", "--set", "memory.size=0", "--out", tmp_path
    )
    assert answer.code == 1
    assert answer.err.splitlines()[-2:] == [
        "clbench: all 2 cells were skipped:",
        "  er, seeds 0, 1: skipped: er needs a replay buffer, and the benchmark's memory has size 0",
    ]

"""The command line as processes: what they import, how they stop, and that nothing is left of them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from command_line import call

import clbench
from clbench import api
from clbench.cli import home
from clbench.leaderboard import board, render

PROGRAM = [sys.executable, "-c", "from clbench.cli import main; main()"]

IMPORTS = """
import sys
from clbench.cli import main
for arguments in {commands!r}:
    try:
        main(arguments)
    except SystemExit as stop:
        assert not stop.code, (arguments, stop.code)
    for module in {forbidden!r}:
        assert module not in sys.modules, f"clbench {{' '.join(arguments)}} imports {{module}}"
"""


def imports_none_of(forbidden: tuple[str, ...], commands: list[list[str]], **environment: str) -> str:
    """Run commands in one fresh interpreter, look at its modules after each, and return what it printed."""
    program = IMPORTS.format(commands=commands, forbidden=forbidden)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("results")
    clbench.run("split-digits", strategies="naive", seeds=2, overrides=["training.epochs=1"], out=out)
    return out


def test_help_and_version_import_nothing_heavy() -> None:
    heavy = ("torch", "numpy", "pandas", "matplotlib", "ruamel.yaml", "clbench.running.plan")
    imports_none_of((*heavy, "pydantic"), [["--help"], ["--version"]])
    imports_none_of(heavy, [["run", "--help"]])


def test_looking_at_things_imports_no_torch(results: Path) -> None:
    key = next((results / "records").glob("*.json"))
    same = ["run", "split-digits", "--strategies", "naive", "--set", "training.epochs=1", "--out", str(results)]
    imports_none_of(
        ("torch", "avalanche", "wandb"),
        [
            ["list"],
            *(["show", name] for name in ("ewc", "er", "split", "cnn", "wc_acc", "digits", "split-digits")),
            ["show", str(key)],
            ["board", str(results)],
            ["plot", str(results), "-o", str(results / "gap.png")],
            [*same, "--dry-run", "--no-time"],
            [*same, "--seeds", "2"],
        ],
    )


def test_plugins_are_listed_with_their_origin_and_broken_ones_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "plug.py").write_text(
        'def tiny(shape, n_outputs, *, width: int = 3):\n    """One small layer.\n\n    And more."""\n'
    )
    info = tmp_path / "plug-1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plug\nVersion: 1.5\n")
    (info / "entry_points.txt").write_text("[clbench.models]\ntiny = plug:tiny\nworse = plug_missing:x\n")
    text = imports_none_of(("torch",), [["list", "models"], ["show", "tiny"]], PYTHONPATH=str(tmp_path), COLUMNS="200")
    assert re.search(r"tiny +One small layer  \[plug 1.5\]\s+width: int = 3\s", text)
    assert "the model 'worse' from plug 1.5 does not import: ModuleNotFoundError" in text
    assert "model tiny, from plug 1.5" in text


def test_a_reader_that_leaves_early_is_no_error() -> None:
    process = subprocess.Popen([*PROGRAM, "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    with process.stderr as errors:
        assert errors.read() == b""
    process.wait()


# --------------------------------------------------------------------------------------------------- stopping


def command(out: Path) -> list[str]:
    """Six cells, the later ones the longer ones."""
    short = ["--seeds", "3", "--set", "training.epochs=2"]
    return ["run", "split-digits", "--strategies", "naive, cumulative", *short, "--out", str(out)]


def start(out: Path, *arguments: str) -> subprocess.Popen[str]:
    """A run in a session of its own, returned when its first cell is finished."""
    process = subprocess.Popen(
        [*PROGRAM, *command(out), *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    first = process.stdout.readline()
    assert re.match(r"\[1/6\] naive, seed \d: done", first), first
    return process


def check_stopped(process: subprocess.Popen[str], out: Path) -> None:
    """It said in one sentence what is finished, all of that is there, and no file is half-written."""
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdout, process.stderr:
        said = process.stderr.read()
    told = re.fullmatch(rf"clbench: stopped: (\d+) of 6 cells are finished and kept in {out}; .*\n", said)
    assert told, said
    assert 1 <= int(told[1]) < 6
    assert len(api.records(out)) == int(told[1])
    assert not list(out.rglob(".*"))


def test_ctrl_c_stops_workers_and_the_same_command_continues_to_the_same_leaderboard(tmp_path: Path) -> None:
    out = tmp_path / "stopped"
    process = start(out, "--jobs", "2")
    workers = psutil.Process(process.pid).children(recursive=True)
    assert len(workers) == 2
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=30) == 128 + signal.SIGINT
    assert not any(worker.is_running() for worker in workers)
    check_stopped(process, out)
    created = {record.key: record.created for record in api.records(out)}

    again = call(*command(out))
    assert again.code == 0
    assert again.out.startswith(f"{len(created)} of 6 cells are already finished.\n")
    assert {record.key: record.created for record in api.records(out)}.items() >= created.items()
    whole = clbench.run("split-digits", strategies="naive, cumulative", seeds=3, overrides={"training.epochs": 2})
    assert (out / "leaderboard.csv").read_text() == render(board(whole), "csv")


@pytest.mark.parametrize(("number", "arguments"), [(signal.SIGTERM, ()), (signal.SIGHUP, ("--in-process",))])
def test_sigterm_and_the_end_of_the_terminal_stop_a_run_like_ctrl_c(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, arguments: tuple[str, ...]
) -> None:
    monkeypatch.delenv("CLBENCH_IN_PROCESS")
    process = start(tmp_path, *arguments)
    process.send_signal(number)
    assert process.wait(timeout=30) == 128 + number
    check_stopped(process, tmp_path)


@pytest.mark.parametrize(
    ("written", "meant"),
    [("~/results", "/home/me/results"), ("--out=~/results", "--out=/home/me/results"), ("er + ewc", "er + ewc")]
    + [(same, same) for same in ("--set", "training.lr=~", "--set=a.b=~/c", "--plugin", "a~b", "")],
)
def test_the_home_folder_is_written_out_where_an_argument_begins_with_it(
    monkeypatch: pytest.MonkeyPatch, written: str, meant: str
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert home(written) == meant


def test_results_in_the_home_folder_are_written_and_read_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    run = {"strategies": "naive", "seeds": 1, "overrides": {"training.epochs": 1, "evaluation.every": 0}}
    [made] = clbench.run("split-digits", out="~/results", **run)
    assert (tmp_path / "results" / "records" / f"{made.key}.json").exists()
    assert [record.key for record in api.records("~/results")] == [made.key]

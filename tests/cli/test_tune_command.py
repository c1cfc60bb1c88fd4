"""``clbench tune`` from the search to the leaderboard, as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import call

BENCHMARK = """\
name: mine
stream: {scenario: split, dataset: {name: digits, train_rows: 300}, setting: class}
model: {name: mlp, hidden: [16]}
training: {lr: 0.1, batch_size: 16}
memory: {size: 40}
evaluation: {every: 0}
defaults: {ewc: {strength: 10}}
seeds: 2
"""
HERE = ("--executor", "in-process")
"""In this process: the executor is not what is tested."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(BENCHMARK, encoding="utf-8")
    return tmp_path


def test_a_search_is_used_by_a_run_and_shown_on_its_leaderboard(folder: Path) -> None:
    for protocol, out in (("first:2", "early"), ("end", "late")):
        words = ("--protocol", protocol, "--trials", "4", "--space", "training.lr=0.02:0.5:log", "--out", out)
        done = call("tune", "mine.yaml", "--strategies", "er, er + ewc", *words, *HERE)
        assert done.code == 0, done.err
        shown = " ".join(done.out.split())
        assert "er + ewc ewc.strength=" in shown
        assert f"{protocol} (4 trials, " in shown
        used = f"clbench run mine.yaml --strategies 'er, er + ewc' --tuned {out}/tuned.yaml"
        assert f"{out}/tuned.yaml written; use it by: {used}" in shown
        assert ("not available to a learner" in shown) is (protocol == "end")
        words = ("--strategies", "naive, er", "--tuned", f"{out}/tuned.yaml", "--out", f"{out}-run")
        ran = call("run", "mine.yaml", *words, *HERE)
        assert ran.code == 0, ran.err
    table = call("board", "early-run", "late-run", "--metrics", "acc", "--format", "md").out
    assert "| # | Strategy | Settings | Seeds | ACC ↑ |" in table
    assert "| naive | default |" in table
    assert "first:2 (4 trials, " in table
    assert "end (4 trials, " in table
    assert "settings chosen on the whole stream (end), which is not available to a learner: er" in table
    written = {path.stem: json.loads(path.read_text()) for path in (folder / "late-run" / "records").glob("*.json")}
    key = next(key for key, record in written.items() if record["tuning"].get("protocol") == "end")
    shown = call("show", "late-run", key[:8]).out
    assert "protocol" in shown
    assert "study" in shown


def test_the_same_command_replays_the_search_from_its_records(folder: Path) -> None:
    words = (
        "tune",
        "mine.yaml",
        "--strategies",
        "ewc",
        "--protocol",
        "first:2",
        "--trials",
        "4",
        "--out",
        "out",
        *HERE,
    )
    first = call(*words)
    assert "trials 1 to 4 of 4" in first.out
    before = {path: path.stat().st_mtime_ns for path in (folder / "out" / "records").iterdir()}
    answer = (folder / "out" / "tuned.yaml").read_bytes()
    (folder / "out" / "tuned.yaml").unlink()
    again = call(*words)
    assert "trials 1 to" not in again.out, "nothing was run"
    assert (folder / "out" / "tuned.yaml").read_bytes() == answer
    assert {path: path.stat().st_mtime_ns for path in (folder / "out" / "records").iterdir()} == before


def test_without_optuna_the_search_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    refused = call("tune", "mine.yaml", "--strategies", "ewc", *HERE)
    assert refused.code == 2
    assert refused.err == "clbench: clbench tune needs Optuna; install it with: pip install 'clbench[tune]'\n"
    assert not (folder / "results").exists()

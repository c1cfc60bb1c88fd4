"""The command line in this process: what it prints, writes and answers."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from command_line import FAST, Answer, call

import clbench
from clbench import api, metrics
from clbench.cli import main
from clbench.cli.boards import can_print
from clbench.plots import KINDS


@pytest.fixture(autouse=True)
def _wide_and_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Answer]:
    out = tmp_path_factory.mktemp("finished")
    what = ("split-digits", "--strategies", "naive, er(rows=8)", "--seeds", "2", *FAST, "--save-predictions")
    return out, call("run", *what, "--out", out)


# --------------------------------------------------------------------------------------------------- run


def test_run_prints_the_leaderboard_and_the_files_it_wrote(finished: tuple[Path, Answer]) -> None:
    out, answer = finished
    assert answer.code == 0
    assert answer.err == ""
    for name in ("leaderboard.md", "leaderboard.csv", "leaderboard.json", "leaderboard.html", "stability_gap.png"):
        assert f"{out / name}\n" in answer.out
        assert (out / name).stat().st_size > 100
    assert "split-digits@2" in answer.out
    assert "er(rows=8)" in answer.out
    assert len(list((out / "records").glob("*.json"))) == 4


def test_without_a_terminal_run_prints_a_line_per_finished_cell(finished: tuple[Path, Answer]) -> None:
    lines = [line for line in finished[1].out.splitlines() if line.startswith("[")]
    assert [line.split("]")[0] for line in lines] == ["[1/4", "[2/4", "[3/4", "[4/4"]
    accuracy = {(r.label, r.seed): metrics.acc(r.trace) for r in api.records(finished[0]) if r.trace}
    assert f"naive, seed 1: done, ACC {100 * accuracy['naive', 1]:.1f} %" in lines[1]


def test_the_same_command_again_runs_nothing_and_gives_the_same_leaderboard(finished: tuple[Path, Answer]) -> None:
    out, _ = finished
    before = {path.name: path.read_bytes() for path in out.glob("leaderboard.*")}
    created = {record.key: record.created for record in api.records(out)}
    again = call("run", "split-digits", "--strategies", "naive, er(rows=8)", "--seeds", "2", *FAST, "--out", out)
    assert again.code == 0
    assert again.out.startswith("4 of 4 cells are already finished.\n")
    assert {path.name: path.read_bytes() for path in out.glob("leaderboard.*")} == before
    assert {record.key: record.created for record in api.records(out)} == created


def test_results_go_to_a_folder_named_after_the_benchmark_and_models_beside_them() -> None:
    answer = call("run", "split-digits", "--strategies", "naive", "--seeds", "3,", *FAST, "--save-model")
    assert answer.code == 0
    (record,) = api.records("results/split-digits")
    assert record.seed == 3
    assert Path("results/split-digits/models", f"{record.key}.pt").exists()


def test_a_diverged_cell_is_told_with_its_reason_and_the_exit_code_is_1(tmp_path: Path) -> None:
    document = "name: mixed\nstream: {scenario: split, dataset: digits}\nmodel: {name: mlp}\nseeds: 2\n"
    document += "strategies: [naive, {strategy: naive, training: {lr: 1.0e+30}, label: wild}]\n"
    (tmp_path / "mixed.yaml").write_text(document)
    answer = call("run", tmp_path / "mixed.yaml")
    assert answer.code == 1
    assert "2 of 4 cells failed or diverged:" in answer.err
    assert "wild [lr=1e+30], seeds 0, 1: diverged: the model's outputs are not finite" in answer.err
    statuses = {(r.label, r.status) for r in api.records(tmp_path / "results/mixed")}
    assert statuses == {("naive", "done"), ("wild [lr=1e+30]", "diverged")}
    assert call("run", tmp_path / "mixed.yaml").code == 1, "a second call must not forget it"


def test_what_weights_and_biases_refuses_is_told_and_changes_nothing_else(
    finished: tuple[Path, Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    from clbench.running import wandb_tracker

    sent = []

    def send(records: list[clbench.Record], *, out: Path, mode: str) -> list[str]:
        sent.append((len(records), out, mode))
        return ["the network is down"]

    monkeypatch.setattr(wandb_tracker, "send", send)
    command = ("run", "split-digits", "--strategies", "naive", "--seeds", "2", *FAST, "--out", finished[0])
    answer = call(*command, "--wandb", "offline")
    assert (answer.code, answer.err) == (0, "clbench: the network is down\n")
    assert sent == [(2, finished[0], "offline")]


# --------------------------------------------------------------------------------------------------- dry run


def test_dry_run_shows_finished_cells_those_to_do_and_the_stream(finished: tuple[Path, Answer]) -> None:
    out, _ = finished
    before = sorted(out.rglob("*"))
    answer = call(
        "run", "split-digits", "--strategies", "er(rows=8), l2", "--seeds", "1,7", *FAST, "--out", out, "--dry-run"
    )
    rows = [line.split() for line in answer.out.splitlines()]
    assert answer.code == 0
    assert ["er(rows=8)", "1", "7"] in rows
    assert ["l2", "-", "1,", "7"] in rows
    stream = clbench.stream("split", "digits", seed=1, setting="class", experiences=5, output="seen")
    assert ["fingerprint", stream.fingerprint] in rows
    assert "4 cells: 1 finished, 3 to do" in answer.out
    assert sorted(out.rglob("*")) == before


def test_dry_run_and_show_download_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from clbench.data import torchvision_source

    monkeypatch.delenv("CLBENCH_OFFLINE")
    monkeypatch.setenv("CLBENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(torchvision_source, "_download", lambda *_: pytest.fail("it downloads"))
    answer = call("run", "speed-reference", "--dry-run")
    assert answer.code == 0
    assert f"mnist is not in {tmp_path / 'data'}; a run downloads it" in answer.out
    assert "a run downloads it" in call("show", "speed-reference").out
    monkeypatch.setenv("CLBENCH_OFFLINE", "1")
    assert call("run", "speed-reference", "--dry-run").code == 2


# --------------------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["run", "split-digit"], "did you mean 'split-digits'?"),
        (["run", "split-digits", "--strategies", "naive, eer"], "did you mean 'er'?"),
        (["run", "split-digits", "--strategies", "er(row=3)"], "did you mean 'rows'?"),
        (["run", "split-digits", "--strategies", "er("], "a bracket or quote is not closed"),
        (["run", "split-digits", "--set", "training.lrr=3"], "did you mean 'lr'?"),
        (["run", "split-digits", "--set", "training.lr=["], "is not valid YAML"),
        (["run", "split-digits", "--set", "training.lr"], "write it like --set training.lr=0.03"),
        (["run", "split-digits", "--seeds", "one"], "write 5 (for 0 to 4)"),
        (["run", "split-digits", "--device", "tpu"], "choose cpu, cuda or auto"),
        (["run", "split-digits", "--jobs", "many"], "give a number from 1, or auto"),
        (["run", "split-digits", "--set", "stream.experiences=11", "--dry-run"], "11"),
        (["run", "split-digits", "--out", "file/below"], "choose another --out"),
        (["list", "strategy"], "did you mean 'strategies'?"),
        (["show", "naiv"], "did you mean 'naive'?"),
        (["show", "nothing.json"], "a record is DIR/records/KEY.json"),
        (["board", "nowhere"], "give a directory that `clbench run --out DIR` has written"),
        (["plot", "nowhere", "-o", "x.png"], "nowhere holds no records"),
    ],
)
def test_a_mistake_is_answered_in_one_sentence_with_exit_code_2(arguments: list[str], hint: str) -> None:
    Path("file").write_text("no folder")
    answer = call(*arguments)
    assert answer.code == 2
    assert answer.out == ""
    assert answer.err.startswith("clbench: ")
    assert answer.err.count("\n") == 1
    assert hint in answer.err


def test_unknown_commands_and_options_are_answered_with_the_nearest_one() -> None:
    command, option = call("lst"), call("run", "split-digits", "--strategy", "er")
    assert (command.code, option.code) == (2, 2)
    assert "list" in command.err
    assert "--strategies" in option.err
    assert call("run", "split-digits", "--wandb", "maybe").code == 2


def test_a_mistake_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "board", lambda *_, **__: [].index("ours"))
    with pytest.raises(ValueError, match="ours"):
        main(["board", "."])


def test_version_is_that_of_the_package() -> None:
    assert call("--version").out == f"clbench {clbench.__version__}\n"


# --------------------------------------------------------------------------------------------------- board and plot


@pytest.mark.parametrize("suffix", ["md", "csv", "json", "html"])
def test_board_gives_what_run_wrote(finished: tuple[Path, Answer], tmp_path: Path, suffix: str) -> None:
    out, _ = finished
    expected = (out / f"leaderboard.{suffix}").read_text(encoding="utf-8")
    assert call("board", out, "--format", suffix).out == expected
    assert call("board", out, "-o", tmp_path / f"new/board.{suffix}").code == 0
    assert (tmp_path / f"new/board.{suffix}").read_text(encoding="utf-8") == expected


def test_board_json_holds_the_mean_over_seeds(finished: tuple[Path, Answer]) -> None:
    (table,) = json.loads(call("board", finished[0], "--format", "json", "--metrics", "bwt").out)["tables"]
    assert {row["strategy"] for row in table["rows"]} == {"naive", "er(rows=8)"}
    for row in table["rows"]:
        own = [r.trace for r in api.records(finished[0]) if r.label == row["strategy"]]
        assert row["metrics"]["bwt"]["mean"] == pytest.approx(np.mean([metrics.bwt(t) for t in own if t]))
        assert list(row["metrics"]) == ["bwt"]


def test_a_board_narrower_than_its_metrics_says_which_are_left_out(
    finished: tuple[Path, Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "70")
    text = call("board", finished[0]).out
    assert max(map(len, text.splitlines())) <= 70
    assert "ACC ↑" in text
    assert "forgetting" in text.split("no room for ")[1]
    asked = call("board", finished[0], "--metrics", "acc").out
    assert "no room" not in asked


@pytest.mark.parametrize(("suffix", "begin"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_plot_writes_the_format_of_the_suffix(
    finished: tuple[Path, Answer], tmp_path: Path, suffix: str, begin: bytes
) -> None:
    path = tmp_path / f"new/gap.{suffix}"
    assert call("plot", finished[0], "-o", path, "--strategies", "er(rows=8)").code == 0
    assert path.read_bytes().startswith(begin)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "spark"])
def test_plot_draws_every_kind_and_its_help_names_them(
    finished: tuple[Path, Answer], tmp_path: Path, kind: str
) -> None:
    answer = call("plot", finished[0], "--kind", kind, "-o", tmp_path / "picture.svg")
    if kind in ("classes", "readings"):  # they need a setting that these runs lack
        assert f"evaluation.{kind}=" in answer.err
    else:
        assert answer.code == 0, answer.err
        assert "split-digits@2" in (tmp_path / "picture.svg").read_text(encoding="utf-8")
    text = " ".join(re.sub(r"[│╭╮╰╯─]", " ", call("plot", "--help").out).split())
    assert f"{kind}: {KINDS[kind].meaning}" in text


def test_plot_without_a_file_prints_a_line_per_strategy_that_fits_the_terminal(
    finished: tuple[Path, Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "72")
    text = call("plot", finished[0]).out
    assert text == call("plot", finished[0], "--kind", "spark").out
    lines = text.splitlines()
    assert max(map(len, lines)) == 72
    assert {line.split()[0] for line in lines[3:]} == {"naive", "er(rows=8)"}
    finals = [metrics.acc(r.trace) for r in api.records(finished[0]) if r.label == "naive" and r.trace]
    naive = next(line for line in lines if line.startswith("naive"))
    assert f"  {100 * finals[0]:.1f}, {100 * finals[1]:.1f}  " in naive


def test_plot_counts_lags_since_the_first_visit_where_asked(finished: tuple[Path, Answer], tmp_path: Path) -> None:
    assert call("plot", finished[0], "--kind", "lag", "--since", "first", "-o", tmp_path / "lag.svg").code == 0
    assert "since the first visit" in (tmp_path / "lag.svg").read_text(encoding="utf-8")


def test_board_and_show_know_metrics_of_a_family_by_their_number(finished: tuple[Path, Answer]) -> None:
    (table,) = json.loads(call("board", finished[0], "--format", "json", "--metrics", "wf7,lca3").out)["tables"]
    assert table["rows"][0]["metrics"]["wf7"]["mean"] is not None
    assert table["rows"][0]["metrics"]["lca3"]["mean"] is not None
    assert "at most 6 apart" in call("show", "wf7").out


def test_blocks_are_printed_only_where_the_encoding_has_them() -> None:
    assert can_print("▁█", "utf-8")
    assert not can_print("▁█", "ascii")
    assert not can_print("▁█", "no-such-encoding")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--kind", "matrx", "-o", "x.png"], "there is no kind of picture called 'matrx'; did you mean 'matrix'?"),
        (["--kind", "matrix"], "--kind matrix is a picture: add -o FILE.png"),
        (["--kind", "spark", "-o", "x.png"], "--kind spark is text for the terminal: leave out -o"),
        (["--width", "3.3"], "--width is for pictures: add -o FILE.png"),
        (["--no-title"], "--no-title is for pictures: add -o FILE.png"),
        (["--rename", "er=ER"], "--rename is for pictures: add -o FILE.png"),
        (["-o", "x.png", "--rename", "nave=N"], "no strategy or benchmark is called 'nave' in these results"),
        (["-o", "x.png", "--width", "0.1"], "a picture's width cannot be 0.1 inches; choose 1 to 60"),
        (["-o", "x.png", "--per-panel", "0"], "a panel cannot hold 0 strategies; choose 1 or more"),
        (["-o", "x.png", "--order", "nave"], "'nave', which is not drawn; did you mean 'naive'?"),
        (["--kind", "gap", "-o", "x.png", "--cost", "steps"], "--cost is for --kind cost only"),
        (["--kind", "gap", "-o", "x.png", "--since", "first"], "--since is for --kind lag only"),
        (["--kind", "lag", "-o", "x.png", "--since", "ever"], "choose first or last"),
        (["--kind", "cost", "-o", "x.png", "--cost", "second"], "did you mean 'seconds'?"),
        (["--kind", "lag", "-o", "x.png", "--benchmark", "split-digit@2"], "known: split-digits@2 + training.epochs=1"),
    ],
)
def test_plot_tells_what_is_wrong_in_one_sentence(
    finished: tuple[Path, Answer], arguments: list[str], told: str
) -> None:
    answer = call("plot", finished[0], *arguments)
    assert (answer.code, answer.out) == (2, "")
    assert told in answer.err
    assert answer.err.count("\n") == 1


def test_plot_without_a_title_prints_its_words_for_the_text(finished: tuple[Path, Answer], tmp_path: Path) -> None:
    path = tmp_path / "gap.svg"
    answer = call("plot", finished[0], "-o", path, "--no-title", "--width", "3.3", "--height", "3", "--font-size", "7")
    assert answer.code == 0, answer.err
    assert "for your text: split-digits@2" in answer.out
    text = path.read_text(encoding="utf-8")
    assert 'width="237.6pt" height="216pt"' in text  # 3.3 and 3 inches of 72 points
    assert "along the stream" not in text.split("</metadata>")[1]


def test_plot_in_python_gives_the_figures_and_sends_text_elsewhere(finished: tuple[Path, Answer]) -> None:
    axes = clbench.plot(finished[0], kind="cost", cost="steps", strategies=["naive"]).axes[0]
    assert axes.get_xlabel() == "optimiser steps"
    assert [line.get_label() for line in axes.get_lines()] == ["Pareto front", "naive"]
    with pytest.raises(clbench.Refused, match=r"clbench\.plots\.sparklines"):
        clbench.plot(finished[0], kind="spark")


def test_plot_refuses_other_formats_by_the_name_given(finished: tuple[Path, Answer]) -> None:
    answer = call("plot", finished[0], "-o", "gap.gif")
    assert answer.code == 2
    assert "'gap.gif'" in answer.err


# --------------------------------------------------------------------------------------------------- doctor


def lines(text: str) -> Iterator[tuple[str, str]]:
    """Status and name of each check."""
    for line in text.splitlines():
        words = line.split()
        if words and words[0] in ("ok", "warning", "broken"):
            yield words[0], words[1]


def test_doctor_finds_this_installation_fit_and_the_data_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "data/mnist").mkdir(parents=True)
    answer = call("doctor", "--data-dir", tmp_path / "data")
    found = {name: status for status, name in lines(answer.out)}
    assert answer.code == 0
    assert {found[name] for name in ("python", "clbench", "torch", "torchvision", "cores")} == {"ok"}
    assert "digits, mnist\n" in "\n".join(line.rstrip() for line in answer.out.splitlines()) + "\n"


def test_doctor_calls_an_installation_without_torch_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    answer = call("doctor")
    assert answer.code == 1
    assert ("broken", "torch") in set(lines(answer.out))
    assert "pip install torch" in answer.out


def test_doctor_warns_of_a_cache_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("CLBENCH_CACHE", str(tmp_path / "file"))
    answer = call("doctor")
    assert answer.code == 0
    assert ("warning", "cache") in set(lines(answer.out))
    assert "set CLBENCH_CACHE to a folder with room" in answer.out

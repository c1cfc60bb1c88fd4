"""Files that commands write are named with a suffix that says their format."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import call
from synthetic import dipping, record

from clbench.cli.boards import SUFFIXES
from clbench.cli.output_files import PICTURES
from clbench.core import store
from clbench.leaderboard import BINARY, FORMATS
from clbench.plots import picture_files


@pytest.fixture
def results(tmp_path: Path) -> Path:
    store.save(record("er", 0, dipping(0)), tmp_path / "results")
    return tmp_path / "results"


def test_every_format_of_a_board_has_one_suffix_and_pictures_are_what_can_be_saved() -> None:
    assert sorted(SUFFIXES.values()) == sorted([*FORMATS, *BINARY])
    assert tuple(PICTURES) == picture_files.SUFFIXES


@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [
        (["board", "RESULTS", "-o", "table.doc"], ".md, .csv, .json, .tex, .html, .txt, .parquet"),
        (["board", "RESULTS", "-o", "table"], ".md, .csv, .json, .tex, .html, .txt, .parquet"),
        (["plot", "RESULTS", "-o", "gap.gif"], ".png, .svg, .pdf"),
        (["plot", "RESULTS", "-o", "gap"], ".png, .svg, .pdf"),
        (["show", "split-digits", "--plot", "stream.jpeg"], ".png, .svg, .pdf"),
        (["sensitivity", "split-digits", "-o", "change.tiff"], ".png, .svg, .pdf"),
    ],
)
def test_an_unknown_suffix_is_refused_before_any_work_with_those_that_are_known(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], allowed: str
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = call(*(results if word == "RESULTS" else word for word in arguments))
    assert (answer.code, answer.out) == (2, "")
    assert f"as {arguments[-1]!r}; end its name in {allowed}" in answer.err
    assert not (tmp_path / arguments[-1]).exists()


def test_a_format_that_is_named_may_go_to_a_file_of_any_unknown_suffix(results: Path, tmp_path: Path) -> None:
    assert call("board", results, "--format", "csv", "-o", tmp_path / "board.dat").code == 0
    assert (tmp_path / "board.dat").read_text(encoding="utf-8").startswith("benchmark,rank,")
    answer = call("board", results, "--format", "latex", "-o", tmp_path / "board.csv")
    assert answer.code == 2
    assert "'board.csv' is the name of a file in format csv; leave out --format latex, or rename it" in answer.err


def test_the_table_for_people_is_a_text_file(results: Path, tmp_path: Path) -> None:
    assert call("board", results, "-o", tmp_path / "board.TXT").code == 0
    assert "Strategy" in (tmp_path / "board.TXT").read_text(encoding="utf-8")

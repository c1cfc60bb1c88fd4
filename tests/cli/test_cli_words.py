"""How commands write numbers, settings, outcomes and verdicts, by hand."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synthetic import record, trace_from

from clbench.cli import boards, dry_run, run, run_results, sensitivity_command, show_record
from clbench.running import progress


def flat(accuracy):
    return trace_from(np.eye(2), [4, 4], lambda *_: np.full(2, accuracy))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0:00"),
        (7.4, "0:07"),
        (59.6, "1:00"),
        (750, "12:30"),
        (3599.6, "1:00:00"),
        (3750, "1:02:30"),
        (360000, "100:00:00"),
    ],
)
def test_times_are_written_as_clocks_show_them(seconds, text):
    assert progress.clock_text(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.004, "0.00"), (1.234, "1.23"), (9.99, "9.99"), (10, "10"), (123.6, "124")]
)
def test_predicted_seconds_have_decimals_only_where_they_are_few(seconds, text):
    assert dry_run._seconds(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"), [(3, "3"), (1234567, "1,234,567"), (2.0, "2"), (1.5, "1.500"), (1234.5678, "1,234.568")]
)
def test_amounts_have_their_thousands_marked(value, text):
    assert show_record.amount(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"lr": 0.05, "epochs": 5}, "lr 0.05, epochs 5"),
        ({"name": "mlp", "hidden": [10, 10]}, "name mlp, hidden [10, 10]"),
        ({"dataset": {"name": "digits", "size": None}}, "dataset (name digits, size None)"),
        ([{"name": "er", "parameters": {}}], "er"),
        ([{"name": "er", "parameters": {"rows": 7}}, {"name": "l2", "parameters": {}}], "er(rows=7) + l2"),
        ("text", "text"),
        (3, "3"),
    ],
)
def test_settings_are_written_on_one_line_and_strategies_as_users_write_them(value, text):
    assert show_record.flat(value) == text


@pytest.mark.parametrize(
    ("mean", "half", "percent", "text"),
    [
        (0.1234, 0.0123, True, "12.3 ± 1.2 %"),
        (0.1234, float("nan"), True, "12.3 %"),
        (0.12345, 0.0123, False, "0.123 ± 0.01"),
        (1234.5, float("nan"), False, "1.23e+03"),
        (float("nan"), 0.1, True, "-"),
    ],
)
def test_changes_of_modules_are_written_with_their_interval_where_there_is_one(mean, half, percent, text):
    assert sensitivity_command._number(mean, half, percent=percent) == text


def test_an_outcome_is_accuracy_and_time_of_a_finished_cell():
    done = replace(record("er", 3, flat(0.912)), cost={"train_seconds": 1.1, "evaluation_seconds": 0.3})
    assert progress.outcome_text(done) == "er, seed 3: done, ACC 91.2 %, 1.4 s"


@pytest.mark.parametrize("status", ["skipped", "diverged", "failed"])
def test_an_outcome_is_the_reason_where_there_is_no_result(status):
    made = record("er", 3, flat(0.9), status=status, reason="because of this")
    assert progress.outcome_text(made) == f"er, seed 3: {status}: because of this"


def test_an_outcome_without_an_accuracy_has_none():
    stopped = flat(0.9)
    stopped = stopped.at(np.arange(3))
    assert "ACC" not in progress.outcome_text(record("er", 0, stopped))


# ---------------------------------------------------------------------------------------------- verdicts


def verdict(capsys, *records):
    code = run_results.verdict(records, Path("results"))
    return code, capsys.readouterr().err


def test_finished_cells_are_no_failure_and_nothing_is_said(capsys):
    assert verdict(capsys, record("er", 0, flat(0.5))) == (0, "")


def test_cells_that_failed_are_listed_once_for_all_seeds_that_share_a_reason(capsys):
    bad = [record("er", seed, status="failed", reason="no memory") for seed in (0, 2)]
    other = record("ewc", 1, status="diverged", reason="nan")
    code, text = verdict(capsys, record("naive", 0, flat(0.5)), *bad, other)
    assert code == 1
    assert "3 of 4 cells" in text
    assert "  er, seeds 0, 2: failed: no memory\n" in text
    assert "  ewc, seed 1: diverged: nan\n" in text


def test_skipped_cells_are_a_failure_only_where_there_are_no_others(capsys):
    skipped = [record("gem", seed, status="skipped", reason="no boundaries") for seed in (0, 1)]
    assert verdict(capsys, record("er", 0, flat(0.5)), *skipped) == (0, "")
    code, text = verdict(capsys, *skipped)
    assert code == 1
    assert "  gem, seeds 0, 1: skipped: no boundaries\n" in text


def test_cells_without_the_replay_buffer_that_they_need_are_a_failure_with_the_cure(capsys):
    reason = "er needs a replay buffer, and the benchmark's memory has size 0"
    without = [record("er", seed, status="skipped", reason=reason) for seed in (0, 1)]
    code, text = verdict(capsys, record("naive", 0, flat(0.5)), *without)
    assert code == 1
    assert text == (
        "clbench: 2 of 3 cells were skipped, because memory.size is 0; set it, as in --set memory.size=200, or leave "
        f"these strategies out:\n  er, seeds 0, 1: skipped: {reason}\n"
    )
    assert verdict(capsys, *without)[1].count(reason) == 1


# ---------------------------------------------------------------------------------------------- watchers and letters


def test_a_console_that_breaks_is_left_alone_from_then_on():
    seen = []

    def watch(event):
        seen.append(event)
        if event == 2:
            raise OSError("no space left")

    guarded = run._unbroken(watch)
    for event in (1, 2, 3):
        guarded(event)
    assert seen == [1, 2]


def test_a_reader_that_has_left_ends_the_run():
    def watch(event):
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        run._unbroken(watch)(1)


@pytest.mark.parametrize(
    ("text", "encoding", "possible"),
    [("▁▂▃", "utf-8", True), ("▁▂▃", "ascii", False), ("abc", "ascii", True), ("abc", "no-such-encoding", False)],
)
def test_an_encoding_is_asked_whether_it_has_the_letters(text, encoding, possible):
    assert boards.can_print(text, encoding) is possible


def test_a_tally_counts_what_was_there_before_and_what_has_ended():
    tally = progress.Tally(10, 4)
    assert (tally.total, tally.before, tally.ended, tally.finished) == (10, 4, 0, 4)
    tally.see(record("er", 0, flat(0.5)))
    tally.see(record("er", 1, status="failed", reason="x"))
    assert (tally.ended, tally.finished) == (2, 5)


@pytest.mark.parametrize(
    ("words", "read"),
    [
        (["split-digits", "--save-model"], "final"),
        (["split-digits", "--save-model", "ends"], "ends"),
        (["--save-model", "split-digits"], "final"),
        (["split-digits", "--save-model", "--dry-run"], "final"),
        (["split-digits"], None),
    ],
)
def test_save_model_alone_means_the_final_one(words, read, monkeypatch):
    import typer
    from typer.testing import CliRunner

    app, seen = typer.Typer(), []

    @app.command(cls=run.Spelled)
    def command(benchmark: str, save_model: run.Kept | None = None, dry_run: bool = False) -> None:
        seen.append((benchmark, None if save_model is None else save_model.value))

    monkeypatch.setattr(sys, "argv", ["command"])
    answer = CliRunner().invoke(app, words)
    assert answer.exit_code == 0, answer.output
    assert seen == [("split-digits", read)]

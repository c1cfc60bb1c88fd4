"""How a running matrix is counted and shown."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from clbench.core.record import Record
from clbench.running.cell_key import Cell
from clbench.running.executors import Progress, Started
from clbench.running.plan import plan
from clbench.running.progress import Bars, Lines, Tally, clock_text, display


class Clock:
    """Seconds that pass when a test says so."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def cells(count: int) -> list[Cell]:
    return plan("split-digits", strategies=["naive"], seeds=count).cells


def ended(cell: Cell, status: str = "done", reason: str = "") -> Record:
    return Record(key=cell.key, cell=cell.config, label=cell.label, status=status, reason=reason)


def test_a_tally_extrapolates_the_pace_so_far() -> None:
    clock, (a, b, c, d) = Clock(), cells(4)
    tally = Tally(total=5, before=1, clock=clock)
    assert (tally.fraction, tally.elapsed, tally.left) == (0.0, 0.0, None)
    tally.see(Started(a))
    clock.now += 10
    tally.see(Progress(a, step=50, fraction=0.5))
    assert (tally.fraction, tally.elapsed, tally.left) == (0.125, 10.0, 70.0)
    tally.see(ended(a))
    tally.see(Started(b))
    tally.see(Progress(b, step=100, fraction=1.0))
    assert (tally.fraction, tally.left) == (0.5, 10.0)
    for cell in (b, c, d):
        tally.see(ended(cell))
    assert (tally.fraction, tally.left, tally.finished) == (1.0, 0.0, 5)


def test_a_failed_cell_is_ended_but_not_finished() -> None:
    tally = Tally(total=3, before=0)
    for cell, status in zip(cells(3), ("failed", "diverged", "skipped"), strict=True):
        tally.see(ended(cell, status))
    assert (tally.ended, tally.finished) == (3, 2)


@pytest.mark.parametrize(("seconds", "text"), [(6.6, "0:07"), (59.7, "1:00"), (750, "12:30"), (3750, "1:02:30")])
def test_times_are_written_as_clocks_show_them(seconds: float, text: str) -> None:
    assert clock_text(seconds) == text


def test_lines_tell_finished_cells_only(capsys: pytest.CaptureFixture[str]) -> None:
    clock, (a, b) = Clock(), cells(2)
    with Lines(Tally(total=3, before=1, clock=clock)) as watch:
        watch(Started(a))
        clock.now += 5
        watch(Progress(a, step=1, fraction=0.1))
        watch(ended(a, "skipped", "it needs task labels"))
        watch(ended(b, "failed", "out of luck"))
    assert capsys.readouterr().out == (
        "[2/3] naive, seed 0: skipped: it needs task labels (about 0:05 left)\n"
        "[3/3] naive, seed 1: failed: out of luck\n"
    )


def test_bars_fit_80_columns_and_leave_only_what_went_wrong() -> None:
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=80, color_system=None, legacy_windows=False)
    clock, (a, b) = Clock(), cells(2)
    watch = Bars(Tally(total=2, before=0, clock=clock), terminal)
    with watch:
        watch(Started(replace(a, label="er(rows=3) + ewc(strength=5) [lr=0.03] and [red]more[/red]")))
        watch(Started(b))
        clock.now += 10
        watch(Progress(a, step=31, fraction=0.5))
        paper = Console(file=io.StringIO(), width=80, color_system=None)
        with paper.capture() as capture:
            paper.print(watch.progress.get_renderable())
        watch(ended(a))
        watch(ended(b, "diverged", "not finite"))
    overall, first, second = capture.get().splitlines()
    assert max(len(overall), len(first), len(second)) <= 80
    assert overall.rstrip().endswith("25 % 0 done, 0:10, 0:30 left")
    assert first.startswith("er(rows=3) + ewc(")
    assert first.rstrip().endswith("50 % seed 0, iteration 31")
    assert second.rstrip().endswith("0 % seed 1")
    assert not watch.cells
    assert "naive, seed 1: diverged: not finite" in screen.getvalue()
    assert "seed 0: done" not in screen.getvalue()


def test_bars_are_for_terminals_and_lines_for_all_else() -> None:
    tally = Tally(total=1, before=0)
    assert isinstance(display(tally, Console(file=io.StringIO())), Lines)
    assert isinstance(display(tally, Console(file=io.StringIO(), force_terminal=True)), Bars)

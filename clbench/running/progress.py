"""Show the progress of a run: bars in a terminal or a notebook, a line per finished cell elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Protocol, TextIO

from clbench.core.errors import Refused
from clbench.core.record import Record
from clbench.running.executors import Elsewhere, Event, Notified, Progress, Started, ignore
from clbench.running.found_records import FINISHED

if TYPE_CHECKING:
    from rich.console import Console


NEEDED_WIDTH = 56
"""Width in columns that the bars need in addition to the names of strategies."""


class Display(Protocol):
    """Describe a context manager that is called with every event."""

    def __enter__(self) -> Display: ...

    def __exit__(self, *error: object) -> None: ...

    def __call__(self, event: Event) -> None: ...


class Tally:
    """Count the finished and running cells from events.

    Args:
        total: Number of cells.
        before: Number of cells finished before the run.
        clock: Function that returns seconds.
    """

    def __init__(self, total: int, before: int, clock: Callable[[], float] = monotonic) -> None:
        self.total, self.before, self.clock = total, before, clock
        self.began: float | None = None
        self.running: dict[str, float] = {}
        self.ended = 0
        self.finished = before
        """Number of cells that the same command would not run again."""

    def see(self, event: Event) -> None:
        """Update the counts with an event."""
        if self.began is None:
            self.began = self.clock()
        if isinstance(event, Record):
            self.running.pop(event.key, None)
            self.ended += 1
            self.finished += event.status in FINISHED
        elif isinstance(event, Elsewhere):
            self.before += 1
            self.finished += event.record.status in FINISHED
        elif not isinstance(event, Notified):
            self.running[event.cell.key] = event.fraction if isinstance(event, Progress) else 0.0

    @property
    def fraction(self) -> float:
        """Return the finished share of this run's work, in [0, 1]; every cell has the same weight."""
        return (self.ended + sum(self.running.values())) / max(1, self.total - self.before)

    @property
    def elapsed(self) -> float:
        """Return the seconds since the first cell began."""
        return 0.0 if self.began is None else self.clock() - self.began

    @property
    def left(self) -> float | None:
        """Return the estimated remaining seconds; ``None`` before any progress."""
        return self.elapsed * (1 - self.fraction) / self.fraction if self.fraction > 0 else None

    def __str__(self) -> str:
        left = "" if self.left is None else f", {clock_text(self.left)} left"
        return f"{self.before + self.ended} done, {clock_text(self.elapsed)}{left}"


def clock_text(seconds: float) -> str:
    """Format seconds as ``0:07``, ``12:30`` or ``1:02:30``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def outcome_text(record: Record) -> str:
    """Describe a record as ``er, seed 3: done, ACC 91.2 %, 1.4 s``, or with its status and reason."""
    name = f"{record.label}, seed {record.seed}: {record.status}"
    if record.status != "done" or record.trace is None:
        return f"{name}: {record.reason}"
    from clbench.metrics import compute

    acc = compute(record.trace, ["acc"])["acc"]
    measure = record.trace.measure
    shown = [f"{measure.short} {measure.text(acc.value, fewer=1)}"] if acc.defined else []
    seconds = record.cost.get("train_seconds", 0.0) + record.cost.get("evaluation_seconds", 0.0)
    return ", ".join([name, *shown, f"{seconds:.1f} s"])


class Lines:
    """Print a line per finished cell, for files and pipes."""

    def __init__(self, tally: Tally) -> None:
        self.tally = tally

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *error: object) -> None:
        """Do nothing."""

    def __call__(self, event: Event) -> None:
        self.tally.see(event)
        if isinstance(event, Record):
            left = f" (about {clock_text(self.tally.left)} left)" if self.tally.left else ""
            position = f"[{self.tally.before + self.tally.ended}/{self.tally.total}]"
            print(f"{position} {outcome_text(event)}{left}", flush=True)
        elif isinstance(event, Elsewhere):
            position = f"[{self.tally.before + self.tally.ended}/{self.tally.total}]"
            print(f"{position} {outcome_text(event.record)}, run by another command", flush=True)


class Bars:
    """Show a bar for all cells and one per running cell until the end; cells without a result leave a line."""

    scores = True

    def __init__(self, tally: Tally, console: Console) -> None:
        from rich.progress import BarColumn, ProgressColumn, Task, TaskID, TextColumn
        from rich.progress import Progress as RichProgress
        from rich.table import Column
        from rich.text import Text

        class Note(ProgressColumn):
            """Render the text anew at every refresh, because time passes between events."""

            def render(self, task: Task) -> Text:
                return Text(str(task.fields["note"]), style="dim")

        label = Column(no_wrap=True, overflow="ellipsis", max_width=max(8, console.width - NEEDED_WIDTH))
        self.console, self.tally = console, tally
        self.progress = RichProgress(
            TextColumn("{task.description}", table_column=label, markup=False),
            BarColumn(bar_width=20),
            TextColumn("{task.percentage:>3.0f} %"),
            Note(table_column=Column(no_wrap=True, overflow="ellipsis")),
            console=console,
            transient=True,
        )
        self.overall = self.progress.add_task(f"all {tally.total} cells", total=1.0, note="preparing the data")
        self.cells: dict[str, TaskID] = {}

    def __enter__(self) -> Bars:
        self.progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.progress.stop()

    def __call__(self, event: Event) -> None:
        self.tally.see(event)
        if isinstance(event, Started):
            note = f"seed {event.cell.seed}"
            self.cells[event.cell.key] = self.progress.add_task(event.cell.label, total=1.0, note=note)
        elif isinstance(event, Progress):
            text = event.scores.text if event.scores is not None else ""
            note = f"seed {event.cell.seed}, {text or f'iteration {event.step}'}"
            self.progress.update(self.cells[event.cell.key], completed=event.fraction, note=note)
        elif isinstance(event, Record):
            self.progress.remove_task(self.cells.pop(event.key))
            if event.status != "done":
                self.console.print(outcome_text(event), style="yellow")
        self.progress.update(self.overall, completed=self.tally.fraction, note=self.tally)


FORMS = ("bars", "lines", "json", "none")
"""The forms of progress."""


class Silent:
    """Count events, and show nothing."""

    def __init__(self, tally: Tally) -> None:
        self.tally = tally

    def __enter__(self) -> Silent:
        return self

    def __exit__(self, *error: object) -> None:
        """Do nothing."""

    def __call__(self, event: Event) -> None:
        self.tally.see(event)


def display(tally: Tally, console: Console, form: str | None = None, stream: TextIO | None = None) -> Display:
    """Return the display of a run.

    Args:
        tally: Its counts.
        console: Where bars are shown.
        form: One of :data:`FORMS`; ``None`` for bars in a terminal and lines otherwise.
        stream: Where lines of JSON go; by default standard output.
    """
    if form == "json":
        from clbench.running.progress_json import JsonLines

        return JsonLines(tally, sys.stdout if stream is None else stream)
    if form == "none":
        return Silent(tally)
    bars = console.is_terminal if form is None else form == "bars"
    return Bars(tally, console) if bars else Lines(tally)


def both(first: Callable[[Event], None], second: Callable[[Event], None]) -> Callable[[Event], None]:
    """Return a function that hands each event to two others."""

    def watch(event: Event) -> None:
        first(event)
        second(event)

    return watch


@contextmanager
def shown_progress(wanted: bool | str | None, total: int, before: int) -> Iterator[Callable[[Event], None]]:
    """Show the progress of a run as long as the context lasts, and yield the function that takes its events.

    Args:
        wanted: Whether to show it, or one of :data:`FORMS`; ``None`` shows it only in a notebook.
        total: Number of cells of the run.
        before: Number of those that are finished and not run again.

    Raises:
        Refused: There is no such form.
    """
    from clbench.running.notebook_progress import NotebookBars, in_notebook

    if isinstance(wanted, str) and wanted not in FORMS:
        raise Refused(f"progress = {wanted!r} is not known; use True, False, {', '.join(FORMS)}")
    notebook = in_notebook()
    if not (notebook if wanted is None else wanted) or wanted == "none":
        yield ignore
        return
    tally = Tally(total, before)
    if notebook and wanted in (None, True, "bars"):
        with NotebookBars(tally) as bars:
            yield bars
        return
    from clbench.running.text_console import TextConsole

    form = wanted if isinstance(wanted, str) else None
    with display(tally, TextConsole(), form) as shown:
        yield shown


def shows_scores(watch: Callable[[Event], None]) -> bool:
    """Return whether a display shows the scores of running cells, so that they are to be computed."""
    return bool(getattr(watch, "scores", False))

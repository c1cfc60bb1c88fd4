"""Show the progress of a run in a notebook: bars that change in place, without widgets or extensions."""

from __future__ import annotations

import sys
from collections.abc import Callable
from html import escape
from time import monotonic
from typing import Any

from clbench.core.record import Record
from clbench.core.shown_text import pictured
from clbench.running.executors import Event, Progress, Started
from clbench.running.progress import Tally, outcome_text

REDRAW_SECONDS = 0.3
"""Shortest time between two pictures of the bars."""

ATTENTION = "border-left: 3px solid #c97a00; padding-left: 0.6em"
STYLE = "font: 13px/1.5 system-ui, sans-serif; font-variant-numeric: tabular-nums"


def in_notebook() -> bool:
    """Return whether this program is a kernel of a notebook; this imports nothing."""
    interactive = getattr(sys.modules.get("IPython"), "get_ipython", None)
    shell = interactive() if interactive is not None else None
    return getattr(shell, "kernel", None) is not None


class NotebookBars:
    """Show a bar for all cells and one per running cell; at the end, a line, and the cells without a result.

    Args:
        tally: The counts.
        clock: Function that returns seconds.
    """

    scores = True

    def __init__(self, tally: Tally, clock: Callable[[], float] = monotonic) -> None:
        self.tally, self.clock = tally, clock
        self.running: dict[str, tuple[str, float]] = {}
        self.told: list[str] = []
        self._handle: Any = None
        self._drawn = float("-inf")

    def __enter__(self) -> NotebookBars:
        from IPython import display

        shown: Any = display
        self._handle = shown.display(shown.HTML(self.html()), display_id=True)
        return self

    def __exit__(self, *error: object) -> None:
        self.running.clear()
        self._draw()

    def __call__(self, event: Event) -> None:
        """Update the bars with an event."""
        self.tally.see(event)
        if isinstance(event, Started):
            self.running[event.cell.key] = (f"{event.cell.label}, seed {event.cell.seed}", 0.0)
        elif isinstance(event, Progress):
            text = f"{event.cell.label}, seed {event.cell.seed}, iteration {event.step}"
            if event.scores is not None and event.scores.text:
                text += f", {event.scores.text}"
            self.running[event.cell.key] = (text, event.fraction)
        elif isinstance(event, Record):
            self.running.pop(event.key, None)
            if event.status != "done":
                self.told.append(outcome_text(event))
        if self.clock() - self._drawn >= REDRAW_SECONDS:
            self._draw()

    def html(self) -> str:
        """Return the bars as they are now."""
        tally = self.tally
        lines = [_bar(f"all {tally.total} cells: {tally}", tally.fraction if tally.total > tally.before else 1.0)]
        lines += [_bar(text, fraction) for text, fraction in self.running.values()]
        lines += [f'<div style="{ATTENTION}">{escape(pictured(text))}</div>' for text in self.told]
        return f'<div style="{STYLE}">{"".join(lines)}</div>'

    def _draw(self) -> None:
        from IPython import display

        shown: Any = display
        self._drawn = self.clock()
        self._handle.update(shown.HTML(self.html()))


def _bar(text: str, fraction: float) -> str:
    percent = 100 * min(max(fraction, 0.0), 1.0)
    track = "display: inline-block; width: 12em; height: 0.6em; margin-right: 0.8em; border-radius: 0.3em; "
    track += "background: rgba(128, 128, 128, 0.25); overflow: hidden"
    inside = f"display: block; width: {percent:.1f}%; height: 100%; background: #0072b2"
    return f'<div><span style="{track}"><span style="{inside}"></span></span>{escape(pictured(text))}</div>'

"""The pictures on a leaderboard's page: SVG in the colours of its theme, for wide and for narrow screens."""

from __future__ import annotations

import re

from clbench.comparison import comparable
from clbench.comparison.record_groups import is_finished
from clbench.core.errors import Refused
from clbench.core.shown_text import drawn
from clbench.leaderboard.board import Table

NARROW, LETTERS = 3.8, 8.5
"""Width in inches of the picture for narrow screens, and the size of its letters in points."""
FINE = 0.3
"""Largest distance in points by which a drawn line may differ from its data; the page would be large without it."""
MOST = 6
"""Largest number of strategies in the picture for narrow screens."""


def wide_picture(table: Table, place: int) -> str:
    """Return the plot of the stability gap for a wide screen as SVG; empty if no cell is finished.

    Args:
        table: The table.
        place: Its place on the page, for unique ids.
    """
    return _drawn(table, f"wide{place}", None, [row.label for row in table.rows if row.finished])


def narrow_picture(table: Table, place: int) -> str:
    """Return the plot of the best strategies for a narrow screen; arguments and result as in :func:`wide_picture`."""
    return _drawn(table, f"narrow{place}", NARROW, [row.label for row in table.rows if row.finished][:MOST])


def _drawn(table: Table, name: str, width: float | None, labels: list[str]) -> str:
    from matplotlib import rc_context

    from clbench import plots

    records = [record for row in table.rows for record in row.records]
    names = {row.label: drawn(row.strategy) for row in table.rows}
    names |= dict.fromkeys(comparable.tables(filter(is_finished, records)), drawn(table.benchmark, None))
    form = plots.Format(names=names) if width is None else plots.Format(width=width, font_size=LETTERS, names=names)
    try:
        with rc_context({"path.simplify_threshold": FINE}):
            text = plots.svg(plots.draw("gap", records, form, strategies=labels or None))
    except Refused:
        return ""
    text = text[text.index("<svg") :]
    for size in ("width", "height"):  # the page decides about the size
        text = re.sub(rf'(<svg[^>]*?) {size}="[^"]*"', r"\1", text, count=1)
    # Ids are unique per plot; otherwise two plots on a page would share clip paths and markers.
    text = re.sub(r'(id="|url\(#|href="#)', rf"\1{name}-", text)
    theme = {plots.INK: "--ink", plots.MUTED: "--muted", plots.GRID: "--line"}
    theme |= {colour: f"--series-{i}" for i, colour in enumerate(plots.COLOURS)}
    for colour, variable in theme.items():
        text = text.replace(colour, f"var({variable})")
    return text.replace("#ffffff", "none").replace("'DejaVu Sans'", "system-ui, 'DejaVu Sans'")

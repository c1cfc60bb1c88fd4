"""A picture of the mean curves of a benchmark's best rows, which its page shows where no script runs, and in print."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from clbench.core.shown_text import shown
from clbench.metrics.curves import Line
from clbench.site.curve_data import BenchmarkCurves, DrawnRow, mean_seen
from clbench.site.strategy_lines import colour_on, dashes
from clbench.site.svg_themes import Theme, themed
from clbench.site.thinned_curves import thinned

WIDTH, HEIGHT = 900, 320
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 12, 26
LINE = 16
"""Height of a line of the legend."""
STILL_COLUMNS = 200
"""Columns of the curves of the picture; the charts of the page have more."""
MOST = 6
"""Largest number of rows in the picture, and of rows whose curves a page shows at first."""


def curve_path(drawn: BenchmarkCurves, theme: str) -> str:
    """Return the path of the picture below the folder of the site."""
    return f"pictures/{drawn.benchmark.slug}-curves-{theme}.svg"


def curve_pictures(drawn: BenchmarkCurves) -> Iterator[tuple[str, bytes]]:
    """Yield the picture in each theme: the mean score on the tasks seen so far, of the first rows of the table."""
    rows = drawn.rows[:MOST]
    lines = [mean_seen(drawn, row) for row in rows]
    for theme in themed():
        yield curve_path(drawn, theme.name), _picture(drawn, rows, lines, theme).encode()


def _picture(drawn: BenchmarkCurves, rows: Sequence[DrawnRow], lines: Sequence[Line], theme: Theme) -> str:
    values = np.concatenate([line.mean for line in lines])
    values = values[np.isfinite(values)]  # a diverged run may have others
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    room = 0.05 * (high - low) or 0.05
    low, high = low - room, high + room
    end = float(drawn.boundaries[-1]) or 1.0
    height = HEIGHT + LINE * len(rows)
    measure = drawn.benchmark.table.measure

    def x_of(step: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * step / end

    def y_of(score: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (high - score) / (high - low)

    made = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="system-ui,sans-serif" '
        f'font-size="11" fill="{theme.muted}">'
    ]
    for score in _ticks(low, high):
        text = f"{100 * score:g}" if measure.unit == "%" else f"{score:g}"
        made.append(
            f'<path d="M{LEFT} {y_of(score):.1f}H{WIDTH - RIGHT}" stroke="{theme.line}"/>'
            f'<text x="{LEFT - 6}" y="{y_of(score) + 4:.1f}" text-anchor="end">{text}</text>'
        )
    marks = "".join(f"M{x_of(step):.1f} {TOP}V{HEIGHT - BOTTOM}" for step in drawn.boundaries[1:-1])
    made.append(f'<path d="{marks}" stroke="{theme.muted}" stroke-dasharray="1 3"/>')
    made.append(f'<text x="{(LEFT + WIDTH) / 2:g}" y="{HEIGHT - 6}" text-anchor="middle">iteration</text>')
    for place, (row, line) in enumerate(zip(rows, lines, strict=True)):
        kept = thinned(line.x, line.mean, STILL_COLUMNS)
        kept = kept[np.isfinite(line.mean[kept])]
        points = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in zip(line.x[kept], line.mean[kept], strict=True))
        y = HEIGHT + LINE * place + LINE / 2
        drawn_as = f'stroke="{colour_on(theme, row.style.colour)}"'
        if dash := dashes(row.style):
            drawn_as += f' stroke-dasharray="{" ".join(f"{each:g}" for each in dash)}"'
        made.append(f'<polyline points="{points}" fill="none" {drawn_as} stroke-width="1.6"/>')
        made.append(f'<path d="M{LEFT} {y:g}h26" {drawn_as} stroke-width="2.4"/>')
        made.append(f'<text x="{LEFT + 30}" y="{y + 4:g}">{_escaped(shown(row.row.row.strategy))}</text>')
    return "".join(made) + "</svg>\n"


def _ticks(low: float, high: float) -> list[float]:
    """Return about five round numbers between two limits."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    return [round(k * step, 10) for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _escaped(text: str) -> str:
    from markupsafe import escape

    return str(escape(text))

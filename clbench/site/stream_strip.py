"""A picture of a benchmark's stream: which tasks each experience holds, and how long it is."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from clbench.site.curve_data import BenchmarkCurves
from clbench.site.svg_themes import Theme, themed

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 900, 46, 12, 6, 26
MOST_TALL, TALLEST = 240, 18
"""Largest height of all tasks, and of one of them."""


def strip_path(drawn: BenchmarkCurves, theme: str) -> str:
    """Return the path of the picture below the folder of the site."""
    return f"pictures/{drawn.benchmark.slug}-stream-{theme}.svg"


def strip_pictures(drawn: BenchmarkCurves) -> Iterator[tuple[str, bytes]]:
    """Yield the picture in each theme: a row per task, a column per experience, filled where the task has samples.

    It shows the stream of the first seed; in streams that are drawn anew, other seeds differ.
    """
    present = drawn.rows[0].traces[0].present  # (E, T)
    for theme in themed():
        yield strip_path(drawn, theme.name), _picture(drawn, present, theme).encode()


def _picture(drawn: BenchmarkCurves, present: np.ndarray, theme: Theme) -> str:
    experiences, tasks = present.shape
    tall = min(TALLEST, MOST_TALL / tasks)
    height = TOP + tall * tasks + BOTTOM
    edges = LEFT + (WIDTH - LEFT - RIGHT) * drawn.boundaries / (drawn.boundaries[-1] or 1.0)
    gap = 1.0 if (edges[-1] - edges[0]) / experiences > 4 else 0.0
    made = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" font-family="system-ui,sans-serif" '
        f'font-size="11" fill="{theme.muted}">'
    ]
    for task in range(tasks):
        y = TOP + tall * task
        made.append(f'<path d="M{LEFT} {y + tall / 2:.1f}H{WIDTH - RIGHT}" stroke="{theme.line}"/>')
        if tall >= 11:
            made.append(f'<text x="{LEFT - 6}" y="{y + tall / 2 + 4:.1f}" text-anchor="end">{task}</text>')
    cells = "".join(
        f"M{edges[e] + gap / 2:.1f} {TOP + tall * t + tall * 0.1:.1f}H{edges[e + 1] - gap / 2:.1f}v{tall * 0.8:.1f}"
        f"H{edges[e] + gap / 2:.1f}z"
        for e, t in np.argwhere(present)
    )
    made.append(f'<path d="{cells}" fill="{theme.accent}"/>')
    told = f"iteration; {experiences} experience{'s' * (experiences > 1)}, a row per task"
    made.append(f'<text x="{(LEFT + WIDTH) / 2:g}" y="{height - 8:g}" text-anchor="middle">{told}</text>')
    return "".join(made) + "</svg>\n"

"""What plots of curves share: lines with bands, the marks of switches, and limits of axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from clbench.metrics.curves import Curve, Line
from clbench.plots.picture_format import points
from clbench.plots.strategy_styles import Style
from clbench.plots.style import MUTED, SEEDS_FOR_BAND

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BAND_POINTS, WIDE = 1000, 10.0
"""Largest number of points of a band in a figure of this width in layout inches; a narrower one has fewer."""
MANY_EXPERIENCES = 40
"""Largest number of experiences with lines at all switches; more lines would cover the curves."""
DENSEST = 0.18
"""Opacity of the band of a single line; bands of several are paler, so that all lines remain visible."""


def draw_line(
    axes: Axes,
    line: Line,
    style: Style,
    *,
    label: str,
    place: float,
    band: bool = True,
    low: float = 0.0,
    high: float = 1.0,
    width: float = 1.6,
    lines: int = 1,
) -> None:
    """Draw a line above all bands of the axes, and its own band.

    Args:
        axes: The axes.
        line: The curve. Its band is drawn for one seed (standard error from the samples) and from three on (interval).
        style: The style.
        label: The label in the legend.
        place: Shift of the markers in [0, 1), so that those of several lines do not overlap.
        band: Whether to draw the band.
        low, high: The smallest and largest possible value, where the band ends.
        width: Width of the line, in points at the usual size of letters.
        lines: Number of lines in the axes; the more there are, the paler is each band.
    """
    every = max(1, len(line.x) // 8)
    axes.plot(
        line.x, line.mean, color=style.colour, linestyle=style.dash, linewidth=points(width), label=label,
        marker=style.marker, markersize=points(4.5), markeredgewidth=0, markevery=(int(place * every), every),
        zorder=3 - 0.1 * place,
    )  # fmt: skip
    if band and has_band(line.seeds) and np.isfinite(line.half).any():
        figure = axes.get_figure(root=True)
        width = 1.0 if figure is None else figure.get_figwidth() / points(WIDE)
        thin = slice(None, None, max(1, int(len(line.x) / (BAND_POINTS * min(1.0, width)))))
        below, above = (np.clip(line.mean + sign * line.half, low, high)[thin] for sign in (-1, 1))
        axes.fill_between(
            line.x[thin], below, above, color=style.colour, alpha=DENSEST / lines**0.5, linewidth=0, zorder=2
        )


def draw_arrival(axes: Axes, before: float, change: float, style: Style) -> None:
    """Draw the accuracy after new outputs begin to compete and before any step: a hollow mark at 0 on the x axis.

    A thin line connects it with the accuracy before. Nothing is drawn if nothing changed.
    """
    if np.isfinite(change) and change != 0:
        axes.plot(
            [0, 0], [before, before + change], color=style.colour, linewidth=points(1.0), label="_arrival",
            zorder=2.8,
        )  # fmt: skip
        axes.plot(
            [0], [before + change], color=style.colour, marker=style.marker, markersize=points(6),
            markerfacecolor="white", markeredgewidth=points(1.2), linestyle="none", label="_arrived", zorder=3.5,
        )  # fmt: skip


ARRIVED = "hollow: new outputs compete, no step yet"


def has_band(seeds: int) -> bool:
    """Return whether a mean of this number of seeds has a band."""
    return seeds == 1 or seeds >= SEEDS_FOR_BAND


def how_marked(experiences: int) -> str:
    """Return the caption about the marks of :func:`mark_switches`; empty if there is no switch."""
    if experiences < 2:
        return ""
    return "ticks above: switches" if experiences > MANY_EXPERIENCES else "dotted: switches"


def mark_switches(axes: Axes, boundaries: Curve) -> None:
    """Mark the beginning of all experiences but the first: by dotted lines, or by ticks if there are many."""
    if len(boundaries) - 1 > MANY_EXPERIENCES:
        axes.vlines(
            boundaries[1:-1], 1, 1.03, color=MUTED, linewidth=points(0.6), transform=axes.get_xaxis_transform(),
            clip_on=False,
        )  # fmt: skip
        return
    for boundary in boundaries[1:-1]:
        axes.axvline(boundary, color=MUTED, linewidth=points(0.9), linestyle=(0, (1, 2)), zorder=1)


def name_experiences(axes: Axes, boundaries: Curve, *, width: float) -> None:
    """Write the numbers of the experiences above axes of a width in layout inches if they fit."""
    count = len(boundaries) - 1
    if count > 2.2 * width:
        return
    short = count > 0.8 * width
    for experience, middle in enumerate((boundaries[1:] + boundaries[:-1]) / 2):
        text = str(experience) if short else f"experience {experience}"
        axes.text(
            middle, 1.015, text, transform=axes.get_xaxis_transform(), ha="center", color=MUTED, fontsize=points(8.5)
        )  # fmt: skip


def limits(panels: Sequence[Axes]) -> tuple[float, float]:
    """Return limits that include the labelled lines and their bands."""
    from matplotlib.collections import PolyCollection

    lines = [line for axes in panels for line in axes.get_lines() if not str(line.get_label()).startswith("_")]
    bands = [band for axes in panels for band in axes.collections if isinstance(band, PolyCollection)]
    edges = [np.asarray(path.vertices, dtype=float)[:, 1] for band in bands for path in band.get_paths()]
    values = np.concatenate([*(np.asarray(line.get_ydata(), dtype=float) for line in lines), *edges])
    margin = 0.06 * (values.max() - values.min()) + 0.01
    return float(values.min() - margin), float(values.max() + margin)

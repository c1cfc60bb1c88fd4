"""The style of all plots: colours, markers, dashes, axes, headings, legends, and file formats.

Figures use matplotlib's object interface: no windows, no global state. They are readable in black and white: every
strategy has its own marker and line style in addition to its colour.
"""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clbench.core.errors import Refused
from clbench.core.measure import ACCURACY, Measure
from clbench.metrics.curves import Curve, Line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

INK, MUTED, GRID = "#1f2430", "#687080", "#e3e6ec"
# Okabe and Ito's colours with enough contrast on light and dark backgrounds, and three that fit them.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#c99700", "#7a5195", "#56a4d9", "#7f7f7f")
DASHES: tuple[Any, ...] = (
    "-",
    (0, (5, 1.4)),
    (0, (1.4, 1)),
    (0, (6, 1.3, 1.4, 1.3)),
    (0, (10, 4)),
    (0, (3, 2.6)),
    (0, (6, 1.3, 1.4, 1.3, 1.4, 1.3)),
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")
BAND_POINTS = 1000
SEEDS_FOR_BAND = 3
"""Smallest number of seeds for a band. With two seeds the interval is 25 standard errors wide and would hide the
plot."""
MANY_EXPERIENCES = 40
"""Largest number of experiences with lines at all switches; more lines would cover the curves."""
LABEL = 26
"""Largest number of characters in a line of the legend."""
LINE = 9.5 * 1.2 / 72
"""Height of a line of the legend, in inches."""
SUFFIXES = (".png", ".svg", ".pdf")
ROWS_ERROR = "± 1 standard error of evaluation samples"


@dataclass(frozen=True)
class Style:
    """Describe how a strategy is drawn in all plots."""

    colour: str
    dash: Any
    marker: str


def styles(names: Iterable[str]) -> dict[str, Style]:
    """Return a style for each name; up to 70 of them differ in dash and marker alone, without colour."""
    return {
        name: Style(COLOURS[i % len(COLOURS)], DASHES[i % len(DASHES)], MARKERS[i % len(MARKERS)])
        for i, name in enumerate(names)
    }


# ------------------------------------------------------------------------------------------------ figures and axes


LETTER, SMALL, HEADING = 0.112, 0.075, 0.24
"""Width of a letter of a heading and of the small text below it, and height of a heading's line, in inches."""


def heading(text: str, width: float, *, letter: float = LETTER) -> str:
    """Break a heading into lines that fit the width in inches."""
    return textwrap.fill(text, max(20, int(width / letter)))


def canvas(width: float, height: float, *, title: str, caption: str = "") -> Figure:
    """Create an empty figure with a heading above the axes; sizes are in inches.

    A long title is broken into lines, for which the figure grows.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    title = heading(title, width)
    more = HEADING * title.count("\n")
    height += more
    figure = Figure(figsize=(width, height), facecolor="white")
    head = ((0.66 if caption else 0.4) + more + 0.18 * caption.count("\n")) / height
    figure.set_layout_engine(
        ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06, hspace=0.03, wspace=0.03, rect=(0, 0, 1, 1 - head))
    )
    x = 0.1 / width
    figure.text(x, 1 - 0.12 / height, title, ha="left", va="top", fontsize=13, color=INK, weight="bold")
    figure.text(x, 1 - (0.4 + more) / height, caption, ha="left", va="top", fontsize=9.5, color=MUTED)
    return figure


def plain(axes: Axes, *, measure: Measure | None = ACCURACY, grid: str = "y") -> None:
    """Set plain axes, with the y axis in the numbers of a measure, such as percent; ``None`` leaves its labels."""
    axes.set_facecolor("none")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.tick_params(colors=MUTED, labelcolor=INK, labelsize=9, length=3)
    if measure is not None:
        label_scores(axes.yaxis, measure)
    axes.grid(axis=grid, color=GRID, linewidth=0.8)  # type: ignore[arg-type]
    axes.set_axisbelow(True)


def label_scores(axis: Axis, measure: Measure = ACCURACY, *, change: bool = False) -> None:
    """Format tick labels of scores in the numbers of their measure, with enough decimals to distinguish them.

    Args:
        axis: An axis of scores.
        measure: What they are.
        change: Whether values are changes of scores, which have signs; of accuracies in percentage points.
    """
    factor = measure.factor if change else measure.shown(1.0)

    def label(value: float, _: object) -> str:
        ticks = factor * axis.get_majorticklocs()
        decimals = next((n for n in range(4) if np.allclose(ticks, ticks.round(n), atol=1e-6)), 4)
        text = f"{factor * value:{'+' if change else ''}.{decimals}f}".replace("-", "\u2212")
        if float(f"{factor * value:.{decimals}f}") == 0:
            text = "0"
        return text if change else f"{text}{measure.unit}"

    axis.set_major_formatter(label)


def limit_scores(axes: Axes, measure: Measure) -> None:
    """Give the y axis the bounds of a measure, with a little room above; without bounds, those of what is drawn."""
    room = 0.01 * ((measure.high - measure.low) if math.isfinite(measure.high - measure.low) else 1.0)
    low, high = axes.get_ylim()
    axes.set_ylim(
        measure.low if math.isfinite(measure.low) else low,
        measure.high + room if math.isfinite(measure.high) else high,
    )


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
) -> None:
    """Draw a line with its band.

    Args:
        axes: The axes.
        line: The curve. Its band is drawn for one seed (standard error from the samples) and from three on (interval).
        style: The style.
        label: The label in the legend.
        place: Shift of the markers in [0, 1), so that those of several lines do not overlap.
        band: Whether to draw the band.
        low, high: The smallest and largest possible value, where the band ends.
        width: Width of the line, in points.
    """
    every = max(1, len(line.x) // 8)
    axes.plot(
        line.x, line.mean, color=style.colour, linestyle=style.dash, linewidth=width, label=label,
        marker=style.marker, markersize=4.5, markeredgewidth=0, markevery=(int(place * every), every), zorder=3,
    )  # fmt: skip
    if band and has_band(line.seeds) and np.isfinite(line.half).any():
        thin = slice(None, None, max(1, len(line.x) // BAND_POINTS))
        below, above = (np.clip(line.mean + sign * line.half, low, high)[thin] for sign in (-1, 1))
        axes.fill_between(line.x[thin], below, above, color=style.colour, alpha=0.16, linewidth=0, zorder=2)


def draw_arrival(axes: Axes, before: float, change: float, style: Style) -> None:
    """Draw the accuracy after new outputs begin to compete and before any step: a hollow mark at 0 on the x axis.

    A thin line connects it with the accuracy before. Nothing is drawn if nothing changed.
    """
    if np.isfinite(change) and change != 0:
        axes.plot([0, 0], [before, before + change], color=style.colour, linewidth=1.0, label="_arrival", zorder=2.8)
        axes.plot(
            [0], [before + change], color=style.colour, marker=style.marker, markersize=6, markerfacecolor="white",
            markeredgewidth=1.2, linestyle="none", label="_arrived", zorder=3.5,
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
            boundaries[1:-1], 1, 1.03, color=MUTED, linewidth=0.6, transform=axes.get_xaxis_transform(), clip_on=False
        )
        return
    for boundary in boundaries[1:-1]:
        axes.axvline(boundary, color=MUTED, linewidth=0.9, linestyle=(0, (1, 2)), zorder=1)


def name_experiences(axes: Axes, boundaries: Curve, *, short: bool = False) -> None:
    """Write the numbers of the experiences above the axes if they fit."""
    if len(boundaries) > 22:
        return
    for experience, middle in enumerate((boundaries[1:] + boundaries[:-1]) / 2):
        text = str(experience) if short or len(boundaries) > 9 else f"experience {experience}"
        axes.text(middle, 1.015, text, transform=axes.get_xaxis_transform(), ha="center", color=MUTED, fontsize=8.5)


def limits(panels: Sequence[Axes]) -> tuple[float, float]:
    """Return limits that include the labelled lines and their bands."""
    from matplotlib.collections import PolyCollection

    lines = [line for axes in panels for line in axes.get_lines() if not str(line.get_label()).startswith("_")]
    bands = [band for axes in panels for band in axes.collections if isinstance(band, PolyCollection)]
    edges = [np.asarray(path.vertices, dtype=float)[:, 1] for band in bands for path in band.get_paths()]
    values = np.concatenate([*(np.asarray(line.get_ydata(), dtype=float) for line in lines), *edges])
    margin = 0.06 * (values.max() - values.min()) + 0.01
    return float(values.min() - margin), float(values.max() + margin)


def legend(figure: Figure, axes: Axes, *, by_end: bool = True) -> None:
    """Draw the legend next to the axes, in the order of the lines' ends, or in which they were drawn."""
    handles, labels = axes.get_legend_handles_labels()
    order: Sequence[int] = range(len(handles))
    if by_end:
        final = [float(np.asarray(handle.get_ydata())[-1]) for handle in handles]  # type: ignore[attr-defined]
        order = np.argsort(final, kind="stable")[::-1].tolist()
    engine = figure.get_layout_engine()
    top = 1 - engine.get().get("rect", (0, 0, 1, 1))[3] if engine is not None else 0.0
    blank = round(top * figure.get_figheight() / LINE)  # below a heading of any width
    folded = ["\n".join(textwrap.fill(line, LABEL) for line in label.split("\n")) for label in labels]
    figure.legend(
        [handles[i] for i in order], [folded[i] for i in order],
        loc="outside right upper", frameon=False, fontsize=9.5, labelcolor=INK, handlelength=3.2, labelspacing=0.7,
        title="\n" * blank or None, title_fontsize=9.5,
    )  # fmt: skip


def averaged(seeds: Collection[int], *, band: bool = True, rows_error: bool = True) -> str:
    """Return the caption about means and bands: ``mean of 5 seeds, band: 95 % interval``.

    Args:
        seeds: Number of seeds of each curve.
        band: Whether bands are drawn.
        rows_error: Whether a single seed's band is the standard error from its evaluation samples; otherwise it has
            none.
    """
    low, high = min(seeds), max(seeds)
    text = f"{low} to {high} seeds" if low < high else f"{high} seed{'s' * (high > 1)}"
    text = f"mean of {text}" if high > 1 else text
    if band and high >= SEEDS_FOR_BAND:
        text += ", band: 95 % interval"
        text += f" (one seed: {ROWS_ERROR})" * (low == 1 and rows_error)
    elif band and low == 1 and rows_error:
        text += f", band: {ROWS_ERROR}" + " (one seed)" * (high > 1)
    return text


# ------------------------------------------------------------------------------------------------ files


def save(figure: Figure, path: str | Path) -> Path:
    """Write a figure as ``.png``, ``.svg`` or ``.pdf``, by the suffix; equal figures give equal bytes.

    Raises:
        Refused: The suffix is another one.
    """
    path = Path(path).expanduser()
    if path.suffix.lower() not in SUFFIXES:
        raise Refused(f"cannot write a picture as {path.name!r}; end its name in {', '.join(SUFFIXES)}")
    _write(figure, path, path.suffix.lower())
    return path


def svg(figure: Figure) -> str:
    """Return a figure as SVG text for embedding in a page; its words stay text."""
    out = io.BytesIO()
    _write(figure, out, ".svg")
    return out.getvalue().decode()


def _write(figure: Figure, target: Any, suffix: str) -> None:
    from matplotlib import rc_context

    undated: dict[str, dict[str, Any]] = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}, ".png": {}}
    with rc_context({"svg.hashsalt": "clbench", "svg.fonttype": "none"}):
        figure.savefig(target, format=suffix[1:], dpi=160, metadata=undated[suffix])


def scale_of_shares() -> tuple[Any, Any]:
    """Return colours and scale of values in [0, 1]: one hue from near white to near black; lightness shows the
    value. Values outside have the colour of the nearest bound."""
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    return LinearSegmentedColormap.from_list("clbench", ["#f4f7fa", "#8fb8d8", "#2f6f9f", "#0b2a44"]), Normalize(0, 1)

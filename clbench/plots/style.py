"""The style of all plots: axes, headings, captions, legends and scales of colours.

Figures use matplotlib's object interface: no windows, no global state. Sizes are stated for the usual size of letters;
:mod:`clbench.plots.picture_format` scales them.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from clbench.core.measure import ACCURACY, Measure
from clbench.plots.picture_format import current, is_narrow, points

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

INK, MUTED, GRID = "#1f2430", "#687080", "#e3e6ec"
SEEDS_FOR_BAND = 3
"""Smallest number of seeds for a band. With two seeds the interval is 25 standard errors wide and would hide the
plot."""
POINTS_FOR_FIT = 8
"""Smallest number of points through which a fitted line is drawn."""
LABEL = 26
"""Largest number of characters in a line of the legend."""
LINE = 9.5 * 1.2 / 72
"""Height of a line of the legend, in inches."""
ROWS_ERROR = "± 1 standard error of evaluation samples"
LETTER, SMALL, HEADING, CAPTION = 0.112, 0.0735, 0.24, 0.18
"""Width of a letter of a heading and of the small text below it, and heights of their lines, in inches."""


# ------------------------------------------------------------------------------------------------ figures and axes


def heading(text: str, width: float, *, letter: float = LETTER) -> str:
    """Break a heading into lines that fit the width in inches."""
    return textwrap.fill(text, max(20, int(width / letter)))


def canvas(width: float, height: float, *, title: str, caption: str = "") -> Figure:
    """Create an empty figure with a heading and a caption above the axes, in the current format.

    Args:
        width, height: Size in layout inches, with a line of the heading and one of the caption. The figure grows with
            their lines, and is less high without them. A height that the format sets is kept.
        title: The heading.
        caption: The text below it.

    Returns:
        A figure whose label holds the heading and the caption, also if they are not drawn.
    """
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    from clbench.plots.shown_figure import ShownFigure

    form = current()
    scale = form.scale
    what = f"{title}. {' · '.join(caption.split(chr(10)))}".strip()
    title = heading(title, width)
    caption = "\n".join(heading(line, width - 0.2, letter=SMALL) for line in caption.split("\n"))
    line = 0.66 if caption else 0.4
    more = HEADING * title.count("\n") + CAPTION * caption.count("\n")
    head = (line + more) if form.title else 0.0
    height = form.height / scale if form.height is not None else height - line + head
    figure = ShownFigure(figsize=(width * scale, height * scale), facecolor="white")
    figure.set_label(what)
    pad, top = 0.06 * scale, max(0.2, 1 - head / height)
    figure.set_layout_engine(
        ConstrainedLayoutEngine(w_pad=pad, h_pad=pad, hspace=0.03, wspace=0.03, rect=(0, 0, 1, top))
    )
    if form.title:
        x, below = 0.1 / width, 0.4 + HEADING * title.count("\n")
        figure.text(
            x, 1 - 0.12 / height, literal(title), ha="left", va="top", fontsize=points(13), color=INK, weight="bold"
        )  # fmt: skip
        small = points(9.5)
        figure.text(x, 1 - below / height, literal(caption), ha="left", va="top", fontsize=small, color=MUTED)
    return figure


def plain(axes: Axes, *, measure: Measure | None = ACCURACY, grid: str = "y") -> None:
    """Set plain axes, with the y axis in the numbers of a measure, such as percent; ``None`` leaves its labels."""
    axes.set_facecolor("none")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.spines[["left", "bottom"]].set_linewidth(points(0.8))
    axes.tick_params(colors=MUTED, labelcolor=INK, labelsize=points(9), length=points(3), width=points(0.8))
    if measure is not None:
        label_scores(axes.yaxis, measure)
    axes.grid(axis=grid, color=GRID, linewidth=points(0.8))  # type: ignore[arg-type]
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


def log_ticks(axes: Axes) -> None:
    """Name a few round values on a logarithmic x axis, so that their labels do not overlap in a narrow picture."""
    from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullFormatter

    low, high = axes.get_xlim()
    ratio = high / low
    axes.xaxis.set_major_locator(
        MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]) if ratio < 10 else LogLocator(subs=(1, 2, 5) if ratio < 200 else (1,))
    )
    axes.xaxis.set_major_formatter(EngFormatter(sep="") if low >= 1 else lambda value, _: f"{value:.4g}")
    axes.xaxis.set_minor_formatter(NullFormatter())


def limit_scores(axes: Axes, measure: Measure) -> None:
    """Give the y axis the bounds of a measure, with a little room above; without bounds, those of what is drawn."""
    room = 0.01 * ((measure.high - measure.low) if math.isfinite(measure.high - measure.low) else 1.0)
    low, high = axes.get_ylim()
    axes.set_ylim(
        measure.low if math.isfinite(measure.low) else low,
        measure.high + room if math.isfinite(measure.high) else high,
    )


def legend(figure: Figure, axes: Axes) -> None:
    """Draw one legend for all axes, in the order of their lines: beside them, or below them in a narrow figure."""
    handles, labels = axes.get_legend_handles_labels()
    width, height = figure.get_size_inches() / current().scale
    narrow = is_narrow(width)
    place: dict[str, Any] = {"loc": "outside lower left", "ncols": _columns(labels, width)}
    if not narrow:
        engine = figure.get_layout_engine()
        top = 1 - engine.get().get("rect", (0, 0, 1, 1))[3] if engine is not None else 0.0
        blank = round(top * height / LINE)  # below a heading of any width
        place = {"loc": "outside right upper", "title": "\n" * blank or None, "title_fontsize": points(9.5)}
        needed = sum((fold(label).count("\n") + 1.6) * LINE for label in labels) + (blank + 1) * LINE
        if current().height is None and needed > height and engine is not None:  # the heading keeps its height
            figure.set_figheight(needed * current().scale)
            engine.set(**{"rect": (0, 0, 1, 1 - top * height / needed)})
            for text in figure.texts:
                text.set_y(1 - (1 - text.get_position()[1]) * height / needed)
    figure.legend(handles, [fold(label) for label in labels], **place, **_legend_style())


def legend_at(axes: Axes, lines: Axes) -> None:
    """Draw the legend of one row of panels: beside its last axes, or above its first axes in a narrow figure."""
    from matplotlib.transforms import ScaledTranslation

    figure = axes.get_figure(root=True)
    assert figure is not None
    handles, labels = lines.get_legend_handles_labels()
    width = figure.get_figwidth() / current().scale
    place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)}
    if is_narrow(width):
        lifted = axes.transAxes + ScaledTranslation(0, points(15) / 72, figure.dpi_scale_trans)
        place = {"loc": "lower left", "bbox_to_anchor": (0, 1), "bbox_transform": lifted, "borderaxespad": 0}
        place["ncols"] = _columns(labels, width)
    axes.legend(handles, [fold(label) for label in labels], **place, **_legend_style())


def legend_height(labels: Sequence[str], width: float) -> float:
    """Return the height in layout inches that a legend below or above the axes of a narrow figure needs, else 0."""
    if not is_narrow(width) or not labels:
        return 0.0
    rows = math.ceil(len(labels) / _columns(labels, width))
    return rows * (max(fold(label).count("\n") + 1 for label in labels) * LINE + 0.06) + 0.15


def fold(label: str) -> str:
    """Break a label into lines that fit the legend."""
    return literal("\n".join(textwrap.fill(line, LABEL) for line in label.split("\n")))


def literal(text: str) -> str:
    """Return a text that matplotlib draws as it is, although it may hold dollar signs, which begin formulas."""
    return text.replace("$", r"\$")


def _columns(labels: Sequence[str], width: float) -> int:
    longest = max((len(line) for label in labels for line in fold(label).split("\n")), default=1)
    return max(1, int((width - 0.6) / (0.75 + 0.08 * longest)))


def _legend_style() -> dict[str, Any]:
    return {
        "frameon": False, "fontsize": points(9.5), "labelcolor": INK, "handlelength": 3.2, "labelspacing": 0.7,
        "columnspacing": 1.4,
    }  # fmt: skip


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


def scale_of_shares() -> tuple[Any, Any]:
    """Return colours and scale of values in [0, 1]: one hue from near white to near black; lightness shows the
    value. Values outside have the colour of the nearest bound."""
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    return LinearSegmentedColormap.from_list("clbench", ["#f4f7fa", "#8fb8d8", "#2f6f9f", "#0b2a44"]), Normalize(0, 1)

"""What heat maps share: one panel per strategy, a title above each, numbers in cells, and one bar of colours."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clbench.plots.picture_format import points
from clbench.plots.style import GRID, INK, MUTED, literal, scale_of_shares

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NUMBERED = 12
"""Largest number of rows and columns for which cells contain numbers."""
DARK = 0.55
"""Smallest value with a dark background."""
PANEL = 3.2
"""Width that a panel needs beside others, in layout inches."""
LONGEST = 4.5
"""Largest length of the bar of colours, in layout inches."""
BAR = 1.2
"""Width of the bar of colours with its numbers, in layout inches."""


@dataclass(frozen=True)
class Places:
    """Hold the places of panels in a picture.

    Args:
        columns: Number of panels beside each other.
        rows: Number of panels below each other.
        width: Width of a panel with its labels, in layout inches.
        over: Height above each panel, for its title, in layout inches.
        names: Label -> the title's first lines, folded to the width of a panel.
    """

    columns: int
    rows: int
    width: float
    over: float
    names: dict[str, str]


def places(labels: Collection[str], width: float, *, need: float = PANEL, columns: int | None = None) -> Places:
    """Return the places of panels, one for each label.

    Args:
        labels: Labels of strategies.
        width: Width of the picture, in layout inches.
        need: Width that a panel needs, in layout inches.
        columns: Number of panels beside each other; by default as many as fit, up to three.
    """
    fitting = max(1, min(3, len(labels), int((width - BAR) / need))) if columns is None else columns
    one = (width - BAR) / fitting
    names = {label: textwrap.fill(label, max(16, int(one / 0.09))) for label in labels}
    return Places(
        columns=fitting,
        rows=math.ceil(len(labels) / fitting),
        width=one,
        over=0.75 + 0.16 * max(name.count("\n") for name in names.values()),
        names=names,
    )


def panels(figure: Figure, placed: Places, *, down: str, across: str) -> dict[str, Axes]:
    """Return the axes of each label. The names of what goes down and across stand at the left and at the bottom."""
    made: dict[str, Axes] = {}
    for place, label in enumerate(placed.names):
        made[label] = axes = figure.add_subplot(placed.rows, placed.columns, place + 1)
        if place % placed.columns == 0:
            axes.set_ylabel(down, color=INK)
        if place >= len(placed.names) - placed.columns:
            axes.set_xlabel(across, color=INK)
    return made


def bare(axes: Axes) -> None:
    """Set the axes of a heat map: no spines, and labels without ticks."""
    axes.spines[:].set_visible(False)
    axes.tick_params(colors=MUTED, labelcolor=INK, labelsize=points(9), length=0)


def entitle(axes: Axes, text: str) -> None:
    """Write the title of a panel."""
    axes.set_title(literal(text), loc="left", fontsize=points(10.5), color=INK)


def hatch(axes: Axes, width: float, height: float) -> None:
    """Hatch the whole area of a heat map below its cells, where there are no values; its corner is (-0.5, -0.5)."""
    from matplotlib.patches import Rectangle

    axes.add_patch(
        Rectangle((-0.5, -0.5), width, height, facecolor="white", edgecolor=GRID, hatch="////", lw=0, zorder=-1)
    )


def frame(axes: Axes, column: int, row: int, colour: str) -> None:
    """Draw a frame inside a cell."""
    from matplotlib.patches import Rectangle

    axes.add_patch(
        Rectangle((column - 0.44, row - 0.44), 0.88, 0.88, fill=False, linewidth=points(1.1), edgecolor=colour)
    )


def write(axes: Axes, column: int, row: int, share: float, *, top: float = 1.0) -> None:
    """Write a share in percent into its cell; ``top`` is the share with the darkest background."""
    axes.text(
        column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=points(7.5), color=on(share / top)
    )  # fmt: skip


def on(value: float) -> str:
    """Return the colour of text on the background of a value."""
    return "white" if value > DARK else INK


def colour_bar(figure: Figure, panels: Iterable[Axes], label: Callable[[float], str], *, scale: Any = None) -> None:
    """Draw one bar of colours beside all panels, and lay the figure out; ``label`` returns the text of a value."""
    from matplotlib.cm import ScalarMappable

    colours, usual = scale_of_shares()
    shrink = min(0.8, points(LONGEST) / figure.get_figheight())
    bar = figure.colorbar(
        ScalarMappable(scale or usual, colours), ax=list(panels), shrink=shrink, aspect=30, pad=0.02, anchor=(0.0, 1.0)
    )
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=MUTED, labelcolor=INK, labelsize=points(9), length=points(3))
    bar.ax.yaxis.set_major_formatter(lambda value, _: label(value))
    figure.draw_without_rendering()  # a layout with square cells is exact only at the second time


def percent(value: float) -> str:
    """Return a share in percent: ``20%``."""
    return f"{100 * value:.0f}%"


def row_ticks(names: Sequence[str]) -> tuple[list[int], list[str]]:
    """Return the positions and names of as many rows as can be read."""
    at = list(range(0, len(names), math.ceil(len(names) / (2 * NUMBERED))))
    return at, [names[place] for place in at]

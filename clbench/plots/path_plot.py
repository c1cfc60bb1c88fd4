"""Scores along the straight lines between the weights at consecutive ends, one panel per strategy."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from clbench.core.errors import Refused
from clbench.metrics.weight_line import Values, WeightLine
from clbench.plots.picture_format import is_narrow, points, room
from clbench.plots.strategy_styles import series
from clbench.plots.style import INK, MUTED, averaged, canvas, legend, legend_height, limit_scores, literal, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 11.0
"""Width of the plot, in inches."""
IN_ONE_COLUMN = 3
"""Largest number of strategies for panels in one column."""
NAMED_ENDS = 24
"""Largest number of ends whose numbers are written below a panel."""


def weight_path_plot(lines: Sequence[WeightLine], *, benchmark: str, statistics: str = "") -> Figure:
    """Plot the score on each task along the lines, which follow one another, one panel per strategy.

    Args:
        lines: The lines; those of several seeds of a strategy are averaged where all seeds have them.
        benchmark: The name in the title.
        statistics: What was done with running statistics, for the caption; empty if a model has none.

    Raises:
        Refused: There is no line.
    """
    grouped: dict[str, dict[str, list[WeightLine]]] = {}
    for line in lines:
        grouped.setdefault(line.label, {}).setdefault(line.name, []).append(line)
    if not grouped:
        raise Refused("there is nothing to plot: no line between two ends was evaluated")
    seeds = {label: len({line.seed for own in named.values() for line in own}) for label, named in grouped.items()}
    tasks = sorted({int(task) for line in lines for task in line.tasks})
    names, width, measure = [f"task {task}" for task in tasks], room(WIDTH), lines[0].measure
    narrow = is_narrow(width)
    columns = 1 if narrow or len(grouped) <= IN_ONE_COLUMN else 2
    rows = math.ceil(len(grouped) / columns)
    above = [averaged(list(seeds.values()), band=False), "samples and classes of the later end", statistics]
    high = 0.9 + (2.5 if columns == 1 and not narrow else 2.1) * max(rows, 1.4)
    figure = canvas(
        width,
        high + legend_height([*names, "mean"], width),
        title=f"{benchmark}: {measure.name} on straight lines between the ends",
        caption=" · ".join(filter(None, above)),
    )
    panels: list[Axes] = []
    for place, (label, named) in enumerate(grouped.items()):
        axes = figure.add_subplot(rows, columns, place + 1, sharey=panels[0] if panels else None)
        panels.append(axes)
        kept = [own for own in named.values() if len(own) == seeds[label]]
        _draw(axes, kept, tasks)
        wide = int(0.8 * width / columns / 0.085)
        axes.set_title(literal(textwrap.fill(label, wide)), loc="left", fontsize=points(10.5), color=INK, pad=points(8))
        axes.tick_params(labelleft=place % columns == 0)
        if place % columns == 0:
            axes.set_ylabel(measure.name, color=INK)
        if place >= len(grouped) - columns:
            axes.set_xlabel("weights: at the end of an experience, and between two ends", color=INK)
    limit_scores(panels[0], measure)
    legend(figure, panels[0])
    return figure


def _draw(axes: Axes, named: Sequence[Sequence[WeightLine]], tasks: Sequence[int]) -> None:
    """Draw one panel: the lines one after the other, each of unit length, with a line for each task and their mean."""
    looks = series(f"task {task}" for task in tasks)
    plain(axes, measure=named[0][0].measure)
    for name, style in looks.items():  # in this order in the legend
        axes.plot([], [], color=style.colour, linestyle=style.dash, linewidth=1.3, label=name)
    axes.plot([], [], color=INK, linewidth=2.0, label="mean of these")
    for place, own in enumerate(named):
        first = own[0]
        scores: Values = np.mean([line.score for line in own], axis=0)  # (J, T)
        for column, task in enumerate(first.tasks.tolist()):
            style = looks[f"task {task}"]
            axes.plot(place + first.at, scores[:, column], color=style.colour, linestyle=style.dash, linewidth=1.3)
        axes.plot(place + first.at, scores.mean(axis=1), color=INK, linewidth=2.0)
    for end in range(len(named) + 1):
        axes.axvline(end, color=MUTED, linewidth=0.6, zorder=0)
    ends = [named[0][0].start, *(own[0].stop for own in named)]
    shown = [end.removeprefix("end ") for end in ends]
    step = max(1, math.ceil(len(shown) / NAMED_ENDS))
    axes.set_xticks(range(0, len(shown), step), shown[::step])
    axes.set_xlim(0, len(named))

"""Accuracy on each task along the stream, one panel per strategy."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from clbench.core.record import Record, Trace
from clbench.metrics import curves
from clbench.metrics.accuracy_matrix import visited
from clbench.plots.curve_drawing import draw_line, how_marked, mark_switches, name_experiences
from clbench.plots.picture_format import is_narrow, points, room
from clbench.plots.plotted_runs import Runs, choose, median_boundaries, rows_error
from clbench.plots.strategy_styles import Style, series
from clbench.plots.style import INK, averaged, canvas, legend, legend_height, limit_scores, literal, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 11.0
"""Width of the plot, in inches."""
IN_ONE_COLUMN = 3
"""Largest number of strategies for panels in one column."""
TASKS_WITH_BANDS = 5
NAMED_TASKS = 14


def task_curves(
    records: Iterable[Record], *, benchmark: str | None = None, strategies: Sequence[str] | None = None
) -> Figure:
    """Plot the accuracy on every task over iterations, with marked switches, one panel per strategy.

    A line begins at the switch into the first visit of its task. If experiences differ in length between seeds, they
    are aligned one by one. Upper bounds with other experiences have an iteration axis of their own. Up to five tasks
    have bands.

    Args:
        records: Any records; cells that are not done are left out.
        benchmark: Name and version; needed only if the records contain several.
        strategies: Labels of strategies, one panel each; by default all.

    Raises:
        Refused: There is nothing to plot, one of several benchmarks must be chosen, or a label is unknown.
    """
    runs = choose(records, benchmark, strategies)
    n_tasks = max(trace.n_tasks for traces in runs.traces.values() for trace in traces)
    looks, width = series(f"task {task}" for task in range(n_tasks)), room(WIDTH)
    bands, narrow = n_tasks <= TASKS_WITH_BANDS, is_narrow(width)
    columns = 1 if narrow or len(runs.records) <= IN_ONE_COLUMN else 2
    rows = math.ceil(len(runs.records) / columns)
    high = 0.9 + (2.5 if columns == 1 and not narrow else 2.1) * max(rows, 1 if narrow else 1.4)
    sampled = rows_error(runs.traces)
    above = averaged(runs.seeds, band=bands, rows_error=bool(sampled))
    figure = canvas(
        width, high + legend_height(list(looks)[:NAMED_TASKS], width),
        title=f"{runs.benchmark}: {runs.measure.name} on each task along the stream",
        caption=" · ".join(filter(None, [above, sampled, how_marked(_experiences(runs))])),
    )  # fmt: skip
    panels: list[Axes] = []
    for place, (label, traces) in enumerate(runs.traces.items()):
        axes = figure.add_subplot(rows, columns, place + 1, sharey=panels[0] if panels else None)
        panels.append(axes)
        boundaries = median_boundaries({label: traces})
        _draw_tasks(axes, traces, boundaries, looks=looks, bands=bands, width=0.8 * width / columns)
        named = bool(axes.texts)  # numbers of experiences
        axes.set_title(
            literal(textwrap.fill(label, int(0.8 * width / columns / 0.085))), loc="left", fontsize=points(10.5),
            color=INK, pad=points(16 if named else 8),
        )  # fmt: skip
        axes.tick_params(labelleft=place % columns == 0)
        if place % columns == 0:
            axes.set_ylabel(runs.measure.name, color=INK)
        if place >= len(runs.records) - columns:
            axes.set_xlabel("iteration" + _stretched(traces, boundaries), color=INK)
    limit_scores(panels[0], runs.measure)
    legend(figure, _named(panels[0], figure))
    return figure


def _draw_tasks(
    axes: Axes,
    traces: Sequence[Trace],
    boundaries: curves.Curve,
    *,
    looks: Mapping[str, Style],
    bands: bool,
    width: float,
) -> None:
    """Draw one panel with a line for each task that every seed visits."""
    measure = traces[0].measure
    plain(axes, measure=measure)
    for place, (name, style) in enumerate(looks.items()):
        found = []
        for trace in traces:
            if place in visited(trace):
                own = curves.one_task(trace, place)
                found.append(own._replace(x=np.interp(own.x, curves.experience_boundaries(trace), boundaries)))
        if len(found) == len(traces):
            begin = max(each.x[0] for each in found)
            line = curves.over_seeds([_from(each, begin) for each in found])
            draw_line(
                axes,
                line,
                style,
                label=name,
                place=place / len(looks),
                band=bands,
                width=1.6 if bands else 1.1,
                lines=len(looks),
                low=measure.low,
                high=measure.high,
            )
    mark_switches(axes, boundaries)
    if len(boundaries) > 2:
        name_experiences(axes, boundaries, width=width)
    axes.set_xlim(0, boundaries[-1])


def _from(whole: curves.Series, begin: float) -> curves.Series:
    """Return the part from ``begin`` on, where all seeds have begun to visit the task."""
    shown = whole.x >= begin
    return curves.Series(whole.x[shown], whole.y[shown], whole.error[shown])


def _experiences(runs: Runs) -> int:
    return max(trace.n_experiences for traces in runs.traces.values() for trace in traces)


def _stretched(traces: Sequence[Trace], boundaries: curves.Curve) -> str:
    same = all(np.array_equal(curves.experience_boundaries(trace), boundaries) for trace in traces)
    return "" if same else " (experiences scaled to their median length)"


def _named(axes: Axes, figure: Figure) -> Axes:
    """Return the axes with labels for as many lines as fit into the legend, including the first and the last."""
    room = min(NAMED_TASKS, int(figure.get_figheight() / points(0.26)))
    lines = [line for line in axes.get_lines() if not str(line.get_label()).startswith("_")]
    kept = {round(place) for place in np.linspace(0, len(lines) - 1, min(room, len(lines)))}
    for place, line in enumerate(lines):
        if place not in kept:
            line.set_label(f"_{line.get_label()}")
    return axes

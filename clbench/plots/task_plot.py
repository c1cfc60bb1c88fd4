"""Accuracy on each task along the stream, one panel per strategy."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from clbench.core.record import Record, Trace
from clbench.metrics import curves
from clbench.metrics.accuracy_matrix import visited
from clbench.plots.plotted_runs import Runs, choose, median_boundaries, rows_error
from clbench.plots.style import (
    INK,
    Style,
    averaged,
    canvas,
    draw_line,
    how_marked,
    legend,
    limit_scores,
    mark_switches,
    name_experiences,
    plain,
    styles,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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
    looks = styles(f"task {task}" for task in range(n_tasks))
    bands = n_tasks <= TASKS_WITH_BANDS
    columns = 1 if len(runs.records) <= IN_ONE_COLUMN else 2
    rows = math.ceil(len(runs.records) / columns)
    figure = canvas(
        11, 0.9 + (2.5 if columns == 1 else 2.2) * max(rows, 1.4),
        title=f"{runs.benchmark}: {runs.measure.name} on each task along the stream",
        caption=" · ".join(
            filter(None, [averaged(runs.seeds, band=bands), rows_error(runs.traces), how_marked(_experiences(runs))])
        ),
    )  # fmt: skip
    panels: list[Axes] = []
    for place, (label, traces) in enumerate(runs.traces.items()):
        axes = figure.add_subplot(rows, columns, place + 1, sharey=panels[0] if panels else None)
        panels.append(axes)
        boundaries = median_boundaries({label: traces})
        _draw_tasks(axes, traces, boundaries, looks=looks, bands=bands)
        axes.set_title(label, loc="left", fontsize=10.5, color=INK, pad=16 if 2 < len(boundaries) <= 22 else 8)
        axes.tick_params(labelleft=place % columns == 0)
        if place % columns == 0:
            axes.set_ylabel(runs.measure.name, color=INK)
        if place >= len(runs.records) - columns:
            axes.set_xlabel("iteration" + _stretched(traces, boundaries), color=INK)
    legend(figure, _named(panels[0], figure), by_end=False)
    return figure


def _draw_tasks(
    axes: Axes, traces: Sequence[Trace], boundaries: curves.Curve, *, looks: Mapping[str, Style], bands: bool
) -> None:
    """Draw one panel with a line for each task that every seed visits."""
    measure = traces[0].measure
    plain(axes, measure=measure)
    for place, (name, style) in enumerate(looks.items()):
        series = []
        for trace in traces:
            if place in visited(trace):
                own = curves.one_task(trace, place)
                series.append(own._replace(x=np.interp(own.x, curves.experience_boundaries(trace), boundaries)))
        if len(series) == len(traces):
            begin = max(each.x[0] for each in series)
            line = curves.over_seeds([_from(each, begin) for each in series])
            width = 1.6 if bands else 1.1
            draw_line(
                axes,
                line,
                style,
                label=name,
                place=place / len(looks),
                band=bands,
                width=width,
                low=measure.low,
                high=measure.high,
            )
    mark_switches(axes, boundaries)
    if len(boundaries) > 2:
        name_experiences(axes, boundaries, short=True)
    axes.set_xlim(0, boundaries[-1])
    limit_scores(axes, measure)


def _from(series: curves.Series, begin: float) -> curves.Series:
    """Return the part from ``begin`` on, where all seeds have begun to visit the task."""
    shown = series.x >= begin
    return curves.Series(series.x[shown], series.y[shown], series.error[shown])


def _experiences(runs: Runs) -> int:
    return max(trace.n_experiences for traces in runs.traces.values() for trace in traces)


def _stretched(traces: Sequence[Trace], boundaries: curves.Curve) -> str:
    same = all(np.array_equal(curves.experience_boundaries(trace), boundaries) for trace in traces)
    return "" if same else " (experiences scaled to their median length)"


def _named(axes: Axes, figure: Figure) -> Axes:
    """Return the axes with labels for as many lines as fit into the legend, including the first and the last."""
    room = min(NAMED_TASKS, int(figure.get_figheight() / 0.26))
    lines = [line for line in axes.get_lines() if not str(line.get_label()).startswith("_")]
    kept = {round(place) for place in np.linspace(0, len(lines) - 1, min(room, len(lines)))}
    for place, line in enumerate(lines):
        if place not in kept:
            line.set_label(f"_{line.get_label()}")
    return axes

"""The accuracy on each class along the stream, as a heat map, one panel per strategy."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clbench.core.record import Kind, Record, Trace
from clbench.metrics import curves
from clbench.metrics.masked_and_per_class import acc_class
from clbench.plots.class_order import ClassOrder, arrivals, class_order, of_classes, traces_by_seed
from clbench.plots.curve_drawing import MANY_EXPERIENCES
from clbench.plots.heat_panels import (
    NUMBERED,
    bare,
    colour_bar,
    entitle,
    hatch,
    panels,
    percent,
    places,
    row_ticks,
    write,
)
from clbench.plots.picture_format import points, room
from clbench.plots.plotted_runs import choose, has_step_looks, median_boundaries
from clbench.plots.style import MUTED, averaged, canvas, scale_of_shares

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 11.0
"""Width of the plot, in inches."""
NEED = 4.2
"""Width that a panel needs, in layout inches."""
COLUMNS = 300
"""Largest number of columns of a heat map over iterations."""
CURE = "run the benchmark with --set evaluation.classes=true, or write `classes: true` below `evaluation` in its file"


def class_curves(
    records: Iterable[Record], *, benchmark: str | None = None, strategies: Sequence[str] | None = None
) -> Figure:
    """Plot the accuracy on each class over iterations, as mean over seeds, one panel per strategy.

    Classes go down, in the order in which the stream brings them; darker is better. A class that has not occurred yet
    is hatched. If seeds have different orders, a row is a position in the order: the first class of each seed, the
    second, and so on. Experiences are scaled to their median lengths. If only ends of experiences were evaluated,
    columns are experiences and cells contain percentages.

    Args:
        records: Any records; cells that are not done are left out.
        benchmark: Name and version; needed only if the records contain several.
        strategies: Labels of strategies, one panel each; by default all.

    Raises:
        Refused: There is nothing to plot, one of several benchmarks must be chosen, a label is unknown, or the accuracy
            of classes was not recorded.
    """
    runs = choose(records, benchmark, strategies)
    holds = {label: all(trace.class_score.size for trace in traces) for label, traces in runs.traces.items()}
    shown, missing = of_classes(runs, holds, picture="this picture", what="accuracy per class", cure=CURE)
    order = class_order(runs)
    along = has_step_looks({label: runs.traces[label] for label in shown})
    width = room(WIDTH)
    placed = places(shown, width, need=NEED)
    height = float(np.clip(0.19 * len(order), 1.3, 4.2))
    caption = [averaged([len(found) for found in shown.values()], band=False), "hatched: not seen yet"]
    figure = canvas(
        width, 1.2 + placed.rows * (placed.over + height),
        title=f"{runs.benchmark}: accuracy on each class along the stream",
        caption=" · ".join(filter(None, [*caption, missing])),
    )  # fmt: skip
    drawn = panels(figure, placed, down=order.title, across="iteration" if along else "experience")
    for label, axes in drawn.items():
        traces = traces_by_seed(shown[label])
        boundaries = median_boundaries({label: list(traces.values())})
        grid = _over_iterations(traces, order, boundaries) if along else _at_ends(traces, order)
        _draw(axes, grid, boundaries, along=along)
        axes.set_yticks(*row_ticks(order.names))
        entitle(axes, f"{placed.names[label]}\n{_mean(list(traces.values()))}")
    colour_bar(figure, drawn.values(), percent)
    return figure


def _mean(traces: Sequence[Trace]) -> str:
    final = float(np.mean([acc_class(trace) for trace in traces]))
    return f"mean over classes at the end {100 * final:.1f} %"


def _over_iterations(traces: Mapping[int, Trace], order: ClassOrder, boundaries: curves.Curve) -> NDArray[np.float64]:
    """Return the accuracy on each class in equal shares of the iterations, (C, K), NaN before it occurs."""
    count = int(min(COLUMNS, max(2, boundaries[-1])))
    middle = (np.arange(count) + 0.5) * boundaries[-1] / count
    found = []
    for seed, trace in traces.items():
        own = curves.experience_boundaries(trace)
        taken = trace.kind != Kind.START
        at = np.interp(trace.step[taken], own, boundaries)
        begin = np.append(boundaries[:-1], np.inf)[np.minimum(arrivals(trace), trace.n_experiences)]  # (C,)
        rows = np.full((len(order), count), np.nan)
        for row, unit in enumerate(order.units[seed]):
            score = (
                trace.class_score[taken, unit] if unit < trace.class_score.shape[1] else np.full(taken.sum(), np.nan)
            )
            known = np.isfinite(score) & (at >= begin[unit])
            if known.any():
                rows[row] = np.where(middle >= begin[unit], np.interp(middle, at[known], score[known]), np.nan)
        found.append(rows)
    return _averaged(found)


def _at_ends(traces: Mapping[int, Trace], order: ClassOrder) -> NDArray[np.float64]:
    """Return the accuracy on each class at the end of each experience, (C, E), NaN before it occurs."""
    found = []
    for seed, trace in traces.items():
        ends = trace.class_score[trace.kind == Kind.END].T  # (C, E)
        hidden = arrivals(trace)[:, None] > np.arange(trace.n_experiences)
        found.append(np.where(hidden, np.nan, ends)[order.units[seed]])
    return _averaged(found)


def _averaged(found: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the mean over seeds; NaN where a seed has no value."""
    made: NDArray[np.float64] = np.mean(found, axis=0)
    return made


def _draw(axes: Axes, grid: NDArray[np.float64], boundaries: curves.Curve, *, along: bool) -> None:
    """Draw one panel."""
    colours, scale = scale_of_shares()
    count, columns = grid.shape
    end = boundaries[-1] if along else columns
    left = 0.0 if along else -0.5
    axes.imshow(
        np.ma.masked_invalid(grid), cmap=colours, norm=scale, interpolation="nearest", aspect="auto",
        extent=(left, left + end, count - 0.5, -0.5),
    )  # fmt: skip
    hatch(axes, end + 0.5, count)
    bare(axes)
    axes.set_xlim(left, left + end)
    if along and len(boundaries) - 1 <= MANY_EXPERIENCES:
        for boundary in boundaries[1:-1]:
            axes.axvline(boundary, color=MUTED, linewidth=points(0.9), linestyle=(0, (1, 2)), zorder=3)
    if not along:
        axes.set_xticks(range(0, columns, math.ceil(columns / NUMBERED)))
        if columns <= NUMBERED and count <= NUMBERED:
            for (row, column), value in np.ndenumerate(grid):
                if math.isfinite(value):
                    write(axes, column, row, value)

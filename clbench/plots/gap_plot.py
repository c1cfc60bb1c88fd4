"""The plot of the stability gap: accuracy over iterations, magnified switches, all strategies in one figure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from clbench.core.measure import Measure
from clbench.core.record import Kind, Record, Trace
from clbench.metrics import curves
from clbench.plots.plotted_runs import Runs, choose, default_window, has_step_looks, median_boundaries, rows_error
from clbench.plots.style import (
    ARRIVED,
    INK,
    MUTED,
    SMALL,
    Style,
    averaged,
    draw_arrival,
    draw_line,
    heading,
    how_marked,
    legend,
    limit_scores,
    limits,
    mark_switches,
    name_experiences,
    plain,
    styles,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS = 4


WIDTH = 11.5
"""Width of the plot, in inches."""


def stability_gap(
    records: Iterable[Record],
    *,
    benchmark: str | None = None,
    strategies: Sequence[str] | None = None,
    tasks: curves.Tasks = "first",
    window: int | None = None,
) -> Figure:
    """Plot the accuracy along the stream for each strategy, and magnified switches below.

    Above: accuracy on the first task, or the mean over the tasks seen so far (which also falls because a new task
        begins near zero). Below: mean accuracy on the tasks seen before each of up to four switches. A hollow mark is
        the evaluation at the switch, where new outputs already compete and no step was taken. If experiences differ in
        length between seeds, they are aligned one by one. A strategy that does not follow the stream's experiences
        (``joint``) is a horizontal line at its final accuracy. Bands are the 95 % interval from three seeds on; for one
        seed, the standard error from its evaluation samples.

    Args:
        records: Any records; cells that are not done are left out.
        benchmark: Name and version; needed only if the records contain several.
        strategies: Labels of strategies; by default all.
        tasks: ``"first"`` or ``"seen"``, for the upper panel.
        window: Iterations after a switch; by default a share of the experience that contains the gap.

    Raises:
        Refused: There is nothing to plot, one of several benchmarks must be chosen, or a label is unknown.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    runs = choose(records, benchmark, strategies)
    streams = runs.following()
    boundaries = median_boundaries(streams)
    switches = _choose_switches(len(boundaries) - 1) if has_step_looks(streams) else []
    looks = styles(runs.labels)

    figure = Figure(figsize=(WIDTH, 6.9 if switches else 4.2), facecolor="white")
    figure.set_layout_engine(ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06, hspace=0.04, wspace=0.03))
    grid = figure.add_gridspec(
        2 if switches else 1, max(1, len(switches)), height_ratios=[1.35, 1] if switches else [1]
    )
    main = figure.add_subplot(grid[0, :])
    _draw_stream(main, runs.traces, boundaries, looks=looks, tasks=tasks, measure=runs.measure)
    window = window or default_window(np.diff(boundaries)[1:].tolist() or [boundaries[-1]])
    lower: list[Axes] = []
    for column, switch in enumerate(switches):
        axes = figure.add_subplot(grid[1, column], sharey=lower[0] if lower else None)
        lower.append(axes)
        _draw_switch(axes, streams, switch, looks=looks, window=window, measure=runs.measure)
        axes.tick_params(labelleft=column == 0)
    if lower:
        lower[0].set_ylabel(f"{runs.measure.name}, tasks seen before", color=INK)
        lower[0].set_ylim(*limits(lower))
    marked = how_marked(len(boundaries) - 1) + ", magnified below" * bool(switches)
    marked += f" · {ARRIVED}" * any(line.get_label() == "_arrived" for axes in lower for line in axes.get_lines())
    _headline(main, runs, tasks=tasks, marked=marked)
    legend(figure, main)
    return figure


def _choose_switches(experiences: int) -> list[int]:
    """Return up to four experiences to magnify at their beginning: the first, the last, and some between."""
    last = experiences - 1
    return sorted({round(k) for k in np.linspace(1, last, min(PANELS, last))}) if last else []


def _draw_stream(
    axes: Axes,
    runs: Mapping[str, Sequence[Trace]],
    boundaries: curves.Curve,
    *,
    looks: Mapping[str, Style],
    tasks: curves.Tasks,
    measure: Measure,
) -> None:
    """Draw the upper panel. Each seed's experiences are scaled to the median lengths."""
    plain(axes, measure=measure)
    stretched = False
    for place, (label, traces) in enumerate(runs.items()):
        series, follows = [], True
        for trace in traces:
            own = curves.series(trace, curves.selected(trace, tasks))
            if trace.n_experiences == len(boundaries) - 1:
                stretched |= not np.array_equal(curves.experience_boundaries(trace), boundaries)
                series.append(own._replace(x=np.interp(own.x, curves.experience_boundaries(trace), boundaries)))
            else:
                follows = False
                series.append(
                    curves.Series(boundaries[[0, -1]], *(np.repeat(values[-1], 2) for values in (own.y, own.error)))
                )
        name = label if follows else f"{label} (final)"
        draw_line(
            axes,
            curves.over_seeds(series),
            looks[label],
            label=name,
            place=place / len(runs),
            low=measure.low,
            high=measure.high,
        )
    mark_switches(axes, boundaries)
    name_experiences(axes, boundaries)
    axes.set_xlim(0, boundaries[-1])
    limit_scores(axes, measure)
    axes.set_xlabel("iteration" + (" (experiences scaled to their median length)" if stretched else ""), color=INK)
    axes.set_ylabel(f"{measure.name}, {'first task' if tasks == 'first' else 'tasks seen so far'}", color=INK)


def _draw_switch(
    axes: Axes,
    runs: Mapping[str, Sequence[Trace]],
    switch: int,
    *,
    looks: Mapping[str, Style],
    window: int,
    measure: Measure,
) -> None:
    """Draw one lower panel: iterations since the switch, mean score on the tasks seen before it."""
    plain(axes, measure=measure)
    before = max(1, window // 6)
    for place, (label, traces) in enumerate(runs.items()):
        series = []
        for trace in traces:
            old = np.broadcast_to(trace.first_visit < switch, trace.score.shape)
            own = curves.series(trace, old & (trace.kind != Kind.START)[:, None])
            x = own.x - curves.experience_boundaries(trace)[switch]
            # one evaluation beyond each edge, so that lines reach the edges
            first, last = np.searchsorted(x, -before), np.searchsorted(x, window, side="right")
            shown = slice(max(0, first - 1), last + 1)
            series.append(curves.Series(x[shown], own.y[shown], own.error[shown]))
        line = curves.over_seeds(series)
        draw_line(axes, line, looks[label], label=label, place=place / len(runs), low=measure.low, high=measure.high)
        change = float(np.mean([curves.arrival(trace, switch, trace.first_visit < switch) for trace in traces]))
        draw_arrival(axes, float(np.interp(0, line.x, line.mean)), change, looks[label])
    axes.axvline(0, color=MUTED, linewidth=0.9, linestyle=(0, (1, 2)), zorder=1)
    axes.set_xlim(-before, window)
    axes.set_title(f"into experience {switch}", loc="left", fontsize=9.5, color=INK)
    axes.set_xlabel("iterations since the switch", color=INK, fontsize=9)


def _headline(axes: Axes, runs: Runs, *, tasks: curves.Tasks, marked: str) -> None:
    what = "the first task" if tasks == "first" else "the tasks seen so far"
    room = 0.75 * WIDTH  # the legend is to the right of it
    how = " · ".join(filter(None, [averaged(runs.seeds), rows_error(runs.traces), marked]))
    title = heading(f"{runs.benchmark}: {runs.measure.name} on {what} along the stream", room)
    how = heading(how, room, letter=SMALL)
    pad = 38 + 11.5 * how.count("\n")
    axes.set_title(title, loc="left", pad=pad, fontsize=13, color=INK, weight="bold")
    axes.annotate(how, (0, 1), (0, 23), "axes fraction", "offset points", fontsize=9.5, color=MUTED)

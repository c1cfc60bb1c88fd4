"""The plot of the stability gap: accuracy over iterations, magnified switches, all strategies in one figure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from clbench.core.measure import Measure
from clbench.core.record import Kind, Record, Trace
from clbench.metrics import curves
from clbench.plots.curve_drawing import (
    ARRIVED,
    draw_arrival,
    draw_line,
    how_marked,
    limits,
    mark_switches,
    name_experiences,
)
from clbench.plots.picture_format import groups, is_narrow, points, room
from clbench.plots.plotted_runs import choose, default_window, has_step_looks, median_boundaries, rows_error
from clbench.plots.strategy_styles import Style
from clbench.plots.style import INK, MUTED, averaged, canvas, legend, legend_at, legend_height, limit_scores, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 11.5
"""Width of the plot, in inches."""
ROOMY = 10.0
"""Smallest width, in layout inches, for several rows with magnified switches beside the stream."""
PANELS = 4
"""Largest number of magnified switches below the stream."""
BESIDE = 2
"""Largest number of magnified switches if they are beside the stream, or in a narrow plot."""


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
    runs = choose(records, benchmark, strategies)
    streams, shown = runs.following(), groups(list(runs.records))
    boundaries = median_boundaries(streams)
    width = room(WIDTH)
    narrow, beside = is_narrow(width), len(shown) > 1 and width >= ROOMY
    switches = []
    if has_step_looks(streams):
        switches = _choose_switches(len(boundaries) - 1, PANELS if len(shown) == 1 and not narrow else BESIDE)
    looks = runs.looks
    window = window or default_window(np.diff(boundaries)[1:].tolist() or [boundaries[-1]])
    marked = how_marked(len(boundaries) - 1)
    if switches:
        marked += f", magnified {'beside' if beside else 'below'}"
    changes = [_arrival(own, switch) for own in streams.values() for switch in switches]
    if any(change < 0 or change > 0 for change in changes):
        marked += f" · {ARRIVED}"
    what = "the first task" if tasks == "first" else "the tasks seen so far"
    sampled = rows_error(runs.traces)
    tall = 2.9 if beside else 4.0 if narrow else 5.9 if len(shown) == 1 else 4.8
    one = tall if switches or beside else 2.3 if narrow else 3.2
    figure = canvas(
        width,
        0.66 + one * len(shown) + sum(legend_height(group, width) for group in shown),
        title=f"{runs.benchmark}: {runs.measure.name} on {what} along the stream",
        caption=" · ".join(filter(None, [averaged(runs.seeds, rows_error=bool(sampled)), sampled, marked])),
    )
    upper, lower = _panels(figure, len(shown), len(switches), beside=beside)
    for main, axes, group in zip(upper, lower, shown, strict=True):
        own = {label: runs.traces[label] for label in group}
        across = width * (0.42 if beside else 0.75 if not narrow else 0.85)
        _draw_stream(main, own, boundaries, looks=looks, tasks=tasks, measure=runs.measure, width=across)
        following = {label: traces for label, traces in streams.items() if label in own}
        for column, (panel, switch) in enumerate(zip(axes, switches, strict=True)):
            _draw_switch(panel, following, switch, looks=looks, window=window, measure=runs.measure)
            panel.tick_params(labelleft=column == 0)
            since = "iterations since\nthe switch" if beside or narrow else "iterations since the switch"
            panel.set_xlabel(since, color=INK, fontsize=points(9))
        if axes:
            between = ",\n" if is_narrow(width) else ", "
            axes[0].set_ylabel(f"{runs.measure.name}{between}tasks seen before", color=INK)
        if len(shown) > 1:
            legend_at(axes[-1] if beside and axes else main, main)
    limit_scores(upper[0], runs.measure)
    if drawn := [panel for axes in lower for panel in axes if panel.get_lines()[1:]]:
        drawn[0].set_ylim(*limits(drawn))
    if len(shown) == 1:
        legend(figure, upper[0])
    return figure


def _panels(figure: Figure, count: int, switches: int, *, beside: bool) -> tuple[list[Axes], list[list[Axes]]]:
    """Return the axes of the stream and of its magnified switches for each group of strategies.

    Axes of a kind share their y axis.
    """
    upper: list[Axes] = []
    lower: list[list[Axes]] = []
    if beside:
        grid = figure.add_gridspec(count, 1 + switches, width_ratios=[3] + [1] * switches)
    else:
        grid = figure.add_gridspec(
            count * (1 + bool(switches)), max(1, switches), height_ratios=([1.35, 1] if switches else [1]) * count
        )
    for place in range(count):
        row = place if beside else place * (1 + bool(switches))
        upper.append(figure.add_subplot(grid[row, 0 if beside else slice(None)], sharey=upper[0] if upper else None))
        mine: list[Axes] = []
        for switch in range(switches):
            first = lower[0][0] if lower else mine[0] if mine else None
            at = grid[row, 1 + switch] if beside else grid[row + 1, switch]
            mine.append(figure.add_subplot(at, sharey=first))
        lower.append(mine)
    return upper, lower


def _choose_switches(experiences: int, most: int) -> list[int]:
    """Return experiences to magnify at their beginning: the first, the last, and some between, up to ``most``."""
    last = experiences - 1
    return sorted({round(k) for k in np.linspace(1, last, min(most, last))}) if last else []


def _draw_stream(
    axes: Axes,
    runs: Mapping[str, Sequence[Trace]],
    boundaries: curves.Curve,
    *,
    looks: Mapping[str, Style],
    tasks: curves.Tasks,
    measure: Measure,
    width: float,
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
            lines=len(runs),
        )
    mark_switches(axes, boundaries)
    name_experiences(axes, boundaries, width=width)
    axes.set_xlim(0, boundaries[-1])
    note = f"{chr(10) if is_narrow(width) else ' '}(experiences scaled to their median length)" if stretched else ""
    axes.set_xlabel(f"iteration{note}", color=INK)
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
        draw_line(
            axes, line, looks[label], label=label, place=place / len(runs), low=measure.low, high=measure.high,
            lines=len(runs),
        )  # fmt: skip
        draw_arrival(axes, float(np.interp(0, line.x, line.mean)), _arrival(traces, switch), looks[label])
    axes.axvline(0, color=MUTED, linewidth=points(0.9), linestyle=(0, (1, 2)), zorder=1)
    axes.set_xlim(-before, window)
    axes.set_title(f"into experience {switch}", loc="left", fontsize=points(9.5), color=INK)


def _arrival(traces: Sequence[Trace], switch: int) -> float:
    """Return the mean change of the score on old tasks when the outputs of an experience begin to compete."""
    return float(np.mean([curves.arrival(trace, switch, trace.first_visit < switch) for trace in traces]))

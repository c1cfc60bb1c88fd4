"""The plot of all switches of a stream, aligned: how far accuracy on absent tasks falls, and how much is regained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from clbench.core.errors import Refused
from clbench.core.measure import ACCURACY, Measure
from clbench.core.record import Record, Trace
from clbench.metrics import curves
from clbench.metrics.interval import half_width
from clbench.metrics.metric import Undefined
from clbench.metrics.stability_gap import gap_expansion
from clbench.metrics.switches import measured_from_switches
from clbench.metrics.switches import switches as gaps
from clbench.plots.curve_drawing import ARRIVED, draw_arrival, draw_line, has_band, limits
from clbench.plots.picture_format import groups, is_narrow, points, room
from clbench.plots.plotted_runs import choose, default_window
from clbench.plots.strategy_styles import Style
from clbench.plots.style import INK, MUTED, averaged, canvas, label_scores, legend, legend_at, legend_height, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.container import ErrorbarContainer
    from matplotlib.figure import Figure


WIDTH = 11.0
"""Width of the plot, in inches."""


def switch_gaps(
    records: Iterable[Record],
    *,
    benchmark: str | None = None,
    strategies: Sequence[str] | None = None,
    window: int | None = None,
) -> Figure:
    """Plot the change of accuracy after a switch, as mean over all pairs of an old task and an experience without it.

    Left: the change over the iterations after the switch, relative to the end before. A hollow mark is the evaluation
        at the switch, where new outputs already compete and no step was taken. The minimum is less deep than the mean
        depth of the gap, since tasks reach their minima at different iterations. Right: the effect of new outputs
        (minus ``gap_expansion``), the lowest point (``gap_depth`` below that), and the end of the experience. If a
        record has no evaluation at a switch, the first of these is left out for all. Intervals are over seeds, from
        three on. A single seed has none, since the change compares the same evaluation samples.

    Args:
        records: Any records; cells that are not done are left out, and strategies for which no task is ever absent.
        benchmark: Name and version; needed only if the records contain several.
        strategies: Labels of strategies; by default all.
        window: Iterations after a switch; by default a share of the shortest experience that contains the gap.

    Raises:
        Refused: There is nothing to plot, one of several benchmarks must be chosen, a label is unknown, there are no
            evaluations between ends, or no task is ever absent.
    """
    runs = choose(records, benchmark, strategies)
    shown, reasons = _with_switches(runs.traces)
    if not shown:
        raise Refused(
            f"{runs.benchmark} has no switches to draw: {reasons[0]}; choose a --kind that needs none, such as matrix"
        )
    lengths = [length for traces in shown.values() for trace in traces for length in _lengths(trace)]
    window = min(window or default_window(lengths), int(min(lengths)))
    before = max(1, window // 6)
    looks = runs.looks
    without = [label for label in runs.records if label not in shown]
    caption = averaged([len(traces) for traces in shown.values()], rows_error=False)
    caption += f" · no task is ever absent under {', '.join(without)}" * bool(without)
    told = all(measured_from_switches(trace) for traces in shown.values() for trace in traces)
    changes = {label: _arrival(traces) if told else np.nan for label, traces in shown.items()}
    caption += f" · {ARRIVED}" * any(change < 0 or change > 0 for change in changes.values())

    divided, width = groups(list(shown)), room(WIDTH)
    narrow, count = is_narrow(width), len(divided)
    figure = canvas(
        width,
        0.66
        + count * (4.6 if narrow else 4.2 if count == 1 else 3.4)
        + sum(legend_height(group, width) for group in divided),
        title=f"{runs.benchmark}: {runs.measure.name} on absent tasks, all switches aligned",
        caption=caption,
    )
    rows, columns = (2 * count, 1) if narrow else (count, 2)
    ratios = [1.0] if narrow else [2.6, 1.0]
    grid, reach = figure.add_gridspec(rows, columns, width_ratios=ratios), runs.measure.high - runs.measure.low
    pairs: list[tuple[Axes, Axes]] = []
    for number, group in enumerate(divided):
        left = figure.add_subplot(grid[2 * number if narrow else number, 0], sharey=pairs[0][0] if pairs else None)
        right = figure.add_subplot(grid[2 * number + 1, 0] if narrow else grid[number, 1], sharey=left)
        pairs.append((left, right))
        for place, label in enumerate(group):
            traces = shown[label]
            line = curves.over_seeds([curves.since_switch(trace, before=before, after=window) for trace in traces])
            draw_line(
                left, line, looks[label], label=label, place=place / len(group), low=-reach, high=reach,
                lines=len(group),
            )  # fmt: skip
            draw_arrival(left, 0.0, changes[label], looks[label])
            _draw_depth(right, traces, looks[label], label=label, place=(place + 0.5) / len(group) - 0.5, told=told)
    _dress(pairs, before=before, window=window, told=told, measure=runs.measure, narrow=narrow)
    if count == 1:
        legend(figure, pairs[0][0])
    else:
        for left, right in pairs:
            legend_at(left if narrow else right, left)
    return figure


def _with_switches(runs: Mapping[str, Sequence[Trace]]) -> tuple[dict[str, list[Trace]], list[str]]:
    """Return the strategies whose seeds all have switches, and the reasons why others have none."""
    shown, reasons = {}, []
    for label, traces in runs.items():
        try:
            for trace in traces:
                gaps(trace, since="end")
        except Undefined as why:
            reasons.append(str(why))
        else:
            shown[label] = list(traces)
    # Evaluations can be added, but upper bounds have no switches: say what the user can do.
    return shown, sorted(reasons, key=lambda reason: "evaluation.every" not in reason)


def _lengths(trace: Trace) -> list[float]:
    """Return the lengths of the experiences in which an old task is absent, and of those before them."""
    length = np.diff(curves.experience_boundaries(trace))
    return [float(length[k]) for switch in curves.switched(trace) for k in (switch - 1, switch)]


def _arrival(traces: Sequence[Trace]) -> float:
    return -float(np.mean([gap_expansion(trace) for trace in traces]))


def _draw_depth(axes: Axes, traces: Sequence[Trace], style: Style, *, label: str, place: float, told: bool) -> None:
    """Draw the effect of new outputs, the mean lowest point and the mean end of the experience, relative to the end
    before.

    ``place`` separates strategies horizontally.
    """
    found = [gaps(trace, since="switch" if told else "end") for trace in traces]
    parts = [(each.expansion.mean(), each.depth.mean(), each.residual.mean()) for each in found]
    change = -np.array([[first, first + depth, first + residual] for first, depth, residual in parts])  # (seeds, 3)
    change = change if told else change[:, 1:]
    half = half_width(change) if has_band(len(found)) else np.full(change.shape[1], np.nan)
    axes.errorbar(
        np.arange(change.shape[1]) + 0.5 * place, change.mean(axis=0), yerr=None if np.isnan(half).any() else half,
        label=label, color=style.colour, linestyle=style.dash, linewidth=points(1.2), elinewidth=points(1.2),
        capsize=points(2.5), marker=style.marker, markersize=points(6), markeredgewidth=0, zorder=3,
    )  # fmt: skip


def _dress(
    pairs: Sequence[tuple[Axes, Axes]], *, before: int, window: int, told: bool, measure: Measure, narrow: bool
) -> None:
    """Give all panels their axes, with one y axis for all."""
    for axes in (axes for pair in pairs for axes in pair):
        plain(axes, measure=measure)
        axes.axhline(0, color=MUTED, linewidth=points(0.9), zorder=1)
    low, high = limits([left for left, _ in pairs])
    ends = [_ends(container) for _, right in pairs for container in right.containers]  # type: ignore[arg-type]
    pairs[0][0].set_ylim(
        min([low, *(lowest - 0.03 for lowest, _ in ends)]), max([high, 0.02, *(top + 0.01 for _, top in ends)])
    )
    places = [*(["outputs\narrive"] if told else []), "lowest\npoint", "end of the\nexperience"]
    for left, right in pairs:
        left.axvline(0, color=MUTED, linewidth=points(0.9), linestyle=(0, (1, 2)), zorder=1)
        left.set_xlim(-before, window)
        left.set_xlabel("iterations since the switch", color=INK)
        for axes in (left, right) if narrow else (left,):
            axes.set_ylabel(f"change of {measure.name}" + ",\npercentage points" * (measure == ACCURACY), color=INK)
        label_scores(left.yaxis, measure, change=True)
        label_scores(right.yaxis, measure, change=True)
        right.tick_params(labelleft=narrow)
        right.set_xlim(-0.5, len(places) - 0.5)
        right.set_xticks(range(len(places)), places)


def _ends(drawn: ErrorbarContainer) -> tuple[float, float]:
    """Return the lowest and the highest position of points with their error bars."""
    points, _, bars = drawn.lines
    values = [np.asarray(points.get_ydata(), dtype=float)] if points is not None else []
    values += [segment[:, 1] for bar in bars for segment in bar.get_segments() if np.isfinite(segment).all()]
    every = np.concatenate(values)
    return float(every.min()), float(every.max())

"""Accuracy against cost, with the strategies on the Pareto front."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from clbench.core.errors import Refused, did_you_mean
from clbench.core.measure import Measure
from clbench.core.record import Record, Trace
from clbench.core.types import Mask
from clbench.metrics import Metric, get
from clbench.metrics.interval import half_width
from clbench.plots.picture_format import groups, is_narrow, points, room
from clbench.plots.plotted_runs import choose, on_other_streams
from clbench.plots.strategy_styles import Style
from clbench.plots.style import (
    INK,
    MUTED,
    SEEDS_FOR_BAND,
    averaged,
    canvas,
    legend,
    legend_at,
    legend_height,
    log_ticks,
    plain,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COSTS: dict[str, tuple[str, dict[str, int]]] = {
    "rows": (
        "samples passed forward plus samples passed backward",
        {"stream_rows": 2, "replay_rows": 2, "extra_forward_rows": 1, "extra_backward_rows": 1},
    ),
    "seconds": ("training seconds", {"train_seconds": 1}),
    "memory": ("bytes of the replay buffer and of the state of parts", {"memory_bytes": 1, "state_bytes": 1}),
    "steps": ("optimiser steps", {"steps": 1}),
}
"""Map short names of costs to a description, and to the weight of each entry of a record's cost."""
PALE = "#b4bac6"
SPREAD = 20
"""Smallest ratio of the largest to the smallest cost for a logarithmic axis."""


@dataclass(frozen=True)
class Point:
    """Hold cost and metric of one strategy: means over its seeds, with half-widths of 95 % intervals."""

    cost: float
    score: float
    cost_half: float
    score_half: float
    seeds: int


WIDTH = 11.0
"""Width of the plot, in inches."""


def cost_and_accuracy(
    records: Iterable[Record],
    *,
    benchmark: str | None = None,
    strategies: Sequence[str] | None = None,
    cost: str = "rows",
) -> Figure:
    """Plot cost against ACC and against WC-ACC, one point per strategy, with the Pareto front.

    A strategy is on the front if no other one costs at most as much and scores at least as high, with one of the two
    strict. Means over seeds decide, so points with overlapping intervals may change places. Strategies that train on
    another stream than most (``joint``, ``cumulative``) are hollow and never on the front, since they violate the
    constraints of the stream.

    Args:
        records: Any records; cells that are not done are left out.
        benchmark: Name and version; needed only if the records contain several.
        strategies: Labels of strategies; by default all.
        cost: ``rows`` (forward plus backward, equal on every machine), ``seconds`` (of training, comparable only on one
            machine), ``memory`` (bytes), ``steps``, or any entry of a record's cost.

    Raises:
        Refused: There is nothing to plot, one of several benchmarks must be chosen, a label is unknown, or no record
            has the cost.
    """
    runs = choose(records, benchmark, strategies)
    found = runs.records
    title, weights = _account(cost, [record for own in found.values() for record in own])
    spent = {label: [_spend(record, weights) for record in own] for label, own in found.items()}
    outside = on_other_streams(found)
    metrics = (get("acc"), get("wc_acc"))
    measured = [_points(runs.traces, spent, metric) for metric in metrics]
    ringed = any(label not in outside for shown in measured for label in shown)
    looks = runs.looks
    divided, width = groups(list(found)), room(WIDTH)
    narrow, count = is_narrow(width), len(divided)
    tall = 5.2 if narrow else 4.1 if count == 1 else 3.3
    figure = canvas(
        width, 0.66 + count * tall + sum(legend_height([*group, "Pareto front"], width) for group in divided),
        title=f"{runs.benchmark}: {runs.measure.name} and cost",
        caption=_caption(runs.seeds, cost, outside, spent, ringed=ringed) + " · pale: in another panel" * (count > 1),
    )  # fmt: skip
    rows, columns = (2 * count, 1) if narrow else (count, 2)
    first: dict[str, Axes] = {}
    for number, group in enumerate(divided):
        panels = []
        for column, (metric, shown) in enumerate(zip(metrics, measured, strict=True)):
            axes = figure.add_subplot(
                rows, columns, 2 * number + column + 1, sharex=first.get(metric.name), sharey=first.get(metric.name)
            )
            first.setdefault(metric.name, axes)
            panels.append(axes)
            _draw(axes, shown, group, looks=looks, outside=outside, measure=runs.measure)
            if not shown:
                reasons = (value.reason for own in runs.traces.values() if (value := metric(own[0])).reason)
                axes.text(
                    0.5, 0.5, textwrap.fill(next(reasons, "no cost known"), 44), transform=axes.transAxes, ha="center",
                    va="center", color=MUTED, fontsize=points(9.5),
                )  # fmt: skip
            axes.set_title(metric.under(runs.measure).title, loc="left", fontsize=points(10.5), color=INK)
            if narrow or number == count - 1:
                axes.set_xlabel(_fold_title(title, width - 1.0 if narrow else 0.4 * width), color=INK)
            if narrow or column == 0:
                axes.set_ylabel(runs.measure.name, color=INK)
        if count > 1:
            legend_at(panels[0] if narrow else panels[1], panels[0])
    if count == 1:
        legend(figure, panels[0])
    return figure


def _fold_title(title: str, width: float) -> str:
    """Break the title of an axis into lines that fit a width in layout inches."""
    return textwrap.fill(title, max(16, int(width / 0.085)))


def pareto(cost: ArrayLike, score: ArrayLike) -> Mask:
    """Return a mask (n,) of the points that no other point dominates.

    Args:
        cost: (n,) less is better.
        score: (n,) more is better.

    Returns:
        True if no other point has at most the cost and at least the score, and is better in one of them.
    """
    cost, score = np.asarray(cost, dtype=float), np.asarray(score, dtype=float)
    no_worse = (cost <= cost[:, None]) & (score >= score[:, None])
    better = (cost < cost[:, None]) | (score > score[:, None])
    return ~np.asarray((no_worse & better).any(axis=1))


def _account(cost: str, records: Sequence[Record]) -> tuple[str, dict[str, int]]:
    """Return the title of a cost, and the weight of each entry."""
    known = {name for record in records for name in record.cost}
    title, weights = COSTS.get(cost, (cost.replace("_", " "), {cost: 1}))
    if not known.issuperset(weights):
        have = sorted(known | {name for name, (_, needed) in COSTS.items() if known.issuperset(needed)})
        raise Refused(f"no record has the cost {cost!r}; {did_you_mean(cost, have)}")
    return title, weights


def _spend(record: Record, weights: Mapping[str, int]) -> float | None:
    """Return the cost of a run; ``None`` if its record does not contain it."""
    if not record.cost.keys() >= weights.keys():
        return None
    return float(sum(times * record.cost[name] for name, times in weights.items()))


def _points(
    runs: Mapping[str, Sequence[Trace]], spent: Mapping[str, Sequence[float | None]], metric: Metric
) -> dict[str, Point]:
    """Return the strategies whose cost is known for every seed and whose metric has a value."""
    known = {label: [value for value in values if value is not None] for label, values in spent.items()}
    made = {label: _point(known[label], own, metric) for label, own in runs.items() if None not in spent[label]}
    return {label: point for label, point in made.items() if np.isfinite(point.score)}


def _point(spent: Sequence[float], traces: Sequence[Trace], metric: Metric) -> Point:
    score = [metric(trace).value for trace in traces]
    return Point(
        cost=float(np.mean(spent)),
        score=float(np.mean(score)),
        cost_half=float(half_width(spent)),
        score_half=float(half_width(score)),
        seeds=len(traces),
    )


def _draw(
    axes: Axes,
    found: Mapping[str, Point],
    group: Collection[str],
    *,
    looks: Mapping[str, Style],
    outside: Collection[str],
    measure: Measure,
) -> None:
    """Draw one panel: a group of strategies, and all others pale; strategies in ``outside`` are hollow.

    The Pareto front is that of all strategies.
    """
    from matplotlib.ticker import EngFormatter

    plain(axes, grid="both", measure=measure)
    _draw_front(axes, [point for label, point in found.items() if label not in outside])
    for label, point in found.items():
        if label not in group:
            axes.plot(
                [point.cost], [point.score], label=f"_{label}", color=PALE, linestyle="", marker=looks[label].marker,
                markersize=points(6), markeredgewidth=0, zorder=1.5,
            )  # fmt: skip
            continue
        style, bars = looks[label], bool(np.isfinite(point.score_half)) and point.seeds >= SEEDS_FOR_BAND
        axes.plot(
            [point.cost], [point.score], label=label, color=style.colour, linestyle="", marker=style.marker,
            markersize=points(8), markeredgewidth=points(1.6), zorder=3,
            markerfacecolor="white" if label in outside else style.colour,
        )  # fmt: skip
        if bars:
            axes.errorbar(
                [point.cost], [point.score], xerr=[min(point.cost_half, 0.99 * point.cost)], yerr=[point.score_half],
                color=style.colour, linestyle="", elinewidth=points(1.1), capsize=points(2.5), label=f"_{label}",
                zorder=2.5,
            )  # fmt: skip
    costs = [point.cost for point in found.values()]
    if costs and min(costs) > 0 and max(costs) > SPREAD * min(costs):
        axes.set_xscale("log")
        log_ticks(axes)
    else:
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.set_xlim(0, 1.08 * max([*costs, 1e-9]))
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, measure.low - 0.01), min(high, measure.high + 0.01))


def _draw_front(axes: Axes, candidates: Sequence[Point]) -> None:
    """Draw a ring around each member of the front, and the steps below which all points are dominated."""
    if not candidates:
        return
    on_front = pareto([point.cost for point in candidates], [point.score for point in candidates])
    members = sorted({(p.cost, p.score) for p, member in zip(candidates, on_front, strict=True) if member})
    x, y = zip(*members, strict=True)
    axes.plot(
        x, y, drawstyle="steps-post", color=INK, linewidth=points(1), linestyle=(0, (4, 2)), marker="o",
        markersize=points(15), markerfacecolor="none", markeredgewidth=points(1), label="Pareto front", zorder=2,
    )  # fmt: skip


def _caption(
    seeds: Collection[int],
    cost: str,
    outside: Collection[str],
    spent: Mapping[str, Sequence[float | None]],
    *,
    ringed: bool,
) -> str:
    text = averaged(seeds, band=False) + ", bars: 95 % interval" * (max(seeds) >= SEEDS_FOR_BAND)
    text += " · ringed: Pareto front" * ringed + " · hollow: another stream, not on the front" * bool(outside)
    unknown = [label for label, values in spent.items() if None in values]
    text += f" · cost unknown: {', '.join(unknown)}" * bool(unknown)
    return text + " · seconds compare on one machine only" * ("seconds" in cost)

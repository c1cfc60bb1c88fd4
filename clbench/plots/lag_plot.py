"""Accuracy by lag: the number of experiences since a task's last visit, or since its first one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np

from clbench.core.errors import Refused
from clbench.core.record import Record, Trace
from clbench.metrics import curves
from clbench.metrics.metric import Undefined
from clbench.metrics.retention import ByLag, Retention, Since, by_lag, retention
from clbench.plots.curve_drawing import draw_line
from clbench.plots.picture_format import groups, points, room
from clbench.plots.plotted_runs import choose, rows_error
from clbench.plots.strategy_styles import Style
from clbench.plots.style import (
    INK,
    POINTS_FOR_FIT,
    averaged,
    canvas,
    legend,
    legend_at,
    legend_height,
    limit_scores,
    plain,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 9.5
"""Width of the plot, in inches."""
FINE = 200
"""Number of points of a fitted law."""
POWER, EXPONENTIAL = (0, (7, 3)), (0, (1, 2.2))
WORDS = {
    "last": ("the last visit", "lag: experiences since the task was last present"),
    "first": ("the first visit", "lag: experiences since the task was introduced"),
}
"""The end of the title, and the name of the axis."""


@dataclass(frozen=True, eq=False)
class Lags:
    """Hold the data of one strategy: a curve per seed at common lags, the mean number of pairs, and the fitted laws."""

    series: list[curves.Series]
    pairs: curves.Curve
    laws: Retention | None


def accuracy_by_lag(
    records: Iterable[Record],
    *,
    benchmark: str | None = None,
    strategies: Sequence[str] | None = None,
    since: Since = "last",
) -> Figure:
    """Plot the mean accuracy over pairs of an experience and a task, by the number of experiences since the visit.

    Only lags that every seed of a strategy has are drawn. Long lags come from fewer pairs, and from other tasks, than
    short ones; the caption gives their number. On a stream that visits each task once, the longest lag is the first
    task at the end. A strategy whose experiences contain every task (``joint``) is a horizontal line at its final
    accuracy. Bands are the 95 % interval from three seeds on; for one seed, the standard error from its evaluation
    samples. Thin lines are the two laws of retention, fitted to the mean over seeds without a floor, if there are eight
    lags.

    Args:
        records: Any records; cells that are not done are left out.
        benchmark: Name and version; needed only if the records contain several.
        strategies: Labels of strategies; by default all.
        since: The start of a lag: the ``last`` visit, or the ``first`` one, for streams that rehearse every task in
            every experience.

    Raises:
        Refused: There is nothing to plot, one of several benchmarks must be chosen, a label or ``since`` is unknown, or
            there are no lags.

    Source: our definition, after the time since last seen of Lesort et al. 2022 (SCoLe) and the retention curves of the
    power-law literature.
    """
    from matplotlib.ticker import MaxNLocator

    if since not in WORDS:
        raise Refused(f"a lag cannot be counted since {since!r}; choose first or last")
    runs = choose(records, benchmark, strategies)
    try:
        found = {label: _lags(traces, since) for label, traces in runs.traces.items()}
    except Undefined as why:
        raise Refused(f"{runs.benchmark} cannot be drawn by lag: {why}") from None
    longest = max(lags.series[0].x[-1] for lags in found.values())
    if longest == 0:
        raise Refused(
            f"{runs.benchmark} has no lags to draw: every task seen is present in every experience; "
            "choose another --kind, such as gap" + ", or --since first" * (since == "last")
        )
    looks = runs.looks
    fitted = any(lags.laws for lags in found.values())
    sampled = rows_error(runs.traces)
    above = f"{averaged(runs.seeds, rows_error=bool(sampled))} · {_counted(found)}"
    below = [sampled, "thin: fits, dashes power law, dots exponential" * fitted]
    divided, width = groups(list(found)), room(WIDTH)
    names = {label: _name(label, lags) for label, lags in found.items()}
    figure = canvas(
        width,
        0.84
        + (3.9 if len(divided) == 1 else 2.9) * len(divided)
        + sum(legend_height([names[label] for label in group], width) for group in divided),
        title=f"{runs.benchmark}: {runs.measure.name} by time since {WORDS[since][0]}",
        caption=f"{above}\n{' · '.join(filter(None, below))}".rstrip(),
    )
    panels: list[Axes] = []
    for number, group in enumerate(divided):
        axes = figure.add_subplot(len(divided), 1, number + 1, sharey=panels[0] if panels else None)
        panels.append(axes)
        plain(axes, measure=runs.measure)
        for place, label in enumerate(group):
            lags, line = found[label], curves.over_seeds(found[label].series)
            if line.x[-1] == 0:
                final = [curves.series(t, curves.selected(t, "seen")) for t in runs.traces[label]]
                ends = np.array([0, longest])
                line = curves.over_seeds(
                    [curves.Series(ends, np.repeat(s.y[-1], 2), np.repeat(s.error[-1], 2)) for s in final]
                )
            draw_line(
                axes, line, looks[label], label=names[label], place=place / len(group), low=runs.measure.low,
                high=runs.measure.high, lines=len(group),
            )  # fmt: skip
            _draw_laws(axes, lags.laws, looks[label], label=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlim(-0.02 * longest, 1.02 * longest)
        axes.set_ylabel(f"{runs.measure.name} when\nthe experience ends", color=INK)
        if len(divided) > 1:
            legend_at(axes, axes)
    limit_scores(panels[0], runs.measure)
    panels[-1].set_xlabel(WORDS[since][1], color=INK)
    if len(divided) == 1:
        legend(figure, panels[0])
    return figure


def _lags(traces: Sequence[Trace], since: Since) -> Lags:
    """Compute the data of one strategy.

    Raises:
        Undefined: An evaluation at an end left out a task seen before.
    """
    tables = [by_lag(trace, since=since) for trace in traces]
    shared = reduce(np.intersect1d, [table.lag for table in tables])
    at = [np.isin(table.lag, shared) for table in tables]
    series = [
        curves.Series(shared.astype(float), table.accuracy[own], table.error[own])
        for table, own in zip(tables, at, strict=True)
    ]
    pairs = np.mean([table.pairs[own] for table, own in zip(tables, at, strict=True)], axis=0)
    if not traces[0].measure.bounded or len(shared) < POINTS_FOR_FIT:  # the laws are of shares that decay to 0
        return Lags(series, pairs, None)
    try:
        laws = retention(ByLag(shared, np.mean([each.y for each in series], axis=0), pairs))
    except Undefined:
        laws = None
    return Lags(series, pairs, laws)


def _name(label: str, lags: Lags) -> str:
    """Return the text of a strategy in the legend."""
    final = " (final)" if lags.series[0].x[-1] == 0 else ""
    return f"{label}{final}{_rates(lags.laws)}"


def _rates(laws: Retention | None) -> str:
    """Return the better law with its rate, for the legend."""
    if laws is None or laws.better == "neither":
        return ""
    return f"\n{laws.better}, b = {getattr(laws, laws.better).b:.2g}".replace("-", "\u2212")


def _draw_laws(axes: Axes, laws: Retention | None, style: Style, *, label: str) -> None:
    """Draw both laws as thin lines, without entries in the legend."""
    if laws is None:
        return
    x = np.linspace(laws.table.lag[0], laws.table.lag[-1], FINE)
    for law, dash in ((laws.power, POWER), (laws.exponential, EXPONENTIAL)):
        axes.plot(
            x,
            law(x),
            color=style.colour,
            linestyle=dash,
            linewidth=points(1.0),
            label=f"_{law.form} {label}",
            zorder=2.5,
        )


def _counted(found: Mapping[str, Lags]) -> str:
    """Return the number of pairs at the shortest, a middle and the longest lag, as mean over the seeds of one
    strategy."""
    most = max(found.values(), key=lambda lags: lags.series[0].x[-1])
    lag = most.series[0].x.astype(int)
    places = sorted({0, len(lag) // 2, len(lag) - 1})
    return "pairs per seed: " + ", ".join(f"{most.pairs[p]:.0f} at lag {lag[p]}" for p in places)

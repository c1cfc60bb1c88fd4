"""Accuracy by lag: how well a task is known so many experiences after its last visit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np

from clbench.metrics import curves
from clbench.metrics.core import Undefined
from clbench.parameters import Refused
from clbench.plots.runs import choose
from clbench.plots.style import INK, averaged, canvas, draw_line, legend, plain, styles
from clbench.types import Record, Trace

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def accuracy_by_lag(
    records: Iterable[Record], *, benchmark: str | None = None, strategies: Sequence[str] | None = None
) -> Figure:
    """Mean accuracy over pairs of an experience and a task, by how many experiences ago the task was last visited.

    Only lags that every seed of a strategy has are drawn. Long lags come from fewer pairs, and from other tasks, than
    short ones, so the caption counts them: on a stream that visits each task once the longest lag is the first task at
    the end. A strategy whose experiences hold every task (``joint``) is a horizontal line at its final accuracy. Bands
    are the 95 % interval from three seeds on, and for one seed the standard error of its evaluation rows.

    Args:
        records: Cells that are not done are left out.
        benchmark: Name and version, needed only where the records hold several.
        strategies: Labels to draw; by default all.

    Raises:
        Refused: Nothing to draw, several benchmarks and none chosen, an unknown label, or no lags.

    Source: our definition, after the time since last seen of Lesort et al. 2022 (SCoLe) and the retention curves of
    the power-law literature.
    """
    from matplotlib.ticker import MaxNLocator

    runs = choose(records, benchmark, strategies)
    try:
        found = {label: _shared([curves.by_lag(t) for t in traces]) for label, traces in runs.traces.items()}
    except Undefined as why:
        raise Refused(f"{runs.benchmark} cannot be drawn by lag: {why}") from None
    longest = max(series[0].x[-1] for series in found.values())
    if longest == 0:
        raise Refused(
            f"{runs.benchmark} has no lags to draw: every task seen is present in every experience; "
            "choose another --kind, such as gap"
        )
    looks = styles(runs.records)
    figure = canvas(
        9.5,
        4.8,
        title=f"{runs.benchmark}: accuracy by time since the last visit",
        caption=f"{averaged(runs.seeds)} · {_pairs(runs.traces, found)}",
    )
    axes = figure.add_subplot()
    plain(axes)
    for place, (label, series) in enumerate(found.items()):
        line, name = curves.over_seeds(series), label
        if line.x[-1] == 0:
            final = [curves.series(t, curves.selected(t, "seen")) for t in runs.traces[label]]
            line = curves.over_seeds(
                [curves.Series(np.array([0, longest]), np.repeat(s.y[-1], 2), np.repeat(s.error[-1], 2)) for s in final]
            )
            name = f"{label} (final)"
        draw_line(axes, line, looks[label], label=name, place=place / len(found))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlim(-0.02 * longest, 1.02 * longest)
    axes.set_ylim(0, 1.01)
    axes.set_xlabel("lag: experiences since the task was last present", color=INK)
    axes.set_ylabel("accuracy when the experience ends", color=INK)
    legend(figure, axes)
    return figure


def _shared(seeds: Sequence[curves.Series]) -> list[curves.Series]:
    """Each seed's curve at the lags that all of them have."""
    lags = reduce(np.intersect1d, [each.x for each in seeds])
    return [curves.Series(*(values[np.isin(each.x, lags)] for values in each)) for each in seeds]


def _pairs(runs: Mapping[str, Sequence[Trace]], found: Mapping[str, Sequence[curves.Series]]) -> str:
    """How many pairs are behind the shortest, a middle and the longest lag, mean over the seeds of one strategy."""
    label = max(found, key=lambda name: found[name][0].x[-1])
    lags = found[label][0].x.astype(int)
    places = sorted({0, len(lags) // 2, len(lags) - 1})
    counts = [np.mean([(curves.lags_at_ends(t) == lags[place]).sum() for t in runs[label]]) for place in places]
    return "pairs per seed: " + ", ".join(f"{n:.0f} at lag {lags[p]}" for n, p in zip(counts, places, strict=True))

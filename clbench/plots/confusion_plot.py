"""Confusion matrices at the end of the stream, one panel per strategy."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clbench.core.errors import Refused
from clbench.core.record import Record, Trace
from clbench.plots.plotted_runs import choose
from clbench.plots.style import INK, MUTED, averaged, canvas, scale_of_shares

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NUMBERED = 12
"""Largest number of output units for which cells contain numbers."""
DARK = 0.55
"""Smallest value with a dark background."""


def confusion_matrix(trace: Trace) -> NDArray[np.int64]:
    """Count the samples of the last evaluation by their output unit (down) and the predicted one (to the right), (C,
    C).

    Raises:
        Refused: Predictions were not kept.
    """
    if trace.measure.chance != "classes":
        raise Refused(f"a confusion matrix is of classes, and these runs are scored by {trace.measure.name}")
    if trace.predictions is None:
        raise Refused("there are no predictions to draw: run the benchmark with --save-predictions")
    held = trace.predictions.last()
    n = 1 + int(max(held["label"].max(initial=0), held["top"].max(initial=0)))
    counts = np.zeros((n, n), dtype=np.int64)
    np.add.at(counts, (held["label"], held["top"][:, 0]), 1)
    return counts


def confusion(
    records: Iterable[Record], *, benchmark: str | None = None, strategies: Sequence[str] | None = None
) -> Figure:
    """Plot for each output unit the share of its samples by predicted unit at the end, over all seeds.

    Units go down, predictions to the right; darker is more. Percentages are printed if they fit.

    Args:
        records: Any records; cells that are not done are left out.
        benchmark: Name and version; needed only if the records contain several.
        strategies: Labels of strategies, one panel each; by default all.

    Raises:
        Refused: There is nothing to plot, one of several benchmarks must be chosen, a label is unknown, or the
            predictions of a run were not kept.
    """
    from matplotlib.cm import ScalarMappable

    runs = choose(records, benchmark, strategies)
    found = {label: _joined([confusion_matrix(trace) for trace in traces]) for label, traces in runs.traces.items()}
    n = max(len(counts) for counts in found.values())
    columns = min(3, len(found))
    rows = math.ceil(len(found) / columns)
    names = {label: textwrap.fill(label, 96 // columns) for label in found}
    side = 4.4 if len(found) == 1 else 3.4
    over = 0.75 + 0.16 * max(name.count("\n") for name in names.values())
    title = f"{runs.benchmark}: confusion at the end"
    figure = canvas(
        max(min(columns * (side + 0.5) + 1.4, 12), 4.5), 1.1 + rows * (over + side),
        title=title,
        caption=" · ".join(filter(None, (averaged(runs.seeds, band=False), "percent of the samples of a class"))),
    )  # fmt: skip
    colours, scale = scale_of_shares()
    panels = []
    for place, (label, counts) in enumerate(found.items()):
        axes = figure.add_subplot(rows, columns, place + 1)
        panels.append(axes)
        total = counts.sum(axis=1, keepdims=True)
        share = np.divide(counts, total, out=np.zeros(counts.shape), where=total > 0)
        axes.imshow(share, cmap=colours, norm=scale, interpolation="nearest")
        axes.spines[:].set_visible(False)
        axes.tick_params(colors=MUTED, labelcolor=INK, labelsize=9, length=0)
        ticks = range(0, len(counts), math.ceil(len(counts) / NUMBERED))
        axes.set_xticks(ticks)
        axes.set_yticks(ticks)
        if n <= NUMBERED:
            for (row, column), value in np.ndenumerate(share):
                if value >= 0.005:
                    axes.text(
                        column, row, f"{100 * value:.0f}", ha="center", va="center", fontsize=7.5,
                        color="white" if value > DARK else INK,
                    )  # fmt: skip
        right = np.trace(counts) / max(1, counts.sum())
        axes.set_title(
            f"{names[label]}\n{100 * right:.1f} % of all samples correct", loc="left", fontsize=10.5, color=INK
        )
        if place % columns == 0:
            axes.set_ylabel("class", color=INK)
        if place >= len(found) - columns:
            axes.set_xlabel("predicted", color=INK)
    bar = figure.colorbar(ScalarMappable(scale, colours), ax=panels, shrink=0.8, aspect=30, pad=0.02)
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=MUTED, labelcolor=INK, labelsize=9, length=3)
    bar.ax.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f}%")
    return figure


def _joined(counts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Add up matrices that may differ in their numbers of units."""
    n = max(map(len, counts))
    total: NDArray[np.int64] = np.sum([np.pad(each, (0, n - len(each))) for each in counts], axis=0)
    return total

"""Confusion matrices at the end of the stream, one panel per strategy."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clbench.core.errors import Refused
from clbench.core.record import Record, Trace
from clbench.plots.class_order import of_classes
from clbench.plots.heat_panels import NUMBERED, bare, colour_bar, entitle, panels, percent, places, write
from clbench.plots.picture_format import room
from clbench.plots.plotted_runs import choose
from clbench.plots.style import averaged, canvas, scale_of_shares

if TYPE_CHECKING:
    from matplotlib.figure import Figure


CURE = "run the benchmark with --save-predictions, into the same folder or another"


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
    runs = choose(records, benchmark, strategies)
    holds = {label: all(trace.predictions is not None for trace in traces) for label, traces in runs.traces.items()}
    shown, missing = of_classes(runs, holds, picture="a confusion matrix", what="predictions", cure=CURE)
    found = {label: _joined([confusion_matrix(trace) for trace in runs.traces[label]]) for label in shown}
    n = max(len(counts) for counts in found.values())
    columns = min(3, len(found))
    side = 4.4 if len(found) == 1 else 3.4
    width = room(max(min(columns * (side + 0.5) + 1.4, 12), 4.5))
    placed = places(found, width)
    side = min(side, placed.width - 0.5)
    figure = canvas(
        width, 1.1 + placed.rows * (placed.over + side),
        title=f"{runs.benchmark}: confusion at the end",
        caption=" · ".join(filter(None, [_seeds(shown), "percent of the samples of a class", missing])),
    )  # fmt: skip
    colours, scale = scale_of_shares()
    drawn = panels(figure, placed, down="class", across="predicted")
    for label, axes in drawn.items():
        counts = found[label]
        total = counts.sum(axis=1, keepdims=True)
        share = np.divide(counts, total, out=np.zeros(counts.shape), where=total > 0)
        axes.imshow(share, cmap=colours, norm=scale, interpolation="nearest")
        bare(axes)
        ticks = range(0, len(counts), math.ceil(len(counts) / NUMBERED))
        axes.set_xticks(ticks)
        axes.set_yticks(ticks)
        if n <= NUMBERED:
            for (row, column), value in np.ndenumerate(share):
                if value >= 0.005:
                    write(axes, column, row, value)
        right = np.trace(counts) / max(1, counts.sum())
        entitle(axes, f"{placed.names[label]}\n{100 * right:.1f} % of all samples correct")
    colour_bar(figure, drawn.values(), percent)
    return figure


def _seeds(shown: Mapping[str, Sequence[Record]]) -> str:
    """Return the caption about seeds, whose samples are counted together."""
    return averaged([len(own) for own in shown.values()], band=False).replace("mean of", "all samples of")


def _joined(counts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Add up matrices that may differ in their numbers of units."""
    n = max(map(len, counts))
    total: NDArray[np.int64] = np.sum([np.pad(each, (0, n - len(each))) for each in counts], axis=0)
    return total

"""The share of each class among the predictions at the ends of experiences, one panel per strategy."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clbench.core.record import Record, Trace
from clbench.core.types import Mask
from clbench.plots.class_order import ClassOrder, arrivals, class_order, of_classes, own_classes, traces_by_seed
from clbench.plots.confusion_plot import CURE
from clbench.plots.heat_panels import (
    NUMBERED,
    bare,
    colour_bar,
    entitle,
    frame,
    hatch,
    on,
    panels,
    percent,
    places,
    row_ticks,
    write,
)
from clbench.plots.picture_format import room
from clbench.plots.plotted_runs import choose
from clbench.plots.style import averaged, canvas, scale_of_shares

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 11.0
"""Width of the plot, in inches."""


@dataclass(frozen=True, eq=False)
class Shares:
    """Hold the shares of classes of one strategy, as mean over seeds.

    Args:
        predicted: (C, E) share of each class among the predictions for samples of the tasks seen so far.
        seen: (C, E) whether the class had occurred by the end of the experience, in every seed.
        present: (C, E) whether it occurs in the experience, in every seed.
        newest: Share of the classes of the last experience among the predictions at the end.
        true: Share of their samples at the end.
    """

    predicted: NDArray[np.float64]
    seen: Mask
    present: Mask
    newest: float
    true: float


def predicted_classes(
    records: Iterable[Record], *, benchmark: str | None = None, strategies: Sequence[str] | None = None
) -> Figure:
    """Plot how often each class is predicted at the end of each experience, as mean over seeds, a panel per strategy.

    Only samples of the tasks seen so far count; a sample that several tasks share counts for each of them. Classes go
    down, in the order in which the stream brings them, experiences to the right; darker is more. A frame marks the
    classes of the experience. A strategy that prefers the newest classes is dark along the frames. Titles give the
    share of the classes of the last experience among the predictions at the end, and their share of the samples.

    Args:
        records: Any records; cells that are not done are left out.
        benchmark: Name and version; needed only if the records contain several.
        strategies: Labels of strategies, one panel each; by default all.

    Raises:
        Refused: There is nothing to plot, one of several benchmarks must be chosen, a label is unknown, or predictions
            were not kept.
    """
    from matplotlib.colors import Normalize

    runs = choose(records, benchmark, strategies)
    holds = {label: all(trace.predictions is not None for trace in traces) for label, traces in runs.traces.items()}
    shown, missing = of_classes(runs, holds, picture="this picture", what="predictions", cure=CURE)
    order = class_order(runs)
    found = {label: _shares(traces_by_seed(own), order) for label, own in shown.items()}
    top = max(float(shares.predicted.max()) for shares in found.values())
    scale = Normalize(0, top)
    experiences = max(shares.predicted.shape[1] for shares in found.values())
    width = room(WIDTH)
    placed = places(shown, width, need=float(np.clip(0.36 * experiences + 0.8, 2.0, 3.6)))
    height = float(np.clip(0.24 * len(order), 1.4, 4.2))
    caption = [
        averaged([len(own) for own in shown.values()], band=False), "percent of the predictions on tasks seen so far",
        "frame: classes of the experience", "hatched: not seen yet", missing,
    ]  # fmt: skip
    figure = canvas(
        width, 1.2 + placed.rows * (placed.over + 0.17 + height),
        title=f"{runs.benchmark}: which classes are predicted",
        caption=" · ".join(filter(None, caption)),
    )  # fmt: skip
    drawn = panels(figure, placed, down=order.title, across="at the end of experience")
    for label, axes in drawn.items():
        _draw(axes, found[label], scale, room=experiences)
        axes.set_yticks(*row_ticks(order.names))
        entitle(axes, f"{placed.names[label]}\n{_newest(found[label])}")
    colour_bar(figure, drawn.values(), percent, scale=scale)
    return figure


def _newest(shares: Shares) -> str:
    if shares.true > 1 - 1e-9:
        return ""
    return f"newest classes: {100 * shares.newest:.0f} % of predictions,\n{100 * shares.true:.0f} % of samples"


def _shares(traces: Mapping[int, Trace], order: ClassOrder) -> Shares:
    """Compute the shares of one strategy."""
    predicted, seen, present, newest, true = [], [], [], [], []
    for seed, trace in traces.items():
        assert trace.predictions is not None
        held, units = trace.predictions.columns, order.units[seed]
        own, arrived, n = own_classes(trace), arrivals(trace), len(order)
        share = np.zeros((n, trace.n_experiences))
        here = (own.T @ trace.present.T)[units]  # (C, E)
        for experience in range(trace.n_experiences):
            counted = (held["experience"] == experience) & (trace.first_visit[held["task"]] <= experience)
            counts = np.bincount(held["prediction"][counted].clip(min=0), minlength=n)[units]
            share[:, experience] = counts / max(1, counts.sum())
        labels = np.bincount(held["label"][counted], minlength=n)[units]
        predicted.append(share)
        seen.append(arrived[units, None] <= np.arange(trace.n_experiences))
        present.append(here)
        newest.append(share[here[:, -1], -1].sum())
        true.append(labels[here[:, -1]].sum() / max(1, labels.sum()))
    return Shares(
        predicted=np.mean(predicted, axis=0),
        seen=np.asarray(np.all(seen, axis=0)),
        present=np.asarray(np.all(present, axis=0)),
        newest=float(np.mean(newest)),
        true=float(np.mean(true)),
    )


def _draw(axes: Axes, shares: Shares, scale: object, *, room: int) -> None:
    """Draw one panel, as wide as ``room`` experiences."""
    colours, _ = scale_of_shares()
    count, experiences = shares.predicted.shape
    top = float(scale.vmax)  # type: ignore[attr-defined]
    axes.imshow(
        np.ma.masked_array(shares.predicted, ~shares.seen), cmap=colours, norm=scale,  # type: ignore[arg-type]
        interpolation="nearest", aspect="auto",
    )  # fmt: skip
    hatch(axes, experiences, count)
    bare(axes)
    axes.set_xlim(-0.5, room - 0.5)
    axes.set_xticks(range(0, experiences, math.ceil(experiences / NUMBERED)))
    if experiences > NUMBERED or count > 2 * NUMBERED:
        return
    for row, column in np.argwhere(shares.seen):
        value = shares.predicted[row, column]
        write(axes, int(column), int(row), value, top=top)
        if shares.present[row, column] and not shares.present.all():
            frame(axes, int(column), int(row), on(value / top))

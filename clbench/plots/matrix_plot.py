"""The matrix R of accuracies at the ends of experiences, one panel per strategy."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clbench.core.errors import Refused
from clbench.core.measure import Measure
from clbench.core.record import Record, Trace
from clbench.core.types import Mask
from clbench.metrics.accuracy_matrix import acc, end_scores
from clbench.metrics.interval import half_width
from clbench.metrics.metric import Undefined
from clbench.plots.heat_panels import BAR, NUMBERED, PANEL, bare, colour_bar, entitle, frame, hatch, on, panels, places
from clbench.plots.picture_format import points, room
from clbench.plots.plotted_runs import Runs, choose, rows_error
from clbench.plots.style import MUTED, SEEDS_FOR_BAND, averaged, canvas, scale_of_shares

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 11.0
"""Largest width of the plot, in inches."""
WITH_HALF = 6
"""Largest number of experiences and tasks for which cells contain numbers with intervals."""
WIDE = 24
"""Largest number of experiences for panels side by side."""


@dataclass(frozen=True, eq=False)
class Cells:
    """Hold the matrix of one strategy, with tasks down and experiences to the right.

    Args:
        mean: (T, E) mean over seeds of R.
        half: (T, E) half-width of its interval; NaN for fewer than three seeds.
        seen: (T, E) whether every seed had visited the task by the end of the experience.
        present: (T, E) whether the experience had samples of the task in every seed.
        same: Whether all seeds agree about ``present``.
    """

    mean: NDArray[np.float64]
    half: NDArray[np.float64]
    seen: Mask
    present: Mask
    same: bool


def end_matrix(
    records: Iterable[Record], *, benchmark: str | None = None, strategies: Sequence[str] | None = None
) -> Figure:
    """Plot R[e, i], the accuracy on task i at the end of experience e, as mean over seeds, one panel per strategy.

    Tasks go down, experiences to the right; darker is better. Numbers (percent, with the half-width of the 95 %
    interval from three seeds on) are printed if they fit. A frame marks a task that is present in the experience, if
    all seeds agree. The background of unseen tasks is hatched and their numbers are small: it is the accuracy of a
    model that never met them.

    Args:
        records: Any records; cells that are not done are left out.
        benchmark: Name and version; needed only if the records contain several.
        strategies: Labels of strategies, one panel each; by default all.

    Raises:
        Refused: There is nothing to plot, one of several benchmarks must be chosen, a label is unknown, an evaluation
            at an end left out a seen task, or seeds of one strategy differ in their numbers of experiences or tasks.
    """
    runs = choose(records, benchmark, strategies)
    found = {label: _cells(label, traces) for label, traces in runs.traces.items()}
    tasks, experiences = (max(cells.mean.shape[axis] for cells in found.values()) for axis in (0, 1))
    wide, widest = experiences > WIDE, room(WIDTH)
    need = float(np.clip(0.36 * experiences + 0.5, 1.6, PANEL))
    placed = places(found, widest, need=need, columns=1 if wide else None)
    square = (placed.width - 0.6) * tasks / experiences
    height = float(np.clip(0.26 * tasks + 0.3 if wide else square, 1.2, 4.4 if len(found) == 1 else 3.6))
    natural = max(placed.columns * (height * experiences / tasks + 0.6) + BAR, 6.5)
    width = widest if wide else room(min(natural, WIDTH))
    figure = canvas(
        width, 1.1 + placed.rows * (placed.over + height),
        title=f"{runs.benchmark}: {runs.measure.name} at the end of each experience",
        caption=_explained(runs, found.values(), experiences),
    )  # fmt: skip
    drawn = panels(figure, placed, down="task", across="experience")
    for label, axes in drawn.items():
        _draw(axes, found[label], equal=not wide, room=experiences, measure=runs.measure)
        final = np.mean([acc(trace) for trace in runs.traces[label]])
        entitle(axes, f"{placed.names[label]}\n{runs.measure.short} {runs.measure.text(float(final), fewer=1)}")
    colour_bar(figure, drawn.values(), lambda value: runs.measure.number(value, fewer=2) + runs.measure.unit)
    return figure


def _cells(label: str, traces: Sequence[Trace]) -> Cells:
    if len({trace.present.shape for trace in traces}) > 1:
        raise Refused(
            f"the matrix of {label!r} has no mean: its seeds differ in the number of experiences or tasks; "
            "choose other strategies, or another --kind"
        )
    try:
        scores = np.array([end_scores(trace).T for trace in traces])  # (seeds, T, E)
    except Undefined as why:
        raise Refused(f"the matrix of {label!r} cannot be drawn: {why}") from None
    present = np.array([trace.present.T for trace in traces])
    return Cells(
        mean=scores.mean(axis=0),
        half=half_width(scores, fewest=SEEDS_FOR_BAND),
        seen=np.asarray(np.logical_or.accumulate(present, axis=2).all(axis=0)),
        present=np.asarray(present.all(axis=0)),
        same=bool((present == present[0]).all()),
    )


def _explained(runs: Runs, found: Iterable[Cells], experiences: int) -> str:
    """Return the caption about means, frames and numbers, in two lines for narrow plots."""
    cells = list(found)
    numbered = max(max(each.mean.shape) for each in cells) <= NUMBERED
    numbers = (
        "numbers in percent" if runs.measure.unit == "%" else f"numbers: {runs.measure.name}"
    ) + ", ± 95 % interval" * any(map(_with_half, cells))
    above = [averaged(runs.seeds, band=False), numbers * numbered]
    framed = experiences <= WIDE and any(each.same for each in cells)
    unseen = any(not each.seen.all() for each in cells)
    below = [rows_error(runs.traces), "hatched: not seen yet" * unseen, "frame: present" * framed]
    return "\n".join(filter(None, (" · ".join(filter(None, line)) for line in (above, below))))


def _with_half(cells: Cells) -> bool:
    return max(cells.mean.shape) <= WITH_HALF and bool(np.isfinite(cells.half).any())


def _draw(axes: Axes, cells: Cells, *, equal: bool, room: int, measure: Measure) -> None:
    """Draw one panel, as wide as ``room`` experiences, so that cells of all panels have one size."""
    tasks, experiences = cells.mean.shape
    colours, scale = scale_of_shares()
    axes.imshow(
        np.ma.masked_array(cells.mean, ~cells.seen), cmap=colours, norm=scale, interpolation="nearest",
        aspect="equal" if equal else "auto",
    )  # fmt: skip
    if equal:
        axes.set_xlim(-0.5, room - 0.5)
    hatch(axes, experiences, tasks)
    bare(axes)
    for axis, n in ((axes.xaxis, experiences), (axes.yaxis, tasks)):
        axis.set_ticks(range(0, n, math.ceil(n / NUMBERED) if n <= WIDE else 10 * math.ceil(n / 120)))
    if experiences <= WIDE:
        for task, experience in np.argwhere(cells.present & cells.same):
            frame(axes, int(experience), int(task), on(cells.mean[task, experience]))
    if experiences <= NUMBERED and tasks <= NUMBERED:
        for (task, experience), value in np.ndenumerate(cells.mean):
            _write(axes, cells, int(task), int(experience), float(value), measure=measure)


def _write(axes: Axes, cells: Cells, task: int, experience: int, value: float, *, measure: Measure) -> None:
    """Write the number of one cell: light on a dark background, pale if the task was not seen yet."""
    if math.isnan(value):
        return
    seen = bool(cells.seen[task, experience])
    colour = on(value) if seen else MUTED
    text, half = measure.number(value, fewer=2), cells.half[task, experience]
    small = 7.5 if max(cells.mean.shape) > WITH_HALF else 9.5
    axes.text(experience, task, text, ha="center", va="center", fontsize=points(small if seen else 7), color=colour)
    if seen and _with_half(cells):
        axes.text(
            experience,
            task + 0.3,
            f"±{measure.change(half, fewer=2)}",
            ha="center",
            va="center",
            fontsize=points(6.5),
            color=colour,
        )

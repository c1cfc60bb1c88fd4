"""Readings of the network along the stream, one panel for each, beside the accuracy on what was just learned."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from clbench.core.errors import Refused
from clbench.core.measure import ACCURACY
from clbench.core.record import Record, Trace
from clbench.metrics import curves
from clbench.metrics.accuracy_matrix import end_scores
from clbench.metrics.metric import Undefined
from clbench.plots.curve_drawing import draw_line, how_marked, mark_switches
from clbench.plots.picture_format import groups, is_narrow, points, room
from clbench.plots.plotted_runs import choose, median_boundaries
from clbench.plots.style import INK, averaged, canvas, legend, legend_at, legend_height, literal, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 11.0
"""Width of the plot, in inches."""
SHARES = ("fau", "dormant")
"""Readings in percent."""
TITLES = {
    "fau": "fraction of active units",
    "dormant": "dormant units",
    "effective_rank": "effective rank of the features",
    "weight_norm": "norm of the weights",
    "gradient_norm": "norm of the gradient",
    "distance": "distance from the initial weights",
    "cka": "similarity to the features at first visits (CKA)",
}


def network_readings(
    records: Iterable[Record], *, benchmark: str | None = None, strategies: Sequence[str] | None = None
) -> Figure:
    """Plot each reading over iterations, a panel each; the first panel has the score on the tasks of each experience
    at its end.

    Of a reading with several numbers the first one is drawn, and of ``cka`` the mean over tasks that have a value.
    An upper bound that merges experiences has readings at its start and end. Values between readings are interpolated
    linearly. Bands are the 95 % interval from three seeds on.

    Args:
        records: Any records; cells that are not done are left out.
        benchmark: Name and version; needed only if the records contain several.
        strategies: Labels of strategies; by default all. Those without readings have a line in the first panel only.

    Raises:
        Refused: There is nothing to plot, no run has readings, one of several benchmarks must be chosen, or a label is
            unknown.
    """
    from matplotlib.ticker import MaxNLocator

    runs = choose(records, benchmark, strategies)
    traces = runs.traces
    names = list(dict.fromkeys(name for own in traces.values() for trace in own for name in trace.readings))
    if not names:
        raise Refused(
            f"no run of {runs.benchmark} has readings; set evaluation.readings=[fau, effective_rank] and run it again"
        )
    divided, width, looks = groups(list(traces)), room(WIDTH), runs.looks
    columns = 1 if is_narrow(width) else 2
    rows = math.ceil((1 + len(names)) / columns)
    boundaries = median_boundaries(runs.following())
    figure = canvas(
        width,
        0.7 + 2.3 * rows * len(divided) + sum(legend_height(group, width) for group in divided),
        title=f"{runs.benchmark}: readings of the network",
        caption=" · ".join(filter(None, [averaged(runs.seeds, rows_error=False), how_marked(len(boundaries) - 1)])),
    )
    for number, group in enumerate(divided):
        panels: list[Axes] = []
        for place, name in enumerate(["", *names]):
            axes = figure.add_subplot(
                rows * len(divided), columns, number * rows * columns + place + 1, sharex=panels[0] if panels else None
            )
            panels.append(axes)
            plain(axes, measure=runs.measure if not name else ACCURACY if _base(name) in SHARES else None)
            for position, label in enumerate(group):
                line = _line(traces[label], name)
                if line is not None:
                    draw_line(
                        axes, line, looks[label], label=label, place=position / len(group), low=-math.inf,
                        high=math.inf, lines=len(group),
                    )  # fmt: skip
            mark_switches(axes, boundaries)
            axes.set_title(
                literal(_title(name, runs.measure.name)), loc="left", fontsize=points(10.5), color=INK, pad=points(9)
            )
            if place >= 1 + len(names) - columns:
                axes.set_xlabel("iteration", color=INK)
        panels[0].set_xlim(0, boundaries[-1])
        panels[0].xaxis.set_major_locator(MaxNLocator(5))
        if len(divided) > 1:
            legend_at(panels[0] if columns == 1 else panels[1], panels[0])
    if len(divided) == 1:
        legend(figure, panels[0])
    return figure


def _base(name: str) -> str:
    return name.partition("(")[0]


def _title(name: str, score: str) -> str:
    if not name:
        return f"{score} on the tasks of an experience at its end"
    base, bracket, settings = name.partition("(")
    return f"{TITLES.get(base, base)}{f', {settings[:-1]}' if bracket else ''}"


def _line(traces: Sequence[Trace], name: str) -> curves.Line | None:
    """Return the mean curve of a reading, or of the score if the name is empty; ``None`` without one in each seed."""
    found = [_learned(trace) if not name else _series(trace.readings, name) for trace in traces]
    series = [each for each in found if each is not None]
    return curves.over_seeds(series) if series and len(series) == len(found) else None


def _learned(trace: Trace) -> curves.Series | None:
    """Return the mean score on the tasks of each experience when it ends."""
    try:
        scores = end_scores(trace)  # (E, T)
    except Undefined:
        return None
    shown = trace.present & ~np.isnan(scores)
    mean = np.where(shown, scores, 0).sum(axis=1) / np.where(shown.any(axis=1), shown.sum(axis=1), np.nan)
    return _known(curves.experience_boundaries(trace)[1:], mean)


def _series(readings: Mapping[str, tuple[np.ndarray, np.ndarray]], name: str) -> curves.Series | None:
    if name not in readings:
        return None
    steps, values = readings[name]
    flat = values.reshape(len(steps), -1).astype(np.float64)  # (J, n)
    if _base(name) == "cka":
        known = ~np.isnan(flat)
        mean = np.where(known, flat, 0).sum(axis=1) / np.where(known.any(axis=1), known.sum(axis=1), np.nan)
    else:
        mean = flat[:, 0]
    last = np.diff(steps, append=steps[-1:] + 1) > 0  # of several readings at a step the last one
    return _known(steps[last], mean[last])


def _known(x: np.ndarray, y: np.ndarray) -> curves.Series | None:
    known = np.isfinite(y)
    if not known.any():
        return None
    return curves.Series(x[known].astype(float), y[known], np.full(int(known.sum()), np.nan))

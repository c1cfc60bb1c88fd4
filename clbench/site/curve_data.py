"""What the page of a benchmark draws: curves along the stream, and the mean change after a switch, for each row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from clbench.core.record import Trace
from clbench.core.shown_text import shown
from clbench.metrics import Undefined, curves
from clbench.metrics.accuracy_matrix import end_looks
from clbench.plots.plotted_runs import default_window, median_boundaries
from clbench.plots.strategy_styles import Style, styles
from clbench.site.packed_numbers import packed, unpacked
from clbench.site.site_content import Site, SiteBenchmark, SiteRow
from clbench.site.strategy_lines import colour_on, dashes
from clbench.site.svg_themes import themed
from clbench.site.thinned_curves import lowest_points, thinned

MOST_TASKS = 10
"""Largest number of tasks with curves of their own; of more, the first, the last and some between have one."""
SEEN = "seen"
"""Name of the curve of the mean over the tasks seen so far; curves of tasks have their number as name."""
X_UNIT, Y_UNIT = 0.1, 0.0001
"""What the numbers of a curve count: tenths of an iteration, and hundredths of a percent."""


@dataclass(frozen=True, eq=False)
class DrawnRow:
    """Hold the runs of a row that follow the experiences of the stream.

    Args:
        row: The row.
        traces: A trace per finished seed.
        style: How plots draw it.
    """

    row: SiteRow
    traces: tuple[Trace, ...]
    style: Style


@dataclass(frozen=True, eq=False)
class BenchmarkCurves:
    """Hold what is drawn of a benchmark.

    Args:
        benchmark: The benchmark.
        rows: Its rows with runs that follow the stream, in the order of the table.
    """

    benchmark: SiteBenchmark
    rows: tuple[DrawnRow, ...]

    @cached_property
    def boundaries(self) -> curves.Curve:
        """Return the median number of iterations before each experience, and at the end, (E + 1,)."""
        return median_boundaries({each.row.row.label: list(each.traces) for each in self.rows})

    @cached_property
    def tasks(self) -> list[int]:
        """Return the tasks with curves of their own."""
        count = min(trace.n_tasks for each in self.rows for trace in each.traces)
        return sorted({round(k) for k in np.linspace(0, count - 1, min(count, MOST_TASKS))})

    @property
    def data_name(self) -> str:
        """Return the name of its data."""
        return f"curves/{self.benchmark.slug}"

    @property
    def data_path(self) -> str:
        """Return the path of the script with its data, below the folder of the site."""
        return f"data/{self.benchmark.slug}-curves.js"

    def scaled(self, trace: Trace, series: curves.Series) -> curves.Series:
        """Return a curve whose experiences are scaled to their median lengths, as in the plots."""
        own = curves.experience_boundaries(trace)
        if np.array_equal(own, self.boundaries):
            return series
        return series._replace(x=np.interp(series.x, own, self.boundaries))


def curves_of(site: Site, benchmark: SiteBenchmark) -> BenchmarkCurves | None:
    """Return what is drawn of a benchmark; ``None`` if no run of it follows the experiences of the stream."""
    found = [(row, _readable(row)) for row in benchmark.rows]
    lengths = [trace.n_experiences for _, traces in found for trace in traces]
    if not lengths:
        return None
    looks = styles({row.row.label for _, row in site.rows})
    following = [
        DrawnRow(row, own, looks[row.row.label])
        for row, traces in found
        if (own := tuple(trace for trace in traces if trace.n_experiences == max(lengths)))
    ]
    return BenchmarkCurves(benchmark, tuple(following))


def _readable(row: SiteRow) -> list[Trace]:
    """Return the traces of the finished runs with scores and an evaluation at the end of every experience."""
    found = []
    for record in row.row.records:
        if record.status == "done" and record.trace is not None:
            try:
                end_looks(record.trace)
            except Undefined:
                continue
            if np.isfinite(record.trace.score[record.trace.seen]).any():
                found.append(record.trace)
    return found


def curve_data(drawn: BenchmarkCurves) -> dict[str, Any]:
    """Return the data of the page: switches, and for each row its curves and its mean change after a switch.

    A curve is ``{"mean": ..., "low": ...}``, both as :func:`points`: the mean over seeds, and the lowest seed at each
    iteration. They are thinned without losing a dip, so that the lowest drawn value is the lowest evaluation.
    """
    window = _window(drawn)
    measure = drawn.benchmark.table.measure
    return {
        "switches": [round(float(each), 1) for each in drawn.boundaries[1:-1]],
        "end": float(drawn.boundaries[-1]),
        "measure": {"name": measure.name, "percent": measure.unit == "%"},
        "tasks": drawn.tasks,
        "window": list(window),
        "rows": [
            {
                "label": shown(each.row.row.strategy),
                "slug": each.row.slug,
                "colour": [colour_on(theme, each.style.colour) for theme in themed()],
                "dash": dashes(each.style),
                "seeds": len(each.traces),
                "curves": _curves(drawn, each),
                "gap": _gap(each.traces, *window),
            }
            for each in drawn.rows
        ],
    }


def mean_seen(drawn: BenchmarkCurves, row: DrawnRow) -> curves.Line:
    """Return the mean over seeds of the score on the tasks seen so far."""
    return curves.over_seeds([drawn.scaled(trace, curves.series(trace, trace.seen)) for trace in row.traces])


def _curves(drawn: BenchmarkCurves, row: DrawnRow) -> dict[str, Any]:
    found = {SEEN: [drawn.scaled(trace, curves.series(trace, trace.seen)) for trace in row.traces]}
    for task in drawn.tasks:
        found[str(task)] = [drawn.scaled(trace, curves.one_task(trace, task)) for trace in row.traces]
    return {name: made for name, own in found.items() if (made := over_seeds([each for each in own if len(each.x)]))}


def over_seeds(seeds: Sequence[curves.Series]) -> dict[str, list[str]] | None:
    """Return the mean over seeds and the lowest seed at each iteration; ``None`` without seeds.

    Between its evaluations a seed has the interpolated value, so the lowest line does not jump from seed to seed where
    seeds are evaluated at different iterations.
    """
    if not seeds:
        return None
    line = curves.over_seeds(seeds)
    kept = thinned(line.x, line.mean)
    made = {"mean": points(line.x[kept], line.mean[kept])}
    if len(seeds) > 1:
        lowest = np.min([np.interp(line.x, each.x, each.y) for each in seeds], axis=0)
        low = lowest_points(line.x, lowest)
        made["low"] = points(line.x[low], lowest[low])
    return made


def _window(drawn: BenchmarkCurves) -> tuple[int, int]:
    """Return the iterations before and after a switch that every experience has."""
    lengths = np.concatenate([np.diff(curves.experience_boundaries(t)) for each in drawn.rows for t in each.traces])
    shortest = int(lengths.min())
    after = min(default_window(np.diff(drawn.boundaries)[1:].tolist() or [shortest]), shortest)
    return min(max(1, after // 6), shortest), after


def _gap(traces: Sequence[Trace], before: int, after: int) -> list[str] | None:
    """Return the mean change of the score on old tasks after a switch; ``None`` if it is not defined."""
    try:
        line = curves.over_seeds([curves.since_switch(trace, before=before, after=after) for trace in traces])
    except Undefined:
        return None
    kept = thinned(line.x, line.mean)
    return points(line.x[kept], line.mean[kept])


def points(x: curves.Curve, y: curves.Curve) -> list[str]:
    """Return a curve as two packed texts: x in tenths of an iteration, y in units of 0.0001.

    Values that are not finite are missing, so that a diverged run leaves a hole in its curve.
    """
    return [
        packed(round(float(each) / X_UNIT) for each in x),
        packed(round(float(each) / Y_UNIT) if np.isfinite(each) else None for each in y),
    ]


def curve(texts: Sequence[str]) -> tuple[curves.Curve, curves.Curve]:
    """Return x and y of such texts, y rounded to 0.0001 and NaN where it is missing."""
    x, y = (np.array([np.nan if each is None else each for each in unpacked(text)], dtype=float) for text in texts)
    return x * X_UNIT, y * Y_UNIT

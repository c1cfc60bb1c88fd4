"""Results as text for a terminal: a line of blocks for each strategy, with its ACC and WC-ACC."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from clbench.comparison.record_groups import is_finished
from clbench.core.errors import Refused
from clbench.core.measure import Measure
from clbench.core.record import Record, Trace
from clbench.metrics import curves, get
from clbench.metrics.interval import SEEDS_FOR_INTERVAL, half_width
from clbench.plots.plotted_runs import THIN_SPACE, choose, median_boundaries

BLOCKS, DIGITS = "▁▂▃▄▅▆▇█", "0123456789"
NARROWEST, LABEL = 10, 32
"""Smallest number of columns of a line, largest number of columns of a label."""
FINE = 16
"""Number of points that are averaged in a column."""


def sparklines(
    records: Iterable[Record],
    *,
    benchmark: str | None = None,
    strategies: Sequence[str] | None = None,
    width: int = 100,
    ascii: bool = False,
) -> str:
    """Return a line per strategy, best ACC first: mean accuracy on the tasks seen so far along the stream.

    A column is the mean over its share of the iterations and over seeds. Heights are eighths of the range from 0 to 100
    %; ASCII digits are tenths. Marks above the lines are switches, if they fit. A strategy with other experiences
    (``joint``) is a horizontal line at its final accuracy.

    Args:
        records: Any records; cells that are not done are left out. Several benchmarks are printed one after the other.
        benchmark: Only this benchmark.
        strategies: Labels of strategies; by default all.
        width: Columns of the terminal.
        ascii: Whether to print only ASCII characters.

    Returns:
        Lines that fit ``width``, if it is wide enough for ten columns of blocks; there is no line break at the end.

    Raises:
        Refused: No cell is done, or a benchmark or label is unknown.
    """
    records = [record for record in records if is_finished(record)]
    found = sorted({record.benchmark for record in records})
    names = [benchmark] if benchmark or not found else found
    if strategies and len(names) > 1:
        several = ", ".join(map(str, names))
        raise Refused(f"the records hold several benchmarks ({several}); choose one with --benchmark")
    return "\n\n".join(_block(records, name, strategies, width=width, ascii=ascii) for name in names)


def _block(
    records: Sequence[Record], benchmark: str | None, strategies: Sequence[str] | None, *, width: int, ascii: bool
) -> str:
    """Return the text for one benchmark: a heading, the marks, and the lines."""
    runs = choose(records, benchmark, strategies)
    boundaries = median_boundaries(runs.following())
    scores = {
        label: [_percent(traces, name, ascii=ascii) for name in ("acc", "wc_acc")]
        for label, traces in runs.traces.items()
    }
    order = sorted(scores, key=lambda label: -np.mean([get("acc")(t).value for t in runs.traces[label]]))
    titles = [get(name).under(runs.measure).title for name in ("acc", "wc_acc")]
    cells = [titles, *scores.values()]
    numbers = [max(len(row[column]) for row in cells) for column in (0, 1)]
    room = max(width - sum(numbers) - 6, NARROWEST + 12)
    label_width = min(max(map(len, scores)), LABEL, room - NARROWEST)
    columns = room - label_width

    heading = f"{runs.benchmark}: mean {runs.measure.name} on the tasks seen so far"
    length = f"{_count(len(boundaries) - 1, 'experience')}, {boundaries[-1]:.0f} iterations"
    detail = f"{length}, {_seeds(runs.seeds)}; {_scale(ascii, runs.measure)}"
    marks = _marks(boundaries, columns, ascii=ascii)
    text = [heading[:width], detail[:width], _row("", marks, *titles, widths=(label_width, columns, *numbers))]
    for label in order:
        line = _line(runs.traces[label], boundaries, columns, ascii=ascii)
        name = _short(label.lstrip(THIN_SPACE), label_width, ascii)
        text.append(_row(name, line, *scores[label], widths=(label_width, columns, *numbers)))
    block = "\n".join(line.rstrip() for line in text)
    return block.encode("ascii", "replace").decode() if ascii else block


def _line(traces: Sequence[Trace], boundaries: curves.Curve, columns: int, *, ascii: bool) -> str:
    """Return one character per column, from the mean over seeds of the mean accuracy on seen tasks."""
    values = heights(traces, boundaries, columns)
    ramp = DIGITS if ascii else BLOCKS
    return "".join(ramp[min(max(int(value * len(ramp)), 0), len(ramp) - 1)] for value in values)


def heights(traces: Sequence[Trace], boundaries: curves.Curve, columns: int) -> curves.Curve:
    """Return the mean accuracy on the tasks seen so far in each of ``columns`` equal shares of the iterations,
    (columns,).

    Args:
        traces: A trace per seed; experiences are scaled to ``boundaries``.
        boundaries: (E + 1,) iterations at which experiences begin, and the end.
        columns: Number of columns, at least 1.
    """
    fine = (np.arange(columns * FINE) + 0.5) * boundaries[-1] / (columns * FINE)
    rows = []
    for trace in traces:
        own = curves.series(trace, curves.selected(trace, "seen"))
        if trace.n_experiences == len(boundaries) - 1:
            rows.append(np.interp(fine, np.interp(own.x, curves.experience_boundaries(trace), boundaries), own.y))
        else:
            rows.append(np.full(len(fine), own.y[-1]))
    averaged: curves.Curve = np.mean(rows, axis=0).reshape(columns, FINE).mean(axis=1)
    return averaged


def _marks(boundaries: curves.Curve, columns: int, *, ascii: bool) -> str:
    """Return marks above the columns in which experiences begin; none if they would fill every other column."""
    if 3 * (len(boundaries) - 2) > columns:
        return ""
    at = {min(int(bound / boundaries[-1] * columns), columns - 1) for bound in boundaries[1:-1]}
    return "".join(("|" if ascii else "╷") if column in at else " " for column in range(columns))


def _row(label: str, line: str, first: str, second: str, *, widths: Sequence[int]) -> str:
    return f"{label:<{widths[0]}}  {line:<{widths[1]}}  {first:>{widths[2]}}  {second:>{widths[3]}}"


def _percent(traces: Sequence[Trace], name: str, *, ascii: bool) -> str:
    """Return ``83.2 ± 1.1``: mean over seeds and half-width of the 95 % interval; ``-`` if undefined. Fewer than three
    seeds give the value of each."""
    values = [get(name)(trace).value for trace in traces]
    if np.isnan(values).any():
        return "-"
    measure = traces[0].measure
    if len(values) < SEEDS_FOR_INTERVAL:
        return ", ".join(measure.number(value, fewer=1) for value in values)
    text = measure.number(float(np.mean(values)), fewer=1)
    return f"{text} {'+-' if ascii else '±'} {measure.change(float(half_width(values)), fewer=1)}"


def _short(label: str, width: int, ascii: bool) -> str:
    dots = "..." if ascii else "…"
    return label if len(label) <= width else label[: width - len(dots)] + dots


def _count(number: int, one: str) -> str:
    return f"{number} {one}{'s' * (number != 1)}"


def _seeds(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return _count(high, "seed") if low == high else f"{low} to {high} seeds"


def _scale(ascii: bool, measure: Measure) -> str:
    top = measure.text(1.0, fewer=2)
    if ascii:
        return f"0 to 9: tenths of {top}"
    return f"{BLOCKS[0]} to {BLOCKS[-1]}: {'' if measure.bounded else 'at most '}0 to {top}"

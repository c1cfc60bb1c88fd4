"""The picture of a stability gap: accuracy over iterations, switches marked, strategies overlaid, intervals over seeds.

Figures are made with matplotlib's object interface: no windows, no global state. They read in black and white: every
strategy has its own marker and line style beside its colour.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clbench.metrics import curves
from clbench.metrics.cells import by_benchmark, by_strategy, is_finished
from clbench.metrics.core import Undefined
from clbench.metrics.ends import end_looks
from clbench.parameters import Refused, did_you_mean
from clbench.types import Kind, Record, Trace

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID = "#1f2430", "#687080", "#e3e6ec"
# Okabe and Ito's colours that keep their contrast on white and on dark grounds, and three that fit them.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#c99700", "#7a5195", "#56a4d9", "#7f7f7f")
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.4)), (0, (1.4, 1)), (0, (6, 1.3, 1.4, 1.3)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")
PANELS = 4
BAND_POINTS = 1000
SEEDS_FOR_BAND = 3
"""With two seeds the interval is 25 standard errors wide: it would cover the picture and say nothing."""
SUFFIXES = (".png", ".svg", ".pdf")


@dataclass(frozen=True)
class Style:
    """How a strategy is drawn, everywhere in a figure."""

    colour: str
    dash: Any
    marker: str


def stability_gap(
    records: Iterable[Record],
    *,
    benchmark: str | None = None,
    strategies: Sequence[str] | None = None,
    tasks: curves.Tasks = "first",
    window: int | None = None,
) -> Figure:
    """Accuracy over the stream for each strategy, and below it the switches magnified.

    Above: accuracy on the first task, or the mean over the tasks seen so far (which also falls because a new task
    begins near zero). Below: mean accuracy on the tasks seen before each of up to four switches. Seeds whose
    experiences differ in length are aligned experience by experience. A strategy that does not follow the stream's
    experiences (``joint``) is a horizontal line at its final accuracy. Bands need three seeds.

    Args:
        records: Cells that are not done are left out.
        benchmark: Name and version, needed only where the records hold several.
        strategies: Labels to draw; by default all.
        tasks: ``"first"`` or ``"seen"``, for the upper panel.
        window: Iterations shown after a switch; by default a share of the experience that holds the gap.

    Raises:
        Refused: Nothing to draw, several benchmarks and none chosen, or an unknown label.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    name, runs = _runs(records, benchmark, strategies)
    length = max(trace.n_experiences for traces in runs.values() for trace in traces)
    streams = {label: [t for t in traces if t.n_experiences == length] for label, traces in runs.items()}
    streams = {label: traces for label, traces in streams.items() if traces}
    bounds = np.median([curves.bounds(trace) for traces in streams.values() for trace in traces], axis=0)
    looked = any((trace.kind == Kind.STEP).any() for traces in streams.values() for trace in traces)
    switches = _choose_switches(length) if looked else []
    styles = _styles(runs)

    figure = Figure(figsize=(11.5, 6.9 if switches else 4.2), facecolor="white")
    figure.set_layout_engine(ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06, hspace=0.04, wspace=0.03))
    grid = figure.add_gridspec(
        2 if switches else 1, max(1, len(switches)), height_ratios=[1.35, 1] if switches else [1]
    )
    main = figure.add_subplot(grid[0, :])
    _draw_stream(main, runs, bounds, styles=styles, tasks=tasks)
    window = window or _default_window(bounds)
    lower: list[Axes] = []
    for column, switch in enumerate(switches):
        axes = figure.add_subplot(grid[1, column], sharey=lower[0] if lower else None)
        lower.append(axes)
        _draw_switch(axes, streams, switch, styles=styles, window=window)
        axes.tick_params(labelleft=column == 0)
    if lower:
        lower[0].set_ylabel("accuracy, tasks seen before", color=INK)
        lower[0].set_ylim(*_limits(lower))
    _headline(main, name, runs, tasks=tasks, switches=bool(switches))
    _legend(figure, main)
    return figure


def save(figure: Figure, path: str | Path) -> Path:
    """Write a figure as ``.png``, ``.svg`` or ``.pdf``, by the suffix; the same figure gives the same bytes.

    Raises:
        Refused: Another suffix.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise Refused(f"cannot write a picture as {path.name!r}; end its name in {', '.join(SUFFIXES)}")
    _write(figure, path, path.suffix.lower())
    return path


def svg(figure: Figure) -> str:
    """A figure as SVG text, its words as text, for embedding in a page."""
    out = io.BytesIO()
    _write(figure, out, ".svg")
    return out.getvalue().decode()


def _write(figure: Figure, target: Any, suffix: str) -> None:
    from matplotlib import rc_context

    undated: dict[str, dict[str, Any]] = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}, ".png": {}}
    with rc_context({"svg.hashsalt": "clbench", "svg.fonttype": "none"}):
        figure.savefig(target, format=suffix[1:], dpi=160, metadata=undated[suffix])


# --------------------------------------------------------------------------------------------------- what is drawn


def _runs(
    records: Iterable[Record], benchmark: str | None, strategies: Sequence[str] | None
) -> tuple[str, dict[str, list[Trace]]]:
    """Benchmark and label -> finished traces, one per seed, labels in the order asked for or else sorted."""
    found = by_benchmark(record for record in records if is_finished(record))
    if not found:
        raise Refused("there is nothing to plot: no cell is done; run the benchmark first")
    if benchmark is None and len(found) > 1:
        raise Refused(f"the records hold several benchmarks ({', '.join(found)}); choose one")
    chosen = benchmark or next(iter(found))
    if chosen not in found:
        raise Refused(f"no cell of benchmark {chosen!r} is done; {did_you_mean(chosen, found)}")
    runs = {label: [r.trace for r in cells if r.trace] for label, cells in by_strategy(found[chosen]).items()}
    for label in strategies or ():
        if label not in runs:
            raise Refused(f"no cell of strategy {label!r} is done on {chosen}; {did_you_mean(label, runs)}")
    try:
        for traces in runs.values():
            list(map(end_looks, traces))
    except Undefined as why:
        raise Refused(f"{chosen} cannot be drawn: {why}") from None
    return chosen, {label: runs[label] for label in (strategies or runs)}


def _choose_switches(experiences: int) -> list[int]:
    """Up to four experiences whose beginnings are magnified: the first, the last, and some between."""
    last = experiences - 1
    return sorted({round(k) for k in np.linspace(1, last, min(PANELS, last))}) if last else []


def _default_window(bounds: curves.Curve) -> int:
    """A fifth of an experience, but at least 30 iterations where there are as many."""
    length = int(np.diff(bounds)[1:].min()) if len(bounds) > 2 else int(bounds[-1])
    return max(2, min(length, max(30, length // 5)))


# --------------------------------------------------------------------------------------------------- how it is drawn


def _styles(labels: Iterable[str]) -> dict[str, Style]:
    return {
        label: Style(COLOURS[i % len(COLOURS)], DASHES[i % len(DASHES)], MARKERS[i % len(MARKERS)])
        for i, label in enumerate(labels)
    }


def _plain(axes: Axes) -> None:
    from matplotlib.ticker import PercentFormatter

    axes.set_facecolor("none")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.tick_params(colors=MUTED, labelcolor=INK, labelsize=9, length=3)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)


def _draw_line(axes: Axes, line: curves.Line, style: Style, *, label: str, place: float, seeds: int) -> None:
    """``place`` in [0, 1) shifts the markers, so that those of several strategies do not cover each other."""
    every = max(1, len(line.x) // 8)
    axes.plot(
        line.x, line.mean, color=style.colour, linestyle=style.dash, linewidth=1.6, label=label,
        marker=style.marker, markersize=4.5, markeredgewidth=0, markevery=(int(place * every), every), zorder=3,
    )  # fmt: skip
    if seeds >= SEEDS_FOR_BAND:
        thin = slice(None, None, max(1, len(line.x) // BAND_POINTS))
        low, high = np.clip(line.mean - line.half, 0, 1)[thin], np.clip(line.mean + line.half, 0, 1)[thin]
        axes.fill_between(line.x[thin], low, high, color=style.colour, alpha=0.16, linewidth=0, zorder=2)


def _draw_stream(
    axes: Axes, runs: dict[str, list[Trace]], bounds: curves.Curve, *, styles: dict[str, Style], tasks: curves.Tasks
) -> None:
    """The upper panel; each seed's experiences are stretched to the median lengths, no change where all agree."""
    _plain(axes)
    stretched = False
    for place, (label, traces) in enumerate(runs.items()):
        series, follows = [], True
        for trace in traces:
            x, y = curves.series(trace, curves.selected(trace, tasks))
            if trace.n_experiences == len(bounds) - 1:
                stretched |= not np.array_equal(curves.bounds(trace), bounds)
                series.append((np.interp(x, curves.bounds(trace), bounds), y))
            else:
                follows = False
                series.append((bounds[[0, -1]], np.repeat(y[-1], 2)))
        name = label if follows else f"{label} (final)"
        _draw_line(
            axes, curves.over_seeds(series), styles[label], label=name, place=place / len(runs), seeds=len(traces)
        )
    many = len(bounds) > 40
    for boundary in bounds[1:-1]:
        axes.axvline(boundary, color=MUTED, linewidth=0.4 if many else 0.9, linestyle=(0, (1, 2)), zorder=1)
    if len(bounds) <= 22:
        for experience, middle in enumerate((bounds[1:] + bounds[:-1]) / 2):
            text = f"experience {experience}" if len(bounds) <= 9 else str(experience)
            axes.text(middle, 1.015, text, transform=axes.get_xaxis_transform(), ha="center", color=MUTED, fontsize=8.5)
    axes.set_xlim(0, bounds[-1])
    axes.set_ylim(0, 1.01)
    axes.set_xlabel("iteration" + (" (experiences scaled to their median length)" if stretched else ""), color=INK)
    axes.set_ylabel("accuracy, first task" if tasks == "first" else "accuracy, tasks seen so far", color=INK)


def _draw_switch(
    axes: Axes, runs: dict[str, list[Trace]], switch: int, *, styles: dict[str, Style], window: int
) -> None:
    """One lower panel: iterations since the switch, mean accuracy on the tasks seen before it."""
    _plain(axes)
    before = max(1, window // 6)
    for place, (label, traces) in enumerate(runs.items()):
        series = []
        for trace in traces:
            old = np.broadcast_to(trace.first_visit < switch, trace.score.shape)
            x, y = curves.series(trace, old & (trace.kind != Kind.START)[:, None])
            x = x - curves.bounds(trace)[switch]
            shown = (x >= -before) & (x <= window)
            series.append((x[shown], y[shown]))
        _draw_line(
            axes, curves.over_seeds(series), styles[label], label=label, place=place / len(runs), seeds=len(traces)
        )
    axes.axvline(0, color=MUTED, linewidth=0.9, linestyle=(0, (1, 2)), zorder=1)
    axes.set_xlim(-before, window)
    axes.set_title(f"into experience {switch}", loc="left", fontsize=9.5, color=INK)
    axes.set_xlabel("iterations since the switch", color=INK, fontsize=9)


def _limits(panels: Sequence[Axes]) -> tuple[float, float]:
    """Limits that fit the lines; bands may leave the panel, since with two seeds they fill it."""
    lines = [line for axes in panels for line in axes.get_lines() if not str(line.get_label()).startswith("_")]
    values = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in lines])
    margin = 0.06 * (values.max() - values.min()) + 0.01
    return float(values.min() - margin), float(values.max() + margin)


def _headline(axes: Axes, name: str, runs: dict[str, list[Trace]], *, tasks: curves.Tasks, switches: bool) -> None:
    what = "the first task" if tasks == "first" else "the tasks seen so far"
    counts = sorted({len(traces) for traces in runs.values()})
    seeds = f"{counts[0]} to {counts[-1]} seeds" if len(counts) > 1 else f"{counts[0]} seed{'s' * (counts[0] > 1)}"
    how = f"mean of {seeds}" if counts[-1] > 1 else seeds
    how += ", band: 95 % interval" if counts[-1] >= SEEDS_FOR_BAND else ""
    axes.set_title(
        f"{name}: accuracy on {what} along the stream", loc="left", pad=38, fontsize=13, color=INK, weight="bold"
    )
    axes.annotate(
        how + " · dotted: switches, magnified below" * switches, (0, 1), (0, 23), "axes fraction", "offset points",
        fontsize=9.5, color=MUTED,
    )  # fmt: skip


def _legend(figure: Figure, axes: Axes) -> None:
    """Outside the data, in the order in which the lines end."""
    handles, labels = axes.get_legend_handles_labels()
    final = [float(np.asarray(handle.get_ydata())[-1]) for handle in handles]  # type: ignore[attr-defined]
    order = np.argsort(final, kind="stable")[::-1]
    figure.legend(
        [handles[i] for i in order], [labels[i] for i in order], loc="outside right upper", frameon=False, fontsize=9.5,
        labelcolor=INK, handlelength=3.2, labelspacing=0.7,
    )  # fmt: skip

"""The change of each module of a model while a stream is learned, measured over seeds, as numbers and as a plot.

``clbench.strategies.weight_change`` defines the measures. Letters: S seeds, M modules.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clbench.core.errors import Refused
from clbench.metrics.interval import SEEDS_FOR_INTERVAL, half_width
from clbench.running.cell_key import Cell
from clbench.running.plan import plan
from clbench.strategies.strategy import Strategy
from clbench.strategies.weight_change import FORMS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from clbench.plots.picture_format import Format

LEVELS = ("pass", "experience")
TITLES = {"raw": "mean |change| per weight", "relative": "change relative to the mean |weight|", "share": "share"}


@dataclass(frozen=True, eq=False)
class Changes:
    """Hold the changes under one strategy.

    Args:
        label: The strategy's name on leaderboards.
        modules: M names: groups of weights first, then running statistics.
        weights: (M,) number of weights or statistics in each.
        values: (S, 2, 3, M) by seed, level (pass, experience), form (raw, relative, share) and module; NaN if a level
            has no interval, as with a single experience.
    """

    label: str
    modules: tuple[str, ...]
    weights: NDArray[np.int64]
    values: NDArray[np.float64]

    def mean(self, level: str, form: str) -> NDArray[np.float64]:
        """Return the mean over seeds, (M,)."""
        mean: NDArray[np.float64] = self._chosen(level, form).mean(axis=0)
        return mean

    def half(self, level: str, form: str) -> NDArray[np.float64]:
        """Return half the width of the 95 % interval over seeds, (M,); NaN for fewer than three seeds."""
        return half_width(self._chosen(level, form), fewest=SEEDS_FOR_INTERVAL)

    def _chosen(self, level: str, form: str) -> NDArray[np.float64]:
        return self.values[:, LEVELS.index(level), FORMS.index(form)]


@dataclass(frozen=True, eq=False)
class Measured:
    """Hold the changes under several strategies on one benchmark.

    Args:
        benchmark: Name and version.
        model: Name of the model.
        seeds: The seeds of the mean.
        changes: The changes of each strategy, in the requested order.
        left_out: Label -> the reason why a strategy has no numbers.
    """

    benchmark: str
    model: str
    seeds: tuple[int, ...]
    changes: tuple[Changes, ...]
    left_out: dict[str, str] = field(default_factory=dict)


def measure(
    benchmark: str | Path | Mapping[str, Any],
    *,
    strategies: Sequence[str | Mapping[str, Any]] = ("naive",),
    seeds: int | str | Iterable[int] | None = None,
    overrides: Iterable[str] = (),
    data_dir: str | None = None,
    watch: Callable[[Cell], None] | None = None,
) -> Measured:
    """Train every strategy with every seed, without evaluations, and measure how much each module changes.

    Args:
        benchmark: A shipped name, the path of a benchmark file, or a mapping of its content.
        strategies: The strategies to train.
        seeds: Seeds instead of the benchmark's.
        overrides: Dotted ``key=value``.
        data_dir: The directory of data sets.
        watch: A function that gets every cell before it runs.

    Raises:
        Refused: An argument is wrong; a strategy that cannot run is left out with the reason.
    """
    from clbench.adapters.run_setup import Skip
    from clbench.training.loss_check import Diverged

    settings = [*overrides, "evaluation.every=0"]
    made = plan(benchmark, strategies=list(strategies), seeds=seeds, overrides=settings, data_dir=data_dir)
    data_dir = made.data_dir
    found: dict[str, list[tuple[dict[str, Any], list[int]]]] = {}
    left_out: dict[str, str] = {}
    for cell in made.cells:
        if cell.label in left_out:
            continue
        if watch:
            watch(cell)
        try:
            found.setdefault(cell.label, []).append(_run(cell, data_dir))
        except (Skip, Diverged) as error:
            left_out[cell.label] = str(error)
    changes = tuple(_joined(label, runs) for label, runs in found.items() if label not in left_out)
    if not changes:
        raise Refused(f"nothing was measured: {'; '.join(f'{label}: {why}' for label, why in left_out.items())}")
    name = f"{made.benchmark.name}@{made.benchmark.version}"
    model = str(made.cells[0].config["model"]["name"])
    return Measured(name, model, tuple(dict.fromkeys(cell.seed for cell in made.cells)), changes, left_out)


def _run(cell: Cell, data_dir: str | None) -> tuple[dict[str, Any], list[int]]:
    """Run a cell with the measuring part after its own parts; return the state of that part and the sizes of
    modules."""
    from clbench.core.global_rng import preserved
    from clbench.core.torch_threads import torch_threads
    from clbench.models import weight_groups
    from clbench.running.prepare import prepare

    strategy = cell.strategy.joined(Strategy.parse("sensitivity"))
    measured = {**cell.config, "strategy": strategy.items}
    with preserved(), torch_threads(cell.config["training"]["threads"]):
        run = prepare(Cell(measured, cell.label, strategy), data_dir=data_dir)
        run.train()
    found = weight_groups.groups(weight_groups.layers(run.learner.model, run.learner.slices))
    buffers = dict(run.learner.model.named_buffers())
    sizes = [group.size for group in found]
    sizes += [sum(buffers[name].numel() for name in group.statistics) for group in found if group.statistics]
    return run.chain.parts[-1].state, sizes


def _joined(label: str, runs: Sequence[tuple[dict[str, Any], list[int]]]) -> Changes:
    values = []
    for state, _ in runs:
        counts = np.array(state["counts"], dtype=np.float64).reshape(2, 1, 1)
        sums = state["sums"].cpu().numpy().astype(np.float64)
        values.append(np.where(counts > 0, sums / np.maximum(counts, 1), np.nan))
    state, sizes = runs[0]
    return Changes(label, tuple(state["names"]), np.array(sizes, dtype=np.int64), np.stack(values))


# --------------------------------------------------------------------------------------------------- the plot


def picture(measured: Measured, form: Format | None = None) -> Figure:
    """Plot a point per module and strategy with its interval over seeds: raw and relative changes (columns), both
    levels.

    Args:
        measured: What was measured.
        form: Size, letters and title; by default the usual ones.
    """
    from clbench.plots.picture_format import Format, formatted

    with formatted(form or Format()):
        return _drawn(measured)


def _drawn(measured: Measured) -> Figure:
    from clbench.plots import style
    from clbench.plots.picture_format import points, room
    from clbench.plots.strategy_styles import styles

    modules = tuple(dict.fromkeys(name for each in measured.changes for name in each.modules))
    levels = [level for level in LEVELS if any(np.isfinite(each.mean(level, "raw")).any() for each in measured.changes)]
    looks = styles([each.label for each in measured.changes])
    seeds = len(measured.seeds)
    named = measured.changes[0].label + ", " if len(measured.changes) == 1 else ""
    told = f"mean of {seeds} seeds" if seeds > 1 else "1 seed"
    told += ", bars: 95 % interval; an arrow: it reaches further" * (seeds >= SEEDS_FOR_INTERVAL)
    figure = style.canvas(
        room(11.0),
        1.0 + len(levels) * (0.9 + 0.24 * len(modules)),
        title=f"How much each module changes: {named}{measured.model} on {measured.benchmark}",
        caption=told,
    )
    panels = figure.subplots(len(levels), 2, sharex="col", squeeze=False)
    letters = int(room(11.0) / 0.26)
    for row, level in zip(panels, levels, strict=True):
        for axes, form in zip(row, ("raw", "relative"), strict=True):
            for number, each in enumerate(measured.changes):
                shift = 0.5 * ((number + 0.5) / len(measured.changes) - 0.5)
                _points(axes, each, level, form, modules, shift, looks[each.label])
            style.plain(axes, measure=None, grid="both")
            axes.set_xscale("log")
            axes.set_yticks(range(len(modules)), modules if form == "raw" else [""] * len(modules))
            axes.set_ylim(len(modules) - 0.4, -0.6)
            axes.set_title(f"from {level} to {level}" if form == "raw" else "", loc="left", fontsize=points(10))
            axes.set_xlabel(textwrap.fill(TITLES[form], letters), fontsize=points(9.5))
    for axes in panels[-1]:
        style.log_ticks(axes)
    if len(measured.changes) > 1:
        style.legend(figure, panels[0, 0])
    return figure


def _points(axes: Axes, each: Changes, level: str, form: str, modules: Sequence[str], shift: float, look: Any) -> None:
    from clbench.plots.picture_format import points

    y = np.array([modules.index(name) for name in each.modules]) + shift
    mean, half = each.mean(level, form), each.half(level, form)
    low = np.maximum(mean - half, 0.1 * mean)  # a logarithmic axis has no 0, and an interval may include it
    bars = np.stack([mean - low, half]) if np.isfinite(half).all() else None
    axes.errorbar(
        mean, y, xerr=bars, fmt=look.marker, color=look.colour, markersize=points(5), elinewidth=points(1.2),
        label=each.label,
    )  # fmt: skip
    cut = mean - half < low
    axes.plot(low[cut], y[cut], "<", color=look.colour, markersize=points(4), label="_cut")

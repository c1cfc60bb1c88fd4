"""The Pareto front of cost and accuracy of a benchmark, and a small picture of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from clbench.leaderboard.best_values import is_bound
from clbench.leaderboard.board import Table
from clbench.leaderboard.board_rows import Row
from clbench.plots.cost_plot import COSTS, SPREAD, pareto
from clbench.site.site_content import SiteBenchmark
from clbench.site.svg_themes import Theme, themed

WIDTH, HEIGHT = 320, 170
LEFT, RIGHT, TOP, BOTTOM = 38, 12, 12, 30
"""Room around the axes, in pixels."""
COST = "rows"
MEANING = COSTS[COST][0]


@dataclass(frozen=True)
class CostPoint:
    """Hold the mean cost and the mean score of a row.

    Args:
        row: The row.
        cost: Samples passed forward plus samples passed backward.
        score: Mean ACC.
        on_front: Whether no other row costs at most as much and scores at least as high, with one of the two strict.
    """

    row: Row
    cost: float
    score: float
    on_front: bool


def cost_points(table: Table) -> list[CostPoint]:
    """Return cost and score of all rows that have both. Upper bounds are never on the front."""
    spent = {row.label: _spent(row) for row in table.rows}
    rows = [
        row for row in table.rows if "acc" in row.metrics and row.metrics["acc"].n and not math.isnan(spent[row.label])
    ]
    able = [row for row in rows if not is_bound(row)]
    front = pareto([spent[row.label] for row in able], [row.metrics["acc"].mean for row in able])
    members = {row.label for row, member in zip(able, front, strict=True) if member}
    return [CostPoint(row, spent[row.label], row.metrics["acc"].mean, row.label in members) for row in rows]


def _spent(row: Row) -> float:
    weights = COSTS[COST][1]
    if not weights.keys() <= row.cost.keys():
        return math.nan
    return sum(weight * row.cost[name].mean for name, weight in weights.items())


def pareto_path(benchmark: SiteBenchmark, theme: str) -> str:
    """Return the path of the picture of a benchmark below the folder of a site."""
    return f"pictures/{benchmark.slug}-pareto-{theme}.svg"


def pareto_pictures(benchmark: SiteBenchmark) -> Iterator[tuple[str, bytes]]:
    """Yield the picture in each theme; nothing if fewer than two rows have a cost and a score."""
    points = cost_points(benchmark.table)
    if len(points) < 2:
        return
    for theme in themed():
        yield pareto_path(benchmark, theme.name), _drawn(points, theme).encode()


@cache
def has_picture(benchmark: SiteBenchmark) -> bool:
    """Return whether a benchmark has the picture."""
    return len(cost_points(benchmark.table)) > 1


def _drawn(points: Sequence[CostPoint], theme: Theme) -> str:
    x_of, ticks = _cost_axis([point.cost for point in points])
    low, high = _range([point.score for point in points])

    def y_of(score: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (high - score) / (high - low)

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="system-ui,sans-serif" '
        f'font-size="10" fill="{theme.muted}">'
    ]
    for share in (0, 0.5, 1):
        score = low + share * (high - low)
        lines.append(
            f'<path d="M{LEFT} {y_of(score):.1f}H{WIDTH - RIGHT}" stroke="{theme.line}"/>'
            f'<text x="{LEFT - 5}" y="{y_of(score) + 3:.1f}" text-anchor="end">{_score(score, high - low)}</text>'
        )
    for value, text in ticks:
        lines.append(f'<text x="{x_of(value):.1f}" y="{HEIGHT - BOTTOM + 13}" text-anchor="middle">{text}</text>')
    lines.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2:g}" y="{HEIGHT - 4}" text-anchor="middle">sample passes</text>')
    front = sorted((point.cost, point.score) for point in points if point.on_front)
    if front:
        steps = f"M{x_of(front[0][0]):.1f} {y_of(front[0][1]):.1f}"
        steps += "".join(f"H{x_of(cost):.1f}V{y_of(score):.1f}" for cost, score in front[1:]) + f"H{WIDTH - RIGHT}"
        lines.append(f'<path d="{steps}" fill="none" stroke="{theme.muted}" stroke-dasharray="4 3"/>')
    for point in sorted(points, key=lambda each: each.on_front):
        bound = is_bound(point.row)
        fill = "none" if bound else theme.accent if point.on_front else theme.pale
        edge = theme.muted if bound else fill
        lines.append(
            f'<circle cx="{x_of(point.cost):.1f}" cy="{y_of(point.score):.1f}" r="{4 if point.on_front else 3}" '
            f'fill="{fill}" stroke="{edge}"/>'
        )
    return "".join(lines) + "</svg>\n"


def _range(scores: Sequence[float]) -> tuple[float, float]:
    """Return the limits of the axis of scores, with room around them."""
    low, high = min(scores), max(scores)
    room = 0.08 * (high - low) or 0.05
    return low - room, high + room


def _score(score: float, span: float) -> str:
    percent = 100 * score
    return f"{percent:.0f}" if 100 * span >= 4 else f"{percent:.1f}"


def _cost_axis(costs: Sequence[float]) -> tuple[Callable[[float], float], list[tuple[float, str]]]:
    """Return the place of a cost in pixels, and the labelled costs. The axis is logarithmic if costs are far apart."""
    log = min(costs) > 0 and max(costs) > SPREAD * min(costs)
    scale: Callable[[float], float] = math.log10 if log else float
    low, high = (scale(min(costs)), scale(max(costs))) if log else (0.0, max(costs))
    room = 0.06 * (high - low) or 1.0
    low, high = low - room * log, high + room

    def place(cost: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (scale(cost) - low) / (high - low)

    if log:
        powers = [10.0**k for k in range(math.ceil(low), math.floor(high) + 1)]
        return place, [(cost, _short(cost)) for cost in powers]
    step = _round_step((high - low) / 4)
    return place, [(k * step, _short(k * step)) for k in range(int(high / step) + 1)]


def _round_step(least: float) -> float:
    """Return the smallest of 1, 2, 5 times a power of ten that is not below a number."""
    power: float = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))


def _short(cost: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if cost >= size:
            return f"{cost / size:g}{letter}"
    return f"{cost:g}"

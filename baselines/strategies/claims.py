"""Orderings that should hold whatever the protocol, read off the records of ``table.py`` and written to ``claims.md``.

python baselines/strategies/claims.py

Differences are paired by seed; the interval is the 95 % Student-t interval of their mean. A claim that one strategy is
above another holds where the interval is above 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import clbench
from clbench.metrics.interval import half_width

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Table:
    """ACC of the records of some folder below this one, by strategy and seed."""

    folder: str

    def scores(self, strategy: str) -> dict[int, float]:
        """Seed -> ACC of the one strategy whose label begins so: ``ewc`` finds ``ewc(strength=10, rows=500)``."""
        frame = clbench.load(HERE / self.folder)
        frame = frame[frame.status == "done"]
        own = frame[(frame.strategy == strategy) | frame.strategy.str.startswith(f"{strategy}(")]
        own = own[~own.strategy.str.contains(r" \+ ")]
        assert own.strategy.nunique() == 1, f"{strategy!r} is not one strategy of {self.folder}: {set(own.strategy)}"
        return dict(zip(own.seed, own.acc, strict=True))

    def strategies(self) -> list[str]:
        """Labels of all finished strategies."""
        frame = clbench.load(HERE / self.folder)
        return sorted(set(frame[frame.status == "done"].strategy))

    def by_label(self, label: str) -> dict[int, float]:
        """Seed -> ACC of a full label."""
        frame = clbench.load(HERE / self.folder)
        own = frame[(frame.status == "done") & (frame.strategy == label)]
        return dict(zip(own.seed, own.acc, strict=True))


def percent(values: Iterable[float]) -> str:
    """``84.5 ± 2.3``."""
    values = list(values)
    return f"{100 * np.mean(values):.1f} ± {100 * float(half_width(values)):.1f}"


def difference(a: dict[int, float], b: dict[int, float]) -> tuple[str, float, float]:
    """Text, mean and half-width of a - b over their common seeds."""
    seeds = sorted(set(a) & set(b))
    apart = [a[seed] - b[seed] for seed in seeds]
    return percent(apart), float(np.mean(apart)), float(half_width(apart))


def level(name: str, table: Table, strategy: str, low: float, high: float) -> str:
    """A line of the table for a claim that ACC lies in a band."""
    scores = table.scores(strategy)
    inside = low <= np.mean(list(scores.values())) <= high
    band = f"{100 * low:.0f} to {100 * high:.0f}"
    return f"| {name} | {table.folder} | {strategy} in {band} | {percent(scores.values())} | {_verdict(inside)} |"


def above(name: str, table: Table, strategy: str, other: str) -> str:
    """A line of the table for a claim that one strategy is above another."""
    text, mean, half = difference(table.scores(strategy), table.scores(other))
    verdict = _verdict(mean - half > 0) if mean - half > 0 or mean <= 0 else "in the mean only"
    return f"| {name} | {table.folder} | {strategy} above {other} | {text} | {verdict} |"


def _verdict(holds: bool) -> str:
    return "holds" if holds else "**does not hold**"


def against_naive(table: Table) -> list[str]:
    """Every strategy's difference to naive."""
    naive = table.scores("naive")
    lines = ["| strategy | ACC - ACC of naive |", "|---|---|"]
    found = [(difference(table.by_label(label), naive), label) for label in table.strategies() if label != "naive"]
    for (text, _, _), label in sorted(found, key=lambda each: -each[0][1]):
        lines.append(f"| `{label}` | {text} |")
    return lines


def main() -> None:
    """Write ``claims.md``."""
    one_pass = "split-mnist-online"
    by_class, by_task = Table(f"{one_pass}/class"), Table(f"{one_pass}/task")
    small, cifar = Table(f"{one_pass}/memory-100"), Table("split-cifar10-online/class")
    ten = Table("split-cifar10-online/ten-seeds")
    chance = [level("P1", by_class, strategy, 0.18, 0.22) for strategy in ("naive", "ewc", "si")]
    rows = [
        *chance,
        level("P1", by_class, "lwf", 0.0, 0.3),
        level("P1", by_class, "er", 0.85, 1.0),
        level("P1", by_class, "joint", 0.95, 1.0),
        above("P4", by_class, "gdumb", "agem"),
        above("P4", by_class, "gdumb", "lwf"),
        above("B2", by_class, "er_ace", "er"),
        above("B2", small, "er_ace", "er"),
        above("B2", cifar, "er_ace", "er"),
        above("B2", ten, "er_ace", "er"),
        above("PCR", cifar, "pcr", "er"),
        above("PCR", ten, "pcr", "er"),
        above("P3", cifar, "derpp", "er"),
        above("P4", cifar, "gdumb", "agem"),
        above("P4", cifar, "gdumb", "lwf"),
    ]
    lines = [
        "# Orderings, read off the records",
        "",
        "Made by `python baselines/strategies/claims.py`. ACC in percent, mean and half-width of the 95 % Student-t",
        "interval over seeds; differences are paired by seed.",
        "",
        "| claim | table | what | measured | |",
        "|---|---|---|---|---|",
        *rows,
        "",
        "## P2: task-incremental, every method against naive",
        "",
        *against_naive(by_task),
        "",
    ]
    (HERE / "claims.md").write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()

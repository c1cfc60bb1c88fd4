"""Orderings that should hold with any protocol, computed from the records of ``table.py`` for ``claims.md``.

python baselines/strategies/claims.py

Differences are paired by seed; the interval is the 95 % Student-t interval of their mean. A claim that one strategy is
above another holds if the interval is above 0. A method whose loss adds a mean over memory to the mean over the
stream is compared with replay with the same loss, so that the claim does not depend on the length of the step.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from table import SUM

from clbench.api import records
from clbench.metrics import acc
from clbench.metrics.interval import half_width

HERE = Path(__file__).parent
LOSS = {
    "er_ace": "sum", "er_aml": "sum", "der": "sum", "derpp": "sum", "gem": "sum",
    "mir": "mean", "pcr": "mean", "hpcr": "mean",
}  # fmt: skip
"""Whether a method's loss is one mean over stream and memory, or a sum of means: gem adds whole gradients of memory,
hpcr distillation to one mean."""


@dataclass(frozen=True)
class Table:
    """ACC of the records of some folder below this one, by strategy and seed."""

    folder: str

    def scores(self, strategy: str) -> dict[int, float]:
        """Seed -> ACC of one strategy, by its label, with or without its learning rate; else of the one whose label
        begins so: ``ewc`` finds ``ewc(strength=10, rows=500)``."""
        frame = self.finished()
        bare = frame.strategy.str.replace(r" \[lr=.*\]$", "", regex=True)
        own = frame[bare == strategy]
        if not len(own):
            own = frame[bare.str.startswith(f"{strategy}(") & ~bare.str.contains(r" \+ ")]
        assert own.strategy.nunique() == 1, f"{strategy!r} is not one strategy of {self.folder}: {set(own.strategy)}"
        assert own.seed.is_unique, f"{strategy!r} has a seed twice in {self.folder}"
        return dict(zip(own.seed, own.acc, strict=True))

    def finished(self) -> Any:
        """A row per finished cell: strategy, seed and ACC."""
        return read(HERE / self.folder)

    def strategies(self) -> list[str]:
        """Labels of all finished strategies."""
        return sorted(set(self.finished().strategy))

    def by_label(self, label: str) -> dict[int, float]:
        """Seed -> ACC of a full label."""
        own = self.finished()
        own = own[own.strategy == label]
        return dict(zip(own.seed, own.acc, strict=True))

    @property
    def there(self) -> bool:
        """Whether it has been run."""
        return (HERE / self.folder / "records").is_dir()


@cache
def read(folder: Path) -> pd.DataFrame:
    """Strategy, seed and ACC of every finished cell of a folder; all other metrics would take minutes."""
    found = [record for record in records(folder) if record.status == "done" and record.trace is not None]
    rows = [(record.label, record.seed, acc(record.trace)) for record in found if record.trace is not None]
    return pd.DataFrame(rows, columns=["strategy", "seed", "acc"])


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
    """Return the line of the table for a claim that one strategy is above another."""
    text, mean, half = difference(table.scores(strategy), table.scores(other))
    verdict = _verdict(mean - half > 0) if mean - half > 0 or mean <= 0 else "in the mean only"
    return f"| {name} | {table.folder} | {strategy} above {other} | {text} | {verdict} |"


def at_equal_loss(table: Table) -> list[str]:
    """Return the difference of every replay method to replay with the same form of loss, and to the other form."""
    lines = [
        "| table | strategy | loss | above `er`, one mean | above `er`, sum of two means |",
        "|---|---|---|---|---|",
    ]
    one, two = table.scores("er"), table.scores(SUM)
    text, _, _ = difference(two, one)
    lines.append(f"| {table.folder} | `{SUM}` | sum | {text} | |")
    for strategy, loss in LOSS.items():
        try:
            own = table.scores(strategy)
        except AssertionError:  # not of this table
            continue
        to_one, to_two = (difference(own, other)[0] for other in (one, two))
        fair = (to_one, f"**{to_two}**") if loss == "sum" else (f"**{to_one}**", to_two)
        lines.append(f"| {table.folder} | `{strategy}` | {loss} | {fair[0]} | {fair[1]} |")
    return lines


def _verdict(holds: bool) -> str:
    return "holds" if holds else "**does not hold**"


def against_naive(table: Table) -> list[str]:
    """Return the difference of every strategy to naive."""
    naive = table.scores("naive")
    lines = ["| strategy | ACC - ACC of naive |", "|---|---|"]
    found = [(difference(table.by_label(label), naive), label) for label in table.strategies() if label != "naive"]
    for (text, _, _), label in sorted(found, key=lambda each: -each[0][1]):
        lines.append(f"| `{label}` | {text} |")
    return lines


def main() -> None:
    """Write ``claims.md``."""
    one_pass, ten_thousand = "split-mnist-online", "split-cifar10-online"
    by_class, by_task = Table(f"{one_pass}/class"), Table(f"{one_pass}/task")
    small, cifar = Table(f"{one_pass}/memory-100"), Table(f"{ten_thousand}/class")
    ten = Table(f"{ten_thousand}/ten-seeds")
    chance = [level("P1", by_class, strategy, 0.18, 0.22) for strategy in ("naive", "ewc", "si")]
    rows = [
        *chance,
        level("P1", by_class, "lwf", 0.0, 0.3),
        level("P1", by_class, "er", 0.85, 1.0),
        level("P1", by_class, "joint", 0.95, 1.0),
        *(above("P4", table, "gdumb", other) for table in (by_class, cifar) for other in ("agem", "lwf")),
        *(above("B2", table, "er_ace", SUM) for table in (by_class, small, cifar, ten)),
        *(above("PCR", table, "pcr", "er") for table in (by_class, cifar, ten)),
    ]
    for table in (Table(f"{name}/class-output-all") for name in (one_pass, ten_thousand)):
        if table.there:  # dark experience replay under the protocol of its paper
            rows += [above("P3", table, "derpp", SUM), above("P3", table, "der", "naive")]
    for table in (Table(f"{name}/class-own-rates") for name in (one_pass, ten_thousand)):
        if table.there:
            rows += [
                above("B2", table, "er_ace", SUM),
                above("PCR", table, "pcr", "er"),
                above("loss", table, SUM, "er"),
            ]
    compared = [at_equal_loss(table) for table in (by_class, small, cifar, ten)]
    lines = [
        "# Orderings, computed from the records",
        "",
        "Made by `python baselines/strategies/claims.py`. ACC in percent, mean and half-width of the 95 % Student-t",
        "interval over seeds; differences are paired by seed. A method that adds a mean over memory to the stream's is",
        f"compared with replay with the same loss, `{SUM}`; in `own-rates` each method has the learning rate that was",
        "best for it on held-out samples.",
        "",
        "| claim | table | what | measured | |",
        "|---|---|---|---|---|",
        *rows,
        "",
        "## Replay methods against replay, at both losses",
        "",
        "The comparison with equal losses is in bold; the other also compares one mean with a sum of two. `der` and",
        "`derpp` are under `output: seen` here, which is not the protocol of their paper; `class-output-all` is.",
        "",
        *compared[0][:2],
        *(line for lines in compared for line in lines[2:]),
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

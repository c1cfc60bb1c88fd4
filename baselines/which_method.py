"""Compute the decision table of ``docs/which-method.md`` from the committed records.

    python baselines/which_method.py

For each situation the strategy with the highest mean is named, and those that the seeds do not separate from it: the
95 % Student-t interval of their difference, paired by seed, contains 0. Upper bounds are shown beside and are not
ranked. Situations without three seeds are not in the table.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from clbench.api import records
from clbench.core.record import Record
from clbench.metrics import acc
from clbench.metrics.interval import half_width

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "which-method.md"
BEGIN, END = "<!-- begin: written by baselines/which_method.py -->\n", "<!-- end -->\n"
BOUNDS = ("joint", "cumulative")
"""Upper bounds: they train on all data at once, or on all data so far."""
FEWEST_SEEDS = 3
MOST = 6
"""Strategies that are named as not separated; of the others the number is given."""


@dataclass(frozen=True)
class Situation:
    """Describe a problem, and the board that says something about it.

    Args:
        words: The problem, for people.
        folders: The folders of records, below this one; a strategy that is in several counts from the first.
        benchmark: The benchmark in that folder, with its version.
        samples: Whether old samples may be kept: strategies with a replay buffer are left out otherwise.
    """

    words: str
    folders: tuple[str, ...]
    benchmark: str
    samples: bool = True


MNIST, CIFAR = "strategies/split-mnist-online", "strategies/split-cifar10-online"
MNIST_1, CIFAR_3, DIGITS = "split-mnist-online@1", "split-cifar10-online@3", "split-digits"
PROBLEMS = [
    ("new classes, no task labels (MNIST, one pass)", MNIST_1, f"{MNIST}/class"),
    ("the same, six replay methods, each with its own learning rate", MNIST_1, f"{MNIST}/class-own-rates"),
    ("new classes, no task labels (CIFAR-10, one pass)", CIFAR_3, f"{CIFAR}/class"),
    ("new classes, no task labels (digits, ten passes)", "split-digits@2", DIGITS, "scikit-learn/split-digits"),
    ("tasks with labels (MNIST, one pass)", MNIST_1, f"{MNIST}/task"),
    ("tasks with labels (digits, ten passes)", "split-digits-task@1", DIGITS),
    ("the same classes from new domains (MNIST, one pass)", MNIST_1, f"{MNIST}/domain"),
    ("numbers, range after range (diabetes)", "split-diabetes@1", "split-diabetes"),
]
SITUATIONS = [
    Situation(words if samples else f"{words}, **no old samples kept**", tuple(folders), benchmark, samples)
    for words, benchmark, *folders in PROBLEMS
    for samples in (True, False)
]


@dataclass(frozen=True)
class Measured:
    """Hold what was measured of one strategy.

    Args:
        label: Its label on boards.
        scores: Seed -> final average score.
        work: Floating-point operations of training, mean over seeds; NaN if they were not counted.
        kept: Bytes of the replay buffer and of what parts keep, mean over seeds.
        replays: Whether it keeps samples.
    """

    label: str
    scores: dict[int, float]
    work: float
    kept: float
    replays: bool

    @property
    def mean(self) -> float:
        return float(np.mean(list(self.scores.values())))


@cache
def read(folder: str) -> list[Record]:
    """Return the finished records of a folder."""
    return [each for each in records(HERE / folder) if each.status == "done" and each.trace is not None]


def measured(situation: Situation) -> dict[str, Measured]:
    """Return label -> what was measured on the board of a situation, upper bounds too."""
    found: dict[str, Measured] = {}
    for folder in situation.folders:
        own: dict[str, list[Record]] = {}
        for record in read(folder):
            if record.benchmark == situation.benchmark:
                own.setdefault(record.label, []).append(record)
        found = {label: _measured(label, each) for label, each in own.items()} | found
    return found


def _measured(label: str, own: Iterable[Record]) -> Measured:
    own = list(own)
    scores = {each.seed: acc(each.trace) for each in own}  # type: ignore[arg-type]
    assert len(scores) == len(own), f"{label} has a seed twice"
    work, memory, state = (
        float(np.mean([each.cost.get(name, float("nan")) for each in own]))
        for name in ("train_flops", "memory_bytes", "state_bytes")
    )
    return Measured(label, scores, work, memory + state, memory > 0)


def difference(one: Measured, other: Measured) -> tuple[float, float]:
    """Return the mean difference of two strategies and the half-width of its 95 % interval, paired by seed."""
    common = sorted(one.scores.keys() & other.scores.keys())
    paired = [one.scores[seed] - other.scores[seed] for seed in common]
    return float(np.mean(paired)), float(half_width(paired)) if len(paired) >= 2 else float("nan")


def ranked(situation: Situation) -> list[Measured]:
    """Return the strategies that a situation allows, from the best mean to the worst, without upper bounds."""
    allowed = [
        each for each in measured(situation).values()
        if each.label.partition(" [")[0] not in BOUNDS
        and len(each.scores) >= FEWEST_SEEDS
        and (situation.samples or not each.replays)
    ]  # fmt: skip
    return sorted(allowed, key=lambda each: (-each.mean, each.label))


def unseparated(order: list[Measured]) -> list[Measured]:
    """Return the strategies that are not separated from the first of a ranking, by paired intervals."""
    best, found = order[0], []
    for other in order[1:]:
        mean, half = difference(best, other)
        if not mean - half > 0:
            found.append(other)
    return found


def table() -> list[str]:
    """Return the lines of the table."""
    lines = [
        "| situation and board | highest mean, seeds | cost: work, kept | not separated from it | upper bounds |",
        "|---|---|---|---|---|",
    ]
    before: list[Measured] = []
    for situation in SITUATIONS:
        order = ranked(situation)
        if order and [each.label for each in order] != [each.label for each in before]:
            lines.append(f"| {' | '.join(_cells(situation, order))} |")
        before = order
    return lines


def _cells(situation: Situation, order: list[Measured]) -> tuple[str, ...]:
    found, best, others = measured(situation), order[0], unseparated(order)
    shown = others[:MOST] + [each for each in others[MOST:] if each.label == "naive"]
    words = ", ".join(f"`{each.label}` {_score(each, situation)}" for each in shown)
    words += f" and {len(others) - len(shown)} more" if len(others) > len(shown) else ""
    bounds = [f"`{name}` {_score(found[name], situation)}" for name in BOUNDS if name in found]
    first, *more = (f"../baselines/{folder}/leaderboard.md" for folder in situation.folders)
    links = [f"[{situation.words}]({first})", *(f"[more]({place})" for place in more)]
    return (
        ", ".join(links),
        f"`{best.label}` {_score(best, situation)} ± {_interval(best, situation)}, {len(best.scores)} seeds",
        f"{_work(best, found.get('naive'))}, {_bytes(best.kept)}",
        words or "none: all others are below",
        ", ".join(bounds) or "not run",
    )


def _work(each: Measured, naive: Measured | None) -> str:
    ratio = each.work / naive.work if naive else float("nan")
    return "not counted" if np.isnan(ratio) else f"{ratio:.1f}"


def _factor(situation: Situation) -> tuple[float, int]:
    numbers = situation.benchmark.startswith("split-diabetes")
    return (1.0, 3) if numbers else (100.0, 1)


def _score(each: Measured, situation: Situation) -> str:
    factor, decimals = _factor(situation)
    return f"{factor * each.mean:.{decimals}f}"


def _interval(each: Measured, situation: Situation) -> str:
    factor, decimals = _factor(situation)
    return f"{factor * float(half_width(list(each.scores.values()))):.{decimals}f}"


def _bytes(number: float) -> str:
    return "nothing" if number == 0 else f"{number / 1e3:,.0f} kB" if number < 1e6 else f"{number / 1e6:,.1f} MB"


def page() -> str:
    """Return the page with a new table."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{chr(10).join(table())}\n\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

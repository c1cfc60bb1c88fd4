"""Choose the settings of ``split-diabetes``.

    python baselines/split-diabetes/choose.py

Everything is chosen on a quarter of the training samples, held out of training, and on seeds that no table uses; test
samples are never used. There are 10 epochs, so that each experience has about 50 iterations. The learning rate is the
one at which ``joint`` has the best mean R²; then, with this rate, every free setting of a method is chosen by the mean
R² of that method. All scores go to ``choose.md`` beside this file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import clbench
from clbench.metrics import acc
from clbench.metrics.interval import half_width

HERE = Path(__file__).parent
SEEDS = "100,101,102,103,104"
HELD_OUT = {
    "stream.dataset.validation": 0.25,
    "stream.dataset.evaluate_on": "validation",
    "evaluation.every": 0,
    "training.epochs": 10,
}
RATES = (0.001, 0.003, 0.01, 0.03, 0.1)
GRIDS: dict[str, dict[Any, str]] = {
    "l2": {s: f"l2(strength={s})" for s in (0.01, 0.1, 1, 10)},
    "ewc": {s: f"ewc(strength={s})" for s in (0.1, 1, 10, 100)},
    "mas": {s: f"mas(strength={s})" for s in (0.1, 1, 10, 100)},
    "derpp": {(a, b): f"derpp(alpha={a}, beta={b})" for a in (0.1, 0.5, 1) for b in (0.5, 1)},
}
"""Method -> value of its free setting -> strategy."""

Scores = list[float]


def measure(strategies: Sequence[str], **settings: Any) -> list[Scores]:
    """Return the held-out R² by seed for each strategy; NaN if a run did not finish."""
    records = clbench.run("split-diabetes", strategies=strategies, seeds=SEEDS, overrides={**HELD_OUT, **settings})
    ends = [acc(r.trace) if r.trace is not None and r.status == "done" else float("nan") for r in records]
    seeds = len(ends) // len(strategies)
    return [ends[start : start + seeds] for start in range(0, len(ends), seeds)]


def shown(scores: Scores) -> str:
    """Return ``0.463 ± 0.021``, or that a run diverged."""
    if not np.isfinite(scores).all():
        return "diverged"
    return f"{np.mean(scores):.3f} ± {half_width(scores):.3f}"


def choose_rate() -> tuple[float, list[str]]:
    """Return the learning rate, and the table behind it."""
    found = {rate: measure(["joint"], **{"training.lr": rate})[0] for rate in RATES}
    rate = max((rate for rate in RATES if np.isfinite(found[rate]).all()), key=lambda rate: float(np.mean(found[rate])))
    lines = ["| lr | joint |", "|---|---|", *(f"| {rate} | {shown(scores)} |" for rate, scores in found.items())]
    return rate, [*lines, "", f"Chosen: {rate}."]


def choose_methods(rate: float) -> list[str]:
    """Return the table of held-out scores of the methods, with the best value of each; the first of equals."""
    lines = ["| method | held-out R² by value | chosen |", "|---|---|---|"]
    for method, grid in GRIDS.items():
        scores = measure(list(grid.values()), **{"training.lr": rate})
        found = dict(zip(grid, scores, strict=True))
        finished = [value for value, each in found.items() if np.isfinite(each).all()]
        chosen = max(finished, key=lambda value: round(float(np.mean(found[value])), 9))
        row = ", ".join(f"{value}: {shown(each)}" for value, each in found.items())
        lines.append(f"| `{method}` | {row} | {chosen} |")
    return lines


def main() -> None:
    """Choose the learning rate, then methods, and write both tables."""
    rate, table = choose_rate()
    parts = [
        "Held-out R², mean ± half-width of the 95 % interval over seeds 100 to 104; written by",
        "`python baselines/split-diabetes/choose.py`, which explains the choice. `derpp`: alpha and beta; others: the",
        "strength.",
        "",
        "## Learning rate",
        "",
        *table,
        "",
        "## Methods",
        "",
        *choose_methods(rate),
    ]
    (HERE / "choose.md").write_text("\n".join(parts) + "\n", encoding="utf-8")
    print("\n".join(parts))


if __name__ == "__main__":
    main()

"""Refresh learning and its controls on digits: the effects of direction, noise and Fisher information.

    python baselines/strategies/refresh.py

Class-incremental, 100 samples of memory, 5 seeds, evaluated at the ends of experiences; with the benchmark's short
training, and with a larger learning rate and more epochs. Differences to ``er`` are paired by seed. Writes records and
``refresh.md``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from claims import difference, percent

import clbench
from clbench.core.record import Record
from clbench.metrics import acc

HERE = Path(__file__).parent
BENCHMARK = "split-digits@1"
TRAINING: dict[str, dict[str, float]] = {
    "lr 0.05, 5 epochs": {},
    "lr 0.2, 10 epochs": {"training.lr": 0.2, "training.epochs": 10},
}
"""Column -> what it changes; the first is the benchmark as it is."""
CONTROLS = ("", ", direction=random", ", direction=down")
REFRESHED = [
    *(f"strength=1e-05, form=code{c}" for c in CONTROLS),
    "strength=0.001, form=code",
    *(f"strength={s}{c}" for s in ("1e-05", "0.0001") for c in CONTROLS),
    "strength=0.001",
    *(f"strength={s}, damping={d}" for s in ("1e-05", "0.0001") for d in ("0", "100")),
    *(f"strength={s}, noise=0{c}" for s in ("0.01", "0.1") for c in CONTROLS),
    *(f"strength=0.1, noise=0, damping={d}" for d in ("0", "100")),
]
PAIRS = [
    *((f"strength={s}", f"strength={s}{c}") for s in ("1e-05", "0.0001") for c in (*CONTROLS[1:], ", damping=0")),
    *((f"strength={s}, damping=100", f"strength={s}, damping=0") for s in ("1e-05", "0.0001")),
    *((f"strength={s}, noise=0", f"strength={s}, noise=0, direction=random") for s in ("0.01", "0.1")),
    ("strength=0.1, noise=0", "strength=0.1, noise=0, damping=0"),
    ("strength=0.1, noise=0, damping=100", "strength=0.1, noise=0, damping=0"),
]
"""Pairs of a setting and its control: another direction, or no Fisher information."""
STRATEGIES = ["er", {"strategy": "er", "training": {"weight_decay": 1e-4}}, *(f"er + refresh({s})" for s in REFRESHED)]


def main(
    seeds: Annotated[str, typer.Option(help="As for clbench run.")] = "5",
    jobs: Annotated[str, typer.Option(help="Cells at a time.")] = "auto",
) -> None:
    """Run the missing cells and write ``refresh.md``."""
    columns = {}
    for number, (name, changes) in enumerate(TRAINING.items()):
        records = clbench.run(
            BENCHMARK,
            strategies=STRATEGIES,
            seeds=seeds,
            overrides={**changes, "evaluation.schedule": "ends"},
            jobs=jobs,
            out=HERE / "refresh" / ("longer" if number else "short"),
        )
        columns[name] = scores(records)
    lines = [
        "# Refresh learning and its controls on digits",
        "",
        f"Made by `python baselines/strategies/refresh.py`: {BENCHMARK}, class-incremental, 100 samples of memory. ACC",
        "in percent, mean and half-width of the 95 % Student-t interval over seeds; differences are paired by seed.",
        "",
        "| `er +` | " + " | ".join(f"{name} | - `er`" for name in columns) + " |",
        "|---|" + "---|---|" * len(columns),
        *(row(label, columns) for label in next(iter(columns.values()))),
        "",
        "## Against the controls, paired by seed",
        "",
        "| `refresh` | less | " + " | ".join(columns) + " |",
        "|---|---|" + "---|" * len(columns),
        *(apart(one, other, columns) for one, other in PAIRS),
        "",
    ]
    (HERE / "refresh.md").write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))


def scores(records: list[Record]) -> dict[str, dict[int, float]]:
    """Return label -> seed -> ACC; NaN if a cell did not finish."""
    found: dict[str, dict[int, float]] = {}
    for record in records:
        value = acc(record.trace) if record.status == "done" and record.trace is not None else np.nan
        found.setdefault(record.label, {})[record.seed] = value
    return found


def row(label: str, columns: dict[str, dict[str, dict[int, float]]]) -> str:
    """Return a line of the table."""
    cells = []
    for found in columns.values():
        own = {seed: value for seed, value in found[label].items() if not np.isnan(value)}
        lost = len(found[label]) - len(own)
        text = f"{lost} of {len(found[label])} diverged" if lost else percent(own.values())
        cells += [text, "" if label == "er" or lost else difference(own, found["er"])[0]]
    name = label.removeprefix("er").removeprefix(" + ").strip(" []") or "nothing"
    return f"| `{name}` | " + " | ".join(cells) + " |"


def apart(one: str, other: str, columns: dict[str, dict[str, dict[int, float]]]) -> str:
    """Return a line of the second table."""
    labels = [f"er + refresh({settings})" for settings in (one, other)]
    told = [difference(*(found[label] for label in labels))[0] for found in columns.values()]
    return f"| `{one}` | `{other}` | " + " | ".join(told) + " |"


if __name__ == "__main__":
    typer.run(main)

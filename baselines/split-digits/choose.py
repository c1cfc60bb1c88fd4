"""Choose the settings of ``split-digits`` and ``split-digits-task`` that no publication fixes.

    python baselines/split-digits/choose.py

Everything is chosen on a tenth of the training samples, held out of training, and on seeds that no table uses; test
samples are never used. Training is chosen first, by the upper bounds alone: take the fewest epochs at which ``joint``
ends within one point of its best in the whole grid and within two of ``cumulative``, then the learning rate with the
best ``joint``. Then, with this training and in each setting, every free setting of a method is chosen by the mean
accuracy of that method. ``agem`` uses plain SGD, as published, and so has its own learning rate. All scores go to
``choose.md``, the choices to ``chosen.yaml`` beside this file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML

import clbench
from clbench.metrics import acc
from clbench.metrics.interval import half_width

HERE = Path(__file__).parent
SEEDS = "100,101,102,103,104"
HELD_OUT = {
    "stream.dataset.validation": 0.1,
    "stream.dataset.evaluate_on": "validation",
    "evaluation.every": 0,
}
EPOCHS = (5, 10, 15)
RATES = (0.001, 0.003, 0.01, 0.03)
BENCHMARKS = {"class": "split-digits", "task": "split-digits-task"}


def sgd(rate: float) -> dict[str, Any]:
    """Return A-GEM with plain SGD at a learning rate."""
    return {"strategy": "agem", "training": {"optimizer": "sgd", "lr": rate}}


GRIDS: dict[str, dict[Any, str | dict[str, Any]]] = {
    "l2": {s: f"l2(strength={s})" for s in (0.001, 0.01, 0.1, 1)},
    "ewc": {s: f"ewc(strength={s})" for s in (1, 10, 100, 1000, 10000, 100000)},
    "er + ewc": {s: f"er + ewc(strength={s})" for s in (1, 10, 100, 1000, 10000)},
    "si": {s: f"si(strength={s})" for s in (0.01, 0.1, 1, 10)},
    "lwf": {s: f"lwf(strength={s})" for s in (0.3, 1, 3, 10)},
    "agem": {rate: sgd(rate) for rate in (0.03, 0.1, 0.3, 1)},
}
"""Method -> value of its free setting -> strategy."""
OF_SETTING = {"class": ("l2", "ewc", "er + ewc", "agem"), "task": ("l2", "ewc", "si", "lwf", "agem")}

Scores = list[float]


def measure(benchmark: str, strategies: Sequence[str | Mapping[str, Any]], **settings: Any) -> list[Scores]:
    """Return the held-out ACC by seed for each strategy; NaN if a run did not finish."""
    records = clbench.run(benchmark, strategies=strategies, seeds=SEEDS, overrides={**HELD_OUT, **settings})
    ends = [acc(r.trace) if r.trace is not None and r.status == "done" else float("nan") for r in records]
    seeds = len(ends) // len(strategies)
    return [ends[start : start + seeds] for start in range(0, len(ends), seeds)]


def shown(scores: Scores) -> str:
    """``12.3 ± 0.4``, in percent."""
    return f"{100 * np.mean(scores):.1f} ± {100 * half_width(scores):.1f}"


def choose_training() -> tuple[dict[str, Any], list[str]]:
    """Epochs and learning rate, and the table behind them."""
    found = {
        (epochs, rate): measure(
            BENCHMARKS["class"], ["joint", "cumulative"], **{"training.epochs": epochs, "training.lr": rate}
        )
        for epochs in EPOCHS
        for rate in RATES
    }
    mean = {place: tuple(float(np.mean(scores)) for scores in both) for place, both in found.items()}
    best = max(joint for joint, _ in mean.values())
    good = [place for place, (joint, every) in mean.items() if joint >= best - 0.01 and joint >= every - 0.02]
    fewest = min(epochs for epochs, _ in good)
    epochs, rate = max((place for place in good if place[0] == fewest), key=lambda place: mean[place][0])
    lines = ["| epochs | lr | joint | cumulative |", "|---|---|---|---|"]
    lines += [f"| {e} | {r} | {shown(joint)} | {shown(every)} |" for (e, r), (joint, every) in found.items()]
    return {"epochs": epochs, "lr": rate}, [*lines, "", f"Chosen: {epochs} epochs at {rate}."]


def choose_methods(setting: str, training: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The free settings of the methods in one setting, and the table behind them; the first of equals."""
    grids = {method: GRIDS[method] for method in OF_SETTING[setting]}
    every = [strategy for grid in grids.values() for strategy in grid.values()]
    scores = iter(measure(BENCHMARKS[setting], every, **{f"training.{k}": v for k, v in training.items()}))
    chosen, lines = {}, ["| method | held-out ACC by value | chosen |", "|---|---|---|"]
    for method, grid in grids.items():
        found = {value: next(scores) for value in grid}
        finished = [value for value, scores in found.items() if np.isfinite(scores).all()]
        chosen[method] = max(finished, key=lambda value: round(float(np.mean(found[value])), 9))
        row = ", ".join(f"{value}: {shown(scores)}" for value, scores in found.items())
        lines.append(f"| `{method}` | {row} | {chosen[method]} |")
    return chosen, lines


def main() -> None:
    """Choose training, then methods, and write both files."""
    training, table = choose_training()
    written: dict[str, Any] = {"training": training}
    parts = [
        "Held-out ACC in percent, mean ± half-width of the 95 % interval over seeds 100 to 104; written by",
        "`python baselines/split-digits/choose.py`, which explains the choice. `agem`: the learning rate of plain",
        "SGD; others: the strength.",
        "",
        "## Training",
        "",
        *table,
    ]
    for setting in BENCHMARKS:
        written[setting], table = choose_methods(setting, training)
        parts += ["", f"## {setting.capitalize()}-incremental", "", *table]
    YAML().dump(written, HERE / "chosen.yaml")
    (HERE / "choose.md").write_text("\n".join(parts) + "\n", encoding="utf-8")
    print("\n".join(parts))


if __name__ == "__main__":
    main()

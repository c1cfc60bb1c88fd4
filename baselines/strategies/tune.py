"""Choose the settings that no publication fixes, on rows held out of training and on seeds that the tables do not use.

    python baselines/strategies/tune.py split-mnist-online --setting class --data-dir DATA

For every method with a free setting each value of its grid learns the benchmark on two seeds (100 and 101, so other
orders of classes too) with a tenth of the training rows held out; the mean accuracy on those rows decides. The choice
is written into ``chosen.yaml`` beside this file, under benchmark and setting. Test rows are never looked at.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from ruamel.yaml import YAML

import clbench
from clbench.metrics import acc

GRIDS = {
    "l2": ["l2(strength=0.001)", "l2(strength=0.01)", "l2(strength=0.1)", "l2(strength=1)"],
    "ewc": [f"ewc(strength={s}, rows=500)" for s in (1, 10, 100, 1000)],
    "si": [f"si(strength={s})" for s in (0.001, 0.01, 0.1, 1)],
    "mas": [f"mas(strength={s}, rows=500)" for s in (0.01, 0.1, 1, 10)],
    "lwf": [f"lwf(strength={s})" for s in (1, 3)],
    "feat_kd": [f"feat_kd(strength={s})" for s in (0.5, 5)],
    "der": [f"der(alpha={a})" for a in (0.1, 0.3, 1)],
    "derpp": [f"derpp(alpha={a}, beta={b})" for a in (0.1, 0.5) for b in (0.5, 1)],
    "icarl": [f"icarl(over_classes={form})" for form in ("mean", "sum")],
    "refresh": [f"er + refresh(strength={s}, form=code)" for s in (1e-5, 1e-4, 1e-3)],
    "pred_kd": [f"pred_kd(over_classes={form})" for form in ("mean", "sum")],
    "fpf": [f"fpf(iters={n})" for n in (100, 300)],
}
OF_BENCHMARK = {"split-cifar10-online": {"gdumb": [f"gdumb(passes=16, lr={lr})" for lr in (0.05, 0.01, 0.002)]}}
"""Grids that one benchmark has beside them: gdumb's published rate is for a ResNet."""
SEEDS = "100,101"
CHOSEN = Path(__file__).with_name("chosen.yaml")


def main(
    benchmark: str,
    setting: Annotated[str, typer.Option(help="class, task or domain.")] = "class",
    data_dir: Annotated[str | None, typer.Option(help="Where data sets lie.")] = None,
    jobs: Annotated[str, typer.Option(help="Cells at a time.")] = "auto",
    methods: Annotated[str | None, typer.Option(help="Only these keys of the grids, by commas.")] = None,
) -> None:
    """Tune every method of the grids on one benchmark in one setting."""
    grids = GRIDS | OF_BENCHMARK.get(benchmark, {})
    grids = {name: grids[name] for name in (methods.split(",") if methods else grids)}
    overrides = {
        "stream.setting": setting,
        "stream.dataset.validation": 0.1,
        "stream.dataset.evaluate_on": "validation",
        "evaluation.every": 0,
        "evaluation.rows_per_task": "all",
    }
    every = [strategy for grid in grids.values() for strategy in grid]
    records = clbench.run(benchmark, strategies=every, seeds=SEEDS, overrides=overrides, jobs=jobs, data_dir=data_dir)
    scores: dict[str, list[float]] = {}
    for record in records:
        value = acc(record.trace) if record.trace is not None and record.status == "done" else float("nan")
        scores.setdefault(record.label, []).append(value)
    means = {label: float(np.mean(values)) for label, values in scores.items()}  # NaN where a seed did not finish
    best = {}
    for name, grid in grids.items():
        finished = [strategy for strategy in grid if not np.isnan(means[strategy])]
        best[name] = max(finished, key=means.__getitem__) if finished else grid[0]
        print(f"{name}: " + ", ".join(f"{strategy} {means[strategy]:.3f}" for strategy in grid))
    yaml = YAML()
    document = yaml.load(CHOSEN) if CHOSEN.exists() else {}
    document.setdefault(benchmark, {}).setdefault(setting, {}).update(best)
    yaml.dump(document, CHOSEN)


if __name__ == "__main__":
    typer.run(main)

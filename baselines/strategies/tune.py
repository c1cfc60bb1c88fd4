"""Choose the settings that no publication fixes, on held-out samples and on seeds that the tables do not use.

    python baselines/strategies/tune.py split-mnist-online --setting class --data-dir DATA

For every method with a free setting, each value of its grid is run on two seeds (100 and 101, with other orders of
classes) with a tenth of the training samples held out; the mean accuracy on these samples decides. The choice
is written to ``chosen.yaml`` beside this file, under benchmark and table. Test samples are never used.

``--output all`` chooses for the table in which all classes compete from the start. ``--rates own`` chooses a learning
rate for each replay method: a sum of two means takes larger steps than one mean, and a cosine over a temperature yet
other steps, so at one rate for all a method may win by its step alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from ruamel.yaml import YAML
from table import SUM, place

import clbench
from clbench.metrics import acc
from clbench.running.plan import plan

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
OUTPUT_ALL = ("der", "derpp")
"""Those with a free setting in the table with all classes."""
RATED = ["er", SUM, "er_ace", "er_aml", "pcr(views=1)", "hpcr(views=1)"]
"""Replay methods that scale the step differently: one mean, sums of two, and contrasts over a temperature."""
FACTORS = (0.1, 0.3, 1.0, 3.0)
"""Of the benchmark's learning rate."""
OF_BENCHMARK = {"split-cifar10-online": {"gdumb": [f"gdumb(passes=16, lr={lr})" for lr in (0.05, 0.01, 0.002)]}}
"""Grids that one benchmark has beside them: gdumb's published rate is for a ResNet."""
SEEDS = "100,101"
CHOSEN = Path(__file__).with_name("chosen.yaml")


def main(
    benchmark: str,
    setting: Annotated[str, typer.Option(help="class, task or domain.")] = "class",
    output: Annotated[str, typer.Option(help="Which classes compete: seen so far, or all.")] = "seen",
    rates: Annotated[str, typer.Option(help="Learning rates: the benchmark's, or each method's own.")] = "benchmark",
    data_dir: Annotated[str | None, typer.Option(help="Where data sets lie.")] = None,
    jobs: Annotated[str, typer.Option(help="Cells at a time.")] = "auto",
    methods: Annotated[str | None, typer.Option(help="Only these keys of the grids, by commas.")] = None,
) -> None:
    """Tune every method of the grids on one benchmark in one setting."""
    overrides = {
        "stream.setting": setting,
        "stream.output": output,
        "stream.dataset.validation": 0.1,
        "stream.dataset.evaluate_on": "validation",
        "evaluation.schedule": "ends",
        "evaluation.rows_per_task": "all",
    }
    if rates == "own":
        lr = plan(benchmark).benchmark.training.lr
        grids = {name: [rated(name, round(f * lr, 6)) for f in FACTORS] for name in RATED}
    else:
        every = GRIDS | OF_BENCHMARK.get(benchmark, {})
        names = methods.split(",") if methods else OUTPUT_ALL if output == "all" else every
        grids = {name: [(text, text, text) for text in every[name]] for name in names}
    runs = [written for grid in grids.values() for written, _, _ in grid]
    records = clbench.run(benchmark, strategies=runs, seeds=SEEDS, overrides=overrides, jobs=jobs, data_dir=data_dir)
    scores: dict[str, list[float]] = {}
    for record in records:
        value = acc(record.trace) if record.trace is not None and record.status == "done" else float("nan")
        scores.setdefault(record.label, []).append(value)
    means = {label: float(np.mean(values)) for label, values in scores.items()}  # NaN where a seed did not finish
    best: dict[str, Any] = {}
    for name, grid in grids.items():
        finished = [(means[label], kept) for _, label, kept in grid if not np.isnan(means[label])]
        best[name] = max(finished, key=lambda each: each[0])[1] if finished else grid[0][2]
        print(f"{name}: " + ", ".join(f"{label} {means[label]:.3f}" for _, label, _ in grid))
    yaml = YAML()
    document = yaml.load(CHOSEN) if CHOSEN.exists() else {}
    named = place(setting, output=output, rates=rates)
    document.setdefault(benchmark, {}).setdefault(named, {}).update(best)
    yaml.dump(document, CHOSEN)


def rated(strategy: str, lr: float) -> tuple[dict[str, Any], str, float]:
    """A strategy at a learning rate: as it is run, its label, and what is kept of it."""
    return {"strategy": strategy, "training": {"lr": lr}}, f"{strategy} [lr={lr:g}]", lr


if __name__ == "__main__":
    typer.run(main)

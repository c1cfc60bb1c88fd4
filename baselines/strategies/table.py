"""Run every strategy on a benchmark with the settings that ``tune.py`` chose, and write records and leaderboard.

python baselines/strategies/table.py split-mnist-online --setting class --seeds 5 --data-dir DATA

``--output all`` runs a second table, in which all classes compete from the start: dark experience replay under the
protocol of its paper, with baselines under the same protocol. ``--rates own`` runs a third, in which each replay method
has the learning rate that ``tune.py`` chose for it, since methods scale a step differently; it evaluates only the ends.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from ruamel.yaml import YAML

import clbench
from clbench.leaderboard import board, render

HERE = Path(__file__).parent
SUM = "er(loss=sum, start=any)"
"""Replay with the loss of the methods that add a mean over memory to the stream's: the baseline for them."""
FIXED = {
    "split-mnist-online": [
        "naive", "joint", "cumulative", "frozen", "gdumb(passes=16, cutmix=0)",
        "er", SUM, "er_ace", "er_aml", "mir", "pcr(views=1)", "hpcr(views=1)", "agem", "gem", "hft", "er + hft",
        "er + fpf", "k_fpf(every=94, iters=100)", "er + group_mask",
    ],
    "split-cifar10-online": [
        "naive", "joint", "cumulative", "frozen",
        "er", SUM, "er_ace", "er_aml", "mir", "pcr(views=1)", "hpcr(views=1)", "agem", "gem", "hft", "er + hft",
        "er + fpf", "k_fpf(every=200, iters=100)", "er + group_mask",
    ],
}  # fmt: skip
OUTPUT_ALL = ["naive", "joint", "er", SUM, "er_ace", "{der}", "{derpp}"]
"""The second table, with the settings chosen under its own protocol."""
JOINED = ["pred_kd + {ewc}", "pred_kd + {l2}", "pred_kd + {feat_kd}"]
"""The rehearsal-free study's combinations, with the settings chosen for each method alone."""


def main(
    benchmark: str,
    setting: Annotated[str, typer.Option(help="class, task or domain.")] = "class",
    output: Annotated[str, typer.Option(help="Which classes compete: seen so far, or all.")] = "seen",
    rates: Annotated[str, typer.Option(help="Learning rates: the benchmark's, or each method's own.")] = "benchmark",
    seeds: Annotated[str, typer.Option(help="As for clbench run.")] = "5",
    data_dir: Annotated[str | None, typer.Option(help="Where data sets lie.")] = None,
    jobs: Annotated[str, typer.Option(help="Cells at a time.")] = "auto",
    strategies: Annotated[str | None, typer.Option(help="Only these.")] = None,
) -> None:
    """Run the table of one benchmark in one setting; cells that are finished are not run again."""
    named = place(setting, output=output, rates=rates)
    chosen = YAML(typ="safe").load(HERE / "chosen.yaml")[benchmark][named]
    overrides = {"stream.setting": setting}
    every: list[str | dict[str, Any]]
    if rates == "own":
        every = [{"strategy": strategy, "training": {"lr": lr}} for strategy, lr in chosen.items()]
        overrides["evaluation.schedule"] = "ends"
    elif output == "all":
        every = [text.format(**chosen) for text in OUTPUT_ALL]
        overrides["stream.output"] = "all"
    else:
        every = [*FIXED[benchmark], *chosen.values(), *(text.format(**chosen) for text in JOINED)]
    out = HERE / benchmark / named
    records = clbench.run(
        benchmark,
        strategies=strategies or every,
        seeds=seeds,
        overrides=overrides,
        jobs=jobs,
        data_dir=data_dir,
        out=out,
    )
    (out / "leaderboard.md").write_text(render(board(records), "md"), encoding="utf-8")
    for record in records:
        if record.status != "done" or record.alarms:
            print(record.label, record.seed, record.status, record.reason, *record.alarms)


def place(setting: str, *, output: str, rates: str) -> str:
    """The folder of a table and its key in ``chosen.yaml``: ``class``, ``class-output-all``, ``class-own-rates``."""
    return setting + ("-output-all" if output == "all" else "") + ("-own-rates" if rates == "own" else "")


if __name__ == "__main__":
    typer.run(main)

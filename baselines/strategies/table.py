"""Run every strategy on a benchmark, free settings as ``tune.py`` chose them, and write records and leaderboard.

python baselines/strategies/table.py split-mnist-online --setting class --seeds 5 --data-dir DATA
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from ruamel.yaml import YAML

import clbench
from clbench.leaderboard import board, render

HERE = Path(__file__).parent
FIXED = {
    "split-mnist-online": [
        "naive", "joint", "cumulative", "frozen", "gdumb(passes=16, cutmix=0)",
        "er", "er_ace", "er_aml", "mir", "pcr(views=1)", "hpcr(views=1)", "agem", "gem", "hft", "er + hft", "er + fpf",
        "k_fpf(every=94, iters=100)", "er + group_mask",
    ],
    "split-cifar10-online": [
        "naive", "joint", "cumulative", "frozen",
        "er", "er_ace", "er_aml", "mir", "pcr(views=1)", "hpcr(views=1)", "agem", "gem", "hft", "er + hft", "er + fpf",
        "k_fpf(every=200, iters=100)", "er + group_mask",
    ],
}  # fmt: skip
JOINED = ["pred_kd + {ewc}", "pred_kd + {l2}", "pred_kd + {feat_kd}"]
"""The rehearsal-free study's combinations, with the settings chosen for each method alone."""


def main(
    benchmark: str,
    setting: Annotated[str, typer.Option(help="class, task or domain.")] = "class",
    seeds: Annotated[str, typer.Option(help="As for clbench run.")] = "5",
    data_dir: Annotated[str | None, typer.Option(help="Where data sets lie.")] = None,
    jobs: Annotated[str, typer.Option(help="Cells at a time.")] = "auto",
    strategies: Annotated[str | None, typer.Option(help="Only these.")] = None,
) -> None:
    """Run the table of one benchmark in one setting; cells that are finished are not run again."""
    chosen = YAML(typ="safe").load(HERE / "chosen.yaml")[benchmark][setting]
    every = [*FIXED[benchmark], *chosen.values(), *(text.format(**chosen) for text in JOINED)]
    out = HERE / benchmark / setting
    records = clbench.run(
        benchmark,
        strategies=strategies or every,
        seeds=seeds,
        overrides={"stream.setting": setting},
        jobs=jobs,
        data_dir=data_dir,
        out=out,
    )
    (out / "leaderboard.md").write_text(render(board(records), "md"), encoding="utf-8")
    for record in records:
        if record.status != "done" or record.alarms:
            print(record.label, record.seed, record.status, record.reason, *record.alarms)


if __name__ == "__main__":
    typer.run(main)

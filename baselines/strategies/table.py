"""Run every strategy on a benchmark with settings that ``clbench tune`` chose, and write records and leaderboard.

python baselines/strategies/table.py split-mnist-online --setting class --seeds 5 --data-dir DATA

``--protocol first:2`` takes the settings chosen under another protocol, and writes a table of its own. ``tuned/`` holds
the settings, a file for each benchmark, table and protocol.

``--output all`` runs a second table, in which all classes compete from the start: dark experience replay under the
protocol of its paper, with baselines under the same protocol. ``--rates own`` runs a third, in which each replay method
has a learning rate of its own, since methods scale a step differently; it evaluates only the ends.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

import clbench
from clbench.benchmark.tuned_settings import read_tuned
from clbench.leaderboard import board, render
from clbench.strategies.knobs import with_values

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
TUNED = {
    "l2": "l2", "ewc": "ewc(rows=500)", "si": "si", "mas": "mas(rows=500)", "lwf": "lwf", "feat_kd": "feat_kd",
    "der": "der", "derpp": "derpp", "icarl": "icarl", "refresh": "er + refresh(form=code)", "pred_kd": "pred_kd",
    "fpf": "fpf",
}  # fmt: skip
"""Methods whose free settings are tuned, as ``clbench tune`` is given them."""
OF_BENCHMARK = {"split-cifar10-online": {"gdumb": "gdumb(passes=16)"}}
"""Those that one benchmark has beside them: gdumb's published learning rate is for a ResNet."""
RATED = ["er", SUM, "er_ace", "er_aml", "pcr(views=1)", "hpcr(views=1)"]
"""Replay methods that scale the step differently: one mean, sums of two, and contrasts over a temperature."""
OUTPUT_ALL = ["naive", "joint", "er", SUM, "er_ace"]
"""The second table, beside ``der`` and ``derpp`` with settings chosen under its own protocol."""
JOINED = ["pred_kd + {ewc}", "pred_kd + {l2}", "pred_kd + {feat_kd}"]
"""The rehearsal-free study's combinations, with the settings chosen for each method alone."""


def main(
    benchmark: str,
    setting: Annotated[str, typer.Option(help="class, task or domain.")] = "class",
    output: Annotated[str, typer.Option(help="Which classes compete: seen so far, or all.")] = "seen",
    rates: Annotated[str, typer.Option(help="Learning rates: the benchmark's, or each method's own.")] = "benchmark",
    protocol: Annotated[str, typer.Option(help="The protocol under which settings were chosen.")] = "end",
    seeds: Annotated[str, typer.Option(help="As for clbench run.")] = "5",
    data_dir: Annotated[str | None, typer.Option(help="Where data sets lie.")] = None,
    jobs: Annotated[str, typer.Option(help="Cells at a time.")] = "auto",
    strategies: Annotated[str | None, typer.Option(help="Only these.")] = None,
) -> None:
    """Run the table of one benchmark in one setting; cells that are finished are not run again."""
    named = place(setting, output=output, rates=rates)
    tuned = read_tuned(file_of(benchmark, named, protocol))
    overrides = {"stream.setting": setting}
    every: list[Any]
    if rates == "own":
        every = list(RATED)
        overrides["evaluation.schedule"] = "ends"
    elif output == "all":
        every = [*OUTPUT_ALL, *(TUNED[method] for method in ("der", "derpp"))]
        overrides["stream.output"] = "all"
    else:
        methods = TUNED | OF_BENCHMARK.get(benchmark, {})
        chosen = {method: with_values(text, tuned.strategies[text].values) for method, text in methods.items()}
        every = [*FIXED[benchmark], *methods.values(), *(text.format(**chosen) for text in JOINED)]
    out = HERE / benchmark / folder_of(named, protocol)
    records = clbench.run(
        benchmark,
        strategies=strategies or every,
        seeds=seeds,
        overrides=overrides,
        tuned=tuned,
        jobs=jobs,
        data_dir=data_dir,
        out=out,
    )
    (out / "leaderboard.md").write_text(render(board(records), "md"), encoding="utf-8")
    for record in records:
        if record.status != "done" or record.alarms:
            print(record.label, record.seed, record.status, record.reason, *record.alarms)


def place(setting: str, *, output: str, rates: str) -> str:
    """The name of a table: ``class``, ``class-output-all``, ``class-own-rates``."""
    return setting + ("-output-all" if output == "all" else "") + ("-own-rates" if rates == "own" else "")


def folder_of(named: str, protocol: str) -> str:
    """The folder of a table: its name, with the protocol if that is not ``end``."""
    return named if protocol == "end" else f"{named}-{protocol.replace(':', '-')}"


def file_of(benchmark: str, named: str, protocol: str) -> Path:
    """The settings of a table under a protocol, written by ``clbench tune``."""
    return HERE / "tuned" / f"{benchmark}-{named}-{protocol.replace(':', '-')}.yaml"


if __name__ == "__main__":
    typer.run(main)

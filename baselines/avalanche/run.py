"""Run every template of avalanche-lib on four small streams, and write the results.

python baselines/avalanche/run.py            # a few minutes; writes baselines/avalanche/results.md
"""

from __future__ import annotations

import time
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from clbench.core.errors import Refused
from clbench.core.record import Record
from clbench.metrics import compute
from clbench.running.plan import plan
from clbench.running.run_cell import run_cell

HERE = Path(__file__).parent
BENCHMARK: dict[str, Any] = {
    "name": "avalanche-small",
    "model": {"name": "mlp", "hidden": [64]},
    "training": {"optimizer": "sgd", "lr": 0.1, "batch_size": 16, "epochs": 2},
    "memory": {"size": 100},
    "evaluation": {"every": 10, "rows_per_task": 60},
    "reveal": ["length"],
}
DIGITS = {"name": "digits", "train_rows": 800}
STREAMS: dict[str, dict[str, Any]] = {
    "split, class": {"scenario": "split", "dataset": DIGITS, "setting": "class"},
    "split, task": {"scenario": "split", "dataset": DIGITS, "setting": "task"},
    "permuted": {"scenario": "permuted", "dataset": {"name": "digits", "train_rows": 300}, "experiences": 5},
    "SCoLe": {"scenario": "scole", "dataset": DIGITS, "experiences": 12, "rows_per_class": 32},
}
OURS = ["naive", "er", "joint"]
"""For comparison, in our own loop."""
LISTED = [
    "Naive", "Cumulative", "JointTraining", "Replay", "GDumb", "EWC(ewc_lambda=1)",
    "EWC(ewc_lambda=1, mode=online, decay_factor=0.9)", "SynapticIntelligence(si_lambda=0.1)", "MAS(lambda_reg=0.1)",
    "LwF(alpha=1, temperature=2)", "GEM", "AGEM", "DER(batch_size_mem=16)", "ER_ACE(batch_size_mem=16)",
    "MIR(subsample=50, batch_size_mem=16)", "ICaRL(fixed_memory=true)", "SCR(batch_size_mem=16)", "CWRStar",
    "RWalk(delta_t=4)", "LFL(lambda_e=1)", "FromScratchTraining", "StreamingLDA",
]  # fmt: skip
"""Templates that have to run, with values for what has no default; sizes of memory are the benchmark's."""
OTHERS = [
    "ReplayPlugin(storage_policy=ReservoirSamplingBuffer)", "EWC(ewc_lambda=1) + ReplayPlugin", "BiC", "CoPE",
    "ER_AML(batch_size_mem=16)", "GSS_greedy", "MER(batch_size_mem=16)", "AR1",
    "PNNStrategy", "PackNet(post_prune_epochs=1, prune_proportion=0.5)", "GenerativeReplay", "AETraining",
    "VAETraining", "ExpertGateStrategy", "FeatureReplay",
]  # fmt: skip
"""What else it has; many of these bring a model of their own and cannot learn with the benchmark's."""


def main(
    seeds: Annotated[int, typer.Option(help="Seeds of each that has to run; the others run once.")] = 1,
    out: Annotated[Path, typer.Option(help="The file to write.")] = HERE / "results.md",
) -> None:
    """Run all templates on all four streams in this process."""
    began = time.time()
    sections = [
        ("Templates that have to run", [_hosted(text) for text in LISTED], seeds),
        ("For comparison, in our own training loop", OURS, seeds),
        ("Other templates", [_hosted(text) for text in OTHERS], 1),
    ]
    tables = [_section(title, strategies, count) for title, strategies, count in sections]
    out.write_text(_head(seeds, time.time() - began) + "\n".join(tables), encoding="utf-8")


def _hosted(text: str) -> str:
    return " + ".join(f"avalanche:{each}" for each in text.split(" + "))


def _head(seeds: int, seconds: float) -> str:
    streams = "\n".join(f"- **{name}**: `{stream}`" for name, stream in STREAMS.items())
    settings = {key: value for key, value in BENCHMARK.items() if key != "name"}
    return (
        "# Templates of avalanche-lib on four small streams\n\n"
        f"Command: `python baselines/avalanche/run.py --seeds {seeds}` ({seconds / 60:.0f} minutes on a busy machine). "
        f"avalanche-lib {version('avalanche-lib')}, torch {version('torch')}, qpsolvers {version('qpsolvers')} without "
        "`quadprog`.\n\nFinal average accuracy (ACC) in percent; settings are not tuned, so this "
        f"shows that a method runs and learns, not how good it is.\n\n{streams}\n- all with `{settings}`\n\n"
    )


def _section(title: str, strategies: list[str], seeds: int) -> str:
    lines = [f"| strategy | {' | '.join(STREAMS)} |", f"|:---|{'---:|' * len(STREAMS)}"]
    notes: dict[tuple[str, str], list[str]] = {}
    for strategy in strategies:
        cells = [_outcome(strategy, name, seeds, notes) for name in STREAMS]
        lines.append(f"| `{strategy}` | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    told = "\n".join(f"- `{who}` on {'; '.join(where)}: {why}" for (who, why), where in notes.items())
    return f"## {title} ({seeds} seed{'s' if seeds > 1 else ''})\n\n" + "\n".join(lines) + f"\n\n{told}\n"


def _outcome(strategy: str, stream: str, seeds: int, notes: dict[tuple[str, str], list[str]]) -> str:
    """ACC, or the status with the reason in a note; alarms in a note too."""
    try:
        cells = plan({**BENCHMARK, "stream": STREAMS[stream]}, strategies=[strategy], seeds=seeds).cells
    except Refused as error:
        notes.setdefault((strategy, str(error)), []).append(stream)
        return "refused"
    records = [run_cell(cell) for cell in cells]
    for record in records:
        for alarm in record.alarms:
            notes.setdefault((strategy, f"alarm: {alarm}"), []).append(stream)
    bad = [record for record in records if record.status != "done"]
    if bad:
        reason = " ".join(bad[0].reason.split())[:300]
        notes.setdefault((strategy, f"{bad[0].status}: {reason}"), []).append(stream)
        return bad[0].status
    return f"{100 * np.mean([_acc(record) for record in records]):.1f}"


def _acc(record: Record) -> float:
    assert record.trace is not None
    return compute(record.trace, ["acc"])["acc"].value


if __name__ == "__main__":
    typer.run(main)

"""Three claims about the stability gap, measured: ``python baselines/stability-gap/run.py --data-dir DATA``.

P1. Incremental joint training (``cumulative``) on MNIST rotated by 0, 80 and 160 degrees dips after both switches and
    recovers (Hess, Tuytelaars and van de Ven 2023).
P2. With replay on MNIST rotated by 0 and then phi degrees the gap deepens with phi in 10, 30, 60, 80 while the final
    accuracy hardly moves (De Lange, van de Ven and Tuytelaars 2023).
P3. How much of the gap a coarser period of looks misses: replay on Split-MNIST, 500 iterations an experience, looked at
    after every step; looks change nothing in training, so coarser periods are read off the same traces. That WC-ACC
    does not fall with the period is an identity then; its size is what is measured.

Records go to folders beside this file; ``results.md`` is written from them, mean and half-width of the 95 % Student-t
interval over seeds, differences paired by seed.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

import clbench
from clbench.metrics import acc, min_acc, switches, wc_acc
from clbench.metrics.interval import half_width
from clbench.types import Kind, Record, Trace

HERE = Path(__file__).parent
ANGLES = (10, 30, 60, 80)
PERIODS = (1, 10, 100)


def traces(records: list[Record]) -> list[Trace]:
    """Traces by seed; every run has to be finished."""
    assert all(record.status == "done" and record.trace is not None for record in records)
    return [record.trace for record in sorted(records, key=lambda record: record.seed) if record.trace is not None]


def interval(values: list[float], scale: float = 100) -> str:
    """``12.3 ± 0.4``, in percent."""
    return f"{scale * float(np.mean(values)):.1f} ± {scale * float(half_width(values)):.1f}"


def thinned(trace: Trace, period: int) -> Trace:
    """The trace that looking only at every ``period``-th iteration, and at starts and ends, would have given."""
    kept = (trace.kind != Kind.STEP) | (trace.step % period == 0)
    columns = {name: getattr(trace, name)[kept] for name in ("step", "kind", "experience", "score", "seconds")}
    return replace(trace, **columns, every=period)


def joint_dip(seeds: int, common: dict[str, object]) -> list[str]:
    """P1 as a table."""
    found = clbench.run(
        "rotated-mnist", strategies="cumulative", seeds=seeds, out=HERE / "rotated", overrides={}, **common
    )
    lines = [
        "| switch | before | depth | back within a point | end minus before |",
        "|---|---|---|---|---|",
    ]
    for experience in (1, 2):
        rows = [switches(trace) for trace in traces(found)]
        first = [(s, int(np.flatnonzero((s.experience == experience) & (s.task == 0))[0])) for s in rows]
        before = [float(s.before[i]) for s, i in first]
        depth = [float(s.depth[i]) for s, i in first]
        back = sum(float(s.residual[i]) <= 0.01 for s, i in first)
        after = [-float(s.residual[i]) for s, i in first]
        lines.append(
            f"| to {80 * experience} degrees | {interval(before)} | {interval(depth)} | {back} of {len(first)} seeds | "
            f"{interval(after)} |"
        )
    return lines


def angles(seeds: int, common: dict[str, object]) -> list[str]:
    """P2 as a table."""
    lines = ["| angle | ACC | min-ACC of the first task | gap depth | WC-ACC |", "|---|---|---|---|---|"]
    for angle in ANGLES:
        overrides = {"stream.degrees": f"[0, {angle}]", "evaluation.rows_per_task": 1000}
        out = HERE / f"angle-{angle}"
        found = traces(
            clbench.run("rotated-mnist", strategies="er", seeds=seeds, out=out, overrides=overrides, **common)
        )
        depth = [float(switches(t).depth.mean()) for t in found]
        columns = [[acc(t) for t in found], [min_acc(t) for t in found], depth, [wc_acc(t) for t in found]]
        lines.append(f"| {angle} | " + " | ".join(interval(column) for column in columns) + " |")
    return lines


def periods(seeds: int, common: dict[str, object]) -> list[str]:
    """P3 as a table."""
    overrides = {"training.iterations": 500, "evaluation.every": 1, "evaluation.rows_per_task": 300}
    found = traces(
        clbench.run("split-mnist", strategies="er", seeds=seeds, out=HERE / "periods", overrides=overrides, **common)
    )
    lines = ["| looks every | WC-ACC | missed of the gap ACC - WC-ACC | min-ACC |", "|---|---|---|---|"]
    full = [acc(t) - wc_acc(t) for t in found]
    for period in PERIODS:
        coarse = [thinned(t, period) for t in found]
        missed = [(wc_acc(c) - wc_acc(t)) / gap for c, t, gap in zip(coarse, found, full, strict=True)]
        columns = [[wc_acc(c) for c in coarse], missed, [min_acc(c) for c in coarse]]
        lines.append(f"| {period} | " + " | ".join(interval(column) for column in columns) + " |")
    return [*lines, "", f"ACC {interval([acc(t) for t in found])}; at period 1 the gap is {interval(full)}."]


def main(
    data_dir: Annotated[str | None, typer.Option(help="Where data sets lie.")] = None,
    seeds: Annotated[int, typer.Option(help="Seeds of every claim.")] = 5,
    jobs: Annotated[str, typer.Option(help="Cells at a time.")] = "auto",
) -> None:
    """Run what is not finished and write the tables."""
    common = {"jobs": jobs, "data_dir": data_dir}
    parts = [f"{seeds} seeds; percent; clbench {clbench.__version__}."]
    for title, made in (
        ("P1: joint training dips at a switch", joint_dip(seeds, common)),
        ("P2: the gap grows with the angle", angles(seeds, common)),
        ("P3: what a coarser period misses", periods(seeds, common)),
    ):
        parts += ["", f"## {title}", "", *made]
    (HERE / "results.md").write_text("\n".join(parts) + "\n", encoding="utf-8")
    print("\n".join(parts))


if __name__ == "__main__":
    typer.run(main)

"""Three claims about the stability gap, measured: ``python baselines/stability-gap/run.py --data-dir DATA``.

P1. Incremental joint training (``cumulative``) on MNIST rotated by 0, 80 and 160 degrees dips after both switches and
    recovers (Hess, Tuytelaars and van de Ven 2023).
P2. With replay on MNIST rotated by 0 and then phi degrees the gap deepens with phi in 10, 30, 60, 80 while the final
    accuracy hardly changes (De Lange, van de Ven and Tuytelaars 2023).
P3. How much of the gap a longer period between evaluations misses: replay on Split-MNIST, 500 iterations per
    experience, evaluated after every step. Evaluation does not change training, so longer periods are computed from the
    same traces. It is then an identity that WC-ACC does not fall with the period; its size is measured.

Records go to folders beside this file. ``results.md`` and the pictures are made from them: mean and half-width of
the 95 % Student-t interval over seeds, differences paired by seed. ``--from-records`` makes them again from the
existing records and runs nothing.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

import clbench
from clbench import plots
from clbench.api import records
from clbench.core.record import Kind, Record, Trace
from clbench.metrics import acc, min_acc, switches, wc_acc
from clbench.metrics.interval import half_width
from clbench.running.plan import plan

HERE = Path(__file__).parent
ANGLES = (10, 30, 60, 80)
PERIODS = (1, 10, 100)
COMMAND = "python baselines/stability-gap/run.py"
RUNS = {
    "rotated": ("rotated-mnist", "cumulative", {}),
    **{
        f"angle-{angle}": ("rotated-mnist", "er", {"stream.degrees": f"[0, {angle}]", "evaluation.rows_per_task": 1000})
        for angle in ANGLES
    },
    "periods": (
        "split-mnist@1",
        "er",
        {"training.iterations": 500, "evaluation.every": 1, "evaluation.rows_per_task": 300},
    ),
}
"""Folder -> benchmark, strategy and settings of its runs."""


def traces(folder: str) -> list[Trace]:
    """Return the traces of a folder by seed; every run has to be finished."""
    found = records(HERE / folder)
    assert all(record.status == "done" and record.trace is not None for record in found)
    return [record.trace for record in sorted(found, key=lambda record: record.seed) if record.trace is not None]


def interval(values: list[float], *, signed: bool = False) -> str:
    """``12.3 ± 0.4``, in percent."""
    mean = f"{100 * float(np.mean(values)):{'+' if signed else ''}.1f}"
    return f"{mean} ± {100 * float(half_width(values)):.1f}"


def thinned(trace: Trace, period: int) -> Trace:
    """Return the trace with evaluations at every ``period``-th iteration, starts and ends only."""
    return replace(trace.at((trace.kind != Kind.STEP) | (trace.step % period == 0)), every=period)


def joint_dip() -> list[str]:
    """Return the table of P1."""
    found = traces("rotated")
    lines = [
        "| switch | before | depth | back within a point | end minus before |",
        "|---|---|---|---|---|",
    ]
    for experience in (1, 2):
        rows = [switches(trace) for trace in found]
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


def angles() -> list[str]:
    """Return the tables of P2: each angle, and the changes from one to the next, paired by seed."""
    columns = {}
    for angle in ANGLES:
        found = traces(f"angle-{angle}")
        depth = [float(switches(t).depth.mean()) for t in found]
        columns[angle] = [[acc(t) for t in found], [min_acc(t) for t in found], depth, [wc_acc(t) for t in found]]
    names = "| ACC | min-ACC of the first task | gap depth | WC-ACC |"
    lines = [f"| angle {names}", "|---|---|---|---|---|"]
    lines += [f"| {angle} | " + " | ".join(map(interval, columns[angle])) + " |" for angle in ANGLES]
    lines += ["", "Differences paired by seed:", "", f"| from, to {names}", "|---|---|---|---|---|"]
    for one, other in pairwise(ANGLES):
        paired = [np.subtract(b, a).tolist() for a, b in zip(columns[one], columns[other], strict=True)]
        lines.append(f"| {one}, {other} | " + " | ".join(interval(each, signed=True) for each in paired) + " |")
    return lines


def periods() -> list[str]:
    """Return the table of P3."""
    found = traces("periods")
    lines = ["| evaluations every | WC-ACC | missed of the gap ACC - WC-ACC | min-ACC |", "|---|---|---|---|"]
    full = [acc(t) - wc_acc(t) for t in found]
    for period in PERIODS:
        coarse = [thinned(t, period) for t in found]
        missed = [(wc_acc(c) - wc_acc(t)) / gap for c, t, gap in zip(coarse, found, full, strict=True)]
        columns = [[wc_acc(c) for c in coarse], missed, [min_acc(c) for c in coarse]]
        lines.append(f"| {period} | " + " | ".join(interval(column) for column in columns) + " |")
    return [*lines, "", f"ACC {interval([acc(t) for t in found])}; at period 1 the gap is {interval(full)}."]


def coarser(record: Record, period: int) -> Record:
    """Return a record with evaluations at every ``period``-th iteration only, labelled by it."""
    assert record.trace is not None
    label = f"er, evaluated every {period}"
    return replace(record, key=f"{record.key}-{period}", label=label, trace=thinned(record.trace, period))


def under_one_name(record: Record, angle: int, shipped: dict[str, Any]) -> Record:
    """Return a record labelled by its angle, under the shipped benchmark: the angle is what the picture compares."""
    cell = {**record.cell, "stream": shipped}
    return replace(record, label=f"er, {angle} degrees", cell=cell, data="", fingerprint="")


def pictures() -> None:
    """Draw a picture for each claim."""
    shipped = plan("rotated-mnist").cells[0].config["stream"]
    by_angle = [
        under_one_name(record, angle, shipped) for angle in ANGLES for record in records(HERE / f"angle-{angle}")
    ]
    by_period = [coarser(record, period) for record in records(HERE / "periods") for period in PERIODS]
    plots.save(plots.stability_gap(records(HERE / "rotated")), HERE / "rotated.png")
    plots.save(plots.stability_gap(by_angle), HERE / "angles.png")
    plots.save(plots.switch_gaps(by_period), HERE / "periods.png")


def main(
    data_dir: Annotated[str | None, typer.Option(help="Folder of the data sets.")] = None,
    seeds: Annotated[int, typer.Option(help="Seeds of every claim.")] = 5,
    jobs: Annotated[str, typer.Option(help="Cells at a time.")] = "auto",
    *,
    from_records: Annotated[
        bool, typer.Option("--from-records", help="Run nothing: tables and pictures from the existing records.")
    ] = False,
) -> None:
    """Run the unfinished cells, and write the tables and pictures."""
    if not from_records:
        for folder, (benchmark, strategy, overrides) in RUNS.items():
            clbench.run(
                benchmark, strategies=strategy, seeds=seeds, out=HERE / folder, overrides=overrides, jobs=jobs,
                data_dir=data_dir,
            )  # fmt: skip
    counts = sorted({len(traces(folder)) for folder in RUNS})
    versions = sorted({str(r.environment["clbench"]) for folder in RUNS for r in records(HERE / folder)})
    parts = [
        f"{' to '.join(map(str, counts))} seeds; percent, mean ± half-width of the 95 % Student-t interval; clbench "
        f"{', '.join(versions)}.",
        "",
        f"Runs: `{COMMAND} --data-dir DATA --seeds {counts[-1]}`; these tables and pictures from the records: "
        f"`{COMMAND} --from-records`.",
    ]
    for title, made, picture in (
        ("P1: joint training dips at a switch", joint_dip(), "rotated.png"),
        ("P2: the gap grows with the angle", angles(), "angles.png"),
        ("P3: what a coarser period misses", periods(), "periods.png"),
    ):
        parts += ["", f"## {title}", "", *made, "", f"![{title}]({picture})"]
    (HERE / "results.md").write_text("\n".join(parts) + "\n", encoding="utf-8")
    print("\n".join(parts))
    pictures()


if __name__ == "__main__":
    typer.run(main)

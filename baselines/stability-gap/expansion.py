"""How much of the published stability gap exists before any training, from records:
``python baselines/stability-gap/expansion.py``.

At a switch of a class-incremental stream new outputs begin to compete with the old ones, so that old tasks lose
accuracy although no weight has changed. Published depths, measured from the end of the previous experience, include
this loss; depths from the evaluation at the switch do not. The script reads the records of all committed benchmarks,
or of the given folders, and runs nothing. It writes ``expansion.md``, a table for each benchmark with new outputs,
and ``expansion.png``.

All numbers are means over seeds with the half-width of their 95 % Student-t interval; differences and shares are
computed within a seed first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from clbench import plots
from clbench.api import records
from clbench.comparison.record_groups import by_benchmark, by_strategy, is_finished
from clbench.core.record import Record, Trace
from clbench.metrics import Switches, Undefined, gap_depth_relative, measured_from_switches, switches
from clbench.metrics.interval import half_width
from clbench.plots import style

HERE = Path(__file__).parent
COMMAND = "python baselines/stability-gap/expansion.py"
TRAINING, EXPANSION = "by training", "before any step"
FRAME = """\
At a switch of a class-incremental stream the outputs of new classes begin to compete. Old tasks lose accuracy by this
alone, before any step. Training then adds to the loss. The published depth (`gap_depth@1`), measured from the end of
the previous experience, contains both: it is the sum of the expansion (`gap_expansion`) and the depth by training
(`gap_depth`), except for pairs in which training only gains. The relative depth is the depth by training as a share of
the accuracy at the switch, over old tasks above chance (`gap_depth_relative`).

Percent, mean ± half-width of the 95 % Student-t interval over seeds; parts and shares are computed within a seed, then
averaged. Made from the records by `{}`."""


@dataclass(frozen=True)
class Row:
    """Hold the values of one strategy on one benchmark, one for each seed.

    Args:
        label: The strategy.
        published: Depth from the end of the previous experience, in [0, 1].
        expansion: Accuracy lost between that end and the evaluation at the switch, before any step.
        training: Depth from the evaluation at the switch.
        relative: The same as a share of the accuracy at the switch; NaN if no old task was above chance.
        pairs: Number of old tasks above chance at a switch, and of all.
    """

    label: str
    published: np.ndarray
    expansion: np.ndarray
    training: np.ndarray
    relative: np.ndarray
    pairs: str

    @property
    def before(self) -> np.ndarray:
        """Return the part of the published depth that exists before any step.

        This is the expansion, less what training regains of it without falling.
        """
        return self.published - self.training


@dataclass(frozen=True)
class Group:
    """The rows of one folder of results.

    Args:
        title: Benchmark, setting and folder.
        rows: The deepest published gap first.
        older: Strategies whose records have no looks at switches, and need them.
    """

    title: str
    rows: list[Row]
    older: list[str]

    @property
    def arrive(self) -> bool:
        """Whether any outputs arrive."""
        return any(bool(row.expansion.any()) for row in self.rows)


def folders(root: Path) -> list[Path]:
    """All folders of results below one."""
    return sorted(path.parent for path in root.rglob("records") if path.is_dir())


def read(folder: Path, root: Path) -> list[Group]:
    """What the records of a folder tell, by benchmark; runs in which no task is ever absent or which were not looked at
    between ends are left out."""
    told = [each for each in records(folder) if is_finished(each) and each.trace is not None and _has_gaps(each.trace)]
    return [_group(name, found, folder, root) for name, found in by_benchmark(told).items()]


def _group(benchmark: str, found: list[Record], folder: Path, root: Path) -> Group:
    runs = {label: [each.trace for each in own if each.trace] for label, own in by_strategy(found).items()}
    older = sorted(label for label, traces in runs.items() if not all(map(measured_from_switches, traces)))
    rows = [_row(label, traces) for label, traces in runs.items() if label not in older]
    rows.sort(key=lambda row: -row.published.mean())
    setting = found[0].cell["stream"].get("setting")
    place = folder.relative_to(root) if folder.is_relative_to(root) else folder.name
    return Group(f"{', '.join(filter(None, [benchmark, setting]))} (`{place}`)", rows, older)


def _has_gaps(trace: Trace) -> bool:
    try:
        switches(trace, since="end")
    except Undefined:
        return False
    return True


def _row(label: str, traces: Sequence[Trace]) -> Row:
    before, now = [switches(trace, since="end") for trace in traces], [switches(trace) for trace in traces]
    return Row(
        label,
        np.array([each.depth.mean() for each in before]),
        np.array([each.expansion.mean() for each in now]),
        np.array([each.depth.mean() for each in now]),
        np.array([_or_nothing(trace) for trace in traces]),
        _above_chance(now),
    )


def _above_chance(found: Sequence[Switches]) -> str:
    try:
        return f"{sum(int(each.above_chance.sum()) for each in found)} of {sum(map(len, found))}"
    except Undefined:
        return "-"


def _or_nothing(trace: Trace) -> float:
    try:
        return gap_depth_relative(trace)
    except Undefined:
        return np.nan


def interval(values: np.ndarray) -> str:
    """``12.3 ± 0.4``, in percent, over the seeds that have a value."""
    known = values[np.isfinite(values)]
    if not len(known):
        return "-"
    half = f" ± {100 * float(half_width(known)):.1f}" if len(known) > 1 else ""
    return f"{100 * float(known.mean()):.1f}{half}" + (f" (n={len(known)})" if len(known) < len(values) else "")


def share(row: Row) -> np.ndarray:
    """Return for each seed the share of the published depth that exists before any step; NaN without depth."""
    return np.divide(row.before, row.published, out=np.full(len(row.published), np.nan), where=row.published > 0)


def table(group: Group) -> list[str]:
    """Return one benchmark as a Markdown table."""
    heads = (
        "strategy", "seeds", "depth as published", "expansion", "depth by training", "share before any step",
        "relative depth", "pairs above chance",
    )  # fmt: skip
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in group.rows:
        parts = (row.published, row.expansion, row.training, share(row), row.relative)
        columns = [
            f"`{row.label}`",
            str(len(row.published)),
            *map(interval, parts),
            row.pairs,
        ]
        lines.append(f"| {' | '.join(columns)} |")
    return lines


def picture(groups: Sequence[Group], path: Path) -> None:
    """Draw the published depth of every strategy as a bar, divided into the parts before and by training."""
    heights = [max(2, len(group.rows)) for group in groups]
    figure = style.canvas(
        9.0,
        1.6 + 0.27 * sum(heights) + 0.7 * len(groups),
        title="What opens the stability gap",
        caption="gap depth as published, percentage points; thin: 95 % intervals of the part and of the whole",
    )
    panels = figure.subplots(len(groups), 1, squeeze=False, sharex=True, height_ratios=heights)[:, 0]
    for axes, group in zip(panels, groups, strict=True):
        places = np.arange(len(group.rows))
        part = np.array([row.before.mean() for row in group.rows])
        whole = np.array([row.published.mean() for row in group.rows])
        halves = [
            np.array([np.nan_to_num(half_width(each)) if len(each) > 1 else 0.0 for each in values])
            for values in ([row.before for row in group.rows], [row.published for row in group.rows])
        ]
        bars: dict[str, Any] = {"height": 0.7, "error_kw": {"elinewidth": 1.0, "capsize": 2, "ecolor": style.INK}}
        axes.barh(places, part, xerr=halves[0], color=plots.COLOURS[1], label=EXPANSION, **bars)
        axes.barh(places, whole - part, left=part, xerr=halves[1], color=plots.COLOURS[0], label=TRAINING, **bars)
        style.plain(axes, measure=None, grid="x")
        axes.set_yticks(places, [row.label for row in group.rows], fontsize=8)
        axes.set_ylim(len(group.rows) - 0.4, -0.6)
        axes.set_title(group.title.replace("`", ""), loc="left", fontsize=10, color=style.INK)
        axes.set_xlim(left=0)
        style.label_scores(axes.xaxis)
    style.legend(figure, panels[0])
    plots.save(figure, path)


def main(
    given: Annotated[list[Path] | None, typer.Argument(metavar="[FOLDER...]", help="Folders of results.")] = None,
    out: Annotated[Path, typer.Option(help="Where to write.")] = HERE,
) -> None:
    """Write the tables and the picture."""
    root = HERE.parent
    found = [group for folder in given or folders(root) for group in read(folder, root)]
    arriving = [group for group in found if group.rows and group.arrive]
    still = [group.title for group in found if group.rows and not group.arrive]
    older = [f"{group.title}: {', '.join(f'`{label}`' for label in group.older)}" for group in found if group.older]
    lines = ["# How much of the stability gap exists before any training", "", *FRAME.format(COMMAND).splitlines()]
    for group in arriving:
        lines += ["", f"## {group.title}", "", *table(group)]
    if arriving:
        lines += ["", "![What opens the stability gap](expansion.png)"]
    if still:
        lines += [
            "",
            "## Streams without new outputs",
            "",
            "On these there is no expansion, and the depth is the published one:",
            "",
        ]
        lines += [f"- {title}" for title in still]
    if older:
        lines += [
            "",
            "## Not measured",
            "",
            "Records without evaluations at switches, on streams with new outputs:",
            "",
        ]
        lines += [f"- {text}" for text in older]
    (out / "expansion.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))
    if arriving:
        picture(arriving, out / "expansion.png")


if __name__ == "__main__":
    typer.run(main)

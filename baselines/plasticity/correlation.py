"""Whether learning accuracy falls with the fraction of active units, from records:
``python baselines/plasticity/correlation.py``.

The script reads the records of ``permuted-digits-plasticity`` in this folder, or of another one, and runs nothing. For
each seed it ranks the 50 experiences by a reading at their end and by the accuracy on the permutation that was just
learned, and correlates the ranks. It writes the tables of ``README.md`` between its markers, and ``learning.png``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from scipy.stats import spearmanr

from clbench import plots
from clbench.api import records
from clbench.comparison.record_groups import by_strategy, is_finished
from clbench.core.record import Trace
from clbench.metrics import end_scores, reading_at_ends
from clbench.metrics.interval import half_width
from clbench.plots import style

HERE = Path(__file__).parent
BEGIN, END = "<!-- begin: written by correlation.py -->\n", "<!-- end -->\n"
READINGS = {
    "fau": "active units",
    "dormant": "dormant units",
    "effective_rank": "effective rank",
    "weight_norm": "norm of the weights",
    "gradient_norm": "norm of the gradient",
}
FEW = 10
"""Experiences at the beginning and at the end whose means are compared."""

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Row:
    """Hold what is known of a reading of one strategy, one value for each seed.

    Args:
        first, last: Mean of the reading over the first and the last experiences.
        rho: Rank correlation with the learning accuracy over experiences.
        changes: The same for the changes from one experience to the next, in which a common trend has no part.
    """

    first: Values
    last: Values
    rho: Values
    changes: Values


def learned(trace: Trace) -> Values:
    """Return the accuracy on the task of each experience at its end, (E,)."""
    scores = end_scores(trace)
    return np.array([own[here].mean() for own, here in zip(scores, trace.present, strict=True)])


def row(traces: Sequence[Trace], name: str) -> Row:
    """Return a row of the table: a reading of the traces of one strategy."""
    values = [reading_at_ends(trace, name) for trace in traces]
    accuracy = [learned(trace) for trace in traces]
    pairs = list(zip(values, accuracy, strict=True))
    return Row(
        np.array([each[:FEW].mean() for each in values]),
        np.array([each[-FEW:].mean() for each in values]),
        np.array([spearmanr(a, b).statistic for a, b in pairs]),
        np.array([spearmanr(np.diff(a), np.diff(b)).statistic for a, b in pairs]),
    )


def told(values: Values, digits: int, factor: float = 1.0) -> str:
    """Return mean ± half-width of the 95 % interval over seeds."""
    half = factor * float(half_width(values))
    return f"{factor * values.mean():.{digits}f} ± {half:.{digits}f}".replace("-", "−")


def tables(traces: Mapping[str, Sequence[Trace]]) -> str:
    """Return the tables of the page."""
    lines = [
        f"| strategy | learning accuracy, first {FEW} | last {FEW} | active units, first {FEW} | last {FEW} |",
        "|---|---|---|---|---|",
    ]
    for label, own in traces.items():
        accuracy, found = [learned(trace) for trace in own], row(own, "fau")
        cells = [
            np.array([each[:FEW].mean() for each in accuracy]),
            np.array([each[-FEW:].mean() for each in accuracy]),
        ]
        shown = " | ".join(told(each, 1, 100) for each in (*cells, found.first, found.last))
        lines.append(f"| {label} | {shown} |")
    lines += [
        "",
        "| strategy | reading | rank correlation with learning accuracy | of changes between experiences |",
        "|---|---|---|---|",
    ]
    for label, own in traces.items():
        for name, words in READINGS.items():
            found = row(own, name)
            lines.append(f"| {label} | {words} | {told(found.rho, 2)} | {told(found.changes, 2)} |")
    return "\n".join([*lines, ""])


def picture(traces: Mapping[str, Sequence[Trace]], path: Path) -> None:
    """Draw learning accuracy over the fraction of active units, a point for each experience, as means over seeds."""
    figure = style.canvas(
        9.5,
        4.6,
        title="Learning accuracy and active units over 50 permutations of digits",
        caption="a point for each permutation, mean of 5 seeds; the darker, the later in the stream",
    )
    panels = figure.subplots(1, len(traces), squeeze=False, sharex=True, sharey=True)[0]
    colours, _ = style.scale_of_shares()
    for axes, (label, own) in zip(panels, traces.items(), strict=True):
        style.plain(axes)
        style.label_scores(axes.xaxis)
        active = np.mean([reading_at_ends(trace, "fau") for trace in own], axis=0)
        accuracy = np.mean([learned(trace) for trace in own], axis=0)
        shade = colours(np.linspace(0.25, 1, len(active)))
        axes.scatter(active, accuracy, c=shade, s=34, linewidths=0.4, edgecolors="white")
        axes.set_title(f"{label}: ρ = {told(row(own, 'fau').rho, 2)}", loc="left", fontsize=10.5, color=style.INK)
        axes.set_xlabel("fraction of active units when the permutation is learned", color=style.INK)
    panels[0].set_ylabel("accuracy on this permutation", color=style.INK)
    plots.save(figure, path)


def main(folder: Annotated[Path, typer.Argument(help="A folder of records.")] = HERE) -> None:
    """Write the tables of README.md and the picture beside it from the records of a folder."""
    finished = [record for record in records(folder) if is_finished(record)]
    found = by_strategy(finished)
    named = {label.partition(" [")[0]: [r.trace for r in own if r.trace is not None] for label, own in found.items()}
    traces = {label: named[label] for label in sorted(named, reverse=True)}
    page = HERE / "README.md"
    text = page.read_text(encoding="utf-8")
    written = re.sub(f"{BEGIN}.*{END}", lambda _: f"{BEGIN}{tables(traces)}{END}", text, flags=re.DOTALL)
    page.write_text(written, encoding="utf-8")
    picture(traces, HERE / "learning.png")


if __name__ == "__main__":
    typer.run(main)

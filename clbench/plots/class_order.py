"""The order in which a stream brings its classes, for plots with a row for each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from clbench.core.errors import Refused
from clbench.core.record import Record, Trace
from clbench.core.types import Index, Mask
from clbench.plots.plotted_runs import Runs

OWN = 2
"""Value in ``Trace.units`` of a task's own classes."""


@dataclass(frozen=True, eq=False)
class ClassOrder:
    """Hold the order of classes of each seed.

    Args:
        units: Seed -> output units (C,) in the order in which the stream brings them; those of one experience by their
            number.
        same: Whether all seeds have the same order.
    """

    units: Mapping[int, Index]
    same: bool

    def __len__(self) -> int:
        return max(map(len, self.units.values()))

    @property
    def names(self) -> list[str]:
        """Return the names of rows: output units if all seeds agree, else positions in the order."""
        if self.same:
            return [str(unit) for unit in next(iter(self.units.values()))]
        return [str(place) for place in range(len(self))]

    @property
    def title(self) -> str:
        """Return the title of the axis of classes."""
        return "class" if self.same else "class, by order of arrival"


def class_order(runs: Runs) -> ClassOrder:
    """Return the order of classes of each seed, from the run of the seed with the most experiences."""
    found: dict[int, tuple[int, Index]] = {}
    for record in (record for own in runs.records.values() for record in own):
        trace = record.trace
        if trace is not None and trace.n_experiences > found.get(record.seed, (0, None))[0]:
            found[record.seed] = (trace.n_experiences, _order(trace))
    units = {seed: order for seed, (_, order) in found.items()}
    first = next(iter(units.values()))
    return ClassOrder(units, all(np.array_equal(order, first) for order in units.values()))


def own_classes(trace: Trace) -> Mask:
    """Return whether each output unit is a class of each task, (T, C)."""
    if trace.units.size:
        return np.asarray(trace.units == OWN)
    if trace.predictions is None:
        return np.ones((trace.n_tasks, trace.class_score.shape[1] if trace.class_score.size else 0), dtype=bool)
    held = trace.predictions.columns
    made = np.zeros((trace.n_tasks, 1 + int(held["label"].max(initial=0))), dtype=bool)
    made[held["task"], held["label"]] = True
    return made


def arrivals(trace: Trace) -> Index:
    """Return the experience in which each class first occurs, (C,); the number of experiences if it never does."""
    own = own_classes(trace)  # (T, C)
    visits: Index = np.where(own, trace.first_visit[:, None], trace.n_experiences)  # (T, C)
    return np.asarray(visits.min(axis=0, initial=trace.n_experiences))


def _order(trace: Trace) -> Index:
    order: Index = np.argsort(arrivals(trace), kind="stable")
    return order


def of_classes(
    runs: Runs, holds: Mapping[str, bool], *, picture: str, what: str, cure: str
) -> tuple[dict[str, list[Record]], str]:
    """Return the runs that a plot of classes can draw, and a caption about those that it leaves out.

    Args:
        runs: The runs.
        holds: Label -> whether all its records contain what the plot needs.
        picture: What is drawn, such as ``a confusion matrix``.
        what: What that is, such as ``predictions``.
        cure: What the user can do, such as ``run the benchmark with --save-predictions``.

    Raises:
        Refused: The runs are not of classes, or no record contains what is needed.
    """
    if runs.measure.chance != "classes":
        raise Refused(
            f"{picture} is of classes, and these runs are scored by {runs.measure.name}; "
            "choose another --kind, such as gap or matrix"
        )
    if not any(holds.values()):
        raise Refused(f"the records of {runs.benchmark} hold no {what}; {cure}")
    without = [label for label, held in holds.items() if not held]
    shown = {label: found for label, found in runs.records.items() if holds[label]}
    return shown, f"no {what}: {', '.join(without)}" if without else ""


def traces_by_seed(records: Sequence[Record]) -> dict[int, Trace]:
    """Return seed -> trace."""
    return {record.seed: record.trace for record in records if record.trace is not None}

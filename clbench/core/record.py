"""What was observed of a run, and the record of a cell: small, pure data. No torch is imported here.

Letters in shape comments: T tasks, E experiences, K looks, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clbench.core.errors import Refused
from clbench.core.measure import ACCURACY, Measure
from clbench.core.types import Index, Mask


class Kind(IntEnum):
    """When a look was taken: before anything, after a step, at the end of an experience (or of the stream), or right
    after an experience was entered, before anything is done about it."""

    START = 0
    STEP = 1
    END = 2
    SWITCH = 3


TOP = 5
"""How many classes are kept of each prediction, the best first."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """What was predicted for every evaluation row at the ends of experiences, read from its file when it is asked for.

    Args:
        path: A Parquet file with the columns ``look``, ``experience``, ``step``, ``task``, ``row``, ``label``,
            ``prediction`` and ``top1`` to ``top5``.
    """

    path: Path

    @cached_property
    def columns(self) -> dict[str, NDArray[np.int32]]:
        """Name -> column.

        Raises:
            Refused: The file is missing or damaged.
        """
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(self.path)
            return {name: table[name].to_numpy() for name in table.column_names}
        except Exception as error:
            raise Refused(
                f"the predictions {self.path} cannot be read ({type(error).__name__}); run the cell anew with "
                "--save-predictions"
            ) from None

    def last(self) -> dict[str, NDArray[np.int32]]:
        """Of the last look: ``task``, ``row``, ``label`` (n,) each, and ``top`` (n, 5)."""
        held = self.columns
        here = held["look"] == held["look"].max(initial=0)
        top = np.stack([held[f"top{place + 1}"][here] for place in range(TOP)], axis=1)
        return {**{name: held[name][here] for name in ("task", "row", "label")}, "top": top}


@dataclass(frozen=True, eq=False)
class Trace:
    """The raw observation of one run; every metric is a pure function of it.

    Args:
        step: (K,) optimiser steps done before each look, ascending.
        kind: (K,) values of :class:`Kind`.
        experience: (K,) experience that was running; -1 at the start look.
        score: (K, T) score of each task, higher is better: accuracy in [0, 1], unless ``measure`` says another; NaN
            where it was not looked at.
        rows: (T,) evaluation rows behind each score.
        present: (E, T) whether a task had rows in an experience.
        every: Optimiser steps between step looks; 0 where there is no one such number: where only ends were looked at,
            or looks are uneven by their schedule.
        seconds: (K,) training seconds before each look, the evaluator's clock stopped.
        masked: (K, T) accuracy when only the task's own classes compete, NaN where not looked; (0, 0) if not recorded.
        class_score: (K, C) accuracy per output unit over the rows looked at, NaN where none; (0, 0) if not recorded. A
            row that several tasks share counts for each of them.
        probe_step: (J,) steps at which the gradient was taken apart; none where that was not asked for.
        probe: (J, 6) what was found then, columns as in ``clbench.training.probe.COLUMNS``.
        units: (T, C) int8, output units at looks at each task: 2 for those of its own classes, 1 for others that
            compete with them at some look, 0 for the rest; (0, 0) in older records.
        competing: (K, T) output units that compete on the rows of each task, 0 where it was not looked at; (0, 0) in
            older records, which have no looks of kind ``SWITCH`` either.
        met: (C,) optimiser steps done before the first batch of the stream that held each output unit, -1 for none;
            (0,) in older records and where another library's loop ran.
        counted: (T,) optimiser steps done before the first batch that held a row of each task, -1 for none, where
            boundaries are hidden: there a task counts from its first row. (0,) elsewhere, where it counts from the
            beginning of the first experience that has rows of it, and in older records.
        settled: Whether the settings of an older record prove that the same units compete on a task at all looks but
            that at the start: all of them do, or task labels are revealed, or all tasks share their classes.
        population: (T,) rows of each task from which ``rows`` of them were drawn, without replacement; (0,) if unknown.
        predictions: Those of every evaluation row at the ends of experiences, where they were kept.
        measure: What a score is.
        spread: (K, T) standard deviation of the scores of rows; (0, 0) where they are 0 or 1.
        further: Other means over the rows of each task, (K, T) by name, that the family of tasks writes down.
    """

    step: Index
    kind: Index
    experience: Index
    score: NDArray[np.float64]
    rows: Index
    present: Mask
    every: int = 1
    seconds: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    masked: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 0)))
    class_score: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 0)))
    probe_step: Index = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    probe: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 6)))
    population: Index = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    units: NDArray[np.int8] = field(default_factory=lambda: np.zeros((0, 0), dtype=np.int8))
    competing: NDArray[np.int32] = field(default_factory=lambda: np.zeros((0, 0), dtype=np.int32))
    met: Index = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    counted: Index = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    settled: bool = False
    predictions: Predictions | None = None
    measure: Measure = ACCURACY
    spread: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 0)))
    further: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        looks, tasks = self.score.shape
        for name in ("step", "kind", "experience"):
            if getattr(self, name).shape != (looks,):
                raise ValueError(f"trace.{name} has shape {getattr(self, name).shape}; score asks for ({looks},)")
        if self.rows.shape != (tasks,) or self.present.ndim != 2 or self.present.shape[1] != tasks:
            raise ValueError(
                f"trace.rows has shape {self.rows.shape} and trace.present {self.present.shape}; "
                f"score asks for ({tasks},) and (experiences, {tasks})"
            )
        optional = {
            "masked": (looks, tasks),
            "competing": (looks, tasks),
            "spread": (looks, tasks),
            "class_score": (looks, *self.class_score.shape[1:]),
            "population": (tasks,),
            "units": (tasks, *self.units.shape[1:]),
            "met": self.met.shape[:1],
            "counted": (tasks,),
        }
        for name, shape in optional.items():
            held = getattr(self, name)
            if held.size and held.shape != shape:
                raise ValueError(f"trace.{name} has shape {held.shape}; score asks for {shape}")

    def at(self, looks: Mask | Index) -> Trace:
        """The trace of some of its looks, (K,) bool or (n,) their positions, ascending."""
        columns = ("step", "kind", "experience", "score", "seconds", "masked", "class_score", "competing", "spread")
        further = {name: held[looks] for name, held in self.further.items()}
        chosen = {name: held[looks] for name in columns if (held := getattr(self, name)).size}
        return replace(self, **chosen, further=further)

    @property
    def n_tasks(self) -> int:
        return int(self.score.shape[1])

    @property
    def n_experiences(self) -> int:
        return int(self.present.shape[0])

    @cached_property
    def first_visit(self) -> Index:
        """(T,) experience in which each task first had rows; the number of experiences where it never had."""
        return np.where(self.present.any(axis=0), self.present.argmax(axis=0), self.n_experiences)

    @cached_property
    def seen(self) -> Mask:
        """(K, T) whether a row of each task had been met by each look.

        From the beginning of the first experience that has rows of it; where boundaries are hidden and first rows are
        recorded, from the first row on, so that it does not depend on where the stream is cut.
        """
        if not self.counted.size:
            return np.asarray(self.first_visit <= self.experience[:, None])
        return (self.counted >= 0) & (self.counted < self.step[:, None])

    @cached_property
    def standard_error(self) -> NDArray[np.float64]:
        """(K, T) standard error of each score as an estimate of the score on all N test rows of its task.

        For n rows drawn without replacement whose scores have variance v, sqrt(v / n · (N - n) / (N - 1)): 0 where all
        rows are looked at, NaN where none. For an accuracy p, v = p (1 - p). Where N is unknown, the last factor is
        left out. Rows are drawn stratified by label,
        so this is rather too large than too small.

        Source: W. G. Cochran 1977, Sampling Techniques, section 3.2.
        """
        variance = np.square(self.spread) if self.spread.size else self.score * (1 - self.score)
        return self._error(variance)

    def error_of(self, score: NDArray[np.float64]) -> NDArray[np.float64]:
        """The same for any accuracies (..., T) on the evaluation rows of each task."""
        return self._error(score * (1 - score))

    def _error(self, variance: NDArray[np.float64]) -> NDArray[np.float64]:
        n, left = self.rows, np.ones(self.n_tasks)
        if self.population.size:
            left = np.where(n < self.population, (self.population - n) / np.maximum(self.population - 1, 1), 0.0)
        return np.sqrt(np.maximum(variance, 0.0) / np.maximum(n, 1) * left)


# --------------------------------------------------------------------------------------------------- records

HOSTS = ("avalanche",)
"""Libraries whose own loops run strategies, by the scheme in the strategies' names."""

STATUSES = ("done", "skipped", "diverged", "failed")


@dataclass(frozen=True, eq=False)
class Record:
    """Everything about one cell (benchmark, strategy, seed). Metrics are not stored: they are computed from the trace.

    Args:
        key: Content hash of the cell, 16 hex digits.
        cell: The cell itself: benchmark, strategy and seed in canonical form.
        label: The strategy's name on boards, with overrides.
        status: One of ``done skipped diverged failed``.
        reason: Why, where the status is not ``done``.
        trace: The observation; ``None`` where nothing was observed.
        fingerprint: The stream's.
        cost: What the run spent; see ``clbench.core.cost``.
        alarms: Sentences about things that look wrong although nothing failed.
        environment: Versions, hardware, device, commit.
        created: Time of writing, ISO 8601, UTC.
        data: Checksum of the data set that its stream was made of; empty in older records.
    """

    key: str
    cell: dict[str, Any]
    label: str
    status: str
    reason: str = ""
    trace: Trace | None = None
    fingerprint: str = ""
    cost: dict[str, float] = field(default_factory=dict)
    alarms: tuple[str, ...] = ()
    environment: dict[str, Any] = field(default_factory=dict)
    created: str = ""
    data: str = ""

    @property
    def benchmark(self) -> str:
        """Name and version, such as ``split-digits@1``."""
        return f"{self.cell['benchmark']['name']}@{self.cell['benchmark']['version']}"

    @property
    def seed(self) -> int:
        return int(self.cell["seed"])

    @property
    def engine(self) -> str:
        """Whose loop ran it: ``clbench``, or the library of a hosted strategy, such as ``avalanche``."""
        schemes = {str(item.get("name", "")).partition(":")[0] for item in self.cell.get("strategy", ())}
        return next((engine for engine in HOSTS if engine in schemes), "clbench")

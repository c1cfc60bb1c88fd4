"""The trace of a run and the record of a cell: small, plain data. This module imports no torch.

Letters in shape comments: T tasks, E experiences, K evaluations, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clbench.core.errors import Refused
from clbench.core.measure import ACCURACY, Measure
from clbench.core.trace_on_demand import HeldTrace, with_trace_in_memory
from clbench.core.types import Index, Mask, content_hash


class Kind(IntEnum):
    """Name the moment of an evaluation.

    It is taken at the start, after a step, at the end of an experience (or of the stream), or at a switch: after an
    experience began and before its first step.
    """

    START = 0
    STEP = 1
    END = 2
    SWITCH = 3


TOP = 5
"""Number of classes that are kept for each prediction, the best first."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """Read the predictions for all evaluation samples at the ends of experiences, from their file when they are first
    used.

    Args:
        path: A Parquet file with the columns ``look``, ``experience``, ``step``, ``task``, ``row``, ``label``,
            ``prediction`` and ``top1`` to ``top5``.
    """

    path: Path

    @cached_property
    def columns(self) -> dict[str, NDArray[np.int32]]:
        """Return the columns by name.

        Raises:
            Refused: The file is missing or damaged.
        """
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(self.path)
            return {name: table[name].to_numpy() for name in table.column_names}
        except Exception as error:
            raise Refused(
                f"the predictions {self.path} cannot be read ({type(error).__name__}); run the cell again with "
                "--save-predictions"
            ) from None

    def last(self) -> dict[str, NDArray[np.int32]]:
        """Return the predictions of the last evaluation: ``task``, ``row``, ``label`` (n,) each, and ``top`` (n, 5)."""
        held = self.columns
        here = held["look"] == held["look"].max(initial=0)
        top = np.stack([held[f"top{place + 1}"][here] for place in range(TOP)], axis=1)
        return {**{name: held[name][here] for name in ("task", "row", "label")}, "top": top}


class Reading(NamedTuple):
    """Hold a reading of a run: what was inside its network at some steps.

    Args:
        steps: (J,) number of optimiser steps before each reading, ascending.
        values: (J, ...) float32, what was read; NaN where there was no value.
    """

    steps: Index
    values: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Trace:
    """Hold all observations of one run. Every metric is a pure function of a trace.

    Args:
        step: (K,) number of optimiser steps before each evaluation, ascending.
        kind: (K,) values of :class:`Kind`.
        experience: (K,) the running experience; -1 in the evaluation at the start.
        score: (K, T) score on each task, higher is better: accuracy in [0, 1], unless ``measure`` is another one; NaN
            if the task was not evaluated.
        rows: (T,) number of evaluation samples of each task.
        present: (E, T) whether an experience had samples of a task.
        every: Optimiser steps between two evaluations of kind ``STEP``. 0 if there is no single number: only ends were
            evaluated, or the schedule is uneven.
        seconds: (K,) training time in seconds before each evaluation, without the time of evaluations.
        masked: (K, T) accuracy if only the task's own classes compete, NaN if not evaluated; (0, 0) if not recorded.
        class_score: (K, C) accuracy of each output unit over the evaluated samples, NaN if it has none; (0, 0) if not
            recorded. A sample of several tasks counts once for each of them.
        probe_step: (J,) steps at which the probe decomposed the gradient; empty if the probe was off.
        probe: (J, 6) results of the probe; the columns are ``clbench.training.gradient_probe.COLUMNS``.
        units: (T, C) int8, output units in evaluations of each task: 2 for the task's own classes, 1 for others that
            compete with them in some evaluation, 0 for the rest; (0, 0) in older records.
        competing: (K, T) number of output units that compete on the samples of each task, 0 if it was not evaluated;
            (0, 0) in older records, which have no evaluations of kind ``SWITCH`` either.
        met: (C,) number of optimiser steps before the first batch of the stream that held each output unit, -1 if there
            was none; (0,) in older records and if the loop of another library ran.
        counted: (T,) number of optimiser steps before the first batch that held a sample of each task, -1 if there was
            none. It is recorded where boundaries are hidden, since a task counts from its first sample there. (0,) in
            older records and where boundaries are visible: a task then counts from the beginning of its first
            experience.
        settled: For older records: whether their settings prove that the same units compete on a task in all
            evaluations after the start. This holds if all units compete, if task labels are revealed, or if all tasks
            share their classes.
        population: (T,) number of test samples of each task, from which ``rows`` were drawn without replacement; (0,)
            if unknown.
        predictions: The predictions of all evaluation samples at the ends of experiences, if they were kept.
        measure: The measure of the scores, such as accuracy.
        spread: (K, T) standard deviation of the scores of samples; (0, 0) if each score is 0 or 1.
        further: (K, T) structured array, a field for each other mean over the samples of a task that the family of
            tasks records; (0, 0) if there is none.
        readings: Name of a reading, such as ``fau`` or ``dormant(tau=0.1)`` -> its steps and values; empty if none were
            taken.
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
    further: NDArray[Any] = field(default_factory=lambda: np.zeros((0, 0)))
    readings: Mapping[str, Reading] = field(default_factory=dict)

    def __post_init__(self) -> None:
        looks, tasks = self.score.shape
        for name in ("step", "kind", "experience"):
            if getattr(self, name).shape != (looks,):
                raise ValueError(f"trace.{name} has shape {getattr(self, name).shape}; expected ({looks},)")
        if self.rows.shape != (tasks,) or self.present.ndim != 2 or self.present.shape[1] != tasks:
            raise ValueError(
                f"trace.rows has shape {self.rows.shape} and trace.present {self.present.shape}; "
                f"expected ({tasks},) and (experiences, {tasks})"
            )
        optional = {
            "masked": (looks, tasks),
            "competing": (looks, tasks),
            "spread": (looks, tasks),
            "further": (looks, tasks),
            "class_score": (looks, *self.class_score.shape[1:]),
            "population": (tasks,),
            "units": (tasks, *self.units.shape[1:]),
            "met": self.met.shape[:1],
            "counted": (tasks,),
        }
        for name, shape in optional.items():
            held = getattr(self, name)
            if held.size and held.shape != shape:
                raise ValueError(f"trace.{name} has shape {held.shape}; expected {shape}")
        for name, reading in self.readings.items():
            if reading.steps.ndim != 1 or reading.values.shape[:1] != reading.steps.shape:
                raise ValueError(
                    f"the reading {name!r} of a trace has steps of shape {reading.steps.shape} and values of shape "
                    f"{reading.values.shape}; expected (J,) and (J, ...)"
                )

    def at(self, looks: Mask | Index) -> Trace:
        """Return the trace of some evaluations, given as (K,) bool or as (n,) ascending positions."""
        always = ("step", "kind", "experience", "score", "seconds")
        columns = (*always, "masked", "class_score", "competing", "spread", "further")
        chosen = {name: held[looks] for name in columns if (held := getattr(self, name)).size}
        return replace(self, **chosen)

    @property
    def n_tasks(self) -> int:
        return int(self.score.shape[1])

    @property
    def n_experiences(self) -> int:
        return int(self.present.shape[0])

    @cached_property
    def first_visit(self) -> Index:
        """Return the experience in which each task first had samples, (T,); the number of experiences if it never had
        any."""
        return np.where(self.present.any(axis=0), self.present.argmax(axis=0), self.n_experiences)

    @cached_property
    def seen(self) -> Mask:
        """Return whether a sample of each task had been met before each evaluation, (K, T).

        A task counts from the beginning of the first experience that has samples of it. If boundaries are hidden and
        first samples are recorded, it counts from its first sample, so that the split into experiences does not matter.
        """
        if not self.counted.size:
            return np.asarray(self.first_visit <= self.experience[:, None])
        return (self.counted >= 0) & (self.counted < self.step[:, None])

    @cached_property
    def standard_error(self) -> NDArray[np.float64]:
        """Return the standard error (K, T) of each score as an estimate of the score on all N test samples of its task.

        For n samples drawn without replacement whose scores have variance v it is sqrt(v / n · (N - n) / (N - 1)). For
        an accuracy p, v = p (1 - p). It is 0 if all samples are evaluated, and NaN if none are. If N is unknown, the
        last factor is left out. Samples are drawn stratified by label, so this error is slightly too large rather than
        too small.

        Source: W. G. Cochran 1977, Sampling Techniques, section 3.2.
        """
        variance = np.square(self.spread) if self.spread.size else self.score * (1 - self.score)
        return self._error(variance)

    def error_of(self, score: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the standard error of any accuracies (..., T) on the evaluation samples of each task."""
        return self._error(score * (1 - score))

    def _error(self, variance: NDArray[np.float64]) -> NDArray[np.float64]:
        n, left = self.rows, np.ones(self.n_tasks)
        if self.population.size:
            left = np.where(n < self.population, (self.population - n) / np.maximum(self.population - 1, 1), 0.0)
        return np.sqrt(np.maximum(variance, 0.0) / np.maximum(n, 1) * left)


# --------------------------------------------------------------------------------------------------- records

HOSTS = ("avalanche",)
"""Libraries that run strategies in loops of their own. Each name is the scheme in the strategies' names."""

STATUSES = ("done", "skipped", "diverged", "failed")


@dataclass(frozen=True, eq=False, repr=False)
class Record:
    """Hold the result of one cell (benchmark, strategy, seed). Metrics are not stored; they are computed from the
    trace.

    Args:
        key: Content hash of the cell, 16 hex digits.
        cell: The cell itself: benchmark, strategy and seed in canonical form.
        label: The strategy's name on leaderboards, with overrides.
        status: ``done``, ``skipped``, ``diverged`` or ``failed``.
        reason: The reason if the status is not ``done``.
        trace: The observations; ``None`` if there are none. A record that was read from a file reads its trace when it
            is asked for.
        fingerprint: The fingerprint of the stream.
        cost: The cost of the run; see ``clbench.core.cost``.
        alarms: Sentences about results that look wrong although nothing failed.
        environment: Versions, hardware, device, commit.
        created: Time of writing, ISO 8601, UTC.
        data: Checksum of the data set of the stream; empty in older records.
        traceback: The traceback of a failed cell, with short paths; empty for any other cell, and in older records.
        trace_digest: Digest of what the cell determines in its trace: equal runs have equal digests. Empty without a
            trace, and in older records.
        code: Digests of the code that determined the run: ``engine`` and ``strategy``. Empty in older records.
        attempts: The starts of the cell, one mapping each, in order; empty in older records.
        tuning: How the settings were found, such as the protocol and the number of trials; empty if they were given.
    """

    key: str
    cell: dict[str, Any]
    label: str
    status: str
    reason: str = ""
    trace: HeldTrace = HeldTrace()  # noqa: RUF009 a descriptor: its users get a Trace or None
    fingerprint: str = ""
    cost: dict[str, float] = field(default_factory=dict)
    alarms: tuple[str, ...] = ()
    environment: dict[str, Any] = field(default_factory=dict)
    created: str = ""
    data: str = ""
    traceback: str = ""
    trace_digest: str = ""
    code: dict[str, str] = field(default_factory=dict)
    attempts: tuple[dict[str, Any], ...] = ()
    tuning: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        told = f": {self.reason}" if self.reason else ""
        return f"Record({self.label}, seed {self.seed}, {self.benchmark}, {self.key}, {self.status}{told})"

    def _repr_html_(self) -> str:
        from clbench import html

        text: str = html(self)
        return text

    def __getstate__(self) -> dict[str, Any]:
        return with_trace_in_memory(self)

    @property
    def has_trace(self) -> bool:
        """Return whether there is a trace, without reading it."""
        return self.__dict__["trace"] is not None

    @property
    def stored_trace(self) -> Any:
        """Return the ``StoredTrace`` of a record that was read from a file, else
        ``None``."""
        held = self.__dict__["trace"]
        return held if getattr(held, "directory", None) is not None else None

    @cached_property
    def settings(self) -> str:
        """Return the content hash of the cell without its seed: equal in records that differ only in the seed."""
        return content_hash({name: value for name, value in self.cell.items() if name != "seed"})

    @property
    def benchmark(self) -> str:
        """Return name and version of the benchmark, such as ``split-digits@1``."""
        return f"{self.cell['benchmark']['name']}@{self.cell['benchmark']['version']}"

    @property
    def seed(self) -> int:
        return int(self.cell["seed"])

    @property
    def engine(self) -> str:
        """Return whose loop ran the cell: ``clbench``, or another library such as ``avalanche``."""
        schemes = {str(item.get("name", "")).partition(":")[0] for item in self.cell.get("strategy", ())}
        return next((engine for engine in HOSTS if engine in schemes), "clbench")


class Records(list[Record]):
    """List records; a notebook shows them as their leaderboard."""

    def _repr_html_(self) -> str | None:
        from clbench import html

        return html(list(self)) if self else None

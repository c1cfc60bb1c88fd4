"""Run each row once on data that a secret key has changed: a strategy that knows the test samples fails there."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace

from clbench.core.record import Record
from clbench.core.types import Dataset
from clbench.running.cell_key import Cell
from clbench.running.user_objects import UserObjects
from clbench.submission.bands import FEWEST, band_above
from clbench.submission.cell_runs import RunSettings, cell_of, run_whole
from clbench.submission.rerun_results import HONEST_SEEDS, RerunResult
from clbench.submission.secret_data import learns_any_order_of_inputs, secret_data
from clbench.submission.submitted_rows import SubmittedRow, rows_of, values
from clbench.submission.trusted_code import NotRunnable

CHECK = "secret data"
METRIC = "acc"
"""The metric that is compared with the submitted seeds; higher is better."""


def try_secret_data(
    records: Sequence[Record], *, settings: RunSettings | None = None, key: int | None = None, metric: str = METRIC
) -> list[RerunResult]:
    """Run the first seed of every row once more, on data that a secret key has changed.

    Args:
        records: All records of the submission, as they were read from it.
        settings: How cells are run.
        key: The key; by default it is drawn by the operating system, so that nobody knows it before.
        metric: The metric that is compared; higher is better.

    Returns:
        One result for each row: its value must not be below the band of the submitted seeds. The sentence contains the
        key, with which the run can be repeated.
    """
    how, found = settings or RunSettings(), rows_of(records)
    trial = _Trial(how, secrets.randbits(128) if key is None else key, metric, len(found))
    results: dict[str, RerunResult] = {}
    waiting: dict[str, list[_Changed]] = {}
    for row in found:
        planned = trial.planned(row)
        if isinstance(planned, RerunResult):
            results[row.key] = planned
        else:
            waiting.setdefault(planned.data.checksum, []).append(planned)
    for together in waiting.values():  # rows with the same data run at the same time
        given = replace(how.options, given=UserObjects(dataset=together[0].data))
        made = run_whole([each.cell for each in together], replace(how, options=given))
        for each, record in zip(together, made, strict=True):
            results[each.row.key] = trial.judged(each, record)
    return [results[row.key] for row in found]


@dataclass(frozen=True)
class _Changed:
    """Hold a row with the cell that runs on changed data, and the changes in words."""

    row: SubmittedRow
    cell: Cell
    data: Dataset
    changes: str


class _Trial:
    """Plan and judge the runs on the data of one key.

    Args:
        how: How cells are run.
        key: The key.
        metric: The metric that is compared.
        rows: Number of rows of the submission, for which the bands hold together.
    """

    def __init__(self, how: RunSettings, key: int, metric: str, rows: int) -> None:
        self._how, self._key, self._metric, self._rows = how, key, metric, rows
        self._made: dict[str, tuple[Dataset, str]] = {}

    def planned(self, row: SubmittedRow) -> _Changed | RerunResult:
        """Return the run of a row, or the result if it cannot be run."""
        held = len(row.values(self._metric))
        if held < FEWEST:
            return _result(row, f"cannot be judged on secret data: it has {held} seeds, and a band needs {FEWEST}")
        if row.records[0].cell["training"].get("stop"):
            told = "not run on secret data, because early stopping measures held-out samples of the plain data"
            return _result(row, told, holds=True)
        try:
            cell = cell_of(row.records[0], trust=self._how.trust)
            return _Changed(row, cell, *self._data(cell, [record.seed for record in row.records]))
        except NotRunnable as error:
            return _result(row, f"cannot be run on secret data: {error}")
        except Exception as error:  # a stranger's configuration may fail anywhere
            return _result(row, f"its data cannot be changed ({type(error).__name__}: {error})")

    def _data(self, cell: Cell, seeds: Sequence[int]) -> tuple[Dataset, str]:
        """Return the changed data of a cell, which is made once for all rows that share it."""
        neutral, pretrained = learns_any_order_of_inputs(cell.config), cell.config["model"].get("weights") is not None
        shared = json.dumps([cell.config["stream"], sorted(seeds)[:2], neutral, pretrained], sort_keys=True)
        if shared not in self._made:
            self._made[shared] = secret_data(cell.config, seeds, self._key, data_dir=self._how.options.data_dir)
        return self._made[shared]

    def judged(self, each: _Changed, made: Record) -> RerunResult:
        """Return what a run on changed data shows."""
        value = values([made], self._metric)
        if made.status != "done" or not value or made.trace is None:
            reason = f": {made.reason}" if made.reason else ""
            return _result(each.row, f"its run on secret data is {made.status}{reason}")
        grain = 1 / int(min(made.trace.rows))
        expected = band_above(each.row.values(self._metric), new=self._rows, grain=grain)
        told = f"{self._metric} is {value[0]:.4g} on data with {each.changes} (key {self._key:#x})"
        if value[0] in expected:
            return _result(each.row, f"{told}, in the band of its seeds (from {expected.low:.4g})", holds=True)
        return _result(
            each.row,
            f"{told}, below the band of its seeds (from {expected.low:.4g}), as if it knew the plain data by heart",
        )


def _result(row: SubmittedRow, told: str, *, holds: bool = False) -> RerunResult:
    seeds = (row.records[0].seed,)
    return RerunResult(CHECK, HONEST_SEEDS, row.key, row.label, seeds, holds, f"{row.label}: {told}")

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
RUNS = 3
"""Number of keys with each of which a row has to be below its band to be called dishonest."""


def try_secret_data(
    records: Sequence[Record], *, settings: RunSettings | None = None, key: int | None = None, metric: str = METRIC
) -> list[RerunResult]:
    """Run the first seed of every row once more, on data that a secret key has changed.

    A row that is below its band there is run with its next seeds and the next keys too, since honest values may have a
    long tail: naive sometimes forgets a part of the last task. A row that is below with each key does not stand.

    Args:
        records: All records of the submission, as they were read from it.
        settings: How cells are run.
        key: The key; by default it is drawn by the operating system, so that nobody knows it before.
        metric: The metric that is compared; higher is better.

    Returns:
        One result for each row: its values must not all be below the band of the submitted seeds. The sentence contains
        the last key, with which the run can be repeated.
    """
    how, found = settings or RunSettings(), rows_of(records)
    key = secrets.randbits(128) if key is None else key
    results: dict[str, RerunResult] = {}
    waiting = found
    for place in range(RUNS):
        trial = _Trial(how, key + place, metric, len(found), place)
        results |= trial.run(waiting)
        waiting = [row for row in waiting if row.key in trial.below]
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
        place: Number of keys before this one; it chooses the seed of each row.

    Attributes:
        below: The keys of rows that are below their bands.
    """

    def __init__(self, how: RunSettings, key: int, metric: str, rows: int, place: int) -> None:
        self._how, self._key, self._metric, self._rows, self._place = how, key, metric, rows, place
        self._made: dict[str, tuple[Dataset, str]] = {}
        self.below: set[str] = set()

    def run(self, rows: Sequence[SubmittedRow]) -> dict[str, RerunResult]:
        """Run each row once, and return the results by the keys of rows. Rows with the same data run together."""
        results: dict[str, RerunResult] = {}
        waiting: dict[str, list[_Changed]] = {}
        for row in rows:
            planned = self.planned(row)
            if isinstance(planned, RerunResult):
                results[row.key] = planned
            else:
                waiting.setdefault(planned.data.checksum, []).append(planned)
        for together in waiting.values():
            given = replace(self._how.options, given=UserObjects(dataset=together[0].data))
            made = run_whole([each.cell for each in together], replace(self._how, options=given))
            for each, record in zip(together, made, strict=True):
                results[each.row.key] = self.judged(each, record)
        return results

    def _record(self, row: SubmittedRow) -> Record:
        return row.records[self._place % len(row.records)]

    def _result(self, row: SubmittedRow, told: str, *, holds: bool = False) -> RerunResult:
        seeds = (self._record(row).seed,)
        return RerunResult(CHECK, HONEST_SEEDS, row.key, row.label, seeds, holds, f"{row.label}: {told}")

    def planned(self, row: SubmittedRow) -> _Changed | RerunResult:
        """Return the run of a row, or the result if it cannot be run."""
        held = len(row.values(self._metric))
        if held < FEWEST:
            return self._result(row, f"cannot be judged on secret data: it has {held} seeds, and a band needs {FEWEST}")
        if row.records[0].cell["training"].get("stop"):
            told = "not run on secret data, because early stopping measures held-out samples of the plain data"
            return self._result(row, told, holds=True)
        try:
            cell = cell_of(self._record(row), trust=self._how.trust)
            return _Changed(row, cell, *self._data(cell, [record.seed for record in row.records]))
        except NotRunnable as error:
            return self._result(row, f"cannot be run on secret data: {error}")
        except Exception as error:  # a stranger's configuration may fail anywhere
            return self._result(row, f"its data cannot be changed ({type(error).__name__}: {error})")

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
            return self._result(each.row, f"its run on secret data is {made.status}{reason}")
        grain = 1 / int(min(made.trace.rows))
        expected = band_above(each.row.values(self._metric), new=self._rows, grain=grain)
        told = f"{self._metric} is {value[0]:.4g} on data with {each.changes} (key {self._key:#x})"
        before = "" if not self._place else f"; it was below with {self._place} other key{'s' * (self._place > 1)}"
        if value[0] in expected:
            return self._result(
                each.row, f"{told}, in the band of its seeds (from {expected.low:.4g}){before}", holds=True
            )
        self.below.add(each.row.key)
        end = f"as if it knew the plain data by heart{before}"
        return self._result(each.row, f"{told}, below the band of its seeds (from {expected.low:.4g}), {end}")

"""Run drawn cells of a submission again, and compare them with what was submitted: the status *reproduced*.

On a platform of the same kind the traces have to be equal. On another one, sums differ in their last bits, and a
prediction changes as soon as two classes are nearly equal. There the first evaluations have to be equal, and the final
metrics of the run here have to lie in the band of the row's other seeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from clbench import metrics
from clbench.comparison.record_difference import Difference
from clbench.core.record import Record, Trace
from clbench.running.cell_key import Cell
from clbench.running.code_digest import code_of
from clbench.submission.bands import FEWEST, band
from clbench.submission.cell_runs import RunSettings, cell_of, run_prefix, run_whole
from clbench.submission.drawn_cells import drawn_cells
from clbench.submission.platforms import platform_difference
from clbench.submission.rerun_results import REPRODUCED, RerunResult
from clbench.submission.trace_agreement import parted
from clbench.submission.trusted_code import NotRunnable

CHECK = "rerun"
FIRST = 20
"""The number of evaluations, at most this many steps in, that are equal on every platform. On split-digits the first
strategy parted at its 25th evaluation."""
FINAL = ("acc", "wc_acc", "gap_depth")
"""The metrics whose values are compared if traces part on another platform: end, lowest values and stability gap."""


def reproduce(
    records: Sequence[Record],
    digest: str,
    count: int,
    *,
    prefix: int | None = None,
    settings: RunSettings | None = None,
) -> list[RerunResult]:
    """Run drawn cells of a submission again.

    Args:
        records: All records of the submission, as they were read from it.
        digest: The sha256 of the submission, from which the cells are drawn.
        count: Number of cells.
        prefix: Number of optimiser steps to run of each cell; ``None`` runs whole cells. A cell that parts on another
            platform is run to its end, because only its final metrics can decide.
        settings: How cells are run.

    Returns:
        One result for each drawn cell, in the order of the draw. Its sentence names the first evaluation that differs.
    """
    how = settings or RunSettings()
    results: dict[str, RerunResult] = {}
    planned: list[_Rerun] = []
    chosen = drawn_cells(records, count, digest, salt=how.salt)
    for record in chosen:
        try:
            cell = cell_of(record, trust=how.trust)
        except NotRunnable as error:
            results[record.key] = _result(record, f"cannot be run again: {error}", holds=False)
            continue
        planned.append(_Rerun(record, cell, _row(record, records), len(chosen)))
    whole = planned if prefix is None else []
    for each in planned if prefix is not None else ():
        assert prefix is not None
        made = run_prefix(each.cell, prefix, how)
        if isinstance(made, Record):
            results[each.record.key] = each.judge(made, how)
        elif (found := each.judge_prefix(made, how)) is None:
            whole.append(each)
        else:
            results[each.record.key] = found
    for each, ended in zip(whole, run_whole([each.cell for each in whole], how), strict=True):
        results[each.record.key] = each.judge(ended, how)
    return [results[record.key] for record in chosen]


def _row(record: Record, records: Sequence[Record]) -> list[Record]:
    """Return the finished records of the same strategy and settings with other seeds."""
    return [
        each
        for each in records
        if each.settings == record.settings and each.seed != record.seed and each.status == "done" and each.has_trace
    ]


@dataclass(frozen=True)
class _Rerun:
    """Judge one cell that is run again.

    Args:
        record: The submitted record.
        cell: The cell that runs here.
        others: The submitted records of the row's other seeds.
        drawn: Number of cells that are run again.
    """

    record: Record
    cell: Cell
    others: list[Record]
    drawn: int

    def judge_prefix(self, ours: Trace, how: RunSettings) -> RerunResult | None:
        """Return the result of the first steps; ``None`` if only the whole run can decide."""
        theirs = self.record.trace
        assert theirs is not None
        difference = parted(theirs, ours, whole=False)
        steps = int(ours.step[-1]) if len(ours.step) else 0
        if difference is None:
            told = f"its first {len(ours.step)} evaluations ({steps} steps) are equal"
            return _result(self.record, told, holds=True)
        other = platform_difference(self.record.environment, how.environment)
        if other and not _early(difference):
            return None
        return self._differs(difference, other)

    def judge(self, made: Record, how: RunSettings) -> RerunResult:
        """Return the result of the whole run."""
        if made.status != self.record.status:
            reason = f" ({made.reason})" if made.reason else ""
            return _result(
                self.record, f"is {self.record.status} in the submission and {made.status} here{reason}", holds=False
            )
        theirs, ours = self.record.trace, made.trace
        assert theirs is not None
        if ours is None:
            return _result(self.record, "has a trace in the submission and none here", holds=False)
        difference = parted(theirs, ours, whole=True)
        if difference is None:
            return _result(self.record, f"its trace is equal in all {len(ours.step)} evaluations", holds=True)
        other = platform_difference(self.record.environment, how.environment)
        if not other or _early(difference):
            return self._differs(difference, other)
        return self._in_the_band(ours, difference, other)

    def _differs(self, difference: Difference, other: str) -> RerunResult:
        """Return the result of a trace that differs where it may not."""
        if other:
            where = f"on another platform ({other}), although the first {FIRST} evaluations are equal on every platform"
        else:
            where = "on a platform of the same kind" + self._other_code()
        return _result(self.record, f"differs from the run here {where}: {difference}", holds=False)

    def _other_code(self) -> str:
        """Return the remark that the submission names other code of clbench, if it does."""
        now = code_of(self.record.cell)
        parts = [name for name in ("engine", "strategy") if self.record.code.get(name, now.get(name)) != now.get(name)]
        if not now or not parts:
            return ""
        return f" (the record names other code of the {' and the '.join(parts)} than is installed here)"

    def _in_the_band(self, ours: Trace, difference: Difference, other: str) -> RerunResult:
        """Judge a run that parted on another platform by its final metrics."""
        begin = f"parts from the run here on another platform ({other}) at evaluation {_number(difference)}"
        outside = []
        compared = 0
        for name in FINAL:
            value = metrics.get(name)(ours, None).value
            held = [metrics.get(name)(each.trace, None).value for each in self.others if each.trace is not None]
            held = [each for each in held if math.isfinite(each)]
            if not math.isfinite(value) or len(held) < FEWEST:
                continue
            compared += 1
            expected = band(held, new=len(FINAL) * self.drawn, grain=1 / int(min(ours.rows)))
            if value not in expected:
                outside.append(f"{name} is {value:.4g} here, and the band is {expected.low:.4g} to {expected.high:.4g}")
        if not compared:
            return _result(
                self.record,
                f"{begin}, and its row has {len(self.others)} other seeds: a band needs {FEWEST}; run it on the "
                "platform of the submission",
                holds=False,
            )
        if outside:
            told = f"{begin}, and lies outside the band of the row's other seeds: {'; '.join(outside)} ({difference})"
            return _result(self.record, told, holds=False)
        return _result(self.record, f"{begin}, and its final metrics lie in the band of the row's seeds", holds=True)


def _early(difference: Difference) -> bool:
    """Return whether a difference is where all platforms agree."""
    if difference.evaluation is None:
        return difference.column in ("rows", "present")
    return difference.evaluation < FIRST and (difference.step or 0) < FIRST


def _number(difference: Difference) -> str:
    return "of another column" if difference.evaluation is None else f"{difference.evaluation + 1}"


def _result(record: Record, told: str, *, holds: bool) -> RerunResult:
    sentence = f"{record.label}, seed {record.seed} ({record.key}): {told}"
    return RerunResult(CHECK, REPRODUCED, record.key, record.label, (record.seed,), holds, sentence)

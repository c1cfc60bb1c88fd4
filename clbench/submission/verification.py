"""Verify submissions: run the checks of each status in order, and say what holds, what does not, and what was left."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from clbench.core.errors import Refused
from clbench.core.record import Record
from clbench.core.shown_text import shown
from clbench.core.trace_equality import trace_digest
from clbench.running.execution import choose_device
from clbench.submission.bundle_reader import read_bundle
from clbench.submission.cell_runs import RunSettings
from clbench.submission.check_results import NotChecked, RecordCheck, Remark, Said, Subject
from clbench.submission.copied_traces import copied_traces
from clbench.submission.cost_checks import cost
from clbench.submission.findings import STATUSES, Finding, Level, Status, reached
from clbench.submission.folder_files import result_folders
from clbench.submission.folder_reader import read_folders
from clbench.submission.metric_checks import metric_values, recomputed
from clbench.submission.rebuilt_streams import PartFacts, Rebuilt
from clbench.submission.record_identity_checks import file_problems, identity
from clbench.submission.rerun_results import RerunResult
from clbench.submission.schedule_checks import schedule
from clbench.submission.score_checks import scores
from clbench.submission.seed_checks import TraceMark, rows_checked
from clbench.submission.stream_checks import stream
from clbench.submission.submitted import Submitted

CHECKS: tuple[RecordCheck, ...] = (identity, scores, schedule, cost, stream, recomputed)
"""The checks of each record, in order."""
Watch = Callable[[str], object]


@dataclass(frozen=True)
class Verified:
    """Hold what was found about one submission.

    Args:
        path: Its path as the user wrote it, or a folder below it.
        digest: The sha256 of the submission, from which cells and seeds are drawn.
        bundle: Whether it is a bundle, not a result folder.
        records: Number of records that were checked.
        rows: The rows with their metrics, computed again: benchmark, strategy, and values by seed.
        findings: What is wrong, in the order of the checks.
        unchecked: What could not be checked, and of how many records.
        remarks: What readers should know.
        runs: What cells that were run again have shown, whether they hold or not.
        drawn: How cells and seeds were drawn, and how often fresh seeds notice picked ones.
        done: The levels that were checked.
    """

    path: str
    digest: str
    bundle: bool
    records: int
    rows: tuple[dict[str, object], ...] = ()
    findings: tuple[Finding, ...] = ()
    unchecked: dict[str, int] = field(default_factory=dict)
    remarks: tuple[Remark, ...] = ()
    runs: tuple[RerunResult, ...] = ()
    drawn: tuple[str, ...] = ()
    done: tuple[Level, ...] = ("consistent",)

    @property
    def status(self) -> Status:
        """Return the highest status that it has reached."""
        return reached(self.findings, self.done)


@dataclass(frozen=True)
class Verification:
    """Hold what was found about some submissions.

    Args:
        submissions: One entry for each bundle and each result folder.
        asked: The status that the checks could reach at most.
        device: The device on which cells were run again.
    """

    submissions: tuple[Verified, ...]
    asked: Status
    device: str = "cpu"

    @property
    def status(self) -> Status:
        """Return the lowest status of all submissions."""
        return min((each.status for each in self.submissions), key=STATUSES.index)

    @property
    def findings(self) -> list[Finding]:
        """Return the findings about all submissions."""
        return [finding for each in self.submissions for finding in each.findings]


def verify(
    *paths: str | Path,
    rerun: int = 0,
    fresh: int = 0,
    prefix: int | None = None,
    trust: bool = False,
    data_dir: str | Path | None = None,
    device: str = "cpu",
    jobs: int | str = 1,
    watch: Watch = lambda _told: None,
) -> Verification:
    """Verify bundles and result folders. Nothing of them is executed, unless cells are run again.

    Args:
        paths: Bundles of ``clbench submit``, result folders, or folders above such files and folders.
        rerun: Number of cells of each submission that are run again, drawn from its sha256; 0 runs none.
        fresh: Number of fresh seeds of each row that are run, drawn likewise, and one on secret data; 0 runs none.
        prefix: Number of optimiser steps to run of each drawn cell; ``None`` runs whole cells.
        trust: Whether code that is not clbench's own may run, if a copy with the same digest is installed here.
        data_dir: The folder of data sets. Streams are made again where their data is there.
        device: ``cpu``, ``cuda`` or ``auto``.
        jobs: Number of cells that run at a time, or ``"auto"``.
        watch: A function that gets a sentence before each submission and each level.

    Returns:
        What was found. Its ``status`` is the lowest of all submissions.

    Raises:
        Refused: A path holds no submission, or a number is impossible.
    """
    if min(rerun, fresh) < 0 or (prefix is not None and prefix < 1):
        raise Refused("rerun and fresh are numbers from 0, and prefix is a number of steps from 1")
    if fresh and not rerun:
        raise Refused("fresh seeds are compared after cells were run again; add --rerun, such as --rerun 3")
    if prefix is not None and not rerun:
        raise Refused("prefix shortens the cells that are run again; add --rerun, such as --rerun 3")
    asked: Status = "honest seeds" if fresh else "reproduced" if rerun else "consistent"
    directory, device = None if data_dir is None else str(Path(data_dir).expanduser()), choose_device(device)
    if directory is not None and not Path(directory).is_dir():
        raise Refused(f"there is no folder {shown(directory, None)}; give the folder of data sets, or leave it out")
    rebuilt = Rebuilt(directory)
    how = _settings(directory, device, jobs, trust=trust)
    found: list[Verified] = []
    held: dict[str, str] = {}
    for path in _submissions(paths):
        watch(f"checking {path}")
        submitted = read_bundle(path) if path.is_file() else read_folders(path)
        each = consistent(submitted, rebuilt, held)
        if rerun and each.status == "consistent":
            watch(f"running {rerun} cells of {path}")
            each = _run(each, submitted, rerun, fresh, prefix, how)
        found.append(each)
    return Verification(tuple(found), asked, device)


def _settings(data_dir: str | None, device: str, jobs: int | str, *, trust: bool) -> RunSettings:
    from clbench.running.matrix import jobs_for
    from clbench.running.options import Options

    if jobs != "auto":
        jobs_for((), jobs)
    return RunSettings(Options(data_dir=data_dir, device=device), jobs=jobs, trust=trust)


def _submissions(paths: Sequence[str | Path]) -> list[Path]:
    """Return bundles and result folders at and below some paths, each once.

    Raises:
        Refused: There are none, or a path does not exist.
    """
    found: dict[Path, None] = {}
    for each in paths:
        path = Path(each).expanduser()
        if not path.exists():
            raise Refused(f"{shown(path, None)} does not exist; give a bundle of clbench submit, or a result folder")
        below = [path] if path.is_file() else [*result_folders(path), *sorted(path.glob("*.zip"))]
        if not below:
            raise Refused(
                f"{shown(path, None)} holds no records and no bundle; give a bundle of clbench submit, or a folder "
                "that `clbench run --out DIR` has written"
            )
        found |= dict.fromkeys(below)
    if not found:
        raise Refused("there is nothing to verify; give a bundle of clbench submit, or a result folder")
    return list(found)


# ------------------------------------------------------------------------------------------------- consistent


def consistent(submitted: Submitted, rebuilt: Rebuilt | None = None, held: dict[str, str] | None = None) -> Verified:
    """Check whether a submission agrees with itself, and with what can be computed without running anything.

    Args:
        submitted: The submission.
        rebuilt: Makes streams again; by default those whose data needs no folder.
        held: For bundles: the sha256 of files of traces -> the name of the bundle that holds it. Those of this
            one are added.
    """
    rebuilt = Rebuilt() if rebuilt is None else rebuilt
    said: list[Said] = list(file_problems(submitted))
    marks: dict[str, TraceMark] = {}
    values: dict[str, dict[str, float]] = {}
    for record in submitted.records:
        subject = Subject(record, rebuilt, submitted.formats.get(record.key, 0))
        for check in CHECKS:
            said += _tried(check, subject)
        if record.has_trace:
            mark, known = _marked(subject)
            marks[record.key], values[record.key] = mark, known
    said += _tried_rows(submitted, marks)
    if held is not None and submitted.manifest is not None:
        said += copied_traces(submitted, held)
    return Verified(
        path=submitted.path,
        digest=submitted.digest,
        bundle=submitted.manifest is not None,
        records=len(submitted.records),
        rows=tuple(_rows(submitted.records, values)),
        findings=tuple(dict.fromkeys(each for each in said if isinstance(each, Finding))),
        unchecked=dict(Counter(f"{e.check}: {e.reason}" for e in said if isinstance(e, NotChecked)).most_common()),
        remarks=tuple(each for each in said if isinstance(each, Remark)),
    )


def _tried(check: RecordCheck, subject: Subject) -> Iterator[Said]:
    """Yield what a check says. A check that fails on the content of a record is a finding itself."""
    try:
        yield from check(subject)
    except Exception as error:  # a stranger wrote the record
        yield subject.finding(check.__name__, f"cannot be checked ({type(error).__name__}: {_short(error)})")


def _tried_rows(submitted: Submitted, marks: dict[str, TraceMark]) -> Iterator[Said]:
    try:
        yield from rows_checked(submitted, marks)
    except Exception as error:  # a stranger wrote the records
        sentence = f"its rows cannot be checked ({type(error).__name__}: {_short(error)})"
        yield Finding("seeds", "consistent", "", sentence)


def _short(error: Exception) -> str:
    return shown(" ".join(str(error).split()), 200) or "no reason given"


def _marked(subject: Subject) -> tuple[TraceMark, dict[str, float]]:
    """Return the mark of a trace, and its metrics."""
    trace, parts = subject.trace, subject.rebuilt.parts(subject.record)
    assert trace is not None
    scores = trace.score[np.isfinite(trace.score)]
    drawn = not isinstance(parts, PartFacts) or parts.uses_model
    try:
        values = metric_values(trace)
    except Exception:  # the check of metrics has named it
        values = {}
    return TraceMark(trace_digest(trace), len(np.unique(scores)), drawn), values


def _rows(records: Sequence[Record], values: dict[str, dict[str, float]]) -> Iterator[dict[str, object]]:
    """Yield the rows with their metrics by seed, as plain data."""
    rows: defaultdict[str, list[Record]] = defaultdict(list)
    for record in records:
        rows[record.settings].append(record)
    for row in rows.values():
        ordered = sorted(row, key=lambda record: record.seed)
        yield {
            "benchmark": shown(row[0].benchmark, None),
            "strategy": shown(row[0].label, None),
            "seeds": [record.seed for record in ordered],
            "status": [record.status for record in ordered],
            "metrics": [values.get(record.key, {}) for record in ordered],
        }


# ------------------------------------------------------------------------------------------------- runs


def _run(
    each: Verified, submitted: Submitted, rerun: int, fresh: int, prefix: int | None, how: RunSettings
) -> Verified:
    """Run cells and fresh seeds of a submission, and add what they show."""
    from clbench.submission.run_checks import run_checks

    made = run_checks(submitted, rerun=rerun, fresh=fresh, prefix=prefix, settings=how)
    return replace(
        each,
        runs=made.results,
        findings=(*each.findings, *made.findings),
        drawn=made.remarks,
        done=("consistent", *made.done),
    )

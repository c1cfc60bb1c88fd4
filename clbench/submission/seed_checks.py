"""Check rows of a submission: all seeds, no trace under two seeds, one code, and the benchmark's own settings."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from clbench.benchmark.shipped_files import official
from clbench.core.record import Record
from clbench.core.shown_text import shown
from clbench.running.plan import plan
from clbench.submission.check_results import NotChecked, Remark, Said, finding, named
from clbench.submission.submitted import Submitted

SEEDS = "seeds"
COPIES = "copied traces"
CODE = "code"
BENCHMARK = "benchmark"
FEWEST_SCORES = 6
"""Traces with fewer different scores may be equal by chance."""


@dataclass(frozen=True)
class TraceMark:
    """Hold what tells copied traces from others.

    Args:
        digest: The digest of the trace.
        scores: Number of different scores in it.
        drawn: Whether the run depends on its seed by random initial weights.
    """

    digest: str
    scores: int
    drawn: bool


def rows_checked(submitted: Submitted, marks: Mapping[str, TraceMark]) -> Iterator[Said]:
    """Check the rows of a submission.

    Args:
        submitted: The submission.
        marks: The marks of its traces, by the key of the record.
    """
    yield from _doubled(submitted.records)
    yield from _missing(submitted.records)
    yield from _copies(submitted.records, marks)
    yield from _codes(submitted)
    yield from _departures(submitted)


def _doubled(records: Iterable[Record]) -> Iterator[Said]:
    counted = Counter(record.key for record in records)
    for record in {record.key: record for record in records}.values():
        if counted[record.key] > 1:
            yield finding(SEEDS, record, f"is there {counted[record.key]} times")


# ------------------------------------------------------------------------------------------------- seeds


def reference_seeds(records: Sequence[Record]) -> tuple[int, ...]:
    """Return the seeds that every row of one benchmark has to have: those of the benchmark file, and those that most
    rows have.

    Args:
        records: The records of one benchmark; at least one.
    """
    rows: defaultdict[str, set[int]] = defaultdict(set)
    for record in records:
        rows[record.settings].add(record.seed)
    counted = Counter(frozenset(seeds) for seeds in rows.values())
    most = max(counted, key=lambda seeds: (counted[seeds], len(seeds), sorted(-seed for seed in seeds)))
    own = _shipped(records[0].benchmark)
    return tuple(sorted({*most, *(own.seeds if own else ())}))


def _missing(records: Iterable[Record]) -> Iterator[Said]:
    benchmarks: defaultdict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        benchmarks[record.benchmark, _common(record)].append(record)
    for (name, _), held in benchmarks.items():
        wanted = set(reference_seeds(held))
        rows: defaultdict[str, list[Record]] = defaultdict(list)
        for record in held:
            rows[record.settings].append(record)
        for row in rows.values():
            lacks = sorted(wanted - {record.seed for record in row if record.status != "failed"})
            if lacks:
                have = len({record.seed for record in row} & wanted)
                seeds = "seed" if len(lacks) == 1 else "seeds"
                told = f"{seeds} {_listed(lacks)} of {shown(name)}: {have} of {len(wanted)} reference seeds are there"
                yield finding(SEEDS, row[0], f"belongs to a row that lacks {told}")
            gaps = sorted(set(range(min(r.seed for r in row), max(r.seed for r in row))) - {r.seed for r in row})
            if gaps and len(gaps) <= len(row) and not lacks:
                sentence = f"the row of {named(row[0])} leaves out {_listed(gaps)} between its seeds"
                yield Remark(SEEDS, row[0].key, sentence)


def _common(record: Record) -> str:
    """Return the settings of a record that all rows of its table share."""
    cell = record.cell
    memory = cell.get("memory") or {}
    held = {name: cell.get(name) for name in ("stream", "evaluation")}
    return json.dumps({**held, "memory": memory.get("size")}, sort_keys=True)


def _listed(numbers: Sequence[int], most: int = 10) -> str:
    told = ", ".join(map(str, numbers[:most]))
    return told if len(numbers) <= most else f"{told} and {len(numbers) - most} more"


# ------------------------------------------------------------------------------------------------- copies and code


def _copies(records: Iterable[Record], marks: Mapping[str, TraceMark]) -> Iterator[Said]:
    groups: defaultdict[str, list[Record]] = defaultdict(list)
    for record in records:
        mark = marks.get(record.key)
        if mark is not None and mark.scores >= FEWEST_SCORES:
            groups[mark.digest].append(record)
    for group in groups.values():
        first = group[0]
        for other in group[1:]:
            if other.key == first.key:
                continue
            if other.seed == first.seed:
                sentence = (
                    f"{named(other)} and {named(first)} have the same trace: parts without effect, or a copy, which "
                    "only a run can tell"
                )
                yield Remark(COPIES, other.key, sentence)
            elif marks[other.key].drawn:
                yield finding(COPIES, other, f"has the trace of {named(first)}: a run with another seed differs")
            else:
                reason = "equal traces of two seeds: the strategy draws no initial weights"
                yield NotChecked(COPIES, other.key, reason)


def _codes(submitted: Submitted) -> Iterator[Said]:
    rows: defaultdict[str, list[Record]] = defaultdict(list)
    for record in submitted.records:
        rows[record.settings].append(record)
    for row in rows.values():
        codes: defaultdict[str, list[Record]] = defaultdict(list)
        for record in row:
            if record.code:
                codes[json.dumps(record.code, sort_keys=True)].append(record)
        ordered = sorted(codes.values(), key=len, reverse=True)
        for others in ordered[1:]:
            told = f"was made by other code than {named(ordered[0][0])} of the same row"
            yield finding(CODE, others[0], told)
        without = [record for record in row if not record.code]
        if without and ordered:
            told = f"names no code, and {named(ordered[0][0])} of the same row does"
            yield finding(CODE, without[0], told)
        for record in without if not ordered else ():
            yield NotChecked(CODE, record.key, "the code of a row: older records name none")


# ------------------------------------------------------------------------------------------------- benchmark


@dataclass(frozen=True)
class _Shipped:
    """Hold what a shipped benchmark says: its seeds and the settings that all strategies share."""

    seeds: tuple[int, ...]
    settings: dict[str, Any]


@lru_cache(maxsize=256)
def _shipped(benchmark: str) -> _Shipped | None:
    """Return what a benchmark with a name says; ``None`` if this version of clbench does not ship it."""
    name, _, version = benchmark.rpartition("@")
    try:
        file = official(name, int(version)) if version.isdecimal() else None
        if file is None:
            return None
        planned = plan(file)
        seeds = tuple(sorted({cell.seed for cell in planned.cells}))
        return _Shipped(seeds, _shared(json.loads(json.dumps(planned.cells[0].config))))
    except Exception:  # a file of another package may be wrong in any way
        return None


def _shared(cell: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a cell that a benchmark gives to all strategies, by dotted name."""
    sections = {name: cell.get(name) or {} for name in ("stream", "model", "evaluation")}
    return {**dict(_flat(sections)), "memory.size": (cell.get("memory") or {}).get("size")}


def _flat(value: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, held in value.items():
        if isinstance(held, Mapping) and held:
            yield from _flat(held, f"{before}{name}.")
        else:
            yield f"{before}{name}", held


def _departures(submitted: Submitted) -> Iterator[Said]:
    """Say where records of a shipped benchmark run with other settings than its file: another stream under the name."""
    done: set[tuple[str, str]] = set()
    for record in submitted.records:
        own, what = _shipped(record.benchmark), (record.benchmark, json.dumps(_shared(record.cell), sort_keys=True))
        if what in done:
            continue
        done.add(what)
        if own is None:
            reason = f"settings of {shown(record.benchmark)}: this version of clbench does not ship it"
            yield NotChecked(BENCHMARK, record.key, reason)
            continue
        held = _shared(record.cell)
        names = sorted(name for name in {*held, *own.settings} if held.get(name) != own.settings.get(name))
        if not names:
            continue
        told = ", ".join(f"{name} = {held.get(name)} instead of {own.settings.get(name)}" for name in names)
        text = f"runs under the name {record.benchmark} with other settings than its file: {told}"
        if submitted.manifest is not None:
            yield finding(BENCHMARK, record, f"{text}; give the benchmark a name of its own")
        else:
            yield Remark(BENCHMARK, record.key, shown(f"{named(record)} {text}", None))

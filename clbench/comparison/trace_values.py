"""Values that are computed from the traces of records: metrics, and what a leaderboard has to know of a trace.

Those of records on disk are kept in the cache of their result directory, under the checksum of the trace's file and the
digest of the code that computed them. A record whose trace is in memory is computed each time.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

import clbench
from clbench.comparison.record_groups import is_finished
from clbench.core.cache_shards import CacheShards
from clbench.core.errors import Damaged
from clbench.core.measure import ACCURACY, Measure
from clbench.core.notices import notice
from clbench.core.record import Record, Trace
from clbench.core.stored_trace import StoredTrace
from clbench.metrics import (
    CANONICAL,
    COLUMNS,
    EARLIER,
    FAMILIES,
    METRICS,
    Metric,
    Value,
    get,
    measured_from_switches,
    split_number,
)
from clbench.metrics.metric import Undefined
from clbench.metrics.switches import old_pairs

CODE = (
    "metrics/*.py", "core/record.py", "core/measure.py", "core/npz_arrays.py", "core/trace_file.py", "core/types.py",
    "core/zip_members.py",
)  # fmt: skip
"""Files of clbench on which the values depend. Metrics of other code are never kept."""
READS_MORE = "clbench.metrics.prediction_metrics"
"""The module of metrics that read further files."""
FACTS = ""
"""The name of the facts of a trace among its metrics."""


@dataclass(frozen=True)
class TraceFacts:
    """Say what a leaderboard has to know of a trace.

    Args:
        measure: The measure of its scores.
        gaps: Whether some task was ever absent after its first visit.
        from_switches: Whether the effect of training at switches can be separated from that of new outputs.
        experiences: Number of experiences.
    """

    measure: Measure
    gaps: bool
    from_switches: bool
    experiences: int

    @classmethod
    def of(cls, trace: Trace) -> TraceFacts:
        """Compute the facts of a trace."""
        try:
            old_pairs(trace)
            gaps = True
        except Undefined:
            gaps = False
        return cls(trace.measure, gaps, measured_from_switches(trace), trace.n_experiences)


class TraceValues:
    """Compute the values of records, and save those of records on disk at the end of a ``with`` block."""

    def __init__(self) -> None:
        self._caches: dict[str, CacheShards] = {}
        self._metrics: dict[str, tuple[Metric, bool]] = {}

    def __enter__(self) -> TraceValues:
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._caches.values():
            each.save()

    def readable(self, records: Iterable[Record]) -> list[Record]:
        """Return the records without those whose traces are damaged, which are reported."""
        kept = []
        for record in records:
            try:
                if record.has_trace:
                    self.facts(record)
                kept.append(record)
            except Damaged as error:
                notice(f"left out: {error}")
        return kept

    def metrics(self, record: Record, names: Iterable[str], reference: Record | None = None) -> dict[str, Value]:
        """Return metrics of a record that has a trace, by name.

        Args:
            record: The record.
            names: Names of metrics.
            reference: The record of joint training on the same stream, for metrics that compare with it.

        Raises:
            Damaged: Its trace has to be read, and is damaged.
            Refused: A metric does not exist.
        """
        held = self._held(record)
        other = None if reference is None else reference.stored_trace
        comparison = "" if reference is None else None if other is None else _key(other)
        found: dict[str, Value] = {}
        new: dict[str, Any] = {}
        for name in names:
            metric, kept = self._metric(name)
            place = name if not metric.reference else f"{name} {comparison}"
            kept &= not metric.reference or comparison is not None
            if kept and place in held:
                found[name] = _value(held[place])
                continue
            upper = _trace(reference) if metric.reference and reference is not None else None
            found[name] = metric(_trace(record), upper)
            if kept:
                new[place] = _entry(found[name])
        self._keep(record, {**held, **new} if new else {})
        return found

    def facts(self, record: Record) -> TraceFacts:
        """Return the facts of a record that has a trace. While it is in memory, the usual metrics are computed too.

        Raises:
            Damaged: Its trace has to be read, and is damaged.
        """
        held = self._held(record)
        if FACTS in held:
            measure, *others = held[FACTS]
            return TraceFacts(ACCURACY if measure is None else _measure(measure), *others)
        facts = TraceFacts.of(_trace(record))
        if record.stored_trace is not None and is_finished(record):
            measure = None if facts.measure == ACCURACY else asdict(facts.measure)
            self._keep(record, {**held, FACTS: [measure, facts.gaps, facts.from_switches, facts.experiences]})
            usual = (*COLUMNS, *(EARLIER.values() if not facts.from_switches else ()))
            self.metrics(record, [name for name in usual if self._metric(name)[1]])
        return facts

    def measure(self, records: Iterable[Record]) -> Measure:
        """Return the measure of the scores of some records of one benchmark: accuracy if none has a trace."""
        return next((self.facts(record).measure for record in records if record.has_trace), ACCURACY)

    def _metric(self, name: str) -> tuple[Metric, bool]:
        """Return a metric and whether its values may be kept."""
        if name not in self._metrics:
            metric = get(name)
            self._metrics[name] = metric, _is_ours(name, metric)
        return self._metrics[name]

    def _held(self, record: Record) -> Mapping[str, Any]:
        own = record.stored_trace
        return {} if own is None else self._cache(own).get(_key(own)) or {}

    def _keep(self, record: Record, entry: dict[str, Any]) -> None:
        own = record.stored_trace
        if own is not None and entry:
            self._cache(own).put(_key(own), entry)

    def _cache(self, trace: StoredTrace) -> CacheShards:
        place = str(trace.directory)
        if place not in self._caches:
            self._caches[place] = CacheShards(trace.directory, "metrics", code_digest())
        return self._caches[place]


@cache
def code_digest() -> str:
    """Return 16 hex digits for the code that computes metrics and the version of numpy. Every byte of the code counts,
    since an edit costs no more than computing again."""
    package = Path(clbench.__file__).parent
    digest = hashlib.blake2b(np.__version__.encode(), digest_size=8)
    for pattern in CODE:
        for path in sorted(package.glob(pattern)):
            digest.update(f"{path.relative_to(package).as_posix()} ".encode() + path.read_bytes())
    return digest.hexdigest()


def _is_ours(name: str, metric: Metric) -> bool:
    """Return whether a metric comes with clbench and reads nothing but a trace."""
    built_in = name in CANONICAL or (name not in METRICS and split_number(name)[0] in FAMILIES)
    function: Any = metric.function
    while isinstance(function, partial):
        function = function.func
    return built_in and getattr(function, "__module__", READS_MORE) != READS_MORE


def _key(trace: StoredTrace) -> str:
    return trace.checksum + ("s" if trace.settled else "")


def _trace(record: Record) -> Trace:
    trace = record.trace
    assert trace is not None
    return trace


def _entry(value: Value) -> float | str:
    return value.value if value.defined else value.reason


def _value(entry: float | str) -> Value:
    return Value(math.nan, entry) if isinstance(entry, str) else Value(entry)


def _measure(written: dict[str, Any]) -> Measure:
    return Measure(**{**written, "columns": tuple(written["columns"])})

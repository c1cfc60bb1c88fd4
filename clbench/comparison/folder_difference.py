"""The differences between the records of two result folders: cell by cell, and in ACC strategy by strategy."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from clbench.comparison.record_difference import Difference, first_difference
from clbench.comparison.record_groups import is_finished, settings_that_differ
from clbench.core.measure import ACCURACY, Measure
from clbench.core.public_names import public
from clbench.core.record import Record, Trace
from clbench.core.trace_equality import trace_digest
from clbench.core.types import content_hash
from clbench.metrics import compute, get
from clbench.metrics.interval import SEEDS_FOR_INTERVAL, half_width

METRIC = "acc"
"""The metric whose difference is shown for each strategy."""
CAUSES = ("device", "hardware", "capability", "clbench", "torch", "commit")
"""Entries of a record's environment that may be the cause of another result."""


@dataclass(frozen=True)
class CellDifference:
    """Hold the difference between two records of one cell.

    Args:
        record: The record of the first folder, without its trace.
        other: The record of the second folder, without its trace.
        trace: The first difference between their traces; ``None`` if these are equal or not both there.
    """

    record: Record
    other: Record
    trace: Difference | None = None

    @property
    def reasons(self) -> list[str]:
        """Return what differs, in words: status, data, stream and trace."""
        a, b, told = self.record, self.other, []
        if a.status != b.status:
            told.append(f"{_status(a)} and {_status(b)}")
        if _both_differ(a.data, b.data):
            told.append(f"the data differ (checksums {a.data[:8]} and {b.data[:8]})")
        if _both_differ(a.fingerprint, b.fingerprint):
            told.append(f"the streams differ (fingerprints {a.fingerprint[:8]} and {b.fingerprint[:8]})")
        return told + ([str(self.trace)] if self.trace is not None else [])

    @property
    def circumstances(self) -> dict[str, tuple[str, str]]:
        """Return what else is not equal and may be the cause: the code of the engine and of the strategy, the device,
        and versions of software."""
        a, b = self.record, self.other
        pairs = {
            f"code of the {name}": (a.code.get(name, "")[:8], b.code.get(name, "")[:8])
            for name in ("engine", "strategy")
        }
        pairs |= {name: (_text(a.environment.get(name)), _text(b.environment.get(name))) for name in CAUSES}
        return {name: each for name, each in pairs.items() if _both_differ(*each)}

    @property
    def text(self) -> str:
        """Return what differs, and what else is not equal, in one line."""
        also = [f"{name}: {ours} and {theirs}" for name, (ours, theirs) in self.circumstances.items()]
        return "; ".join([*self.reasons, *also])

    def __str__(self) -> str:
        return f"{self.record.benchmark}, {public(self.record.label)}, seed {self.record.seed}: {self.text}"

    def data(self) -> dict[str, Any]:
        """Return the difference as plain data."""
        a, b = self.record, self.other
        return {
            "key": a.key,
            "benchmark": a.benchmark,
            "strategy": public(a.label),
            "seed": a.seed,
            "status": [a.status, b.status],
            "data": [a.data, b.data],
            "fingerprint": [a.fingerprint, b.fingerprint],
            "trace": None if self.trace is None else self.trace.data(),
            "circumstances": {name: list(each) for name, each in self.circumstances.items()},
            "text": self.text,
        }


@dataclass(frozen=True)
class CellGroup:
    """Count the cells of one strategy that only one folder has.

    Args:
        benchmark: Name and version.
        strategy: The label.
        seeds: The seed of each cell.
    """

    benchmark: str
    strategy: str
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Paired:
    """Hold the difference in ACC between two folders for one strategy, paired by seed.

    Args:
        benchmark: Name and version.
        strategy: The label.
        seeds: (n,) the seeds with a value in both folders, ascending.
        a: (n,) the values in the first folder.
        b: (n,) the values in the second folder.
        settings: The settings that differ, as they are in each folder; empty texts if none do.
        measure: What the scores are.
    """

    benchmark: str
    strategy: str
    seeds: tuple[int, ...]
    a: tuple[float, ...]
    b: tuple[float, ...]
    settings: tuple[str, str] = ("", "")
    measure: Measure = ACCURACY

    @property
    def title(self) -> str:
        """Return the title of the metric, such as ``ACC``."""
        return get(METRIC).under(self.measure).title

    @property
    def differences(self) -> tuple[float, ...]:
        """Return the differences (n,), second folder minus first, as people read the metric."""
        shown = [get(METRIC).shown(value, self.measure) for value in (*self.a, *self.b)]
        return tuple(b - a for a, b in zip(shown[: len(self.a)], shown[len(self.a) :], strict=True))

    @property
    def mean(self) -> float:
        """Return the mean difference, as people read the metric."""
        return float(np.mean(self.differences))

    @property
    def half(self) -> float:
        """Return half of the 95 % Student-t interval; NaN for fewer than three seeds, as on leaderboards."""
        return float(half_width(self.differences, fewest=SEEDS_FOR_INTERVAL))

    def number(self, value: float, *, signed: bool = False) -> str:
        """Print a number that people read, with the decimals of the metric."""
        text = f"{value:.{get(METRIC).decimals(self.measure, percent=2)}f}"
        text = text.removeprefix("-") if float(text) == 0 else text
        return f"+{text}" if signed and float(text) > 0 else text

    def column(self, values: Sequence[float]) -> str:
        """Print the mean of some values of the metric."""
        return self.number(get(METRIC).shown(float(np.mean(values)), self.measure))

    @property
    def change(self) -> str:
        """Return ``+2.50 ± 3.91``, or the mean alone for fewer than three seeds."""
        told = self.number(self.mean, signed=True)
        return told if math.isnan(self.half) else f"{told} ± {self.number(self.half)}"

    def data(self) -> dict[str, Any]:
        """Return the difference as plain data; values are scores, ``mean`` and ``half`` as people read them."""
        return {
            "benchmark": self.benchmark,
            "strategy": self.strategy,
            "metric": METRIC,
            "seeds": list(self.seeds),
            "a": list(self.a),
            "b": list(self.b),
            "mean": self.mean,
            "half": None if math.isnan(self.half) else self.half,
            "unit": self.measure.unit,
            "settings": list(self.settings),
        }


@dataclass(frozen=True)
class FolderDifference:
    """Hold the differences between two result folders, A and B.

    Args:
        equal: Number of cells in both folders that are equal.
        different: The others of these cells.
        only_a: Cells that only A has, by strategy.
        only_b: Cells that only B has, by strategy.
        paired: The difference in ACC of each strategy with a seed that is finished in both.
        unpaired: Sentences about strategies that are in both folders and cannot be paired.
    """

    equal: int
    different: tuple[CellDifference, ...]
    only_a: tuple[CellGroup, ...]
    only_b: tuple[CellGroup, ...]
    paired: tuple[Paired, ...]
    unpaired: tuple[str, ...] = ()

    @property
    def shared(self) -> int:
        """Return the number of cells in both folders."""
        return self.equal + len(self.different)

    def data(self) -> dict[str, Any]:
        """Return all differences as plain data, as ``clbench diff --json`` prints them."""
        return {
            "shared": self.shared,
            "equal": self.equal,
            "different": [each.data() for each in self.different],
            "only_a": [{**vars(each), "seeds": list(each.seeds)} for each in self.only_a],
            "only_b": [{**vars(each), "seeds": list(each.seeds)} for each in self.only_b],
            "paired": [each.data() for each in self.paired],
            "unpaired": list(self.unpaired),
        }


@dataclass(frozen=True)
class Seen:
    """Hold what a comparison keeps of one record, so that the traces of a folder are never in memory together.

    Args:
        record: The record without its trace.
        digest: The digest of its trace; empty if it has none.
        value: The metric, NaN if there is no value.
        measure: What the scores are.
    """

    record: Record
    digest: str
    value: float
    measure: Measure

    @classmethod
    def of(cls, record: Record) -> Seen:
        """Return what is kept of a record."""
        trace = record.trace
        value = compute(trace, [METRIC])[METRIC].value if trace is not None and is_finished(record) else math.nan
        return cls(
            record=replace(record, trace=None),
            digest="" if trace is None else record.trace_digest or trace_digest(trace),
            value=value,
            measure=ACCURACY if trace is None else trace.measure,
        )


def compare(
    ours: Iterable[Record],
    theirs: Iterable[Record],
    traces: Callable[[str], tuple[Trace | None, Trace | None]],
) -> FolderDifference:
    """Compare the records of two result folders.

    Args:
        ours: The records of folder A; each is read once.
        theirs: Those of folder B.
        traces: A function that returns both traces of a cell from its key. It is called if their digests differ.
    """
    a, b = ({record.key: Seen.of(record) for record in records} for records in (ours, theirs))
    different = []
    shared = [key for key in a if key in b]
    for key in shared:
        found = CellDifference(a[key].record, b[key].record, _of_traces(a[key], b[key], traces))
        if found.reasons:
            different.append(found)
    paired, unpaired = _pairs(list(a.values()), list(b.values()))
    return FolderDifference(
        equal=len(shared) - len(different),
        different=tuple(sorted(different, key=lambda d: (d.record.benchmark, d.record.label, d.record.seed))),
        only_a=_groups(each.record for key, each in a.items() if key not in b),
        only_b=_groups(each.record for key, each in b.items() if key not in a),
        paired=paired,
        unpaired=unpaired,
    )


def _of_traces(
    ours: Seen, theirs: Seen, traces: Callable[[str], tuple[Trace | None, Trace | None]]
) -> Difference | None:
    if ours.digest == theirs.digest or not (ours.digest and theirs.digest):
        return None
    first, second = traces(ours.record.key)
    return None if first is None or second is None else first_difference(first, second)


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _both_differ(ours: str, theirs: str) -> bool:
    """Return whether two checksums differ; older records may lack one."""
    return bool(ours and theirs and ours != theirs)


def _status(record: Record) -> str:
    return record.status + (f" ({record.reason})" if record.reason else "")


def _groups(records: Iterable[Record]) -> tuple[CellGroup, ...]:
    """Group cells by benchmark and strategy."""
    found: dict[tuple[str, str], list[int]] = {}
    for record in records:
        found.setdefault((record.benchmark, public(record.label)), []).append(record.seed)
    return tuple(CellGroup(*place, tuple(sorted(seeds))) for place, seeds in sorted(found.items()))


Place = tuple[str, str]
"""Name and version of a benchmark, and a label."""


def _pairs(ours: Sequence[Seen], theirs: Sequence[Seen]) -> tuple[tuple[Paired, ...], tuple[str, ...]]:
    """Pair strategies of equal benchmark, label and settings; then what is left of a label, if it is one in each."""
    a, b = _by_settings(ours), _by_settings(theirs)
    paired, unpaired = [], []
    for place in sorted(set(a) & set(b)):
        both = [settings for settings in a[place] if settings in b[place]]
        matches = [(a[place][settings], b[place][settings]) for settings in both]
        left = [[each for settings, each in side[place].items() if settings not in both] for side in (a, b)]
        if len(left[0]) == len(left[1]) == 1:
            matches.append((left[0][0], left[1][0]))
        elif left[0] and left[1]:
            unpaired.append(
                f"{place[0]}, {place[1]} is not paired: it has {len(left[0])} and {len(left[1])} further settings"
            )
        paired += [made for match in matches if (made := _paired(place, *match)) is not None]
    return tuple(paired), tuple(unpaired)


def _by_settings(found: Iterable[Seen]) -> dict[Place, dict[str, dict[int, Seen]]]:
    """Group records: benchmark and label -> hash of all settings but the seed -> seed -> record."""
    made: dict[Place, dict[str, dict[int, Seen]]] = {}
    for seen in found:
        record = seen.record
        settings = content_hash({name: value for name, value in record.cell.items() if name != "seed"})
        made.setdefault((record.benchmark, public(record.label)), {}).setdefault(settings, {})[record.seed] = seen
    return made


def _paired(place: Place, ours: Mapping[int, Seen], theirs: Mapping[int, Seen]) -> Paired | None:
    """Return the difference of a strategy over the seeds with a value in both; ``None`` without such a seed."""
    seeds = [seed for seed in sorted(ours) if seed in theirs]
    seeds = [seed for seed in seeds if not math.isnan(ours[seed].value + theirs[seed].value)]
    if not seeds:
        return None
    first, second = ours[seeds[0]], theirs[seeds[0]]
    texts = settings_that_differ([first.record, second.record])
    return Paired(
        *place,
        seeds=tuple(seeds),
        a=tuple(ours[seed].value for seed in seeds),
        b=tuple(theirs[seed].value for seed in seeds),
        settings=(public(texts[first.record.key]), public(texts[second.record.key])),
        measure=first.measure,
    )

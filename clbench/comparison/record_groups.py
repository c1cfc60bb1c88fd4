"""The grouping of records before means over seeds are computed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from clbench.comparison.tuned_rows import Search, search_names, search_of
from clbench.core.measure import ACCURACY, Measure
from clbench.core.public_names import public
from clbench.core.record import Record
from clbench.core.types import content_hash


def is_finished(record: Record) -> bool:
    """Return whether a record has a result. Metrics are computed only from such records."""
    return record.status == "done" and record.has_trace


def measure_of(records: Iterable[Record]) -> Measure:
    """Return the measure of the scores of some records of one benchmark: accuracy if none is finished."""
    return next((record.trace.measure for record in records if record.trace is not None), ACCURACY)


def distinct(records: Iterable[Record]) -> list[Record]:
    """Return one record per cell, sorted by benchmark, label and seed: the finished one, or else the latest.

    Records of one cell whose settings were found by different searches are all kept.
    """
    best: dict[tuple[str, Search], Record] = {}
    for record in sorted(records, key=lambda r: (is_finished(r), r.created)):
        best[record.key, search_of(record)] = record
    return sorted(best.values(), key=lambda r: (r.benchmark, r.label, r.seed, r.key))


def by_benchmark(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Map name and version of a benchmark to its distinct records."""
    found: dict[str, list[Record]] = {}
    for record in distinct(records):
        found.setdefault(record.benchmark, []).append(record)
    return found


def by_strategy(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Group the records of one benchmark by label, with one record per seed.

    Records whose cells differ in more than the seed are never combined, nor are those whose settings were found by
    different searches. If they share a label, each group's label gets the settings that differ, such as ``er
    [degrees=0,10]`` or ``ewc(strength=10) [tuned=end]``, or, if these are too long, ``#`` and the beginning of their
    hash.
    """
    groups: dict[str, dict[str, list[Record]]] = {}
    for record in records:
        settings = record.settings
        if record.tuning:
            own = {name: value for name, value in record.cell.items() if name != "seed"}
            settings = content_hash({**own, "tuned": search_of(record)})
        groups.setdefault(public(record.label), {}).setdefault(settings, []).append(record)
    made = {}
    for label, found in groups.items():
        firsts = [members[0] for members in found.values()]
        searches = search_names([search_of(record) for record in firsts])
        cells = [
            {**record.cell, "tuned": name} if name else record.cell
            for record, name in zip(firsts, searches, strict=True)
        ]
        differing = [public(text) for text in _differing(cells)]
        if len(set(differing)) < len(differing):  # files of one name in two folders
            differing = [""] * len(differing)
        for (settings, members), text in zip(found.items(), differing, strict=True):
            made[label + (f" [{text}]" if 0 < len(text) <= READABLE else f" #{settings[:6]}" * (len(found) > 1))] = (
                members
            )
    return made


def settings_that_differ(records: Iterable[Record]) -> dict[str, str]:
    """Map the key of each record to the settings by which it differs from others of its benchmark and label.

    Returns:
        Texts such as ``lr=0.1, degrees=0,10``; the text is empty if all records of the label differ only in their seed.
    """
    groups: dict[tuple[str, str], dict[str, Record]] = {}
    for record in records:
        groups.setdefault((record.benchmark, record.label), {})[record.key] = record
    return {
        key: text
        for found in groups.values()
        for key, text in zip(found, _differing([record.cell for record in found.values()]), strict=True)
    }


READABLE = 60
"""Largest number of characters for settings in a label."""


def _differing(cells: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return for each cell the settings that are not equal in all of them, ``lr=0.1, degrees=0,10``, without the
    seed."""
    flat = [dict(_leaves({name: value for name, value in cell.items() if name != "seed"})) for cell in cells]
    keys = [k for k in dict.fromkeys(k for each in flat for k in each) if len({each.get(k) for each in flat}) > 1]
    short = Counter(key[-1] for key in keys)
    names = {key: key[-1] if short[key[-1]] == 1 else ".".join(key) for key in keys}
    return [", ".join(f"{names[key]}={each[key]}" for key in keys if key in each) for each in flat]


def _leaves(settings: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield path and text of each setting; a list of plain values is one setting."""
    if isinstance(settings, Mapping):
        for name, value in settings.items():
            yield from _leaves(value, (*path, str(name)))
    elif isinstance(settings, (list, tuple)) and any(isinstance(value, (Mapping, list, tuple)) for value in settings):
        for place, value in enumerate(settings):
            yield from _leaves(value, (*path, str(place)))
    else:
        values = settings if isinstance(settings, (list, tuple)) else [settings]
        yield path, ",".join(str(value).removesuffix(".0") for value in values)


REFERENCES = ("cumulative", "joint")
"""Strategies of joint training, the better reference first: ``joint`` has also seen later tasks."""

_SAME = ("benchmark", "stream", "model", "evaluation")


def joint_runs(records: Iterable[Record]) -> list[Record]:
    """Return the finished runs of joint training among some records."""
    return [record for record in records if is_finished(record) and _only_part(record) in REFERENCES]


class JointRuns:
    """Find the joint run to compare a record with.

    It must have the benchmark, seed, stream, model and evaluation of the record. ``cumulative`` is preferred to
    ``joint``, then the record's own training settings, then the first label and key.

    Args:
        records: Records, among them those of joint training.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        self._by_seed: dict[Any, list[Record]] = {}
        self._fits: dict[tuple[str, str], bool] = {}  # neither record's seed matters
        for record in joint_runs(records):
            self._by_seed.setdefault(record.cell.get("seed"), []).append(record)

    def reference(self, record: Record) -> Record | None:
        """Return the joint run for a record; ``None`` if none fits."""

        def place(other: Record) -> tuple[int, bool, str, str]:
            own_settings = other.cell.get("training") == record.cell.get("training")
            return REFERENCES.index(_only_part(other)), not own_settings, other.label, other.key

        same_seed = self._by_seed.get(record.cell.get("seed"), ())
        return min((other for other in same_seed if self._fit(record, other)), key=place, default=None)

    def _fit(self, record: Record, other: Record) -> bool:
        pair = record.settings, other.settings
        if pair not in self._fits:
            self._fits[pair] = all(other.cell.get(name) == record.cell.get(name) for name in _SAME)
        return self._fits[pair]


def _only_part(record: Record) -> str:
    """Return the name of a strategy with a single part; empty for several parts."""
    parts = record.cell["strategy"]
    return str(parts[0].get("name", "")) if len(parts) == 1 else ""

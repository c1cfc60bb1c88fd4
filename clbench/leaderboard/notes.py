"""Notes that a reader needs to compare the rows of a table: about streams, labels and versions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from clbench.comparison.comparable import sees
from clbench.core.errors import Refused
from clbench.core.parameters import schema
from clbench.core.record import Record
from clbench.strategies import STRATEGIES
from clbench.strategies import notation as strategy_text

if TYPE_CHECKING:
    from clbench.leaderboard.board import Row

VERSIONS = ("clbench", "torch")
"""Fields of a record's environment that a note names if rows differ in them."""


def other_streams(rows: Iterable[Row]) -> list[str]:
    """Return sentences on strategies whose fingerprint is not the most common one of a seed.

    Upper bounds are only those strategies that declare to see a merged or accumulated stream.
    """
    streams: dict[int, Counter[str]] = {}
    pairs = [(row.strategy, record) for row in rows for record in row.records if record.fingerprint]
    for _, record in pairs:
        streams.setdefault(record.seed, Counter())[record.fingerprint] += 1
    usual = {seed: counts.most_common(1)[0][0] for seed, counts in streams.items()}
    found = [(strategy, record) for strategy, record in pairs if record.fingerprint != usual[record.seed]]
    bounds = dict.fromkeys(strategy for strategy, record in found if sees(record) != "stream")
    others = dict.fromkeys(strategy for strategy, record in found if sees(record) == "stream")
    told = []
    if bounds:
        told.append(f"upper bounds (trained on all data at once): {', '.join(bounds)}")
    if others:
        told.append(f"trained on a different stream than most, but no upper bound: {', '.join(others)}")
    return told


def versions(record: Record) -> str:
    """Return versions such as ``clbench 0.1.0, torch 2.4.1``, as far as a record contains them."""
    return ", ".join(f"{name} {record.environment[name]}" for name in VERSIONS if record.environment.get(name))


def different_versions(rows: Iterable[Row]) -> list[str]:
    """Return a sentence that names the versions if rows differ in them."""
    found: dict[str, dict[str, None]] = {}
    for row in rows:
        for record in row.records:
            if versions(record):
                found.setdefault(versions(record), {})[row.strategy] = None
    if len(found) < 2:
        return []
    return ["made with different versions: " + "; ".join(f"{text} ({', '.join(own)})" for text, own in found.items())]


def labels(rows: Iterable[Row]) -> list[str]:
    """Return a sentence on labels that differ from their strategies, such as ``er_sum is er(loss=sum)``."""
    found = [f"{row.strategy} is {row.recipe}" for row in rows if any(map(is_renamed, row.records))]
    return ["labels: " + "; ".join(found)] if found else []


def recipe(record: Record) -> str:
    """Return the strategy of a record as text: parts with the parameters that differ from their defaults."""
    return " + ".join(_written(item) for item in record.cell.get("strategy", ()))


def _written(item: Mapping[str, Any]) -> str:
    name, parameters = str(item.get("name", "")), item.get("parameters") or {}
    known = _defaults(name)
    changed = {k: v for k, v in parameters.items() if k not in known or not _same(v, known[k])}
    short = re.sub(r"[^:]*[/\\](?=[^/\\:]+\.py:)", "", name)
    return strategy_text.label([{short: changed}])


def _defaults(name: str) -> dict[str, Any]:
    try:
        fields = schema(STRATEGIES.get(name)).model_fields
        return {k: v.get_default(call_default_factory=True) for k, v in fields.items() if not v.is_required()}
    except Exception:  # an unknown strategy: all its parameters are written
        return {}


def is_renamed(record: Record) -> bool:
    """Return whether a record's label, read as a strategy, differs from the strategy that ran."""
    have = [item for item in record.cell.get("strategy", ()) if isinstance(item, Mapping)]
    text = record.label.partition(" [")[0] if record.label.endswith("]") else record.label
    try:
        items = strategy_text.calls(text)
    except Refused:
        return True
    if len(items) != len(have):
        return True
    for (name, given), item in zip(items, have, strict=True):
        own, parameters = str(item.get("name", "")), item.get("parameters") or {}
        if name != own and strategy_text.snake_case(own.rpartition(":")[2]) != name:
            return True
        if any(key in parameters and not _same(parameters[key], value) for key, value in given.items()):
            return True
        usual = _defaults(own)
        if any(k in usual and k not in given and not _same(v, usual[k]) for k, v in parameters.items()):
            return not _by_default(record, own)
    return False


def _by_default(record: Record, name: str) -> bool:
    """Return whether a default of the benchmark may have set a parameter that the label lacks; the title shows
    defaults."""
    from clbench.comparison.comparable import defaults_for

    return name in defaults_for(record.cell)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)

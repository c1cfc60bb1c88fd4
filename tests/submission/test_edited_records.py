"""Edited records, with every checksum made again, end in sentences: whatever a stranger writes into an entry."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from small_submission import honest, one

from clbench.core.record import Record
from clbench.core.types import content_hash
from clbench.submission.submitted import Submitted
from clbench.submission.verification import consistent

EXTREME: list[Any] = [
    "", "x\x1b[2J", None, -1, 0, 2**63, 1e308, True, [], {}, [[[]]], {"name": "x"}, 10_000_000, 0.5,
]  # fmt: skip


POSSIBLE = {
    *("evaluation", "memory", "stream"),  # sections that a table has for itself, so that the record is one of another
    *("peak_bytes", "state_bytes", "evaluation_seconds", "extra_seconds", "train_seconds", "memory_bytes", "steps"),
}
"""Entries of which some values cannot be told from honest ones without a run: more than was needed, or as it was."""


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    named = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in named:
        yield (*path, name)
        yield from leaves(inner, (*path, name))


def edited(record: Record, draw: random.Random) -> tuple[Record, str]:
    """Return a record with one entry of its cell or cost changed or removed, and what was done."""
    while True:
        changed, what = _edited(record, draw)
        if (changed.cell, changed.cost) != (record.cell, record.cost):
            return changed, what


def _edited(record: Record, draw: random.Random) -> tuple[Record, str]:
    cell, cost = json.loads(json.dumps(record.cell)), dict(record.cost)
    if draw.random() < 0.3:
        name = draw.choice(sorted(cost))
        cost[name] = draw.choice([-1.0, 0.0, 1e300, 0.5, cost[name] + 1])
        return replace(record, cost=cost), name
    path = draw.choice([path for path in leaves(cell) if path != ("seed",) and path[0] != "benchmark"])
    place: Any = cell
    for name in path[:-1]:
        place = place[name]
    if draw.random() < 0.2:
        del place[path[-1]]
    else:
        place[path[-1]] = draw.choice(EXTREME)
    return replace(record, cell=cell, key=content_hash(cell)), ".".join(map(str, path))


@pytest.mark.parametrize("count", [150, pytest.param(2000, marks=pytest.mark.slow)])
def test_whatever_is_written_into_an_entry_ends_in_sentences(count: int) -> None:
    unnoticed = []
    for number in range(count):
        record, what = edited(one("er", number % 5), random.Random(number))
        others = [each for each in honest() if each.label == "er" and each.seed != record.seed]
        found = consistent(Submitted((record, *others), None, {}, "5" * 64, (), "theirs"))
        told = [each.sentence for each in found.findings] + [each.sentence for each in found.remarks]
        assert all(each and each.isprintable() for each in [*told, *found.unchecked]), (number, told)
        unnoticed += [] if found.findings else [what]
    assert {what.partition(".")[0] for what in unnoticed} <= POSSIBLE

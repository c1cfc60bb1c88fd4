"""The order in which cells begin if several run at a time: the longest first, so that none is left alone at the end.

Results do not depend on it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from clbench.core.types import content_hash
from clbench.running.cell_key import Cell

MOST = 2000
"""Largest number of records that are read to learn how long cells take."""


def longest_first(cells: Sequence[Cell], out: Path | None) -> list[Cell]:
    """Sort cells by the time that the same cells with other seeds have taken in a result directory, longest first.

    Cells of which nothing is known come first, in their order: they may be the longest.
    """
    if out is None or len(cells) < 2:
        return list(cells)
    known = seconds_of(out)
    took = [known.get(without_seed(cell.config)) for cell in cells]
    places = sorted(range(len(cells)), key=lambda place: (took[place] is not None, -(took[place] or 0.0), place))
    return [cells[place] for place in places]


def seconds_of(out: Path) -> dict[str, float]:
    """Return the mean time of finished cells in a result directory, by what they have in common over seeds.

    Files that cannot be read are left out.
    """
    times: dict[str, list[float]] = {}
    for path in sorted((out / "records").glob("[!.]*.json"))[:MOST]:
        with suppress(OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            record = json.loads(path.read_text(encoding="utf-8"))
            seconds = float(record["cost"]["train_seconds"]) + float(record["cost"]["evaluation_seconds"])
            if record["status"] == "done" and 0 <= seconds < float("inf"):
                times.setdefault(without_seed(record["cell"]), []).append(seconds)
    return {name: sum(own) / len(own) for name, own in times.items()}


def without_seed(config: dict[str, object]) -> str:
    """Return what identifies a cell but for its seed."""
    return content_hash({**config, "seed": 0})

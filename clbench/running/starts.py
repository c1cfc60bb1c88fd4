"""Count the starts of cells in a result directory: those of finished cells are in their records, those of others in
``OUT/attempts``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from clbench.core.record_file import RecordFile
from clbench.running import attempts


def starts_of(directory: Path, records: Iterable[RecordFile]) -> dict[str, Any]:
    """Return how often cells were started, and how much work was lost.

    Args:
        directory: The result directory.
        records: Its records.

    Returns:
        ``cells``: the cells whose starts are known; ``starts``: their starts; ``lost_seconds``: the seconds of work
        that starts did and the next ones had to do again.
    """
    found: dict[str, Sequence[Mapping[str, Any]]] = {held.key: held.attempts for held in records if held.attempts}
    with suppress(OSError):
        for path in (directory / attempts.FOLDER).glob("*.jsonl"):
            written = attempts.read(path)
            if written:
                found[path.stem] = written  # a failed cell has both, and the file has more
    return {
        "cells": len(found),
        "starts": sum(map(len, found.values())),
        "lost_seconds": round(sum(map(attempts.lost_seconds, found.values())), 1),
    }

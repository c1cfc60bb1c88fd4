"""Count the starts of cells in a result directory: those of finished cells are in their records, those of others in
``OUT/attempts``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from clbench.core.record_file import RecordFile


def starts_of(directory: Path, records: Iterable[RecordFile]) -> dict[str, Any]:
    """Return how often cells were started, and how much work was lost.

    Args:
        directory: The result directory.
        records: Its records.

    Returns:
        ``cells``: the cells whose starts are known; ``starts``: their starts; ``lost_seconds``: the seconds of work
        that starts did and the next ones had to do again.
    """
    attempts: dict[str, Sequence[Mapping[str, Any]]] = {held.key: held.attempts for held in records if held.attempts}
    with suppress(OSError):
        for path in (directory / "attempts").glob("*.jsonl"):
            written = _attempts(path)
            if written:
                attempts[path.stem] = written  # a failed cell has both, and the file has more
    lost = (attempt.get("lost_seconds") for found in attempts.values() for attempt in found)
    return {
        "cells": len(attempts),
        "starts": sum(map(len, attempts.values())),
        "lost_seconds": round(sum(seconds for seconds in lost if isinstance(seconds, int | float)), 1),
    }


def _attempts(path: Path) -> list[Mapping[str, Any]]:
    """Return the starts that a file of attempts tells, each with what is known of its end."""
    found: list[dict[str, Any]] = []
    with suppress(OSError):
        for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError, RecursionError):
                line = json.loads(text)
                if isinstance(line, dict) and "began" in line:
                    found.append(line)
                elif isinstance(line, dict) and found:
                    found[-1] |= line
    return list(found)

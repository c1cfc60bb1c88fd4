"""Show the progress of a run to programs: one JSON object in each line."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any, TextIO

from clbench.core.record import Record
from clbench.running.attempts import lost_seconds
from clbench.running.cell_key import Cell
from clbench.running.executors import Elsewhere, Event, Notified, Progress, Retried, Started
from clbench.running.progress import Tally


class JsonLines:
    """Write each event as a JSON object in a line of its own.

    Args:
        tally: The counts.
        stream: Where the lines go.
    """

    scores = True

    def __init__(self, tally: Tally, stream: TextIO) -> None:
        self.tally, self.stream = tally, stream

    def __enter__(self) -> JsonLines:
        self._write("begin", cells=self.tally.total, finished=self.tally.finished)
        return self

    def __exit__(self, *error: object) -> None:
        if not any(isinstance(each, BrokenPipeError) for each in error):
            told = {"cells": self.tally.total, "finished": self.tally.finished}
            self._write("end", **told, seconds=round(self.tally.elapsed, 3), stopped=any(error))

    def __call__(self, event: Event) -> None:
        """Write an event."""
        self.tally.see(event)
        if isinstance(event, Started):
            self._write("started", **_cell(event.cell))
        elif isinstance(event, Progress):
            scores = {} if event.scores is None else {"acc": event.scores.acc, "gap": event.scores.gap}
            at = {"step": event.step, "fraction": round(event.fraction, 6)}
            self._write("progress", **_cell(event.cell), **at, **{"acc": None, "gap": None, **scores})
        elif isinstance(event, Retried):
            self._write("retried", **_cell(event.cell), reason=event.reason, attempt=event.attempt)
        elif isinstance(event, Notified):
            self._write("notice", sentence=event.sentence)
        elif isinstance(event, Record):
            self._write("record", **_record(event))
        elif isinstance(event, Elsewhere):
            self._write("elsewhere", **_record(event.record))

    def _write(self, event: str, **fields: Any) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self.stream.write(json.dumps({"event": event, "time": now, **fields}) + "\n")
        self.stream.flush()


def _cell(cell: Cell) -> dict[str, Any]:
    named = cell.config["benchmark"]
    return {
        "key": cell.key,
        "benchmark": f"{named['name']}@{named['version']}",
        "strategy": cell.label,
        "seed": cell.seed,
    }


def _record(record: Record) -> dict[str, Any]:
    from clbench.metrics import compute

    found: dict[str, float | None] = {"acc": None, "gap": None}
    if record.status == "done" and record.trace is not None:
        values = compute(record.trace, ["acc", "gap_depth"])
        named = {"acc": "acc", "gap": "gap_depth"}
        found = {name: values[own].value if values[own].defined else None for name, own in named.items()}
    seconds = record.cost.get("train_seconds", math.nan) + record.cost.get("evaluation_seconds", 0.0)
    return {
        "key": record.key,
        "benchmark": record.benchmark,
        "strategy": record.label,
        "seed": record.seed,
        "status": record.status,
        "reason": record.reason,
        **found,
        "seconds": round(seconds, 3) if math.isfinite(seconds) else None,
        "attempts": len(record.attempts),
        "lost_seconds": round(lost_seconds(record.attempts), 3),
    }

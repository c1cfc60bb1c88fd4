"""Boards, records and streams as small HTML for notebooks: self-contained, without scripts, readable on any ground.

Strings reach the HTML only through the template, which escapes them.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

from clbench.comparison.record_groups import is_finished
from clbench.comparison.trace_values import TraceValues
from clbench.core.errors import Refused
from clbench.core.public_names import public
from clbench.core.record import Record
from clbench.core.registry import a
from clbench.core.types import Stream
from clbench.leaderboard.board import Board
from clbench.leaderboard.column_type import metric_heading
from clbench.leaderboard.columns import usual
from clbench.leaderboard.html_templates import template
from clbench.leaderboard.numbers import number
from clbench.leaderboard.pair_sheets import pair_sheets
from clbench.leaderboard.sheets import footnotes, sheets
from clbench.leaderboard.summaries import summarise
from clbench.metrics import get as get_metric
from clbench.strategies.protocol import with_breaches

COSTS = {
    "train_seconds": "training, seconds",
    "evaluation_seconds": "evaluations, seconds",
    "steps": "steps",
    "peak_bytes": "peak memory, MB",
}
"""Costs on a record's card, with their titles."""


def html(obj: Any) -> str:
    """Return a board, a record, several records or a stream as HTML, as a notebook shows them.

    Args:
        obj: A :class:`Board`, a :class:`Record`, a list of records (as their leaderboard) or a :class:`Stream`.

    Raises:
        Refused: It is something else.
    """
    if isinstance(obj, Board):
        made = [*sheets(obj, decimals=1, format="notebook"), *pair_sheets(obj, decimals=1)]
        return template("notebook.html").render(kind="board", sheets=made, attention=_needs_attention(obj))
    if isinstance(obj, Record):
        return template("notebook.html").render(kind="record", **_card(obj))
    if isinstance(obj, Stream):
        return template("notebook.html").render(kind="stream", **_stream(obj))
    if isinstance(obj, list | tuple) and obj and all(isinstance(each, Record) for each in obj):
        from clbench.leaderboard.board import board

        return html(board(obj))
    raise Refused(f"{a(obj)} has no HTML here; boards, records and streams have")


def _needs_attention(board: Board) -> frozenset[str]:
    """Return the sentences below tables that need attention: on cells without a result, and alarms."""
    return frozenset(text for table in board.tables for text in footnotes(table)[len(table.notes) :])


def _card(record: Record) -> dict[str, Any]:
    cell = public(record.cell)
    return {
        "title": f"{public(record.label)}, seed {record.seed}, {record.benchmark}",
        "status": record.status,
        "reason": public(record.reason),
        "facts": [*_metrics(record), *_costs(record.cost)],
        "alarms": public(with_breaches(record.cell, record.alarms)),
        "traceback": record.traceback,
        "details": [
            ("key", record.key),
            *((f"{section}.{name}" if name else section, text) for section, name, text in _settings(cell)),
            *((name.replace("_", " "), f"{value:,.6g}") for name, value in record.cost.items()),
            *((name, str(value)) for name, value in record.environment.items() if value not in ("", None)),
        ],
    }


def _metrics(record: Record) -> list[dict[str, str]]:
    """Return title and value of the usual metrics that have one."""
    if not is_finished(record):
        return []
    values = TraceValues()
    measure, found = values.facts(record).measure, []
    for name, value in values.metrics(record, usual([record], values)[1]).items():
        if value.defined:
            metric = get_metric(name).under(measure)
            words = number(summarise({record.seed: value}), name, expected=1, decimals=1, measure=measure)
            percent = metric.in_percent(measure)
            found.append({"name": metric_heading(name, measure), "words": f"{words} %" if percent else str(words)})
    return found


def _costs(cost: Mapping[str, float]) -> list[dict[str, str]]:
    scale = {"peak_bytes": 1e-6}
    return [
        {"name": title, "words": f"{cost[name] * scale.get(name, 1):,.{1 if 'seconds' in name else 0}f}"}
        for name, title in COSTS.items()
        if name in cost
    ]


def _settings(cell: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return section, name and text of each setting of a cell."""
    found = []
    for section, values in cell.items():
        if isinstance(values, Mapping):
            found += [(section, str(name), _text(value)) for name, value in values.items()]
        elif section == "strategy" and isinstance(values, Sequence):
            found += [(section, str(item.get("name")), _text(item.get("parameters") or "")) for item in values]
        else:
            found.append((section, "", _text(values)))
    return found


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_text(each)}" for name, each in value.items())
    return ", ".join(map(_text, value)) if isinstance(value, list | tuple) else str(value)


def _stream(stream: Stream) -> dict[str, Any]:
    from clbench import scenarios
    from clbench.plots import stream_plot

    buffer = io.BytesIO()
    stream_plot.picture(stream).savefig(buffer, format="png", dpi=110)
    told = scenarios.describe(stream)
    return {
        "title": f"stream {stream.name} of {stream.dataset.name}, seed {stream.seed}",
        "picture": base64.b64encode(buffer.getvalue()).decode("ascii"),
        "alt": f"which classes occur in which experience of {stream.name}: {told['classes']}",
        "details": list(told.items()),
    }

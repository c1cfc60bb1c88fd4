"""Words for the settings of a cell: its strategy, its evaluations, its versions, and what differs between cells."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from clbench.core.errors import Refused
from clbench.core.parameters import schema
from clbench.core.record import Record
from clbench.strategies import STRATEGIES
from clbench.strategies import notation as strategy_text

VERSIONS = ("clbench", "torch")
"""Fields of a record's environment that a note names if rows differ in them."""


def versions(record: Record) -> str:
    """Return versions such as ``clbench 0.1.0, torch 2.4.1``, as far as a record contains them."""
    return ", ".join(f"{name} {record.environment[name]}" for name in VERSIONS if record.environment.get(name))


def evaluation_text(evaluation: Mapping[str, Any]) -> str:
    """Return the evaluation settings on which minima and windows depend; empty if a record has none."""
    if not evaluation:
        return ""
    schedule, every = evaluation.get("schedule", "every"), evaluation.get("every", 1)
    when = f"every {every}" if schedule == "every" and every else "ends only" if schedule in ("every", "ends") else ""
    if not when:  # dense, or {dense: {..}}, {at: [..]}
        named = schedule if isinstance(schedule, Mapping) else {schedule: {}}
        when = ", ".join(f"{name} {text}".strip() for name, of in named.items() for text in [_short(of)])
    tasks = evaluation.get("tasks", "seen")
    which = "" if tasks == "seen" else f"; tasks: {tasks}"
    return f"{when}{which}; samples per task: {evaluation.get('rows_per_task', 'all')}"


def _short(settings: Any) -> str:
    """Return ``steps 20, growth 1.1``, or the start of a long list of iterations and their number."""
    if isinstance(settings, Mapping):
        return ", ".join(f"{name} {value}" for name, value in settings.items())
    listed = [str(value) for value in settings]
    return ", ".join(listed) if len(listed) <= 6 else f"{', '.join(listed[:5])}, … ({len(listed)} iterations)"


def differing_settings(cells: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return settings such as ``training.lr`` that differ between cells of one table; a strategy may set its own
    policy."""
    found = []
    for section in ("stream", "model", "training", "evaluation", "memory"):
        settings = [cell.get(section) or {} for cell in cells]
        keys = ["size"] if section == "memory" else sorted({key for each in settings for key in each})
        found += [f"{section}.{key}" for key in keys if len({str(each.get(key)) for each in settings}) > 1]
    return found


def recipe(record: Record) -> str:
    """Return the strategy of a record as text: parts with the parameters that differ from their defaults."""
    return " + ".join(_written(item) for item in record.cell.get("strategy", ()))


def _written(item: Mapping[str, Any]) -> str:
    name, parameters = str(item.get("name", "")), item.get("parameters") or {}
    known = default_parameters(name)
    changed = {k: v for k, v in parameters.items() if k not in known or not _same(v, known[k])}
    short = re.sub(r"[^:]*[/\\](?=[^/\\:]+\.py:)", "", name)
    return strategy_text.label([{short: changed}])


def default_parameters(name: str) -> dict[str, Any]:
    """Return the declared defaults of a strategy's parameters; empty if it is not known here."""
    try:
        fields = schema(STRATEGIES.get(name)).model_fields
        return {k: v.get_default(call_default_factory=True) for k, v in fields.items() if not v.is_required()}
    except Exception:  # an unknown strategy: all its parameters are written
        return {}


def has_only_defaults(record: Record) -> bool:
    """Return whether every parameter of a record's strategy has its declared default.

    A parameter without a default does not have it, and neither does one of a strategy that is not available here.
    """
    return all(
        name in usual and _same(value, usual[name])
        for item in record.cell.get("strategy", ())
        for usual in [default_parameters(str(item.get("name", "")))]
        for name, value in (item.get("parameters") or {}).items()
    )


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
        usual = default_parameters(own)
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

"""Records as a data frame for notebooks, with one row per cell."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from clbench.comparison.record_groups import JointRuns, is_finished
from clbench.comparison.trace_values import TraceValues
from clbench.core.record import Record
from clbench.leaderboard.settings_origin import is_tuned, settings_origin
from clbench.leaderboard.varying_settings import varying_settings
from clbench.metrics import Value, metric_names
from clbench.strategies.protocol import with_breaches

if TYPE_CHECKING:
    from pandas import DataFrame


def frame(records: Iterable[Record], *, settings: bool = True) -> DataFrame:
    """Return a data frame with one row per record: cell, metrics, cost, environment and trace.

    Args:
        records: Any records, of one benchmark or several.
        settings: Whether to include a column for every setting that varies.

    Returns:
        Columns ``benchmark strategy engine seed`` (``engine`` is whose loop ran it); ``settings`` (how they were
        found) if a search found those of any record; a column for every setting in
        which two records differ, by its dotted name (``training.lr``, ``strategy.ewc.strength``; None or NaN in a cell
        without it); ``status reason``; a column per metric (fractions in [0, 1]; NaN if undefined, and in cells that
        are not done); ``cost_*``, ``key fingerprint created alarms``, ``environment_*`` and ``trace`` (a
        :class:`clbench.core.record.Trace` or None). Rows are sorted by benchmark, strategy and seed.
    """
    import pandas

    records, names = list(records), metric_names()
    joint = JointRuns(records)
    with TraceValues() as values:
        kept = sorted(values.readable(records), key=lambda r: (r.benchmark, r.label, r.seed))
        rows = [_row(record, values, names, joint) for record in kept]
    costs = sorted({name for row in rows for name in row if name.startswith("cost_")})
    environment = sorted({name for row in rows for name in row if name.startswith("environment_")})
    varying = varying_settings(records) if settings else {}
    rows = [{**row, **varying.get(row["key"], {})} for row in rows]
    if is_tuned(records):
        origins = {record.key: settings_origin([record]) for record in records}
        rows = [{**row, "settings": origins[row["key"]]} for row in rows]
    named = dict.fromkeys(name for values in varying.values() for name in values)
    origin = ["settings"] if is_tuned(records) else []
    first = ["benchmark", "strategy", "engine", *origin, "seed", *named, "status", "reason"]
    provenance = ["key", "fingerprint", "created", "alarms"]
    return pandas.DataFrame(rows, columns=[*first, *names, *costs, *provenance, *environment, "trace"])


def _row(record: Record, computed: TraceValues, names: list[str], joint: JointRuns) -> dict[str, Any]:
    values: dict[str, Value] = {}
    if is_finished(record):
        values = computed.metrics(record, names, joint.reference(record))
    return {
        "benchmark": record.benchmark,
        "strategy": record.label,
        "engine": record.engine,
        "seed": record.seed,
        "status": record.status,
        "reason": record.reason,
        **{name: values[name].value if name in values else float("nan") for name in names},
        **{f"cost_{name}": value for name, value in record.cost.items()},
        "key": record.key,
        "fingerprint": record.fingerprint,
        "created": record.created,
        "alarms": with_breaches(record.cell, record.alarms),
        **{f"environment_{name}": value for name, value in record.environment.items()},
        "trace": record.trace,
    }

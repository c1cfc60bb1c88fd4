"""The choice of a leaderboard's columns: those that the user names, or the usual metrics, by what records hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from clbench.comparison.record_groups import is_finished
from clbench.comparison.trace_values import TraceFacts, TraceValues
from clbench.core.errors import Refused, did_you_mean
from clbench.core.record import Record
from clbench.leaderboard.board_columns import metric_of
from clbench.leaderboard.board_columns import names as lead
from clbench.leaderboard.column_type import COST
from clbench.metrics import EARLIER, FAMILIES, board_names, metric_names, split_number
from clbench.metrics.stability_gap import SINCE_SWITCH

HEADLINE = ("acc", "aaa", "min_acc", "wc_acc", "gap_depth", "gap_depth_relative", "gap_pairs", "forgetting")
"""The metrics to show in narrow formats unless others are requested."""


def usual(records: Iterable[Record], values: TraceValues) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return all metrics of a leaderboard without a request, and those for narrow formats.

    Records without evaluations at switches have metrics of the gap only under their first definition, with ``@1`` in
    the name. These columns replace the others if no record contains more, and are added if some do.
    """
    facts = _facts(records, values)
    names, narrow = _with_further(facts)
    told = {each.from_switches for each in facts if each.gaps}
    if False not in told:
        return tuple(names), tuple(narrow)
    return _with_earlier(names, both=True in told), _with_earlier(narrow, both=True in told)


def _with_further(facts: Iterable[TraceFacts]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the usual metrics, with those of the traces' measures after the first."""
    further = tuple(dict.fromkeys(name for each in facts for name in each.measure.columns))
    return tuple((names[0], *further, *names[1:]) for names in (board_names(), HEADLINE))  # type: ignore[return-value]


def chosen_columns(written: Sequence[str], costs: Iterable[str]) -> tuple[str, ...]:
    """Check the columns that the user named. The strategy comes first if it is not among them.

    Args:
        written: Names of columns.
        costs: The entries of the records' cost.

    Raises:
        Refused: There is no such column.
    """
    known = [*lead(), *(COST + name for name in costs)]
    for name in written:
        family = split_number(name)[0] in FAMILIES
        if name not in known and not family and metric_of(name) not in metric_names():
            raise Refused(f"there is no column {name!r}; {did_you_mean(name, [*known, *metric_names()])}")
    names = tuple(dict.fromkeys(written))
    return names if "strategy" in names else ("strategy", *names)


def on_versions(records: Mapping[str, Sequence[Record]], names: Iterable[str], values: TraceValues) -> list[str]:
    """Return a note about columns with ``@1``, if they are shown.

    Args:
        records: The records of a table, by strategy.
        names: The metrics of the table.
        values: What computes the facts of their traces.
    """
    if not {*EARLIER, *EARLIER.values(), *SINCE_SWITCH} & set(names):
        return []
    told = {label: {each.from_switches for each in _facts(own, values) if each.gaps} for label, own in records.items()}
    older = [label for label, found in told.items() if False in found]
    if not older:
        return []
    which = "the records" if len(older) == sum(map(bool, told.values())) else f"records of {', '.join(older)}"
    return [
        f"{which} do not separate the effect of training at a switch from that of new outputs (there was no evaluation "
        "at the switch, or classes arrive inside experiences): columns with @1 are measured from the end before a "
        "switch, as published before, and include both; other columns are empty there"
    ]


def _facts(records: Iterable[Record], values: TraceValues) -> list[TraceFacts]:
    """Return the facts of finished runs."""
    return [values.facts(record) for record in records if is_finished(record)]


def _with_earlier(names: Sequence[str], *, both: bool) -> tuple[str, ...]:
    found: list[str] = []
    for name in names:
        if both or (name not in EARLIER and name not in SINCE_SWITCH):
            found.append(name)
        if name in EARLIER:
            found.append(EARLIER[name])
    return tuple(found)

"""Which metrics a board shows where none were asked for, given what its records can tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from clbench.comparison.record_groups import is_finished
from clbench.core.record import Record, Trace
from clbench.metrics import EARLIER, board_names, measured_from_switches
from clbench.metrics.gap import SINCE_SWITCH
from clbench.metrics.metric import Undefined
from clbench.metrics.switches import old_pairs

HEADLINE = ("acc", "aaa", "min_acc", "wc_acc", "gap_depth", "gap_depth_relative", "gap_pairs", "forgetting")
"""The metrics shown where width is short and none were asked for."""


def usual(records: Iterable[Record]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """All metrics of a board for which none were asked, and those for narrow formats.

    Records without looks at switches have metrics of the gap only as they were measured before, under names with
    ``@1``: these columns stand in the others' place where no record tells more, and beside them where some do.
    """
    told = {measured_from_switches(trace) for trace in _with_gaps(records)}
    names, narrow = board_names(), HEADLINE
    if False not in told:
        return tuple(names), tuple(narrow)
    return _with_earlier(names, both=True in told), _with_earlier(narrow, both=True in told)


def on_versions(records: Mapping[str, Sequence[Record]], names: Iterable[str]) -> list[str]:
    """What a reader has to know of columns with ``@1``, if anything.

    Args:
        records: Of a table, by strategy.
        names: Its metrics.
    """
    if not {*EARLIER, *EARLIER.values(), *SINCE_SWITCH} & set(names):
        return []
    told = {label: set(map(measured_from_switches, _with_gaps(own))) for label, own in records.items()}
    older = [label for label, found in told.items() if False in found]
    if not older:
        return []
    which = "the records" if len(older) == sum(map(bool, told.values())) else f"records of {', '.join(older)}"
    return [
        f"{which} do not separate what training does at a switch from what the arrival of outputs does (no look was "
        "taken at it, or classes arrive inside experiences): columns with @1 are measured from the end before a "
        "switch, as published before, and hold both; others are empty there"
    ]


def _with_gaps(records: Iterable[Record]) -> Iterable[Trace]:
    """The traces of finished runs in which some task was ever absent."""
    for record in records:
        if is_finished(record) and record.trace is not None:
            try:
                old_pairs(record.trace)
            except Undefined:
                continue
            yield record.trace


def _with_earlier(names: Sequence[str], *, both: bool) -> tuple[str, ...]:
    found: list[str] = []
    for name in names:
        if both or (name not in EARLIER and name not in SINCE_SWITCH):
            found.append(name)
        if name in EARLIER:
            found.append(EARLIER[name])
    return tuple(found)

"""Which finished cells a run takes up again on request."""

from __future__ import annotations

from collections.abc import Iterable

from clbench.core.errors import Refused, did_you_mean
from clbench.core.record import Record
from clbench.running.code_digest import CHANGED, code_state

STALE = "stale"
RERUNS = (STALE,)
"""Words for finished cells that are run again: those whose code has changed since, or is unknown."""


def check_rerun(word: str | None) -> str | None:
    """Return a word for the cells to run again, if it is known.

    Raises:
        Refused: It is not.
    """
    if word is not None and word not in RERUNS:
        raise Refused(f"rerun = {word!r} is not known; {did_you_mean(word, RERUNS)}")
    return word


def stale_text(records: Iterable[Record]) -> str:
    """Return whether records are of other code, of unknown code, or of both, with their numbers; empty without any."""
    states = [code_state(record.cell, record.code) for record in records]
    changed = states.count(CHANGED)
    told = {"other code": changed, "unknown code": len(states) - changed}
    kinds = [what for what, number in told.items() if number]
    return kinds[0] if len(kinds) == 1 else " or ".join(f"{what} ({told[what]})" for what in kinds)

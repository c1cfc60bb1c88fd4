"""The option of ``clbench run`` that takes up finished cells again, and what it prints."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clbench.cli.common import count

if TYPE_CHECKING:
    from clbench.core.record import Record


class Again(StrEnum):
    """Name which finished cells are run again."""

    stale = "stale"


Rerun = Annotated[
    Again | None,
    typer.Option(
        help="Run finished cells again whose code has changed since, or is unknown. Equal results keep their records; "
        "others move to OUT/superseded.",
        show_default="none",
    ),
]


def stale_note(records: Collection[Record], total: int, out: Path) -> str:
    """Return which cells are run again because of their code, and where other records go; empty if there are none."""
    from clbench.running.rerun import stale_text
    from clbench.running.standing_records import SUPERSEDED

    if not records:
        return ""
    where = f"a record with another result moves to {out / SUPERSEDED}"
    cells = f"{len(records)} of {count(total, 'cell')} finished earlier with {stale_text(records)}"
    return f"{cells}: they run again, and {where}."

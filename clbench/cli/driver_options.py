"""Options of ``clbench run`` for several commands that run one benchmark, and what they print at its end."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clbench.cli.common import count
from clbench.cli.console import tell
from clbench.core.shown_text import shown

if TYPE_CHECKING:
    from clbench.running.cell_key import Cell
    from clbench.running.plan import Plan

WORDS = "clbench.words"
"""The key under which a command's context holds the words after its name."""
LEFT = 3
"""Exit code of a command that leaves cells to others."""

Share = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        help="Run one of N shares of the cells, like 3/16, for commands that share no folder.",
        show_default="all cells",
    ),
]
NoWait = Annotated[
    bool,
    typer.Option(
        "--no-wait",
        help="Leave when other commands run all remaining cells in OUT, with exit code 3, and write no table.",
    ),
]


def command_line(context: typer.Context) -> str:
    """Return the command of a context, as a shell would take it."""
    return shlex.join(["clbench", str(context.info_name), *context.meta.get(WORDS, ())])


def shard_text(plan: Plan) -> str:
    """Say in one sentence which share of a benchmark a command runs."""
    here, total = len(plan.cells), len(plan.cells) + len(plan.others)
    nothing = "; there is nothing to run" if not here else ""
    return f"shard {plan.shard} holds {here} of {count(total, 'cell')}{nothing}"


def shard_note(plan: Plan, here: Collection[str]) -> str:
    """Return the note of a table that lacks the cells of other shards; empty if it lacks none.

    Args:
        plan: The plan of one shard.
        here: The keys of all records of the result folder.
    """
    missing = sum(key not in here for key in plan.others)
    total = len(plan.cells) + len(plan.others)
    return f"shard {plan.shard}: {missing} of {count(total, 'cell')} are in other folders" if missing else ""


def tell_waiting(cells: int) -> None:
    """Say that a command waits for cells that others run."""
    tell(f"other commands run the remaining {count(cells, 'cell')}; this one waits, and takes over what they leave")


def leave(cells: Sequence[Cell], out: Path) -> int:
    """Say which cells other commands run, and return the exit code."""
    from clbench.running.claimed_cells import running

    tell(f"other commands run the remaining {count(len(cells), 'cell')} in {out}; `clbench status {out}` follows them:")
    wanted = {cell.key: cell for cell in cells}
    for claim in running(out):
        cell = wanted.get(claim.key)
        if cell is not None and claim.holder is not None:
            where = f"on {claim.holder.host}, process {claim.holder.pid}"
            print(f"  {shown(cell.label)}, seed {cell.seed}: {where}", file=sys.stderr)
    return LEFT

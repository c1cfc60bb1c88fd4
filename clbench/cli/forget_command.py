"""``clbench forget``: take cells out of result folders; they are moved, not deleted."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clbench.cli.common import count, make_console

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from clbench.core.record import Record


def forget(
    directories: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Result folders of clbench run.")],
    *,
    strategies: Annotated[
        str | None, typer.Option(help="Strategies, as leaderboards show them, like 'er, mine'.", show_default=False)
    ] = None,
    keys: Annotated[
        list[str] | None, typer.Option("--key", metavar="KEY", help="The first characters of a cell's key; repeatable.")
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Failed cells.")] = False,
    older: Annotated[
        bool, typer.Option("--older", help="Cells of older versions of your code, which board --latest leaves out.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Take cells out of result folders: those that fit all given conditions.

    Nothing is deleted. Record, trace, models and predictions are moved to DIR/forgotten, which is a result folder too.
    """
    from clbench import api
    from clbench.core.errors import Refused
    from clbench.running.execution import split_strategies
    from clbench.running.forget import chosen
    from clbench.running.forget import forget as move

    console = make_console()
    names = [str(name) for name in split_strategies(strategies) or ()]
    found = {
        folder: chosen(api.records(folder), strategies=names, keys=keys or (), failed=failed, older=older)
        for folder in directories
    }
    total = sum(map(len, found.values()))
    if not total:
        console.print("No cell fits, so nothing was moved.")
        return
    for folder, records in found.items():
        _list(console, folder, records)
    if not yes:
        if not sys.stdin.isatty():
            raise Refused(f"forget asks before it moves {count(total, 'cell')}, and there is no terminal; add --yes")
        if not typer.confirm(f"Move {count(total, 'cell')}?"):
            raise typer.Exit(1)
    for folder, records in found.items():
        if records:
            place, moved = move(records, folder)
            console.print(f"{count(len(moved), 'cell')} moved to {place}.", soft_wrap=True)
            console.print(
                f"`clbench board {place}` still shows them; moving the files back undoes it. Leaderboard files in "
                f"{folder} are older: `clbench board {folder} -o {folder / 'leaderboard.html'}` writes one again.",
                style="dim",
                soft_wrap=True,
            )


def _list(console: Console, folder: Path, records: Sequence[Record]) -> None:
    """Print the cells to move: a line for each strategy and status."""
    groups = Counter((record.benchmark, record.label, record.status) for record in records)
    for (benchmark, label, status), number in sorted(groups.items()):
        console.print(f"{folder}: {benchmark}, {label}: {count(number, 'cell')}, {status}", soft_wrap=True)

"""``clbench merge``: merge result folders into a new one."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clbench.cli.common import count, make_console

if TYPE_CHECKING:
    from rich.console import Console

    from clbench.running.folder_merge import Merged


def merge(
    directories: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Result folders of clbench run.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="The new folder; it does not exist or is empty.")
    ],
    *,
    snapshots: Annotated[
        bool, typer.Option("--snapshots", help="Copy the checkpoints of cells that no folder has finished too.")
    ] = False,
) -> None:
    """Merge result folders into a new one. Each cell is copied once, with its model and predictions.

    Nothing in the merged folders is changed. Different results of one cell are kept apart, in the folder conflicts.

    Exit code: 0 merged, 1 cells have different results, 2 the command is wrong or the new folder cannot be written.
    """
    from clbench.running.folder_merge import merge as merge_folders

    console = make_console()
    with console.status("merging"):
        merged = merge_folders(directories, output, snapshots=snapshots)
    _print(console, merged)
    raise typer.Exit(1 if merged.conflicts else 0)


def _print(console: Console, merged: Merged) -> None:
    def say(text: str, style: str = "") -> None:
        console.print(text, style=style, soft_wrap=True)

    say(f"{count(merged.cells, 'cell')} merged into {merged.out}", "bold")
    for name, number in merged.taken:
        say(f"  {number} from {name}")
    if merged.equal:
        say(f"{count(merged.equal, 'cell')} with equal results in several folders, copied once")
    if merged.snapshots:
        say(f"{count(merged.snapshots, 'checkpoint')} of unfinished cells copied")
    if merged.conflicts:
        different = f"{count(len(merged.conflicts), 'cell')} with different results"
        say(f"{different}, kept in {merged.out / 'conflicts'} and in no leaderboard:", "bold")
        for each in merged.conflicts:
            say(f"  {each.difference} [{each.key[:6]}: {', '.join(each.folders)}]")
    if merged.aside:
        say(f"not merged: {', '.join(merged.aside)}", "dim")
    say(f"`clbench board {shlex.quote(str(merged.out))}` makes the leaderboard.", "dim")

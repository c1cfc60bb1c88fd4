"""``clbench diff``: compare two result folders cell by cell, and strategy by strategy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clbench.cli.common import count, make_console

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from clbench.comparison.folder_difference import CellGroup, FolderDifference, Paired

LISTED = 20
"""Largest number of differing cells that are printed one by one; ``--json`` has all of them."""


def diff(
    first: Annotated[Path, typer.Argument(metavar="A", help="A result folder of clbench run.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another one.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print all differences as one JSON object.")] = False,
) -> None:
    """Compare two result folders: which cells are equal, where others first differ, and how ACC differs.

    Exit code: 0 no cell that is in both differs, 1 one does, 2 the command is wrong.
    """
    from clbench import api

    found = api.folder_difference(first, second)
    if as_json:
        print(json.dumps(found.data(), indent=1))
    else:
        _print(make_console(), found, first, second)
    raise typer.Exit(1 if found.different else 0)


def _print(console: Console, found: FolderDifference, first: Path, second: Path) -> None:
    def say(text: str, style: str = "") -> None:
        console.print(text, style=style, soft_wrap=True)

    say(f"A is {first}, B is {second}")
    if found.shared:
        different = f"{len(found.different)} different" if found.different else "none different"
        say(f"{count(found.shared, 'cell')} in both: {found.equal} equal, {different}", "bold")
    else:
        say("no cell is in both", "bold")
    for each in found.different[:LISTED]:
        say(f"  {each} [{each.record.key[:6]}]")
    if len(found.different) > LISTED:
        say(f"  and {len(found.different) - LISTED} more; --json lists all of them", "dim")
    for name, groups in (("A", found.only_a), ("B", found.only_b)):
        if groups:
            say(f"{count(sum(len(each.seeds) for each in groups), 'cell')} only in {name}:", "bold")
            _print_groups(say, groups)
    benchmarks = dict.fromkeys(each.benchmark for each in found.paired)
    for benchmark in benchmarks:
        console.print()
        console.print(_table(benchmark, [each for each in found.paired if each.benchmark == benchmark]))
    changed = dict.fromkeys((each.settings, each.benchmark) for each in found.paired if any(each.settings))
    for (ours, theirs), benchmark in changed:
        say(f"{benchmark}: A has {ours or 'no further settings'}; B has {theirs or 'no further settings'}", "dim")
    if found.paired:
        say("B - A is paired by seed, with half the 95 % interval from three seeds on", "dim")
    for sentence in found.unpaired:
        say(sentence, "dim")


def _print_groups(say: Any, groups: Sequence[CellGroup]) -> None:
    for each in groups[:LISTED]:
        say(f"  {each.benchmark}, {each.strategy}: {count(len(each.seeds), 'cell')}")
    if len(groups) > LISTED:
        say(f"  and {count(len(groups) - LISTED, 'more strategy', 'more strategies')}; --json lists all of them", "dim")


def _table(benchmark: str, rows: Sequence[Paired]) -> Any:
    """Return a table with a row for each strategy: seeds, both means, and their difference."""
    from rich.table import Table
    from rich.text import Text

    unit = f", {rows[0].measure.unit}" if rows[0].measure.unit else ""
    title = Text(f"{benchmark}: {rows[0].title}{unit}", style="bold")
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("strategy", overflow="fold")
    for heading in ("seeds", "A", "B", "B - A"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        told = "equal" if row.a == row.b else row.change
        table.add_row(Text(row.strategy), str(len(row.seeds)), row.column(row.a), row.column(row.b), told)
    return table

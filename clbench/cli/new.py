"""Define ``clbench new``, which creates a package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clbench.cli.common import make_console
from clbench.cli.examples import Exemplified, ExemplifiedGroup, examples

EXAMPLES = examples(
    "clbench new strategy my_method  # in the folder clbench-my-method",
    "clbench new strategy my_method --out work/my-method",
)
new = typer.Typer(
    help="Create a package of your own: new strategy NAME.", cls=ExemplifiedGroup, epilog=EXAMPLES, no_args_is_help=True
)


@new.callback()
def _begin() -> None:
    """Create a package of your own."""


@new.command("strategy", cls=Exemplified, epilog=EXAMPLES)
def strategy(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the strategy in benchmarks, in snake_case.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder of the package.", show_default="clbench-NAME")
    ] = None,
) -> None:
    """Write a small installable package that adds a strategy, with a test of its contract."""
    from clbench.cli import scaffold

    written = scaffold.strategy(name, out)
    folder = written[0].parent
    console = make_console()
    console.print("Written:")
    for path in written:
        console.print(f"  {path}", soft_wrap=True)
    console.print("Next:")
    for line in (
        f"pip install -e {folder}",
        f"clbench check {name}",
        f"pytest {folder}",
        f"clbench ablate {name} --against naive",
    ):
        console.print(f"  {line}", soft_wrap=True)

"""The command line. Commands import what they need when they run, so that ``clbench --help`` starts at once."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from clbench.cli.boards import board, plot
from clbench.cli.check import check
from clbench.cli.checkup import doctor
from clbench.cli.listing import list_names
from clbench.cli.new import new
from clbench.cli.run import run
from clbench.cli.sensitivity import sensitivity
from clbench.cli.show import show

app = typer.Typer(
    name="clbench",
    help="Continual-learning benchmarks that look at every iteration.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command("run")(run)
app.command("list")(list_names)
app.command("show")(show)
app.command("board")(board)
app.command("plot")(plot)
app.command("sensitivity")(sensitivity)
app.command("check")(check)
app.add_typer(new, name="new")
app.command("doctor")(doctor)


def _version(wanted: bool) -> None:
    if wanted:
        from clbench import __version__

        typer.echo(f"clbench {__version__}")
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Continual-learning benchmarks that look at every iteration."""


def _told(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> str:
    """A notice in a line; any other warning as Python writes it."""
    from clbench.data.roots import Notice

    if issubclass(category, Notice):
        return f"clbench: {message}\n"
    return _formatwarning(message, category, *where, **more)


_formatwarning = warnings.formatwarning


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit: 0 is fine, 1 a cell or a check that failed, 2 a user's mistake, told in one sentence.

    Args:
        arguments: In place of those of the process.
    """
    warnings.formatwarning = _told
    try:
        app(args=arguments, prog_name="clbench")
    except ValueError as error:
        from clbench.parameters import Refused

        if not isinstance(error, Refused):
            raise
        sys.stdout.flush()
        print(f"clbench: {error}", file=sys.stderr)
        sys.exit(2)

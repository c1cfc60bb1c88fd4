"""Register the commands by name. They import what they need when they run, so that ``clbench --help`` is fast."""

from __future__ import annotations

from typing import Annotated

import typer

from clbench.cli.boards import board, plot
from clbench.cli.check import check
from clbench.cli.doctor import doctor
from clbench.cli.listing import list_names
from clbench.cli.new import new
from clbench.cli.run import Spelled, run
from clbench.cli.sensitivity_command import sensitivity
from clbench.cli.show import show

app = typer.Typer(
    name="clbench",
    help="Continual-learning benchmarks with evaluation after every iteration.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command("run", cls=Spelled)(run)
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
    """Continual-learning benchmarks with evaluation after every iteration."""

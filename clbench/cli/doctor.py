"""Define ``clbench doctor``, which checks the installation and suggests fixes."""

from __future__ import annotations

import typer

from clbench.cli.benchmark_options import DataDir
from clbench.cli.common import make_console

STYLES = {"ok": "green", "warning": "yellow", "broken": "bold red"}


def doctor(
    data_dir: DataDir = None,
) -> None:
    """Check the installation, the data and the disk. Exit code 1 if something is broken."""
    from rich.table import Table
    from rich.text import Text

    from clbench.cli import installation as checks

    console = make_console()
    grid = Table.grid(padding=(0, 2, 0, 0))
    for wraps in (False, False, True):
        grid.add_column(no_wrap=not wraps, overflow="fold")
    broken = 0
    with console.status("checking"):
        found = checks.examine(None if data_dir is None else str(data_dir))
    for check in found:
        text = Text(check.text)
        if check.cure:
            text.append(f"\n-> {check.cure}", style="bold")
        grid.add_row(Text(check.status, style=STYLES[check.status]), check.name, text)
        broken += check.status == "broken"
    console.print(grid)
    raise typer.Exit(1 if broken else 0)

"""Define the option ``--plugin FILE.py``, which gives the strategies of a file short names for one command."""

from __future__ import annotations

from typing import Annotated

import typer


def _take(context: typer.Context, files: list[str] | None) -> list[str]:
    """Register the strategies of the files until the command ends; all of them, or none."""
    from clbench.strategies import STRATEGIES
    from clbench.strategies.plugin_file import plugin

    named: list[str] = []

    def forget() -> None:
        for name in named:
            STRATEGIES.unalias(name)

    try:
        for file in files or []:
            for name, target in plugin(file).items():
                STRATEGIES.alias(name, target)
                named.append(name)
    except Exception:
        forget()
        raise
    context.call_on_close(forget)
    return files or []


Plugins = Annotated[
    list[str] | None,
    typer.Option(
        "--plugin",
        metavar="FILE.py",
        callback=_take,
        help="Use the strategies of a file: its parts, by snake_case names, and functions -> list[Part]; repeatable.",
    ),
]
"""The option as commands declare it; its callback runs before the command."""

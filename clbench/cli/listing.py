"""Define ``clbench list``, which shows a line per name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from clbench.cli.common import make_console
from clbench.cli.plugins import Plugins

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text


def list_names(
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="[KIND]", help="benchmarks, datasets, scenarios, models, strategies, metrics, ...; all by default."
        ),
    ] = None,
    plugins: Plugins = None,  # noqa: ARG001 its callback has read it
) -> None:
    """List names with their parameters, and the origin of plugins."""
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    from clbench.cli.kinds import KINDS
    from clbench.core.errors import Refused, did_you_mean

    if kind is not None and kind not in KINDS:
        raise Refused(f"there is no kind {kind!r}; {did_you_mean(kind, KINDS)}")
    console = make_console()
    for number, each in enumerate([kind] if kind else KINDS):
        if number:
            console.print()
        console.print(Text(each, style="bold"))
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        for name, text in _lines(each):
            grid.add_row(Text(f"  {name}", style="cyan"), text)
        console.print(grid)
        _print_schemes(console, each)
        if each == "datasets":
            console.print(Padding(Text(f"settings of each: {_dataset_settings()}", style="dim"), (0, 0, 0, 2)))
            console.print("  and any other classification data set of torchvision by its class name", style="dim")


def _lines(kind: str) -> list[tuple[str, Text]]:
    """Return names with their descriptions."""
    from clbench.benchmark.shipped_files import named
    from clbench.cli.kinds import benchmark_summary, describe, names, registry

    if kind == "benchmarks":
        return [
            (name, _with_origin(each.problem if each.path is None else benchmark_summary(each.path), each.origin))
            for name, each in named().items()
        ]
    lines: list[tuple[str, Text]] = []
    for name in names(kind):
        try:
            summary, parameters, origin = describe(kind, name)
        except Exception as error:  # the settings of a plugin's object cannot be read
            origin = next(entry.origin for entry in registry(kind) if entry.name == name)
            if origin == "clbench":
                raise
            summary, parameters = f"cannot be described: {type(error).__name__}: {error}", ""
        text = _with_origin(summary, origin)
        if parameters and kind != "datasets":
            text.append(f"\n{parameters}", style="dim")
        lines.append((name, text))
    return lines


def _with_origin(summary: str, origin: str) -> Text:
    """Return a summary, with its package if that is another one than clbench."""
    from rich.text import Text

    text = Text(summary)
    return text if origin == "clbench" else text.append(f"  [{origin}]", style="magenta")


def _print_schemes(console: Console, kind: str) -> None:
    """Print how names from other libraries are written."""
    from rich.table import Table
    from rich.text import Text

    from clbench.cli.kinds import registry

    schemes = {} if kind == "benchmarks" else registry(kind).schemes
    if not schemes:
        return
    console.print(Text("\n  from other libraries and your own classes, written SCHEME:NAME", style="bold"))
    grid = Table.grid(padding=(0, 2, 0, 0))
    for scheme, (_, form, summary) in schemes.items():
        grid.add_row(Text(f"  {scheme}:{form}", style="cyan"), Text(summary))
    console.print(grid)
    console.print(
        "  each also takes FILE.py:NAME and package.module.NAME; `clbench show SCHEME:NAME` shows its settings",
        style="dim",
    )


def _dataset_settings() -> str:
    from clbench import data
    from clbench.core.parameters import signature_text
    from clbench.models import frozen_features

    features = " or ".join(
        f"{{{signature_text(declared)}}}" for declared in (frozen_features.settings, frozen_features.source_settings)
    )
    return f"{signature_text(data.load)}, features: {features}"

"""``clbench submit``: write records into a bundle that others can check."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clbench.cli.common import count, make_console
from clbench.cli.output_files import format_of

if TYPE_CHECKING:
    from rich.console import Console

    from clbench.submission.bundle_writer import Bundle


def submit(
    directories: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Result folders of clbench run.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The bundle, a zip file; it is replaced.")
    ],
    contact: Annotated[
        str, typer.Option("--contact", metavar="TEXT", help="Who answers questions: an e-mail or https:// address.")
    ],
    licence: Annotated[
        str, typer.Option("--licence", "--license", metavar="NAME", help="The licence of the records, as in CC-BY-4.0.")
    ],
    *,
    sources: Annotated[
        list[Path] | None,
        typer.Option("--sources", metavar="FOLDER", help="A folder with files of your own strategies; repeatable."),
    ] = None,
) -> None:
    """Write the records of result folders into a bundle that others can check with clbench verify.

    The bundle holds records, traces, a manifest with a checksum of each file, and the program texts of your own
    strategies. If something is missing, all of it is listed, and nothing is written.

    Exit code: 0 written, 2 something is missing or the command is wrong.
    """
    format_of(output, {".zip": "zip"}, "a bundle")
    from clbench.submission.bundle_writer import submit as write_bundle

    console = make_console()
    with console.status("packing"):
        bundle = write_bundle(*directories, out=output, contact=contact, licence=licence, sources=sources or ())
    _print(console, bundle)


def _print(console: Console, bundle: Bundle) -> None:
    from clbench.core.shown_text import shown

    def say(text: str, style: str = "") -> None:
        console.print(text, style=style, soft_wrap=True, markup=False, highlight=False)

    records = sum(bundle.rows.values())
    say(f"{count(records, 'record')} written to {shown(bundle.path, None)} ({bundle.size / 1000:,.0f} kB)", "bold")
    for (benchmark, label), number in sorted(bundle.rows.items()):
        say(f"  {shown(benchmark)}: {shown(label)}, {count(number, 'seed')}")
    files = [plugin.file for plugin in bundle.manifest.plugins if plugin.file]
    if files:
        say(f"with {count(len(files), 'program text')}: {', '.join(files)}")
    say(f"sha256 {bundle.digest}")
    say(f"`clbench verify {shown(bundle.path, None)}` checks it.", "dim")

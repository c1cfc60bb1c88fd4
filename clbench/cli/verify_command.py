"""``clbench verify``: check bundles and result folders of others, and run drawn cells of them again."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clbench.cli.boards import MANY_OBJECTS
from clbench.cli.common import count, make_console
from clbench.cli.console import tell

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from clbench.submission.verification import Verification, Verified

LISTED = 20
"""Largest number of findings, or of remarks, that are printed for one submission; the report has all of them."""


def verify(
    submissions: Annotated[
        list[Path],
        typer.Argument(metavar="BUNDLE|DIR...", help="Bundles of clbench submit, result folders, or folders above."),
    ],
    *,
    rerun: Annotated[int, typer.Option(metavar="K", help="Run K cells again, drawn from the sha256.")] = 0,
    fresh: Annotated[
        int, typer.Option(metavar="M", help="Run M fresh seeds of each row, and one on secret data; needs --rerun.")
    ] = 0,
    prefix: Annotated[
        int | None,
        typer.Option(metavar="N", help="Run only the first N steps of drawn cells.", show_default="whole cells"),
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Run code that is not clbench's, if you have a copy with the same digest.")
    ] = False,
    data_dir: Annotated[
        str | None, typer.Option(help="Folder of data sets; streams are made again from them.", show_default=False)
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "cpu",
    jobs: Annotated[str, typer.Option(help="How many cells run at a time: a number, or auto for all cores.")] = "1",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Write the report, an in-toto statement.", show_default=False
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Check submissions of others, and give each a status: self-reported, consistent, reproduced or honest seeds.

    Nothing of a submission is executed. --rerun runs its cells again, with your own copy of clbench.

    Exit code: 0 the status that was asked for is reached, 1 it is not, 2 the command is wrong.
    """
    from clbench.cli.output_files import format_of

    if output is not None:
        format_of(output, {".json": "json"}, "a report")
    gc.set_threshold(MANY_OBJECTS)
    from rich.text import Text

    from clbench.core.shown_text import pictured
    from clbench.submission.statement import statement, write_statement
    from clbench.submission.verification import verify as run

    console = make_console()
    with console.status("verifying") as shown:
        found = run(
            *submissions,
            rerun=rerun,
            fresh=fresh,
            prefix=prefix,
            trust=trust,
            data_dir=data_dir,
            device=device,
            jobs=int(jobs) if jobs.isdecimal() else jobs,
            watch=lambda told: shown.update(Text(pictured(told))),
        )
    if as_json:
        print(json.dumps(statement(found), indent=1))
    else:
        _print(console, found)
    if output is not None:
        write_statement(found, output)
        tell(f"the report is in {output}")
    raise typer.Exit(0 if found.status == found.asked else 1)


def _print(console: Console, found: Verification) -> None:
    from clbench.core.shown_text import shown

    def say(text: str, style: str = "") -> None:
        console.print(text, style=style, soft_wrap=True, markup=False, highlight=False)

    for each in found.submissions:
        say(f"{shown(each.path, None)}: {count(each.records, 'record')}, {each.status}", "bold")
        _print_one(say, each)
    if len(found.submissions) > 1:
        say(f"{count(len(found.submissions), 'submission')}: the lowest status is {found.status}", "bold")
    if found.status != found.asked:
        say(f"{found.asked} was asked for, and {found.status} is reached", "bold red")


def _print_one(say: Callable[[str, str], None], each: Verified) -> None:
    for name, sentences, style in (
        ("wrong", [found.sentence for found in each.findings], "red"),
        ("holds", [run.sentence for run in each.runs if run.holds], ""),
        ("note", [*each.drawn, *(remark.sentence for remark in each.remarks)], "dim"),
    ):
        for sentence in sentences[:LISTED]:
            say(f"  {name}: {sentence}", style)
        if len(sentences) > LISTED:
            say(f"  and {len(sentences) - LISTED} more; the report lists all of them", "dim")
    for what, number in each.unchecked.items():
        say(f"  not checked, of {count(number, 'record')}: {what}", "dim")

"""Write the results of ``clbench run``, print them, send them, and decide the exit code."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from clbench.cli.common import count, picture, print_board, write_file
from clbench.cli.console import tell
from clbench.cli.driver_options import shard_note
from clbench.core.shown_text import pictured, shown

if TYPE_CHECKING:
    from rich.console import Console

    from clbench.core.record import Record
    from clbench.leaderboard import Board
    from clbench.running.plan import Plan


class Wandb(StrEnum):
    """Name the modes of Weights & Biases."""

    online = "online"
    offline = "offline"
    disabled = "disabled"


def publish(console: Console, plan: Plan, out: Path) -> None:
    """Write the leaderboard and picture of all records in ``out``, and print the table and the files written.

    Raises:
        Refused: A file cannot be written; the table has been printed.
    """
    from clbench import api
    from clbench.core.errors import Refused
    from clbench.leaderboard import board as make_board
    from clbench.leaderboard.published_rows import published_in

    records = api.records(out)
    board = make_board(records, published=published_in([out]))
    drawn = _drawn(plan, records)
    if note := shard_note(plan, {record.key for record in records}):
        tables = (replace(t, notes=(*t.notes, note)) if t.benchmark == drawn else t for t in board.tables)
        board = replace(board, tables=tuple(tables))
    try:
        written = _write_results(board, records, drawn, out)
    except Refused as error:
        console.print()
        print_board(console, board)
        raise Refused(f"{error}; all records are kept, and the same command writes the files") from None
    console.print()
    print_board(console, board)
    console.print("Written:")
    for path in written:
        console.print(f"  {path}", soft_wrap=True)


def _write_results(board: Board, records: Sequence[Record], benchmark: str | None, out: Path) -> list[Path]:
    """Write a leaderboard in all formats and the picture of one benchmark, and return the files."""
    from clbench import plots
    from clbench.core.errors import Refused
    from clbench.leaderboard import render

    written = []
    for suffix in ("md", "csv", "json", "html"):
        written.append(out / f"leaderboard.{suffix}")
        write_file(written[-1], render(board, suffix).encode())
    try:
        figure = plots.stability_gap(records, benchmark=benchmark)
    except Refused as error:
        tell(f"no picture of the stability gap: {error}")
    else:
        written.append(out / "stability_gap.png")
        picture(figure, written[-1])
    return written


def _drawn(plan: Plan, records: Sequence[Record]) -> str | None:
    """Return the title of the plan's cells among all records of the folder."""
    from clbench.comparison import comparable

    keys = {cell.key for cell in plan.cells}
    found = comparable.tables(records)
    return next((name for name, held in found.items() if any(record.key in keys for record in held)), None)


def send(records: Sequence[Record], out: Path, mode: Wandb) -> None:
    """Send records to Weights & Biases; problems are only reported, because the results are safe on disk."""
    from clbench.running import wandb_tracker

    problems = wandb_tracker.send(records, out=out, mode=mode.value)
    for problem in problems:
        tell(problem)
    if not problems:
        print(
            f"Sent to Weights & Biases ({mode.value}): {count(len(records), 'run')}; its files are in {out / 'wandb'}"
        )


def verdict(records: Sequence[Record], out: Path) -> int:
    """Return the exit code, and list cells without a result with the reason, once for all seeds that share it.

    Skipped cells count as a failure only if there are no others, or if a strategy lacks the replay buffer that the
    benchmark does not give.
    """
    bad, cells = [record for record in records if record.status in ("failed", "diverged")], count(len(records), "cell")
    skipped = [record for record in records if record.status == "skipped"]
    without = [record for record in skipped if _lacks_buffer(record)]
    if bad:
        tell(f"{len(bad)} of {cells} failed or diverged:")
        _list_reasons(bad)
    if len(skipped) == len(records):
        tell(f"all {cells} were skipped:")
        _list_reasons(skipped)
        return 1
    if without:
        tell(
            f"{len(without)} of {cells} were skipped, because memory.size is 0; set it, as in --set memory.size=200, "
            "or leave these strategies out:"
        )
        _list_reasons(without)
    told = next((record for record in bad if record.traceback), None)
    if told is not None:
        print(f"`clbench show {shlex.quote(str(out))} {told.key[:6]} --traceback` shows where.", file=sys.stderr)
    return 1 if bad or without else 0


def _list_reasons(records: Sequence[Record]) -> None:
    """Print the reason of each record, once for all seeds that share it."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for record in records:
        groups.setdefault((record.label, record.status, record.reason), []).append(str(record.seed))
    for (label, status, reason), seeds in groups.items():
        text = f"{shown(label)}, seed{'s' * (len(seeds) > 1)} {', '.join(seeds)}: {status}: {pictured(reason)}"
        print(f"  {text}", file=sys.stderr)


def _lacks_buffer(record: Record) -> bool:
    from clbench.strategies.chain import NO_BUFFER

    return record.reason.endswith(NO_BUFFER)

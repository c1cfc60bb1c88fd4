"""Define ``clbench run``, which runs all cells of a benchmark and writes a leaderboard."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clbench.cli.common import count, describe_stream, make_console, pairs, picture, print_board, write_file
from clbench.cli.console import tell
from clbench.cli.examples import Exemplified
from clbench.cli.plugins import Plugins
from clbench.cli.stopping import Stoppable

if TYPE_CHECKING:
    from rich.console import Console

    from clbench.core.record import Record
    from clbench.leaderboard import Board
    from clbench.running.cell_key import Cell
    from clbench.running.executors import Event
    from clbench.running.plan import Plan
    from clbench.running.progress import Tally


class Wandb(StrEnum):
    """Name the modes of Weights & Biases."""

    online = "online"
    offline = "offline"
    disabled = "disabled"


class Kept(StrEnum):
    """Name which models are kept."""

    final = "final"
    ends = "ends"


class Spelled(Exemplified):
    """Read ``--save-model`` alone as ``--save-model final``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Insert the value if it is left out."""
        spelled: list[str] = []
        for place, word in enumerate(args):
            spelled.append(word)
            if word == "--save-model" and args[place + 1 : place + 2] not in [[kept.value] for kept in Kept]:
                spelled.append(Kept.final.value)
        return super().parse_args(ctx, spelled)


def run(
    benchmark: Annotated[str, typer.Argument(help="A shipped name (clbench list benchmarks) or a YAML file.")],
    *,
    strategies: Annotated[
        str | None,
        typer.Option(help="Strategies instead of the file's, like 'er, er + ewc(strength=1)'.", show_default=False),
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(help="Seeds: 5 for 0 to 4; 0,1,2 for these; '3,' for 3 alone.", show_default=False)
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "cpu",
    save_model: Annotated[
        Kept | None,
        typer.Option(
            "--save-model",
            help="Keep models in OUT/models: final, or ends for those after each experience too.",
            show_default=False,
        ),
    ] = None,
    save_predictions: Annotated[
        bool,
        typer.Option("--save-predictions", help="Keep the predictions at the ends of experiences in OUT/predictions."),
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder of results.", show_default="results/NAME", file_okay=False)
    ] = None,
    jobs: Annotated[str, typer.Option(help="How many cells run at a time: a number, or auto for all cores.")] = "1",
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change a setting of the benchmark: --set training.lr=0.03; repeatable."
        ),
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder of the data sets, also for downloads.", show_default="CLBENCH_DATA")
    ] = None,
    time_limit: Annotated[
        str | None,
        typer.Option(
            help="Time limit of each cell, like 15m or 2h; a cell that takes longer fails.", show_default="none"
        ),
    ] = None,
    memory_limit: Annotated[
        str | None,
        typer.Option(
            help="Memory limit of each cell, like 8GB or 50%; a cell that needs more fails.",
            show_default="nine tenths of the machine for all cells",
        ),
    ] = None,
    in_process: Annotated[
        bool,
        typer.Option(
            "--in-process", envvar="CLBENCH_IN_PROCESS", help="With --jobs 1: no worker process, for a debugger."
        ),
    ] = False,
    executor: Annotated[
        str | None,
        typer.Option(
            help="What runs the cells (clbench list executors), in place of worker processes.", show_default="workers"
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Show the cells, the stream with its fingerprint (equal fingerprints mean equal streams) and a "
            "predicted time; keep nothing.",
        ),
    ] = False,
    no_time: Annotated[
        bool, typer.Option("--no-time", help="With --dry-run: skip the timing, so that nothing is run.")
    ] = False,
    wandb: Annotated[Wandb, typer.Option(help="Send the records to Weights & Biases.")] = Wandb.disabled,
    plugins: Plugins = None,  # noqa: ARG001 its callback has read it
) -> None:
    """Run all cells of a benchmark (one strategy with one seed each) and print a leaderboard. Finished cells are not
    run again. After Ctrl-C, the same command continues.

    Exit code: 0 all cells done, 1 a cell failed or diverged, 2 the command or the benchmark file is wrong.
    """
    with Stoppable() as stops:
        from clbench.api import keeping, split_strategies
        from clbench.running.matrix import OTHER_DATA, finished, outdated
        from clbench.running.plan import plan as make_plan
        from clbench.running.progress import Tally

        plan = make_plan(
            benchmark,
            strategies=split_strategies(strategies),
            seeds=seeds,
            overrides=settings or (),
            data_dir=data_dir,
        )
        folder = out or Path("results") / plan.benchmark.name
        keep = keeping(folder, save_model.value if save_model else False, save_predictions)
        console = make_console()
        where = plan.data_dir
        old = set(outdated(plan.cells, folder, where))
        known = {cell.key for cell in plan.cells if cell.key not in old and finished(cell, folder, keep)}
        if old:
            console.print(
                f"{count(len(old), 'cell')} of {len(plan.cells)} finished earlier with other data than the present: "
                f"they run again, and the old records are moved to {folder / OTHER_DATA}.",
                soft_wrap=True,
            )
        if dry_run:
            described = _show_plan(console, plan, known=known, out=folder, data_dir=where)
            todo = [cell for cell in plan.cells if cell.key not in known]
            if todo and described and not no_time:
                _show_time(console, todo, jobs=jobs, device=device, data_dir=where)
            return
        tally = Tally(len(plan.cells), len(known))
        stops.begin(tally, folder)
        options: dict[str, Any] = {
            "jobs": jobs, "device": device, "data_dir": where, "save_model": save_model or False,
            "save_predictions": save_predictions, "time_limit": time_limit,
            "memory_limit": memory_limit, "isolated": not in_process, "executor": executor,
        }  # fmt: skip
        records = _execute(console, plan, tally=tally, out=folder, options=options)
        _publish(console, plan, folder)
        if wandb != Wandb.disabled:
            _send(records, folder, wandb)
    raise typer.Exit(_verdict(records, folder))


def _execute(console: Console, plan: Plan, *, tally: Tally, out: Path, options: dict[str, Any]) -> list[Record]:
    from clbench.api import execute_plan
    from clbench.running.progress import clock_text, display

    if tally.before:
        console.print(f"{tally.before} of {tally.total} cells are already finished.")
    with display(tally, console) as watch:
        records: list[Record] = execute_plan(plan, out=out, watch=_unbroken(watch), **options).records
    if tally.ended:
        with suppress(OSError):  # the results are not yet written
            console.print(f"{count(tally.ended, 'cell')} run in {clock_text(tally.elapsed)}.")
    return records


def _unbroken(watch: Callable[[Event], None]) -> Callable[[Event], None]:
    """Return a watcher that becomes silent if its console breaks (full disk, lost terminal); the run continues."""
    broken = False

    def guarded(event: Event) -> None:
        nonlocal broken
        if not broken:
            try:
                watch(event)
            except BrokenPipeError:  # the reader has ended, so the run stops
                raise
            except OSError:
                broken = True

    return guarded


def _publish(console: Console, plan: Plan, out: Path) -> None:
    """Write the leaderboard and picture of all records in ``out``, and print the table and the files written.

    Raises:
        Refused: A file cannot be written; the table has been printed.
    """
    from clbench import api
    from clbench.core.errors import Refused
    from clbench.leaderboard import board as make_board

    records = api.records(out)
    board = make_board(records)
    try:
        written = _write_results(board, records, _drawn(plan, records), out)
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


def _send(records: Sequence[Record], out: Path, mode: Wandb) -> None:
    """Send records to Weights & Biases; problems are only reported, because the results are safe on disk."""
    from clbench.running import wandb_tracker

    problems = wandb_tracker.send(records, out=out, mode=mode.value)
    for problem in problems:
        tell(problem)
    if not problems:
        print(
            f"Sent to Weights & Biases ({mode.value}): {count(len(records), 'run')}; its files are in {out / 'wandb'}"
        )


def _verdict(records: Sequence[Record], out: Path) -> int:
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
        print(f"  {label}, seed{'s' * (len(seeds) > 1)} {', '.join(seeds)}: {status}: {reason}", file=sys.stderr)


def _lacks_buffer(record: Record) -> bool:
    from clbench.strategies.chain import NO_BUFFER

    return record.reason.endswith(NO_BUFFER)


# --------------------------------------------------------------------------------------------------- dry run


def _show_plan(console: Console, plan: Plan, *, known: set[str], out: Path, data_dir: str | None) -> bool:
    """Print the cells by strategy and the first seed's stream; return whether its data is available."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    first = plan.cells[0]
    stream = describe_stream(first.config["stream"], first.seed, data_dir)
    rows: dict[str, list[Any]] = {}
    for cell in plan.cells:
        rows.setdefault(cell.label, []).append(cell)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for heading in ("Strategy", "Finished seeds", "Seeds to do"):
        table.add_column(heading)
    for label, cells in rows.items():
        there, todo = [c for c in cells if c.key in known], [c for c in cells if c.key not in known]
        table.add_row(Text(label), *(", ".join(str(c.seed) for c in some) or "-" for some in (there, todo)))
    console.print(Text(f"{plan.benchmark.name}@{plan.benchmark.version}", style="bold"))
    console.print(table)
    console.print(pairs(stream))
    console.print()
    console.print(
        f"{count(len(plan.cells), 'cell')}: {len(known)} finished, {len(plan.cells) - len(known)} to do; "
        f"results in {out}",
        soft_wrap=True,
    )
    return "fingerprint" in stream


def _show_time(console: Console, todo: Sequence[Cell], *, jobs: str, device: str, data_dir: str | None) -> None:
    """Predict the time of the remaining cells from a few iterations of each strategy, and print it."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    from clbench.running.progress import clock_text

    began = perf_counter()
    from clbench.api import choose_device
    from clbench.running.forecast import forecast, matrix_seconds, warm_up
    from clbench.running.matrix import jobs_for, usable_cores

    warm_up()
    start = perf_counter() - began  # a process that runs cells starts with the same imports
    workers = jobs_for(todo, jobs)
    place, threads = choose_device(device), max(cell.config["training"]["threads"] for cell in todo)
    room = max(1, usable_cores() // threads) if place == "cpu" else workers  # more jobs than cores gain nothing
    found = forecast(todo, data_dir=data_dir, device=place)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for heading in ("Strategy", "Cells to do", "Seconds each", "Together"):
        table.add_column(heading)
    for each in found:
        seconds = ("-", "-") if each.reason else (_seconds(each.seconds), clock_text(each.cells * each.seconds))
        table.add_row(Text(each.label), str(each.cells), *map(Text, seconds))
    console.print(table)
    for each in found:
        if each.reason:
            console.print(f"{each.label}: {each.reason}", soft_wrap=True)
    if all(each.reason for each in found):
        console.print("Nothing could be timed, so no time is predicted.")
        return
    together = f" on {count(usable_cores(), 'core')}" if workers > room else ""
    whole = clock_text(start + matrix_seconds(found, jobs=min(workers, room)))
    console.print(
        f"Predicted: {whole} with {count(workers, 'job')}{together}, of which {start:.0f} s to start. A few iterations "
        "of each strategy were timed; on a busy machine both the prediction and the run are noisy.",
        soft_wrap=True,
    )


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f}" if seconds >= 10 else f"{seconds:.2f}"

"""Define ``clbench run``, which runs all cells of a benchmark and writes a leaderboard."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from clbench.cli.benchmark_options import SEEDS, Device, Settings, Shipped, TunedFile
from clbench.cli.common import count, make_console
from clbench.cli.driver_options import WORDS, NoWait, Share, command_line, leave, shard_text, tell_waiting
from clbench.cli.dry_run import show_plan, show_time
from clbench.cli.examples import Exemplified
from clbench.cli.executor_options import ExecutorName, GpusPerCell, check_in_process
from clbench.cli.plugins import Plugins
from clbench.cli.progress_options import ProgressForm, Shown, SnapshotEvery, output_of
from clbench.cli.rerun_option import Rerun, stale_note
from clbench.cli.run_results import Wandb, publish, send, verdict
from clbench.cli.stopping import Stoppable

if TYPE_CHECKING:
    from rich.console import Console

    from clbench.running.executors import Event
    from clbench.running.matrix import Outcome
    from clbench.running.plan import Plan
    from clbench.running.progress import Tally


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
        ctx.meta[WORDS] = list(args)
        return super().parse_args(ctx, spelled)


def run(
    context: typer.Context,
    benchmark: Shipped,
    *,
    strategies: Annotated[
        str | None,
        typer.Option(help="Strategies instead of the file's, like 'er, er + ewc(strength=1)'.", show_default=False),
    ] = None,
    seeds: Annotated[str | None, typer.Option(help=SEEDS, show_default=False)] = None,
    device: Device = "cpu",
    save_model: Annotated[
        Kept | None,
        typer.Option(
            "--save-model",
            help="Keep models in OUT/models: final, or ends for those after each experience too.",
            show_default=False,
        ),
    ] = None,
    save_ends: Annotated[
        bool,
        typer.Option(
            "--save-ends", help="Keep the weights at every end in OUT/models, for clbench path: --save-model ends."
        ),
    ] = False,
    save_predictions: Annotated[
        bool,
        typer.Option("--save-predictions", help="Keep the predictions at the ends of experiences in OUT/predictions."),
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder of results.", show_default="results/NAME", file_okay=False)
    ] = None,
    jobs: Annotated[str, typer.Option(help="How many cells run at a time: a number, or auto for all cores.")] = "1",
    settings: Settings = None,
    tuned: TunedFile = None,
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
    snapshot_every: SnapshotEvery = "300s",
    progress: Shown = None,
    in_process: Annotated[
        bool,
        typer.Option(
            "--in-process", envvar="CLBENCH_IN_PROCESS", help="With --jobs 1: no worker process, for a debugger."
        ),
    ] = False,
    executor: ExecutorName = None,
    gpus_per_cell: GpusPerCell = None,
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
    shard: Share = None,
    no_wait: NoWait = False,
    rerun: Rerun = None,
    wandb: Annotated[Wandb, typer.Option(help="Send the records to Weights & Biases.")] = Wandb.disabled,
    plugins: Plugins = None,  # noqa: ARG001 its callback has read it
) -> None:
    """Run all cells of a benchmark (one strategy with one seed each) and print a leaderboard. Finished cells are not
    run again. After Ctrl-C, the same command continues.

    Exit code: 0 all cells done, 1 a cell failed or diverged, 2 the command or the benchmark file is wrong, 3 --no-wait
    left cells to other commands; 130 stopped by Ctrl-C, 143 by SIGTERM, 138 by SIGUSR1, 129 by the end of the terminal.
    """
    with output_of(progress) as stream, Stoppable() as stops:
        from clbench.core.errors import Refused
        from clbench.running.execution import keeping, records_of, split_strategies
        from clbench.running.matrix import OTHER_DATA
        from clbench.running.plan import plan as make_plan
        from clbench.running.plan_files import write_plan
        from clbench.running.progress import Tally
        from clbench.running.shards import read_shard, sharded
        from clbench.running.tuned_cells import tuned_settings

        if save_ends and save_model is Kept.final:
            raise Refused(
                "--save-ends keeps the models at every end, and --save-model final only the last; leave one out"
            )
        kept_models = Kept.ends if save_ends else save_model
        if no_time and not dry_run:
            raise Refused("--no-time belongs to --dry-run; add --dry-run, or leave --no-time out to run the cells")
        check_in_process(context, jobs=jobs, executor=executor)
        share = read_shard(shard)
        plan = make_plan(
            benchmark,
            strategies=split_strategies(strategies),
            seeds=seeds,
            overrides=settings or (),
            data_dir=data_dir,
            tuned=tuned_settings(tuned),
        )
        plan = sharded(plan, share)
        folder = out or Path("results") / plan.benchmark.name
        keep = keeping(folder, kept_models.value if kept_models else False, save_predictions)
        console = make_console()
        where = plan.data_dir
        if share is not None:
            console.print(f"{shard_text(plan)}.")
            if not plan.cells:
                if not dry_run:
                    write_plan(plan, folder, command_line(context))  # so that merge knows an empty share from a typo
                return
        found = records_of(plan, folder, keep, rerun=rerun)
        old, known = found.outdated, set(found.known)
        if old:
            console.print(
                f"{count(len(old), 'cell')} of {len(plan.cells)} finished earlier with other data than the present: "
                f"they run again, and the old records are moved to {folder / OTHER_DATA}.",
                soft_wrap=True,
            )
        if found.stale:
            console.print(stale_note(tuple(found.stale.values()), len(plan.cells), folder), soft_wrap=True)
        if dry_run:
            described = show_plan(console, plan, known=known, out=folder, data_dir=where)
            todo = [cell for cell in plan.cells if cell.key not in known]
            if todo and described and not no_time:
                show_time(console, todo, jobs=jobs, device=device, data_dir=where)
            return
        tally = Tally(len(plan.cells), len(known))
        stops.begin(tally, folder)
        options: dict[str, Any] = {
            "jobs": jobs, "device": device, "data_dir": where, "save_model": kept_models or False,
            "save_predictions": save_predictions, "time_limit": time_limit, "snapshot_every": snapshot_every,
            "memory_limit": memory_limit, "isolated": not in_process, "executor": executor,
            "found": found, "wait": not no_wait, "waits": tell_waiting, "command": command_line(context),
            "gpus_per_cell": gpus_per_cell,
        }  # fmt: skip
        outcome = _execute(console, plan, tally=tally, out=folder, options=options, form=progress, stream=stream)
        records = outcome.records
        if not outcome.elsewhere:
            publish(console, plan, folder)
        if wandb != Wandb.disabled:
            send(records, folder, wandb)
    left = leave(outcome.elsewhere, folder) if outcome.elsewhere else 0
    raise typer.Exit((verdict(records, folder) if records else 0) or left)


def _execute(
    console: Console,
    plan: Plan,
    *,
    tally: Tally,
    out: Path,
    options: dict[str, Any],
    form: ProgressForm | None,
    stream: TextIO,
) -> Outcome:
    from clbench.running.execution import execute_plan
    from clbench.running.progress import clock_text, display, shows_scores

    if tally.before:
        console.print(f"{tally.before} of {tally.total} cells are already finished.")
    with display(tally, console, form, stream) as watch:
        outcome = execute_plan(plan, out=out, watch=_unbroken(watch), scores=shows_scores(watch), **options)
    if tally.ended:
        with suppress(OSError):  # the results are not yet written
            console.print(f"{count(tally.ended, 'cell')} run in {clock_text(tally.elapsed)}.")
    return outcome


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

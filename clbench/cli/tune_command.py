"""Define ``clbench tune``, which searches the free settings of strategies on samples that a protocol allows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clbench.cli.benchmark_options import DataDir, Device, Settings, Shipped
from clbench.cli.common import make_console
from clbench.cli.plugins import Plugins
from clbench.cli.stopping import Stoppable

if TYPE_CHECKING:
    from rich.console import Console

    from clbench.benchmark.tuned_settings import TunedStrategy
    from clbench.running.executors import Event
    from clbench.tuning import Tuned


def tune(
    benchmark: Shipped,
    *,
    strategies: Annotated[str, typer.Option(help="Strategies to tune, like 'ewc, er + refresh'; written values stay.")],
    protocol: Annotated[
        str,
        typer.Option(
            help="What the search may see: first:K (held-out samples of the first K experiences), other:BENCHMARK, chf "
            "(every run chooses by itself), or end (of all experiences, as no learner can)."
        ),
    ] = "first:1",
    trials: Annotated[int, typer.Option(help="Trials of each strategy; the first one has the default values.")] = 24,
    seeds: Annotated[
        str | None,
        typer.Option(help="Seeds of the trials, like 100,101; none of the benchmark's.", show_default="100,101"),
    ] = None,
    space: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RANGES",
            help="Ranges instead of declared ones, and of others: 'ewc.strength=1:1e4:log, training.lr=1e-3:1:log'.",
        ),
    ] = None,
    metric: Annotated[str, typer.Option(help="The metric to improve (clbench list metrics).")] = "acc",
    sampler: Annotated[str, typer.Option(help="How values are proposed: tpe, qmc or random.")] = "tpe",
    seed: Annotated[int, typer.Option(help="Seed of the proposals.")] = 0,
    settings: Settings = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of trials and answer.", show_default="results/NAME-tuning", file_okay=False),
    ] = None,
    jobs: Annotated[str, typer.Option(help="How many cells run at a time: a number, or auto for all cores.")] = "1",
    device: Device = "cpu",
    data_dir: DataDir = None,
    executor: Annotated[
        str | None, typer.Option(help="What runs the cells (clbench list executors).", show_default="workers")
    ] = None,
    plugins: Plugins = None,  # noqa: ARG001 its callback has read it
) -> None:
    """Search the free settings of strategies on held-out training samples that the protocol allows.

    Trials are ordinary cells in OUT, so the same command continues a stopped search, and its answer depends neither on
    stops nor on --jobs. OUT/tuned.yaml holds the answer for clbench run --tuned.
    """
    console = make_console()
    with Stoppable() as stops:
        from clbench.benchmark.assignments import seeds as read_seeds
        from clbench.running.execution import split_strategies
        from clbench.running.progress import Tally
        from clbench.tuning import tune as search

        several = len(split_strategies(strategies) or ()) * (2 if seeds is None else len(read_seeds(seeds)))
        folder = out or Path("results") / f"{_name(benchmark)}-tuning"
        tally = Tally(trials * several, 0)
        with console.status("") as status:
            found = search(
                benchmark,
                strategies=strategies,
                protocol=protocol,
                trials=trials,
                seeds=seeds,
                space=space or (),
                metric=metric,
                sampler=sampler,
                seed=seed,
                overrides=settings or (),
                out=folder,
                jobs=jobs,
                device=device,
                data_dir=data_dir,
                isolated=True,
                executor=executor,
                watch=_shown(status, console, tally, begun=lambda: stops.begin(tally, folder)),
            )
    show_tuned(console, found)
    path = folder / "tuned.yaml"
    command = f"clbench run {benchmark} --strategies '{', '.join(found.settings.strategies)}' --tuned {path}"
    command += "".join(f" --set {assignment}" for assignment in settings or ())
    console.print(f"{path} written; use it by: {command}", soft_wrap=True)


def _shown(status: Any, console: Console, tally: Any, *, begun: Callable[[], None]) -> Callable[[str, Event], None]:
    """Return a watcher that shows which trials run; without a terminal, a line for each batch."""
    told: set[str] = set()

    def watch(trials: str, event: Event) -> None:
        if not told:
            begun()
        if trials not in told and not console.is_terminal:
            console.print(trials, soft_wrap=True)
        told.add(trials)
        tally.see(event)
        status.update(f"{trials}: {tally.ended} cells run")

    return watch


def show_tuned(console: Console, found: Tuned) -> None:
    """Print the answer of a search: the chosen values, the scores, the effort, and what a reader has to know."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"{found.settings.benchmark}", title_justify="left", box=None, pad_edge=False,
                  padding=(0, 2, 0, 0))  # fmt: skip
    for heading in ("strategy", "chosen", "score", "untuned", "search"):
        table.add_column(heading, overflow="fold")
    for name, each in found.settings.strategies.items():
        table.add_row(*map(Text, (name, _values(each), *_scores(each), _search(each))))
    console.print(table)
    for name, each in found.settings.strategies.items():
        for note in each.notes:
            console.print(f"- {name}: {note}", style="dim", soft_wrap=True)
    if any(each.tuning.get("available") is False for each in found.settings.strategies.values()):
        console.print("The protocol is not available to a learner: it sees the whole stream before it begins.")


def _values(each: TunedStrategy) -> str:
    from clbench.core.search_space import shown

    return ", ".join(f"{place}={shown(value)}" for place, value in each.values.items()) or "in every run"


def _scores(each: TunedStrategy) -> tuple[str, str]:
    shown = (each.tuning.get(name) for name in ("score", "untuned"))
    first, second = (f"{value:.4g}" if isinstance(value, int | float) else "-" for value in shown)
    return first, second


def _search(each: TunedStrategy) -> str:
    from clbench.benchmark.tuned_settings import provenance_text

    return provenance_text(each.tuning)


def _name(benchmark: str) -> str:
    from clbench.benchmark import documents
    from clbench.benchmark.shipped_files import find

    document, _ = documents.read(find(benchmark))
    return str(document.get("name", Path(benchmark).stem))

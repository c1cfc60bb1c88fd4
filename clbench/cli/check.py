"""Define ``clbench check``, which tests the contract of a strategy, scenario, model or benchmark."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clbench.cli.common import make_console, pairs
from clbench.cli.plugins import Plugins
from clbench.cli.show_benchmark import is_benchmark

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from rich.console import Console

    from clbench.running.plan import Plan
    from clbench.testing import Verdict


class Kind(StrEnum):
    """Name the kind of a target."""

    strategy = "strategy"
    scenario = "scenario"
    benchmark = "benchmark"
    model = "model"
    optimizer = "optimizer"


DATASET = "digits"
"""The data set of scenarios and models for which none is named."""
STYLES = {"kept": "green", "skipped": "yellow", "broken": "bold red"}


def check(
    target: Annotated[
        str,
        typer.Argument(
            metavar="STRATEGY|SCENARIO|MODEL|BENCHMARK",
            help="A strategy ('er + mine(strength=1)'), a scenario, a model, FILE.py:NAME, a benchmark or its file.",
        ),
    ],
    kind: Annotated[
        Kind | None,
        typer.Option("--kind", help="The kind of the target, if a name has several meanings.", show_default=False),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset",
            help="Data set for a scenario or a model; for a model also the benchmark that it is for.",
            show_default="digits",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting of the scenario, model or benchmark; repeatable."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the stream, or of the runs.")] = 0,
    data_dir: Annotated[str | None, typer.Option("--data-dir", help="Folder of the data sets.")] = None,
    plugins: Plugins = None,  # noqa: ARG001 its callback has read it
) -> None:
    """Test the contract of a strategy (repeatable, resumable, no access to test samples, ...), a model, an optimiser
    of a file, or a stream.

    Exit code: 0 kept, 1 broken, 2 the target or a setting is wrong.
    """
    from clbench.core.errors import Refused
    from clbench.running.plan import plan as make_plan
    from clbench.strategies.protocol import with_breaches

    chosen = kind or _kind(target)
    if chosen is Kind.strategy:
        if settings:
            raise Refused(
                "--set is for scenarios, models and benchmarks; write a strategy's parameters as NAME(key=value)"
            )
        _check_strategy(make_console(), target, seed)
        return
    if chosen is Kind.optimizer:
        _check_optimizer(make_console(), target)
        return
    if chosen is Kind.model:
        _check_model(make_console(), target, dataset, settings or [], data_dir)
        return
    console = make_console()
    if chosen is Kind.scenario:
        made = _of_scenario(target, dataset or DATASET, settings or [], data_dir)
        _check_stream(console, made.cells[0].config["stream"], seed, made.data_dir)
        return
    made = make_plan(target, overrides=settings or [], seeds=1, data_dir=data_dir)
    _check_stream(console, made.cells[0].config["stream"], seed, made.data_dir)
    for cell in made.cells:
        for breach in with_breaches(cell.config, ()):
            console.print(f"note: {breach}", style="yellow")


def _kind(target: str) -> Kind:
    """Return the kind of a target, from its name or its form.

    Raises:
        Refused: The name has several meanings, or none.
    """
    from clbench.benchmark.shipped_files import named
    from clbench.core.errors import Refused, did_you_mean
    from clbench.models import MODELS
    from clbench.scenarios import SCENARIOS
    from clbench.strategies import STRATEGIES

    if is_benchmark(target):
        return Kind.benchmark
    if STRATEGIES.scheme(target):
        return Kind.strategy
    if target.endswith(".py") and not set(target) & set("(+"):
        raise Refused(f"{target} is a file; name what is tested in it, such as clbench check {target}:NAME")
    if ".py:" in target and not set(target) & set("(+"):
        from clbench.cli.user_file import kind_of

        kind = kind_of(STRATEGIES.get(target))
        if kind == "observe":
            raise Refused(f"{target} is a class with observe(x, y), not a part; write clbench check observe:{target}")
        kinds = {"strategies": Kind.strategy, "models": Kind.model, "optimizers": Kind.optimizer}
        return kinds.get(kind, Kind.scenario)
    if set(target) & set("(+"):
        return Kind.strategy
    if target.partition(":")[0] == "torchvision":
        return Kind.model
    rooms = ((Kind.strategy, STRATEGIES), (Kind.scenario, SCENARIOS), (Kind.model, MODELS))
    found = [kind for kind, names in rooms if target in names]
    if len(found) == 1:
        return found[0]
    if found:
        raise Refused(
            f"{target!r} is a {' and a '.join(found)}; choose with {' or '.join(f'--kind {kind}' for kind in found)}"
        )
    known = [*(entry.name for _, names in rooms for entry in names), *named()]
    near = did_you_mean(target, known)
    hint = near if near.startswith("did") else "`clbench list` shows all names"
    raise Refused(f"no strategy, scenario, model or benchmark is called {target!r}; {hint}")


# --------------------------------------------------------------------------------------------------- strategies


def _check_strategy(console: Console, strategy: str, seed: int) -> None:
    """Print the settings of the source, then a line per property as soon as it is tested."""
    from clbench.testing import PROPERTIES, examine

    _tell_protocol(console, strategy)
    _tell(console, examine(strategy, seed=seed), PROPERTIES, lambda: _tell_remarks(console, strategy, seed))


def _tell_remarks(console: Console, strategy: str, seed: int) -> None:
    """Print which classes the loss uses, how long the gradient is, and whether an identity is missing."""
    from clbench.testing import remark

    for each in remark(strategy, seed=seed):
        console.print(f"{'note' if each.warns else 'info'}: {each.text}", style="yellow" if each.warns else "dim")


def _tell_protocol(console: Console, strategy: str) -> None:
    """Print the settings that the sources of a strategy require."""
    from clbench.core.errors import Refused
    from clbench.strategies.protocol import published
    from clbench.strategies.strategy import Strategy

    try:
        told = published(Strategy.parse(strategy).parts())
    except Refused:  # reported as broken
        return
    if told:
        console.print(f"Its source uses {told}; a benchmark with other values gets an alarm.")


def _tell(
    console: Console,
    verdicts: Iterable[Verdict],
    properties: Mapping[str, str],
    further: Callable[[], None] = lambda: None,
) -> None:
    from rich.table import Table
    from rich.text import Text

    width = max(map(len, properties))
    broken = kept = 0
    for verdict in verdicts:
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(width=max(map(len, STYLES)))
        grid.add_column(width=width)
        grid.add_column(overflow="fold")
        text = Text(properties[verdict.property] if verdict.status == "kept" else "")
        if verdict.text:
            because = {"kept": "; ", "skipped": "because ", "broken": ""}[verdict.status]
            text.append(because + verdict.text)
        grid.add_row(Text(verdict.status, style=STYLES[verdict.status]), verdict.property, text)
        console.print(grid)
        broken += verdict.status == "broken"
        kept += verdict.status == "kept"
    further()
    if broken:
        console.print(f"The contract is broken in {broken} of {len(properties)} properties.", style="red")
        raise typer.Exit(1)
    if not kept:
        console.print("Nothing could be tested: every property was skipped, for the reasons above.", style="red")
        raise typer.Exit(1)
    console.print("The contract is kept.", style="green")


# --------------------------------------------------------------------------------------------------- models


def _check_model(console: Console, name: str, dataset: str | None, settings: list[str], data_dir: str | None) -> None:
    from clbench.benchmark import assignments
    from clbench.testing import MODEL_PROPERTIES, examine_model

    shape, outputs = _samples(dataset or DATASET, data_dir)
    section = assignments.override({"model": {"name": name}}, [f"model.{text}" for text in settings])["model"]
    console.print(f"{name} for samples of shape {shape} and {outputs} output units, from {dataset or DATASET}")
    verdicts = examine_model(section, shape=shape, n_outputs=outputs)
    if dataset is not None:
        _tell(console, verdicts, MODEL_PROPERTIES)
        return
    try:
        _tell(console, verdicts, MODEL_PROPERTIES)
    except typer.Exit:
        console.print(
            f"The samples are those of {DATASET}. If the model is for others, name a data set, or the benchmark: "
            "--dataset FILE.yaml"
        )
        raise


def _samples(dataset: str, data_dir: str | None) -> tuple[tuple[int, ...], int]:
    """Return the shape of a sample and the number of output units, of a data set or of a benchmark's stream."""
    from clbench import data
    from clbench.data.roots import with_beside
    from clbench.running.plan import make_stream
    from clbench.running.plan import plan as make_plan

    if is_benchmark(dataset):
        made = make_plan(dataset, seeds=1, data_dir=data_dir)
        stream = make_stream(made.cells[0].config["stream"], 0, data_dir=made.data_dir)
        return stream.dataset.shape, stream.n_outputs
    rows = data.load(dataset, with_beside(Path.cwd(), data_dir))
    return rows.shape, rows.n_classes


def _check_optimizer(console: Console, name: str) -> None:
    """Print whether an optimiser makes steps and continues from its state as a run needs it."""
    from torch import nn, zeros

    from clbench.benchmark.schema import Training, section
    from clbench.core.errors import Refused
    from clbench.training.optimizers import optimizer

    settings = section(Training, f"optimizer {name}", {"optimizer": name})
    try:
        optimizer(settings, [nn.Parameter(zeros(8))])
    except Refused as error:
        console.print(f"broken: {error}", style="red", soft_wrap=True)
        raise typer.Exit(1) from None
    console.print(f"{name}: steps without a closure, in place, and continues from its state_dict: kept", style="green")


# --------------------------------------------------------------------------------------------------- streams


def _check_stream(console: Console, section: dict[str, Any], seed: int, data_dir: str | None) -> None:
    """Print a description of the stream, and what is wrong with it."""
    from clbench.core.types import Stream
    from clbench.running.plan import make_stream
    from clbench.scenarios import describe
    from clbench.scenarios.realised import check_stream, realised_hash

    def make() -> Stream:
        return make_stream(section, seed, data_dir=data_dir)

    console.print(pairs(describe(make())))
    problems = check_stream(make)
    for problem in problems:
        console.print(f"broken: {problem}", style="red")
    if problems:
        raise typer.Exit(1)
    console.print(f"The contract is kept. Hash of all samples and labels: {realised_hash(make())}", style="green")


def _of_scenario(name: str, dataset: str, settings: list[str], data_dir: str | None) -> Plan:
    """Return the plan of a benchmark over a scenario and a data set."""
    from clbench.benchmark import assignments
    from clbench.running.plan import plan

    document = {"name": "check", "stream": {"scenario": name, "dataset": dataset}, "model": {"name": "mlp"}}
    return plan(assignments.override(document, [f"stream.{text}" for text in settings]), seeds=1, data_dir=data_dir)

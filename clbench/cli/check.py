"""``clbench check``: does a scenario of one's own keep the contract of streams?"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from clbench.cli.common import make_console, pairs


def check(
    target: Annotated[
        str,
        typer.Argument(
            metavar="SCENARIO|BENCHMARK", help="A scenario, FILE.py:NAME, a shipped benchmark or a benchmark file."
        ),
    ],
    dataset: Annotated[str, typer.Option("--dataset", help="Data for a scenario given by name.")] = "digits",
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting of the scenario; repeatable.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="The stream's seed.")] = 0,
    data_dir: Annotated[str | None, typer.Option("--data-dir", help="Where data sets lie.")] = None,
) -> None:
    """Run the contract of streams: determinism, ranges, repetition as declared, experiences that build alone."""
    from clbench.plan import make_stream
    from clbench.scenarios import SCENARIOS, describe
    from clbench.scenarios.realised import check_stream, realised_hash
    from clbench.types import Stream

    console = make_console()
    named = target in SCENARIOS
    section = _of_scenario(target, dataset, settings or []) if named else _of_benchmark(target, settings or [])

    def make() -> Stream:
        return make_stream(section, seed, data_dir=data_dir)

    console.print(pairs(describe(make())))
    problems = check_stream(make)
    for problem in problems:
        console.print(f"broken: {problem}", style="red")
    if problems:
        raise typer.Exit(1)
    console.print(f"The contract is kept. Realised rows and labels: {realised_hash(make())}", style="green")


def _of_scenario(name: str, dataset: str, settings: list[str]) -> dict[str, Any]:
    from clbench import config
    from clbench.plan import plan

    document = config.override({"stream": {}}, [f"stream.{text}" for text in settings])
    stream = {"scenario": name, "dataset": dataset, **document["stream"]}
    return plan({"name": "check", "stream": stream, "model": {"name": "mlp"}}, seeds=1).cells[0].config["stream"]


def _of_benchmark(name: str, settings: list[str]) -> dict[str, Any]:
    from clbench.plan import plan

    return plan(name, overrides=settings, seeds=1).cells[0].config["stream"]

"""The options that say what runs the cells, and on which share of a GPU."""

from __future__ import annotations

from typing import Annotated

import typer

ExecutorName = Annotated[
    str | None,
    typer.Option(
        help="What runs the cells: local, ray, ray:HOST:PORT, or another of clbench list executors.",
        show_default="local",
    ),
]
GpusPerCell = Annotated[
    float | None,
    typer.Option(
        help="With --executor ray --device cuda: share of a GPU for each cell, like 0.2 for five cells on each GPU.",
        show_default="1",
    ),
]


def check_in_process(context: typer.Context, *, jobs: str, executor: str | None) -> None:
    """Refuse ``--in-process`` on a command line that asks for several jobs or for another executor.

    The environment variable, which tools set for all commands, gives way to such options.

    Raises:
        Refused: They contradict each other.
    """
    from clbench.core.errors import Refused

    source = context.get_parameter_source("in_process")
    if source is None or source.name != "COMMANDLINE":
        return
    if executor not in (None, "in-process"):
        raise Refused(f"--in-process and --executor {executor} contradict each other; leave one of them out")
    if jobs != "1":
        raise Refused(f"--in-process runs one cell at a time; leave it out with --jobs {jobs}, or write --jobs 1")

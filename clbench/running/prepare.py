"""Prepare a run: make everything of a cell ready to train, by our loop or by another library's."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import nn

from clbench import adapters
from clbench.adapters.run_setup import Job, RunSetup, Skip
from clbench.benchmark.hidden_boundaries import check_hidden
from clbench.benchmark.run_settings import RunSettings
from clbench.benchmark.stop_rules import check_stop
from clbench.core.errors import Refused
from clbench.core.types import Stream
from clbench.data.roots import searching
from clbench.evaluate import Evaluator
from clbench.evaluate.early_stopping import EarlyStopping
from clbench.models import MODELS
from clbench.models.blank import Blank
from clbench.models.initial_model import initial_model
from clbench.running.cell_key import Cell
from clbench.running.continual_search import search_of
from clbench.running.plan import given_stream, make_stream, rows
from clbench.running.prepared_run import Run
from clbench.running.user_objects import UserObjects
from clbench.scenarios import SCENARIOS, merging, shows_boundaries
from clbench.scenarios.held_out_rows import HeldOutRows
from clbench.strategies import STRATEGIES
from clbench.strategies.chain import check, undefined, unmet
from clbench.strategies.part import Part
from clbench.strategies.strategy import Declarations
from clbench.training.assemble import resident_rows
from clbench.training.revealed import OF_MODELS, provided_by, revealed


def prepare(cell: Cell, *, data_dir: str | None = None, device: str = "cpu", given: UserObjects | None = None) -> Run:
    """Prepare a run by our own loop; arguments as in :func:`prepare_job`.

    Raises:
        Refused: The data is missing or damaged, the cell is impossible, or another library's loop runs the strategy.
        Skip: The strategy needs something that the stream hides.
    """
    job = prepare_job(cell, data_dir=data_dir, device=device, given=given)
    if not isinstance(job, Run):
        raise Refused(
            f"{cell.label} is run by another library's loop, which does not support this; choose another strategy"
        )
    return job


def prepare_job(
    cell: Cell, *, data_dir: str | None = None, device: str = "cpu", given: UserObjects | None = None
) -> Job:
    """Prepare a run by whichever loop the strategy needs.

    The stream, the order of samples and the initial weights depend on the benchmark and the seed only.

    Args:
        cell: The cell to run.
        data_dir: The folder of data sets.
        device: ``cpu`` or ``cuda``.
        given: The user's objects that replace names.

    Raises:
        Refused: The data is missing or damaged, or the cell is impossible.
        Skip: The strategy needs something that the stream hides.
    """
    with searching(data_dir):
        _refuse_edited(cell)
        parts, setup = parts_and_setup(cell, data_dir=data_dir, device=device, given=given)
        engine = Declarations.of(parts).engine
        search = search_of(cell, parts, setup)
        job: Job = adapters.host(engine, parts, setup) if engine else Run.of(cell, parts, setup, search)
    own = None if given is None else given.dataset
    if given is not None and given.stream is not None:
        job.data = setup.shown.dataset.checksum
    else:
        job.data = rows(cell.config["stream"], data_dir=data_dir, dataset=own).checksum
    return job


def _refuse_edited(cell: Cell) -> None:
    """Refuse a cell if a file with its code was edited after the cell was planned, since its key names the old code.

    Raises:
        Refused: Such a file was edited.
    """
    stream, model = cell.config["stream"], cell.config["model"]
    named = [(SCENARIOS, stream.get("scenario"), stream), (MODELS, model.get("name"), model)]
    named += [(STRATEGIES, item["name"], item) for item in cell.config["strategy"]]
    for registry, name, section in named:
        planned = section.get("source")
        if planned and ".py:" in str(name) and registry.source(name) != planned:
            raise Refused(
                f"the file of the {registry.kind} {name}, or a module that it imports, was edited after this cell was "
                "planned; run the same command again, in a notebook after a restart if a module was edited"
            )


SEEN: Mapping[str, Callable[[Stream], Stream]] = {
    "stream": lambda stream: stream,
    "merged": merging.merged,
    "accumulated": merging.accumulated,
}
"""The stream that a strategy sees, from the benchmark's, by what its parts declare."""


def _held_out(cell: Cell, *, data_dir: str | None, given: UserObjects) -> Stream:
    """Return the stream of a cell with the samples that are held out of training in place of test samples.

    Raises:
        Refused: The stream comes from a program.
    """
    check_stop(cell.config)
    section = cell.config["stream"]
    dataset = {**section["dataset"], "evaluate_on": "validation"}
    return make_stream({**section, "dataset": dataset}, cell.seed, data_dir=data_dir, dataset=given.dataset)


def parts_and_setup(
    cell: Cell, *, data_dir: str | None = None, device: str = "cpu", given: UserObjects | None = None
) -> tuple[list[Part], RunSetup]:
    """Return the parts of a cell's strategy, and the setup that every loop is given; arguments as in
    :func:`prepare_job`, which also looks for files beside the benchmark file."""
    given, seed, settings = given or UserObjects(), cell.seed, RunSettings.of(cell.config)
    if given.stream is None:
        shown = make_stream(cell.config["stream"], seed, data_dir=data_dir, dataset=given.dataset)
    else:
        shown = given_stream(given.stream, seed)
    parts = cell.strategy.parts()
    if given.alter is not None:
        parts = given.alter(parts)
        check(parts)
    declared = Declarations.of(parts)
    # a function makes a new model for each seed, a module has its weights already
    has_weights = isinstance(given.model, nn.Module)
    provided = revealed(shown, settings, has_weights=has_weights)
    for part in parts:
        part.__dict__["revealed"] = provided
    reason = undefined(parts, shown.family) or unmet(parts, provided | OF_MODELS)
    if reason:
        raise Skip(reason)
    if not shows_boundaries(shown):  # a stream from a program is not known before
        check_hidden(cell.config)
    stream = SEEN[declared.sees](shown)
    if declared.uses_model:
        network, data = settings.model.network, stream.dataset
        model = initial_model(network, data.shape, stream.n_outputs, seed=seed, given=given.model, tokens=data.tokens)
    else:
        model = Blank(stream.n_outputs)
    if reason := unmet(parts, provided | provided_by(model)):
        raise Skip(reason)
    measured = None
    if settings.tuning is not None:
        measured = HeldOutRows(stream, settings.tuning.held_out, seed)
        stream = measured.training
    stopping = None
    if (stop := settings.training.stop) is not None:
        held_out = SEEN[declared.sees](_held_out(cell, data_dir=data_dir, given=given))
        stopping = EarlyStopping(stop, held_out, device=device)
    if {"length", "boundaries"} <= provided:
        for part in parts:
            part.__dict__["stream_length"] = len(stream)
    presence = shown if len(shown) == len(stream) else stream
    setup = RunSetup(
        settings=settings,
        seed=seed,
        stream=stream,
        rows=resident_rows(stream, settings.training, seed=seed, device=device),
        model=model.to(device),
        device=device,
        share=len(shown) // len(stream),
        shown=shown,
        stopping=stopping,
        held_out=measured,
        evaluator=Evaluator(stream, settings.evaluation, seed=seed, device=device, presence=presence),
    )
    return parts, setup

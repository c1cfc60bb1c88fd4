"""The plan of a benchmark: its cells as plain data in canonical form, with keys. Mistakes are refused before anything
runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from clbench import data, scenarios
from clbench.benchmark import assignments, documents, replacing, schema, sections
from clbench.benchmark.documents import Source
from clbench.benchmark.hidden_boundaries import check_hidden
from clbench.benchmark.lr_schedules import check_epochs
from clbench.benchmark.schema import Benchmark
from clbench.benchmark.sections import IDENTITY
from clbench.benchmark.shipped_files import find, folder_of
from clbench.benchmark.stop_rules import check_stop
from clbench.benchmark.tuned_settings import TunedSettings
from clbench.benchmark.tuning_section import check_tuning
from clbench.core import parameters
from clbench.core.errors import Refused, did_you_mean
from clbench.core.near_names import same
from clbench.core.notices import notice
from clbench.core.types import Dataset, Stream
from clbench.data.roots import searching, with_beside
from clbench.models import frozen_features
from clbench.running.cell_key import Cell
from clbench.running.tuned_cells import Tuning
from clbench.strategies import STRATEGIES
from clbench.strategies.notation import Written, plain_number
from clbench.strategies.stability_knobs import check_owners, starts, with_required
from clbench.strategies.strategy import Strategy
from clbench.training.batch_splits import BatchSplit


@dataclass(frozen=True)
class Plan:
    """Hold a benchmark and its cells, strategy by strategy, with seeds in order.

    Args:
        benchmark: The benchmark.
        cells: Its cells.
        data_dir: The directory of data sets, with the folder of the benchmark file before it, in which relative paths
            are looked for first; see :func:`clbench.data.roots.with_beside`.
        shard: The share of the benchmark's cells that these are, such as ``3/16``; empty if they are all.
        others: Keys of the cells in other shares.
    """

    benchmark: Benchmark
    cells: list[Cell] = field(repr=False)
    data_dir: str | None = field(default=None, repr=False)
    shard: str = ""
    others: tuple[str, ...] = field(default=(), repr=False)


def plan(
    benchmark: str | Path | Mapping[str, Any],
    *,
    strategies: Sequence[str | Mapping[str, Any]] | None = None,
    seeds: int | str | Iterable[int] | None = None,
    overrides: Iterable[assignments.Assignment] = (),
    dataset: Mapping[str, Any] | None = None,
    model: Mapping[str, Any] | None = None,
    stream: Callable[[int], Stream] | Stream | None = None,
    data_dir: str | Path | None = None,
    tuned: TunedSettings | None = None,
) -> Plan:
    """Return the plan of a benchmark.

    Args:
        benchmark: A shipped name, a path, or a mapping with the content of such a file.
        strategies: Strategies instead of the file's.
        seeds: Seeds instead of the file's: ``5`` (0 to 4), ``"0,1,2"``, ``"3,"`` or a list.
        overrides: ``key=value`` as text, or pairs of a key and a value; keys are dotted.
        dataset: The identity of data that the program hands over, instead of the file's data set.
        model: The identity of a model that the program hands over, instead of the file's.
        stream: A stream that the program hands over, or a function from seeds to streams; its fingerprint is in the
            cell.
        data_dir: The directory of data sets; the contents of files are part of a cell.
        tuned: Settings of strategies that a search chose.

    Raises:
        Refused: There is a mistake; the message gives the place of the first one.
    """
    places = with_beside(folder_of(benchmark), data_dir)
    with searching(places):
        checked, cells = _planned(benchmark, strategies, seeds, overrides, dataset, model, stream, places, tuned)
    return Plan(checked, cells, places)


def _planned(
    benchmark: str | Path | Mapping[str, Any],
    strategies: Sequence[str | Mapping[str, Any]] | None,
    seeds: int | str | Iterable[int] | None,
    overrides: Iterable[assignments.Assignment],
    dataset: Mapping[str, Any] | None,
    model: Mapping[str, Any] | None,
    stream: Callable[[int], Stream] | Stream | None,
    data_dir: str,
    tuned: TunedSettings | None,
) -> tuple[Benchmark, list[Cell]]:
    """Return a benchmark and its cells; arguments and errors are as in :func:`plan`."""
    if isinstance(benchmark, Mapping):
        document, source = documents.plain(benchmark), Source("the benchmark", benchmark)
    else:
        document, source = documents.read(find(benchmark))
    overrides = [overrides] if isinstance(overrides, str) else list(overrides)
    refuse_replaced(overrides, dataset=dataset is not None, model=model is not None, stream=stream is not None)
    if overrides:
        document = replacing.fitted(document, assignments.override(document, overrides), overrides)
        source = Source(f"{source.name} with {' '.join(map(assignments.short, overrides))}", document)
    if strategies is not None:
        document["strategies"] = [documents.plain(s) for s in strategies]
    if seeds is not None:
        document["seeds"] = assignments.seeds(seeds)
    checked = schema.check(document, source)
    common: dict[str, Any] = {
        "benchmark": {"name": checked.name, "version": checked.version},
        "stream": sections.stream(checked, source, dataset, data_dir) if stream is None else {},
        "model": sections.model(checked, source, model),
        "training": checked.training.canonical(),
        "memory": checked.memory.canonical(),
        "evaluation": checked.evaluation.canonical(),
    }
    if checked.tuning is not None:  # only if set, so that other cells keep their keys
        common["tuning"] = checked.tuning.canonical()
    _check(common)
    if checked.reveal:
        common["reveal"] = sorted(set(checked.reveal))
    for name, values in checked.defaults.items():
        if name not in STRATEGIES:
            hint = did_you_mean(name, [entry.name for entry in STRATEGIES])
            raise source.refuse(
                Refused(f"defaults for a strategy {name!r} that does not exist; {hint}"), "defaults", name
            )
        known = {} if STRATEGIES.scheme(name) else parameters.schema(STRATEGIES.get(name)).model_fields
        for each in values:
            if known and each not in known:
                told = Refused(f"defaults for strategy {name!r}: no parameter {each!r}; {did_you_mean(each, known)}")
                raise source.refuse(told, "defaults", name)
    if checked.tuning is not None:
        check_owners(checked.strategies, checked.tuning.knobs or ())
    cells: dict[str, Cell] = {}
    seeds_of_all = assignments.seeds(checked.seeds)
    tuning = Tuning(tuned, schema.defaults_of(checked))
    for number, written in enumerate(checked.strategies):
        try:
            written, found = tuning.entry(written)
            filled, label, strategy = _strategy(written, checked, common)
        except Refused as error:
            place = source if strategies is None else Source("strategies", {})
            raise place.refuse(error, "strategies", number) from None
        for cell in _of_seeds(filled, label, strategy, found, seeds_of_all, stream):
            cells.setdefault(cell.key, cell)
    tuning.check()
    for sentence in tuning.remarks(f"{checked.name}@{checked.version}", list(cells.values())):
        notice(sentence)
    return checked, list(cells.values())


def _of_seeds(
    filled: dict[str, Any],
    label: str,
    strategy: Strategy,
    tuning: dict[str, Any],
    seeds: Sequence[int],
    stream: Callable[[int], Stream] | Stream | None,
) -> Iterator[Cell]:
    """Yield the cells of one strategy; a given stream is identified for each seed."""
    if stream is None:
        yield from Cell.of_seeds(filled, label, strategy, tuning, seeds)
        return
    for seed in seeds:
        identified = {**filled, "stream": _identity(given_stream(stream, seed))}
        yield Cell({**identified, "seed": seed}, label, strategy, tuning)


def refuse_replaced(
    overrides: Iterable[assignments.Assignment], *, dataset: bool = False, model: bool = False, stream: bool = False
) -> None:
    """Refuse overrides of settings that a given object replaces, since they would have no effect.

    Raises:
        Refused: There is such an override.
    """
    for assignment in overrides:
        key = assignments.key(assignment)
        section = key.partition(".")[0]
        if stream and section == "stream":
            raise Refused(
                f"{key} is set and stream= is given, which includes experiences, tasks and data; leave the "
                "setting out, or make the stream with it, as clbench.stream does"
            )
        if dataset and key in ("stream", "stream.dataset", "stream.dataset.name"):
            raise Refused(f"{key} is set and dataset= is given; leave one of them out")
        if model and section == "model" and key != "model.heads":
            raise Refused(
                f"{key} is set and model= is given, which takes no settings but heads; leave the setting out, or hand "
                "over a model that is made with it"
            )


def given_stream(stream: Callable[[int], Stream] | Stream, seed: int) -> Stream:
    """Return the stream that the program hands over, for a seed.

    Raises:
        Refused: Its function returns something else.
    """
    if not isinstance(stream, Stream) and not callable(stream):
        raise Refused(f"stream= is a {type(stream).__name__}; allowed are a clbench.Stream or a function (seed) -> one")
    made = stream if isinstance(stream, Stream) else stream(seed)
    if not isinstance(made, Stream):
        raise Refused(f"stream= gave a {type(made).__name__} for seed {seed}; allowed is a clbench.Stream")
    return made


def _identity(stream: Stream) -> dict[str, Any]:
    family = {} if stream.family == "classification" else {"family": stream.family}
    setting = "task" if stream.task_labels else "domain" if len({t.classes for t in stream.tasks}) == 1 else "class"
    return {
        "scenario": f"given:{stream.name}",
        "dataset": {"name": stream.dataset.name, **family},
        "setting": setting,
        "fingerprint": stream.fingerprint,
    }


def _check(cell: Mapping[str, Any]) -> None:
    """Refuse settings of a cell that do not go together."""
    if cell["stream"].get("boundaries") is False:
        check_hidden(cell)
    check_stop(cell)
    check_epochs(cell)
    check_tuning(cell)


OVERRIDABLE = ("training", "tuning")
"""Sections that a strategy may override; budgets of memory and evaluation are equal for all."""


def _strategy(
    written: str | dict[str, Any] | list[Any], benchmark: Benchmark, common: dict[str, Any]
) -> tuple[dict[str, Any], str, Strategy]:
    """Return the cell of one entry of ``strategies`` without its seed, the label with overrides, and the strategy."""
    filled, shown = dict(common), []
    if isinstance(written, Mapping) and "strategy" in written:
        for section, values in written.items():
            if section in ("strategy", "label"):
                continue
            if section not in OVERRIDABLE or not isinstance(values, Mapping):
                setting = same(section, schema.Training.model_fields)
                cure = (
                    f"write training: {{{setting}: {values}}}" if setting else "memory and evaluation are equal for all"
                )
                raise Refused(
                    f"a strategy may override {', '.join(OVERRIDABLE)} (a mapping), not {section!r}; {cure}", section
                )
            document = {**benchmark.model_dump(), section: {**common.get(section, {}), **values}}
            checked = schema.check(document, Source(f"overrides of {written['strategy']!r}", document))
            filled[section] = getattr(checked, section).canonical()
            _check(filled)
            shown += [f"{key}={plain_number(value)}" for key, value in values.items() if section == "training"]
        label, written = written.get("label"), written["strategy"]
    else:
        label = None
    defaults = schema.defaults_of(benchmark)
    if "tuning" in filled:
        filled["tuning"], defaults = _chosen_in_the_run(written, filled["tuning"], defaults)
        shown.append(filled["tuning"]["protocol"])
    strategy = Strategy.parse(written, defaults)
    memory, declared = filled["memory"], strategy.declarations
    filled["memory"] = {
        **memory,
        "policy": declared.memory_policy or memory["policy"],
        "admit": declared.memory_admit or memory["admit"],
    }
    name = label or strategy.label
    shown_label = f"{name} [{', '.join(shown)}]" if shown else name
    return {**filled, "strategy": strategy.items}, shown_label, strategy


def _chosen_in_the_run(
    written: Written, tuning: Mapping[str, Any], defaults: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Return the section ``tuning`` of a strategy's cell, with the values to begin with, and its defaults."""
    values = starts(written, defaults, tuning["knobs"])
    return {**tuning, "knobs": values}, with_required(written, values, defaults)


def check_batches(cells: Iterable[Cell], *, data_dir: str | None = None, dataset: Dataset | None = None) -> None:
    """Refuse cells in which leaving out incomplete batches would leave out whole experiences. This imports no torch.

    Args:
        cells: The cells to run; only those that leave out a last batch are checked.
        data_dir, dataset: As in :func:`make_stream`.

    Raises:
        Refused: An experience has no complete batch; the message names the first.
    """
    done = set()
    for cell in cells:
        training = cell.config["training"]
        if not training["drop_last"] or cell.strategy.declarations.sees != "stream":
            continue
        what = (json.dumps(cell.config["stream"], sort_keys=True), cell.seed, training["batch_size"])
        if what not in done:
            done.add(what)
            stream = make_stream(cell.config["stream"], cell.seed, data_dir=data_dir, dataset=dataset)
            BatchSplit(training["batch_size"], drop_last=True).check(len(experience) for experience in stream)


@cache
def _dataset(data_dir: str | None, written: str) -> Dataset:
    named = json.loads(written)
    named.pop("source", None)
    _settle_statistics(named)
    checksum = named.pop("checksum", None)
    if checksum is not None and data.contents_of(named["name"], data_dir) != checksum:
        raise Refused(
            f"the contents of data set {named['name']!r} have changed since this cell was planned; put the old "
            "files back, or run the command again"
        )
    return frozen_features.load(data_dir=data_dir, **named)


def _settle_statistics(settings: dict[str, Any]) -> None:
    """Fill in the statistics of normalisation of a cell that does not name them."""
    if settings.get("normalize", "none") != "none":
        settings.setdefault("statistics", "all")


@lru_cache(maxsize=8)
def _given(dataset: Dataset, written: str) -> Dataset:
    """Apply the settings of a benchmark to the program's own data set, as to a named one."""
    settings = json.loads(written)
    if not settings:
        return dataset
    _settle_statistics(settings)
    made = frozen_features.finish(dataset, dataset.name, **settings)
    own = "normalize" not in settings and "features" not in settings
    return replace(made, mean=dataset.mean, std=dataset.std) if own else made


def make_stream(
    config: Mapping[str, Any], seed: int, *, data_dir: str | None = None, dataset: Dataset | None = None
) -> Stream:
    """Generate the stream of a canonical ``stream`` section. The data set is loaded once per process, without torch.

    Args:
        config: The ``stream`` section of a cell.
        seed: The cell's seed.
        data_dir: The directory of data sets.
        dataset: A data set instead of the one in ``config``, whose settings are applied to it.

    Raises:
        Refused: The data is missing or damaged, or the stream is impossible with it.
    """
    settings = {name: value for name, value in config.items() if name != "dataset"}
    with searching(data_dir):
        return scenarios.make(settings, rows(config, data_dir=data_dir, dataset=dataset), seed)


def rows(config: Mapping[str, Any], *, data_dir: str | None = None, dataset: Dataset | None = None) -> Dataset:
    """Load the data set of a canonical ``stream`` section, once per process. Arguments and errors are as in
    :func:`make_stream`."""
    named = config["dataset"]
    if dataset is None:
        return _dataset(data_dir, json.dumps(named, sort_keys=True))
    if str(named["name"]).startswith("given:"):
        return _given(
            dataset, json.dumps({k: v for k, v in named.items() if k not in (*IDENTITY, "family")}, sort_keys=True)
        )
    return dataset

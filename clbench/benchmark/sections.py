"""The sections of a benchmark file as they enter a cell, with all settings checked. This module imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clbench import data, models, scenarios
from clbench.benchmark.documents import Source
from clbench.benchmark.schema import Benchmark
from clbench.benchmark.setting_names import inside, setting_names
from clbench.core.errors import Refused, UnknownSetting
from clbench.core.parameters import validate
from clbench.core.types import Dataset
from clbench.data.splits import check_statistics
from clbench.models import frozen_features


def stream(
    benchmark: Benchmark, source: Source, own: Mapping[str, Any] | None, data_dir: str | Path | None
) -> dict[str, Any]:
    """Return the ``stream`` section of a cell with all settings.

    Args:
        benchmark: The benchmark.
        source: The document of the benchmark, for messages.
        own: The identity of a data set that the program hands over, used instead of the benchmark's.
        data_dir: The directory of data sets.

    Raises:
        Refused: A setting is unknown or impossible; the message gives its place.
    """
    settings = dict(benchmark.stream)
    dataset = settings.pop("dataset", None)
    own_classes: int | None = None
    if own is not None:
        own, own_classes = {k: v for k, v in own.items() if k != CLASSES}, own.get(CLASSES)
        settled = {k: v for k, v in dataset.items() if k != "family"} if isinstance(dataset, Mapping) else {}
        dataset = {**settled, **own}
    dataset = {"name": dataset} if isinstance(dataset, str | list) else dataset
    if isinstance(dataset, Mapping) and isinstance(dataset.get("name"), list):
        dataset = {**dataset, "name": "+".join(map(str, dataset["name"]))}
    if not isinstance(dataset, Mapping) or not isinstance(dataset.get("name"), str):
        raise Refused(
            f"{source.place(['stream'])}: stream needs dataset: NAME, or dataset: {{name: NAME, normalize: ...}}"
        )
    try:
        name = dataset["name"]
        if own is None:
            data.check_name(name)
        options = {k: v for k, v in dataset.items() if k not in (*IDENTITY, "features")}
        family = data.family_of(name, options)
        filled = {"name": name, **data.canonical({k: v for k, v in options.items() if k != "family"})}
        vectors = (own is not None or data.may_be_vectors(name)) and dataset.get("features") is None
        _settle_statistics(filled, family, "columns" if vectors else "all")
        if own is not None:
            filled = {**own, **_unlike_defaults(filled)}
        if dataset.get("features") is not None:  # only if set, so that older cells keep their keys
            filled["features"] = frozen_features.canonical(dataset["features"])
        if family != "classification":  # older cells name no family
            filled["family"] = family
        if own is None and data.source(name):
            filled["source"] = data.source(name)
        if own is None and (contents := data.contents_of(name, data_dir)):
            filled["checksum"] = contents
    except Refused as error:
        raise source.refuse(error, "stream", "dataset") from None
    try:
        grouped = filled.get("group") is not None and "+" not in filled["name"]
        settings = scenarios.for_data(settings, filled.get("family", "classification"), grouped=grouped)

        def count() -> int | None:
            return own_classes if own is not None else data.class_count(name, filled, data_dir)

        return {**scenarios.with_sizes(scenarios.canonical(settings), count, name), "dataset": filled}
    except Refused as error:
        raise source.refuse(_elsewhere(error, benchmark), "stream") from None


def _elsewhere(error: Refused, benchmark: Benchmark) -> Refused:
    """Return the error with the name of the setting that is meant, if another section has it."""
    if not isinstance(error, UnknownSetting) or "; known: " not in str(error):
        return error
    document = {"stream": benchmark.stream, "model": benchmark.model}
    found = inside(error.key, setting_names(document, Benchmark))
    return Refused(f"{str(error).partition('; known: ')[0]}; {found}", error.key) if found else error


def _settle_statistics(filled: dict[str, Any], family: str, usual: str) -> None:
    """Write out that vectors of classes are normalised by column; other cells, and older ones, have no such setting.

    Args:
        filled: The settings of the data set, which are changed.
        family: Its family.
        usual: The statistics if none are written.

    Raises:
        Refused: The setting is written without normalisation.
    """
    written = filled.pop("statistics", None)
    check_statistics(filled["normalize"], written)
    if filled["normalize"] != "none" and family == "classification" and (written or usual) == "columns":
        filled["statistics"] = "columns"


CLASSES = "n_classes"
"""Key of the number of classes in the identity of a given data set; it does not enter a cell, as the checksum tells
it."""
IDENTITY = ("name", "source", "checksum", "mean", "std")
"""Keys that identify the data set of a section; all other keys are settings."""


def _unlike_defaults(filled: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that change a given data set.

    Raises:
        Refused: A setting cannot be applied to samples in memory.
    """
    usual = validate(data.load, {}, where="dataset")
    changed = {key: value for key, value in filled.items() if key in usual and value != usual[key]}
    for name in data.READING:
        if name in changed:
            raise Refused(
                f"dataset: {name} = {changed[name]} is set and dataset= is given, whose samples come as they are; "
                "leave it out, and change the samples or hand over a data set of clbench.data.from_arrays",
                name,
            )
    return changed


def describe_dataset(dataset: Dataset) -> dict[str, Any]:
    """Return the identity of a data set that the program hands over, as :func:`plan` takes it."""
    statistics = {"mean": list(dataset.mean), "std": list(dataset.std)} if dataset.mean or dataset.std else {}
    family = {"family": dataset.family} if dataset.family != "classification" else {}
    name = f"given:{dataset.name}"
    return {"name": name, "checksum": dataset.checksum, **statistics, **family, CLASSES: dataset.n_classes}


def model(benchmark: Benchmark, source: Source, own: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the ``model`` section of a cell. Arguments and errors are as in :func:`stream`."""
    settings = dict(benchmark.model)
    heads = settings.pop("heads", "shared")
    try:
        if heads not in ("shared", "separate"):
            raise Refused(f"model.heads = {heads!r} is not allowed; choose shared or separate", "heads")
        return {**(models.canonical(settings) if own is None else own), "heads": heads}
    except Refused as error:
        raise source.refuse(_elsewhere(error, benchmark), "model") from None

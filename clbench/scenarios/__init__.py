"""Scenarios: recipes that generate streams, one family per file.

A scenario is a function ``name(dataset, seed, *, settings) -> Stream``. Its keyword parameters are its settings. It is
a pure function: equal arguments give an equal stream with an equal fingerprint on every machine. No scenario imports
torch.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from clbench import families
from clbench.core.errors import Refused
from clbench.core.parameters import validate
from clbench.core.registry import Registry
from clbench.core.types import Dataset, Stream
from clbench.scenarios import combinators
from clbench.scenarios.class_groups import listed_sizes

SCENARIOS = Registry(
    "scenario",
    "clbench.scenarios",
    {
        "split": ("clbench.scenarios.split:split", "the classes divided among experiences, each seen once"),
        "permuted": (
            "clbench.scenarios.permuted:permuted",
            "the same classes with another permutation of the pixels each time",
        ),
        "power_law": (
            "clbench.scenarios.power_law:power_law",
            "old tasks recur less often the longer ago their last visit was",
        ),
        "rotated": ("clbench.scenarios.rotated:rotated", "the same classes rotated by another angle each time"),
        "corrupted": (
            "clbench.scenarios.corrupted:corrupted",
            "the same images with noise, blur, fog and other corruptions in turn",
        ),
        "sequence": ("clbench.scenarios.sequence:sequence", "several data sets one after another"),
        "by_group": (
            "clbench.scenarios.by_group:by_group",
            "one domain after another: the values of a column, such as hospitals or years",
        ),
        "listed": (
            "clbench.scenarios.listed:listed",
            "experiences and tasks as a list of samples says: CORe50, CLEAR, ...",
        ),
        "blurry": ("clbench.scenarios.blurry:blurry", "classes leak into each other: i-Blurry, Si-Blurry, linear"),
        "gaussian": (
            "clbench.scenarios.gaussian:gaussian",
            "classes appear and disappear along bell curves, from disjoint to i.i.d.",
        ),
        "online": (
            "clbench.scenarios.online:online",
            "a single pass in pieces, i.i.d. or class by class, optionally long-tailed",
        ),
        "drift": ("clbench.scenarios.drift:drift", "labels are swapped or permuted over time, also in evaluations"),
        "scole": ("clbench.scenarios.scole:scole", "thousands of short experiences, each with k of the N classes"),
        "teacher": (
            "clbench.scenarios.teacher:teacher",
            "random patterns labelled by a perceptron with binary weights, another one each time",
        ),
        "cir": ("clbench.scenarios.cir:cir", "class-incremental with repetition, by slots or by sampling"),
    },
)


def canonical(config: Mapping[str, Any]) -> dict[str, Any]:
    """Check the configuration of a stream and write out all its settings; this needs no data.

    Args:
        config: ``scenario``, the name, and settings by name; settings that are not given keep their defaults.
            ``apply``, if given, lists combinators (see :mod:`clbench.scenarios.combinators`).

    Returns:
        ``scenario``, all settings of that scenario, and ``apply`` if it lists any combinators.

    Raises:
        Refused: The scenario is missing or unknown, a setting is unknown, or a value has a wrong type.
    """
    if not isinstance(config.get("scenario"), str):
        names = ", ".join(entry.name for entry in SCENARIOS)
        raise Refused(f"a stream needs scenario: NAME, got {config.get('scenario')!r}; known: {names}")
    name = config["scenario"]
    settings = {key: value for key, value in config.items() if key not in ("scenario", "apply", "source")}
    checked = {"scenario": name, **validate(SCENARIOS.get(name), settings, where=f"scenario {name!r}")}
    if SCENARIOS.source(name):
        checked["source"] = SCENARIOS.source(name)
    steps = combinators.canonical(config.get("apply") or [])
    return {**checked, "apply": steps} if steps else checked


def make(config: Mapping[str, Any], dataset: Dataset, seed: int) -> Stream:
    """Generate the stream for a configuration, a data set and a seed.

    Args:
        config: ``scenario``, the name, and settings by name, such as ``{"scenario": "split", "experiences": 5,
            "output": "seen"}``.
        dataset: The data set that holds the samples.
        seed: Any integer. It determines the orders and draws of the stream, and nothing else.

    Raises:
        Refused: A setting is unknown, has a wrong type, or is impossible with this data set.
    """
    settings = canonical(for_data(config, dataset.family, grouped=bool(dataset.domain_names)))
    settings = with_sizes(settings, lambda: dataset.n_classes, dataset.name)
    steps, _ = settings.pop("apply", []), settings.pop("source", "")
    made = SCENARIOS.get(settings.pop("scenario"))(dataset, seed, **settings)
    return combinators.applied(_with_outputs(made), steps)


def with_sizes(settings: Mapping[str, Any], count: Callable[[], int | None], where: str) -> dict[str, Any]:
    """Return the settings of a stream with the sizes of groups of classes written out as a list.

    Args:
        settings: As :func:`canonical` returns them.
        count: A function that returns the number of classes, or ``None`` if it is not known yet; it is called only if
            sizes are set.
        where: Name of the data set in messages.

    Raises:
        Refused: The sizes do not add up to the number of classes.
    """
    return listed_sizes(settings, count, where) if settings.get("scenario") == "split" else dict(settings)


def for_data(config: Mapping[str, Any], family: str, *, grouped: bool = False) -> dict[str, Any]:
    """Return a stream's configuration with the defaults of a family of tasks, and of data with a column ``group``.

    If outputs are not classes, all tasks share them: ``setting`` is ``domain`` and ``output`` is ``all``, if a scenario
    has these settings. The domains of one data set in ``sequence`` share their outputs too.

    Args:
        config: As in :func:`canonical`.
        family: Name of the family of the data set.
        grouped: Whether samples have domains.

    Raises:
        Refused: Another value is set.
    """
    if grouped and config.get("scenario") == "sequence":
        config = {"setting": "domain", **config}
    if families.named(family).has_classes or not isinstance(config.get("scenario"), str):
        return dict(config)
    known, filled = inspect.signature(SCENARIOS.get(config["scenario"])).parameters, dict(config)
    for name, value in (("setting", "domain"), ("output", "all")):
        if name in known and filled.setdefault(name, value) != value:
            raise Refused(
                f"{name} = {filled[name]!r} needs classes, and this data set is of the family {family!r}, in which "
                f"all tasks share their outputs; set {name}: {value}, or leave it out",
                name,
            )
    return filled


def _with_outputs(stream: Stream) -> Stream:
    """Return the stream with as many outputs as its family has; scenarios distribute classes, or groups of samples."""
    family = families.of(stream.dataset)
    if family.has_classes:
        return stream
    if stream.label_map is not None:
        raise Refused(
            f"scenario {stream.name!r} changes labels, and data set {stream.dataset.name!r} is of the family "
            f"{stream.family!r}, whose targets are not labels; choose split, permuted, rotated or online"
        )
    return replace(stream, n_outputs=family.n_outputs(stream.dataset), output="all")


def shows_boundaries(stream: Stream) -> bool:
    """Return whether all experiences show their beginning and end; in an interleaved stream some may hide them."""
    return stream.build(0).boundary and not _hides(stream.description)


def _hides(description: Any) -> bool:
    if isinstance(description, Mapping):
        return description.get("boundaries") is False or any(map(_hides, description.values()))
    return isinstance(description, list) and any(map(_hides, description))


def describe(stream: Stream) -> dict[str, str]:
    """Describe a stream in a few short lines: label -> text, in the order to print them."""
    experiences = list(stream)
    labels, boundaries = stream.task_labels, shows_boundaries(stream)
    return {
        "scenario": f"{stream.name}, seed {stream.seed}",
        "data": f"{stream.dataset.name}, {stream.dataset.n_classes} classes, samples of shape {stream.dataset.shape}",
        "experiences": f"{len(experiences)}, {_span([len(e) for e in experiences])} training samples each",
        "tasks": f"{len(stream.tasks)}, {_span([len(t.rows) for t in stream.tasks])} test samples each",
        "classes": _shorten([" ".join(map(str, e.classes)) for e in experiences]),
        "outputs": f"{stream.n_outputs}; "
        + ("those seen so far compete" if stream.output == "seen" else "all compete"),
        "revealed": f"task labels {'shown' if labels else 'hidden'}, boundaries {'shown' if boundaries else 'hidden'}",
        "fingerprint": stream.fingerprint,
    }


def _span(counts: list[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low}" if low == high else f"{low} to {high}"


def _shorten(groups: list[str], keep: int = 10) -> str:
    """Join groups of classes as text; equal groups are written once, and of many only the first ``keep`` are shown."""
    if len(set(groups)) == 1:
        return f"{groups[0]} in each" if len(groups) > 1 else groups[0]
    return " | ".join(groups[:keep]) + (" | ..." if len(groups) > keep else "")

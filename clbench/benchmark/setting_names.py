"""The dotted names of all settings of a benchmark, to suggest ``training.lr`` for ``lr``.

This module imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel

from clbench import data, models, scenarios
from clbench.core import parameters
from clbench.core.errors import Refused, did_you_mean
from clbench.core.near_names import nearest, same

STREAM = ("scenario", "dataset", "apply")
"""Settings of a stream that belong to no scenario."""
DATASET = ("name", "family", "features")
"""Settings of a data set besides those of :func:`clbench.data.load`."""


def setting_names(document: Mapping[str, Any], schema: type[BaseModel]) -> list[str]:
    """Return the dotted names of the settings that a document may have inside its sections.

    Args:
        document: The document; its scenario and model decide which settings these two sections have.
        schema: The schema of the document.
    """
    found = []
    for name, field in schema.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found += [f"{name}.{each}" for each in field.annotation.model_fields]
    stream, model = document.get("stream"), document.get("model")
    scenario = stream.get("scenario") if isinstance(stream, Mapping) else None
    network = str(model.get("name")) if isinstance(model, Mapping) else ""
    found += [f"stream.{name}" for name in (*STREAM, *_parameters(scenarios.SCENARIOS, scenario))]
    found += [f"stream.dataset.{name}" for name in (*DATASET, *parameters.schema(data.load).model_fields)]
    found += [f"model.{name}" for name in ("name", "heads", *_parameters(models.MODELS, network.partition(":")[0]))]
    return found


def _parameters(registry: Any, name: Any) -> list[str]:
    try:
        made: Callable[..., Any] = registry.get(name)
        return list(parameters.schema(made).model_fields)
    except (Refused, TypeError, NameError, AttributeError):  # an unknown name, or an object without settings
        return []


def hint(key: str, siblings: list[str], document: Mapping[str, Any], schema: type[BaseModel]) -> str:
    """Return what to write in place of an unknown key.

    Args:
        key: The key as it was written, with dots.
        siblings: The keys that its section has.
        document, schema: As in :func:`setting_names`.
    """
    leaf = key.rpartition(".")[2]
    if found := same(leaf, siblings):
        return f"did you mean {found!r}?"
    known = setting_names(document, schema)
    if elsewhere := inside(leaf, known):
        return elsewhere
    if near := nearest(leaf, siblings):
        return f"did you mean {near!r}?"
    return inside(leaf, known, cutoff=0.8) or did_you_mean(leaf, siblings)


def inside(leaf: str, names: list[str], *, cutoff: float = 1.0) -> str:
    """Return a question that names the settings inside sections that are meant by the last step of a key.

    Args:
        leaf: The last step of a key, such as ``learning_rate``.
        names: The dotted names of the settings.
        cutoff: The least similarity; 1 for other spellings only.
    """
    leaves = {name.rpartition(".")[2] for name in names}
    meant = same(leaf, names) or same(leaf, leaves) or (nearest(leaf, leaves, cutoff=cutoff) if cutoff < 1 else "")
    if not meant:
        return ""
    found = [meant] if meant in names else [name for name in names if name.rpartition(".")[2] == meant]
    section, _, last = found[0].rpartition(".")
    if len(found) == 1:
        return f"did you mean {found[0]!r}, the setting {last} of {section}?"
    return f"did you mean {' or '.join(map(repr, found[:2]))}?"


def setting_called(name: str) -> str:
    """Return the dotted name of the setting of a benchmark with ``split`` and ``mlp`` that a name means, or nothing."""
    from clbench.benchmark.schema import Benchmark

    known = setting_names({"stream": {"scenario": "split"}, "model": {"name": "mlp"}}, Benchmark)
    meant = same(name, known) or same(name, [each.rpartition(".")[2] for each in known])
    return next((each for each in known if meant and (each == meant or each.endswith(f".{meant}"))), "")

"""Objects that a program has added to the registries, on their way to worker processes.

A worker is a new interpreter, which knows nothing of a notebook's classes. They are sent by value, with the functions
and globals that they use.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from clbench.core.errors import Refused
from clbench.core.registry import Registry, load
from clbench.running.cell_key import Cell

REGISTRIES = (
    "clbench.data.dataset_registry:DATASETS",
    "clbench.families:FAMILIES",
    "clbench.scenarios:SCENARIOS",
    "clbench.scenarios.combinators:COMBINATORS",
    "clbench.models:MODELS",
    "clbench.models.pretrained:SCHEMES",
    "clbench.strategies:STRATEGIES",
    "clbench.metrics:METRICS",
    "clbench.benchmark.lr_schedules:LR_SCHEDULES",
    "clbench.benchmark.optimizer_names:OPTIMIZERS",
    "clbench.benchmark.evaluation_schedules:EVALUATION_SCHEDULES",
    "clbench.readings:READINGS",
    "clbench.running.executors:EXECUTORS",
)
"""All registries, as import paths."""


@dataclass(frozen=True)
class AddedObject:
    """Hold one added object: the import path of its registry, its name and summary, and the object by value."""

    registry: str
    name: str
    summary: str
    packed: bytes


def pack(cells: Iterable[Cell]) -> list[AddedObject]:
    """Return the objects that this program has added to registries, ready to be sent.

    Objects that cannot be sent are left out, unless a cell uses their name.

    Raises:
        Refused: A cell uses an object that cannot be sent.
    """
    found, used = [], {name for cell in cells for name in _texts(cell.config)}
    for path, registry in _registries():
        for name, entry in registry.added.items():
            try:
                found.append(AddedObject(path, name, entry.summary, _by_value(entry.load())))
            except Exception as error:
                if name in used:
                    raise Refused(
                        f"the {registry.kind} {name!r}, which this program added, cannot be sent to worker processes "
                        f"({type(error).__name__}: {error}); use jobs=1, or write it in a file and name it FILE.py:NAME"
                    ) from error
    return found


def unpack(objects: Iterable[AddedObject]) -> list[str]:
    """Add the objects of another process to the registries of this one, and return a sentence for each problem."""
    problems = []
    for each in objects:
        try:
            _add(each)
        except Exception as error:  # a cell that uses it fails; others need not
            problems.append(f"{each.name!r} does not reach a worker process: {type(error).__name__}: {error}")
    return problems


def _add(each: AddedObject) -> None:
    import cloudpickle

    obj = cloudpickle.loads(each.packed)
    registry: Registry = load(each.registry)
    registry.add(each.name, obj, each.summary)
    if getattr(obj, "__module__", None) == "__main__" and "." not in (name := getattr(obj, "__qualname__", ".")):
        vars(sys.modules["__main__"]).setdefault(name, obj)  # pickles of its instances name it


def _registries() -> Iterator[tuple[str, Registry]]:
    """Yield the registries of modules that this program has imported; others have nothing added."""
    for path in REGISTRIES:
        module, _, name = path.partition(":")
        if module in sys.modules:
            yield path, getattr(sys.modules[module], name)


def _by_value(obj: Any) -> bytes:
    """Return an object as bytes; code of modules that a worker cannot import is included."""
    import cloudpickle

    with ExitStack() as until:
        module = sys.modules.get(str(getattr(obj, "__module__", "") or ""))
        if module is not None and not _can_be_imported(module) and module.__name__ != "__main__":
            cloudpickle.register_pickle_by_value(module)
            until.callback(cloudpickle.unregister_pickle_by_value, module)
        packed: bytes = cloudpickle.dumps(obj)
        return packed


def _can_be_imported(module: ModuleType) -> bool:
    try:
        return importlib.util.find_spec(module.__name__.partition(".")[0]) is not None
    except (ImportError, ValueError):
        return False


def _texts(settings: Any) -> Iterator[str]:
    """Yield all names and texts in settings; a data set joined of several with ``+`` counts by each."""
    if isinstance(settings, str):
        yield settings
        yield from (part.strip() for part in settings.split("+"))
    elif isinstance(settings, Mapping):
        for name, value in settings.items():
            yield str(name)
            yield from _texts(value)
    elif isinstance(settings, list | tuple):
        for value in settings:
            yield from _texts(value)

"""The checksum of the program's files that a module imports from its own package or folder."""

from __future__ import annotations

import hashlib
import types
from collections.abc import Iterator
from pathlib import Path
from sys import modules
from weakref import WeakKeyDictionary

from clbench.core.identity import program_text
from clbench.core.identity.module_origin import library


def beside(module: types.ModuleType) -> str:
    """Return the checksum of the program's modules that a module uses, directly or indirectly; empty if there are
    none."""
    told = "\n".join(f"{name} {_text(*found)}" for name, found in sorted(_files(module).items()))
    return hashlib.sha256(told.encode()).hexdigest()[:16] if told else ""


def files_beside(module: types.ModuleType) -> dict[str, Path]:
    """Return the files of the program's modules that a module uses, directly or indirectly, by the modules' names."""
    return {name: path for name, (_, path) in sorted(_files(module).items())}


def _files(module: types.ModuleType) -> dict[str, tuple[types.ModuleType, Path]]:
    found: dict[str, tuple[types.ModuleType, Path]] = {}
    waiting = [module]
    while waiting:
        for other in _used(waiting.pop(), package=module.__name__.partition(".")[0]):
            file = getattr(other, "__file__", None)
            if other is not module and file is not None and other.__name__ not in found:
                found[other.__name__] = other, Path(file)
                waiting.append(other)
    return found


def _used(module: types.ModuleType, package: str) -> Iterator[types.ModuleType]:
    """Yield the program's modules that a module names, or from which it takes a class or function."""
    for value in list(vars(module).values()):
        home = value.__name__ if isinstance(value, types.ModuleType) else getattr(value, "__module__", None)
        if isinstance(home, str) and home in modules and home != module.__name__:
            root = home.partition(".")[0]
            if root != "clbench" and (root == package or not library(home)):
                yield modules[home]


_digests: WeakKeyDictionary[types.ModuleType, tuple[object, str]] = WeakKeyDictionary()


def _text(module: types.ModuleType, file: Path) -> str:
    """Return the checksum of a module's program. It is read once for each import, since a later edit changes no code
    that is imported already."""
    known = _digests.get(module)
    if known is None or known[0] is not module.__spec__:  # a reload makes another specification
        try:
            known = module.__spec__, program_text.digest(file.read_bytes())
        except OSError:  # in a zip archive
            known = module.__spec__, ""
        _digests[module] = known
    return known[1]

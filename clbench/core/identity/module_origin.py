"""The origin of a module: a library, whose code counts by its name, or the program itself."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
import sysconfig
from functools import cache
from pathlib import Path

LIBRARIES = ("torch", "torchvision", "numpy", "scipy", "sklearn", "builtins", "clbench")
"""Packages whose code counts by name alone, since their versions are in every record's environment."""

_INSTALLED = ("site-packages", "dist-packages")


def library(module: str) -> bool:
    """Return whether a module comes with Python or is installed; a module of the program itself is no library."""
    return _root_is_library(module) if module else False


def version_of(module: str) -> str:
    """Return the version of a library; empty if the record's environment already holds it."""
    root = module.partition(".")[0]
    if not module or root in LIBRARIES or root in sys.stdlib_module_names:
        return ""
    return _version(root)


@cache
def _version(root: str) -> str:
    for name in importlib.metadata.packages_distributions().get(root, [root]):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return ""


def _root_is_library(module: str) -> bool:
    root = module.partition(".")[0]
    if root == "__main__":  # also if an installed program executes it, as a kernel does with the cells of a notebook
        return False
    if root in LIBRARIES or root in sys.builtin_module_names:
        return True
    found = sys.modules.get(module) or sys.modules.get(root)
    file = getattr(found, "__file__", None) if found is not None else _file(root)
    if file is None:  # frozen, or entered at a prompt
        return root in sys.stdlib_module_names
    path = Path(file)
    if any(folder in path.parts for folder in _INSTALLED):
        return True
    return _standard() in path.parents or (root in sys.stdlib_module_names and "lib-dynload" in path.parts)


@cache
def _file(root: str) -> str | None:
    """Return the file of a module that is not imported."""
    try:
        spec = importlib.util.find_spec(root)
    except (ImportError, ValueError, AttributeError):
        return None
    return None if spec is None or not spec.has_location else spec.origin


@cache
def _standard() -> Path:
    return Path(sysconfig.get_path("stdlib"))

"""The global names that a function reads, found in its compiled code."""

from __future__ import annotations

import builtins
import dis
import importlib
import sys
import types
from collections.abc import Iterator
from typing import Any

from clbench.core.identity.module_origin import library

ABSENT = "clbench: no such name yet"

_GLOBAL = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
_ATTRIBUTE = ("LOAD_ATTR", "LOAD_METHOD")

FILES = frozenset(
    (
        "open", "io.open", "os.environ", "os.getenv", "numpy.load", "numpy.loadtxt", "numpy.genfromtxt",
        "numpy.fromfile", "numpy.memmap", "torch.load", "torch.hub.load", "torch.jit.load", "pickle.load", "json.load",
        "joblib.load",
    )
)  # fmt: skip
"""Names of functions that read data from outside the program."""

READS = frozenset((".read_text", ".read_bytes"))
"""Methods that read files, on any object."""

DYNAMIC = frozenset(("globals", "eval", "exec", "__import__", "importlib.import_module"))
"""Names that a function uses to look up other names at run time."""


def why_open(path: str, value: Any) -> str:
    """Return why a function that reads this name may change later, as the end of a sentence; empty if it cannot."""
    name = _full_name(path, value)
    if name in FILES or name in READS:
        return (
            f"reads files or the environment when it is called ({name}); read them before, and hand over the "
            "content, as a default or in a closure"
        )
    if name in DYNAMIC:
        return f"looks up names at run time ({name}); write these names in the code"
    return ""


def _full_name(path: str, value: Any) -> str:
    written = path.removeprefix("import ").replace(" ", ".")
    if written in FILES or path in READS:
        return written
    if path == "os.environ" or value is getattr(sys.modules.get("os"), "environ", None):
        return "os.environ"
    if not callable(value):
        return ""
    name = getattr(value, "__name__", "")
    module = getattr(value, "__module__", "") or ""
    if module in ("builtins", "io", "_io"):
        return str(name)
    for known in FILES | DYNAMIC:
        home, _, last = known.rpartition(".")
        if last == name and home and getattr(sys.modules.get(home), last, None) is value:
            return known
    return ""


def globals_read(function: types.FunctionType) -> list[tuple[str, Any]]:
    """Return the dotted name and the value of each global that a function reads. Attributes of modules are followed."""
    found: dict[str, Any] = {}
    for names in sorted(set(_chains(function.__code__))):
        value = function.__globals__.get(names[0], getattr(builtins, names[0], ABSENT))
        path = names[0]
        for name in names[1:]:
            if not isinstance(value, types.ModuleType):
                break
            value, path = getattr(value, name, ABSENT), f"{path}.{name}"
        found[path] = value
    for module, name in sorted(set(_imported(function))):
        value = module if library(module) and module not in sys.modules else _module(module)
        found[f"import {module} {name}"] = getattr(value, name, ABSENT) if name else value
    for code in _codes(function.__code__):
        found |= {f".{name}": "method" for name in code.co_names if f".{name}" in READS}
    return sorted(found.items(), key=lambda item: item[0])


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def _chains(code: types.CodeType) -> Iterator[tuple[str, ...]]:
    """Yield each global that the code reads, with the attributes that are read from it directly."""
    for each in _codes(code):
        steps = list(dis.get_instructions(each))
        for place, step in enumerate(steps):
            if step.opname in _GLOBAL:
                yield (str(step.argval), *_taken(steps[place + 1 :]))


def _taken(steps: list[dis.Instruction]) -> Iterator[str]:
    """Yield the attributes at the start of a list of instructions."""
    for step in steps:
        if step.opname not in _ATTRIBUTE:
            return
        yield str(step.argval)


def _imported(function: types.FunctionType) -> Iterator[tuple[str, str]]:
    """Yield module and name of each import that a function runs; the name is empty for the module itself."""
    package = str(function.__globals__.get("__package__") or "")
    for code in _codes(function.__code__):
        steps = list(dis.get_instructions(code))
        for place, step in enumerate(steps):
            if step.opname != "IMPORT_NAME":
                continue
            level = next((s.argval for s in reversed(steps[:place]) if s.opname == "LOAD_CONST" and s.argval is not None
                          and isinstance(s.argval, int)), 0)  # fmt: skip
            above = package.split(".")[: len(package.split(".")) - (level - 1)] if level else []
            module = ".".join([*above, *([str(step.argval)] if step.argval else [])])
            taken = []
            for after in steps[place + 1 :]:
                if after.opname == "IMPORT_FROM":
                    taken.append(str(after.argval))
                elif not after.opname.startswith("STORE") and after.opname not in ("SWAP", "POP_TOP"):
                    break
            for name in taken or [""]:
                yield module, name
            stored = steps[place + 1].argval if not taken and steps[place + 1].opname.startswith("STORE") else None
            for number, after in enumerate(steps):
                if stored is not None and after.opname in ("LOAD_FAST", "LOAD_DEREF") and after.argval == stored:
                    names = list(_taken(steps[number + 1 :]))
                    if library(module) and names:
                        yield module, ".".join(names[:1])


def _module(name: str) -> Any:
    """Return a module by its name, and import it if it belongs to the program; ``ABSENT`` if it does not exist."""
    if name in sys.modules:
        return sys.modules[name]
    try:
        return importlib.import_module(name)
    except Exception:  # the function itself will report it when it is called
        return ABSENT

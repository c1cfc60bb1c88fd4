"""Checksums of code: functions, classes, modules and annotations."""

from __future__ import annotations

import enum
import functools
import sys
import types
import typing
from typing import Any

from clbench.core.identity import global_names
from clbench.core.identity.docstrings import without_docstring
from clbench.core.identity.module_origin import library, version_of
from clbench.core.identity.object_walk import Unidentified, Walk
from clbench.core.identity.value_identity import HEAP

SCHEMAS = frozenset(
    (
        "__pydantic_core_schema__", "__pydantic_validator__", "__pydantic_serializer__", "__pydantic_post_init__",
        "__pydantic_parent_namespace__", "__pydantic_generic_metadata__", "__pydantic_complete__",
    )
)  # fmt: skip
"""Attributes that pydantic compiles from a class and that contain memory addresses."""

OF_CLASSES = frozenset(
    (
        "__dict__", "__weakref__", "__module__", "__qualname__", "__doc__", "__annotations__", "__annotate__",
        "__annotate_func__", "__annotations_cache__", "__abstractmethods__", "_abc_impl", "__slotnames__",
        "__firstlineno__", "__static_attributes__", "__parameters__", "__orig_bases__", "__dataclass_fields__",
        "__signature__",
    )
)  # fmt: skip
"""Attributes of classes that do not change what they do, or that repeat other attributes."""


def function(walk: Walk, function: types.FunctionType) -> None:
    """Add a function: one of a library by name and closure, one of the program by code, values and globals."""
    if walk.again(function):
        return
    if hasattr(function, "_torchdynamo_orig_callable"):  # compiled code counts as the code that was compiled
        walk.feed(function._torchdynamo_orig_callable)
        return
    home = str(function.__globals__.get("__name__", ""))  # not __module__, which functools.wraps copies
    if library(home):
        walk.put("function of", home, function.__qualname__, version_of(home))
        if "<locals>" in function.__qualname__ or function.__closure__:
            walk.each(function.__closure__ or ())
            walk.named(vars(function))
        return
    walk.put("function")
    code(walk, function.__code__)
    walk.feed(function.__defaults__)
    walk.named(function.__kwdefaults__ or {})
    walk.each(function.__closure__ or ())
    walk.named(vars(function))
    for path, value in global_names.globals_read(function):
        walk.put("reads", path)
        reason = global_names.why_open(path, value)
        if reason:
            raise Unidentified(f"{function.__qualname__} {reason}")
        walk.feed(value)


def code(walk: Walk, code: types.CodeType) -> None:
    """Add compiled code without its file, its line numbers and its docstring."""
    instructions, constants, flags = without_docstring(code)
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, flags)
    walk.put("code", instructions, repr(counts), code.co_exceptiontable)
    walk.put(*code.co_names, *code.co_varnames, *code.co_freevars, *code.co_cellvars)
    walk.each(constants)


def cell(walk: Walk, cell: types.CellType) -> None:
    """Add a variable of a closure by its content."""
    try:
        content = cell.cell_contents
    except ValueError:
        walk.put("empty cell")
    else:
        walk.feed(content)


def method(walk: Walk, method: Any) -> None:
    """Add a bound method by its function and its object."""
    walk.put("method")
    walk.feed(method.__func__)
    walk.feed(method.__self__)


def builtin(walk: Walk, function: Any) -> None:
    """Add a function that is not written in Python by its name and the object that it is bound to."""
    owner = getattr(function, "__self__", None)
    walk.put("builtin", str(getattr(function, "__module__", "")), function.__qualname__)
    if owner is not None and not isinstance(owner, types.ModuleType):
        walk.feed(owner)


def partial(walk: Walk, partial: functools.partial[Any]) -> None:
    """Add a partial by its function and its arguments."""
    walk.put("partial")
    walk.feed(type(partial))
    walk.feed(partial.func)
    walk.feed(partial.args)
    walk.named(partial.keywords)
    walk.named(vars(partial))


def module(walk: Walk, module: types.ModuleType) -> None:
    """Add a module: one of a library by name, one of the program by all of its content."""
    if library(module.__name__) or walk.again(module):
        walk.put("module", module.__name__, version_of(module.__name__))
        return
    walk.put("module of the program")
    walk.named({name: value for name, value in vars(module).items() if not name.startswith("__")})


def klass(walk: Walk, cls: type) -> None:
    """Add a class: one of a library by name, one of the program by its bases and all that it defines."""
    home = cls.__module__ if isinstance(cls.__module__, str) else "builtins"  # some classes of Cython have no such name
    if library(home) and (_found(home, cls) or not cls.__flags__ & HEAP):
        walk.put("class of", home, cls.__qualname__, version_of(home))
        return
    if walk.again(cls):
        return
    walk.put("class", cls.__qualname__)
    walk.each(cls.__bases__)
    if type(cls) is not type:
        walk.feed(type(cls))
    inside = {name: value for name, value in vars(cls).items() if name not in OF_CLASSES and name not in SCHEMAS}
    if issubclass(cls, enum.Enum):
        walk.each((member.name, member.value) for member in cls.__members__.values())
        inside = {k: v for k, v in inside.items() if k not in cls.__members__ and not k.startswith("_")}
    walk.named(inside)


def annotation(walk: Walk, obj: Any) -> None:
    """Add a type as written in annotations, such as ``list[int]`` or ``Annotated[float, ...]``."""
    inside = (*typing.get_args(obj), *getattr(obj, "__metadata__", ()))
    origin = typing.get_origin(obj)
    walk.put("annotation", "" if inside else repr(obj))
    if inside:
        walk.feed(origin)
        walk.each(inside)


def _found(module: str, cls: type) -> bool:
    """Return whether a class can be found under its name; a class made by a library's function cannot."""
    found: Any = sys.modules.get(module)
    for name in cls.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is cls

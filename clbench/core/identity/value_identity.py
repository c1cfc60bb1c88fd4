"""Checksums of values: numbers, text, containers, and objects of any class."""

from __future__ import annotations

import copyreg
import functools
import types
from contextlib import suppress
from operator import methodcaller
from typing import Any

from clbench.core.identity.object_walk import Unidentified, Walk

PLAIN = (bool, int, float, complex, str, bytes, bytearray)
"""Classes of numbers and text, which count by their printed form."""

NEW = vars(copyreg)["__newobj__"]
"""The function named in the default pickle of an object."""

HEAP = 1 << 9
"""The flag of classes that are created while a program runs, such as all classes written in Python."""


def subclass(walk: Walk, obj: Any, kinds: tuple[type, ...]) -> None:
    """Add class and attributes of a value whose class is a subclass of a plain one."""
    if type(obj) not in kinds:
        walk.feed(type(obj))
        walk.named(attributes(obj))


def number(walk: Walk, obj: Any) -> None:
    """Add a number or text, also of a subclass that the program defines."""
    base = next(kind for kind in PLAIN if isinstance(obj, kind))
    walk.put("number or text", f"{int(obj):x}" if base is int else base.__repr__(obj))
    subclass(walk, obj, PLAIN)


def sequence(walk: Walk, obj: Any) -> None:
    """Add a list or a tuple."""
    if isinstance(obj, list) and walk.again(obj):
        return
    walk.put("tuple" if isinstance(obj, tuple) else "list")
    walk.each(obj)
    subclass(walk, obj, (tuple, list))


def mapping(walk: Walk, obj: Any) -> None:
    """Add a mapping in its order, since code that iterates over it depends on the order."""
    if walk.again(obj):
        return
    walk.put("mapping", str(len(obj)))
    for key, value in obj.items():
        walk.feed(key)
        walk.feed(value)
    subclass(walk, obj, (dict, types.MappingProxyType))
    walk.feed(getattr(obj, "default_factory", None))


def unordered(walk: Walk, obj: Any) -> None:
    """Add a set. Its order in this process does not count."""
    if isinstance(obj, set) and walk.again(obj):
        return
    walk.put("set", *sorted(walk.alone(each) for each in obj))
    subclass(walk, obj, (set, frozenset))


def instance(walk: Walk, obj: Any) -> None:
    """Add any other object by its class and attributes; if its class is not written in Python, by its pickle."""
    cls = type(obj)
    walk.put("instance")
    walk.feed(cls)
    if in_python(cls):
        walk.named(attributes(obj))
        return
    reduced: Any
    try:
        reduced = copyreg.dispatch_table.get(cls, methodcaller("__reduce_ex__", 4))(obj)
    except Exception:
        reduced = None
    if reduced is None or (reduced[0] is NEW and not any(reduced[2:]) and len(reduced[1]) < 2):
        raise Unidentified(f"a {cls.__module__}.{cls.__qualname__} has no content that can be read")
    if isinstance(reduced, str):
        walk.put(reduced)
        return
    for piece in reduced:
        listed = not isinstance(piece, type) and hasattr(piece, "__next__")
        walk.feed(list(piece) if listed else piece)


def attributes(obj: Any) -> dict[str, Any]:
    """Return the content of an object's dictionary and slots, without values cached by ``cached_property``."""
    cls = type(obj)
    found = dict(getattr(obj, "__dict__", {}))
    for base in cls.__mro__:
        slots = vars(base).get("__slots__", ())
        for name in [slots] if isinstance(slots, str) else list(slots):
            own = f"_{base.__name__.lstrip('_')}{name}" if name.startswith("__") and not name.endswith("__") else name
            if name not in ("__dict__", "__weakref__"):
                with suppress(AttributeError):
                    found[own] = getattr(obj, own)
    kept = {name for base in cls.__mro__ for name, v in vars(base).items() if isinstance(v, functools.cached_property)}
    return {str(name): value for name, value in found.items() if name not in kept}


def in_python(cls: type) -> bool:
    """Return whether attributes hold all the content of objects of a class: no base class is written in another
    language."""
    for base in cls.__mro__:
        new = vars(base).get("__new__")
        if not base.__flags__ & HEAP or (isinstance(new, types.BuiltinFunctionType) and new.__self__ is base):
            break
    else:
        return True
    slots = sum(isinstance(v, types.MemberDescriptorType) for each in cls.__mro__ for v in vars(each).values())
    words = slots + (cls.__dictoffset__ > 0) + (cls.__weakrefoffset__ > 0)
    return base is object and cls.__basicsize__ <= object.__basicsize__ + words * tuple.__itemsize__

"""The checksum of any object, and the table of how objects of each kind are added to it."""

from __future__ import annotations

import enum
import functools
import logging
import pathlib
import threading
import types
import typing
import weakref
from collections.abc import Callable
from typing import Any

from clbench.core.identity import array_identity, code_identity, value_identity
from clbench.core.identity.object_walk import Unidentified, Walk


def checksum(obj: Any) -> str:
    """Return the checksum of an object's content as 16 hex digits.

    Raises:
        Unidentified: The object, or one that it refers to, has no content that can be read.
    """
    try:
        return _Checksum().alone(obj).hex()[:16]
    except RecursionError:
        raise Unidentified(f"{_called(obj)} is nested too deeply to be read") from None


def _called(obj: Any) -> str:
    return str(getattr(obj, "__qualname__", None) or f"a {type(obj).__qualname__}")


WITHOUT_CONTENT = (
    weakref.ref,
    weakref.WeakKeyDictionary,
    weakref.WeakValueDictionary,
    weakref.WeakSet,
    logging.Logger,
    type(threading.Lock()),
    type(threading.RLock()),
)
"""Objects that change no result. Caches, logs and locks count by their type alone."""

DESCRIPTORS = (
    types.MemberDescriptorType,
    types.GetSetDescriptorType,
    types.WrapperDescriptorType,
    types.MethodDescriptorType,
    types.ClassMethodDescriptorType,
)


class _Checksum(Walk):
    """Walk over objects of all kinds."""

    def feed(self, obj: Any) -> None:
        """Add an object."""
        if obj is None or obj is Ellipsis or obj is NotImplemented or type(obj) in value_identity.PLAIN:
            self.put(type(obj).__name__, f"{obj:x}" if isinstance(obj, int) else repr(obj))
        elif isinstance(obj, type):
            code_identity.klass(self, obj)
        elif isinstance(obj, types.FunctionType):
            code_identity.function(self, obj)
        elif isinstance(obj, types.ModuleType):
            code_identity.module(self, obj)
        elif isinstance(obj, WITHOUT_CONTENT):
            self.put("without content", type(obj).__qualname__)
        elif not array_identity.array(self, obj):
            taken = next((take for kind, take in KINDS if isinstance(obj, kind)), None)
            if taken is not None:
                taken(self, obj)
            elif type(obj).__module__ == "typing":
                code_identity.annotation(self, obj)
            elif not self.again(obj):
                value_identity.instance(self, obj)


KINDS: tuple[tuple[Any, Callable[[Walk, Any], None]], ...] = (
    (enum.Enum, lambda walk, obj: walk.each(("member", type(obj), obj.name or repr(obj.value)))),
    (value_identity.PLAIN, value_identity.number),
    ((tuple, list), value_identity.sequence),
    ((dict, types.MappingProxyType), value_identity.mapping),
    ((set, frozenset), value_identity.unordered),
    (pathlib.PurePath, lambda walk, obj: walk.put("path", str(obj))),
    (functools.partial, code_identity.partial),
    (functools._lru_cache_wrapper, lambda walk, obj: walk.each((obj.__wrapped__, obj.cache_parameters()))),
    (types.CodeType, code_identity.code),
    (types.CellType, code_identity.cell),
    (types.MethodType, code_identity.method),
    ((types.BuiltinFunctionType, types.MethodWrapperType), code_identity.builtin),
    ((staticmethod, classmethod), lambda walk, obj: walk.each((type(obj), obj.__func__))),
    (property, lambda walk, obj: walk.each(("property", obj.fget, obj.fset, obj.fdel))),
    (functools.cached_property, lambda walk, obj: walk.each(("cached_property", obj.func, obj.attrname))),
    (DESCRIPTORS, lambda walk, obj: walk.put("descriptor", obj.__qualname__)),
    ((types.GenericAlias, types.UnionType, typing.TypeVar), code_identity.annotation),
)
"""How objects of each kind are added. The first kind that matches is used."""

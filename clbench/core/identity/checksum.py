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


def checksum(thing: Any) -> str:
    """Return the checksum of an object's content as 16 hex digits.

    Raises:
        Unidentified: The object, or one that it refers to, has no content that can be read.
    """
    try:
        return _Checksum().alone(thing).hex()[:16]
    except RecursionError:
        raise Unidentified(f"{_called(thing)} is nested too deeply to be read") from None


def _called(thing: Any) -> str:
    return str(getattr(thing, "__qualname__", None) or f"a {type(thing).__qualname__}")


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

    def feed(self, thing: Any) -> None:
        """Add an object."""
        if thing is None or thing is Ellipsis or thing is NotImplemented or type(thing) in value_identity.PLAIN:
            self.put(type(thing).__name__, f"{thing:x}" if isinstance(thing, int) else repr(thing))
        elif isinstance(thing, type):
            code_identity.klass(self, thing)
        elif isinstance(thing, types.FunctionType):
            code_identity.function(self, thing)
        elif isinstance(thing, types.ModuleType):
            code_identity.module(self, thing)
        elif isinstance(thing, WITHOUT_CONTENT):
            self.put("without content", type(thing).__qualname__)
        elif not array_identity.array(self, thing):
            taken = next((take for kind, take in KINDS if isinstance(thing, kind)), None)
            if taken is not None:
                taken(self, thing)
            elif type(thing).__module__ == "typing":
                code_identity.annotation(self, thing)
            elif not self.again(thing):
                value_identity.instance(self, thing)


KINDS: tuple[tuple[Any, Callable[[Walk, Any], None]], ...] = (
    (enum.Enum, lambda walk, thing: walk.each(("member", type(thing), thing.name or repr(thing.value)))),
    (value_identity.PLAIN, value_identity.number),
    ((tuple, list), value_identity.sequence),
    ((dict, types.MappingProxyType), value_identity.mapping),
    ((set, frozenset), value_identity.unordered),
    (pathlib.PurePath, lambda walk, thing: walk.put("path", str(thing))),
    (functools.partial, code_identity.partial),
    (functools._lru_cache_wrapper, lambda walk, thing: walk.each((thing.__wrapped__, thing.cache_parameters()))),
    (types.CodeType, code_identity.code),
    (types.CellType, code_identity.cell),
    (types.MethodType, code_identity.method),
    ((types.BuiltinFunctionType, types.MethodWrapperType), code_identity.builtin),
    ((staticmethod, classmethod), lambda walk, thing: walk.each((type(thing), thing.__func__))),
    (property, lambda walk, thing: walk.each(("property", thing.fget, thing.fset, thing.fdel))),
    (functools.cached_property, lambda walk, thing: walk.each(("cached_property", thing.func, thing.attrname))),
    (DESCRIPTORS, lambda walk, thing: walk.put("descriptor", thing.__qualname__)),
    ((types.GenericAlias, types.UnionType, typing.TypeVar), code_identity.annotation),
)
"""How objects of each kind are added. The first kind that matches is used."""

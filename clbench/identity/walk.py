"""The walk over a thing and all that it refers to, from which its checksum comes."""

from __future__ import annotations

import copyreg
import enum
import functools
import hashlib
import logging
import pathlib
import sys
import threading
import types
import typing
import weakref
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from clbench.identity import reading
from clbench.identity.origin import library, version_of


class Unidentified(ValueError):
    """A thing of which nothing can be said that is the same in every process; the message is a clause that says why."""


def checksum(thing: Any) -> str:
    """Sixteen hex digits of a thing's content.

    Raises:
        Unidentified: It has none that can be read, or refers to something that has none.
    """
    try:
        return _digest(thing).hex()[:16]
    except RecursionError:
        raise Unidentified(f"{_called(thing)} is nested too deeply to be read") from None


def _digest(thing: Any) -> bytes:
    walk = _Walk()
    walk.feed(thing)
    return walk.digest.digest()


def _called(thing: Any) -> str:
    return str(getattr(thing, "__qualname__", None) or f"a {type(thing).__qualname__}")


SCHEMAS = frozenset(
    (
        "__pydantic_core_schema__", "__pydantic_validator__", "__pydantic_serializer__", "__pydantic_post_init__",
        "__pydantic_parent_namespace__", "__pydantic_generic_metadata__", "__pydantic_complete__",
    )
)  # fmt: skip
"""What pydantic compiles from a class, with addresses in it."""

PLAIN = (bool, int, float, complex, str, bytes, bytearray)
WITHOUT_CONTENT = (
    weakref.ref,
    weakref.WeakKeyDictionary,
    weakref.WeakValueDictionary,
    weakref.WeakSet,
    logging.Logger,
    type(threading.Lock()),
    type(threading.RLock()),
)
"""Things that change no result: caches, logs and locks count by their type."""

OF_CLASSES = frozenset(
    (
        "__dict__", "__weakref__", "__module__", "__qualname__", "__doc__", "__annotations__", "__annotate__",
        "__annotate_func__", "__annotations_cache__", "__abstractmethods__", "_abc_impl", "__slotnames__",
        "__firstlineno__", "__static_attributes__", "__parameters__", "__orig_bases__", "__dataclass_fields__",
        "__signature__",
    )
)  # fmt: skip
"""Attributes of classes that say nothing of what they do, or say again what others say."""

DESCRIPTORS = (
    types.MemberDescriptorType,
    types.GetSetDescriptorType,
    types.WrapperDescriptorType,
    types.MethodDescriptorType,
    types.ClassMethodDescriptorType,
)


class _Walk:
    """One pass over a thing and all it refers to; what is met again is told by the number of its first meeting."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()
        self.met: dict[int, tuple[int, Any]] = {}  # holds on to what it met, whose id would else be given away again

    def put(self, *texts: str | bytes) -> None:
        for text in texts:
            raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
            self.digest.update(b"%d:" % len(raw))
            self.digest.update(raw)

    def again(self, thing: Any) -> bool:
        """Whether a thing was met before; then its number is told in place of its content."""
        if id(thing) in self.met:
            self.put("again", str(self.met[id(thing)][0]))
            return True
        self.met[id(thing)] = (len(self.met), thing)
        return False

    def feed(self, thing: Any) -> None:
        """Take a thing in."""
        if thing is None or thing is Ellipsis or thing is NotImplemented or type(thing) in PLAIN:
            self.put(type(thing).__name__, f"{thing:x}" if isinstance(thing, int) else repr(thing))
        elif isinstance(thing, type):
            self.klass(thing)
        elif isinstance(thing, types.FunctionType):
            self.function(thing)
        elif isinstance(thing, types.ModuleType):
            self.module(thing)
        elif isinstance(thing, WITHOUT_CONTENT):
            self.put("without content", type(thing).__qualname__)
        elif not self.array(thing):
            taken = next((take for kind, take in KINDS if isinstance(thing, kind)), None)
            if taken is not None:
                taken(self, thing)
            elif type(thing).__module__ == "typing":
                self.annotation(thing)
            elif not self.again(thing):
                self.instance(thing)

    def each(self, things: Iterable[Any]) -> None:
        things = list(things)
        self.put("each", str(len(things)))
        for thing in things:
            self.feed(thing)

    def named(self, things: Mapping[str, Any]) -> None:
        """A mapping by names whose order says nothing: attributes, keywords."""
        self.put("named", str(len(things)))
        for name in sorted(things):
            self.put(name)
            self.feed(things[name])

    # ----------------------------------------------------------------------------------------------- code

    def function(self, function: types.FunctionType) -> None:
        if self.again(function):
            return
        if hasattr(function, "_torchdynamo_orig_callable"):  # compiled code is the code that was compiled
            self.feed(function._torchdynamo_orig_callable)
            return
        home = str(function.__globals__.get("__name__", ""))  # not __module__, which functools.wraps takes over
        if library(home):
            self.put("function of", home, function.__qualname__, version_of(home))
            if "<locals>" in function.__qualname__ or function.__closure__:
                self.each(function.__closure__ or ())
                self.named(vars(function))
            return
        self.put("function")
        self.code(function.__code__)
        self.feed(function.__defaults__)
        self.named(function.__kwdefaults__ or {})
        self.each(function.__closure__ or ())
        self.named(vars(function))
        for path, value in reading.globals_read(function):
            self.put("reads", path)
            reason = reading.why_open(path, value)
            if reason:
                raise Unidentified(f"{function.__qualname__} {reason}")
            self.feed(value)

    def code(self, code: types.CodeType) -> None:
        counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
        self.put("code", code.co_code, repr(counts), code.co_exceptiontable)
        self.put(*code.co_names, *code.co_varnames, *code.co_freevars, *code.co_cellvars)
        self.each(code.co_consts)

    def cell(self, cell: types.CellType) -> None:
        try:
            content = cell.cell_contents
        except ValueError:
            self.put("empty cell")
        else:
            self.feed(content)

    def method(self, method: Any) -> None:
        self.put("method")
        self.feed(method.__func__)
        self.feed(method.__self__)

    def builtin(self, function: Any) -> None:
        owner = getattr(function, "__self__", None)
        self.put("builtin", str(getattr(function, "__module__", "")), function.__qualname__)
        if owner is not None and not isinstance(owner, types.ModuleType):
            self.feed(owner)

    def partial(self, partial: functools.partial[Any]) -> None:
        self.put("partial")
        self.feed(type(partial))
        self.feed(partial.func)
        self.feed(partial.args)
        self.named(partial.keywords)
        self.named(vars(partial))

    def module(self, module: types.ModuleType) -> None:
        """A library's by its name; one of the program by all that is in it."""
        if library(module.__name__) or self.again(module):
            self.put("module", module.__name__, version_of(module.__name__))
            return
        self.put("module of the program")
        self.named({name: value for name, value in vars(module).items() if not name.startswith("__")})

    def klass(self, cls: type) -> None:
        home = cls.__module__ if isinstance(cls.__module__, str) else "builtins"  # some of Cython's have no such name
        if library(home) and (_found(home, cls) or not cls.__flags__ & _HEAP):
            self.put("class of", home, cls.__qualname__, version_of(home))
            return
        if self.again(cls):
            return
        self.put("class", cls.__qualname__)
        self.each(cls.__bases__)
        if type(cls) is not type:
            self.feed(type(cls))
        inside = {name: value for name, value in vars(cls).items() if name not in OF_CLASSES and name not in SCHEMAS}
        if issubclass(cls, enum.Enum):
            self.each((member.name, member.value) for member in cls.__members__.values())
            inside = {k: v for k, v in inside.items() if k not in cls.__members__ and not k.startswith("_")}
        self.named(inside)

    def annotation(self, thing: Any) -> None:
        """A type as annotations write them: ``list[int]``, ``Annotated[float, ...]``."""
        inside = (*typing.get_args(thing), *getattr(thing, "__metadata__", ()))
        origin = typing.get_origin(thing)
        self.put("annotation", "" if inside else repr(thing))
        if inside:
            self.feed(origin)
            self.each(inside)

    # ----------------------------------------------------------------------------------------------- values

    def subclass(self, thing: Any, kinds: tuple[type, ...]) -> None:
        """Class and attributes of a thing whose class is none of the plain ones."""
        if type(thing) not in kinds:
            self.feed(type(thing))
            self.named(_attributes(thing))

    def number(self, thing: Any) -> None:
        base = next(kind for kind in PLAIN if isinstance(thing, kind))
        self.put("number or text", f"{int(thing):x}" if base is int else base.__repr__(thing))
        self.subclass(thing, PLAIN)

    def sequence(self, thing: Any) -> None:
        if isinstance(thing, list) and self.again(thing):
            return
        self.put("tuple" if isinstance(thing, tuple) else "list")
        self.each(thing)
        self.subclass(thing, (tuple, list))

    def mapping(self, thing: Any) -> None:
        """In its order: code that goes through it sees that."""
        if self.again(thing):
            return
        self.put("mapping", str(len(thing)))
        for key, value in thing.items():
            self.feed(key)
            self.feed(value)
        self.subclass(thing, (dict, types.MappingProxyType))
        self.feed(getattr(thing, "default_factory", None))

    def set(self, thing: Any) -> None:
        if isinstance(thing, set) and self.again(thing):
            return
        self.put("set", *sorted(_digest(each) for each in thing))
        self.subclass(thing, (set, frozenset))

    def array(self, thing: Any) -> bool:
        """Take in an array, a tensor, or a word of either library; whether it was one."""
        torch = sys.modules.get("torch")
        if isinstance(thing, np.ndarray | np.generic):
            if not self.again(thing):
                self.put("array", thing.dtype.str, repr(thing.dtype.descr), repr(thing.shape))
                if thing.dtype.hasobject:
                    self.feed(thing.tolist())
                else:
                    self.put(np.ascontiguousarray(thing).tobytes())
            return True
        if isinstance(thing, np.dtype):
            self.put("dtype", thing.str, repr(thing.descr))
            return True
        if torch is None:
            return False
        if isinstance(thing, torch.dtype | torch.device | torch.layout | torch.memory_format):
            self.put(type(thing).__name__, str(thing))
            return True
        if isinstance(thing, torch.Generator):
            self.put("generator", str(thing.device), thing.get_state().numpy().tobytes())
            return True
        if isinstance(thing, torch.Tensor):
            if not self.again(thing):
                self.tensor(thing, torch)
            return True
        if type(thing).__module__ == "torch._ops":
            self.put("operator", str(thing))
            return True
        if isinstance(thing, torch.utils.hooks.RemovableHandle):
            self.put("handle")  # a number; the hook counts where it is kept
            return True
        if isinstance(thing, torch.jit.ScriptModule):
            raise Unidentified("a scripted module keeps its code outside of Python")
        if isinstance(thing, torch.nn.Module):
            if not self.again(thing):
                self.network(thing)
            return True
        return False

    def tensor(self, thing: Any, torch: Any) -> None:
        if torch.nn.parameter.is_lazy(thing):
            self.put("tensor of no shape yet", type(thing).__name__, str(thing.dtype))
            return
        self.put("tensor", str(thing.dtype), repr(tuple(thing.shape)), str(thing.requires_grad))
        self.feed(type(thing))
        self.named(vars(thing))
        if thing.is_meta:
            return
        try:
            if thing.layout != torch.strided:
                self.put(str(thing.layout))
                thing = thing.to_dense()
            flat = thing.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
            self.put(flat.view(torch.uint8).numpy().tobytes())
        except (RuntimeError, TypeError) as error:  # sparse, quantised, nested
            raise Unidentified(f"a tensor of layout {thing.layout} cannot be read ({error})") from None

    def network(self, module: Any) -> None:
        """A module: whether it is in training mode says nothing, and hooks count by their order, not their numbers."""
        self.put("network")
        if "_orig_mod" in module._modules and library(type(module).__module__):
            self.feed(module._orig_mod)  # compiled
            return
        self.feed(type(module))
        state = {name: value for name, value in _attributes(module).items() if name != "training"}
        for name, value in state.items():
            if "_hooks" in name and isinstance(value, Mapping):
                base = list(state.get(f"{name.partition('_hooks')[0]}_hooks", value))
                state[name] = [(base.index(number) if number in base else -1, each) for number, each in value.items()]
        self.named(state)

    def instance(self, thing: Any) -> None:
        """Any other object: class and attributes; of a class that is not written in Python, what it pickles as."""
        cls = type(thing)
        self.put("instance")
        self.feed(cls)
        if _in_python(cls):
            self.named(_attributes(thing))
            return
        try:
            reduced = copyreg.dispatch_table.get(cls, lambda it: it.__reduce_ex__(4))(thing)
        except Exception:
            reduced = None
        if reduced is None or (reduced[0] is _NEW and not any(reduced[2:]) and len(reduced[1]) < 2):
            raise Unidentified(f"a {cls.__module__}.{cls.__qualname__} has no content that can be read")
        if isinstance(reduced, str):
            self.put(reduced)
            return
        for piece in reduced:
            listed = not isinstance(piece, type) and hasattr(piece, "__next__")
            self.feed(list(piece) if listed else piece)


KINDS: tuple[tuple[Any, Callable[[_Walk, Any], None]], ...] = (
    (enum.Enum, lambda walk, thing: walk.each(("member", type(thing), thing.name or repr(thing.value)))),
    (PLAIN, _Walk.number),
    ((tuple, list), _Walk.sequence),
    ((dict, types.MappingProxyType), _Walk.mapping),
    ((set, frozenset), _Walk.set),
    (pathlib.PurePath, lambda walk, thing: walk.put("path", str(thing))),
    (functools.partial, _Walk.partial),
    (functools._lru_cache_wrapper, lambda walk, thing: walk.each((thing.__wrapped__, thing.cache_parameters()))),
    (types.CodeType, _Walk.code),
    (types.CellType, _Walk.cell),
    (types.MethodType, _Walk.method),
    ((types.BuiltinFunctionType, types.MethodWrapperType), _Walk.builtin),
    ((staticmethod, classmethod), lambda walk, thing: walk.each((type(thing), thing.__func__))),
    (property, lambda walk, thing: walk.each(("property", thing.fget, thing.fset, thing.fdel))),
    (functools.cached_property, lambda walk, thing: walk.each(("cached_property", thing.func, thing.attrname))),
    (DESCRIPTORS, lambda walk, thing: walk.put("descriptor", thing.__qualname__)),
    ((types.GenericAlias, types.UnionType, typing.TypeVar), _Walk.annotation),
)
"""How things of each kind are taken in; the first kind that fits counts."""


_NEW = vars(copyreg)["__newobj__"]
"""How objects pickle that say nothing of how they do."""

_HEAP = 1 << 9
"""The flag of classes that are made while a program runs, as those written in Python are."""


def _found(module: str, cls: type) -> bool:
    """Whether a class is the one that its name stands for; those made by a library's function are not."""
    found: Any = sys.modules.get(module)
    for name in cls.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is cls


def _attributes(thing: Any) -> dict[str, Any]:
    """What an object holds, in its dictionary and its slots; what a ``cached_property`` has kept is left out."""
    cls = type(thing)
    found = dict(getattr(thing, "__dict__", {}))
    for base in cls.__mro__:
        slots = vars(base).get("__slots__", ())
        for name in [slots] if isinstance(slots, str) else list(slots):
            own = f"_{base.__name__.lstrip('_')}{name}" if name.startswith("__") and not name.endswith("__") else name
            if name not in ("__dict__", "__weakref__"):
                with suppress(AttributeError):
                    found[own] = getattr(thing, own)
    kept = {name for base in cls.__mro__ for name, v in vars(base).items() if isinstance(v, functools.cached_property)}
    return {str(name): value for name, value in found.items() if name not in kept}


def _in_python(cls: type) -> bool:
    """Whether all of an object of this class is in its attributes: no base of it is written in another language."""
    for base in cls.__mro__:
        new = vars(base).get("__new__")
        if not base.__flags__ & _HEAP or (isinstance(new, types.BuiltinFunctionType) and new.__self__ is base):
            break
    else:
        return True
    slots = sum(isinstance(v, types.MemberDescriptorType) for each in cls.__mro__ for v in vars(each).values())
    words = slots + (cls.__dictoffset__ > 0) + (cls.__weakrefoffset__ > 0)
    return base is object and cls.__basicsize__ <= object.__basicsize__ + words * tuple.__itemsize__

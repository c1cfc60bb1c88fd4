"""Registries: from a name to a data set, scenario, model, strategy or metric.

Built-in objects are listed as import paths, so that listing them imports nothing heavy. Other packages add objects
through entry points: ``clbench.datasets``, ``clbench.scenarios``, ``clbench.models``, ``clbench.strategies`` and
``clbench.metrics``. A running program adds objects with :meth:`Registry.add`. ``FILE.py:NAME`` is an object in a file,
and :meth:`Registry.alias` gives it a short name. ``SCHEME:REST`` is an object of another library, such as
``sklearn:SGDClassifier``; the adapter of the scheme finds it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache, cached_property, partial
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from clbench.core import identity
from clbench.core.errors import Refused, did_you_mean
from clbench.core.identity import program_text
from clbench.core.identity.module_files import beside
from clbench.core.near_files import defined_here, is_file, why_unread
from clbench.core.notices import notice
from clbench.core.user_files import found


@dataclass(frozen=True)
class Entry:
    """Describe one name: a one-line summary, the origin, and how to load the object."""

    name: str
    summary: str
    origin: str
    load: Callable[[], Any]


class Registry:
    """Map names to objects of one kind.

    Args:
        kind: The kind in the singular, as used in messages: ``"strategy"``.
        group: Entry-point group, such as ``"clbench.strategies"``.
        builtins: name -> (``"module:attribute"``, a one-line summary).
        schemes: scheme -> (``"module:attribute"``, the usual text after the colon, a one-line summary). The attribute
            is a function from the text after the colon to the object; its ``source`` identifies the object's code.
    """

    def __init__(
        self,
        kind: str,
        group: str,
        builtins: dict[str, tuple[str, str]],
        schemes: dict[str, tuple[str, str, str]] | None = None,
    ) -> None:
        self.kind = kind
        self.group = group
        self.schemes = schemes or {}
        self._builtins = builtins
        self._added: dict[str, Entry] = {}
        self._owners: dict[str, str] = {}
        self._aliases: dict[str, str] = {}

    def __iter__(self) -> Iterator[Entry]:
        short = {
            name: Entry(name, "", target.rpartition(":")[0], lambda target=target: from_file(target, self.kind))  # type: ignore[misc]
            for name, target in self._aliases.items()
        }
        return iter(sorted({**self._known, **self._added, **short}.values(), key=lambda entry: entry.name))

    def __contains__(self, name: str) -> bool:
        known = name in self._added or name in self._known or name in self._aliases
        return known or ".py:" in name or self.scheme(name) != ""

    def scheme(self, name: str) -> str:
        """Return the scheme of ``SCHEME:REST``, or an empty string."""
        scheme, colon, _ = name.partition(":")
        return scheme if colon and scheme in self.schemes else ""

    def place(self, name: str) -> str:
        """Return the import path of a built-in name or of the adapter of a scheme, such as ``module:attribute``; empty
        for any other name. Nothing is imported."""
        scheme = self.scheme(name)
        own = name in self._added or name in self._aliases or ".py:" in name
        return self.schemes[scheme][0] if scheme else "" if own else self._builtins.get(name, ("", ""))[0]

    def forms(self) -> list[str]:
        """Return the written forms of objects of other libraries, such as ``sklearn:NAME``."""
        return [f"{scheme}:{form}" for scheme, (_, form, _) in self.schemes.items()]

    def hint(self, name: str) -> str:
        """Return a suggestion in place of an unknown name."""
        if name.endswith(".py"):
            return f"write {name}:NAME for an object in that file"
        if name.isidentifier() and is_file(Path(f"{name}.py")):
            return f"write {name}.py:NAME for an object in that file"
        own = defined_here(name)
        if own:
            short = f", or give --plugin {own.partition(':')[0]}" if self.kind == "strategy" else ""
            return f"it is in a file of this folder: write {own}{short}"
        near = did_you_mean(name, [entry.name for entry in self])
        scheme, colon, rest = name.partition(":")
        meant = get_close_matches(scheme.lower(), self.schemes, n=1, cutoff=0.6)
        if meant and (colon or not near.startswith("did")):
            return f"did you mean {meant[0]}:{rest or self.schemes[meant[0]][1]}?"
        if colon and self.schemes and not near.startswith("did"):
            return f"objects of other libraries are written {', '.join(self.forms())}"
        return near

    def _of_file(self, name: str) -> Any:
        scheme, _, rest = name.partition(":")
        if self.schemes and len(scheme) > 1 and ".py:" in rest and not found(name.rpartition(":")[0]).exists():
            raise Refused(f"there is no scheme {scheme!r}, as in {name!r}; {self.hint(name)}")
        return from_file(name, self.kind)

    def _of_scheme(self, name: str) -> Any:
        scheme, _, rest = name.partition(":")
        return load(self.schemes[scheme][0])(rest)

    @cached_property
    def _known(self) -> dict[str, Entry]:
        known = {
            name: Entry(name, summary, "clbench", lambda path=path: load(path))  # type: ignore[misc]
            for name, (path, summary) in self._builtins.items()
        }
        for point in entry_points(group=self.group):
            here = Entry(point.name, "", origin_of(point), point.load)
            known[point.name] = _clash(self.kind, known[point.name], here) if point.name in known else here
        return known

    def entry(self, name: str) -> Entry:
        """Describe a name, or ``SCHEME:REST``, without loading the object."""
        scheme = self.scheme(name)
        if scheme:
            return Entry(name, self.schemes[scheme][2], "clbench", lambda: self._of_scheme(name))
        return next(entry for entry in self if entry.name == name)

    def problems(self) -> list[tuple[Entry, str]]:
        """Return the plugins that cannot be used, each with a sentence that gives the reason."""
        found = []
        for entry in self:
            if entry.origin != "clbench":
                try:
                    self.get(entry.name)
                except Refused as error:
                    found.append((entry, str(error)))
        return found

    def alias(self, name: str, target: str) -> None:
        """Make ``name`` an alias of ``FILE.py:NAME`` in this process.

        Cells hold the long form, which workers understand too.

        Raises:
            Refused: The name is already used for something else.
        """
        taken = next((entry for entry in self if entry.name == name), None)
        if taken is not None and self._aliases.get(name) != target:
            raise Refused(
                f"{target} would be called {name!r}, and {with_article(self.kind)} of that name exists already (from "
                f"{taken.origin}); rename it in the file, or write {target} in full"
            )
        self._aliases[name] = target

    def unalias(self, name: str) -> None:
        """Remove an alias."""
        self._aliases.pop(name, None)

    def resolve(self, name: str) -> str:
        """Return the long form of an alias, and any other name unchanged."""
        return self._aliases.get(name, name)

    def located(self, name: str) -> str:
        """Return the long form of a name, with the absolute path of its file, so that it is equal in every working
        directory."""
        name = self.resolve(name)
        if ".py:" not in name:
            return name
        scheme = self.scheme(name)
        path, _, attribute = name.removeprefix(f"{scheme}:").rpartition(":")
        return f"{scheme}{scheme and ':'}{found(path).resolve()}:{attribute}"

    def add(self, name: str, obj: Any, summary: str = "") -> None:
        """Register an object for this process, and for the worker processes that run its cells.

        A module may add a name again, as a notebook does when an edited cell is executed again. The new object then
        replaces the earlier one.

        Raises:
            Refused: The name belongs to clbench, to a plugin, or to another module of the program.
        """
        owner = str(getattr(obj, "__module__", None) if _has_own_name(obj) else sys._getframe(1).f_globals["__name__"])
        taken = next((entry for entry in self if entry.name == name), None)
        if taken is not None and not (name in self._added and (taken.load() is obj or self._owners[name] == owner)):
            whose = f"from {taken.origin}" if name not in self._added else f"added by {self._owners[name]}"
            raise Refused(f"{with_article(self.kind)} called {name!r} exists already ({whose}); choose another name")
        if taken is not None and _own_name(obj) != _own_name(taken.load()):
            notice(f"the {self.kind} {name!r} is {_own_name(obj)} from now on; it was {_own_name(taken.load())} before")
        self._added[name] = Entry(name, summary, "this program", lambda: obj)
        self._owners[name] = owner

    def is_added(self, name: str) -> bool:
        """Return whether this program added the object of a name."""
        return name in self._added

    @property
    def added(self) -> dict[str, Entry]:
        """Return what this program added: name -> entry."""
        return dict(self._added)

    def source(self, name: str) -> str:
        """Return what identifies the code of a name, for the key of a cell.

        For a file or an installed plugin it is the checksum of its program, in which comments, docstrings and blank
        lines do not count. For an object that this program added it is the checksum of its code and values. It is empty
        for built-in objects of clbench.
        """
        name = self.resolve(name)
        if self.scheme(name):
            return str(self._of_scheme(name).source)
        if ".py:" in name:
            return checksum(name)
        if name in self._added:
            return identity.source(self._added[name].load())
        entry = self._known.get(name)
        return "" if entry is None or entry.origin == "clbench" else text_of(self.get(name))

    def get(self, name: str) -> Any:
        """Return the object called ``name``; ``FILE.py:NAME`` is loaded from a file of the user's.

        Raises:
            Refused: The name is unknown (the message suggests the nearest one), its plugin does not import, or two
                plugins share the name.
        """
        name = self.resolve(name)
        if self.scheme(name):
            return self._of_scheme(name)
        if ".py:" in name:
            return self._of_file(name)
        entry = self._added.get(name) or self._known.get(name)
        if entry is None:
            raise Refused(f"there is no {self.kind} called {name!r}; {self.hint(name)}")
        try:
            return entry.load()
        except Exception as error:
            if entry.origin == "clbench" or isinstance(error, Refused):
                raise
            raise Refused(
                f"the {self.kind} {name!r} from {entry.origin} does not import: {type(error).__name__}: {error}"
            ) from error


def _has_own_name(obj: Any) -> bool:
    return isinstance(obj, type | FunctionType)


def _own_name(obj: Any) -> str:
    """Return the name of a class or function, and the class's name of any other object."""
    return str(obj.__qualname__ if _has_own_name(obj) else a(obj))


def checksum(name: str) -> str:
    """Return the checksum of the file in ``FILE.py:NAME`` and of the program's modules that it imports.

    Raises:
        Refused: The file cannot be read, or does not import.
    """
    return _with_others(_read(name)[1], open_file(name))


def _with_others(own: str, module: ModuleType) -> str:
    others = beside(module)
    return f"{own}+{others}" if others else own


@cache
def text_of(obj: Any) -> str:
    """Return the checksum of the file that defines an object, and of the modules of its package that this file imports.

    It is empty for objects of clbench, and for objects without a file. The files are read once for each object: if a
    file is edited while the program runs, the imported code stays the same.
    """
    while isinstance(obj, partial):
        obj = obj.func
    module = sys.modules.get(getattr(obj, "__module__", None) or "")
    file = getattr(module, "__file__", None)
    if module is None or file is None or module.__name__.partition(".")[0] == "clbench":
        return ""
    try:
        return _with_others(_digest(Path(file)), module)
    except OSError:  # in a zip archive
        return ""


def _digest(path: Path) -> str:
    return program_text.digest(path.read_bytes())


def _read(name: str) -> tuple[Path, str]:
    """Return the path of a ``FILE.py:NAME`` and the checksum of its program.

    Raises:
        Refused: The file cannot be read.
    """
    path = found(name.rpartition(":")[0])
    try:
        return path.resolve(), _digest(path)
    except OSError as error:
        raise Refused(f"{name!r} names the file {path}, which cannot be read: {why_unread(path, error)}") from None


def open_file(name: str) -> ModuleType:
    """Import the file of a ``FILE.py:NAME``, without looking up NAME.

    Raises:
        Refused: The file cannot be read, or does not import.
    """
    path, checksum = _read(name)
    try:
        return _module(path, checksum)
    except Exception as error:
        why = str(error) if isinstance(error, Refused) else f"{type(error).__name__}: {error}"
        raise Refused(f"{path.name} does not import: {why}") from error


def from_file(name: str, kind: str) -> Any:
    """Load the object NAME of a ``FILE.py:NAME``.

    Raises:
        Refused: The file cannot be read or does not import, NAME does not exist, or it is neither a class nor a
            function.
    """
    module, attribute = open_file(name), name.rpartition(":")[2]
    file = Path(name.rpartition(":")[0]).name
    if not hasattr(module, attribute):
        held = vars(module).items()
        known = [each for each, obj in held if each[:1] != "_" and not isinstance(obj, ModuleType)]
        one = with_article(kind)
        what = f"has no {attribute!r} to be {one}" if attribute else f"is to hold {one}; write {file}:NAME"
        raise Refused(f"{file} {what}; {did_you_mean(attribute, known)}")
    return makes(getattr(module, attribute), kind, f"{file}:{attribute}")


def makes(obj: Any, kind: str, name: str) -> Any:
    """Return the object if it can be called.

    Raises:
        Refused: It cannot be called.
    """
    if not callable(obj):
        raise Refused(f"{name} is {a(obj)}; {with_article(kind)} is a class, or a function that makes one")
    return obj


def a(obj: Any) -> str:
    """Return the type of an object with its article, such as ``an int``."""
    return with_article(type(obj).__name__)


def with_article(noun: str) -> str:
    """Return a noun after ``a`` or ``an``."""
    return f"{'an' if noun[0].lower() in 'aeiou' else 'a'} {noun}"


@cache
def _module(path: Path, checksum: str) -> ModuleType:
    """Import the module of a file, and import it again if its program has changed."""
    spec = spec_from_file_location(f"clbench_file_{path.stem}_{checksum}", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look up their module there
    spec.loader.exec_module(module)
    return module


def _clash(kind: str, first: Entry, second: Entry) -> Entry:
    """Return an entry for a name that two plugins share: it is listed, but using it is refused."""
    sentence = (
        f"two {kind} plugins are called {first.name!r}: one from {first.origin}, one from {second.origin}; rename or "
        "uninstall one of them"
    )

    def refuse() -> Any:
        raise Refused(sentence)

    return Entry(first.name, "", f"{first.origin} and {second.origin}", refuse)


def load(path: str) -> Any:
    """Import the object that a table of names refers to.

    Args:
        path: ``"module:attribute"``, such as ``"clbench.data.npz:contents_of"``.
    """
    module, attribute = path.split(":")
    return getattr(import_module(module), attribute)


def origin_of(point: EntryPoint) -> str:
    """Return name and version of the package of an entry point."""
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value

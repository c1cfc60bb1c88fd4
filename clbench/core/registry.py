"""From a name to the object it stands for: data sets, scenarios, models, strategies, metrics.

Built-ins are listed as import paths, so that listing them imports nothing heavy. Other packages add theirs through
the entry points ``clbench.datasets``, ``clbench.scenarios``, ``clbench.models``, ``clbench.strategies`` and
``clbench.metrics``; a running program adds its own with :meth:`Registry.add`; ``FILE.py:NAME`` is a thing in a file,
and :meth:`Registry.alias` gives it a short name. ``SCHEME:REST`` is a thing of another library, such as
``sklearn:SGDClassifier``, which the scheme's adapter finds.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache, cached_property, partial
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from clbench.core import identity
from clbench.core.errors import Refused, did_you_mean
from clbench.core.identity.module_files import beside


@dataclass(frozen=True)
class Entry:
    """One name: what it is in a line, where it comes from, and how to load it."""

    name: str
    summary: str
    origin: str
    load: Callable[[], Any]


class Registry:
    """The names of one kind of thing.

    Args:
        kind: Singular, as used in messages: ``"strategy"``.
        group: Entry-point group, such as ``"clbench.strategies"``.
        builtins: name -> (``"module:attribute"``, one line of what it is).
        schemes: scheme -> (``"module:attribute"``, how what follows the colon is mostly written, one line of what it
            is): a function from what follows the colon to the thing, whose ``source`` identifies its code.
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
        """The scheme of ``SCHEME:REST``, or nothing."""
        scheme, colon, _ = name.partition(":")
        return scheme if colon and scheme in self.schemes else ""

    def forms(self) -> list[str]:
        """How things of other libraries are written: ``sklearn:NAME``."""
        return [f"{scheme}:{form}" for scheme, (_, form, _) in self.schemes.items()]

    def hint(self, name: str) -> str:
        """What to write in place of a name that is not known."""
        if name.endswith(".py"):
            return f"write {name}:NAME for what is in that file"
        near = did_you_mean(name, [entry.name for entry in self])
        scheme, colon, rest = name.partition(":")
        meant = get_close_matches(scheme.lower(), self.schemes, n=1, cutoff=0.6)
        if meant and (colon or not near.startswith("did")):
            return f"did you mean {meant[0]}:{rest or self.schemes[meant[0]][1]}?"
        if colon and self.schemes and not near.startswith("did"):
            return f"things of other libraries are written {', '.join(self.forms())}"
        return near

    def _of_file(self, name: str) -> Any:
        scheme, _, rest = name.partition(":")
        if self.schemes and len(scheme) > 1 and ".py:" in rest and not Path(name.rpartition(":")[0]).exists():
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
            here = Entry(point.name, "", _origin(point), point.load)
            known[point.name] = _clash(self.kind, known[point.name], here) if point.name in known else here
        return known

    def entry(self, name: str) -> Entry:
        """What is known of a name, or of ``SCHEME:REST``, without loading it."""
        scheme = self.scheme(name)
        if scheme:
            return Entry(name, self.schemes[scheme][2], "clbench", lambda: self._of_scheme(name))
        return next(entry for entry in self if entry.name == name)

    def problems(self) -> list[tuple[Entry, str]]:
        """Plugins that cannot be used, each with the sentence that says why."""
        found = []
        for entry in self:
            if entry.origin != "clbench":
                try:
                    self.get(entry.name)
                except Refused as error:
                    found.append((entry, str(error)))
        return found

    def alias(self, name: str, target: str) -> None:
        """Let ``name`` stand for ``FILE.py:NAME`` in this process; cells hold the long form, which workers know too.

        Raises:
            Refused: The name is taken by something else.
        """
        taken = next((entry for entry in self if entry.name == name), None)
        if taken is not None and self._aliases.get(name) != target:
            raise Refused(
                f"{target} would be called {name!r}, and a {self.kind} of that name is there already (from "
                f"{taken.origin}); rename it in the file, or write {target} in full"
            )
        self._aliases[name] = target

    def unalias(self, name: str) -> None:
        """Forget a short name."""
        self._aliases.pop(name, None)

    def resolve(self, name: str) -> str:
        """What a name stands for: the long form of an alias, any other name itself."""
        return self._aliases.get(name, name)

    def located(self, name: str) -> str:
        """What a name stands for, a file in it by its absolute path: the same in every working directory."""
        name = self.resolve(name)
        if ".py:" not in name:
            return name
        scheme = self.scheme(name)
        path, _, attribute = name.removeprefix(f"{scheme}:").rpartition(":")
        return f"{scheme}{scheme and ':'}{Path(path).expanduser().resolve()}:{attribute}"

    def add(self, name: str, thing: Any, summary: str = "") -> None:
        """Register an object for this process.

        Raises:
            Refused: The name is taken by something else.
        """
        taken = name in self._known or name in self._aliases
        if taken or (name in self._added and self._added[name].load() is not thing):
            raise Refused(f"a {self.kind} called {name!r} exists already; choose another name")
        self._added[name] = Entry(name, summary, "this program", lambda: thing)

    def is_added(self, name: str) -> bool:
        """Whether a name stands for an object that this program has added."""
        return name in self._added

    def source(self, name: str) -> str:
        """What identifies the code behind a name, for the hash of a cell: for a file or an installed plugin the
        checksum of its text, for what this program has added that of its code and values; empty for what comes with
        clbench."""
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
        """The object called ``name``; ``FILE.py:NAME`` takes it from a file of the user's.

        Raises:
            Refused: No such name (with the nearest one), its plugin does not import, or two plugins share it.
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


def checksum(name: str) -> str:
    """The checksum of the text of a ``FILE.py:NAME``, and of the modules of the program that the file imports.

    Raises:
        Refused: The file cannot be read, or does not import.
    """
    return _with_others(_read(name)[1], open_file(name))


def _with_others(own: str, module: ModuleType) -> str:
    others = beside(module)
    return f"{own}+{others}" if others else own


@cache
def text_of(thing: Any) -> str:
    """The checksum of the file of the module that defines a thing, and of those of its package that this imports; empty
    where there is none, or it is clbench's.

    It is read once for each thing: a file that is edited while a program runs changes nothing of what was imported.
    """
    while isinstance(thing, partial):
        thing = thing.func
    module = sys.modules.get(getattr(thing, "__module__", None) or "")
    file = getattr(module, "__file__", None)
    if module is None or file is None or module.__name__.partition(".")[0] == "clbench":
        return ""
    try:
        return _with_others(_digest(Path(file)), module)
    except OSError:  # in an archive
        return ""


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _read(name: str) -> tuple[Path, str]:
    """The file of a ``FILE.py:NAME``, and the checksum of its text.

    Raises:
        Refused: It cannot be read.
    """
    path = Path(name.rpartition(":")[0]).expanduser()
    try:
        return path.resolve(), _digest(path)
    except OSError as error:
        raise Refused(f"{name!r} names the file {path}, which cannot be read: {error.strerror}") from None


def open_file(name: str) -> ModuleType:
    """The module of a ``FILE.py:NAME``; the NAME is not looked up.

    Raises:
        Refused: The file cannot be read, or does not import.
    """
    path, checksum = _read(name)
    try:
        return _module(path, checksum)
    except Exception as error:
        raise Refused(f"{path.name} does not import: {type(error).__name__}: {error}") from error


def from_file(name: str, kind: str) -> Any:
    """The NAME of a ``FILE.py:NAME``.

    Raises:
        Refused: The file cannot be read or does not import, has no such name, or it is neither class nor function.
    """
    module, attribute = open_file(name), name.rpartition(":")[2]
    file = Path(name.rpartition(":")[0]).name
    if not hasattr(module, attribute):
        known = [each for each in vars(module) if not each.startswith("_")]
        what = f"has no {attribute!r} to be a {kind}" if attribute else f"is to hold a {kind}; write {file}:NAME"
        raise Refused(f"{file} {what}; {did_you_mean(attribute, known)}")
    return makes(getattr(module, attribute), kind, f"{file}:{attribute}")


def makes(thing: Any, kind: str, name: str) -> Any:
    """The thing itself, if it can be called.

    Raises:
        Refused: It cannot.
    """
    if not callable(thing):
        raise Refused(f"{name} is {a(thing)}; a {kind} is a class, or a function that makes one")
    return thing


def a(thing: Any) -> str:
    """The type of a thing with its article: ``an int``."""
    kind = type(thing).__name__
    return f"{'an' if kind[0].lower() in 'aeiou' else 'a'} {kind}"


@cache
def _module(path: Path, checksum: str) -> ModuleType:
    """The module of a file; imported again where its text has changed."""
    spec = spec_from_file_location(f"clbench_file_{path.stem}_{checksum}", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


def _clash(kind: str, first: Entry, second: Entry) -> Entry:
    """An entry for a name that two claim: it is listed, and using it is refused; other names stay usable."""
    sentence = (
        f"two {kind} plugins are called {first.name!r}: one from {first.origin}, one from {second.origin}; rename or "
        "uninstall one of them"
    )

    def refuse() -> Any:
        raise Refused(sentence)

    return Entry(first.name, "", f"{first.origin} and {second.origin}", refuse)


def load(path: str) -> Any:
    """Import what a table of names points to.

    Args:
        path: ``"module:attribute"``, such as ``"clbench.data.npz:contents_of"``.
    """
    module, attribute = path.split(":")
    return getattr(import_module(module), attribute)


def _origin(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value

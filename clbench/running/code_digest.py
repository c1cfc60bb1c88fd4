"""The digests of the code that determines a run: of the engine, which all cells share, and of a strategy's parts.

A program counts by its tokens, so an edited comment changes no digest. Digests do not enter keys: they tell whether the
code has changed since a record was made.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from clbench.core.atomic_files import write
from clbench.core.identity import program_text
from clbench.data.roots import cache_root
from clbench.strategies import STRATEGIES

WHOLE = ("families", "data", "models", "scenarios", "benchmark", "training", "evaluate", "readings")
"""Rooms whose modules all count as the engine: a change of any of them can change a trace."""
NOT_OF_CORE = (
    "identity", "atomic_files", "cost", "environment", "errors", "near_files", "near_names", "notices", "npz_arrays",
    "peak_memory", "public_names", "record", "record_file", "record_folder", "registry", "result_paths",
    "search_space", "shown_text", "store", "temporary_files", "trace_equality", "trace_file", "user_files",
    "zip_members",
)  # fmt: skip
"""Modules of ``core`` that change no trace: they find objects, word messages, measure costs and keep records. All
others of ``core`` count as the engine, new ones too."""
OF_STRATEGIES = (
    "canonical_form", "chain", "hooks", "notation", "part", "part_checks", "part_state", "protocol", "stability_knobs",
    "strategy",
)  # fmt: skip
"""Modules of ``strategies`` that count as the engine, since every strategy uses them."""
OF_ADAPTERS = ("run_setup",)
OF_RUNNING = ("continual_search", "plan", "prepare", "prepared_run", "run_cell")
"""Modules of ``adapters`` and ``running`` that count as the engine: they make a run of a cell."""

PACKAGE = Path(__file__).parents[1]


def code_of(cell: Mapping[str, Any]) -> dict[str, str]:
    """Return the digests of the code that determines the run of a cell: ``engine`` and ``strategy``, 16 hex digits.

    Code of the user's has a checksum in the cell already, and none here. Empty for a script of another library, and
    if the package has no files, as in an archive.
    """
    names = [str(item.get("name", "")) for item in cell.get("strategy", ())]
    if not PACKAGE.is_dir() or any(name.startswith("script:") for name in names):
        return {}
    return dict(_package(PACKAGE).of(names))


@cache
def _package(root: Path) -> PackageCode:
    return PackageCode(root, cache_root() / "code-digests.json")


CURRENT, CHANGED, UNKNOWN = "current", "changed", "unknown"


def code_state(cell: Mapping[str, Any], code: Mapping[str, str]) -> str:
    """Return whether the code of a record is that of now.

    Args:
        cell: The cell of the record.
        code: The digests in the record.

    Returns:
        ``current``; ``changed`` if its engine or strategy has changed since; ``unknown`` for an older record, which
        holds no digests.
    """
    now = code_of(cell)
    if not now or code == now:
        return CURRENT
    return CHANGED if code else UNKNOWN


class PackageCode:
    """Compute the digests of a package's code. Files are read once; later edits change no code that is imported.

    Args:
        root: The folder of the package.
        known: A file with digests of earlier processes; it may be absent, damaged, or not writable.
    """

    def __init__(self, root: Path, known: Path | None = None) -> None:
        self._root = root
        self._texts = _Texts(known)
        self._digests: dict[tuple[str, ...], Mapping[str, str]] = {}
        self._engine = ""

    def of(self, names: Sequence[str]) -> Mapping[str, str]:
        """Return the digests of the engine and of the parts with some names."""
        parts = tuple(sorted(set(names)))
        if parts not in self._digests:
            self._engine = self._engine or self._together(self.engine_files())
            files = {path for name in parts for path in self.strategy_files(name)}
            self._digests[parts] = {"engine": self._engine, "strategy": self._together(files)}
            self._texts.keep()
        return self._digests[parts]

    def engine_files(self) -> list[Path]:
        """Return the modules that all cells share."""
        found = [path for room in WHOLE for path in (self._root / room).rglob("*.py")]
        core = self._root / "core"
        found += [path for path in core.rglob("*.py") if path.relative_to(core).parts[0] not in _left_out]
        named = {"strategies": OF_STRATEGIES, "adapters": OF_ADAPTERS, "running": OF_RUNNING}
        return found + [self._root / room / f"{name}.py" for room, names in named.items() for name in names]

    def strategy_files(self, name: str) -> set[Path]:
        """Return the modules of a part, and those in ``strategies`` and ``adapters`` that they import.

        A part of the user's may build on any of ours: all of ``strategies`` count for it.
        """
        home = STRATEGIES.place(name).partition(":")[0].split(".")
        if home[0] != "clbench":
            return self._but_engine((self._root / "strategies").glob("*.py"))
        first = self._root.joinpath(*home[1:])
        waiting = [first.with_suffix(".py")]
        if home[1] == "adapters" and len(home) > 3:  # an adapter of several files, which a registry joins
            waiting = list(first.parent.glob("*.py"))
        found: set[Path] = set()
        while waiting:
            path = waiting.pop()
            if path not in found:
                found.add(path)
                waiting += self._but_engine(self._texts.imports(path, self._root))
        return found

    def _but_engine(self, paths: Iterable[Path]) -> set[Path]:
        shared = {self._root / "strategies" / f"{name}.py" for name in OF_STRATEGIES}
        shared |= {self._root / "adapters" / f"{name}.py" for name in OF_ADAPTERS}
        return {path for path in paths if path not in shared and path.name != "__init__.py"}

    def _together(self, paths: Iterable[Path]) -> str:
        told = [f"{path.relative_to(self._root).as_posix()} {self._texts.digest(path)}" for path in paths]
        return hashlib.sha256("\n".join(sorted(told)).encode()).hexdigest()[:16]


_left_out = {f"{name}.py" for name in NOT_OF_CORE} | set(NOT_OF_CORE)

_FROM = re.compile(r"^\s*(?:from|import) clbench\.(strategies|adapters)((?:\.\w+)*)(?: import (.*))?$", re.MULTILINE)
MOST = 20_000
"""The most digests that are kept for later processes."""


class _Texts:
    """Read the digests of program texts, with those of earlier processes by the checksums of files."""

    def __init__(self, known: Path | None) -> None:
        self._file = known
        self._held: dict[Path, bytes] = {}
        self._digests: dict[Path, str] = {}
        self._known: dict[str, str] = {}
        self._new = False
        if known is not None:
            with suppress(OSError, ValueError):
                read = json.loads(known.read_bytes())
                if isinstance(read, dict):
                    self._known = {name: text for name, text in read.items() if isinstance(text, str)}

    def digest(self, path: Path) -> str:
        """Return the digest of a file's tokens; empty if there is no such file."""
        if path not in self._digests:
            content = self._content(path)
            name = f"{sys.version_info[0]}.{sys.version_info[1]} {hashlib.sha256(content).hexdigest()}"
            if name not in self._known:
                self._known[name], self._new = program_text.digest(content), True
            self._digests[path] = self._known[name]
        return self._digests[path]

    def imports(self, path: Path, root: Path) -> list[Path]:
        """Return the modules in ``strategies`` and ``adapters`` that a module imports."""
        found = []
        for room, below, names in _FROM.findall(self._content(path).decode("utf-8", "replace")):
            folder = root.joinpath(room, *below.split(".")[1:])
            found += [folder.with_suffix(".py"), *(folder / f"{name}.py" for name in re.findall(r"\w+", names))]
        return [each for each in found if each.is_file()]

    def keep(self) -> None:
        """Write new digests for later processes, if that is possible."""
        if self._new and self._file is not None:
            self._new = False
            held = dict(list(self._known.items())[-MOST:])
            with suppress(OSError):
                write(self._file, json.dumps(held).encode())

    def _content(self, path: Path) -> bytes:
        if path not in self._held:
            try:
                self._held[path] = path.read_bytes()
            except OSError:
                self._held[path] = b""
        return self._held[path]

"""The benchmark files of other packages, which register a folder of them by the entry point ``clbench.benchmarks``.

The entry point names a package (``my_package.benchmarks``), whose folder holds files ``NAME.yaml``. The name of the
entry point is only a label. The folder is found without importing it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path

from clbench.core.registry import origin_of

GROUP = "clbench.benchmarks"
NAMED = re.compile(r"^name: *['\"]?([^'\"#\s]+)", re.MULTILINE)


@dataclass(frozen=True)
class PackagedFile:
    """Describe a benchmark file of a package.

    Args:
        name: The name of the benchmark: that of the file, without ``.yaml``.
        path: The file; ``None`` if the folder of the entry point cannot be used.
        origin: Name and version of the package.
        problem: A sentence that says why it cannot be used; empty if it can.
    """

    name: str
    path: Path | None
    origin: str
    problem: str = ""


@cache
def packaged() -> tuple[PackagedFile, ...]:
    """Return the benchmark files of all installed packages, in a stable order; found once for each process."""
    points = sorted(entry_points(group=GROUP), key=lambda point: (origin_of(point), point.name))
    return tuple(each for point in points for each in _files_of(point))


def _files_of(point: EntryPoint) -> Iterator[PackagedFile]:
    origin = origin_of(point)
    try:
        found = find_spec(point.module)
        folders = [Path(each) for each in (found.submodule_search_locations or ())] if found is not None else []
    except Exception as error:  # a parent package is imported, and may fail
        yield PackagedFile(point.name, None, origin, _broken(point, f"{type(error).__name__}: {error}"))
        return
    files = sorted(file for folder in folders for file in folder.glob("*.yaml"))
    if not files:
        yield PackagedFile(point.name, None, origin, _broken(point, "it is no package with files NAME.yaml"))
    for file in files:
        said = NAMED.search(file.read_text(encoding="utf-8"))
        named = said.group(1) if said else file.stem
        other = f"the file {file.name} of {origin} calls its benchmark {named!r}; both names have to be equal"
        yield PackagedFile(file.stem, file, origin, "" if named == file.stem else other)


def _broken(point: EntryPoint, why: str) -> str:
    return f"the benchmarks {point.name!r} of {origin_of(point)} in {point.module} cannot be found ({why})"

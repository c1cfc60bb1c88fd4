"""The benchmark files with a name: those that come with clbench, current and earlier, and those of other packages.

A changed benchmark gets a new version. The file of the old version moves unchanged to
``benchmarks/earlier/NAME@VERSION.yaml``. ``NAME@VERSION`` refers to it, so that its records can be repeated and
compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clbench.benchmark.missing_benchmark import explain_missing
from clbench.benchmark.packaged_files import packaged
from clbench.core.errors import Refused


def shipped() -> dict[str, Path]:
    """Return the paths of the current benchmark files, sorted by name."""
    return {path.stem: path for path in sorted(_folder().glob("*.yaml"))}


def earlier() -> dict[str, Path]:
    """Return the paths of replaced benchmark files by ``NAME@VERSION``."""
    return {path.stem: path for path in sorted((_folder() / "earlier").glob("*@*.yaml"))}


@dataclass(frozen=True)
class NamedFile:
    """Describe a benchmark that is found by its name.

    Args:
        path: Its file; ``None`` if it cannot be used.
        origin: ``clbench``, or name and version of the packages that ship it.
        problem: A sentence that says why it cannot be used; empty if it can.
    """

    path: Path | None
    origin: str = "clbench"
    problem: str = ""


def named() -> dict[str, NamedFile]:
    """Return all benchmarks that have a name: those of clbench, then those of other packages.

    A name that two of them share is listed, and using it is refused.
    """
    found = {name: NamedFile(path) for name, path in shipped().items()}
    for each in packaged():
        here = NamedFile(None if each.problem else each.path, each.origin, each.problem)
        found[each.name] = _clash(each.name, found[each.name], here) if each.name in found else here
    return found


def _clash(name: str, first: NamedFile, second: NamedFile) -> NamedFile:
    origins = f"{first.origin} and {second.origin}"
    return NamedFile(
        None,
        origins,
        f"two benchmarks are called {name!r}: one from {first.origin}, one from {second.origin}; give the path of the "
        "file, or rename or uninstall one of them",
    )


def official(name: str, version: int) -> Path | None:
    """Return the file of a version of a benchmark; ``None`` if neither clbench nor another package has it."""
    known = named().get(name)
    current = known.path if known is not None else None
    if current is not None and _version(current) == version:
        return current
    return earlier().get(f"{name}@{version}")


def find(benchmark: str | Path) -> Path:
    """Return the file of a benchmark with a name, of ``NAME@VERSION``, or of a path.

    Raises:
        Refused: No such benchmark or file exists, or two packages ship one of this name.
    """
    known, written = named(), str(benchmark)
    if written in known:
        if (path := known[written].path) is None:
            raise Refused(known[written].problem)
        return path
    path = Path(benchmark).expanduser()
    if path.exists():
        return path
    name, _, version = written.partition("@")
    found = official(name, int(version)) if version.isdecimal() else None
    if found is not None:
        return found
    versions = [f"{each}@{_version(file.path)}" for each, file in known.items() if file.path] if version else []
    raise Refused(explain_missing(written, [*known, *earlier(), *versions]))


def folder_of(benchmark: str | Path | Mapping[str, Any]) -> Path:
    """Return the folder in which relative paths of a benchmark are looked for first.

    It is the folder of the benchmark's file. A benchmark with a name, or one that a program holds, has no folder of its
    own; then it is the current directory.
    """
    own = not isinstance(benchmark, Mapping) and str(benchmark) not in named()
    path = Path(str(benchmark)).expanduser()
    return path.resolve().parent if own and path.exists() else Path.cwd()


def _folder() -> Path:
    installed, checkout = Path(__file__).parent / "shipped", Path(__file__).parents[2] / "benchmarks"
    return installed if installed.is_dir() else checkout


def _version(path: Path) -> int:
    """Return the version in a shipped file, or 1 if it has none."""
    lines = path.read_text(encoding="utf-8").splitlines()
    written = next((line for line in lines if line.startswith("version:")), "version: 1")
    return int(written.partition(":")[2].partition("#")[0])

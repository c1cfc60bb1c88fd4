"""The benchmark files that come with the package: the current version of each, and all earlier versions.

A changed benchmark gets a new version. The file of the old version moves unchanged to
``benchmarks/earlier/NAME@VERSION.yaml``. ``NAME@VERSION`` refers to it, so that its records can be repeated and
compared.
"""

from __future__ import annotations

from pathlib import Path

from clbench.core.errors import Refused, did_you_mean


def shipped() -> dict[str, Path]:
    """Return the paths of the current benchmark files, sorted by name."""
    return {path.stem: path for path in sorted(_folder().glob("*.yaml"))}


def earlier() -> dict[str, Path]:
    """Return the paths of replaced benchmark files by ``NAME@VERSION``."""
    return {path.stem: path for path in sorted((_folder() / "earlier").glob("*@*.yaml"))}


def official(name: str, version: int) -> Path | None:
    """Return the file of a version of a benchmark; ``None`` if the package has no such version."""
    current = shipped().get(name)
    if current is not None and _version(current) == version:
        return current
    return earlier().get(f"{name}@{version}")


def find(benchmark: str | Path) -> Path:
    """Return the file of a shipped benchmark, of ``NAME@VERSION``, or of a path.

    Raises:
        Refused: No such benchmark or file exists.
    """
    known, written = shipped(), str(benchmark)
    if written in known:
        return known[written]
    path = Path(benchmark).expanduser()
    if path.exists():
        return path
    name, _, version = written.partition("@")
    found = official(name, int(version)) if version.isdecimal() else None
    if found is not None:
        return found
    versions = [f"{each}@{_version(file)}" for each, file in known.items()] if version else []
    near = did_you_mean(path.stem, [*known, *earlier(), *versions])
    raise Refused(f"there is no benchmark {written!r}, shipped or as a file; {near}")


def _folder() -> Path:
    installed, checkout = Path(__file__).parent / "shipped", Path(__file__).parents[2] / "benchmarks"
    return installed if installed.is_dir() else checkout


def _version(path: Path) -> int:
    """Return the version in a shipped file, or 1 if it has none."""
    lines = path.read_text(encoding="utf-8").splitlines()
    written = next((line for line in lines if line.startswith("version:")), "version: 1")
    return int(written.partition(":")[2].partition("#")[0])

"""Say what to do about a benchmark that does not exist: a mistyped name or path, or one that has yet to be written."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from clbench.core.near_files import files_near
from clbench.core.near_names import fold, nearest, same

SUFFIXES = (".yaml", ".yml")
"""The suffixes of benchmark files."""


def explain_missing(written: str, known: Iterable[str]) -> str:
    """Return a sentence about a benchmark that does not exist, and what to do.

    Args:
        written: The name or the path, as the user wrote it.
        known: The names of benchmarks that exist.
    """
    path, names = Path(written).expanduser(), list(known)
    if path.suffix in SUFFIXES or path.name != written:
        return _missing_file(written, path, names)
    what = f"there is no benchmark {written!r}, shipped or as a file"
    for suffix in SUFFIXES:
        if Path(written + suffix).is_file():
            return f"{what}; did you mean the file {written + suffix!r}?"
    if found := same(written, names):
        return f"{what}; did you mean {found!r}?"
    versions = [each for each in names if each.partition("@")[0] == written.partition("@")[0] and "@" in each]
    if "@" in written and versions:
        return f"{what}; did you mean {nearest(written, versions) or versions[-1]!r}?"
    from clbench.scenarios import SCENARIOS

    scenario = any(same(written.partition(mark)[0], [entry.name for entry in SCENARIOS]) for mark in "-_")
    if not scenario and (found := nearest(written, names, cutoff=0.85)):  # a slip of the pen in the first word
        return f"{what}; did you mean {found!r}?"
    if line := _example(written):
        return f"{what}; write one: a file {written}.yaml with the line {line}"
    if found := nearest(written, names, cutoff=0.75):
        return f"{what}; did you mean {found!r}?"
    return f"{what}; `clbench list benchmarks` shows the shipped ones, and `clbench quickstart DIR` writes a file"


def _missing_file(written: str, path: Path, names: list[str]) -> str:
    """Return a sentence about a file that does not exist, with the folder that was searched."""
    if path.stem in names and path.parent == Path():
        what = f"there is no file {written!r} in {Path.cwd()}"
        return f"{what}; write {path.stem}, without {path.suffix}, for the benchmark of this name"
    found = files_near(path, SUFFIXES)
    if found.endswith("no such file"):  # and no other one either
        found += "; `clbench quickstart DIR` writes a benchmark file, with comments"
    return f"there is no file {written!r}: {found}"


def _example(name: str) -> str:
    """Return a benchmark on one line for a name that ends with a data set, such as ``split-cifar100``; or nothing."""
    from clbench.data import DATASETS
    from clbench.data.torchvision_source import SPLITS
    from clbench.scenarios import SCENARIOS

    summaries = {**dict.fromkeys(SPLITS, ""), **{e.name: e.summary for e in DATASETS if ":" not in e.name}}
    pieces = re.split(r"[-_]", name)
    for place in range(len(pieces)):
        rest = fold("".join(pieces[place:]))
        dataset = next((each for each in reversed(summaries) if fold(each) == rest), "")
        if dataset:
            scenario = same("_".join(pieces[:place]), [entry.name for entry in SCENARIOS]) or "split"
            classes = re.search(r"(\d+) classes", summaries[dataset])
            experiences = 10 if classes and int(classes[1]) >= 100 else 5
            return (
                f"{{name: {name}, stream: {{scenario: {scenario}, dataset: {dataset}, experiences: {experiences}}}, "
                f"model: {{name: cnn}}, training: {{lr: 0.05}}, memory: {{size: 500}}, strategies: [naive, er, joint]}}"
            )
    return ""

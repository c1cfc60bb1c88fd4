"""Create files from templates: a package with a strategy that already works, and a benchmark with a method."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping
from contextlib import suppress
from importlib import resources
from pathlib import Path
from string import Template

from clbench.core.errors import Refused

FILES = {
    "pyproject.toml": "pyproject.toml.in",
    "clbench_$name.py": "part.py.in",
    "test_clbench_$name.py": "test.py.in",
    "README.md": "README.md.in",
}
"""File name -> template; both contain ``$name`` and ``$part``."""
QUICKSTART = {"benchmark.yaml": "benchmark.yaml.in", "method.py": "method.py.in"}
"""File name -> template of ``clbench quickstart``."""


def strategy(name: str, out: Path | None = None) -> list[Path]:
    """Write a small package that adds a strategy, and return its files.

    Args:
        name: Name of the strategy in benchmarks, in snake_case.
        out: Folder of the package; by default ``clbench-NAME`` in the working directory.

    Raises:
        Refused: The name is invalid or taken, or the folder is not empty.
    """
    _check(name)
    folder = out or Path(f"clbench-{name.replace('_', '-')}")
    words = {"name": name, "package": f"clbench-{name.replace('_', '-')}", "part": _camel(name)}
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Refused(f"{folder} exists already, and nothing in it is overwritten; choose another --out")
    return _write(folder, "strategy", FILES, words, instead="choose another --out")


def quickstart(folder: Path) -> list[Path]:
    """Write a benchmark file with comments and a method, and return the two files.

    Args:
        folder: A folder that is empty, except for hidden files, or does not exist yet.

    Raises:
        Refused: The folder is not empty, or cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise Refused(f"{folder} is a file; choose a folder, like clbench quickstart mine")
    if folder.exists() and any(not path.name.startswith(".") for path in folder.iterdir()):
        where = "this folder" if folder.resolve() == Path.cwd() else f"the folder {folder}"
        raise Refused(
            f"{where} is not empty, and nothing is overwritten; name a new folder, like clbench quickstart "
            f"{'mine' if folder.name != 'mine' else 'my-benchmark'}"
        )
    return _write(folder, "quickstart", QUICKSTART, {}, instead="choose another folder, like clbench quickstart mine")


def _write(folder: Path, kind: str, files: Mapping[str, str], words: Mapping[str, str], *, instead: str) -> list[Path]:
    """Write the files of a kind from their templates, with the words put in.

    Raises:
        Refused: The folder cannot be written; the message says what to do ``instead``.
    """
    templates, written = resources.files("clbench.cli.scaffold") / kind, []
    existed = folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, template in files.items():
            written.append(folder / Template(file).substitute(words))
            text = Template((templates / template).read_text(encoding="utf-8")).substitute(words)
            written[-1].write_text(text, encoding="utf-8")
    except OSError as error:
        with suppress(OSError):  # the same command can be repeated
            for path in written:
                path.unlink(missing_ok=True)
            if not existed:
                folder.rmdir()
        raise Refused(f"{folder} cannot be written: {error.strerror}; {instead}") from None
    return written


def _check(name: str) -> None:
    from clbench.strategies import STRATEGIES

    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise Refused(
            f"{name!r} cannot be the name of a strategy; use lower-case letters, digits and underscores, a "
            "letter first, and no keyword of Python, like my_method"
        )
    taken = next((entry for entry in STRATEGIES if entry.name == name), None)
    if taken is not None:
        raise Refused(f"a strategy called {name!r} exists already (from {taken.origin}); choose another name")


def _camel(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))

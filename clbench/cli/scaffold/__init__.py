"""Create packages from templates: a strategy that is installable, tested and already works."""

from __future__ import annotations

import keyword
import re
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
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise Refused(f"{folder} exists already, and nothing in it is overwritten; choose another --out")
        folder.mkdir(parents=True, exist_ok=True)
        words = {"name": name, "package": f"clbench-{name.replace('_', '-')}", "part": _camel(name)}
        templates = resources.files("clbench.cli.scaffold") / "strategy"
        written = []
        for file, template in FILES.items():
            written.append(folder / Template(file).substitute(words))
            text = Template((templates / template).read_text(encoding="utf-8")).substitute(words)
            written[-1].write_text(text, encoding="utf-8")
    except OSError as error:
        raise Refused(f"{folder} cannot be written: {error.strerror}; choose another --out") from None
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

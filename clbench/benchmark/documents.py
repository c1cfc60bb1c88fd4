"""Read benchmark files as plain data, and locate mistakes in them by file and line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path, PurePath
from typing import Any

from clbench.core.errors import Refused
from clbench.core.near_files import why_unread


class Source:
    """Locate mistakes in the document that a benchmark was read from.

    Args:
        name: File name, or another name of the document.
        document: The parsed YAML; if it was parsed from text, with line marks.
    """

    def __init__(self, name: str, document: Any) -> None:
        self.name = name
        self.document = document

    def place(self, path: Iterable[Any]) -> str:
        """Return ``FILE, line N`` of the deepest known step of a path of keys and positions."""
        node, line = self.document, None
        for step in path:
            marks = getattr(node, "lc", None)
            try:
                if marks is not None and marks.data and step in marks.data:
                    line = marks.data[step][0] + 1
                node = node[step]
            except (KeyError, IndexError, TypeError):
                break
        return self.name if line is None else f"{self.name}, line {line}"

    def refuse(self, error: Refused, *path: Any) -> Refused:
        """Return the same error with its place in the document."""
        return Refused(f"{self.place([*path, *([error.key] if error.key else [])])}: {error}", error.key)


def read(path: Path, what: str = "benchmark file") -> tuple[dict[str, Any], Source]:
    """Parse a benchmark file, or another file in YAML 1.2.

    Args:
        path: The file.
        what: What it is called in messages.

    Raises:
        Refused: The file cannot be read, is not valid YAML, or is not a mapping.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError

    try:
        document = YAML(typ="rt").load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Refused(f"the {what} {path} cannot be read: {why_unread(path, error)}") from None
    except (MarkedYAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        problem = " ".join(str(getattr(error, "problem", None) or error).split("\n")[0].split())
        raise Refused(f"{path.name}{where}: not valid YAML: {problem}") from None
    if not isinstance(document, Mapping):
        keys = "name, stream, model, ..." if what == "benchmark file" else "benchmark and strategies"
        raise Refused(f"{path.name}: a {what} is a mapping with {keys}; this is not one")
    return plain(document), Source(path.name, document)


def plain(value: Any, where: str = "a benchmark") -> Any:
    """Convert values of YAML, Python and NumPy into dicts, lists, strings, numbers and ``None``.

    Raises:
        Refused: A value is none of these; the message says ``where`` it is.
    """
    if isinstance(value, Mapping):
        return {str(k): plain(v, f"{where}: {k}") for k, v in value.items()}
    if isinstance(value, list | tuple | range | set | frozenset):
        listed = sorted(value, key=str) if isinstance(value, set | frozenset) else value
        return [plain(v, where) for v in listed]
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    if value is None:
        return None
    if isinstance(value, PurePath | date):
        return str(value)
    if hasattr(value, "tolist"):  # NumPy scalars and arrays, torch tensors
        return plain(value.tolist(), where)
    raise Refused(f"{where} = {value!r} is a {type(value).__name__}; write text, a number, a list or a mapping")

"""The publications of strategies, from the paragraph ``Source:`` of their docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any

from clbench.core.errors import Refused
from clbench.strategies import STRATEGIES

ARXIV = re.compile(r"arXiv[: ]+(\d{4}\.\d{4,5})")


def published_source(obj: Any) -> str:
    """Return the source of a recipe or part on one line; empty if its docstring names none."""
    text = inspect.getdoc(obj) or ""
    block = re.search(r"^Source: *(.+(?:\n(?!\s*\n).+)*)", text, flags=re.MULTILINE)
    return " ".join(block.group(1).replace("``", "").split()) if block else ""


def published_sources(strategy: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return name and source of each recipe and part of a strategy in canonical form, without those that name none."""
    told = []
    for item in strategy:
        name = str(item.get("name", ""))
        if STRATEGIES.scheme(name) or ".py:" in name:  # other libraries take seconds to import, files may be elsewhere
            continue
        try:
            source = published_source(STRATEGIES.get(name))
        except (Refused, ImportError):
            continue
        if source:
            told.append((name, source))
    return list(dict.fromkeys(told))


def bibtex(name: str, source: str) -> str:
    """Return a BibTeX entry of the first arXiv paper of a source; empty if it names none.

    Title and authors are not known here: the identifier is what a bibliography manager completes them from.
    """
    found = ARXIV.search(source)
    if found is None:
        return ""
    before = source[: found.start()].strip(" ,(")
    year = re.search(r"\b(19|20)\d\d\b", before)
    lines = [f"  note = {{{before}}}"] if before else []
    lines += [f"  year = {{{year.group()}}}"] if year else []
    lines += [f"  eprint = {{{found[1]}}}", "  archivePrefix = {arXiv}"]
    return f"@misc{{{name},\n" + ",\n".join(lines) + "\n}"

"""Expected results of strategies for each kind of stream, so that correct behaviour is not mistaken for a bug.

They are written in the docstring of a recipe or part, also of plugins::

    Expected:
        class: near naive; zero accuracy on old classes is expected.
        task: well above naive.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any

from clbench.core.errors import Refused
from clbench.strategies import STRATEGIES

KINDS = ("class", "task", "domain", "recurring", "drift")
"""Few strategies describe drift, where labels change their meaning; each built-in strategy describes all other
kinds."""
RECURRING = frozenset({"scole", "cir", "power_law", "blurry", "gaussian", "online"})
"""Scenarios in which classes or tasks recur."""


def expected(obj: Any) -> dict[str, str]:
    """Return kind of stream -> sentence from the docstring of a recipe or part; empty if it has none."""
    text = inspect.getdoc(obj) or ""
    block = re.search(r"^Expected:\n((?:[ \t]+\S.*\n?|\s*\n)+)", text, flags=re.MULTILINE)
    if block is None:
        return {}
    lines, found, kind = block.group(1).splitlines(), {}, ""
    for line in lines:
        name, colon, sentence = line.strip().partition(":")
        if colon and name in KINDS:
            kind, found[name] = name, sentence.strip()
        elif kind and line.strip():
            found[kind] += " " + line.strip()
    return {kind: sentence.replace("``", "") for kind, sentence in found.items()}


def kind(stream: Mapping[str, Any]) -> str:
    """Return the kind of a ``stream`` section of a benchmark: one of :data:`KINDS`."""
    if stream.get("scenario") in RECURRING:
        return "recurring"
    if stream.get("scenario") == "drift":
        return "drift"
    setting = stream.get("setting", "class")
    return setting if setting in KINDS else "class"


def sentences(strategy: Sequence[Mapping[str, Any]], stream: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return name and sentence of each recipe of a strategy in canonical form on a stream, without recipes that have
    none."""
    told = []
    for item in strategy:
        if STRATEGIES.scheme(item["name"]):  # other libraries have no such docstrings, and take seconds to import
            continue
        try:
            found = expected(STRATEGIES.get(item["name"]))
        except Refused:  # a plugin that is not installed here
            continue
        sentence = found.get(kind(stream))
        if sentence:
            told.append((str(item["name"]), sentence))
    return told

"""Turn docstrings of the package into Markdown, with their sections apart."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, field
from functools import partial
from typing import Any

CODE = re.compile(r"``(?P<code>.+?)``|:(?P<role>[\w:]+):`~?(?P<target>[^`]+)`|`(?P<plain>[^`]+)`", flags=re.DOTALL)
SECTION = re.compile(r"^(Args|Attributes|Returns|Raises|Expected):$")
ITEM = re.compile(r"^(?P<names>\w[\w, ]*):(?: (?P<text>.*))?$")


@dataclass
class Documentation:
    """Hold the pieces of a docstring.

    Args:
        summary: The first paragraph, as Markdown on one line.
        body: The other paragraphs without sections, as Markdown.
        settings: Name of an argument -> what it is, as Markdown on one line.
        source: What follows ``Source:``, as Markdown on one line; empty if there is none.
    """

    summary: str
    body: list[str] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    source: str = ""


def markdown(text: str) -> str:
    """Return text of a docstring as Markdown: code stays code, everything else is shown as it is written."""
    pieces, last = [], 0
    for found in CODE.finditer(text):
        inside = found["code"] or found["target"] or found["plain"]
        pieces += [_escaped(text[last : found.start()]), f"`{' '.join(inside.split())}`"]
        last = found.end()
    return "".join([*pieces, _escaped(text[last:])])


def _escaped(text: str) -> str:
    return re.sub(r"([\\*_\[\]<>|~#$])", r"\\\1", text)


def cell(text: str) -> str:
    """Return Markdown that fits into a cell of a table."""
    return re.sub(r"(?<!\\)\|", r"\\|", " ".join(text.split()))


def read(obj: Any) -> Documentation:
    """Return the pieces of an object's docstring."""
    text = inspect.getdoc(obj.func if isinstance(obj, partial) else obj) or ""
    paragraphs = [each for each in re.split(r"\n\s*\n", text) if each.strip()]
    made = Documentation("")
    section = ""
    for number, paragraph in enumerate(paragraphs):
        lines = paragraph.splitlines()
        heading = SECTION.match(lines[0])
        if heading:
            section, lines = heading[1], lines[1:]
        elif not lines[0].startswith(" "):
            section = ""
        if section in ("Args", "Attributes"):
            made.settings |= _items(lines)
        elif section:
            continue
        elif paragraph.startswith("Source:"):
            made.source = markdown(_joined(paragraph.removeprefix("Source:")))
        elif number == 0:
            made.summary = markdown(_joined(paragraph))
        elif all(line.startswith("    ") for line in lines):
            made.body.append("\n".join(["```text", inspect.cleandoc("\n" + paragraph), "```"]))
        elif any(line.lstrip().startswith("- ") for line in lines):
            made.body.append("\n".join(_items_of_list(lines)))
        else:
            made.body.append(markdown(_joined(paragraph.removesuffix(":") if paragraph.endswith("::") else paragraph)))
    return made


def _joined(paragraph: str) -> str:
    return " ".join(paragraph.split())


def _items(lines: list[str]) -> dict[str, str]:
    """Return name -> text of an ``Args`` section; names that share a line share its text."""
    found: dict[str, str] = {}
    current: list[str] = []
    for line in inspect.cleandoc("\n".join(["", *lines])).splitlines():
        item = None if line.startswith(" ") else ITEM.match(line)
        if item:
            current = [name.strip() for name in item["names"].split(",")]
            found |= dict.fromkeys(current, item["text"] or "")
        else:
            found |= {name: f"{found[name]} {line.strip()}" for name in current}
    return {name: markdown(_joined(text)) for name, text in found.items()}


def _items_of_list(lines: list[str]) -> list[str]:
    """Return the lines of a list, each item on one line."""
    items: list[str] = []
    for line in lines:
        if line.lstrip().startswith("- ") or not items:
            items.append(line.strip())
        else:
            items[-1] += f" {line.strip()}"
    return [f"- {markdown(item[2:])}" if item.startswith("- ") else f"{markdown(item)}\n" for item in items]

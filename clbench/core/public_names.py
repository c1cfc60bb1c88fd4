"""Names of files without their folders, for everything that others may read: boards, pages, exports, pictures."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_WHOLE = re.compile(
    r"(?P<form>(?:\w+:)??)(?P<quote>['\"]?)(?:~|/|[A-Za-z]:[\\/])(?:[^\n]*[\\/])?(?P<name>[^\\/\n]+)", re.DOTALL
)
"""A text that is one absolute path, perhaps with a form before it, as in ``csv:/home/ada/points.csv``."""
_WITHIN = re.compile(
    r"(?<![\w/.~\\<%)\]}])(?!//)(?:~?/|[A-Za-z]:[\\/])(?:[^\s:?'\",;()+<>]*[\\/])?(?P<name>[^\\/\s:?'\",;()+<>]+)"
)
"""An absolute path without spaces within a text; neither ``</b>`` nor ``50 %/step`` is one."""


def public(value: Any) -> Any:
    """Return a value of settings or a text with the names of files in place of absolute paths.

    Args:
        value: Text, or lists and mappings that contain texts.

    Returns:
        The same value; ``/home/ada/mine.py:Net`` is ``mine.py:Net`` in it. Relative paths stay as they are.
    """
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        return {_text(key) if isinstance(key, str) else key: public(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [public(each) for each in value]
    return value


def _text(text: str) -> str:
    if "/" not in text and "\\" not in text:
        return text
    whole = _WHOLE.fullmatch(text)
    if whole and not re.search(r"\s(?:~?/|[A-Za-z]:[\\/])", text) and ("+" not in text or whole["quote"]):
        return f"{whole['form']}{whole['quote']}{whole['name']}"
    return _WITHIN.sub(lambda found: found["name"], text)

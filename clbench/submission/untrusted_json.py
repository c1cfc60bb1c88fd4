"""Read JSON that strangers wrote: within limits of size and depth, and without what Python accepts beyond JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

MOST_DEPTH = 32
"""The most lists and mappings inside each other."""
MOST_TEXT = 10_000
"""The most bytes of a text."""
LONG_TEXTS = {"traceback": 20_000}
"""Entries at the top whose texts may have more bytes."""
_LARGEST = 2**63


def plain_json(content: bytes, most: int) -> Any:
    """Return the data in a JSON file.

    Args:
        content: The bytes of the file.
        most: The most bytes.

    Raises:
        ValueError: The content is no JSON, exceeds a limit, or has a name twice in one mapping; the message gives the
            reason.
    """
    if len(content) > most:
        raise ValueError(f"it has {len(content):,} bytes; at most {most:,} are allowed")
    try:
        data = json.loads(
            content.decode("utf-8"),
            object_pairs_hook=_mapping,
            parse_constant=_no_number,
            parse_float=_number,
            parse_int=_integer,
        )
    except UnicodeDecodeError:
        raise ValueError("it is no text in UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is no JSON: {error}") from None
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    _check(data)
    return data


_TOO_DEEP = f"it is nested deeper than {MOST_DEPTH} levels"


def _check(data: Any) -> None:
    """Check depth and texts, level by level."""
    level: list[Any] = [data]
    for depth in range(MOST_DEPTH + 2):
        below: list[Any] = []
        for value in level:
            if isinstance(value, str):
                _check_text(value, MOST_TEXT)
            elif isinstance(value, Mapping):
                for name, inner in value.items():
                    _check_text(name, MOST_TEXT)
                    if depth == 0 and name in LONG_TEXTS and isinstance(inner, str):
                        _check_text(inner, LONG_TEXTS[name])
                    else:
                        below.append(inner)
            elif isinstance(value, list):
                below += value
        if not below:
            return
        if depth >= MOST_DEPTH:
            raise ValueError(_TOO_DEEP)
        level = below


def _check_text(text: str, most: int) -> None:
    try:
        length = len(text.encode())
    except UnicodeEncodeError:
        raise ValueError("it has a text with half a character") from None
    if length > most:
        raise ValueError(f"it has a text of {length:,} bytes; at most {most:,} are allowed")


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("it has a name twice in one mapping")
    return made


def _no_number(written: str) -> Any:
    raise ValueError(f"{written} is no number")


def _number(written: str) -> float:
    number = float(written)
    if number in (float("inf"), float("-inf")):
        raise ValueError("it has a number that is too large")
    return number


def _integer(written: str) -> int:
    if len(written) > 20 or not -_LARGEST <= int(written) < _LARGEST:
        raise ValueError("it has an integer of more than 64 bits")
    return int(written)

"""Data of pages as classic scripts, each a call with a name and plain data. Pages opened from disk cannot fetch files,
but can load scripts beside them."""

from __future__ import annotations

import json
from typing import Any

_ESCAPED = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
"""Characters that could end a script or a line of one, with how JSON may write them."""


def data_script(name: str, data: Any) -> bytes:
    """Return the script that adds data under a name; the page reads it as ``clbench.data[name]``.

    Args:
        name: A name of letters, digits, hyphens and slashes, such as ``curves/split-digits-2``.
        data: Plain data without NaN; missing numbers are ``None``.

    Raises:
        ValueError: A number is NaN or infinite.
    """
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for letter, written in _ESCAPED.items():
        text = text.replace(letter, written)
    return f"clbench.add({json.dumps(name)},{text});\n".encode(errors="replace")

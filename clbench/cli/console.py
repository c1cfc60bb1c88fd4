"""Print to consoles of any encoding.

If the encoding of standard output or error lacks a character, a plain one replaces it.
"""

from __future__ import annotations

import codecs
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from clbench.core.notices import Notice
from clbench.core.shown_text import pictured

PLAIN = {
    "→": "->", "←": "<-", "↑": "^", "↓": "v", "±": "+-", "×": "x", "·": ".", "…": "...", "–": "-", "—": "-", "−": "-",
    "≤": "<=", "≥": ">=", "≠": "!=", "≈": "~", "∞": "inf", "√": "sqrt", "Σ": "sum", "Δ": "d",
    "½": "1/2", "²": "^2", "³": "^3",
    "„": '"', "“": '"', "”": '"', "‘": "'", "’": "'", "•": "*", "✓": "ok", "✗": "x", "\u00a0": " ",
    "α": "alpha", "β": "beta", "γ": "gamma", "ε": "epsilon", "λ": "lambda", "μ": "mu", "µ": "u", "π": "pi",
    "σ": "sigma", "τ": "tau", "θ": "theta",
}  # fmt: skip
"""Replacements of characters that a console lacks; lines of tables become ``-``, ``|`` and ``+``."""
ERRORS = "clbench-plain"


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = "".join(map(_stand_in, error.object[error.start : error.end]))
    return text, error.end


def _stand_in(character: str) -> str:
    if 0x2500 <= ord(character) < 0x2580:  # box drawing
        return "-" if character in "─━╌╍┄┅┈┉═╴╶╸╺" else "|" if character in "│┃╎╏┆┇┊┋║╵╷╹╻" else "+"
    if 0x2580 <= ord(character) < 0x25A0:  # blocks
        return "#"
    return PLAIN.get(character, "?")


@contextmanager
def plain_console() -> Iterator[None]:
    """Replace unprintable characters, and print notices to standard error, while a command runs."""
    codecs.register_error(ERRORS, _plain)
    before, opened = [], ExitStack()
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # a process may begin without
            stands_in = opened.enter_context(open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
            opened.callback(setattr, sys, name, None)
            setattr(sys, name, stands_in)
        elif hasattr(stream, "reconfigure"):
            before.append((stream, stream.errors))
            stream.reconfigure(errors=ERRORS)
    try:
        with warnings.catch_warnings():
            shown, told = warnings.showwarning, set[str]()

            def show(message: Warning | str, category: type[Warning], *rest: object) -> None:
                if isinstance(category, type) and issubclass(category, Notice):
                    if str(message) not in told:
                        told.add(str(message))
                        tell(str(message))
                else:
                    shown(message, category, *rest)  # type: ignore[arg-type]

            warnings.simplefilter("default", Notice)
            warnings.showwarning = show  # type: ignore[assignment]
            yield
    finally:
        for stream, errors in before:
            stream.reconfigure(errors=errors)
        opened.close()


def tell(text: str) -> None:
    """Print a line to standard error, after what was printed before; do nothing if neither can be written."""
    try:
        sys.stdout.flush()
        print(f"clbench: {pictured(text)}", file=sys.stderr, flush=True)
    except (OSError, ValueError):
        pass

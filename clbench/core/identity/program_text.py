"""The checksum of a Python file by its tokens, so that comments, docstrings, blank lines and spaces do not count."""

from __future__ import annotations

import hashlib
import io
import tokenize
from collections.abc import Iterator

_LAYOUT = (tokenize.COMMENT, tokenize.NL, tokenize.ENCODING)
_NAMED = {
    number: name for number, name in tokenize.tok_name.items() if name in ("INDENT", "DEDENT", "NEWLINE", "ENDMARKER")
}
"""Tokens whose text does not count: an indentation of two spaces is one of four."""
_OPEN, _CLOSE = ("FSTRING_START", "TSTRING_START"), ("FSTRING_END", "TSTRING_END")


def digest(content: bytes) -> str:
    """Return the checksum of a program as 16 hex digits.

    Comments, blank lines, spaces, the width of indentations and statements that are only a text (such as docstrings)
    do not count. All else does, such as texts that are assigned or passed.

    Args:
        content: The bytes of a Python file. Of a file that is no Python, every byte counts.
    """
    try:
        told = "\n".join(f"{kind} {text}" for kind, text in _counting(content)).encode("utf-8", "surrogatepass")
    except (SyntaxError, UnicodeDecodeError, tokenize.TokenError, ValueError):
        told = content
    return hashlib.sha256(told).hexdigest()[:16]


def _counting(content: bytes) -> Iterator[tuple[str, str]]:
    """Yield kind and text of all tokens that count, line by line."""
    encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
    source = io.TextIOWrapper(io.BytesIO(content), encoding).read()  # with one form of line ends
    line: list[tuple[str, str]] = []
    for kind, text in _tokens(source):
        if kind in ("INDENT", "DEDENT"):
            yield kind, ""
            continue
        line.append((kind, text))
        if kind in ("NEWLINE", "ENDMARKER"):
            only_text = len(line) > 1 and all(each == "STRING" for each, _ in line[:-1])
            yield from [] if only_text else line
            line = []


def _tokens(source: str) -> Iterator[tuple[str, str]]:
    """Yield kind and text of each token except layout; a formatted string is one token in all versions of Python."""
    lines, began, depth = io.StringIO(source).readlines(), (0, 0), 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        name = tokenize.tok_name[token.type]
        if name in _OPEN:
            began, depth = (token.start, 1) if depth == 0 else (began, depth + 1)
        elif name in _CLOSE:
            depth -= 1
            if depth == 0:
                yield "FORMATTED", _between(lines, began, token.end)
        elif depth == 0 and token.type not in _LAYOUT:
            formatted = name == "STRING" and set("fFtT") & set(token.string.partition(token.string[-1])[0])
            yield ("FORMATTED" if formatted else name), ("" if token.type in _NAMED else token.string)


def _between(lines: list[str], first: tuple[int, int], last: tuple[int, int]) -> str:
    """Return the source between two places, each a line from 1 and a column."""
    taken = lines[first[0] - 1 : last[0]]
    taken[-1] = taken[-1][: last[1]]
    taken[0] = taken[0][first[1] :]
    return "".join(taken)

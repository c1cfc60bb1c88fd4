"""Text of records as it may be shown: no terminal obeys it, and its letters stand in the order in which they are read.

Records are written by strangers too. A label may hold commands for a terminal, characters that turn the direction of a
line, or a page of text.
"""

from __future__ import annotations

import re
import unicodedata

MOST = 80
"""The most letters of a label, or another name, that are shown."""
INVISIBLE = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
"""Letters that take no ink, although they count as letters, marks or symbols."""
_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Categories of characters that are written out: control and format characters, surrogates, and those without a
meaning that all share."""


def shown(text: object, most: int | None = MOST) -> str:
    """Return a text in one line as it may be shown in a terminal, a table or a page.

    Args:
        text: The text, or a value whose text is shown.
        most: The largest number of letters; the middle of a longer text becomes ``…``. ``None`` for sentences, which
            are never cut.

    Returns:
        The text with single spaces, and with :func:`pictured` characters.
    """
    line = pictured(" ".join(str(text).split()))
    if most is None or len(line) <= most:
        return line
    tail = most // 3
    return f"{line[: most - 1 - tail]}…{line[len(line) - tail :]}"


def drawn(text: object, most: int | None = MOST) -> str:
    """Return a text as :func:`shown` does, for pictures: fonts lack the pictures of control characters, so their
    numbers stand there."""
    return re.sub("[\u2400-\u2421]", _numbered, shown(text, most))


def _numbered(found: re.Match[str]) -> str:
    return f"⟨U+{0x7F if found[0] == '␡' else ord(found[0]) - 0x2400:04X}⟩"


def pictured(text: str) -> str:
    """Return a text with pictures in place of characters that a terminal obeys or a reader cannot see.

    Args:
        text: Any text.

    Returns:
        The same text and lines. The control character ESC is ``␛`` in it, DEL is ``␡``, and one without a picture, such
        as a change of direction, is written as its number: ``⟨U+202E⟩``. Ends of lines and tabs remain.
    """
    if text.isascii() and text.isprintable():
        return text
    return _SUSPECTS.sub(lambda found: _picture(found[0]), text)


def is_unseen(letter: str) -> bool:
    """Return whether a character is one that a terminal may obey, or that a reader cannot see."""
    return letter in INVISIBLE or unicodedata.category(letter) in _UNSEEN


_SUSPECTS = re.compile(r"[^\n\t -~]")


def _picture(letter: str) -> str:
    if not is_unseen(letter):
        return letter
    code = ord(letter)
    if code < 0x20:
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else f"⟨U+{code:04X}⟩"

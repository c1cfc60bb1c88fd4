"""Define the error of a user's mistake, and suggest the nearest known name for a mistyped one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class Refused(ValueError):
    """Reject a user's mistake in one sentence: what was wrong, what is allowed, what to do next.

    Args:
        message: The sentence.
        key: The setting that the sentence is about, if any; messages about a file use it to find the line.
    """

    def __init__(self, message: str, key: str = "") -> None:
        super().__init__(message)
        self.key = key


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Suggest the nearest known name for a mistyped one, or list all known names.

    Args:
        name: What the user wrote.
        known: The names that exist.

    Returns:
        ``did you mean 'er'?`` if a known name is similar, otherwise ``known: er, naive``.
    """
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known) or 'none'}"

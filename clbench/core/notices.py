"""Small things that go wrong and are told, while the work goes on."""

from __future__ import annotations

import warnings


class Notice(UserWarning):
    """Something small went wrong, or not as all expect, and the work goes on; a sentence says what became of it."""


def notice(sentence: str) -> None:
    """Tell of something small that went wrong: a warning in Python, a line on the command line, from workers too."""
    warnings.warn(sentence, Notice, stacklevel=2)

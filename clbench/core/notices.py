"""Notices: warnings about small faults after which the work continues."""

from __future__ import annotations

import warnings


class Notice(UserWarning):
    """Warn of a small fault after which the work continues. The sentence says what clbench did about it."""


def notice(sentence: str) -> None:
    """Report a small fault: as a warning in Python, as a line on the command line; workers pass it to the main
    process."""
    warnings.warn(sentence, Notice, stacklevel=2)

"""Define the error of a user's mistake, and suggest the nearest known name for a mistyped one."""

from __future__ import annotations

from collections.abc import Iterable

from clbench.core.near_names import nearest


class Refused(ValueError):
    """Reject a user's mistake in one sentence: what was wrong, what is allowed, what to do next.

    Args:
        message: The sentence.
        key: The setting that the sentence is about, if any; messages about a file use it to find the line.
    """

    def __init__(self, message: str, key: str = "") -> None:
        super().__init__(message)
        self.key = key


class Damaged(Refused):
    """Report a file of a record that differs from what was written. The message names the file and the fault.

    Args:
        message: The sentence.
        name: The name of the record's file.
        fault: What is wrong with it, in a few words.
    """

    def __init__(self, message: str, name: str = "", fault: str = "") -> None:
        super().__init__(message)
        self.name, self.fault = name, fault


class UnknownSetting(Refused):
    """Reject a setting that its owner does not have; the benchmark may have it elsewhere."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Suggest the known name that is meant by another one, or list all known names.

    Args:
        name: What the user wrote.
        known: The names that exist.

    Returns:
        ``did you mean 'er'?`` if a known name is similar, is written in another way, or is what other libraries call
        so; otherwise ``known: er, naive``.
    """
    listed = sorted(known)
    near = nearest(name, listed)
    return f"did you mean {near!r}?" if near else f"known: {', '.join(listed) or 'none'}"

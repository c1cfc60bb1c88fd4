"""What a check of a submission has found: one sentence about one record, and the level of trust that it rules out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from clbench.submission.submitted import Submitted

Level = Literal["consistent", "reproduced", "honest seeds"]
Status = Literal["self-reported", "consistent", "reproduced", "honest seeds"]
STATUSES: tuple[Status, ...] = ("self-reported", "consistent", "reproduced", "honest seeds")
"""The statuses of a submission, in ascending order. Each one includes all checks of those before it."""


@dataclass(frozen=True)
class Finding:
    """Say what is wrong with a submission.

    Args:
        check: The name of the check, such as ``hashes``.
        level: The status that the submission cannot have because of it.
        key: The key of the record; empty if the finding is about the whole submission.
        sentence: What is wrong, and with which record, in one sentence. It is shown text: it holds no control
            characters.
    """

    check: str
    level: Level
    key: str
    sentence: str


Check = Callable[["Submitted"], Iterable[Finding]]
"""A check: from a submission to its findings."""


def findings_of(check: Check, submitted: Submitted) -> Iterator[Finding]:
    """Yield the findings of a check. A check that fails on the content of a submission is a finding itself, because a
    submission is untrusted.

    Args:
        check: The check.
        submitted: The submission.
    """
    try:
        yield from check(submitted)
    except Exception as error:
        name = getattr(check, "__name__", type(check).__name__)
        what = " ".join(str(error).split())[:200] or "no reason given"
        sentence = f"the check {name} cannot read this submission ({type(error).__name__}: {what})"
        yield Finding(name, "consistent", "", sentence)


def reached(findings: Iterable[Finding], done: Iterable[Level]) -> Status:
    """Return the highest status that a submission has.

    Args:
        findings: All findings.
        done: The levels that were checked.
    """
    wrong, checked = {finding.level for finding in findings}, set(done)
    status = STATUSES[0]
    for level in STATUSES[1:]:
        if level in wrong or level not in checked:
            break
        status = level
    return status

"""Hold what runs for a verification have shown: one result for each run, and the findings among them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from clbench.core.shown_text import shown
from clbench.submission.findings import Finding

Level = Literal["reproduced", "honest seeds"]
REPRODUCED: Level = "reproduced"
HONEST_SEEDS: Level = "honest seeds"
"""The statuses that runs of the verifier can support."""


@dataclass(frozen=True)
class RerunResult:
    """Report what one run, or a group of runs, has shown.

    Args:
        check: Which check made it: ``rerun``, ``fresh seeds`` or ``secret data``.
        level: The status that it speaks for: ``reproduced`` or ``honest seeds``.
        key: The key of the record that it speaks of; for a row, that of its first record.
        label: The strategy, as leaderboards show it.
        seeds: The seeds that were run.
        holds: Whether the submission stands the check.
        sentence: What was found, in one sentence that names the strategy.
    """

    check: str
    level: Level
    key: str
    label: str
    seeds: tuple[int, ...]
    holds: bool
    sentence: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "sentence", shown(self.sentence, None))  # labels and reasons come from strangers

    @property
    def finding(self) -> Finding | None:
        """Return the finding, if the submission does not stand the check."""
        return None if self.holds else Finding(self.check, self.level, self.key, self.sentence)


def failures(results: Iterable[RerunResult]) -> list[Finding]:
    """Return the findings among results, in their order."""
    return [found for result in results if (found := result.finding) is not None]

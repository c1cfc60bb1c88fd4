"""A planned cell and its key: the hash of everything that determines a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from clbench.core.types import content_hash
from clbench.strategies.strategy import Strategy


@dataclass(frozen=True)
class Cell:
    """Describe one cell: benchmark, strategy and seed.

    Args:
        config: All settings that determine the run, in canonical form, JSON-able.
        label: The strategy's name on leaderboards, with the settings of the benchmark that it overrides.
        strategy: The strategy; ``config`` holds its canonical form.
        tuning: How settings of the strategy were found by a search; empty if they were not. It goes into the record and
            is not part of the key.
    """

    config: dict[str, Any]
    label: str
    strategy: Strategy = field(repr=False, compare=False)
    tuning: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, config: dict[str, Any], label: str) -> Cell:
        """Return the cell of a configuration that was planned before, such as that of a record."""
        return cls(config, label, Strategy.of(config["strategy"], label))

    @property
    def key(self) -> str:
        """Return the content hash; two ways to write a cell have one key."""
        return content_hash(self.config)

    @property
    def seed(self) -> int:
        return int(self.config["seed"])

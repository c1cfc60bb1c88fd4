"""A planned cell and its key: the hash of everything that determines a run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from clbench.core.types import canonical_text, content_hash
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

    @classmethod
    def of_seeds(
        cls, config: dict[str, Any], label: str, strategy: Strategy, tuning: dict[str, Any], seeds: Iterable[int]
    ) -> Iterator[Cell]:
        """Yield the cells that differ only in their seeds; what they share is encoded and hashed once.

        Args:
            config: All settings but the seed.
            label, strategy, tuning: As in a cell.
            seeds: The seeds, as plain integers.
        """
        before, after = _around_seed(config)
        shared = hashlib.sha256(before.encode())
        for seed in seeds:
            digest = shared.copy()
            digest.update(f"{seed}{after}".encode())
            cell = cls({**config, "seed": seed}, label, strategy, tuning)
            cell.__dict__["key"] = digest.hexdigest()[:16]
            yield cell

    @cached_property
    def key(self) -> str:
        """Return the content hash; two ways to write a cell have one key."""
        return content_hash(self.config)

    @property
    def seed(self) -> int:
        return int(self.config["seed"])


def _around_seed(config: Mapping[str, Any]) -> tuple[str, str]:
    """Return the canonical text of a configuration before and after the number of its seed."""
    first = {name: value for name, value in config.items() if name < "seed"}
    last = {name: value for name, value in config.items() if name > "seed"}
    before, after = canonical_text(first)[:-1], canonical_text(last)[1:]
    return f'{before}{"," if first else ""}"seed":', f"{',' if last else ''}{after}"

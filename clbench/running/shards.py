"""Divide the cells of a plan among commands that share no folder, by their keys."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from clbench.core.errors import Refused
from clbench.running.plan import Plan


@dataclass(frozen=True)
class Shard:
    """Name one of several shares of the cells; a cell belongs to the same share of every plan.

    Args:
        number: The share, from 1 to ``of``.
        of: The number of shares.
    """

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def holds(self, key: str) -> bool:
        """Return whether a cell with this key belongs to the share."""
        return int(key, 16) % self.of == self.number - 1


def read_shard(written: str | None) -> Shard | None:
    """Read a share such as ``3/16``, the third of sixteen; ``None`` for all cells.

    Raises:
        Refused: It cannot be read, or is not one of the shares.
    """
    if written is None:
        return None
    found = re.fullmatch(r"\s*(\d{1,9})\s*/\s*(\d{1,9})\s*", str(written))
    if found is None:
        raise Refused(f"shard = {written!r} cannot be read; write the share and how many there are, such as 3/16")
    number, of = int(found[1]), int(found[2])
    if not 1 <= number <= of:
        allowed = f"the shares of {of} are 1/{of} to {of}/{of}" if of else "there must be at least one share, as in 1/1"
        raise Refused(f"shard = {written!r} does not exist; {allowed}")
    return Shard(number, of)


def sharded(plan: Plan, shard: Shard | None) -> Plan:
    """Return the part of a plan that belongs to a share; the whole plan for ``None``."""
    if shard is None:
        return plan
    here = [cell for cell in plan.cells if shard.holds(cell.key)]
    others = tuple(cell.key for cell in plan.cells if not shard.holds(cell.key))
    return replace(plan, cells=here, shard=str(shard), others=others)

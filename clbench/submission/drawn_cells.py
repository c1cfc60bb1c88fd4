"""Draw the cells and seeds of a submission that are run again: its digest decides, and nobody chooses.

The rule can be followed by hand: ``sha256("cell DIGEST SALT KEY")`` orders the cells, the smallest hash first.
The fresh seeds are the numbers ``sha256("seed DIGEST SALT I") mod 10**9`` for I = 0, 1, 2, ..., read from all 256 bits,
without those that were submitted and those below 1000, among which benchmarks have theirs. ``SALT`` is empty unless the
verifier sets it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from clbench.core.record import Record

LARGEST_SEED = 10**9
"""Fresh seeds are below this number."""
SMALLEST_SEED = 1000
"""Fresh seeds are not below this number: the seeds of benchmarks are."""


def drawn_cells(records: Sequence[Record], count: int, digest: str, *, salt: str = "") -> list[Record]:
    """Return the records of a submission whose cells are run again.

    Args:
        records: The records of the submission; those without a trace are left out.
        count: Number of cells, from 0. If there are fewer, all are returned.
        digest: The sha256 of the submission.
        salt: A text of the verifier's, which the author of the submission could not know.

    Returns:
        The drawn records, in the order of the draw.
    """
    distinct = {record.key: record for record in records if record.has_trace}
    return sorted(distinct.values(), key=lambda record: _hash("cell", digest, salt, record.key))[:count]


def drawn_seeds(count: int, digest: str, submitted: Iterable[int], *, salt: str = "") -> list[int]:
    """Return fresh seeds for a submission, which are equal for all of its strategies.

    Args:
        count: Number of seeds, from 0.
        digest: The sha256 of the submission.
        submitted: The seeds of its records, which are not fresh.
        salt: As in :func:`drawn_cells`.

    Returns:
        Distinct seeds in [1000, 10**9), in the order of the draw.
    """
    taken, found, place = set(submitted), list[int](), 0
    while len(found) < count:
        seed = _hash("seed", digest, salt, str(place)) % LARGEST_SEED
        place += 1
        if seed >= SMALLEST_SEED and seed not in taken:
            taken.add(seed)
            found.append(seed)
    return found


def _hash(*words: str) -> int:
    return int.from_bytes(hashlib.sha256(" ".join(words).encode()).digest(), "big")

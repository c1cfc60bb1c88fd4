"""Random generators, each derived from a seed and a purpose; no code uses a global generator.

The random words come from Philox4x64-10, whose raw output is fixed by its specification. All arithmetic above them is
integer or exact floating-point arithmetic. Orders and draws are therefore equal across machines and library versions,
and so are stream fingerprints.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

Index = NDArray[np.int64]


def derive(seed: int, purpose: str) -> int:
    """Derive a 63-bit seed for another library's generator (torch, random), for one purpose of one run.

    Args:
        seed: The seed of the run, any integer.
        purpose: What the generator is for, such as ``"init"`` or ``"dropout"``.

    Returns:
        An integer in [0, 2**63).
    """
    return int.from_bytes(_digest(seed, purpose)[:8], "little") >> 1


def _digest(seed: int, purpose: str) -> bytes:
    return hashlib.sha256(f"{seed}/{purpose}".encode()).digest()


class Generator:
    """Draw random numbers for one purpose, equal on every platform and library version.

    Args:
        seed: The seed of the run or the stream, any integer.
        purpose: What the numbers are for. Different purposes give independent sequences, so that a new use never
            changes the draws of an existing one.

    Source: Salmon et al. 2011, Philox4x64-10, as implemented by ``numpy.random.Philox`` (raw words only).
    """

    def __init__(self, seed: int, purpose: str) -> None:
        key = np.frombuffer(_digest(seed, purpose)[:16], dtype=np.uint64)
        self._philox = np.random.Philox(key=key)

    def words(self, n: int) -> NDArray[np.uint64]:
        """Draw ``n`` raw 64-bit words, shape (n,)."""
        return self._philox.random_raw(n)

    def uniform(self, n: int) -> NDArray[np.float64]:
        """Draw ``n`` numbers in [0, 1) on a grid of 2**-53, shape (n,)."""
        return (self.words(n) >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def integers(self, n: int, high: int | Index) -> Index:
        """Draw ``n`` integers in [0, high), shape (n,).

        Args:
            n: Number of draws.
            high: Exclusive bound, one for all or one per draw, shape (n,), at least 1 and below 2**52.
        """
        return (self.uniform(n) * high).astype(np.int64)

    def permutation(self, n: int) -> Index:
        """Draw a random order of ``range(n)``, shape (n,)."""
        return np.argsort(self.words(n), kind="stable")

    def sample(self, n: int, k: int) -> Index:
        """Draw ``k`` different integers of ``range(n)`` in random order, shape (k,).

        Raises:
            ValueError: ``k`` exceeds ``n``.
        """
        if k > n:
            raise ValueError(f"cannot draw {k} different values out of {n}; ask for at most {n}")
        if n <= 4 * k:
            return self.permutation(n)[:k]
        drawn = np.empty(0, dtype=np.int64)
        while len(drawn) < k:  # sparse: draw, keep first occurrences, draw more until there are k
            drawn = np.concatenate([drawn, self.integers(2 * (k - len(drawn)), n)])
            drawn = drawn[np.sort(np.unique(drawn, return_index=True)[1])]
        return drawn[:k]

    def subset(self, n: int, k: int) -> NDArray[np.bool_]:
        """Return a mask (n,) of the integers that :meth:`sample` would draw, without computing their order.

        Raises:
            ValueError: ``k`` exceeds ``n``.
        """
        chosen = np.zeros(n, dtype=bool)
        if 0 < k <= n <= 4 * k:
            chosen[np.argpartition(self.words(n), k - 1)[:k]] = True
        else:
            chosen[self.sample(n, k)] = True
        return chosen

    def weighted(self, weights: NDArray[np.float64], k: int = 1, *, replace: bool = True) -> Index:
        """Draw ``k`` indices with probability proportional to ``weights``, shape (k,).

        Args:
            weights: Non-negative numbers, shape (n,), not all zero.
            k: Number of draws.
            replace: Whether an index may be drawn again.

        Raises:
            ValueError: A negative weight, no positive weight, or too few positive weights without replacement.
        """
        weights = np.array(weights, dtype=np.float64)
        positive = int((weights > 0).sum())
        if (weights < 0).any() or positive == 0 or (not replace and k > positive):
            raise ValueError(
                f"weights must be non-negative with at least one positive (here {positive} of {len(weights)} are "
                f"positive), and without replacement at most that many can be drawn (asked for {k})"
            )
        if replace:
            return self._invert(weights, self.uniform(k))
        drawn = np.empty(k, dtype=np.int64)
        for i, u in enumerate(self.uniform(k)):
            drawn[i] = self._invert(weights, np.array([u]))[0]
            weights[drawn[i]] = 0.0
        return drawn

    @staticmethod
    def _invert(weights: NDArray[np.float64], u: NDArray[np.float64]) -> Index:
        """Invert the cumulative distribution; an index of weight 0 is never returned."""
        cumulative = np.cumsum(weights)
        index = np.searchsorted(cumulative, u * cumulative[-1], side="right")
        chosen: Index = np.minimum(index, np.flatnonzero(weights)[-1]).astype(np.int64)
        return chosen

    @property
    def state(self) -> dict[str, Any]:
        """Return the state as plain numbers and lists; assigning it restores it."""
        state = self._philox.state
        return {
            "counter": state["state"]["counter"].tolist(),
            "key": state["state"]["key"].tolist(),
            "buffer": state["buffer"].tolist(),
            "buffer_pos": int(state["buffer_pos"]),
        }

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        self._philox.state = {
            "bit_generator": "Philox",
            "state": {
                "counter": np.array(state["counter"], dtype=np.uint64),
                "key": np.array(state["key"], dtype=np.uint64),
            },
            "buffer": np.array(state["buffer"], dtype=np.uint64),
            "buffer_pos": state["buffer_pos"],
            "has_uint32": 0,
            "uinteger": 0,
        }

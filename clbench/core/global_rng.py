"""The global generators that other people's code draws from: Python's, NumPy's and torch's."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from clbench.core.rng import derive


def seed_globals(seed: int, purpose: str) -> None:
    """Seed all three from (seed, purpose)."""
    torch.manual_seed(derive(seed, f"{purpose}/torch"))
    seed_others(seed, purpose)


def seed_others(seed: int, purpose: str) -> None:
    """Seed Python's and NumPy's from (seed, purpose)."""
    np.random.seed(derive(seed, f"{purpose}/numpy") % 2**32)  # noqa: NPY002 the legacy generator is what they use
    random.seed(derive(seed, f"{purpose}/python"))


def global_states() -> dict[str, Any]:
    """Where all three stand: tensors, numbers and lists of them."""
    _, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)  # noqa: NPY002
    version, words, following = random.getstate()
    return {
        "torch": torch.random.get_rng_state(),
        "numpy": [torch.from_numpy(np.array(keys, dtype=np.int64)), position, has_gauss, gauss],
        "python": [version, torch.tensor(words), following],
    }


def set_global_states(states: dict[str, Any]) -> None:
    """Return to :func:`global_states`."""
    torch.random.set_rng_state(states["torch"])
    set_others(states)


def set_others(states: dict[str, Any]) -> None:
    """Put Python's and NumPy's where they stood in :func:`global_states`."""
    keys, *rest = states["numpy"]
    np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    version, words, following = states["python"]
    random.setstate((version, tuple(words.tolist()), following))


@contextmanager
def kept() -> Iterator[None]:
    """All three are as before afterwards."""
    states = global_states()
    try:
        yield
    finally:
        set_global_states(states)

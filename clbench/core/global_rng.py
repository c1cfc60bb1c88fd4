"""The global random number generators that other people's code draws from: Python's, NumPy's and torch's."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from clbench.core.rng import derive


def seed_globals(seed: int, purpose: str) -> None:
    """Seed Python's, NumPy's and torch's generators from (seed, purpose)."""
    torch.manual_seed(derive(seed, f"{purpose}/torch"))
    seed_others(seed, purpose)


def seed_others(seed: int, purpose: str) -> None:
    """Seed Python's and NumPy's generators from (seed, purpose)."""
    np.random.seed(derive(seed, f"{purpose}/numpy") % 2**32)  # noqa: NPY002 the legacy generator is what they use
    random.seed(derive(seed, f"{purpose}/python"))


@contextmanager
def preserved(
    device: torch.device | str | None = None, *, only: Literal["torch", "python_and_numpy"] | None = None
) -> Iterator[None]:
    """Restore the global random number generators when the block ends, whatever the block has drawn or seeded.

    Args:
        device: The CUDA device whose generator is restored too; ``None`` or a CPU for none.
        only: The generators that are restored; ``None`` for all of them.
    """
    states = None if only == "python_and_numpy" else torch_states(device)
    others = None if only == "torch" else (random.getstate(), np.random.get_state())  # noqa: NPY002
    try:
        yield
    finally:
        if others is not None:
            random.setstate(others[0])
            np.random.set_state(others[1])  # noqa: NPY002
        if states is not None:
            set_torch_states(states, device)


def torch_states(device: torch.device | str | None = None) -> list[Tensor]:
    """Return the states of torch's generators: the CPU's, and the one of a CUDA device."""
    states = [torch.random.get_rng_state()]
    if device is not None and _is_cuda(device):
        states.append(torch.cuda.get_rng_state(device))
    return states


def set_torch_states(states: list[Tensor], device: torch.device | str | None = None) -> None:
    """Set torch's generators to the states that :func:`torch_states` returned.

    The generator of a CUDA device begins anew from the CPU's seed if the states have none, as after a run on a CPU.
    """
    torch.random.set_rng_state(states[0])
    if device is None or not _is_cuda(device):
        return
    if len(states) > 1:
        torch.cuda.set_rng_state(states[1], device)
    else:
        with torch.cuda.device(device):
            torch.cuda.manual_seed(torch.initial_seed())


def _is_cuda(device: torch.device | str) -> bool:
    return torch.device(device).type == "cuda"


def comparable_states() -> dict[str, tuple[Any, ...]]:
    """Return the states of the generators of ``random``, ``numpy`` and ``torch``, by name, as values to compare."""
    _, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002
    return {
        "random": random.getstate(),
        "numpy": (np.asarray(keys).tobytes(), *rest),
        "torch": (torch.random.get_rng_state().numpy().tobytes(),),
    }


def global_states() -> dict[str, Any]:
    """Return the states of Python's, NumPy's and torch's generators as tensors, numbers and lists of them, which a
    snapshot can hold."""
    _, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)  # noqa: NPY002
    version, words, following = random.getstate()
    return {
        "torch": torch.random.get_rng_state(),
        "numpy": [torch.from_numpy(np.array(keys, dtype=np.int64)), position, has_gauss, gauss],
        "python": [version, torch.tensor(words), following],
    }


def set_global_states(states: dict[str, Any]) -> None:
    """Set Python's, NumPy's and torch's generators to the states that :func:`global_states` returned."""
    torch.random.set_rng_state(states["torch"])
    set_others(states)


def set_others(states: dict[str, Any]) -> None:
    """Set Python's and NumPy's generators to the states that :func:`global_states` returned."""
    keys, *rest = states["numpy"]
    np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    version, words, following = states["python"]
    random.setstate((version, tuple(words.tolist()), following))

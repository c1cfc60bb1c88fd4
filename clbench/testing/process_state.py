"""The process state that a run must leave unchanged: directory, environment, torch's and NumPy's settings."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from clbench.core.global_rng import preserved


def _set_environment(values: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(values)


PROCESS_STATE: Mapping[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "the working directory": (os.getcwd, os.chdir),
    "the environment variables": (lambda: dict(os.environ), _set_environment),
    "torch's number of threads": (torch.get_num_threads, torch.set_num_threads),
    "torch's default type": (torch.get_default_dtype, torch.set_default_dtype),
    "whether torch records gradients": (torch.is_grad_enabled, torch.set_grad_enabled),
    "torch's deterministic algorithms": (
        torch.are_deterministic_algorithms_enabled,
        torch.use_deterministic_algorithms,
    ),
    "numpy's handling of errors": (np.geterr, lambda values: np.seterr(**values)),
}
"""Name of a setting -> how to read it, and how to set it."""


def read_process_state() -> dict[str, Any]:
    """Return the current values of all settings by name."""
    return {name: read() for name, (read, _) in PROCESS_STATE.items()}


@contextmanager
def as_found() -> Iterator[None]:
    """Use one thread, and restore all settings and the global generators at the end."""
    before = read_process_state()
    torch.set_num_threads(1)
    try:
        with preserved():
            yield
    finally:
        for name, (read, restore) in PROCESS_STATE.items():
            if read() != before[name]:
                restore(before[name])

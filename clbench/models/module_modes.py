"""The modes of modules, training or evaluation, restored after they were changed for a while."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def preserved_modes(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Restore the mode of each module when the block ends, whatever the block has set.

    Args:
        modules: The modules one by one; their children are restored only if they are among them.
    """
    kept = [(module, module.training) for module in modules]
    try:
        yield
    finally:
        for module, mode in kept:
            module.__dict__["training"] = mode  # not train(mode), which changes the children too

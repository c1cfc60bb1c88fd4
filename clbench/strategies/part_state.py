"""The state of a part: copies, when it is saved or moved to another device, and its size in bytes."""

from __future__ import annotations

from typing import Any

from clbench.core.errors import Refused


def copied(value: Any, device: Any = None, *, of: str = "a part", where: str = "state") -> Any:
    """Return a copy of a state, its tensors on a device; by default where they are.

    Args:
        value: A tensor, a number, a string, ``None``, or lists and dicts of them.
        device: Where to put tensors.
        of: The part's name, for messages.
        where: The place in the state, for messages.

    Raises:
        Refused: A value has another type, which cannot be saved.
    """
    if hasattr(value, "detach"):
        return value.detach().to(value.device if device is None else device, copy=True)
    if isinstance(value, dict):
        return {k: copied(v, device, of=of, where=f"{where}[{k!r}]") for k, v in value.items()}
    if isinstance(value, list):
        return [copied(v, device, of=of, where=f"{where}[{i}]") for i, v in enumerate(value)]
    if isinstance(value, int | float | str | bool | None):
        return value
    raise Refused(
        f"{of} keeps a {type(value).__name__} in {where}; allowed are tensors, numbers, strings, lists and dicts "
        "of them"
    )


def tensor_bytes(value: Any) -> int:
    """Return the bytes of the tensors in a state."""
    if hasattr(value, "element_size"):
        return int(value.numel() * value.element_size())
    if isinstance(value, dict):
        return sum(tensor_bytes(v) for v in value.values())
    if isinstance(value, list):
        return sum(tensor_bytes(v) for v in value)
    return 0

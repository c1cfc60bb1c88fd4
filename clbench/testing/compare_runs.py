"""Bitwise comparison of two runs, with their first difference in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield tensors and plain values of nested mappings and lists, with names such as ``the state of A: anchor``."""
    if isinstance(value, Mapping):
        pieces = [(f"{name}: {key}" if name else str(key), each) for key, each in value.items()]
    elif isinstance(value, list | tuple) and not all(isinstance(v, int | float | str) for v in value):
        pieces = [(f"{name}[{i}]", each) for i, each in enumerate(value)]
    else:
        yield name, value
        return
    for key, each in pieces:
        yield from leaves(each, key)


def difference(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """Return the first difference between the results of two runs in words; empty if they are bitwise equal."""
    for name in ours.keys() ^ theirs.keys():
        return f"{name} (present after one run only)"
    for name, value in ours.items():
        if not _same(value, theirs[name]):
            return name + _by(value, theirs[name])
    return ""


def size(state: Any) -> int:
    """Return the bytes of the tensors in a part's state, and 8 for every other number or character."""
    total = 0
    for _, value in leaves(state):
        if isinstance(value, torch.Tensor):
            total += value.numel() * value.element_size()
        else:
            total += 8 * (len(value) if isinstance(value, list | tuple | str) else 1)
    return total


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        if a.is_meta and b.is_meta:  # meta tensors have no values
            return a.shape == b.shape and a.dtype == b.dtype
        return a.shape == b.shape and a.dtype == b.dtype and bool(torch.eq(a, b).logical_or(a.ne(a) & b.ne(b)).all())
    return type(a) is type(b) and bool(a == b)


def _by(a: Any, b: Any) -> str:
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        if a.shape != b.shape:
            return f" (of shapes {tuple(a.shape)} and {tuple(b.shape)})"
        return f" (off by up to {(a.double() - b.double()).abs().max().item():.2g})"
    short = len(str(a)) + len(str(b)) < 60
    return f" ({a!r} and {b!r})" if short else ""

"""The memory use of avalanche-lib's strategies: replay buffers, and statistics and further weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from clbench.adapters.avalanche.library import AvalancheDataset, ExemplarsBuffer, ParamData

ROWS = ("x_memory", "memory_x")
"""Attributes that hold samples as tensors: those of ICaRL and GEM."""
LABELS = ("y_memory", "memory_y", "memory_tid")
"""Attributes that belong to such samples, and are counted with them."""
LEFT_OUT = frozenset(
    {
        "model",
        "optimizer",
        "experience",
        "adapted_dataset",
        "dataloader",
        "dataset",
        "mbatch",
        "mb_output",
        "loss",
        "evaluator",
        "clock",
        "replay_loader",
        "buffer_dataloader",
        "buffer_dliter",
        "current_eval_stream",
        "_experiences",
        "batch_logits",
        "mb_buffer_x",
        "mb_buffer_y",
        "mb_buffer_tid",
        "mb_buffer_out",
        "G",
        "reference_gradients",
        *LABELS,
    }
)
"""Attributes that belong to the model, the running experience or the step, and are not kept from the past."""


@dataclass
class MemoryUse:
    """Count what a strategy keeps.

    Args:
        rows: Samples of replay buffers.
        side_bytes: Bytes kept with them, such as logits.
        state_bytes: Bytes of statistics, and of weights other than the model's.
        from_loaders: Samples of replay buffers that loaders read, so that their draws can be counted.
    """

    rows: int = 0
    side_bytes: int = 0
    state_bytes: int = 0
    from_loaders: int = 0


def memory_use(strategy: Any) -> MemoryUse:
    """Count what a strategy and its plugins keep."""
    found, own = MemoryUse(), {id(t) for t in (*strategy.model.parameters(), *strategy.model.buffers())}
    seen = own | {id(module) for module in strategy.model.modules()}
    for holder in (strategy, *strategy.plugins):
        for name, value in vars(holder).items():
            if name not in LEFT_OUT and not (holder is strategy and name == "plugins"):
                _count(name, value, found, seen)
    return found


def _count(name: str, value: Any, found: MemoryUse, seen: set[int]) -> None:
    if id(value) in seen:
        return
    seen.add(id(value))
    if name in ROWS:
        tensors = value.values() if isinstance(value, dict) else value
        found.rows += sum(len(tensor) for tensor in tensors)
    elif isinstance(value, ExemplarsBuffer):
        _count_dataset(value.buffer, found)
    elif isinstance(value, AvalancheDataset):
        _count_dataset(value, found)
    elif isinstance(value, ParamData):
        found.state_bytes += _bytes(value.data, seen)
    elif isinstance(value, nn.Module):
        found.state_bytes += sum(_bytes(tensor, seen) for tensor in (*value.parameters(), *value.buffers()))
    elif isinstance(value, Tensor):
        found.state_bytes += _bytes(value, seen)
    elif isinstance(value, dict | list | tuple):
        for each in _inside(value):
            _count("", each, found, seen)
    elif hasattr(value, "__dict__") and type(value).__module__.startswith("avalanche.training."):
        for inner, each in vars(value).items():
            if inner not in LEFT_OUT:
                _count(inner, each, found, seen)


def _inside(value: Any) -> Iterator[Any]:
    yield from value.values() if isinstance(value, dict) else value


def _count_dataset(dataset: AvalancheDataset, found: MemoryUse) -> None:
    rows = len(dataset)
    found.rows += rows
    found.from_loaders += rows
    logits = getattr(dataset, "logits", None)
    if rows and logits is not None:
        found.side_bytes += rows * _bytes(logits[0], set())


def _bytes(tensor: Tensor, seen: set[int]) -> int:
    """Return the bytes of a tensor that was not counted before, else 0."""
    if tensor.data_ptr() in seen:
        return 0
    seen.add(tensor.data_ptr())
    return tensor.numel() * tensor.element_size()

"""Values of the host that a step sends to a GPU, without waiting for the GPU.

A copy from ordinary memory makes the host wait until the GPU has finished all its work. A copy from pinned memory takes
its turn on the GPU; torch keeps the pinned memory until the copy is done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def sent(values: Any, device: torch.device) -> Tensor:
    """Return an array of the host as a tensor on a device; on a CPU it shares the array's memory."""
    import torch

    tensor = torch.from_numpy(values)
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)

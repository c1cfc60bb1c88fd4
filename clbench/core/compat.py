"""Workarounds for faults of other libraries; each is applied only if its symptom shows."""

from __future__ import annotations

import sys
from typing import Any

_keep_alive: list[Any] = []


def import_torchvision() -> Any:
    """Import torchvision, and work around operators that were built for another torch.

    With a CPU-only torch, ``import torchvision`` may raise "operator torchvision::nms does not exist": two operator
    schemas are declared only by the compiled library. clbench declares these two schemas first. It never calls the
    operators.

    Returns:
        The module ``torchvision``.

    Raises:
        ImportError: torchvision is not installed.
        RuntimeError: The import fails for any other reason.
    """
    try:
        import torchvision
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
        _declare_missing_operators()
        for name in [m for m in sys.modules if m.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        import torchvision
    return torchvision


def is_patched() -> bool:
    """Return whether the workaround for torchvision was applied in this process."""
    return bool(_keep_alive)


def _declare_missing_operators() -> None:
    import torch

    library = torch.library.Library("torchvision", "DEF")
    boxes = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
    for operator in ("nms", "qnms"):
        library.define(operator + boxes)
    _keep_alive.append(library)

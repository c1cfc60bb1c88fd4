"""Mends for the libraries below us, each applied only where its symptom shows."""

from __future__ import annotations

import sys
from typing import Any

_keep_alive: list[Any] = []


def import_torchvision() -> Any:
    """Import and return torchvision, also where its compiled operators do not fit a CPU-only torch.

    There ``import torchvision`` raises "operator torchvision::nms does not exist", because operator schemas that
    only the compiled library declares are missing. Declaring the two of them first cures it; nothing here calls them.

    Raises:
        ImportError: torchvision is not installed.
        RuntimeError: It fails for any other reason.
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
    """Whether torchvision needed its mend in this process."""
    return bool(_keep_alive)


def _declare_missing_operators() -> None:
    import torch

    library = torch.library.Library("torchvision", "DEF")
    boxes = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
    for operator in ("nms", "qnms"):
        library.define(operator + boxes)
    _keep_alive.append(library)

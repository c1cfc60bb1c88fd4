"""The most memory that was held at a time since it was last asked to start anew."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path


def reset(device: str) -> None:
    """Count from here on. Where the system keeps one count per process (not Linux), earlier cells are in it too.

    Args:
        device: ``cpu``, or a CUDA device, whose own memory is counted then.
    """
    if device != "cpu":
        import torch

        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # see proc(5)


def peak_bytes(device: str) -> int:
    """Bytes: resident memory of this process, data sets and libraries included, or what torch allocated on a GPU."""
    if device != "cpu":
        import torch

        return int(torch.cuda.max_memory_allocated(device))
    try:
        import resource
    except ImportError:  # not on Windows
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

"""The peak memory of a process since the last reset."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path


def reset(device: str) -> None:
    """Start to measure peak memory anew.

    If the system keeps one peak per process (all but Linux), the peak includes earlier cells of the process.

    Args:
        device: ``cpu``, or a CUDA device, whose own memory is then measured.
    """
    if device != "cpu":
        import torch

        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # see proc(5)


def peak_bytes(device: str) -> int:
    """Return the peak in bytes: resident memory of this process with data sets and libraries, or torch's allocation on
    a GPU."""
    if device != "cpu":
        import torch

        return int(torch.cuda.max_memory_allocated(device))
    with suppress(OSError, StopIteration):  # Linux; getrusage there includes the process that started this one
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM:")).split()[1])
    try:
        import resource
    except ImportError:  # not available on Windows
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

"""Where a run ran: versions, hardware and commit."""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

LIBRARIES = {"avalanche": "avalanche-lib"}
"""Engine -> the package behind it."""


@cache
def environment(device: str, engine: str = "clbench") -> dict[str, Any]:
    """Versions, hardware and commit of this process; that of the library, where one runs the strategy."""
    hardware = (
        torch.cuda.get_device_name(0) if device.startswith("cuda") else platform.processor() or platform.machine()
    )
    return {
        "clbench": version("clbench"),
        **({LIBRARIES[engine]: version(LIBRARIES[engine])} if engine in LIBRARIES else {}),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "device": device,
        "hardware": hardware,
        "commit": _commit(),
    }


def _commit() -> str:
    """The commit of clbench's own checkout, where it is one."""
    here = Path(__file__).resolve().parent.parent
    if not (here / ".git").exists():
        return ""
    result = subprocess.run(
        ["git", "-C", str(here), "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False
    )
    return result.stdout.strip()

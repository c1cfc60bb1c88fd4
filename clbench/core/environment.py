"""The environment of a run: versions, hardware and commit."""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

LIBRARIES = {"avalanche": "avalanche-lib"}
"""Map an engine to the package that it comes from."""


@cache
def environment(device: str, engine: str = "clbench") -> dict[str, Any]:
    """Return the versions, hardware and commit of this process, and the version of the engine's library."""
    hardware = torch.cuda.get_device_name(device) if device.startswith("cuda") else processor()
    return {
        "clbench": version("clbench"),
        **({LIBRARIES[engine]: version(LIBRARIES[engine])} if engine in LIBRARIES else {}),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "device": device.partition(":")[0],  # which of several equal GPUs it was is no part of a result
        "hardware": hardware,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "commit": _commit(),
    }


CPUINFO = Path("/proc/cpuinfo")


def processor() -> str:
    """Return the model of the processor, such as ``Intel(R) Xeon(R) Gold 6248``, or else its architecture.

    Linux gives the model in a file (not on every ARM board), macOS by ``sysctl``, Windows by ``platform.processor``.
    """
    generic = platform.processor() or platform.machine()
    try:
        if platform.system() == "Linux":
            lines = CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
            pairs = (line.partition(":") for line in lines)
            named = [value.strip() for key, _, value in pairs if key.strip() in ("model name", "Model", "cpu model")]
        elif platform.system() == "Darwin":
            asked = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
            named = [subprocess.run(asked, capture_output=True, text=True, check=True, timeout=5).stdout.strip()]
        else:
            named = []
    except (OSError, subprocess.SubprocessError):
        named = []
    return next(filter(None, named), generic)


def _commit() -> str:
    """Return the commit of clbench if it runs from a git checkout."""
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():
        return ""
    command = ["git", "-C", str(here), "rev-parse", "--short=12", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=5).stdout.strip()
    except (OSError, subprocess.SubprocessError):  # git is not installed, or it does not answer
        return ""

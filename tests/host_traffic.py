"""Count what a step would read from a GPU and send to it, on a machine without one.

On a CPU nothing is copied, so operations are counted that make the host wait for a GPU, or that make a tensor of values
of the host.
"""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

import clbench
from clbench.core import host_reads
from clbench.training.experience_passes import Passes

READING = {
    "_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive", "bincount",
    "equal", "is_nonzero", "_linalg_check_errors", "repeat_interleave",
}  # fmt: skip
"""Operators that make the host wait: they return a number, or a tensor whose size depends on values."""
PACKAGE = f"{Path(clbench.__file__).parent}/"
TO_HOST = ("cpu", "numpy", "tolist", "__array__")


class Traffic(TorchDispatchMode):
    """Count reads and uploads by step, with the lines that cause them; nothing outside of steps."""

    def __init__(self) -> None:
        super().__init__()
        self.steps, self.inside = 0, False
        self.reads: list[Counter[str]] = []
        self.uploads: list[Counter[str]] = []

    def begin(self) -> None:
        """Begin a step."""
        self.inside = True
        self.reads.append(Counter())
        self.uploads.append(Counter())

    def note(self, counts: list[Counter[str]], what: str) -> None:
        """Count one copy."""
        if self.inside:
            counts[-1][f"{where()} {what}"] += 1

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.__name__.split(".")[0]
        if name in READING and not (name == "repeat_interleave" and "self_int" in function.__name__):
            self.note(self.reads, name)
        elif name in ("index", "index_put", "index_put_") and any(
            i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1]
        ):
            if name == "index" or args[2].numel() != 1:
                self.note(self.reads, f"{name} by a mask")
        elif name == "lift_fresh":
            self.note(self.uploads, "tensor of host values")
        return function(*args, **(kwargs or {}))


def where() -> str:
    """The innermost line of the package that runs now; for an upload, the line that asks for it."""
    frames = [frame for frame in traceback.extract_stack() if frame.filename.startswith(PACKAGE)]
    while len(frames) > 1 and frames[-1].filename.endswith("core/uploads.py"):
        frames.pop()
    return f"{frames[-1].filename.removeprefix(PACKAGE)}:{frames[-1].lineno}" if frames else "?"


@contextmanager
def counted(monkeypatch: Any) -> Iterator[Traffic]:
    """Count the traffic of steps; the code takes the paths of a GPU."""
    traffic = Traffic()
    monkeypatch.setattr(host_reads, "free", lambda device: False)

    def noting(holder: Any, name: str, counts: str) -> None:
        inner = getattr(holder, name)

        def called(*args: Any, **kwargs: Any) -> Any:
            traffic.note(getattr(traffic, counts), name)
            before, traffic.inside = traffic.inside, False
            try:
                return inner(*args, **kwargs)
            finally:
                traffic.inside = before

        monkeypatch.setattr(holder, name, called)

    for name in TO_HOST:
        noting(torch.Tensor, name, "reads")
    noting(torch, "from_numpy", "uploads")
    inner_batches = Passes.batches

    def batches(*args: Any, **kwargs: Any) -> Iterator[Any]:
        steps = inner_batches(*args, **kwargs)
        for step in steps:
            traffic.begin()
            yield step
            traffic.inside = False

    monkeypatch.setattr(Passes, "batches", batches)
    with traffic:
        yield traffic

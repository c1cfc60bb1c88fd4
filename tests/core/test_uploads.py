"""What a step sends to a GPU goes from pinned memory, so that the host does not wait."""

from __future__ import annotations

import numpy as np
import torch

from clbench.core.uploads import sent


def test_on_a_cpu_an_array_keeps_its_memory():
    values = np.arange(4)
    tensor = sent(values, torch.device("cpu"))
    values[0] = 7
    assert tensor.tolist() == [7, 1, 2, 3]


def test_an_array_goes_to_a_gpu_from_pinned_memory_and_nobody_waits(monkeypatch):
    calls = []

    def pin_memory(tensor):
        calls.append("pinned")
        return tensor.clone()

    def to(tensor, device, *, non_blocking=False):
        calls.append((str(device), non_blocking))
        return tensor

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin_memory)
    monkeypatch.setattr(torch.Tensor, "to", to)
    tensor = sent(np.arange(3), torch.device("cuda:1"))
    assert calls == ["pinned", ("cuda:1", True)]
    assert tensor.tolist() == [0, 1, 2]

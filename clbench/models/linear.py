"""Linear layers without gradients, computed by oneDNN where torch's default is slower.

On CPUs not made by the vendor of its default matrix library, torch multiplies float32 matrices at half the speed of
oneDNN on the same machine (5000 samples through 784-400-400-10: 26 ms against 14 ms on 2 cores). torch contains the
faster kernel for its compiler; here it serves forward passes that need no gradient. Sums have another order, as with
another number of threads: outputs agree to about 1e-6. Training always uses torch's default.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FEWEST_ROWS = 64
"""Smallest number of samples for the kernel; below, the call itself costs more than it saves."""


@cache
def fused_available() -> bool:
    """Return whether this torch contains the kernel and it computes correct results."""
    try:
        x, w = torch.linspace(-1, 1, 12).reshape(3, 4), torch.linspace(1, 2, 8).reshape(2, 4)
        b = torch.tensor([0.5, -9.0])
        out = torch.ops.mkldnn._linear_pointwise(x, w, b, "relu", [], "")
    except (AttributeError, RuntimeError, TypeError):
        return False
    return bool(torch.allclose(out, F.linear(x, w, b).relu(), atol=1e-6))


def linear(layer: nn.Linear, x: Tensor, *, relu: bool = False) -> Tensor:
    """Return ``layer(x)``, or ``relu(layer(x))``, by the fastest kernel that does not change training.

    Args:
        layer: The linear layer.
        x: (B, I) inputs.
        relu: Whether negative outputs become 0.

    Returns:
        (B, O) outputs.
    """
    plain = torch.is_grad_enabled() or x.device.type != "cpu" or x.dtype != torch.float32 or len(x) < FEWEST_ROWS
    plain = plain or torch.is_autocast_enabled(x.device.type)
    if plain or not _any_kernel(layer) or not fused_available():
        out = layer(x)
        return torch.relu(out) if relu else out
    for before in layer._forward_pre_hooks.values():
        before(layer, (x,))
    ends = relu and not layer._forward_hooks  # what hooks add comes before the nonlinearity
    output: Tensor = torch.ops.mkldnn._linear_pointwise(x, layer.weight, layer.bias, "relu" if ends else "none", [], "")
    for after in layer._forward_hooks.values():
        output = after(layer, (x,), output)
    return torch.relu(output) if relu and not ends else output


def _any_kernel(layer: nn.Linear) -> bool:
    """Return whether a layer can be computed without being called: a subclass may compute something else, and hooks
    wait for the call.

    A hook that works with any kernel has an attribute ``any_kernel``; before the layer it returns nothing, and after it
    the output.
    """
    if type(layer) is not nn.Linear:
        return False
    hooks = (*layer._forward_pre_hooks.values(), *layer._forward_hooks.values())
    return all(getattr(hook, "any_kernel", False) for hook in hooks)

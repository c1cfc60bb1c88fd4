"""All trainable weights of a model as one vector, and all gradients as another; parameters are views of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from clbench.core.errors import Refused


@dataclass(frozen=True, eq=False)
class Flat:
    """Hold the flat storage of a module's trainable parameters.

    Args:
        w: (P,) weights, a leaf whose ``grad`` is ``g``, so that a loss may contain a formula of ``w``.
        g: (P,) gradients.
        slices: Parameter name -> its slice of both vectors.
        parameters: The module's parameters, in the order of ``slices``.
    """

    w: nn.Parameter
    g: Tensor
    slices: dict[str, slice]
    parameters: tuple[nn.Parameter, ...]

    def check(self, module: nn.Module, *, gradients: bool = True) -> None:
        """Check that the parameters of a module, and their gradients, still are views of the flat storage.

        Args:
            module: The module that was flattened. Another module, such as a copy, has other parameters.
            gradients: Whether to check gradients too.

        Raises:
            Refused: ``zero_grad``, ``.to(dtype)``, ``deepcopy`` or the like replaced a view.
        """
        item, live = self.w.element_size(), {id(p) for p in module.parameters()}
        whole = self.w.grad is not None and self.w.grad.data_ptr() == self.g.data_ptr()
        for (name, place), parameter in zip(self.slices.items(), self.parameters, strict=True):
            offset = place.start * item
            severed = id(parameter) not in live or parameter.data_ptr() != self.w.data_ptr() + offset
            if gradients and not severed:
                gradient = parameter.grad
                severed = not whole or gradient is None or gradient.data_ptr() != self.g.data_ptr() + offset
            if severed:
                raise Refused(
                    f"parameter {name!r} no longer shares storage with the flat weights; clear gradients with "
                    "learner.g.zero_() and change weights in place, never with zero_grad(), .to() or assignment"
                )

    def concatenate(self, tensors: tuple[Tensor, ...]) -> Tensor:
        """Concatenate tensors per parameter, in order, to a new vector (P,)."""
        return torch.cat([tensor.reshape(-1) for tensor in tensors])


def flatten(module: nn.Module) -> Flat:
    """Move a module's trainable parameters into flat storage, in place; their values do not change.

    Args:
        module: A module on its final device, with all trainable parameters of one floating dtype. Parameters that do
            not require a gradient stay where they are and are not trained. If no parameter does, the vectors are empty.

    Raises:
        Refused: There are no parameters, or dtypes or devices of trainable ones differ.
    """
    named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    kinds = {(p.dtype, p.device) for _, p in named}
    if not named and any(True for _ in module.parameters()):
        return _empty(module)
    if len(kinds) != 1:
        raise Refused(
            "a model needs trainable parameters of one dtype on one device; this one has "
            f"{sorted(map(str, kinds)) or 'none'}"
        )
    w = nn.Parameter(torch.cat([p.detach().reshape(-1) for _, p in named]))
    g = torch.zeros_like(w.data)
    w.grad = g
    slices, start = {}, 0
    for name, p in named:
        slices[name] = slice(start, start + p.numel())
        p.data = w.data[slices[name]].view(p.shape)
        p.grad = g[slices[name]].view(p.shape)
        start += p.numel()
    return Flat(w, g, slices, tuple(p for _, p in named))


def _empty(module: nn.Module) -> Flat:
    """Return the flat storage of a module without trainable parameters."""
    some = next(module.parameters())
    w = nn.Parameter(some.detach().new_zeros(0))
    w.grad = g = torch.zeros_like(w.data)
    return Flat(w, g, {}, ())

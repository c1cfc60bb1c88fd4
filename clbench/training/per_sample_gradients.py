"""Sums over samples of a power of per-sample gradients, for importance measures.

Letters: B samples, C classes, P weights, I inputs and O outputs of a layer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from clbench.models.flat_weights import Flat
from clbench.training.answered_model import AnsweredModel

Power = Literal["square", "absolute"]
POWERS: dict[Power, Callable[[Tensor], Tensor]] = {"square": torch.square, "absolute": torch.abs}
VALUES_AT_ONCE = 8_000_000
"""Number of values of per-sample gradients in memory at a time, if they must be made one by one."""


def accumulate(
    model: nn.Module,
    flat: Flat,
    x: Tensor,
    scalar: Callable[..., Tensor],
    extras: tuple[Tensor, ...] = (),
    *,
    power: Power,
) -> Tensor:
    """Return Σ_n |∇ s_n|^power over samples n, elementwise, shape (P,).

    Args:
        model: In evaluation mode, so that samples do not depend on each other; its output has ``logits`` (B, C).
        flat: Its flat weights.
        x: (B, ...) inputs.
        scalar: From logits (B, C) and ``extras`` to s (B,), sample by sample.
        extras: What else a sample's scalar needs, (B, ...) each.
        power: ``square`` or ``absolute``.
    """
    owners = [m for m in model.modules() if any(p.requires_grad for p in m.parameters(recurse=False))]
    plain = not isinstance(model, AnsweredModel)  # a part may use the weights differently
    if plain and all(type(m) is nn.Linear for m in owners):  # and so may a subclass
        return _by_layer(model, flat, x, scalar, extras, power)
    return _by_row(model, flat, x, scalar, extras, power)


def _by_layer(
    model: nn.Module,
    flat: Flat,
    x: Tensor,
    scalar: Callable[..., Tensor],
    extras: tuple[Tensor, ...],
    power: Power,
) -> Tensor:
    """Return the sum layer by layer, from powers of backward signals and of inputs: no (B, P) tensor is made."""
    ran: list[tuple[nn.Linear, Tensor, Tensor]] = []

    def note(layer: nn.Linear, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        ran.append((layer, inputs[0], output))
        return output.clone()  # the next layer may work in place

    handles = [m.register_forward_hook(note) for m in model.modules() if type(m) is nn.Linear]
    try:
        total = scalar(model(x).logits, *extras).sum()
    finally:
        for handle in handles:
            handle.remove()
    served = [id(p) for layer, *_ in ran for p in layer.parameters(recurse=False)]
    once = len(set(served)) == len(served) and set(map(id, flat.parameters)) <= set(served)
    if not once or any(o.dim() != 2 for *_, o in ran):  # weights used twice, tied, or outside their layer
        return _by_row(model, flat, x, scalar, extras, power)
    signals = torch.autograd.grad(total, [o for *_, o in ran], materialize_grads=True)
    raised, sums = POWERS[power], {}
    for (layer, inputs, _), signal in zip(ran, signals, strict=True):
        a, d = inputs.to(layer.weight.dtype), signal.to(layer.weight.dtype)  # a pass may have a lower precision
        sums[id(layer.weight)] = raised(d).T @ raised(a)  # (O, I)
        if layer.bias is not None:
            sums[id(layer.bias)] = raised(d).sum(0)  # (O,)
    return flat.concatenate(tuple(sums[id(p)] for p in flat.parameters)).detach()


def _by_row(
    model: nn.Module,
    flat: Flat,
    x: Tensor,
    scalar: Callable[..., Tensor],
    extras: tuple[Tensor, ...],
    power: Power,
) -> Tensor:
    """Return the sum by vectorised differentiation, for layers of any kind; (B, P) at a time, in small chunks."""
    names, raised = list(flat.slices), POWERS[power]
    weights = {name: p.detach() for name, p in zip(names, flat.parameters, strict=True)}

    def one(weights: dict[str, Tensor], row: Tensor, *extra: Tensor) -> Tensor:
        logits = functional_call(model, weights, (row[None],)).logits
        return scalar(logits, *(e[None] for e in extra))[0]

    total = torch.zeros_like(flat.g)
    chunk = max(1, VALUES_AT_ONCE // flat.g.numel())
    per_row = vmap(grad(one), in_dims=(None, 0, *(0 for _ in extras)))
    for start in range(0, len(x), chunk):
        span = slice(start, start + chunk)
        gradients = per_row(weights, x[span], *(e[span] for e in extras))
        total += torch.cat([raised(gradients[name]).sum(0).reshape(-1) for name in names])
    return total

"""Diagonal Fisher information, by four named estimators that differ by orders of magnitude.

With g_n(y) the gradient of log p(y | x_n) and N rows:

- ``exact``:      (1/N) Σ_n Σ_y p(y | x_n) g_n(y)², the definition under the model's own distribution;
- ``sampled``:    (1/N) Σ_n g_n(y_n)² with y_n drawn from the model's distribution, unbiased for ``exact``;
- ``empirical``:  (1/N) Σ_n g_n(y_n)² with the true label;
- ``batch``:      (1/K) Σ_k (mean gradient of batch k)², the square of a mean: roughly 1/B of ``empirical``.

Source: Kirkpatrick et al. 2017; the estimators are compared in van de Ven 2025, arXiv 2502.11756.
Letters: B rows, C classes, P weights, I inputs and O outputs of a layer.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from clbench.models.flat import Flat
from clbench.rng import Generator

Estimator = Literal["exact", "sampled", "empirical", "batch"]


def estimate(
    model: nn.Module,
    flat: Flat,
    x: Tensor,
    y: Tensor,
    *,
    estimator: Estimator,
    hidden: Tensor | None,
    generator: Generator | None,
) -> tuple[Tensor, int]:
    """The sum over rows of an estimator (over one batch for ``batch``), (P,), and the rows sent backward for it.

    Args:
        model: In evaluation mode; its output has ``logits`` (B, C).
        flat: Its flat weights.
        x: (B, ...) inputs.
        y: (B,) labels.
        estimator: Which one.
        hidden: Classes that do not compete, (C,) or (B, C) bool.
        generator: Where labels are drawn from, for ``sampled``.
    """
    if estimator == "batch":
        loss = -log_likelihood(model(x).logits, y, hidden).mean()
        return flat.concatenate(torch.autograd.grad(loss, flat.parameters, materialize_grads=True)).square(), len(y)
    ones = torch.ones(len(y), device=x.device)
    if estimator == "empirical":
        return squared_gradients(model, flat, x, y, weight=ones, hidden=hidden), len(y)
    with torch.no_grad():
        logits = model(x).logits
        p = (logits if hidden is None else logits.masked_fill(hidden, -torch.inf)).softmax(1)  # (B, C)
    if estimator == "sampled":
        if generator is None:
            raise ValueError("the 'sampled' estimator draws labels; give it a generator")
        u = torch.from_numpy(generator.uniform(len(y))).to(p)
        drawn = (p.cumsum(1) < u[:, None]).sum(1).clamp(max=p.shape[1] - 1)
        return squared_gradients(model, flat, x, drawn, weight=ones, hidden=hidden), len(y)
    total, backward = torch.zeros_like(flat.g), 0
    for c in range(p.shape[1]):
        live = p[:, c] > 0  # hidden classes have probability 0
        if bool(live.any()):
            mask = hidden if hidden is None or hidden.dim() == 1 else hidden[live]
            total += squared_gradients(model, flat, x[live], y[live].fill_(c), weight=p[live, c], hidden=mask)
            backward += int(live.sum())
    return total, backward


def squared_gradients(
    model: nn.Module, flat: Flat, x: Tensor, y: Tensor, *, weight: Tensor, hidden: Tensor | None
) -> Tensor:
    """Σ_n weight_n · (∇ log p(y_n | x_n))², shape (P,).

    Args:
        model: In evaluation mode; its output has ``logits`` (B, C).
        flat: Its flat weights.
        x: (B, ...) inputs.
        y: (B,) labels.
        weight: (B,) non-negative.
        hidden: Classes that do not compete, (C,) or (B, C) bool.
    """
    owners = [m for m in model.modules() if any(p.requires_grad for p in m.parameters(recurse=False))]
    if all(type(m) is nn.Linear for m in owners):  # a subclass may do something else with its weights
        return _by_layer(model, flat, x, y, weight, hidden)
    return _by_row(model, flat, x, y, weight, hidden)


def log_likelihood(logits: Tensor, y: Tensor, hidden: Tensor | None) -> Tensor:
    """log p(y_n | x_n) over the classes that compete, shape (B,)."""
    if hidden is not None:
        logits = logits.masked_fill(hidden, -torch.inf)
    return logits.log_softmax(1).gather(1, y[:, None])[:, 0]


def _by_layer(model: nn.Module, flat: Flat, x: Tensor, y: Tensor, weight: Tensor, hidden: Tensor | None) -> Tensor:
    """Products of squared backward signals and squared inputs, layer by layer: no (B, P) tensor is made."""
    ran: list[tuple[nn.Linear, Tensor, Tensor]] = []

    def note(layer: nn.Linear, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        ran.append((layer, inputs[0], output))
        return output.clone()  # what comes next may work in place

    handles = [m.register_forward_hook(note) for m in model.modules() if type(m) is nn.Linear]
    try:
        log_p = log_likelihood(model(x).logits, y, hidden)
    finally:
        for handle in handles:
            handle.remove()
    served = [id(p) for layer, *_ in ran for p in layer.parameters(recurse=False)]
    once = len(set(served)) == len(served) and set(map(id, flat.parameters)) <= set(served)
    if not once or any(o.dim() != 2 for *_, o in ran):  # weights used twice, tied, or not through their layer
        return _by_row(model, flat, x, y, weight, hidden)
    loss = (weight.sqrt() * log_p).sum()
    signals = torch.autograd.grad(loss, [o for *_, o in ran], materialize_grads=True)
    squares: dict[int, Tensor] = {}
    for (layer, a, _), d in zip(ran, signals, strict=True):
        squares[id(layer.weight)] = (d * d).T @ (a * a)  # (O, I)
        if layer.bias is not None:
            squares[id(layer.bias)] = (d * d).sum(0)  # (O,)
    return flat.concatenate(tuple(squares[id(p)] for p in flat.parameters)).detach()


def _by_row(model: nn.Module, flat: Flat, x: Tensor, y: Tensor, weight: Tensor, hidden: Tensor | None) -> Tensor:
    """Per-row gradients by vectorised differentiation, for layers of any kind; (B, P) at a time, in small chunks."""
    names = list(flat.slices)
    weights = {name: p.detach() for name, p in zip(names, flat.parameters, strict=True)}

    def one(weights: dict[str, Tensor], row: Tensor, label: Tensor, mask: Tensor) -> Tensor:
        logits = functional_call(model, weights, (row[None],)).logits
        return log_likelihood(logits, label[None], mask[None])[0]

    n_outputs = model(x[:1]).logits.shape[1]
    mask = torch.zeros(1, n_outputs, dtype=torch.bool, device=x.device) if hidden is None else hidden
    mask = mask.expand(len(x), n_outputs)
    total = torch.zeros_like(flat.g)
    chunk = max(1, 8_000_000 // flat.g.numel())
    per_row = vmap(grad(one), in_dims=(None, 0, 0, 0))
    for start in range(0, len(x), chunk):
        part = slice(start, start + chunk)
        gradients = per_row(weights, x[part], y[part], mask[part])
        total += torch.cat([(weight[part] @ gradients[name].flatten(1).square()) for name in names])
    return total

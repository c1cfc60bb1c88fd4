"""Diagonal Fisher information, by four named estimators that differ by orders of magnitude.

With g_n(y) the gradient of log p(y | x_n) and N rows:

- ``exact``:      (1/N) Σ_n Σ_y p(y | x_n) g_n(y)², the definition under the model's own distribution;
- ``sampled``:    (1/N) Σ_n g_n(y_n)² with y_n drawn from the model's distribution, unbiased for ``exact``;
- ``empirical``:  (1/N) Σ_n g_n(y_n)² with the true label;
- ``batch``:      (1/K) Σ_k (mean gradient of batch k)², the square of a mean: roughly 1/B of ``empirical``.

Source: Kirkpatrick et al. 2017; the estimators are compared in van de Ven 2025, arXiv 2502.11756.
Letters: B rows, C classes, P weights.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from clbench.core.rng import Generator
from clbench.models.flat_weights import Flat
from clbench.training.per_row import accumulate

Estimator = Literal["exact", "sampled", "empirical", "batch"]


class Estimate(NamedTuple):
    """An estimate, and what it took.

    Args:
        total: (P,) the sum over rows.
        forward: Rows sent forward.
        backward: Rows sent backward.
    """

    total: Tensor
    forward: int
    backward: int


def estimate(
    model: nn.Module,
    flat: Flat,
    x: Tensor,
    y: Tensor,
    *,
    estimator: Estimator,
    hidden: Tensor | None,
    generator: Generator | None,
) -> Estimate:
    """The sum over rows of an estimator (over one batch for ``batch``).

    Args:
        model: In evaluation mode; its output has ``logits`` (B, C).
        flat: Its flat weights.
        x: (B, ...) inputs.
        y: (B,) labels.
        estimator: Which one.
        hidden: Classes that do not compete, (C,) or (B, C) bool.
        generator: Where labels are drawn from, for ``sampled``.
    """
    n = len(y)
    if estimator == "batch":
        loss = -log_likelihood(model(x).logits, y, hidden).mean()
        mean = flat.concatenate(torch.autograd.grad(loss, flat.parameters, materialize_grads=True))
        return Estimate(mean.square(), n, n)
    ones = torch.ones(n, device=x.device)
    if estimator == "empirical":
        return Estimate(squared_gradients(model, flat, x, y, weight=ones, hidden=hidden), n, n)
    with torch.no_grad():
        logits = model(x).logits
        p = (logits if hidden is None else logits.masked_fill(hidden, -torch.inf)).softmax(1)  # (B, C)
    if estimator == "sampled":
        if generator is None:
            raise ValueError("the 'sampled' estimator draws labels; give it a generator")
        u = torch.from_numpy(generator.uniform(len(y))).to(p)
        drawn = (p.cumsum(1) < u[:, None]).sum(1).clamp(max=p.shape[1] - 1)
        return Estimate(squared_gradients(model, flat, x, drawn, weight=ones, hidden=hidden), 2 * n, n)
    total, backward = torch.zeros_like(flat.g), 0
    for c in range(p.shape[1]):
        live = p[:, c] > 0  # hidden classes have probability 0
        if bool(live.any()):
            mask = hidden if hidden is None or hidden.dim() == 1 else hidden[live]
            total += squared_gradients(model, flat, x[live], y[live].fill_(c), weight=p[live, c], hidden=mask)
            backward += int(live.sum())
    return Estimate(total, n + backward, backward)


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
    mask = torch.zeros(1, 1, dtype=torch.bool, device=x.device) if hidden is None else hidden
    extras = (y, weight, mask.expand(len(x), mask.shape[-1]))

    def scalar(logits: Tensor, y: Tensor, weight: Tensor, hidden: Tensor) -> Tensor:
        return weight.sqrt() * log_likelihood(logits, y, hidden)

    return accumulate(model, flat, x, scalar, extras, power="square")


def log_likelihood(logits: Tensor, y: Tensor, hidden: Tensor | None) -> Tensor:
    """log p(y_n | x_n) over the classes that compete, shape (B,)."""
    if hidden is not None:
        logits = logits.masked_fill(hidden, -torch.inf)
    return logits.log_softmax(1).gather(1, y[:, None])[:, 0]

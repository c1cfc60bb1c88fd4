"""Diagonal Fisher information, by four estimators that differ by orders of magnitude.

With g_n(y) the gradient of log p(y | x_n), as the family of tasks defines it, and N samples:

- ``exact``:      (1/N) Σ_n Σ_y p(y | x_n) g_n(y)², the definition under the model's own distribution;
- ``sampled``:    (1/N) Σ_n g_n(y_n)² with y_n drawn from the model's distribution, unbiased for ``exact``;
- ``empirical``:  (1/N) Σ_n g_n(y_n)² with the true target;
- ``batch``:      (1/K) Σ_k (mean gradient of batch k)², the square of a mean: roughly 1/B of ``empirical``.

Source: Kirkpatrick et al. 2017; the estimators are compared in van de Ven 2025, arXiv 2502.11756.
Letters: B samples, C classes, P weights.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from clbench.core.rng import Generator
from clbench.families.class_mask import ClassMask
from clbench.families.family import Family
from clbench.models.flat_weights import Flat
from clbench.training.per_sample_gradients import accumulate

Estimator = Literal["exact", "sampled", "empirical", "batch"]


class Estimate(NamedTuple):
    """Hold an estimate and the work for it.

    Args:
        total: (P,) the sum over samples.
        forward: Samples in forward passes.
        backward: Samples in backward passes.
    """

    total: Tensor
    forward: int
    backward: int


def estimate(
    model: nn.Module,
    flat: Flat,
    x: Tensor,
    target: Tensor,
    *,
    family: Family,
    estimator: Estimator,
    class_mask: ClassMask,
    generator: Generator | None,
) -> Estimate:
    """Return the sum of an estimator over samples (over one batch for ``batch``).

    Args:
        model: In evaluation mode; its output has ``logits`` (B, C).
        flat: Its flat weights.
        x: (B, ...) inputs.
        target: (B, ...) targets.
        family: Defines the model's distribution over targets.
        estimator: The estimator.
        class_mask: Which classes compete on each sample.
        generator: For ``sampled``, which draws targets.
    """
    n = len(target)
    if estimator == "batch":
        loss = -family.log_likelihood(model(x).logits, target, class_mask).mean()
        mean = flat.concatenate(torch.autograd.grad(loss, flat.parameters, materialize_grads=True))
        return Estimate(mean.square(), n, n)

    def squared(x: Tensor, target: Tensor, weight: Tensor, mask: ClassMask = class_mask) -> Tensor:
        return squared_gradients(model, flat, x, target, weight=weight, family=family, class_mask=mask)

    ones = torch.ones(n, device=x.device)
    if estimator == "empirical":
        return Estimate(squared(x, target, ones), n, n)
    with torch.no_grad():
        outputs = model(x).logits
        if estimator == "sampled":
            if generator is None:
                raise ValueError("the 'sampled' estimator draws targets and needs a generator")
            drawn = family.draw(outputs, class_mask, generator)
    if estimator == "sampled":
        return Estimate(squared(x, drawn, ones), 2 * n, n)
    total, backward = torch.zeros_like(flat.g), 0
    for outcome, weight in family.outcomes(outputs, class_mask):
        live = weight > 0  # classes that do not compete have probability 0
        if bool(live.any()):
            total += squared(x[live], outcome[live], weight[live], class_mask.rows(live))
            backward += int(live.sum())
    return Estimate(total, n + backward, backward)


def squared_gradients(
    model: nn.Module,
    flat: Flat,
    x: Tensor,
    target: Tensor,
    *,
    weight: Tensor,
    family: Family,
    class_mask: ClassMask,
) -> Tensor:
    """Return Σ_n weight_n · (∇ log p(target_n | x_n))², shape (P,).

    Args:
        model: In evaluation mode; its output has ``logits`` (B, C).
        flat: Its flat weights.
        x: (B, ...) inputs.
        target: (B, ...) targets.
        weight: (B,) non-negative.
        family: Defines the likelihood.
        class_mask: Which classes compete on each sample.
    """
    competes = class_mask.competes
    competes = torch.ones(1, 1, dtype=torch.bool, device=x.device) if competes is None else competes
    extras = (target, weight, competes.expand(len(x), competes.shape[-1]))

    def scalar(outputs: Tensor, target: Tensor, weight: Tensor, competes: Tensor) -> Tensor:
        return weight.sqrt() * family.log_likelihood(outputs, target, ClassMask(competes))

    return accumulate(model, flat, x, scalar, extras, power="square")

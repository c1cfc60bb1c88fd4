"""A last layer that computes cosines. Letters: B samples, C classes, H features."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clbench.core.errors import Refused
from clbench.models.output import Output


class CosineHead(nn.Module):
    """Compute scale · cos(f, w_c) for features f and the weights w_c of each class, with a trained scale.

    Args:
        width: H.
        n_outputs: C.
        scale: Where the scale begins.
    """

    def __init__(self, width: int, n_outputs: int, scale: float = 1.0) -> None:
        super().__init__()
        bound = width**-0.5
        self.weight = nn.Parameter(torch.empty(n_outputs, width).uniform_(-bound, bound))
        self.scale = nn.Parameter(torch.full((1,), float(scale)))

    def cosines(self, features: Tensor) -> Tensor:
        """Return cos(f, w_c), (B, C), for features (B, H); 0 for features of zeros only."""
        return F.normalize(features, dim=1) @ F.normalize(self.weight, dim=1).T

    def forward(self, features: Tensor) -> Tensor:
        return self.scale * self.cosines(features)


class ProxyHead(nn.Module):
    """Compute scale · s_c for several weights of each class, its proxies, with a trained scale.

    With the cosines s_ck = cos(f, w_ck) to the K proxies of class c, s_c = Σ_k p_ck · s_ck, where p_c is the softmax of
    the s_ck over k: the local similarity classifier. With one proxy it computes what :class:`CosineHead` does.

    Args:
        width: H.
        n_outputs: C.
        proxies: K.
        scale: Where the scale begins.

    Source: Douillard et al. 2020, arXiv 2004.13513, section 3.2.
    """

    def __init__(self, width: int, n_outputs: int, proxies: int, scale: float = 1.0) -> None:
        super().__init__()
        bound = width**-0.5
        self.width, self.proxies = width, proxies
        self.weight = nn.Parameter(torch.empty(n_outputs, proxies * width).uniform_(-bound, bound))
        self.scale = nn.Parameter(torch.full((1,), float(scale)))

    def cosines(self, features: Tensor) -> Tensor:
        """Return s_c, (B, C), for features (B, H); 0 for features of zeros only."""
        weights = F.normalize(self.weight.view(-1, self.width), dim=1)  # (C K, H)
        each = (F.normalize(features, dim=1) @ weights.T).unflatten(1, (-1, self.proxies))  # (B, C, K)
        weighed: Tensor = (each.softmax(2) * each).sum(2)
        return weighed

    def forward(self, features: Tensor) -> Tensor:
        return self.scale * self.cosines(features)


class WithCosineHead(nn.Module):
    """Put a cosine head on a model that reads features where its last layer is called; that layer is not trained.

    Args:
        model: From samples to ``Output``, with a linear ``head``.
        head: The cosine head.
    """

    def __init__(self, model: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.head, self.body = head, model
        model.head.requires_grad_(False)

    def features(self, x: Tensor) -> Tensor:
        """Map samples (B, ...) to features (B, H)."""
        features: Tensor = self.body(x).features
        return features

    def forward(self, x: Tensor) -> Output:
        features = self.features(x)
        return Output(self.head(features), features)


def with_cosine_head(model: nn.Module, make: Callable[[int, int], nn.Module] = CosineHead) -> nn.Module:
    """Return a model with a cosine head in place of its last layer: the model itself, or around one that is wrapped.

    Args:
        model: From samples to ``Output``, with a linear ``head``.
        make: From H and C to the head.

    Raises:
        Refused: The head is no linear layer.
    """
    head = model.head
    if not isinstance(head, nn.Linear):
        raise Refused(
            f"a cosine head stands in place of a linear layer, and this model's last layer is {type(head).__name__}; "
            "choose a model that ends with torch.nn.Linear"
        )
    cosine = make(head.in_features, head.out_features)
    if "head" not in model._modules:
        return WithCosineHead(model, cosine)
    model.head = cosine
    return model

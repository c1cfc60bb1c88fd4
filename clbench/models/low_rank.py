"""Low-rank terms beside linear layers: one that is trained, and those of finished experiences, which stay as they are.

Letters: B samples, N tokens, T terms, r rank, I inputs and O outputs of a layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn


class LowRank(nn.Module):
    """Add low-rank terms to a linear layer: layer(x) + Σ αᵢ Bᵢ Aᵢ x over finished terms + α B A x.

    A (r, I) and B (O, r) of the running term are trained. Finished terms are buffers, so no step and no weight decay
    can move them. Places without a term hold zeros, which add nothing: the network costs the same from the beginning.

    Args:
        layer: The layer; its weights are not changed here.
        rank: r.
        terms: T, how many terms can be finished.
        scaled: Whether terms have trained factors α: ``alpha`` (T,) of the finished ones and ``magnitude`` () of the
            running one. Otherwise all are 1.
        given: Whether A is given from outside and not trained: a buffer of zeros until then.
    """

    downs: Tensor
    ups: Tensor

    def __init__(self, layer: nn.Linear, rank: int, terms: int, *, scaled: bool = False, given: bool = False) -> None:
        super().__init__()
        self.layer, self.rank = layer, rank
        weight = layer.weight
        self.down: Tensor
        down = weight.new_zeros(rank, layer.in_features)
        if given:
            self.register_buffer("down", down)
        else:
            self.down = nn.Parameter(nn.init.kaiming_uniform_(down, a=5**0.5))
        self.up = nn.Parameter(weight.new_zeros(layer.out_features, rank))
        self.alpha = nn.Parameter(weight.new_ones(terms)) if scaled else None
        self.magnitude = nn.Parameter(weight.new_ones(())) if scaled else None
        self.register_buffer("downs", weight.new_zeros(terms * rank, layer.in_features))  # (T r, I)
        self.register_buffer("ups", weight.new_zeros(terms * rank, layer.out_features))  # (T r, O), transposed

    def forward(self, x: Tensor) -> Tensor:
        """Map inputs (..., I) to outputs (..., O)."""
        running = x @ self.down.T  # (..., r)
        if self.magnitude is not None:
            running = running * self.magnitude
        output: Tensor = self.layer(x) + running @ self.up.T
        hidden = x @ self.downs.T  # (..., T r)
        if self.alpha is not None:
            hidden = hidden * self.alpha.repeat_interleave(self.rank)
        return output + hidden @ self.ups

    @torch.no_grad()
    def finish(self, place: int, generator: torch.Generator | None, *, normed: bool = False) -> None:
        """Keep the running term at a place among the finished ones, and begin a new one, which adds nothing.

        Args:
            place: From 0; below T.
            generator: Draws the new A, uniform as in torch's linear layers; ``None`` leaves A as it is.
            normed: Whether A and B are kept divided by their Frobenius norms; ``alpha`` at the place becomes the
                product of these norms and of ``magnitude``, so that outputs stay the same.
        """
        span = slice(place * self.rank, (place + 1) * self.rank)
        down, up = self.down, self.up
        if normed:
            sizes = [part.norm().clamp(min=torch.finfo(part.dtype).tiny) for part in (down, up)]
            down, up = down / sizes[0], up / sizes[1]
            assert self.alpha is not None
            assert self.magnitude is not None
            self.alpha[place] = self.magnitude * sizes[0] * sizes[1]
        self.downs[span], self.ups[span] = down, up.T
        self.up.zero_()
        if generator is not None:
            bound = self.layer.in_features**-0.5
            drawn = torch.rand(self.down.shape, generator=generator, dtype=torch.float64)
            self.down.copy_(bound * (2 * drawn - 1))


def add_terms(
    model: nn.Module,
    layers: Sequence[str],
    rank: int,
    terms: int,
    *,
    scaled: bool = False,
    shared: bool = False,
    given: bool = False,
) -> None:
    """Put low-rank terms beside layers of the attention of every block of a transformer, in place.

    Args:
        model: A transformer as :func:`clbench.models.transformer.is_transformer` says.
        layers: Of ``query``, ``key`` and ``value``.
        rank: r.
        terms: T.
        scaled, given: As in :class:`LowRank`.
        shared: Whether the factors are the same parameters in all layers.
    """
    first: LowRank | None = None
    for block in model.blocks:  # type: ignore[union-attr]
        for name in layers:
            added = LowRank(getattr(block.attention, name), rank, terms, scaled=scaled, given=given)
            if shared and first is not None:
                added.alpha, added.magnitude = first.alpha, first.magnitude
            first = first or added
            setattr(block.attention, name, added)


def terms_of(model: nn.Module) -> Iterator[LowRank]:
    """Yield the layers of a model with low-rank terms."""
    yield from (module for module in model.modules() if isinstance(module, LowRank))

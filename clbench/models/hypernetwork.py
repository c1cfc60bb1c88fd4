"""A network whose weights another network generates from the embedding of a task.

Letters: B samples, D generated weights, E size of an embedding, K chunks of the generated weights, n embeddings.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from clbench.models.output import Output

Form = Literal["chunks", "rnn"]
CONSTANT_SPREAD = 0.1
"""Spread of generated weights that have none in the network's own start, such as the ones of norm layers."""


class WeightGenerator(nn.Module):
    """Generate weights from embeddings, one chunk of equal size after the other: h(e, c_k), k = 1 .. K.

    The chunk embeddings c_k are weights of the generator.

    Args:
        sizes: Numbers of weights of the generated tensors, in order; their sum is D.
        centers: What is added to the generated values of each tensor.
        spreads: Factors of the generated values of each tensor.
        form: ``chunks`` generates each chunk by itself, by fully connected layers; ``rnn`` by an LSTM that runs over
            the chunks.
        embedding: E, size of the embedding of a task and of a chunk, at least 1.
        chunk: Weights in a chunk, at least 1.
        hidden: Widths of the hidden layers of ``chunks`` (none for a linear generator), or the width of the LSTM.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        centers: Sequence[float],
        spreads: Sequence[float],
        *,
        form: Form,
        embedding: int,
        chunk: int,
        hidden: Sequence[int],
    ) -> None:
        super().__init__()
        self.sizes = list(sizes)
        self.chunks = nn.Parameter(torch.randn(-(-sum(sizes) // chunk), embedding))  # (K, E)
        widths = [2 * embedding, *hidden]
        self.layers = nn.ModuleList()
        self.lstm: nn.LSTM | None = None
        if form == "rnn":
            self.lstm = nn.LSTM(widths[0], widths[1], batch_first=True)
        else:
            self.layers.extend(nn.Linear(a, b) for a, b in pairwise(widths))
        self.last = nn.Linear(widths[-1], chunk)
        self.register_buffer("centers", torch.tensor(centers, dtype=torch.float32))
        self.register_buffer("spreads", torch.tensor(spreads, dtype=torch.float32))

    def scale_last_layer(self, embedding: Tensor) -> None:
        """Draw the last layer such that, at an embedding (E,), generated values have mean 0 and variance 1."""
        with torch.no_grad():
            square = self.hidden(embedding[None]).square().mean()  # of the inputs of the last layer
            nn.init.normal_(self.last.weight, std=1 / math.sqrt(self.last.in_features * float(square)))
            nn.init.zeros_(self.last.bias)

    def hidden(self, embeddings: Tensor) -> Tensor:
        """Return what the last layer reads for embeddings (n, E): (n, K, width)."""
        n, (k, size) = len(embeddings), self.chunks.shape
        z = torch.cat([embeddings[:, None].expand(n, k, size), self.chunks.expand(n, k, size)], dim=2)  # (n, K, 2 E)
        if self.lstm is not None:
            with torch.backends.cudnn.flags(enabled=False) if z.is_cuda else nullcontext():
                out: Tensor = self.lstm(z)[0]  # cuDNN has no gradient in evaluation mode, and wants weights of its own
            return out
        for layer in self.layers:
            z = nn.functional.elu(layer(z))
        return z

    def forward(self, embeddings: Tensor) -> Tensor:
        """Return generated values (n, D) for embeddings (n, E); weights are centers + spreads · values."""
        values: Tensor = self.last(self.hidden(embeddings)).flatten(1)  # (n, K · chunk)
        return values[:, : sum(self.sizes)]

    def tensors(self, embedding: Tensor) -> list[Tensor]:
        """Return the generated weights for an embedding (E,), tensor by tensor, each as one vector."""
        pieces = self(embedding[None])[0].split(self.sizes)
        scales = zip(pieces, self.get_buffer("centers"), self.get_buffer("spreads"), strict=True)
        return [torch.addcmul(center, spread, piece) for piece, center, spread in scales]

    def scales(self) -> Tensor:
        """Return (D,), by how much a generated weight changes with its generated value."""
        spreads = self.get_buffer("spreads")
        return spreads.repeat_interleave(torch.tensor(self.sizes, device=spreads.device))


class Hypernetwork(nn.Module):
    """Compute logits by a network whose weights are generated from the embedding of the running task.

    ``embedding`` (E,) comes first among the parameters, then those of ``generator``. The network's own parameters are
    zeros that are never used; its running statistics remain its own.

    Args:
        target: A network that returns ``Output`` and has a ``head``. Its initial weights set mean and spread of the
            generated ones, tensor by tensor.
        form, embedding, hidden: As in :class:`WeightGenerator`.
        chunk: Weights in a chunk; ``None`` is :func:`largest_chunk`.
    """

    def __init__(
        self, target: nn.Module, *, form: Form, embedding: int, chunk: int | None, hidden: Sequence[int]
    ) -> None:
        super().__init__()
        named = {name: p for name, p in target.named_parameters() if p.requires_grad}
        self.shapes = {name: p.shape for name, p in named.items()}
        sizes = [p.numel() for p in named.values()]
        if chunk is None:
            chunk = largest_chunk(sum(sizes), form=form, embedding=embedding, hidden=hidden)
        spreads = [float(p.detach().std(correction=0)) for p in named.values()]
        centers = [float(p.detach().mean()) if not s else 0.0 for p, s in zip(named.values(), spreads, strict=True)]
        self.embedding = nn.Parameter(torch.randn(embedding))
        self.generator = WeightGenerator(
            sizes,
            centers,
            [spread or CONSTANT_SPREAD for spread in spreads],
            form=form,
            embedding=embedding,
            chunk=min(chunk, sum(sizes)),
            hidden=hidden,
        )
        self.generator.scale_last_layer(self.embedding.detach())
        for p in named.values():
            p.requires_grad_(False).zero_()
        self.target = target

    @property
    def head(self) -> nn.Module:
        """Return the last layer of the network, whose weights are generated."""
        return self.target.get_submodule("head")

    def serving(self, units: Tensor) -> Tensor:
        """Return (D,) bool, the generated weights that matter for output units (C,) bool: all but rows of the head."""
        own = {id(p) for p in self.head.parameters()}
        parameters = dict(self.target.named_parameters())
        masks = []
        for name, shape in self.shapes.items():
            rows = units if id(parameters[name]) in own else torch.ones_like(units[:1])
            masks.append(rows.reshape(-1, *(1 for _ in shape[1:])).expand(shape).reshape(-1))
        return torch.cat(masks)

    def forward(self, x: Tensor) -> Output:
        generated = self.generator.tensors(self.embedding)
        weights = {name: piece.view(s) for (name, s), piece in zip(self.shapes.items(), generated, strict=True)}
        output: Output = functional_call(self.target, weights, (x,))
        return output


def largest_chunk(d: int, *, form: Form, embedding: int, hidden: Sequence[int]) -> int:
    """Return the largest chunk with which a generator and one embedding have no more weights than it generates, d.

    If no generator is so small, return the chunk of the one with the fewest weights.
    """
    width = hidden[-1] if hidden else 2 * embedding

    def weights(chunk: int) -> int:
        return _fixed(form, embedding, hidden) + (width + 1) * chunk + embedding * -(-d // chunk)

    fewest = max(1, round(math.sqrt(embedding * d / (width + 1))))
    low, high = min(fewest, d), d
    if weights(low) > d:
        return low
    while low < high:  # the number of weights rises from the smallest generator on, up to the rounding of K
        middle = (low + high + 1) // 2
        low, high = (middle, high) if weights(middle) <= d else (low, middle - 1)
    return low


def _fixed(form: Form, embedding: int, hidden: Sequence[int]) -> int:
    """Return the number of weights that do not depend on the chunk: those of hidden layers and of one embedding."""
    widths = [2 * embedding, *hidden]
    if form == "rnn":
        return embedding + 4 * widths[1] * (widths[0] + widths[1] + 2)
    return embedding + sum(b * (a + 1) for a, b in pairwise(widths))

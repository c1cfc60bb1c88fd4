"""Vision transformers in one form, whatever library their weights come from, so that one part fits all.

Letters: B samples, N tokens, D width of a token, H features, n tokens of a prefix.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clbench.core.errors import Refused
from clbench.models.image_input import ImageInput
from clbench.models.output import Output
from clbench.models.vit import Block, Prefix, through


@runtime_checkable
class Transformer(Protocol):
    """Describe what all vision transformers offer to parts.

    Attributes:
        blocks: A list of :class:`clbench.models.vit.Block`. A block maps tokens (B, N, D) to (B, N, D), and takes a
            ``prefix``: further keys and values (B or 1, n, D). Its layers are ``attention_norm``, ``attention`` (with
            ``query``, ``key``, ``value`` and ``output``), ``mlp_norm``, ``up`` and ``down``.
        norm: The norm after the last block.
        head: The last linear layer, from features to logits.
    """

    blocks: nn.ModuleList
    norm: nn.Module
    head: nn.Module

    def tokens(self, x: Tensor) -> Tensor:
        """Map images to tokens (B, N, D) with their positions, before the first block; a class token comes first."""

    def encode(self, tokens: Tensor, prefixes: Mapping[int, Prefix] | None = None) -> Tensor:
        """Pass tokens (B, N, D) through all blocks and the last norm.

        Args:
            tokens: The tokens, also with further ones before or behind them.
            prefixes: Number of a block, from 0 -> its prefix.
        """

    def pool(self, encoded: Tensor) -> Tensor:
        """Map encoded tokens (B, N, D) to features (B, H): from the class token if there is one, else from the mean."""

    def features(self, x: Tensor) -> Tensor:
        """Map images to features (B, H)."""


def is_transformer(model: object) -> bool:
    """Return whether a model offers what :class:`Transformer` describes."""
    blocks = getattr(model, "blocks", None)
    named = all(hasattr(model, name) for name in ("tokens", "encode", "pool", "features", "norm", "head"))
    return named and isinstance(blocks, nn.ModuleList) and all(isinstance(block, Block) for block in blocks)


def quick_gelu(x: Tensor) -> Tensor:
    """Return x σ(1.702 x), the activation of CLIP's first models."""
    return x * torch.sigmoid(1.702 * x)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"gelu": F.gelu, "quick_gelu": quick_gelu}


@dataclass(frozen=True)
class Form:
    """Describe a vision transformer.

    Args:
        width: D, width of a token.
        depth: Number of blocks.
        heads: Heads of the attention.
        hidden: Width of the two-layer networks.
        patch: Height and width of a patch in pixels.
        grid: Rows and columns of the positions.
        eps: What norms add to the variance.
        class_token: Whether there is a class token, from which features are read; otherwise from the mean of tokens.
        layer_scale: Whether blocks have factors for what they add.
        first_norm: Whether a norm comes before the first block, as in CLIP.
        projection: Width of a linear layer after pooling, as in CLIP; 0 for none.
        activation: Of the two-layer networks, a name of :data:`ACTIVATIONS`.
    """

    width: int
    depth: int
    heads: int
    hidden: int
    patch: int
    grid: tuple[int, int]
    eps: float = 1e-6
    class_token: bool = True
    layer_scale: bool = False
    first_norm: bool = False
    projection: int = 0
    activation: Literal["gelu", "quick_gelu"] = "gelu"


class VisionTransformer(nn.Module):
    """Compute logits by a vision transformer of a form, with a new last layer.

    Args:
        form: Its form.
        images: Converts samples to its input; ``images.size`` must be a multiple of the patch.
        n_outputs: Number of output units C.
    """

    def __init__(self, form: Form, images: ImageInput, n_outputs: int) -> None:
        super().__init__()
        self.form, self.images, self.patch = form, images, form.patch
        self.embedding = nn.Linear(3 * form.patch * form.patch, form.width)
        self.class_token = nn.Parameter(torch.zeros(form.width)) if form.class_token else None
        self.positions = nn.Parameter(torch.zeros(form.grid[0] * form.grid[1], form.width))  # (N, D)
        self.first_norm = nn.LayerNorm(form.width, eps=form.eps) if form.first_norm else None
        self.blocks = nn.ModuleList(
            Block(
                form.width,
                form.heads,
                form.hidden,
                eps=form.eps,
                layer_scale=form.layer_scale,
                activation=ACTIVATIONS[form.activation],
            )
            for _ in range(form.depth)
        )
        self.norm = nn.LayerNorm(form.width, eps=form.eps)
        self.projection = nn.Linear(form.width, form.projection, bias=False) if form.projection else None
        self.head = nn.Linear(form.projection or form.width, n_outputs)

    def tokens(self, x: Tensor) -> Tensor:
        """Map images (B, 1 or 3, height, width) in [0, 1] to tokens (B, N, D); the class token comes first."""
        p = self.patch
        x = self.images(x).unflatten(3, (-1, p)).unflatten(2, (-1, p))  # (B, 3, rows, p, columns, p)
        x = x.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)  # (B, N, 3 p p)
        tokens: Tensor = self.embedding(x) + self.positions
        if self.class_token is not None:
            tokens = torch.cat([self.class_token.expand(len(x), 1, -1), tokens], dim=1)
        return tokens if self.first_norm is None else self.first_norm(tokens)

    def encode(self, tokens: Tensor, prefixes: Mapping[int, Prefix] | None = None) -> Tensor:
        """Pass tokens (B, N, D) through all blocks and the last norm; see :class:`Transformer`."""
        return through(self, tokens, prefixes)

    def pool(self, encoded: Tensor) -> Tensor:
        """Map encoded tokens (B, N, D) to features (B, H)."""
        pooled = encoded.mean(1) if self.class_token is None else encoded[:, 0]
        return pooled if self.projection is None else self.projection(pooled)

    def features(self, x: Tensor) -> Tensor:
        """Map images to features (B, H)."""
        return self.pool(self.encode(self.tokens(x)))

    def forward(self, x: Tensor) -> Output:
        features = self.features(x)
        return Output(self.head(features), features)


def resized_positions(positions: Tensor, old: tuple[int, int], new: tuple[int, int], *, antialias: bool) -> Tensor:
    """Resize the positions (rows columns, D) of patches from one grid (rows, columns) to another, bicubically."""
    if old == new:
        return positions
    picture = positions.unflatten(0, old).permute(2, 0, 1)[None]
    resized = F.interpolate(picture, size=new, mode="bicubic", align_corners=False, antialias=antialias)
    return resized[0].permute(1, 2, 0).flatten(0, 1)


def built(
    form: Form, state: Mapping[str, Tensor], images: ImageInput, n_outputs: int, *, shape: tuple[int, ...],
    antialias: bool, what: str,
) -> VisionTransformer:  # fmt: skip
    """Build a vision transformer with given weights and a new head, for images of a shape.

    Args:
        form: Its form; ``grid`` is that of the weights.
        state: Its weights by name, without the head.
        images: Converts samples to its input.
        n_outputs: Number of output units C.
        shape: (channels, height, width) of a sample.
        antialias: Whether positions are resized with antialiasing, as the library of the weights does.
        what: Name of the weights, for messages.

    Raises:
        Refused: The patch does not divide the images, or weights are missing, unknown or of another shape.
    """
    size = (images.size, images.size) if images.size else shape[1:]
    if size[0] % form.patch or size[1] % form.patch:
        near = max(1, round(size[0] / form.patch)) * form.patch
        raise Refused(
            f"{what} has patches of {form.patch} pixels, which do not divide images of {size[0]}x{size[1]}; set "
            f"resize: {near} in the model",
            "resize",
        )
    grid = (size[0] // form.patch, size[1] // form.patch)
    state = dict(state)
    if "positions" in state:
        state["positions"] = resized_positions(state["positions"], form.grid, grid, antialias=antialias)
    model = VisionTransformer(Form(**{**vars(form), "grid": grid}), images, n_outputs)
    load_weights(model, state, what=what)
    return model


def load_weights(model: nn.Module, state: Mapping[str, Tensor], *, what: str, but: str = "head") -> None:
    """Load the weights of a network but for its head.

    Raises:
        Refused: The weights are not finite, or belong to another architecture; the message names a layer.
    """
    wanted = {name: t for name, t in model.state_dict().items() if not name.startswith(f"{but}.")}
    for name, tensor in state.items():
        if name not in wanted:
            raise Refused(
                f"{what} has weights {name!r}, which this architecture lacks; name the architecture that they belong to"
            )
        if tensor.shape != wanted[name].shape:
            raise Refused(
                f"{what}: {name} has shape {tuple(tensor.shape)}, and this architecture needs "
                f"{tuple(wanted[name].shape)}; name the architecture that the weights belong to"
            )
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise Refused(f"{what}: {name} holds values that are not finite; these weights cannot be used")
    for name in wanted:
        if name not in state and "num_batches_tracked" not in name:
            raise Refused(
                f"{what} has no weights {name!r}, which this architecture needs; name the architecture of the weights"
            )
    model.load_state_dict(
        {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()}, strict=False
    )

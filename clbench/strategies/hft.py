"""Half fine-tuning: in every round a random half of the weights is trained, and the other half is frozen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from clbench.core.parameters import Count
from clbench.core.rng import Generator
from clbench.core.search_space import Search
from clbench.strategies.part import EVERY_FAMILY, Part

if TYPE_CHECKING:
    from torch import Tensor

    from clbench.models.weight_groups import Layer, Place
    from clbench.training.batch import Batch
    from clbench.training.learner import ExperienceView, Learner

Mask = NDArray[np.bool_]
ALWAYS = ("head", "embedding")
"""Kinds of layers that are trained in every round."""
POOLS = {
    "query": "attention", "key": "attention", "value": "attention", "output": "attention",
    "up": "feed-forward", "gate": "feed-forward", "down": "feed-forward", "stem": "conv",
}  # fmt: skip
WIDE = ("fc", "norm", "other", "shortcut")
"""Kinds of layers that are halved over the whole model; all others are halved in each block."""


@dataclass(kw_only=True)
class HFT(Part):
    """Train ϑ and freeze ψ, θ = ϑ ∪ ψ drawn again in every round: ϑ <- ϑ - lr ∇_ϑ L(θ).

    The last layer and embeddings are always trained. Frozen weights keep their value, momentum and moments; weight
    decay does not change them.

    Args:
        granularity: The unit of the draw. ``category``: in each transformer block, a share of query, key, value and
            output, and of the feed-forward matrices; a share of the convolutions of each block; over the whole model, a
            share of the norm layers, of fully connected layers and of biases. ``layer``: whole blocks; the last one
            includes the norms after it. ``model``: layers of any kind. ``unit``: output units of every layer, with
            their biases. ``element``: single weights of every tensor.
        fraction: Share that is trained, in (0, 1]. A fractional number of tensors is rounded up or down at random, so
            that totals fit; 1 is plain training.
        redraw: The end of a round: with the ``experience``, with every pass (``epoch``), or ``never``.
        start_experience: The first experience with a frozen half, from 1. The default trains all weights in the first
            experience, instead of the pre-trained weights of the paper; 1 is the plain form.
        statistics: Running statistics of frozen norm layers: ``update`` lets them follow the batches, ``hold`` puts
            such layers into evaluation mode. Without a batch norm there is no difference.

    The trained share of the model's weights in the last draw is stored as ``state["trainable"]``.

    Source: Hui et al. 2024, arXiv 2404.18466 (category, layer and model level, half of them, a draw per task); the
    rules for networks without attention, units and elements are our choice.

    Expected:
        class: near naive; the whole head is trained and old classes end near zero, which is expected.
        task: near naive; the shared layers change less.
        domain: lower learning accuracy than naive; no gain in final accuracy is expected from random initial weights,
            as the published gain is with pre-trained language models.
        recurring: near naive; frozen weights are trained in another round.
    """

    random_stream: ClassVar[str] = "HFT"
    families: ClassVar[frozenset[str]] = EVERY_FAMILY

    granularity: Literal["category", "layer", "model", "unit", "element"] = "category"
    # published: 0.5 (Hui et al. 2024)
    fraction: Annotated[float, Field(gt=0, le=1), Search(0.1, 1)] = 0.5
    redraw: Literal["experience", "epoch", "never"] = "experience"
    start_experience: Count = 2
    statistics: Literal["update", "hold"] = "update"

    identity: ClassVar[Mapping[str, Any] | None] = {"fraction": 1}

    def __post_init__(self) -> None:
        if self.redraw != "never" or self.start_experience > 1:  # a need of this instance, not of the class
            self.__dict__["needs"] = frozenset({"boundaries"})

    def order(self, learner: Learner, experience: ExperienceView, epoch: int, order: Tensor) -> Tensor:
        begun = (experience.id or 0) + 1 >= self.start_experience
        due = {"experience": epoch == 0, "epoch": True, "never": "draws" not in self.state}[self.redraw]
        if begun and due:
            self._draw(learner)
        return order

    def batch(self, learner: Learner, batch: Batch) -> None:
        if learner.experience is None and "draws" not in self.state:  # with hidden boundaries no order is requested
            self._draw(learner)

    def _draw(self, learner: Learner) -> None:
        import torch

        from clbench.models import weight_groups

        layers = weight_groups.layers(learner.model, learner.slices)
        free = np.ones(learner.w.numel(), dtype=bool)
        _close(free, (place for layer in layers if layer.kind not in ALWAYS for place in layer.places))
        draw = _by_place if self.granularity in ("unit", "element") else _by_tensor
        draw(free, [layer for layer in layers if layer.kind not in ALWAYS], self.generator, self)
        held = torch.from_numpy(~free).to(learner.device)
        learner.freeze(f"hft/{self.twin}", None if free.all() else held)
        self.state["draws"] = self.state.get("draws", 0) + 1
        self.state["trainable"] = float(free.mean())
        if self.statistics == "hold":
            for layer in layers:
                still = not any(free[place.start : place.stop].any() for place in layer.places)
                for module in weight_groups.norms(learner.model, [layer]):
                    module.train(not still)


# --------------------------------------------------------------------------------------------------- what is drawn


def _by_tensor(free: Mask, layers: Sequence[Layer], generator: Generator, hft: HFT) -> None:
    """Unfreeze whole tensors: pools of sets of them, each pool halved separately."""
    pools: dict[str, dict[int, list[list[Place]]]] = {}
    for layer in _with_stray_norms(layers) if hft.granularity == "layer" else layers:
        for pool, block, places in _sets(layer, hft.granularity):
            pools.setdefault(pool, {}).setdefault(block, []).append(places)
    for blocks in pools.values():
        sets = list(blocks.values())
        if hft.granularity == "layer":  # a block is one set
            sets = [[[place for places in own for place in places]] for own in sets]
        for own, k in zip(sets, shares([len(own) for own in sets], hft.fraction, generator), strict=True):
            for i in generator.sample(len(own), k).tolist():
                _open(free, own[i])


def _with_stray_norms(layers: Sequence[Layer]) -> list[Layer]:
    """Join blocks that consist of norms only, such as a transformer's last, with the block before them.

    The first block is joined with the one after it. As separate blocks they would change the number of blocks.
    """
    blocks = list(dict.fromkeys(layer.block for layer in layers))
    whole = [block for block in blocks if any(layer.kind != "norm" for layer in layers if layer.block == block)]
    home = {block: max((w for w in whole if w <= block), default=min(whole, default=block)) for block in blocks}
    return [replace(layer, block=home[layer.block]) for layer in layers]


def _sets(layer: Layer, granularity: str) -> Iterable[tuple[str, int, list[Place]]]:
    """Yield pool, block in it, and the tensors of a layer that are drawn together."""
    if granularity == "layer":
        yield "layers", layer.block, list(layer.places)
    elif granularity == "model":
        yield "layers", 0, list(layer.places)
    elif layer.kind in ("fc", "conv", "stem", "shortcut"):
        block = 0 if layer.kind in WIDE else layer.block
        yield POOLS.get(layer.kind, layer.kind), block, [place for place in layer.places if not place.bias]
        biases = [place for place in layer.places if place.bias]
        if biases:
            yield "bias", 0, biases
    else:
        yield POOLS.get(layer.kind, layer.kind), 0 if layer.kind in WIDE else layer.block, list(layer.places)


def _by_place(free: Mask, layers: Sequence[Layer], generator: Generator, hft: HFT) -> None:
    """Unfreeze units of layers, equally for weights and bias, or elements of tensors."""
    for layer in layers:
        if hft.granularity == "element":
            for place in layer.places:
                k = shares([place.size], hft.fraction, generator)[0]
                free[place.start : place.stop] |= generator.subset(place.size, k)
            continue
        chosen: dict[int, NDArray[np.int64]] = {}  # by number of units: a layer's tensors share their units
        for place in layer.places:
            if place.units not in chosen:
                chosen[place.units] = generator.sample(place.units, shares([place.units], hft.fraction, generator)[0])
            free[place.start : place.stop].reshape(place.units, -1)[chosen[place.units]] = True


def shares(sizes: Sequence[int], fraction: float, generator: Generator) -> list[int]:
    """Return how many to draw from each of several sets: fraction · size, rounded up or down at random, as is their
    sum.

    It is systematic sampling in random order: every set has the correct expectation, and the sum is within one of
    fraction · Σ sizes. Of three matrices in every block, half are two in half of the blocks and one in the others.

    Args:
        sizes: (n,) sizes of the sets.
        fraction: Fraction in (0, 1].
        generator: Generator of the draws.
    """
    order = generator.permutation(len(sizes))
    ends = np.cumsum(fraction * np.array(sizes, dtype=np.float64)[order]) + generator.uniform(1)
    counts = np.diff(np.floor(ends + 1e-9), prepend=0.0).astype(np.int64)
    result = np.empty(len(sizes), dtype=np.int64)
    result[order] = np.minimum(counts, np.array(sizes)[order])
    return result.tolist()


def _open(free: Mask, places: Iterable[Place]) -> None:
    for place in places:
        free[place.start : place.stop] = True


def _close(free: Mask, places: Iterable[Place]) -> None:
    for place in places:
        free[place.start : place.stop] = False

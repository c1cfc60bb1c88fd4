"""Adapters: a frozen transformer with small trained networks beside those of its blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from clbench.core.parameters import Count, NonNegative
from clbench.core.search_space import Search
from clbench.strategies.part import Part

if TYPE_CHECKING:
    from torch import nn


@dataclass(kw_only=True)
class Adapters(Part):
    """Freeze a transformer, and train an adapter in each of its blocks, and the head.

    An adapter adds scale · (U ReLU(V x + v) + u) to the output of a block's two-layer network, for the tokens x that
    the block has before the norm of this network. U and u begin at 0, so that the network begins as it was.

    Args:
        width: Width of the layer between V and U.
        scale: The factor.

    It adds to any strategy that trains a network: ``adapters + er``. One set of adapters serves all experiences.

    Source: Chen et al. 2022, arXiv 2205.13535 (AdaptFormer), as used by Zhou et al. 2023, arXiv 2303.07338 (APER).

    Expected:
        class: above the strategy that it is added to if that one destroys pretrained features; alone near naive, since
            the head forgets.
        task: above naive fine-tuning of the same pretrained network, since less moves.
        domain: above naive fine-tuning of the same pretrained network.
        recurring: as the strategy that it is added to.
    """

    random_stream: ClassVar[str] = "Adapters"
    families: ClassVar[frozenset[str]] = frozenset({"classification", "regression"})

    # published: 64 (Chen et al. 2022)
    width: Annotated[Count, Search(4, 128, log=True)] = 64
    # published: 0.1 (Chen et al. 2022)
    scale: Annotated[NonNegative, Search(0.01, 10, log=True)] = 0.1

    needs: ClassVar[frozenset[str]] = frozenset({"transformer"})
    owns: ClassVar[frozenset[str]] = frozenset({"adapters"})
    conflicts: ClassVar[dict[str, str]] = {
        "Binary": "the first keeps the network frozen, and the second learns distributions of its weights",
    }

    def build(self, model: nn.Module, shape: tuple[int, ...], n_outputs: int) -> nn.Module:
        from clbench.models.adapter import add_adapters
        from clbench.models.trained_weights import train_only
        from clbench.models.transformer import is_transformer

        if is_transformer(model):  # otherwise the cell is skipped
            train_only(model, "head")
            add_adapters(model, self.width, self.scale)
        return model

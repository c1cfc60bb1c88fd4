"""View-batch: fewer samples per batch, each in several views, so that a sample recurs after a longer pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from clbench.core.parameters import Count, NonNegative
from clbench.core.search_space import Search
from clbench.core.uploads import sent
from clbench.strategies.part import Part

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from clbench.data.augment import Augmenter
    from clbench.training.batch import Batch
    from clbench.training.learner import ExperienceView, Learner, Output


@dataclass(kw_only=True)
class ViewBatch(Part):
    """Replace a batch of B samples by B / V samples in V views; a full pass over an experience takes V of the
    benchmark's.

    In every pass of N samples, the loop learns the next N entries of a list that holds each sample V times in a row, in
    the order of the pass in which the list began. The number of steps stays the same, and V times as many steps lie
    between two visits of a sample. View 1 is the benchmark's; the others are augmented further by ``strong``. The loss
    gains a term, over all pairs of a view j > 1 and view 1 of the same visit in the same batch,

        strength · mean over pairs of KL(p_1 || p_j),  p the softmax over the classes that compete, p_1 a constant

    Samples merged from the replay buffer into an experience are repeated like its own; samples drawn for a single step
    are not. It needs visible boundaries: the list consists of all samples of an experience.

    Args:
        views: V; 1 has no effect.
        strong: Augmentation of views 2 to V after the benchmark's, a name as in ``training.augment`` (with ``_``
            instead of ``-``, so that it needs no quotes in text); ``none`` leaves it out.
        strength: Factor of the divergence, at least 0.
        start_epoch: The benchmark's pass over each experience, from 0, from which the divergence is added.
        over_classes: ``sum`` of the divergence's terms, or their ``mean`` over the classes that compete.

    The number of passes should be a multiple of V: with fewer than V, some samples are never learned; in single-pass
    streams all but 1 / V of them. The batch size should be a multiple too: if a visit falls into two batches, views in
    the second have no view 1. The replay buffer is offered every sample once in a full pass, with view 1.

    Source: Kang et al. 2025, "Do Your Best and Get Enough Rest for Continual Learning", arXiv 2503.18371, and its code.
    There, a visit continues as long as labels are equal; permutations do not depend on the run or the experience;
    samples beyond a multiple of 256 are left out; and the divergence is a mean over classes too.

    Expected:
        class: above the combined strategy with many passes, most clearly with icarl; alone it is as naive, zero on old
            classes.
        task: above the combined strategy by some points with many passes; below it in one pass.
        domain: above the combined strategy with many passes; below it in one pass, which leaves most samples unlearned.
        recurring: near the combined strategy if samples seldom recur; compare with strong augmentation in both.
    """

    random_stream: ClassVar[str] = "ViewBatch"

    views: Count = 4
    strong: str | None = "auto_augment"
    # published: 1 (Kang et al. 2025)
    strength: Annotated[NonNegative, Search(0.1, 10, log=True)] = 1.0
    start_epoch: Annotated[int, Field(ge=0)] = 5
    over_classes: Literal["sum", "mean"] = "sum"

    owns: ClassVar[frozenset[str]] = frozenset({"order"})
    conflicts: ClassVar[dict[str, str]] = {"ProxyContrast": "both define the views of a sample"}
    identity: ClassVar[Mapping[str, Any] | None] = {"views": 1}

    def __post_init__(self) -> None:
        strong = self._augmenter()  # refuses an unknown name before anything runs
        if self.views > 1:  # its list consists of all samples of an experience
            self.__dict__["needs"] = self.needs | {"boundaries"} | ({"augmentation"} if strong is not None else set())

    def _augmenter(self) -> Augmenter | None:
        from clbench.data.augment import augmenter

        name = (self.strong or "none").replace("_", "-")
        return None if name == "none" else augmenter(name)

    # ------------------------------------------------------------------ selection of samples

    def order(self, learner: Learner, experience: ExperienceView, epoch: int, order: Tensor) -> Tensor:
        if self.views == 1:
            return order
        if epoch % self.views == 0:
            self.state["order"] = order
        self.state.update(epoch=epoch, own=len(experience), at=0)
        self._order_on_host()  # here, so that no step waits for it
        import torch

        begin = self._begin()
        places = torch.arange(begin, begin + len(order), device=order.device)
        rows: Tensor = self.state["order"][places // self.views]
        return rows

    def _begin(self) -> int:
        """Return where the running pass begins in the list of all views."""
        return int(self.state["epoch"] % self.views * len(self.state["order"]))

    def _order_on_host(self) -> NDArray[np.int64]:
        """Return the order of samples on the host, fetched once."""
        order = self.state["order"]
        known = self.__dict__.get("_known_order")
        if known is None or known[0] is not order:
            known = self.__dict__["_known_order"] = (order, order.cpu().numpy())
        return np.asarray(known[1])

    def batch(self, learner: Learner, batch: Batch) -> None:

        if self.views == 1:
            return
        state, order = self.state, self._order_on_host()
        at = state["at"] - (batch.size if batch.repetition else 0)  # another update on the same places
        place = self._begin() + np.arange(at, min(at + learner.batch_size, len(order)))
        state["at"] = at + len(place)
        visit, view = place // self.views, place % self.views
        own = order[visit] < state["own"]
        spans = [batch.stream.span] if len(order) == state["own"] else [s.span for s in batch.sources[:2]]
        if [s.stop - s.start for s in spans[:1]] != [int(own.sum())]:
            raise AssertionError("the batch holds other samples than the order of view_batch")
        batch.first_pass = state["epoch"] < self.views
        batch.offered = np.flatnonzero(view[own] == 0)
        visit, view = (
            np.concatenate([v[own], v[~own]]) for v in (visit, view)
        )  # merged samples are after the stream's
        rows = np.concatenate([np.arange(s.start, s.stop) for s in spans])  # in the batch
        pieces = [rows[view > 0], *_pairs(rows, visit, view)]
        numbers = sent(np.concatenate(pieces), learner.device)
        later_views, first, later = numbers.split([len(piece) for piece in pieces])
        batch.keep(self, first=first, later=later)
        strong = self._augmenter()
        if strong is not None:
            self._strengthen(batch, later_views, strong)

    def _strengthen(self, batch: Batch, rows: Tensor, strong: Augmenter) -> None:
        import torch

        seed = int(self.generator.words(1)[0]) >> 1

        def change(_: Tensor, shown: Tensor) -> Tensor:
            made = shown.clone()
            made[rows] = strong(shown[rows], torch.Generator().manual_seed(seed))
            return made

        if len(rows):
            batch.augment(change)

    def self_checks(self, learner: Learner) -> list[str]:
        passes = self.state.get("epoch", 0) + 1
        if passes >= self.views:
            return []
        return [
            f"learned {passes} / {self.views} of the samples of each experience: {self.views} views take as many "
            f"passes (training.epochs), and there {'was one' if passes == 1 else f'were {passes}'}"
        ]

    # ------------------------------------------------------------------ divergence between views

    def loss(self, learner: Learner, batch: Batch, output: Output) -> Tensor | None:
        if not batch.kept(self) or not self.strength or self.state["epoch"] < self.start_epoch:
            return None
        first, later = (batch.kept(self)[name] for name in ("first", "later"))
        if not len(later):
            return None
        logits = output.logits
        competes = batch.class_mask.expanded(logits)
        each = divergence(logits[first].detach(), logits[later], competes[later])  # (pairs,)
        if self.over_classes == "mean":
            each = each / competes[later].sum(1)
        return self.strength * each.mean()


def _pairs(
    rows: NDArray[np.int64], visit: NDArray[np.int64], view: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the samples of a batch that are views 1, and the further views of the same visits, (pairs,) each.

    Args:
        rows: (n,) places in the batch.
        visit: (n,) visit of each.
        view: (n,) view of each, from 0.
    """
    number = np.unique(visit, return_inverse=True)[1]
    first = np.full_like(rows, -1)  # by visit
    first[number[view == 0]] = rows[view == 0]
    first = first[number]
    paired = (view > 0) & (first >= 0)
    return first[paired], rows[paired]


def divergence(teacher: Tensor, pupil: Tensor, competes: Tensor) -> Tensor:
    """Return KL(softmax(teacher) || softmax(pupil)) over the classes that compete, (n, C) bool, from logits (n, C):
    (n,)."""
    import torch

    p, q = (
        logits.masked_fill(~competes, -torch.inf).log_softmax(1).masked_fill(~competes, 0.0)
        for logits in (teacher, pupil)
    )
    return (p.exp() * competes * (p - q)).sum(1)

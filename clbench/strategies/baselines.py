"""Bounds and controls: naive fine-tuning and a frozen model below, and two that break the rules of the stream above."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from clbench.strategies.part import EVERY_FAMILY, Part

if TYPE_CHECKING:
    from clbench.training.batch import Batch
    from clbench.training.learner import Learner


@dataclass(kw_only=True)
class Merged(Part):
    """Sees the whole stream as one experience: the same rows and epochs, hence the same number of updates."""

    random_stream: ClassVar[str] = "Merged"
    families: ClassVar[frozenset[str]] = EVERY_FAMILY

    sees: ClassVar[str] = "merged"


@dataclass(kw_only=True)
class Accumulated(Part):
    """Sees in each experience all rows of the experiences so far, each once."""

    random_stream: ClassVar[str] = "Accumulated"
    families: ClassVar[frozenset[str]] = EVERY_FAMILY

    sees: ClassVar[str] = "accumulated"


@dataclass(kw_only=True)
class Frozen(Part):
    """Learn the first experience and nothing after it; no step is taken from its end on.

    The control for plasticity: a method that does not beat it in average accuracy has gained nothing by going on, and
    that it forgets next to nothing shows how little forgetting says alone. What it does lose is lost to output units
    that were never trained, and compete as soon as their class has been seen (``stream.output: seen``).

    Source: a common control; no paper introduced it.

    Expected:
        class: keeps the first classes and has next to nothing on all others: near 1 / experiences.
        task: high on the first task, near chance on the others unless features transfer.
        domain: high on the first domain and on those that resemble it; hard to beat where domains are close.
        recurring: stays at what the first experience taught, while naive goes on gaining.
    """

    random_stream: ClassVar[str] = "Frozen"
    families: ClassVar[frozenset[str]] = EVERY_FAMILY

    needs: ClassVar[frozenset[str]] = frozenset({"boundaries"})

    def batch(self, learner: Learner, batch: Batch) -> None:
        if learner.experience:
            batch.skip = True


def naive() -> list[Part]:
    """Plain training on the stream as it comes; the lower bound.

    Source: a common bound, also called fine-tuning or SGD; no paper introduced it.

    Expected:
        class: near 1 / experiences at the end: perfect on the last classes, zero on all earlier ones.
        task: far above chance, yet earlier tasks lose much of what they had.
        domain: earlier domains lose what they do not share with the latest.
        recurring: grows over a long stream; how far naive gets is the point of such streams.
        drift: loses accuracy at a change of labels and relearns; no weak bound there, since it rehearses nothing old.
    """
    return []


def joint() -> list[Part]:
    """Training on all rows of the stream at once, shuffled; the usual upper bound.

    The same rows and epochs, hence the same number of updates, from the same initial weights. There is one experience,
    so metrics that need a switch are undefined.

    Source: a common bound, also called offline or multi-task training; no paper introduced it.

    Expected:
        class: the top of the board; only more training or data would do better.
        task: the top of the board, though separate heads leave little between it and good replay.
        domain: the top of the board; methods near it in few epochs are not above it, but better trained.
        recurring: the top of the board; naive comes nearer the more often classes come back.
    """
    return [Merged()]


def cumulative() -> list[Part]:
    """Going on from the last weights on all rows so far; an upper bound that visits the stream in order.

    Later experiences take more steps, since they hold more rows; memory is not used.

    Source: a common bound; De Lange et al. 2023, arXiv 2205.13452, measure its stability gap.

    Expected:
        class: near joint at every end, with a dip of old classes after each switch although nothing is missing.
        task: near joint at every end, with small dips.
        domain: near joint at every end, with dips where domains differ much.
        recurring: near joint; rows of earlier visits stay, so that it sees them more often than joint does.
    """
    return [Accumulated()]

"""Baselines: naive fine-tuning and a frozen model as lower bounds, two upper bounds that violate the stream's
constraints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from clbench.strategies.part import EVERY_FAMILY, Part

if TYPE_CHECKING:
    from clbench.training.batch import Batch
    from clbench.training.learner import Learner


@dataclass(kw_only=True)
class Merged(Part):
    """Merge the whole stream into one experience: the same samples and epochs, hence the same number of updates."""

    random_stream: ClassVar[str] = "Merged"
    families: ClassVar[frozenset[str]] = EVERY_FAMILY

    sees: ClassVar[str] = "merged"


@dataclass(kw_only=True)
class Accumulated(Part):
    """Give each experience all samples of the experiences so far, each once."""

    random_stream: ClassVar[str] = "Accumulated"
    families: ClassVar[frozenset[str]] = EVERY_FAMILY

    sees: ClassVar[str] = "accumulated"


@dataclass(kw_only=True)
class Frozen(Part):
    """Learn the first experience and nothing after it; no step is taken after its end.

    It is the control for plasticity: a method with lower average accuracy has gained nothing from later experiences. It
    forgets almost nothing, which shows how little forgetting means alone. Its losses are caused by untrained output
    units, which compete as soon as their class has been seen (``stream.output: seen``).

    Source: a common control; no paper introduced it.

    Expected:
        class: keeps the first classes and has almost no accuracy on all others: near 1 / experiences.
        task: high on the first task, near chance on the others unless features transfer.
        domain: high on the first domain and on similar ones; hard to beat if domains are similar.
        recurring: stays at the level of the first experience, while naive continues to improve.
    """

    random_stream: ClassVar[str] = "Frozen"
    families: ClassVar[frozenset[str]] = EVERY_FAMILY

    needs: ClassVar[frozenset[str]] = frozenset({"boundaries"})

    def batch(self, learner: Learner, batch: Batch) -> None:
        if learner.experience:
            batch.skip = True


def naive() -> list[Part]:
    """Train on the stream without any measure against forgetting; the lower bound.

    Source: a common baseline, also called fine-tuning or SGD; no paper introduced it.

    Expected:
        class: near 1 / experiences at the end: perfect on the last classes, zero on all earlier ones.
        task: far above chance, but earlier tasks lose much accuracy.
        domain: earlier domains lose what they do not share with the latest one.
        recurring: improves over a long stream; how far is the question of such streams.
        drift: loses accuracy when labels change and relearns; a strong baseline there, since it rehearses no old
            labels.
    """
    return []


def joint() -> list[Part]:
    """Train on all samples of the stream at once, shuffled; the usual upper bound.

    It has the same samples and epochs, hence the same number of updates, from the same initial weights. There is one
    experience, so metrics that need a switch are undefined.

    Source: a common upper bound, also called offline or multi-task training; no paper introduced it.

    Expected:
        class: the highest accuracy on the leaderboard; only more training or data would improve it.
        task: the highest accuracy on the leaderboard, though with separate heads good replay is close.
        domain: the highest accuracy on the leaderboard; methods that exceed it with few epochs are better trained.
        recurring: the highest accuracy on the leaderboard; the more often classes recur, the closer naive comes.
    """
    return [Merged()]


def cumulative() -> list[Part]:
    """Train on all samples so far, from the last weights; an upper bound that visits the stream in order.

    Later experiences take more steps, since they have more samples. The replay buffer is not used.

    Source: a common upper bound; De Lange et al. 2023, arXiv 2205.13452, measure its stability gap.

    Expected:
        class: near joint at every end, with a dip of old classes after each switch although all data is available.
        task: near joint at every end, with small dips.
        domain: near joint at every end, with dips if domains differ much.
        recurring: near joint; samples of earlier visits stay, so that it sees them more often than joint does.
    """
    return [Accumulated()]

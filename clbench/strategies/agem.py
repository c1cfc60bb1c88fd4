"""A-GEM: if the step would raise the loss on the replay buffer, the gradient is projected so that it does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from clbench.core.parameters import Count
from clbench.strategies.part import BENDS, EVERY_FAMILY, Part

if TYPE_CHECKING:
    from clbench.training.batch import Batch
    from clbench.training.learner import Learner


@dataclass(kw_only=True)
class AGEM(Part):
    """Project the gradient: g <- g - (g·r / r·r) r if g·r < 0, where r is the gradient on samples of earlier
    experiences.

    Frozen weights (by another part, or heads that no sample of the batch may use) are left out of both vectors, so that
    the step that is really taken satisfies the constraint.

    Args:
        rows: Samples drawn for r at every step; ``None`` draws as many as the batch has.

    The paper steps with plain SGD; with momentum or Adam after the projection it is another method. If boundaries are
    hidden, samples of the running experience may be drawn too.

    Source: Chaudhry et al. 2019, arXiv 1812.00420, eq. 11. The replay buffer is that of the run, without a quota per
    task.

    Expected:
        class: near naive to slightly above it, far below er; one constraint on the mean of all old samples does not
            protect single old classes, so zero accuracy on them is expected.
        task: above naive, near er.
        domain: between naive and er; below gem, which has a constraint for every past experience.
        recurring: between naive and er if few classes occur at a time; its lead is small if the stream itself
            rehearses.
    """

    random_stream: ClassVar[str] = "AGEM"
    families: ClassVar[frozenset[str]] = EVERY_FAMILY

    rows: Count | None = None

    needs: ClassVar[frozenset[str]] = frozenset({"memory"})
    owns: ClassVar[frozenset[str]] = frozenset({"projection"})
    gradient_order: ClassVar[int] = BENDS
    protocol: ClassVar[Mapping[str, Any]] = {"training.optimizer": "sgd", "training.momentum": 0}

    def gradient(self, learner: Learner, batch: Batch) -> None:
        memory = learner.memory
        if not memory.has_earlier(learner.experience):
            return
        draw = memory.draw(self.rows or batch.size, before=learner.experience, generator=self.generator)
        reference = learner.side_work.gradient(learner.batch(draw.index))
        held = learner.frozen
        if held is not None:
            reference.masked_fill_(held, 0.0)  # the step moves only along the other weights, so agreement counts there
        dot = learner.g @ reference
        share = dot.clamp(max=0) / (reference @ reference).clamp(min=1e-30)
        learner.g.sub_(share * reference)

"""A-GEM: where the step would raise the loss on memory, project the gradient onto the plane where it does not."""

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
    """g <- g - (g·r / r·r) r where g·r < 0, r being the gradient on a draw of rows of earlier experiences.

    Weights that are held still (by another part, or heads that no row of the batch may use) are no part of either
    vector, so that the step that is really taken keeps the constraint.

    Args:
        rows: Rows drawn for r at every step; ``None`` draws as many as the batch has.

    The paper steps with plain SGD; momentum or Adam after the projection is another method. Where boundaries are
    hidden, rows of the running experience may be drawn too.

    Expected:
        class: near naive to a little above it, far below er; one constraint on the mean of all old rows does not hold
            single old classes, so zero accuracy on them is what it does there.
        task: above naive, near er.
        domain: between naive and er; below gem, which holds every past experience by itself.
        recurring: between naive and er where a few classes are shown at a time; little is left of its lead where the
            stream itself rehearses.

    Source: Chaudhry et al. 2019, arXiv 1812.00420, eq. 11. Memory is the run's, not one quota per task.
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
            reference.masked_fill_(held, 0.0)  # the step moves along the others alone, so agreement counts there
        dot = learner.g @ reference
        share = dot.clamp(max=0) / (reference @ reference).clamp(min=1e-30)
        learner.g.sub_(share * reference)

"""Several updates on each batch of the stream: always as many, or more from the moment when plasticity is stable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from clbench.core.errors import Refused
from clbench.core.parameters import Count, NonNegative
from clbench.core.search_space import Search
from clbench.strategies.part import EVERY_FAMILY, Part

if TYPE_CHECKING:
    from clbench.training.batch import Batch
    from clbench.training.learner import Learner


@dataclass(kw_only=True)
class Repeats(Part):
    """Make several updates on each batch of the stream, each with new draws from the replay buffer and new
    augmentation.

    Args:
        low: Updates per batch before a plateau, if ``when`` is ``plateau``.
        high: Updates per batch: of every batch if ``when`` is ``fixed``, and after a plateau if it is ``plateau``.
        when: ``fixed``, or ``plateau``: from the moment when the fraction of active units is stable, for the rest of
            the stream.
        every: Iterations between two measurements of the fraction of active units.
        gap: The largest difference between two measurements one after the other that is a plateau.

    The fraction of active units is measured on the batch's samples of the stream, before the first iteration and after
    every ``every`` ones, in training mode and without a trace. An iteration is one batch of the stream however many
    updates it has: the replay buffer is offered its samples once, evaluation and learning rate schedules count
    iterations, and ``cost.steps`` counts updates.

    Source: Ma et al. 2024, arXiv 2310.07418 (adaptive replay ratio): in reinforcement learning, from one update on
    every second step of the environment to two on every step. Batches of a stream in place of steps, and iterations in
    place of episodes, are our use of it.

    Expected:
        class: alone still near 1 / experiences; ``er + repeats`` is above er where one update per batch learns too
            little.
        task: higher learning accuracy in one pass, and more forgetting without a replay buffer.
        domain: higher learning accuracy in one pass, and more forgetting without a replay buffer.
        recurring: learns faster, as with a higher learning rate; helps in one pass over a short stream.
    """

    random_stream: ClassVar[str] = "Repeats"
    families: ClassVar[frozenset[str]] = EVERY_FAMILY

    # published: 0.5 and 2 updates per step of the environment, 50 episodes and 0.001 (Ma et al. 2024)
    low: Count = 1
    high: Count = 4
    when: Literal["fixed", "plateau"] = "fixed"
    every: Count = 50
    gap: Annotated[NonNegative, Search(1e-4, 0.1, log=True, when=("when", "plateau"))] = 0.001

    owns: ClassVar[frozenset[str]] = frozenset({"number of updates per batch"})
    identity: ClassVar[Mapping[str, Any] | None] = {"low": 1, "high": 1}

    def __post_init__(self) -> None:
        if self.high < self.low:
            raise Refused(
                f"repeats: high = {self.high} is below low = {self.low}; write a higher one, or low={self.high}"
            )

    def batch(self, learner: Learner, batch: Batch) -> None:
        if batch.repetition:
            return
        if self.when == "plateau" and "raised" not in self.state:
            self._look_for_plateau(learner, batch)
        raised = self.when == "fixed" or "raised" in self.state
        batch.repeat = self.high if raised else self.low

    def _look_for_plateau(self, learner: Learner, batch: Batch) -> None:
        """Count the iteration, and at every ``every``-th compare the fraction of active units with that before."""
        made = self.state.get("iterations", 0)  # before this one
        self.state["iterations"] = made + 1
        if made % self.every:
            return
        share, last = self._active_share(learner, batch), self.state.get("share")
        self.state["share"] = share
        if last is not None and abs(share - last) <= self.gap:
            self.state["raised"] = made

    def _active_share(self, learner: Learner, batch: Batch) -> float:
        from clbench.models.activations import active_share, watched_activations

        own = batch.stream.span
        x = learner.raw(batch.index[:, own])  # the batch's own inputs are made after all parts have added samples
        with watched_activations(learner.model) as found:
            learner.side_work.forward(x, task=batch.revealed_task(own), training=True)
        return active_share(found)

    def self_checks(self, learner: Learner) -> list[str]:
        share = self.state.get("share")
        if self.when == "fixed" or "raised" in self.state or share is None or self.high == self.low:
            return []
        if share != share:
            return ["found no activation functions in the model, whose active units it could measure"]
        return [
            f"found no plateau: the fraction of active units, last {share:.3g}, differed by more than {self.gap:g} "
            f"between all measurements, {self.every} iterations apart"
        ]

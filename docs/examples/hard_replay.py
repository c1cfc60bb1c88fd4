"""Example: a loss per rehearsed sample. Rehearsed samples with a large loss count more."""

from dataclasses import dataclass
from typing import ClassVar

import clbench
from clbench.core.parameters import NonNegative
from clbench.training.objective import over_sources, task_loss


@dataclass(kw_only=True)
class HardReplay(clbench.Part):
    """Weigh every rehearsed sample by its loss to the power ``power``; the weights have mean 1.

    Args:
        power: How much a large loss counts, at least 0; with 0 all rehearsed samples count equally.
    """

    power: NonNegative = 1.0

    identity: ClassVar = {"power": 0}

    def objective(self, learner, batch, output):
        if not self.power or len(batch.sources) == 1:
            return task_loss(output.logits, batch)
        losses = batch.family.loss(output.logits, batch.target, batch.class_mask)  # (B,) over classes that compete
        weights = losses.new_ones(len(batch))  # (B,)
        for source in batch.sources[1:]:  # the first source is the stream
            hard = losses[source.span].detach().clamp(min=1e-6) ** self.power  # no gradient through weights
            weights[source.span] = hard / hard.mean()
        return over_sources(weights * losses, batch)  # with the weights of the sources that er has chosen

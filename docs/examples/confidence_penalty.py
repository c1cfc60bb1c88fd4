"""Example: a term over the classes that compete. Predictions that are too sure are penalised."""

from dataclasses import dataclass
from typing import ClassVar

import clbench
from clbench.core.parameters import NonNegative


@dataclass(kw_only=True)
class ConfidencePenalty(clbench.Part):
    """Add -strength · H(p), where H is the entropy of the prediction p over the classes that compete.

    Args:
        strength: Weight of the entropy, at least 0.

    Source: Pereyra et al. 2017, arXiv 1701.06548, equation 2.
    """

    strength: NonNegative = 0.1

    identity: ClassVar = {"strength": 0}

    def loss(self, learner, batch, output):
        if not self.strength:
            return None  # adds nothing
        mask = batch.class_mask  # which classes compete on each sample
        log_p = mask.masked(output.logits).log_softmax(1)  # (B, C), -inf where a class does not compete
        entropy = -(log_p.exp() * mask.masked(log_p, 0.0)).sum(1)  # (B,)
        return -self.strength * entropy.mean()

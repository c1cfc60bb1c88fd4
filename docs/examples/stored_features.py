"""Example: side tensors kept with the replay buffer. Features of rehearsed samples stay near what they were."""

from dataclasses import dataclass
from typing import ClassVar

import clbench
from clbench.core.parameters import NonNegative


@dataclass(kw_only=True)
class StoredFeatures(clbench.Part):
    """Add strength · mean (h(x) - h')², where h' are the features of a rehearsed sample when it was met.

    Args:
        strength: Weight of the distance, at least 0.
    """

    strength: NonNegative = 0.1

    identity: ClassVar = {"strength": 0}

    def store(self, learner, batch, output):
        """Keep the features (samples of the stream, H) with the samples that the replay buffer takes."""
        return {"features": output.features[batch.stream.span]} if self.strength else {}

    def loss(self, learner, batch, output):
        drawn = [source for source in batch.sources[1:] if "features" in source.side]
        if not drawn or not self.strength:
            return None
        distances = [(output.features[s.span] - s.side["features"]).square().mean() for s in drawn]
        return self.strength * sum(distances)

"""Stand in for the evaluator in runs that record nothing."""

from __future__ import annotations

from clbench.core.record import Kind


class NoEvaluations:
    """Make no evaluation wherever the training loop asks for one."""

    def look(self, learner: object, kind: Kind, experience: int, step: int) -> None:
        """Make no evaluation."""

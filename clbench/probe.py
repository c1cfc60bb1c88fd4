"""Why accuracy falls at a switch: the gradient of a step, taken apart into plasticity and stability.

Plasticity is the gradient of the objective on the stream's rows with their coefficient; stability is whatever else is
in the gradient that the optimiser is given: rehearsed rows, distillation, penalties, projections. That the two add up
holds for every strategy that leaves the objective to the family of tasks.

Source: De Lange et al. 2023, arXiv 2205.13452, section 5; their code takes the norms in evaluation mode, here both are
those of the very step (same dropout, same batch statistics), so that they add up to the update.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from clbench.batch import Batch
from clbench.models.output import Output
from clbench.objective import classification_loss

if TYPE_CHECKING:
    from clbench.side_work import SideWork

COLUMNS = ("plasticity", "stability", "update", "cosine", "plasticity_share", "stability_share")
"""Norms of the two and of their sum; the cosine between the two; the share each has of the sum's squared norm."""


class Probe:
    """Takes notes at every ``every``-th step; changes nothing.

    Args:
        every: Optimiser steps of the stream between probes, at least 1.
    """

    def __init__(self, every: int) -> None:
        self.every = every
        self.steps: list[int] = []
        self.rows: list[Tensor] = []  # (6,) each
        self._plastic: Tensor | None = None

    def begin(self, learner: SideWork, batch: Batch, output: Output, step: int) -> bool:
        """Before the step's backward pass: note the plasticity gradient; whether this step is probed."""
        if (step - 1) % self.every or (learner.hooks is not None and learner.hooks.objective):
            return False
        loss = classification_loss(output.logits, batch, only=batch.stream)
        parts = torch.autograd.grad(loss, learner.flat.parameters, retain_graph=True, materialize_grads=True)
        self._plastic = learner.flat.concatenate(parts)
        self.steps.append(step)
        learner.cost.extra_backward_rows += len(batch.stream)
        return True

    def end(self, learner: SideWork) -> None:
        """After the last part has bent the gradient: note what is left, and how the two relate."""
        assert self._plastic is not None
        plastic, total = self._plastic, learner.g
        stable = total - plastic
        norms = torch.stack([plastic.norm(), stable.norm(), total.norm()])
        cosine = (plastic @ stable) / (norms[0] * norms[1])  # NaN where one of them is 0
        shares = torch.stack([plastic @ total, stable @ total]) / (total @ total)
        self.rows.append(torch.cat([norms, cosine[None], shares]))

    def columns(self) -> Tensor:
        """(J, 6) float64, see :data:`COLUMNS`."""
        return (
            torch.stack([row.cpu() for row in self.rows]).double()
            if self.rows
            else torch.zeros(0, len(COLUMNS), dtype=torch.float64)
        )

    @property
    def state(self) -> dict[str, object]:
        """What was noted so far."""
        return {"steps": list(self.steps), "rows": [row.cpu().clone() for row in self.rows]}

    @state.setter
    def state(self, state: dict[str, list[Any]]) -> None:
        self.steps, self.rows = list(state["steps"]), [row.clone() for row in state["rows"]]

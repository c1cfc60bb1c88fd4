"""Why accuracy falls when the task changes: the gradient of a step as a sum of plasticity and stability.

Plasticity is the gradient of the objective on the stream's samples with their coefficient; stability is the rest of the
gradient that the optimiser gets: rehearsed samples, distillation, penalties, projections. A part that replaces the
objective defines its plasticity itself (:meth:`clbench.strategies.part.Part.plasticity`); if it does not, its steps are
left out.

Source: De Lange et al. 2023, arXiv 2205.13452, section 5. Their code computes the norms in evaluation mode; here both
are those of the step itself (same dropout, same batch statistics), so that they add up to the update.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from clbench.benchmark import evaluation_schedules
from clbench.models.output import Output
from clbench.training.batch import Batch
from clbench.training.objective import task_loss

if TYPE_CHECKING:
    from clbench.training.learner import Learner

COLUMNS = ("plasticity", "stability", "update", "cosine", "plasticity_share", "stability_share")
"""Norms of the two and of their sum; the cosine between the two; the share of each in the sum's squared norm."""


class Probe:
    """Record gradient norms at selected steps; change nothing.

    Args:
        when: Optimiser steps between probes, from the first, at least 1; or a schedule, see
            ``clbench.benchmark.evaluation_schedules.probing``, whose iterations since a switch include the step that is
            about to be made.
    """

    def __init__(self, when: int | str | Mapping[str, Any]) -> None:
        self._due = (
            (lambda step, _: (step - 1) % when == 0) if isinstance(when, int) else evaluation_schedules.due(when, 0)
        )
        self._running, self._since = -1, 0
        self.steps: list[int] = []
        self.rows: list[Tensor] = []  # (6,) each
        self._plastic: Tensor | None = None

    def enter(self, experience: int) -> None:
        """Note that an experience begins or, from a snapshot, continues; also if its boundary is hidden from
        training."""
        if experience != self._running:
            self._running, self._since = experience, 0

    def begin(self, learner: Learner, batch: Batch, output: Output, step: int) -> bool:
        """Record the plasticity gradient before the step's backward pass; tell whether this step is probed."""
        if batch.repetition:
            return False
        self._since += 1
        if not self._due(step, self._since):
            return False
        began = perf_counter()
        loss = _plasticity(learner, batch, output)
        if loss is None:
            return False
        parts = torch.autograd.grad(loss, learner._flat.parameters, retain_graph=True, materialize_grads=True)
        self._plastic = learner._flat.concatenate(parts)
        self.steps.append(step)
        self._book(learner, len(batch.stream), began)
        return True

    def end(self, learner: Learner) -> None:
        """Record the rest of the gradient, after the last part has changed it, and how the two relate."""
        assert self._plastic is not None
        began = perf_counter()
        plastic, total = self._plastic, learner.g
        stable = total - plastic
        norms = torch.stack([plastic.norm(), stable.norm(), total.norm()])
        cosine = (plastic @ stable) / (norms[0] * norms[1])  # NaN if one of them is 0
        shares = torch.stack([plastic @ total, stable @ total]) / (total @ total)
        self.rows.append(torch.cat([norms, cosine[None], shares]))
        self._book(learner, 0, began)

    def _book(self, learner: Learner, rows: int, began: float) -> None:
        cost = learner.cost
        cost.probe_rows = (cost.probe_rows or 0) + rows
        cost.probe_seconds = (cost.probe_seconds or 0.0) + perf_counter() - began

    def columns(self) -> Tensor:
        """Return (J, 6) float64, see :data:`COLUMNS`."""
        return (
            torch.stack([row.cpu() for row in self.rows]).double()
            if self.rows
            else torch.zeros(0, len(COLUMNS), dtype=torch.float64)
        )

    @property
    def state(self) -> dict[str, object]:
        """Return what was recorded so far."""
        rows = [row.cpu().clone() for row in self.rows]
        return {"steps": list(self.steps), "rows": rows, "since": [self._running, self._since]}

    @state.setter
    def state(self, state: dict[str, list[Any]]) -> None:
        self._running, self._since = state["since"]
        self.steps, self.rows = list(state["steps"]), [row.clone() for row in state["rows"]]


def _plasticity(learner: Learner, batch: Batch, output: Output) -> Tensor | None:
    """Return the term of the loss that learns the stream's samples, a scalar; ``None`` if it cannot be separated."""
    replaced = learner._hooks.objective if learner._hooks is not None else None
    if replaced is None:
        return task_loss(output.logits, batch, only=batch.stream)
    told: Tensor | None = replaced.__self__.plasticity(learner, batch, output)  # type: ignore[attr-defined]
    return told

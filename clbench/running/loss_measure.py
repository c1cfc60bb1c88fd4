"""Measure the form of a strategy's loss while it trains: weights of the sources, competing classes, length of the
gradient.

Every step of a run is compared with the family's own loss on the same samples and weights. Nothing of the run
changes. Letters: B samples of a batch, C output units, P weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from clbench.families.class_mask import ClassMask

if TYPE_CHECKING:
    from clbench.models.output import Output
    from clbench.running.prepared_run import Run
    from clbench.training.batch import Batch

ALIKE = 0.9
"""Smallest cosine between two gradients at the outputs for which one counts as a weighted form of the other."""
FITTED = 1e-6
"""Norm of a sample's gradient at the outputs below which it has no direction in float32."""
NEW, OLD = "stream", "rehearsed"


@dataclass
class StepForm:
    """Hold what was measured at one step.

    Args:
        step: Its number, from 1.
        experience: The running experience, ``None`` if boundaries are hidden.
        size: Number of samples in the batch.
        rehearsed: Number of rehearsed samples among them.
        length: Length of the gradient that the optimiser gets, as a multiple of that of the family's mean loss over
            the same samples.
        weights: Source (``stream``, ``rehearsed``) -> the sum of the weights of its samples' losses; for a loss that
            is no weighted form of the family's, the multiple of its length at the outputs.
        weighted: Source -> whether its loss is a weighted form of the family's.
        outside: Name of a part (or ``objective``) -> sources on which its loss uses outputs of classes that do not
            compete.
    """

    step: int
    experience: int | None
    size: int
    rehearsed: int
    length: float = float("nan")
    weights: dict[str, float] = field(default_factory=dict)
    weighted: dict[str, bool] = field(default_factory=dict)
    outside: dict[str, set[str]] = field(default_factory=dict)


class LossMeasure:
    """Measure the loss of a run at chosen steps; attach it before the run trains.

    Args:
        run: A run that has not begun.
        due: From the number of a step to whether it is measured; all steps by default.

    Attributes:
        steps: What was measured, in order.
    """

    def __init__(self, run: Run, due: Callable[[int], bool] = lambda _: True) -> None:
        self._learner, self._due = run.learner, due
        self.steps: list[StepForm] = []
        self._terms: list[tuple[str, Tensor]] = []
        self._inside, self._next, self._number, self._usual = False, False, 0, 0.0
        self._loss, self._objective = run.learner.loss, run.learner.objective
        parts = run.chain.parts
        self.reason = next((f"{part.title} makes its own step" for part in parts if _own_step(part)), "")
        if self.reason:
            return
        of = {id(part): part.title for part in parts}
        chain: Any = run.chain
        chain.loss = tuple(self._noting(term, of) for term in chain.loss)
        chain.before_step = (*chain.before_step, self._before)
        chain.gradient = (*chain.gradient, self._after)
        run.learner.__dict__.update(loss=self._measured, objective=self._noted_objective)

    def _noting(self, term: Callable[..., Tensor | None], of: dict[int, str]) -> Callable[..., Tensor | None]:
        bound = getattr(term, "hook", term)  # of a watched hook
        title = of.get(id(getattr(bound, "__self__", None)), "a part")

        def noting(learner: Any, batch: Batch, output: Output) -> Tensor | None:
            value = term(learner, batch, output)
            if self._inside and value is not None:
                self._terms.append((title, value))
            return value

        return noting

    def _noted_objective(self, batch: Batch, output: Output) -> Tensor:
        value = self._objective(batch, output)
        if self._inside:
            self._terms.append(("objective", value))
        return value

    def _measured(self, batch: Batch, output: Output) -> Tensor:
        """Return the loss of the step as without this measure, and measure it if it is due."""
        self._next, in_step = False, self._next  # a part may compute the loss too
        if not in_step or not self._due(self._number):
            return self._loss(batch, output)
        self._terms, self._inside = [], True
        try:
            loss = self._loss(batch, output)
        finally:
            self._inside = False
        if output.logits.requires_grad:
            self._measure(batch, output.logits)
        return loss

    def _measure(self, batch: Batch, logits: Tensor) -> None:
        learner = self._learner
        usual_mask = learner.classes.mask(batch.index)
        form = StepForm(self._number, learner.experience, len(batch), len(batch) - len(batch.stream))
        total = torch.zeros_like(logits)
        for title, value in self._terms:
            if not (isinstance(value, Tensor) and value.requires_grad):
                continue
            (at_outputs,) = torch.autograd.grad(value, logits, retain_graph=True, allow_unused=True)
            if at_outputs is None:
                continue
            total = total + at_outputs
            used = self._outside(batch, at_outputs, usual_mask)
            if used:
                form.outside[title] = used
        opened = frozenset[str]().union(*form.outside.values())
        for name, span in _spans(batch):
            mask = ClassMask(None) if name in opened else batch.class_mask
            form.weights[name], form.weighted[name] = self._weight(batch, logits, total, span, mask)
        mean = batch.family.mean_loss(logits, batch.target, usual_mask)
        pieces = torch.autograd.grad(mean, learner._flat.parameters, retain_graph=True, materialize_grads=True)
        self._usual = float(learner._flat.concatenate(pieces).norm())
        self.steps.append(form)

    def _outside(self, batch: Batch, at_outputs: Tensor, mask: ClassMask) -> set[str]:
        """Return the sources on which a loss has a gradient at outputs of classes that do not compete."""
        if mask.competes is None:
            return set()
        others = ~mask.expanded(at_outputs)
        if batch.also_trained is not None:
            others = others & ~batch.also_trained
        used = at_outputs.ne(0) & others
        return {name for name, span in _spans(batch) if bool(used[span].any())}

    def _weight(self, batch: Batch, logits: Tensor, total: Tensor, span: slice, mask: ClassMask) -> tuple[float, bool]:
        """Return the sum of the weights of the samples' losses, and whether the loss is a weighted form of the
        family's."""
        leaf = logits.detach().requires_grad_()
        losses = batch.family.loss(leaf, batch.target, mask)
        (reference,) = torch.autograd.grad(losses[span].sum(), leaf)
        ours, usual = total[span].flatten(1).double(), reference[span].flatten(1).double()
        length = float(usual.norm())
        if not bool(ours.any()):  # a loss on features, say
            return 0.0, False
        if length < FITTED:
            return float("nan"), True
        of_rows = (ours * usual).sum(1)
        squares = usual.square().sum(1)
        clear = squares.sqrt() > FITTED
        weights = of_rows[clear] / squares[clear]  # (rows,)
        rest = ours[clear] - weights[:, None] * usual[clear]
        alike = float(rest.norm()) <= (1 - ALIKE**2) ** 0.5 * float(ours[clear].norm()) and bool((weights >= 0).all())
        if alike:
            return float(weights.mean()) * len(ours), True
        return float(ours.norm()) / length * len(ours), False

    def _before(self, learner: Any, batch: Batch) -> None:
        self._next, self._number = True, self._number + 1

    def _after(self, learner: Any, batch: Batch) -> None:
        """Compare the gradient that the optimiser gets, after all parts have changed it."""
        if self.steps and self.steps[-1].step == self._number and self._usual > 0:
            self.steps[-1].length = float(learner.g.norm()) / self._usual


def _own_step(part: Any) -> bool:
    from clbench.strategies.part import defines

    return bool(part.engine) or defines(part, "observe")


def _spans(batch: Batch) -> list[tuple[str, slice]]:
    """Return the stream's and the rehearsed samples of a batch, as far as there are any."""
    n = len(batch.stream)
    found = [(NEW, slice(0, n)), (OLD, slice(n, len(batch)))]
    return [(name, span) for name, span in found if span.stop > span.start]

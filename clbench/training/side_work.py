"""What parts may ask of a learner beside its steps: gradients, other weights, importances, a loop of their own.

None of it leaves a trace in gradients, buffers, modes or generators, but for :meth:`SideWork.fit`, which trains. All
of it is counted in the cost of the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call

from clbench.core.cost import Cost
from clbench.core.errors import Refused
from clbench.core.global_rng import preserved
from clbench.core.rng import Generator
from clbench.families.class_mask import ClassMask
from clbench.models.flat_weights import Flat
from clbench.models.output import Output
from clbench.training.batch import ROW, VIEW, Batch, Y
from clbench.training.competing_classes import CompetingClasses
from clbench.training.device_rows import Resident
from clbench.training.fisher import Estimator, estimate
from clbench.training.memory import Draw
from clbench.training.objective import task_loss
from clbench.training.passes import OTHER_NORM, REASON, BatchSplit
from clbench.training.per_row import Power, accumulate


class Terms(Protocol):
    """What a strategy puts into the loss and adds to the gradient."""

    objective: Callable[..., Tensor] | None
    loss: tuple[Callable[..., Tensor | None], ...]
    adds: tuple[Callable[..., None], ...]


class SideWork:
    """The half of :class:`clbench.training.learner.Learner` that parts use for work of their own."""

    model: nn.Module
    flat: Flat
    w: nn.Parameter
    g: Tensor
    slices: dict[str, slice]
    modules: tuple[nn.Module, ...]
    buffers: tuple[Tensor, ...]
    device: torch.device
    batch_size: int
    fewest: int
    draws_globally: bool
    cost: Cost
    classes: CompetingClasses
    hooks: Terms | None
    _train: Resident

    def batch(self, index: Tensor, *, first_pass: bool = True) -> Batch:
        """A batch of the rows of an index matrix (5, B)."""
        raise NotImplementedError

    def hold_idle_heads(self, batch: Batch) -> None:
        """Hold the heads that no row of a batch may use."""
        raise NotImplementedError

    def apply(self, optimizer: torch.optim.Optimizer | None = None) -> None:
        """One optimiser step."""
        raise NotImplementedError

    @property
    def frozen(self) -> Tensor | None:
        """(P,) bool, weights that a step must not move; ``None`` for none."""
        raise NotImplementedError

    def clip(self, longest: float) -> None:
        """Shorten ``g`` where the gradient of the weights that move is longer than this, by Euclidean norm."""
        frozen = self.frozen
        moving = self.g if frozen is None else self.g.masked_fill(frozen, 0.0)
        self.g.mul_((longest / moving.norm().clamp(min=1e-12)).clamp(max=1.0))

    def loss(self, batch: Batch, output: Output) -> Tensor:
        """The loss of a step, a scalar: the objective, whoever sets it, and the terms that parts add."""
        loss = self.objective(batch, output)
        for term in self.hooks.loss if self.hooks else ():
            value = term(self, batch, output)
            loss = loss if value is None else loss + value
        return loss

    def objective(self, batch: Batch, output: Output) -> Tensor:
        """The objective on a batch, a scalar: a part's, where one sets it, or that of the family of tasks."""
        if self.hooks is not None and self.hooks.objective is not None:
            return self.hooks.objective(self, batch, output)
        return task_loss(output.logits, batch)

    @contextmanager
    def _extra(self) -> Iterator[None]:
        """Side work by the clock; on a GPU only what the host waited for."""
        began, before = perf_counter(), self.cost.extra_seconds
        try:
            yield
        finally:
            self.cost.extra_seconds = before + perf_counter() - began

    @contextmanager
    def undisturbed(self, *, training: bool) -> Iterator[None]:
        """Side work in evaluation mode, or in ``training`` mode, where layers held in evaluation mode stay in it.

        Modes, buffers and generators are as before afterwards: torch's, and Python's and NumPy's for a model that draws
        from them.
        """
        modes = [m.training for m in self.modules]
        buffers = [b.data for b in self.buffers]
        for buffer in self.buffers:  # a copy, put aside later: writing back would break a backward pass under way
            buffer.data = buffer.clone()
        augment = self._train.generator.get_state()
        for module, mode in zip(self.modules, modes, strict=True):
            module.__dict__["training"] = training and mode
        try:
            with preserved(self.device, only=None if self.draws_globally else "torch"):
                yield
        finally:
            for module, mode in zip(self.modules, modes, strict=True):
                module.__dict__["training"] = mode
            for buffer, old in zip(self.buffers, buffers, strict=True):
                buffer.data = old
            self._train.generator.set_state(augment)

    def grad(self, batch: Batch) -> Tensor:
        """Gradient (P,) of the objective, whoever sets it, on a batch with its class mask, without parts' terms;
        no trace in g, modes or buffers."""
        return self._gradient(batch, lambda output: self.objective(batch, output))

    def whole_gradient(self, batch: Batch) -> Tensor:
        """Gradient (P,) that the step to come would see before it is bent: objective, terms and penalties of all parts;
        no trace in g, modes or buffers."""
        result = self._gradient(batch, lambda output: self.loss(batch, output))
        if self.hooks is not None and self.hooks.adds:
            kept = self.g.clone()
            self.g.copy_(result)
            for add in self.hooks.adds:
                add(self, batch)
            result.copy_(self.g)
            self.g.copy_(kept)
        return result

    def _gradient(self, batch: Batch, of: Callable[[Output], Tensor]) -> Tensor:
        with self._extra(), self.undisturbed(training=True):
            loss = of(self.model(batch.x))
            parts = torch.autograd.grad(loss, self.flat.parameters, allow_unused=True)
        self.cost.extra_forward_rows += len(batch)
        self.cost.extra_backward_rows += len(batch)
        pairs = zip(parts, self.flat.parameters, strict=True)
        return self.flat.concatenate(tuple(torch.zeros_like(p) if g is None else g for g, p in pairs))

    def copy(self) -> dict[str, Any]:
        """The model as it is now, for :meth:`forward` later: flat weights ``w`` (P,) and ``buffers``."""
        return {"w": self.w.detach().clone(), "buffers": {n: b.clone() for n, b in self.model.named_buffers()}}

    def forward(
        self, x: Tensor, *, w: Tensor | None = None, buffers: dict[str, Tensor] | None = None, training: bool = False
    ) -> Output:
        """What the model makes of inputs, under other weights if given; without gradients and without a trace.

        Args:
            x: (B, ...) inputs, such as ``batch.x``.
            w: (P,) flat weights; the present ones by default. ``forward(x, **copy)`` runs a model of :meth:`copy`.
            buffers: Running statistics and the like, by name; the present ones by default.
            training: In training mode, with dropout as the next step draws it; else in evaluation mode.
        """
        with self._extra(), self.undisturbed(training=training), torch.no_grad():
            self.cost.extra_forward_rows += len(x)
            output: Output
            if w is None and buffers is None:
                output = self.model(x)
                return output
            pieces = zip(self.slices.items(), self.flat.parameters, strict=True)
            source = self.w.detach() if w is None else w
            named = {name: source[place].view(p.shape) for (name, place), p in pieces}
            output = functional_call(self.model, {**named, **(buffers or {})}, (x,))
            return output

    def features(self, index: Tensor, *, w: Tensor | None = None, training: bool = False) -> Output:
        """The model's output on the rows of an index matrix (5, N), un-augmented, in chunks; the rest as in
        :meth:`forward`."""
        chunks = index.split(512, dim=1)
        made = [self.forward(self._train.present(r[ROW], r[VIEW]), w=w, training=training) for r in chunks]
        return Output(torch.cat([m.logits for m in made]), torch.cat([m.features for m in made]))

    def per_row(self, index: Tensor, scalar: Callable[[Tensor], Tensor], *, power: Power) -> Tensor:
        """Mean over the rows of an index matrix (5, N) of |∇ s|^power, (P,); see ``clbench.training.per_row``.

        Args:
            index: The rows; un-augmented inputs are used, in evaluation mode.
            scalar: From logits (B, C), 0 where a class does not compete, to s (B,).
            power: ``square`` or ``absolute``.
        """
        total = torch.zeros_like(self.g)
        with self._extra(), self.undisturbed(training=False):
            for rows in index.split(256, dim=1):
                x, competes = self._train.present(rows[ROW], rows[VIEW]), self.classes.mask(rows).competes
                wide = torch.ones(1, 1, dtype=torch.bool, device=self.device) if competes is None else competes
                wide = wide.expand(len(x), wide.shape[-1])
                total += accumulate(
                    self.model,
                    self.flat,
                    x,
                    lambda logits, competes: scalar(ClassMask(competes).masked(logits, 0.0)),
                    (wide,),
                    power=power,
                )
                self.cost.extra_forward_rows += len(x)
                self.cost.extra_backward_rows += len(x)
        return total / index.shape[1]

    def fisher(self, index: Tensor, *, estimator: Estimator = "exact", generator: Generator | None = None) -> Tensor:
        """Diagonal Fisher information (P,) on the rows of an index matrix (5, N); see ``clbench.training.fisher``.

        Args:
            index: The rows; un-augmented inputs are used, in evaluation mode.
            estimator: ``exact``, ``sampled``, ``empirical`` or ``batch``.
            generator: Where targets are drawn from, for ``sampled``.
        """
        total, chunks = torch.zeros_like(self.g), index.split(self.batch_size if estimator == "batch" else 256, dim=1)
        with self._extra(), self.undisturbed(training=False):
            for rows in chunks:
                x = self._train.present(rows[ROW], rows[VIEW])
                part, forward, backward = estimate(
                    self.model,
                    self.flat,
                    x,
                    self._train.target(rows[ROW], rows[Y]),
                    family=self._train.family,
                    estimator=estimator,
                    class_mask=self.classes.mask(rows),
                    generator=generator,
                )
                total += part
                self.cost.extra_forward_rows += forward
                self.cost.extra_backward_rows += backward
        return total / (len(chunks) if estimator == "batch" else index.shape[1])

    def fit(
        self,
        rows: Draw,
        *,
        steps: int,
        lr: float,
        batch_size: int,
        generator: Generator,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        rate: Callable[[int], float] | None = None,
        loss: Callable[[Batch], Tensor] | None = None,
    ) -> None:
        """Train on given rows in a loop of a part's own: SGD with no memory of the main loop's, frozen weights held.

        Args:
            rows: What to learn, shuffled anew on every pass; batches carry its side tensors in ``batch.stream.side``.
            steps: Optimiser steps.
            lr: Learning rate.
            batch_size: Rows per step; fewer where a pass ends, or one more where a single row could not be learned.
            generator: Where orders come from.
            momentum, weight_decay: Of SGD.
            clip_norm: Longest gradient of this loop, by Euclidean norm over the weights that move; ``None`` for no
                limit but the benchmark's.
            rate: From a step (from 0) to a factor of ``lr``.
            loss: From a batch to the loss, a scalar; it runs the model itself. The family's loss by default.

        Raises:
            Refused: There are too few rows, or they are too few in a batch, for a model with batch normalisation.
        """
        count = rows.index.shape[1]
        if not count:
            return
        if min(count, batch_size) < self.fewest:
            what = f"{count} row to learn from" if count < self.fewest else f"batch_size {batch_size}"
            raise Refused(
                f"the strategy trains in a loop of its own with {what}: {REASON}; let it have {self.fewest} or more, "
                f"or {OTHER_NORM}"
            )
        spans = BatchSplit(batch_size, fewest=self.fewest).spans(count)
        optimizer = torch.optim.SGD([self.w], lr=lr, momentum=momentum, weight_decay=weight_decay)
        order = torch.zeros(0, dtype=torch.int64)
        with self._extra():
            for step in range(steps):
                start, stop = spans[step % len(spans)]
                if not start:
                    order = torch.from_numpy(generator.permutation(count)).to(self.device)
                chosen = order[start:stop]
                batch = self.batch(rows.index.index_select(1, chosen))
                batch.stream.side = {name: side.index_select(0, chosen) for name, side in rows.side.items()}
                value = loss(batch) if loss else task_loss(self.model(batch.x).logits, batch)
                if rate is not None:
                    optimizer.param_groups[0]["lr"] = lr * rate(step)
                self.g.zero_()
                value.backward()
                self.hold_idle_heads(batch)
                if clip_norm is not None:
                    self.clip(clip_norm)
                self.apply(optimizer)
                self.cost.extra_forward_rows += len(batch)
                self.cost.extra_backward_rows += len(batch)

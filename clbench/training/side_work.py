"""Computations that parts ask for besides the step: gradients, other weights, importances, a training loop of their
own.

None of it changes gradients, buffers, modes or generators, except :meth:`SideWork.fit`, which trains. All of it counts
in the cost of the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from clbench.core.errors import Refused
from clbench.core.global_rng import preserved
from clbench.core.rng import Generator
from clbench.families.class_mask import ClassMask
from clbench.models.flat_weights import Flat
from clbench.models.module_modes import preserved_modes
from clbench.models.output import Output
from clbench.models.side_effects import draws
from clbench.training.answered_model import PREFIX, AnsweredModel, with_prefix
from clbench.training.batch import ROW, TASK, VIEW, Batch, Y
from clbench.training.batch_splits import OTHER_NORM, REASON, BatchSplit, fewest_rows
from clbench.training.device_rows import Resident
from clbench.training.fisher import Estimator, estimate
from clbench.training.objective import task_loss
from clbench.training.per_sample_gradients import Power, accumulate
from clbench.training.replay_buffer import Draw

if TYPE_CHECKING:
    from clbench.training.learner import Learner
    from clbench.training.weight_steps import WeightSteps


class SideWork:
    """Compute with the model besides the step: gradients, outputs under other weights, importances, a training loop.

    Args:
        learner: Its model, weights and losses are used.
        flat: Its flat weights.
        rows: The training samples, on the device.
        steps: The steps of the weights, for :meth:`fit`.
        shape: Shape of a sample.
        tokens: Whether samples are int64 tokens.

    Attributes:
        fewest_rows: Fewest samples that a step of the model can learn from; see ``clbench.training.batch_splits``.
    """

    def __init__(
        self,
        learner: Learner,
        flat: Flat,
        rows: Resident,
        steps: WeightSteps,
        *,
        shape: tuple[int, ...],
        tokens: bool = False,
    ) -> None:
        self._rows = rows
        self._learner, self._flat, self._steps = learner, flat, steps
        self._model, self._cost = learner.model, learner.cost
        self._modules, self._buffers = tuple(learner.model.modules()), tuple(learner.model.buffers())
        self._draws_globally = draws(learner.model)
        self.fewest_rows = fewest_rows(learner.model, shape, learner.device, tokens=tokens)

    @contextmanager
    def _extra(self) -> Iterator[None]:
        """Time the computation; on a GPU, only the time the host waited."""
        began, before = perf_counter(), self._cost.extra_seconds
        try:
            yield
        finally:
            self._cost.extra_seconds = before + perf_counter() - began

    @contextmanager
    def undisturbed(self, *, training: bool) -> Iterator[None]:
        """Compute in evaluation mode, or in ``training`` mode, in which layers held in evaluation mode stay in it.

        Modes, buffers and generators are restored afterwards: torch's generators, and those of Python and NumPy for a
        model that uses them.
        """
        buffers = [b.data for b in self._buffers]
        for buffer in self._buffers:  # copies: writing into a buffer would break a backward pass that is running
            buffer.data = buffer.clone()
        augment = self._rows.generator.get_state()
        try:
            with (
                preserved_modes(self._modules),
                preserved(self._learner.device, only=None if self._draws_globally else "torch"),
            ):
                for module in () if training else self._modules:
                    module.__dict__["training"] = False
                yield
        finally:
            for buffer, old in zip(self._buffers, buffers, strict=True):
                buffer.data = old
            self._rows.generator.set_state(augment)

    def gradient(self, batch: Batch) -> Tensor:
        """Return the gradient (P,) of the objective, of a part or the family, on a batch with its class mask.

        Terms of parts are left out. It changes nothing in g, modes or buffers.
        """
        return self._gradient(batch, lambda output: self._learner.objective(batch, output))

    def whole_gradient(self, batch: Batch) -> Tensor:
        """Return the gradient (P,) that the next step would have before projections.

        It contains the objective, terms and penalties of all parts, and changes nothing in g, modes or buffers.
        """
        result = self._gradient(batch, lambda output: self._learner.loss(batch, output))
        hooks, g = self._learner._hooks, self._flat.g
        if hooks is not None and hooks.adds:
            kept = g.clone()
            g.copy_(result)
            for add in hooks.adds:
                add(self._learner, batch)
            result.copy_(g)
            g.copy_(kept)
        return result

    def _gradient(self, batch: Batch, of: Callable[[Output], Tensor]) -> Tensor:
        with self._extra(), self.undisturbed(training=True):
            loss = of(self._learner.run(batch))
            parts = torch.autograd.grad(loss, self._flat.parameters, allow_unused=True)
        self._cost.extra_forward_rows += len(batch)
        self._cost.extra_backward_rows += len(batch)
        pairs = zip(parts, self._flat.parameters, strict=True)
        return self._flat.concatenate(tuple(torch.zeros_like(p) if g is None else g for g, p in pairs))

    def copy(self) -> dict[str, Any]:
        """Return the model as it is now, for :meth:`forward` later: flat weights ``w`` (P,) and ``buffers``."""
        buffers = {name: buffer.clone() for name, buffer in self._model.named_buffers()}
        return {"w": self._flat.w.detach().clone(), "buffers": buffers}

    def forward(
        self,
        x: Tensor,
        *,
        task: Tensor | None = None,
        w: Tensor | None = None,
        buffers: dict[str, Tensor] | None = None,
        training: bool = False,
    ) -> Output:
        """Return the model's output for inputs, if wanted under other weights; without gradients and side effects.

        If a part answers in training, it is that part's output.

        Args:
            x: (B, ...) inputs, such as ``batch.x``.
            task: (B,) task labels if the stream reveals them, as ``batch.revealed_task()`` returns them; only a part
                that answers in training uses them.
            w: (P,) flat weights; the current ones by default. ``forward(x, **copy)`` runs a model of :meth:`copy`.
            buffers: Running statistics and the like, by name; the current ones by default.
            training: Whether to use training mode, with dropout as the next step draws it, instead of evaluation mode.
        """
        with self._extra(), self.undisturbed(training=training), torch.no_grad():
            self._cost.extra_forward_rows += len(x)
            answer = self._learner._answer
            module = self._model if answer is None else AnsweredModel(self._learner, answer)
            given, prefix = ((x,), "") if answer is None else ((x, task), PREFIX)
            output: Output
            if w is None and buffers is None:
                output = module(*given)
                return output
            pieces = zip(self._flat.slices.items(), self._flat.parameters, strict=True)
            source = self._flat.w.detach() if w is None else w
            named = {name: source[place].view(p.shape) for (name, place), p in pieces} | (buffers or {})
            output = functional_call(module, {prefix + name: tensor for name, tensor in named.items()}, given)
            return output

    def _chunks(self, index: Tensor, size: int) -> Iterator[tuple[Tensor, nn.Module, Flat]]:
        """Yield samples of an index matrix (5, N), at most ``size`` at a time, with the module from their inputs to
        ``Output`` and the flat weights under its names.

        The module is the model. If a part answers in training, there is a module for each task.
        """
        answer, labels = self._learner._answer, self._learner.classes.task_labels
        if answer is None:
            yield from ((rows, self._model, self._flat) for rows in index.split(size, dim=1))
            return
        flat = with_prefix(self._flat)
        for task in index[TASK].unique() if labels else index[TASK, :1]:
            module = AnsweredModel(self._learner, answer, task if labels else None)
            own = index[:, index[TASK] == task] if labels else index
            yield from ((rows, module, flat) for rows in own.split(size, dim=1))

    def features(self, index: Tensor, *, w: Tensor | None = None, training: bool = False) -> Output:
        """Return the model's output on the samples of an index matrix (5, N), without augmentation, in chunks.

        The other arguments are as in :meth:`forward`.
        """
        labels = self._learner.classes.task_labels
        made = [
            self.forward(self._rows.present(r[ROW], r[VIEW]), task=r[TASK] if labels else None, w=w, training=training)
            for r in index.split(512, dim=1)
        ]
        return Output(torch.cat([m.logits for m in made]), torch.cat([m.features for m in made]))

    def per_row(self, index: Tensor, scalar: Callable[[Tensor], Tensor], *, power: Power) -> Tensor:
        """Return the mean over the samples of an index matrix (5, N) of |∇ s|^power, (P,).

        See ``clbench.training.per_sample_gradients``.

        Args:
            index: The samples; inputs without augmentation are used, in evaluation mode.
            scalar: From logits (B, C), 0 if a class does not compete, to s (B,).
            power: ``square`` or ``absolute``.
        """
        total = torch.zeros_like(self._flat.g)
        with self._extra(), self.undisturbed(training=False):
            for rows, model, flat in self._chunks(index, 256):
                x, competes = self._rows.present(rows[ROW], rows[VIEW]), self._learner.classes.mask(rows).competes
                wide = torch.ones(1, 1, dtype=torch.bool, device=self._learner.device) if competes is None else competes
                wide = wide.expand(len(x), wide.shape[-1])
                total += accumulate(
                    model,
                    flat,
                    x,
                    lambda logits, competes: scalar(ClassMask(competes).masked(logits, 0.0)),
                    (wide,),
                    power=power,
                ).detach()
                self._cost.extra_forward_rows += len(x)
                self._cost.extra_backward_rows += len(x)
        return total / index.shape[1]

    def fisher(self, index: Tensor, *, estimator: Estimator = "exact", generator: Generator | None = None) -> Tensor:
        """Return the diagonal Fisher information (P,) on the samples of an index matrix (5, N).

        See ``clbench.training.fisher``.

        Args:
            index: The samples; inputs without augmentation are used, in evaluation mode.
            estimator: ``exact``, ``sampled``, ``empirical`` or ``batch``.
            generator: For ``sampled``, which draws targets.
        """
        size = self._learner.batch_size if estimator == "batch" else 256
        total, count = torch.zeros_like(self._flat.g), 0
        with self._extra(), self.undisturbed(training=False):
            for count, (rows, model, flat) in enumerate(self._chunks(index, size), 1):  # noqa: B007 it is used below
                x = self._rows.present(rows[ROW], rows[VIEW])
                part, forward, backward = estimate(
                    model,
                    flat,
                    x,
                    self._rows.target(rows[ROW], rows[Y]),
                    family=self._rows.family,
                    estimator=estimator,
                    class_mask=self._learner.classes.mask(rows),
                    generator=generator,
                )
                total += part.detach()  # what a part answers with may have tensors that are trained beside the weights
                self._cost.extra_forward_rows += forward
                self._cost.extra_backward_rows += backward
        return total / (count if estimator == "batch" else index.shape[1])

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
        """Train on given samples in a loop of a part's own: SGD without the main loop's momentum; frozen weights stay.

        Args:
            rows: What to learn, shuffled anew in every pass; batches have its side tensors in ``batch.stream.side``.
            steps: Optimiser steps.
            lr: Learning rate.
            batch_size: Samples per step; fewer at the end of a pass, or one more if a single sample could not be
                learned.
            generator: For the orders of samples.
            momentum, weight_decay: Of SGD.
            clip_norm: Longest gradient of this loop, by Euclidean norm over the weights that move; ``None`` for no
                other limit than the benchmark's.
            rate: From a step (from 0) to a factor of ``lr``.
            loss: From a batch to the loss, a scalar; it runs the model itself. The family's loss by default.

        Raises:
            Refused: There are too few samples, in all or in a batch, for a model with batch normalisation.
        """
        count = rows.index.shape[1]
        if not count:
            return
        if min(count, batch_size) < self.fewest_rows:
            what = f"{count} sample to learn from" if count < self.fewest_rows else f"batch_size {batch_size}"
            raise Refused(
                f"the strategy trains in a loop of its own with {what}: {REASON}; it needs {self.fewest_rows} or "
                f"more, or {OTHER_NORM}"
            )
        spans = BatchSplit(batch_size, fewest=self.fewest_rows).spans(count)
        optimizer = torch.optim.SGD([self._flat.w], lr=lr, momentum=momentum, weight_decay=weight_decay)
        order = torch.zeros(0, dtype=torch.int64)
        with self._extra():
            for step in range(steps):
                start, stop = spans[step % len(spans)]
                if not start:
                    order = torch.from_numpy(generator.permutation(count)).to(self._learner.device)
                chosen = order[start:stop]
                batch = self._learner.batch(rows.index.index_select(1, chosen))
                batch.stream.side = {name: side.index_select(0, chosen) for name, side in rows.side.items()}
                value = loss(batch) if loss else task_loss(self._learner.run(batch).logits, batch)
                if rate is not None:
                    optimizer.param_groups[0]["lr"] = lr * rate(step)
                self._flat.g.zero_()
                value.backward()
                self._learner.freeze_idle_heads(batch)
                if clip_norm is not None:
                    self._steps.clip(clip_norm)
                self._steps.step(optimizer)
                self._cost.extra_forward_rows += len(batch)
                self._cost.extra_backward_rows += len(batch)
            self._steps.drop_gradients()

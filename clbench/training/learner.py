"""What the parts of a strategy see and use: the model, its weights, class mask, replay buffer, losses and side work.

Nothing else of a run can be reached from here. The loop itself uses :class:`clbench.training.trainer.Trainer`. Letters:
B samples of a batch, C output units, P weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from clbench.core.cost import Cost
from clbench.core.types import Stream
from clbench.models.flat_weights import Flat
from clbench.models.output import Output
from clbench.training import layer_inputs
from clbench.training.answered_model import Answer
from clbench.training.batch import ROW, VIEW, Batch
from clbench.training.competing_classes import CompetingClasses
from clbench.training.device_rows import Resident
from clbench.training.frozen_weights import IDLE, UNSEEN, FrozenWeights
from clbench.training.head_weights import HeadWeights
from clbench.training.lr_scale import ranges
from clbench.training.objective import Terms, task_loss
from clbench.training.replay_buffer import Memory
from clbench.training.side_work import SideWork
from clbench.training.weight_steps import WeightSteps

__all__ = ["ExperienceView", "Learner", "Output", "task_loss"]


@dataclass(frozen=True, eq=False)
class ExperienceView:
    """Describe what a strategy may know of the running experience. Hidden things are absent.

    Args:
        index: (5, N) index matrix of its samples.
        id: Its number, ``None`` if boundaries are hidden.
        steps: Number of iterations on it by the settings of the benchmark, ``None`` if boundaries are hidden. Merged
            samples, longer passes of a part and early stopping change it.
        host: The same index matrix as an array of the host, so that nothing waits for a GPU; ``None`` if it is not
            there.
    """

    index: Tensor
    id: int | None
    steps: int | None = None
    host: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return self.index.shape[1]


class Learner:
    """Give the parts of a strategy all that they may see and use.

    Args:
        model: Returns :class:`Output`.
        flat: Its flat weights.
        stream: The stream it will learn; only what the stream reveals can be reached through the learner.
        rows: The training samples, on the device.
        memory: The run's replay buffer.
        cost: The cost account of the run.
        frozen: The weights that no step moves.
        steps: The steps of the weights.
        batch_size: B, samples of the stream per step.
        separate_heads: Whether a task's part of the head stays fixed while only other tasks are learned; matters for
            optimisers with a state, if task labels are revealed.

    Attributes:
        model: The model; call it with inputs to get an :class:`Output`, whose graph leads to ``w``.
        w, g: (P,) flat weights and gradients; see :class:`clbench.models.flat_weights.Flat`.
        slices: Name of a parameter -> its slice of ``w`` and ``g``.
        family: The family of tasks of the stream; see ``clbench.families``.
        memory: The replay buffer; see :class:`clbench.training.replay_buffer.Memory`.
        classes: Which classes compete, and which were seen; see
            :class:`clbench.training.competing_classes.CompetingClasses`.
        side_work: Computations besides the step: gradients, other weights, importances, a part's own training loop; see
            :class:`clbench.training.side_work.SideWork`.
        experience: Number of the running experience, ``None`` if boundaries are hidden.
        length: Number of experiences of the stream; ``None`` if that is not revealed or boundaries are hidden.
        total_steps: Iterations of the stream, one for each of its batches; ``None`` if that is not revealed.
        batch_size: Samples of the stream per step.
        n_outputs: C, output units of the model.
        device: Where weights and samples are.
        cost: The cost account of the run; a part that runs the model itself adds its cost here.
        scratch: What parts computed for the running evaluation, such as class means; empty when an evaluation begins.
    """

    def __init__(
        self,
        model: nn.Module,
        flat: Flat,
        *,
        stream: Stream,
        rows: Resident,
        memory: Memory,
        cost: Cost,
        frozen: FrozenWeights,
        steps: WeightSteps,
        batch_size: int,
        separate_heads: bool,
    ) -> None:
        self.model = model
        self.w, self.g, self.slices = flat.w, flat.g, flat.slices
        self.family = rows.family
        self.memory = memory
        self.classes = CompetingClasses(stream, flat.w.device, has_classes=self.family.has_classes)
        self.experience: int | None = None
        self.length: int | None = None
        self.total_steps: int | None = None
        self.batch_size = batch_size
        self.n_outputs = stream.n_outputs
        self.device = flat.w.device
        self.cost = cost
        self.scratch: dict[str, Any] = {}
        self._flat, self._rows, self._frozen, self._steps = flat, rows, frozen, steps
        self._heads, self._separate_heads = HeadWeights(model, flat), separate_heads
        self._modules = tuple(model.modules())
        self._hooks: Terms | None = None
        self._answer: Answer | None = None
        self._forward: Callable[[Tensor], Output] = model
        self._steps_itself = False
        self.side_work = SideWork(self, flat, rows, steps, shape=stream.dataset.shape, tokens=rows.tokens)

    def _use_rows(self, rows: Resident) -> None:
        """Read training samples from another place from here on."""
        self._rows = self.side_work._rows = rows

    # ------------------------------------------------------------------ outputs, batches and losses

    def run(self, batch: Batch) -> Output:
        """Return the output on a batch as training computes it, with a graph that leads to the weights.

        It is the model's, or that of a part that answers in training too.
        """
        if self._answer is None:
            return self._forward(batch.x)
        return self._answer(self, batch.x, batch.revealed_task())

    def batch(
        self, index: Tensor, *, first_pass: bool = True, host: Callable[[], NDArray[np.int64]] | None = None
    ) -> Batch:
        """Make a batch of the samples of an index matrix (5, B); ``host`` returns the same matrix on the host."""
        return Batch(
            index,
            gather=self._rows.gather,
            class_mask=self.classes.mask,
            targets=self._rows.targets,
            family=self.family,
            first_pass=first_pass,
            task_labels=self.classes.task_labels,
            host=host,
        )

    def raw(self, index: Tensor) -> Tensor:
        """Return the inputs (n, ...) of an index matrix (5, n), without augmentation."""
        return self._rows.present(index[ROW], index[VIEW])

    def inputs(self, index: Tensor, *, w: Tensor | None = None) -> dict[str, Tensor]:
        """Return what each linear and convolutional layer reads on the samples of an index matrix (5, N).

        The samples pass the model in evaluation mode, without augmentation and without side effects.

        Args:
            index: The samples.
            w: (P,) flat weights; the current ones by default.

        Returns:
            Name of a layer -> its inputs (n, fan-in): one row for each sample, token, or patch of a convolution; see
            :mod:`clbench.training.layer_inputs`. A layer that is not called as a module is absent.
        """
        with layer_inputs.recorded(self.model) as seen:
            self.side_work.features(index, w=w)
        return layer_inputs.joined(seen)

    def loss(self, batch: Batch, output: Output) -> Tensor:
        """Return the loss of a step, a scalar: the objective, of a part or the family, and the terms that parts add."""
        loss = self.objective(batch, output)
        for term in self._hooks.loss if self._hooks else ():
            value = term(self, batch, output)
            loss = loss if value is None else loss + value
        return loss

    def objective(self, batch: Batch, output: Output) -> Tensor:
        """Return the objective on a batch, a scalar: that of a part, if one defines it, else that of the family of
        tasks."""
        if self._hooks is not None and self._hooks.objective is not None:
            return self._hooks.objective(self, batch, output)
        return task_loss(output.logits, batch)

    @property
    def replaces_objective(self) -> bool:
        """Tell whether a part defines the objective, instead of the family."""
        return self._hooks is not None and self._hooks.objective is not None

    # ------------------------------------------------------------------ steps

    @property
    def lr(self) -> float:
        """Return the learning rate of the next step, by the benchmark's schedule."""
        return self._steps.lr

    @property
    def base_lr(self) -> float:
        """Return the benchmark's learning rate before its schedule; a part's own training loop begins with it."""
        return self._steps.base_lr

    def another_optimizer(self, tensors: Sequence[Tensor] | None = None) -> torch.optim.Optimizer:
        """Return the benchmark's optimiser over the model's single parameters, for a part that makes the steps itself.

        Its learning rate follows the benchmark's schedule.

        Args:
            tensors: Leaves that a part has beside the weights, to be stepped instead of the parameters. There is no
                weight decay, and ``training.clip_norm`` does not apply. In a checkpoint, the part keeps the tensors and
                the optimiser's ``state`` of them.
        """
        return self._steps.another_optimizer(tensors)

    def scale_steps(self, factors: Mapping[str, float]) -> None:
        """Multiply the change that each step makes to some kinds of weights, as ``training.lr_scale`` does.

        A part calls it in ``attach``, which comes before every run, resumed or not. Factors of the benchmark multiply.

        Args:
            factors: Kind of weights -> factor: ``{"body": 0.01}``.

        Raises:
            Refused: The model has no weights of a kind, or kinds overlap.
        """
        self._steps.multiply(ranges(self.model, self.slices, factors))

    def would_be_step(self) -> Tensor:
        """Return the change (P,) of the weights that the optimiser's next step would make with the present gradient.

        In a ``gradient`` hook, ``learner.w + learner.would_be_step()`` are the weights after the step if nothing
        changes the gradient further. Learning rate, momentum, moments, weight decay, frozen weights and the longest
        gradient of the benchmark count. Weights, gradient, state of the optimiser and number of steps stay as they are.
        """
        with self.side_work._extra():
            return self._steps.would_be_step()

    # ------------------------------------------------------------------ weights that do not move

    def freeze(self, name: str, mask: Tensor | None) -> None:
        """Freeze the weights where ``mask`` (P,) is true, until ``None`` is set for the same name; masks add up."""
        self._frozen.freeze(name, mask)

    @property
    def frozen(self) -> Tensor | None:
        """Return the weights (P,) bool that a step does not move; ``None`` for none."""
        return self._frozen.mask

    @property
    def frozen_outline(self) -> tuple[object, ...]:
        """Return an outline of what parts keep fixed; equal if no mask and no module's mode was changed.

        It is empty if a part makes the steps itself.
        """
        if self._steps_itself:
            return ()
        return (*self._frozen.outline, *(module.training for module in self._modules))

    @property
    def head_mask(self) -> Tensor:
        """Return (P,) bool, the weights of the model's last layer."""
        return self._heads.serving(torch.ones_like(self.classes.seen))

    def freeze_idle_heads(self, batch: Batch) -> None:
        """Freeze, if heads are separate, those that no sample of a batch may use: momentum would still move them."""
        if self._separate_heads:
            used = batch.class_mask.classes()
            if used is not None and batch.also_trained is not None:
                used = used | batch.also_trained
            self.freeze(IDLE, None if used is None else self._heads.serving(~used))

    def _freeze_unseen_heads(self) -> None:
        """Freeze the head weights of classes not seen so far, if weight decay would change them."""
        restricted = self._steps.decays and self.classes.restricted
        self.freeze(UNSEEN, self._heads.serving(~self.classes.seen) if restricted else None)

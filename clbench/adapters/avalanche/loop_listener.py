"""A plugin at the end of avalanche-lib's list: it counts, applies settings of the benchmark that the loop does not
know, and calls clbench's evaluator after every iteration."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch

from clbench.adapters.avalanche.library import SupervisedPlugin
from clbench.adapters.avalanche.stream_experiences import Meter
from clbench.benchmark import lr_schedules
from clbench.benchmark.schema import Training
from clbench.core.cost import Cost
from clbench.training.loss_check import Diverged


@dataclass(frozen=True)
class First:
    """Yield the first batches of a loader.

    Args:
        loader: A loader for a pass.
        n: Largest number of batches.
    """

    loader: Iterable[Any]
    n: int

    def __len__(self) -> int:
        return self.n

    def __iter__(self) -> Iterator[Any]:
        return islice(iter(self.loader), self.n)


class Listener(SupervisedPlugin):
    """Listen to the events of the loop.

    Args:
        training: The benchmark's settings.
        cost: The cost of the run.
        meter: The counter of samples that are fetched and passed through the model.
        experiences: Number of experiences.
        after_step: A function that is called after every iteration with the fraction of the stream.
    """

    def __init__(
        self, training: Training, cost: Cost, meter: Meter, experiences: int, after_step: Callable[[float], None]
    ) -> None:
        super().__init__()
        self.training, self.cost, self.meter, self.after_step = training, cost, meter, after_step
        self.experiences = experiences
        self.iterations: int | None = None
        self.number = 0
        self.drawn = 0
        self._rate = lr_schedules.rate(training.lr_schedule, training.epochs)
        self._lrs: list[float] = []
        self._loader: Any = ()
        self._done = self._planned = 0
        self._updated = False
        self._losses: list[tuple[int, Any]] = []
        self._marks = (0, 0, 0)

    # ------------------------------------------------------------------ experiences and passes

    def begin(self, number: int, iterations: int | None) -> None:
        """Prepare for a call of ``train`` on this experience, with a number of iterations instead of epochs."""
        self.number, self.iterations, self._done = number, iterations, 0

    def before_training_exp(self, strategy: Any, **_: Any) -> None:
        """Plan the passes; reset momentum and moments if the benchmark does."""
        optimizer = strategy.optimizer
        if optimizer is not None:
            self._lrs = self._lrs or [group["lr"] for group in optimizer.param_groups]
            if self.training.optimizer_state == "reset" and self.number:
                optimizer.state.clear()
        self._loader = strategy.dataloader
        per_pass = len(self._loader)
        if self.iterations is not None:
            strategy.train_epochs = math.ceil(self.iterations / max(1, per_pass))
        self._planned = self.iterations or max(1, strategy.train_epochs * per_pass)

    def before_training_epoch(self, strategy: Any, **_: Any) -> None:
        """End the last pass if the benchmark counts iterations, and count samples from here.

        Earlier samples belong to side work at boundaries.
        """
        self._mark()
        if self.iterations is not None:
            strategy.dataloader = First(self._loader, min(len(self._loader), self.iterations - self._done))

    # ------------------------------------------------------------------ steps

    def before_training_iteration(self, strategy: Any, **_: Any) -> None:
        """Set the learning rate of the next step."""
        if self._rate is not None and strategy.optimizer is not None:
            epoch = min(self._done // max(1, len(self._loader)), max(1, strategy.train_epochs) - 1)
            factor = self._rate(self.number, (self._done + 1) / self._planned, self.experiences, epoch)
            for group, lr in zip(strategy.optimizer.param_groups, self._lrs, strict=True):
                group["lr"] = factor * lr

    def before_update(self, strategy: Any, **_: Any) -> None:
        """Scale down a gradient that is longer than the benchmark allows."""
        self._updated = True
        if self.training.clip_norm is not None and strategy.optimizer is not None:
            gradients = [w.grad for group in strategy.optimizer.param_groups for w in group["params"]]
            gradients = [g for g in gradients if g is not None]
            norm = torch.stack([g.norm() for g in gradients]).norm()
            factor = (self.training.clip_norm / norm.clamp(min=1e-12)).clamp(max=1.0)
            for g in gradients:
                g.mul_(factor)

    def after_training_iteration(self, strategy: Any, **_: Any) -> None:
        """Count the step, and evaluate."""
        self._done += 1
        self.cost.steps += 1
        self._count(strategy)
        if self.training.clip_norm is not None and not self._updated:
            raise NotImplementedError(
                f"{type(strategy).__name__} hides its steps, so training.clip_norm cannot be applied"
            )
        loss = torch.as_tensor(strategy.loss).detach()
        if loss.device.type == "cpu":
            if not bool(loss.isfinite().all()):
                raise Diverged(self.cost.steps, "the loss is not finite at")
        else:
            self._losses.append((self.cost.steps, loss.isfinite().all()))
        self.after_step((self.number + min(1.0, self._done / self._planned)) / self.experiences)

    def check_losses(self) -> None:
        """Check the losses that were noted since the last time.

        Raises:
            Diverged: A loss is not finite.
        """
        losses, self._losses = self._losses, []
        for step, finite in losses:
            if not bool(finite):
                raise Diverged(step, "the loss is not finite at")

    # ------------------------------------------------------------------ samples

    def _count(self, strategy: Any) -> None:
        """Count the samples of a step: up to a batch belongs to the stream, further learned samples are rehearsed.

        A batch that holds no more samples than the stream's contains no rehearsal: all of it is the method's view of
        the stream (``Cumulative``, ``GDumb``). Samples that are fetched and not learned (MIR's candidates) are side
        work.
        """
        own, rows, learned = (new - old for new, old in zip(self._now(), self._marks, strict=True))
        self._mark()
        size = strategy.train_mb_size
        stream = rows if rows <= size else min(own, size, len(strategy.mbatch[0]))
        self.cost.stream_rows += stream
        replay = min(rows - stream, max(0, learned - stream))
        if rows < len(strategy.mbatch[0]) <= size:  # its replay buffer holds tensors of its own, as ICaRL's does
            replay += len(strategy.mbatch[0]) - rows
        self.cost.replay_rows += replay
        self.drawn += rows - own
        self.settle()

    def _now(self) -> tuple[int, int, int]:
        """Return the samples fetched of the running experience, all samples fetched, and samples passed forward with a
        gradient."""
        meter = self.meter
        return meter.fetched[meter.running], meter.fetched.total(), meter.backward

    def _mark(self) -> None:
        self._marks = self._now()

    def settle(self) -> None:
        """Count samples that passed through the model outside of steps as side work."""
        main = self.cost.stream_rows + self.cost.replay_rows
        self.cost.extra_forward_rows = max(0, self.meter.forward - main)
        self.cost.extra_backward_rows = max(0, self.meter.backward - main)

"""What the loop uses: a learner with its optimiser, the stream that it learns, the order of samples, and checkpoints.

Parts of a strategy have no access to it. Letters: B samples of a batch, C outputs, N samples of an experience, T tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from clbench.benchmark.schema import Training
from clbench.core.cost import Cost
from clbench.core.global_rng import set_torch_states, torch_states
from clbench.core.rng import Generator
from clbench.core.types import Experience, Index, Stream
from clbench.models.flat_weights import flatten
from clbench.training.answered_model import Answer
from clbench.training.batch_splits import BatchSplit
from clbench.training.class_arrivals import Arrivals
from clbench.training.device_rows import Resident
from clbench.training.frozen_weights import FrozenWeights
from clbench.training.gradient_probe import Probe
from clbench.training.learner import ExperienceView, Learner
from clbench.training.learner_readout import Readout
from clbench.training.loss_check import LossCheck
from clbench.training.lr_scale import ranges
from clbench.training.objective import Terms
from clbench.training.replay_buffer import Memory
from clbench.training.weight_steps import WeightSteps


class Trainer:
    """Train a learner on a stream, one experience, one order and one step at a time.

    Args:
        model: Returns :class:`clbench.models.output.Output`; on its device, with initial weights.
        training: Batch size, optimiser and longest gradient.
        stream: The stream it will learn.
        train: The training samples, on the device.
        memory: The run's replay buffer.
        seed: The run's seed.
        separate_heads: As in :class:`clbench.training.learner.Learner`.

    Attributes:
        learner: What parts of a strategy see.
        steps: The steps of the weights.
        losses: Checks that losses are finite.
        readout: Predicts with the learner, for an evaluator.
        probe: Splits the gradient at selected steps, if the settings ask for it.
    """

    def __init__(
        self,
        model: nn.Module,
        training: Training,
        *,
        stream: Stream,
        train: Resident,
        memory: Memory,
        seed: int,
        separate_heads: bool = False,
    ) -> None:
        self._flat = flatten(model)
        cost = Cost(weights=self._flat.w.numel())
        self._frozen = FrozenWeights(self._flat)
        self.steps = WeightSteps(self._flat, training, frozen=self._frozen, cost=cost)
        if training.lr_scale:
            self.steps.multiply(ranges(model, self._flat.slices, training.lr_scale))
        self.learner = Learner(
            model,
            self._flat,
            stream=stream,
            rows=train,
            memory=memory,
            cost=cost,
            frozen=self._frozen,
            steps=self.steps,
            batch_size=training.batch_size,
            separate_heads=separate_heads,
        )
        self.readout = Readout(self.learner)
        self.losses = LossCheck(self.learner.device)
        self.probe: Probe | None = None
        self._order = Generator(seed, "order")
        self._stream, self._rows, self._training = stream, train, training
        self._arrivals = Arrivals(train.family.n_labels(stream), len(stream.tasks))
        self._buffers = tuple(model.buffers())

    @property
    def hooks(self) -> Terms | None:
        """Return the strategy, whose objective and terms make the loss; the loop sets it."""
        return self.learner._hooks

    @hooks.setter
    def hooks(self, hooks: Terms | None) -> None:
        self.learner._hooks = hooks

    @property
    def steps_itself(self) -> bool:
        """Tell whether a part makes the steps, with gradients of its own."""
        return self.learner._steps_itself

    @steps_itself.setter
    def steps_itself(self, steps_itself: bool) -> None:
        self.learner._steps_itself = steps_itself

    @property
    def answer(self) -> Answer | None:
        """Return the ``answer`` hook that replaces the model in training; ``None`` if the model itself is trained."""
        return self.learner._answer

    @answer.setter
    def answer(self, answer: Answer | None) -> None:
        self.learner._answer = answer

    # ------------------------------------------------------------------ experiences and orders

    def enter(self, experience: Experience) -> ExperienceView:
        """Make an experience's samples the current ones.

        If its boundary is visible, its classes count as seen from here on; if it is hidden, see :meth:`meet`.
        """
        stream, learner, n = self._stream, self.learner, len(experience)
        labels = stream.labels(stream.dataset.train, experience.rows, experience.view)
        rows, y = torch.from_numpy(experience.rows), torch.from_numpy(labels)
        task = experience.task if stream.task_labels else -1  # what is hidden is not in the index either
        number = experience.id if experience.boundary else -1
        columns = [rows, y, *(torch.as_tensor(c).expand(n) for c in (task, experience.view, number))]
        learner.experience = experience.id if experience.boundary else None
        self._arrivals.enter(experience, labels)
        learner.classes.see(experience.classes if experience.boundary else (), inside=False)
        learner._freeze_unseen_heads()
        if self.probe is not None:
            self.probe.enter(experience.id)
        self._flat.check(learner.model, gradients=not self.steps_itself)
        steps = self._iterations(n, self._training.during(experience.id)) if experience.boundary else None
        index = torch.stack(columns)  # (5, N)
        return ExperienceView(index.to(learner.device), learner.experience, steps, index.numpy())

    def _iterations(self, n: int, training: Training) -> int:
        """Return the number of iterations on an experience of n samples with its settings."""
        if training.iterations is not None:
            return training.iterations
        split = BatchSplit(training.batch_size, training.drop_last, self.learner.side_work.fewest_rows)
        return training.epochs * split.count(n)

    def go_on(self, stream: Stream, train: Resident) -> None:
        """Continue with another stream that has the same outputs, whose samples are elsewhere; nothing else changes."""
        self._stream, self._rows = stream, train
        self.learner._use_rows(train)

    def order(self, n: int, *, shuffled: bool = True) -> Tensor:
        """Draw a random order of n samples, (n,), from the generator for orders; or return the order that they have."""
        if not shuffled:
            return torch.arange(n, device=self.learner.device)
        return torch.from_numpy(self._order.permutation(n)).to(self.learner.device)

    # ------------------------------------------------------------------ classes and tasks that arrive

    def arriving(self, order: Tensor, spans: Sequence[tuple[int, int]]) -> dict[int, tuple[Index, Index]]:
        """Find the batches ``spans`` of a pass in this order (n,) with which classes or tasks arrive.

        Returns:
            Place of the first sample -> what :meth:`meet` takes.
        """
        return self._arrivals.batches(lambda: order.cpu().numpy(), spans)

    def meet(self, arrivals: tuple[Index, Index], step: int) -> None:
        """Record the classes and tasks that arrive with the next batch, after ``step`` steps of the stream.

        If the boundary of the running experience is hidden, this is when a class begins to count as seen and to
        compete.
        """
        units, tasks = arrivals
        self._arrivals.note(units, tasks, step)
        if self.learner.experience is None and len(units):
            self.learner.classes.see(units.tolist(), inside=True)
            self.learner._freeze_unseen_heads()

    @property
    def first_met(self) -> Index:
        """Return (C,) steps of the stream before the first batch that has a sample of each output unit, -1 for none."""
        return self._arrivals.met[: None if self.learner.family.has_classes else 0].copy()

    @property
    def first_counted(self) -> Index:
        """Return (T,) steps before the first batch that has a sample of each task, if boundaries are hidden.

        It is (0,) if no boundary is hidden: then tasks count from the beginning of their experience.
        """
        return self._arrivals.counted[: None if self._arrivals.hides else 0].copy()

    # ------------------------------------------------------------------ checkpoints

    def snapshot(self) -> dict[str, Any]:
        """Return all that is needed to continue bit for bit: weights, buffers, optimiser, replay buffer, generators."""
        learner = self.learner
        return {
            "w": learner.w.detach().clone(),
            "buffers": [b.clone() for b in self._buffers],
            "modes": [m.training for m in self.readout.modules],
            **self.steps.state,
            "memory": learner.memory.state,
            "order": self._order.state,
            "augment": self._rows.generator.get_state(),
            "torch": torch_states(learner.device),
            "seen": learner.classes.seen.clone(),
            "arrivals": self._arrivals.state,
            "masks": {name: mask.clone() for name, mask in self._frozen.masks.items()},
            "cost": dict(vars(learner.cost)),
            "probe": None if self.probe is None else self.probe.state,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Return to a snapshot, of this device or another; see :meth:`clbench.running.prepare.Run.restore`."""
        learner = self.learner
        learner.w.data.copy_(state["w"])
        for buffer, old in zip(self._buffers, state["buffers"], strict=True):
            buffer.copy_(old)
        for module, mode in zip(self.readout.modules, state["modes"], strict=True):
            module.__dict__["training"] = mode
        self.steps.state = state
        learner.memory.state = state["memory"]
        self._order.state = state["order"]
        self._rows.go_on(state["augment"])
        set_torch_states(state["torch"], learner.device)
        learner.classes.seen.copy_(state["seen"])
        self._arrivals.state = state["arrivals"]
        self._frozen.masks = {name: mask.to(learner.device).clone() for name, mask in state["masks"].items()}
        vars(learner.cost).update(state["cost"])
        if self.probe is not None:
            self.probe.state = state["probe"]

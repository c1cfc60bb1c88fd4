"""How a trainer is assembled: the one place where a learner gets its replay buffer, optimiser, probe and strategy.

The strategy's hooks are arguments, since training knows no strategy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from clbench.benchmark.run_settings import RunSettings
from clbench.benchmark.schema import Training
from clbench.core.errors import Refused
from clbench.core.global_rng import seed_others
from clbench.core.rng import derive
from clbench.core.types import Stream
from clbench.data.augment import augmenter
from clbench.models.output import Output
from clbench.scenarios import shows_boundaries
from clbench.training.accumulated_pass import AccumulatedPass
from clbench.training.batch_splits import BatchSplit
from clbench.training.compiled_pass import CompiledPass
from clbench.training.device_rows import Resident
from clbench.training.gradient_probe import Probe
from clbench.training.loop import Hooks
from clbench.training.pass_formats import set_formats
from clbench.training.replay_buffer import Memory
from clbench.training.trainer import Trainer


class StrategyHooks(Hooks, Protocol):
    """Describe what a learner and the loop call of a strategy: the hooks of the loop, those that change scores, and
    what builds the model."""

    predict: tuple[Any, ...]
    answer: Any

    @property
    def answers_in_training(self) -> bool:
        """Tell whether the ``answer`` hook replaces the model in training too."""

    def built(self, model: nn.Module, shape: tuple[int, ...], n_outputs: int, *, tokens: bool = False) -> nn.Module:
        """Return the model with what parts add to it; it is on the CPU."""


@dataclass
class TrainerSetup:
    """Describe what a trainer and its learner are made from.

    Args:
        settings: The settings of the run.
        seed: The seed of the run.
        stream: The stream that the strategy sees.
        rows: The training samples, on the device.
        model: With the run's initial weights, before parts add to it; returns :class:`clbench.models.output.Output`.
        device: ``cpu`` or ``cuda``; the model is moved there.
        share: Number of the benchmark's experiences in one that the strategy sees: all of them if they are merged.
    """

    settings: RunSettings
    seed: int
    stream: Stream
    rows: Resident
    model: nn.Module
    device: str = "cpu"
    share: int = 1

    @property
    def training(self) -> Training:
        """Return how the strategy makes steps on each experience that it sees."""
        return self.settings.training.over(self.share)


def assemble_trainer(setup: TrainerSetup, hooks: StrategyHooks) -> Trainer:
    """Return a trainer for the loop.

    Raises:
        Refused: An experience is too small for the model or for whole batches, or a replay buffer for its policy.
    """
    settings, stream, training = setup.settings, setup.stream, setup.training
    memory = Memory(
        settings.memory,
        classes=setup.rows.family.n_labels(stream),
        seed=setup.seed,
        device=setup.device,
        row_bytes=setup.rows.row_bytes,
    )
    model = _model(setup, hooks)
    formatted = set_formats(model, training, shape=stream.dataset.shape, device=setup.device)
    answer = None if hooks.answer is None else formatted(hooks.answer)
    trainer = Trainer(
        model,
        training,
        stream=stream,
        train=setup.rows,
        memory=memory,
        seed=setup.seed,
        separate_heads=settings.model.heads == "separate",
    )
    trainer.readout.predictors, trainer.readout.reader = hooks.predict, answer
    trainer.answer = answer if hooks.answers_in_training else None
    trainer.steps_itself = hooks.observe is not None
    learner = trainer.learner
    if training.accumulate > 1 or training.compile:
        learner._forward = _own_pass(trainer, training)
    if not learner.w.numel() and not trainer.steps_itself:
        raise Refused(
            "no weights of this model are trained (train: none), and this strategy trains some; write train: head, or "
            "choose a strategy without gradients such as ncm(features=model)"
        )
    split = BatchSplit(training.batch_size, training.drop_last, learner.side_work.fewest_rows)
    split.check(len(experience) for experience in stream)
    if "length" in settings.reveal:
        learner.total_steps = _total_steps(stream, training, split)
        learner.length = len(stream) if shows_boundaries(stream) else None
    if settings.evaluation.probe:
        trainer.probe = Probe(settings.evaluation.probe)
    return trainer


def _model(setup: TrainerSetup, hooks: StrategyHooks) -> nn.Module:
    """Return the model of a run with what parts add to it, on its device."""
    dataset = setup.stream.dataset
    built = hooks.built(setup.model.cpu(), dataset.shape, setup.stream.n_outputs, tokens=dataset.tokens)
    return built.to(setup.device)


def _own_pass(trainer: Trainer, training: Training) -> Callable[[Tensor], Output]:
    """Return the pass of a batch in chunks, or compiled, if steps are those of the loop and of the model alone."""
    name = "compile" if training.compile else "accumulate"
    if training.compile and training.accumulate > 1:
        raise Refused("training.compile and training.accumulate both replace the pass of a batch; leave one out")
    if trainer.steps_itself or trainer.answer is not None:
        how = "makes the steps itself" if trainer.steps_itself else "answers in place of the model in training"
        raise Refused(
            f"training.{name} is for the model's own pass, and a part of this strategy {how}; leave {name} out"
        )
    model = trainer.learner.model
    return CompiledPass(model) if training.compile else AccumulatedPass(model, training.accumulate)


def resident_rows(stream: Stream, training: Training, *, seed: int, device: str) -> Resident:
    """Return the training samples of a stream on a device, with the benchmark's augmentation."""
    return Resident(
        stream.dataset.train,
        stream.dataset,
        transform=stream.transform,
        augment=None if training.augment == "none" else augmenter(training.augment),
        seed=derive(seed, "augment"),
        device=device,
    )


def seed_training(seed: int) -> None:
    """Seed the global random number generators from which a model may draw while it trains, as dropout does."""
    seed_others(seed, "dropout")
    torch.manual_seed(derive(seed, "dropout"))


def _total_steps(stream: Stream, training: Training, split: BatchSplit) -> int:
    if training.iterations is not None:
        return training.iterations * len(stream)
    return sum(training.during(e).epochs * split.count(len(experience)) for e, experience in enumerate(stream))

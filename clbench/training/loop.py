"""The training loop. Read it from top to bottom: every place where a method may act is a line of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from clbench.benchmark import lr_schedules
from clbench.benchmark.schema import Training
from clbench.core.record import Kind
from clbench.core.types import Experience, Stream
from clbench.training.batch import Batch
from clbench.training.batch_splits import BatchSplit
from clbench.training.experience_passes import ENDED, EVERY_PASS, LEARNED, Cursor, Passes, PassWatch
from clbench.training.learner import ExperienceView, Learner, Output
from clbench.training.learner_readout import Readout
from clbench.training.objective import Terms
from clbench.training.trainer import Trainer


class Hooks(Terms, Protocol):
    """Describe what the loop calls of a strategy: ``hooks.NAME`` for each hook of
    :class:`clbench.strategies.part.Part`.

    Each is a tuple of the methods of the parts that have the hook. If only one part may have it: its method, or
    ``None``.
    """

    def __getattr__(self, name: str, /) -> Any: ...


class Looks(Protocol):
    """Describe what the loop calls of an evaluator."""

    def look(self, learner: Readout, kind: Kind, experience: int, step: int) -> None: ...


def train(
    trainer: Trainer,
    stream: Stream,
    hooks: Hooks,
    looks: Looks,
    training: Training,
    *,
    cursor: Cursor | None = None,
    tick: Callable[[Cursor, float], Any] | None = None,
    watch: PassWatch = EVERY_PASS,
    until: int | None = None,
    pause: Callable[[], Any] = lambda: None,
) -> None:
    """Learn a stream.

    Args:
        trainer: The learner, with its optimiser and the order of samples.
        stream: What is learned.
        hooks: The strategy.
        looks: Called after every step; decides at which steps it evaluates.
        training: Passes over each experience, or steps on it, last batches, the schedule of the learning rate, and
            whether momentum and moments are reset at visible boundaries.
        cursor: Where to continue; the beginning by default.
        tick: Called after every step with the cursor and the fraction of the stream done; may raise to stop.
        watch: Decides after each pass over an experience whether another one follows.
        until: The experience before which to stop, with the stream unfinished; ``None`` learns it to its end.
        pause: Called when the samples of an experience are learned, before its end hooks; the run can be saved there.

    Raises:
        Diverged: A loss is not finite. On a GPU this is noticed at the end of the experience.
    """
    at, learner = cursor or Cursor(), trainer.learner
    memory = learner.memory
    split = BatchSplit(learner.batch_size, training.drop_last, learner.side_work.fewest_rows)
    trainer.hooks = hooks
    begin_run(trainer, hooks, looks, at)
    for number in range(at.experience, len(stream) if until is None else until):
        experience, own = stream[number], training.during(number)
        passes = Passes(own.epochs, own.iterations, split, watch)
        rate = lr_schedules.rate(own.lr_schedule, own.epochs)
        trainer.steps.follow(number, begins=not at.begun)
        shown = trainer.enter(experience)
        if not at.begun:
            looks.look(trainer.readout, Kind.SWITCH, number, at.step)
            begin_experience(trainer, hooks, experience, shown, at, training)
        elif at.owes:  # the run was interrupted in this evaluation
            looks.look(trainer.readout, Kind.STEP, number, at.step)
        at.experience, at.begun, at.owes = number, True, False
        for batch, stop, done in passes.batches(trainer, shown, at, partial(order, trainer, hooks, experience, shown)):
            if rate is not None:
                trainer.steps.scale_lr(rate(number, done, len(stream), at.epoch))
            iterate(trainer, hooks, batch, at.step + 1)
            if memory.size:
                memory.admit(batch)
            at.advance(stop)
            looks.look(trainer.readout, Kind.STEP, number, at.step)
            if tick:
                tick(at, (number + min(done, 1.0)) / len(stream))
        trainer.losses.check()
        if at.stage == LEARNED:  # not so if the run was interrupted in the evaluation below
            pause()
            end_experience(learner, hooks, experience, shown)
            at.stage = ENDED
        looks.look(trainer.readout, Kind.END, number, at.step)
        at.leave_experience()
    for finish in hooks.end_stream if until is None else ():
        finish(learner)
    if hooks.end_stream and until is None:
        looks.look(trainer.readout, Kind.END, len(stream) - 1, at.step)


def begin_run(trainer: Trainer, hooks: Hooks, looks: Looks, at: Cursor) -> None:
    """Attach the parts and, if the run is not resumed, evaluate the untrained model."""
    begins = at.step == 0 and not at.begun
    if begins:  # a resumed run has the modes of its snapshot
        trainer.learner.model.train()
    for attach in hooks.attach:
        attach(trainer.learner)
    if begins:
        looks.look(trainer.readout, Kind.START, -1, 0)


def begin_experience(
    trainer: Trainer, hooks: Hooks, experience: Experience, shown: ExperienceView, at: Cursor, training: Training
) -> None:
    """Begin an experience if its boundary is visible: hooks first, then merge samples of the replay buffer into it."""
    if not experience.boundary:
        return
    if training.optimizer_state == "reset":
        trainer.steps.reset()
    for begin in hooks.begin_experience:
        begin(trainer.learner, shown)
    for merge in hooks.merge:
        at.merged = _joined(at.merged, merge(trainer.learner, shown))


def order(
    trainer: Trainer, hooks: Hooks, experience: Experience, shown: ExperienceView, rows: int, epoch: int
) -> Tensor:
    """Return the order of samples in a pass: random or the stream's, then as the parts change it."""
    positions = trainer.order(rows, shuffled=experience.shuffled)
    for rearrange in hooks.order if experience.boundary else ():
        positions = _inside(rearrange(trainer.learner, shown, epoch, positions), rows)
    return positions


def iterate(trainer: Trainer, hooks: Hooks, batch: Batch, number: int) -> None:
    """Do one iteration, the ``number``-th from 1: an update on a batch of the stream, and further ones that a part asks
    for, each on a new batch of the same samples."""
    step(trainer, hooks, batch, number)
    if batch.repeat > 1 and not batch.skip:
        for repetition in range(1, batch.repeat):
            step(trainer, hooks, batch.again(repetition), number)


def step(trainer: Trainer, hooks: Hooks, batch: Batch, number: int) -> None:
    """Make one update on a batch."""
    learner = trainer.learner
    for extend in hooks.batch:
        extend(learner, batch)
    if batch.skip:
        if hooks.store and learner.memory.takes(batch):  # its samples are offered nevertheless
            _store(learner, hooks, batch, learner.side_work.forward(batch.x, task=batch.revealed_task(), training=True))
        return
    if hooks.observe is not None:  # a learner with a step of its own
        own = hooks.observe(learner, batch)
        if own is not None:
            trainer.losses.note(own, number)
        learner.cost.steps += 1
        _count(learner, batch)
        return
    for move in hooks.before_step:
        move(learner, batch)
    output = learner.run(batch)
    if hooks.store and learner.memory.takes(batch):
        _store(learner, hooks, batch, output)
    loss = learner.loss(batch, output)
    trainer.losses.note(loss, number)
    probe = trainer.probe if trainer.probe and trainer.probe.begin(learner, batch, output, number) else None
    learner.g.zero_()
    loss.backward()
    learner.freeze_idle_heads(batch)  # a projection has to know which weights will move
    for bend in hooks.gradient:
        bend(learner, batch)
    if probe:
        probe.end(learner)
    trainer.steps.step()
    for act in hooks.after_step:
        act(learner, batch)
    _count(learner, batch)


def end_experience(learner: Learner, hooks: Hooks, experience: Experience, shown: ExperienceView) -> None:
    """End an experience if its boundary is visible: the replay buffer chooses, if it does so at ends, then run
    hooks."""
    if not experience.boundary:
        return
    learner.memory.end_experience(shown.index, lambda index: learner.side_work.features(index).features)
    for end in hooks.end_experience:
        end(learner, shown)


def _store(learner: Learner, hooks: Hooks, batch: Batch, output: Output) -> None:
    for store in hooks.store:
        batch.stream.side |= {name: values.detach() for name, values in store(learner, batch, output).items()}


def _count(learner: Learner, batch: Batch) -> None:
    learner.cost.stream_rows += len(batch.stream)
    learner.cost.replay_rows += len(batch) - len(batch.stream)


def _joined(rows: Tensor | None, more: Tensor | None) -> Tensor | None:
    return more if rows is None else rows if more is None else torch.cat([rows, more], dim=1)


def _inside(order: Tensor, n: int) -> Tensor:
    if len(order) and (int(order.min()) < 0 or int(order.max()) >= n):
        raise AssertionError(f"a part's order reaches outside the running experience of {n} samples")
    return order

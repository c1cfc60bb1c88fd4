"""The loop. Nothing else trains. Read it from top to bottom: every place where a method may act is a line of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

from clbench.batch import Batch
from clbench.learner import Learner, Shown, classification_loss
from clbench.types import Kind, Stream


class Hooks(Protocol):
    """What the loop calls of a strategy: for each place, the methods of the parts that act there."""

    begin_experience: tuple[Callable[[Learner, Shown], None], ...]
    order: tuple[Callable[[Learner, Shown, int, Tensor], Tensor], ...]
    batch: tuple[Callable[[Learner, Batch], None], ...]
    before_step: tuple[Callable[[Learner, Batch], None], ...]
    objective: Callable[..., Tensor] | None
    loss: tuple[Callable[..., Tensor | None], ...]
    gradient: tuple[Callable[[Learner, Batch], None], ...]
    after_step: tuple[Callable[[Learner, Batch], None], ...]
    end_experience: tuple[Callable[[Learner, Shown], None], ...]
    end_stream: tuple[Callable[[Learner], None], ...]


class Looks(Protocol):
    """What the loop calls of an evaluator."""

    def look(self, learner: Learner, kind: Kind, experience: int, step: int) -> None: ...


@dataclass
class Cursor:
    """Where a run stands; with a snapshot of learner and parts, enough to go on bit for bit.

    Attributes:
        experience: The running experience.
        begun: Whether its begin hooks have run.
        epoch: The running pass over its rows.
        start: Rows of ``order`` already learned in this pass; ``order`` is ``None`` before a pass begins.
        step: Steps of the stream done.
    """

    experience: int = 0
    begun: bool = False
    epoch: int = 0
    start: int = 0
    step: int = 0
    order: Tensor | None = field(default=None, repr=False)


def train(
    learner: Learner,
    stream: Stream,
    hooks: Hooks,
    looks: Looks,
    *,
    epochs: int,
    iterations: int | None = None,
    drop_last: bool = False,
    cursor: Cursor | None = None,
    tick: Callable[[Cursor, float], Any] | None = None,
) -> None:
    """Learn a stream.

    Args:
        learner: What learns.
        stream: What is learned.
        hooks: The strategy.
        looks: Looks after every step; it decides which ones count.
        epochs: Passes over each experience.
        iterations: Steps on each experience, in place of ``epochs``.
        drop_last: Whether an incomplete last batch of a pass is left out.
        cursor: Where to go on; the beginning by default.
        tick: Called after every step with the cursor and the fraction of the stream done; may raise to stop.
    """
    at = cursor or Cursor()
    size, memory = learner.batch_size, learner.memory
    learner.model.train()
    if at.step == 0 and not at.begun:
        looks.look(learner, Kind.START, -1, 0)
    for number in range(at.experience, len(stream)):
        experience = stream[number]
        shown = learner.enter(experience)
        if experience.boundary and not at.begun:
            for begin in hooks.begin_experience:
                begin(learner, shown)
        at.experience, at.begun = number, True
        per_pass = _batches(len(shown), size, drop_last)
        passes = epochs if iterations is None else -(-iterations // max(1, per_pass))
        for epoch in range(at.epoch, passes):
            at.epoch = epoch
            if at.order is None:
                at.order = learner.order(len(shown), shuffled=experience.shuffled)
                for rearrange in hooks.order:
                    at.order = _inside(rearrange(learner, shown, epoch, at.order), len(shown))
            index = shown.index[:, at.order]
            n = size * _batches(index.shape[1], size, drop_last)
            if iterations is not None and epoch == passes - 1:
                n = min(n, size * (iterations - epoch * per_pass))
            for start in range(at.start, n, size):
                batch = learner.batch(index[:, start : start + size], first_pass=epoch == 0)
                step(learner, hooks, batch)
                if memory.size:
                    memory.admit(batch)
                at.start, at.step = start + size, at.step + 1
                looks.look(learner, Kind.STEP, number, at.step)
                if tick:
                    tick(at, (number + (epoch + at.start / n) / passes) / len(stream))
            at.order, at.start = None, 0
        if memory.admit_when == "end":
            memory.admit_shuffled(shown.index)
        if experience.boundary:
            for end in hooks.end_experience:
                end(learner, shown)
        looks.look(learner, Kind.END, number, at.step)
        at.begun, at.epoch = False, 0
    for finish in hooks.end_stream:
        finish(learner)
    if hooks.end_stream:
        looks.look(learner, Kind.END, len(stream) - 1, at.step)


def step(learner: Learner, hooks: Hooks, batch: Batch) -> None:
    """One iteration on one batch of the stream."""
    for extend in hooks.batch:
        extend(learner, batch)
    for move in hooks.before_step:
        move(learner, batch)
    output = learner.model(batch.x)
    loss = hooks.objective(learner, batch, output) if hooks.objective else classification_loss(output.logits, batch)
    for term in hooks.loss:
        value = term(learner, batch, output)
        loss = loss if value is None else loss + value
    learner.g.zero_()
    loss.backward()
    for bend in hooks.gradient:
        bend(learner, batch)
    learner.hold_idle_heads(batch)
    learner.apply()
    for act in hooks.after_step:
        act(learner, batch)
    learner.cost.stream_rows += len(batch.stream)
    learner.cost.replay_rows += len(batch) - len(batch.stream)


def _batches(rows: int, size: int, drop_last: bool) -> int:
    return rows // size if drop_last else -(-rows // size)


def _inside(order: Tensor, n: int) -> Tensor:
    if len(order) and (int(order.min()) < 0 or int(order.max()) >= n):
        raise AssertionError(f"a part's order reaches outside the running experience of {n} rows")
    return order

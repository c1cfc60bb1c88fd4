"""The passes over the samples of an experience, batch after batch, from wherever a run is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clbench.core import host_reads
from clbench.core.record import Kind
from clbench.training.batch import Batch
from clbench.training.batch_splits import BatchSplit
from clbench.training.learner import ExperienceView
from clbench.training.trainer import Trainer

NOWHERE: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
LEARNING, LEARNED, ENDED = range(3)
"""Stages of a running experience: its passes are made, all of them have been made, its end hooks have run too."""


@dataclass
class Cursor:
    """Describe where a run is; with a snapshot of learner and parts, this is enough to resume it bit for bit.

    Attributes:
        experience: The running experience.
        begun: Whether its begin hooks have run.
        epoch: The running pass over its samples.
        start: Samples of ``order`` already learned in this pass; ``order`` is ``None`` before a pass begins.
        step: Steps of the stream done.
        made: Steps of the running experience done.
        stage: The stage of the running experience.
        owes: Whether the evaluation after the last step was interrupted, so that it is still to be made.
        merged: (5, n) samples of the replay buffer that are merged into the running experience.
    """

    experience: int = 0
    begun: bool = False
    epoch: int = 0
    start: int = 0
    step: int = 0
    made: int = 0
    stage: int = LEARNING
    owes: bool = False
    order: Tensor | None = field(default=None, repr=False)
    merged: Tensor | None = field(default=None, repr=False)

    def advance(self, stop: int) -> None:
        """Count a step that has learned the samples of the pass up to ``stop``."""
        self.start, self.step, self.made = stop, self.step + 1, self.made + 1

    def leave_experience(self) -> None:
        """Forget the running experience, which has ended."""
        self.begun, self.epoch, self.made, self.order, self.start, self.merged = False, 0, 0, None, 0, None
        self.stage = LEARNING

    def keep_evaluation(self, kind: int, experience: int) -> bool:
        """Note an evaluation that was interrupted, so that the run makes it when it is resumed.

        Args:
            kind: The value of :class:`clbench.core.record.Kind` of the evaluation.
            experience: The experience that it names.

        Returns:
            Whether the run can be resumed from here.
        """
        if kind == Kind.STEP:
            self.owes = True
        elif kind == Kind.SWITCH:
            self.experience = experience
        elif kind == Kind.END:
            return self.begun  # otherwise the parts have acted at the end of the stream
        return kind != Kind.START


class PassWatch(Protocol):
    """Decide after each pass over an experience whether another one follows."""

    def goes_on(self, trainer: Trainer, at: Cursor) -> bool:
        """Return whether another pass may follow the one that has just ended."""
        ...

    def finish(self, trainer: Trainer) -> None:
        """End the passes over an experience, whether they were stopped or not."""
        ...


class EveryPass:
    """Make every pass that the settings ask for."""

    def goes_on(self, trainer: Trainer, at: Cursor) -> bool:
        """Return ``True``."""
        return True

    def finish(self, trainer: Trainer) -> None:
        """Do nothing."""


EVERY_PASS = EveryPass()


@dataclass(frozen=True)
class Passes:
    """Describe how long each experience is learned, and in which batches.

    Args:
        epochs: Passes over an experience.
        iterations: Steps on an experience, instead of ``epochs``; passes are repeated until they are done.
        split: The batches of a pass.
        watch: Ends passes early, if the settings ask for it.
    """

    epochs: int
    iterations: int | None
    split: BatchSplit
    watch: PassWatch = EVERY_PASS

    def batches(
        self, trainer: Trainer, shown: ExperienceView, at: Cursor, arrange: Callable[[int, int], Tensor]
    ) -> Iterator[tuple[Batch, int, float]]:
        """Generate the batches of an experience that remain to be learned.

        The caller advances the cursor after each step; an interrupted pass continues after its last step.

        Args:
            trainer: Makes the batches; classes count as seen when the batch that brings them is made.
            shown: The samples of the experience.
            at: Where the run is.
            arrange: From the number of samples N (including merged ones) and the pass to the order of its samples (any
                length,), each in [0, N).

        Yields:
            A batch; the place in the order of its pass where it ends; and the fraction of the experience's steps that
            are done when it is learned, above 1 if a part makes passes longer.
        """
        if at.stage != LEARNING:
            return
        own, merged = len(shown), at.merged
        index = shown.index if merged is None else torch.cat([shown.index, merged], dim=1)  # (5, N)
        per_pass = self.split.count(index.shape[1])
        while at.epoch < self.epochs if self.iterations is None else at.made < self.iterations:
            epoch = at.epoch
            if at.order is None:
                at.order = arrange(index.shape[1], epoch)
            order, spans = at.order, self._spans_left(at, len(at.order))
            if self.iterations is not None and not spans and not at.start:
                break  # there is nothing to learn in any pass
            arriving = trainer.arriving(order, spans)
            known = None if host_reads.free(order.device) else shown.host  # a batch on a CPU can be read as it is
            # the order is fetched once per pass, so that no step waits for a GPU
            places = NOWHERE if known is None and merged is None else order.cpu().numpy()
            ours, theirs = (None, None) if merged is None else _apart(order, places, own)
            for start, stop in spans:
                if start in arriving:
                    trainer.meet(arriving[start], at.step)
                if ours is None or theirs is None:
                    host = None if known is None else partial(_columns, known, places[start:stop])
                    batch = trainer.learner.batch(index[:, order[start:stop]], first_pass=epoch == 0, host=host)
                else:
                    positions, at_host = ours.of(start, stop)
                    host = None if known is None else partial(_columns, known, at_host)
                    batch = trainer.learner.batch(index[:, positions], first_pass=epoch == 0, host=host)
                    batch.merge(index[:, theirs.of(start, stop)[0]])
                if self.iterations is None:
                    done = (epoch * per_pass + start // self.split.size + 1) / (self.epochs * per_pass)
                else:
                    done = (at.made + 1) / self.iterations
                yield batch, stop, done
            at.epoch, at.order, at.start = epoch + 1, None, 0
            if not self.watch.goes_on(trainer, at):
                break
        self.watch.finish(trainer)
        at.stage = LEARNED

    def _spans_left(self, at: Cursor, rows: int) -> list[tuple[int, int]]:
        """Return (start, stop) of the batches of a pass that remain to be learned, no more than there are steps
        left."""
        spans = [span for span in self.split.spans(rows) if span[0] >= at.start]
        return spans if self.iterations is None else spans[: self.iterations - at.made]


@dataclass(frozen=True, eq=False)
class _Own:
    """Hold the positions (m,) of one kind of samples in the order of a pass, on the device and on the host.

    Args:
        device, host: The positions.
        before: (n + 1,) how many of them are before each place of the order.
    """

    device: Tensor
    host: NDArray[np.int64]
    before: NDArray[np.int64]

    def of(self, start: int, stop: int) -> tuple[Tensor, NDArray[np.int64]]:
        """Return those between two places of the order, on the device and on the host."""
        span = slice(int(self.before[start]), int(self.before[stop]))
        return self.device[span], self.host[span]


def _apart(order: Tensor, places: NDArray[np.int64], own: int) -> tuple[_Own, _Own]:
    """Return the positions below ``own``, of the experience's samples, and the others, of merged samples."""
    found = []
    for chosen in (places < own, places >= own):
        host = places[chosen]
        before = np.concatenate([[0], chosen.cumsum()])
        found.append(_Own(torch.from_numpy(host).to(order.device), host, before))
    return found[0], found[1]


def _columns(host: NDArray[np.int64], positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return some columns of an index matrix (5, N)."""
    return host[:, positions]

"""Train a run by our own loop, save and resume it, and compute its cost."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from clbench.adapters.run_setup import RunSetup, Skip
from clbench.benchmark.schema import Training
from clbench.core.cost import Cost
from clbench.core.errors import Refused
from clbench.core.global_rng import global_states, set_others
from clbench.core.record import Trace
from clbench.core.stop_request import EvaluationInterrupted
from clbench.core.types import Stream
from clbench.evaluate import Evaluator
from clbench.evaluate.early_stopping import EarlyStopping
from clbench.models.blank import Blank
from clbench.models.flops import per_row
from clbench.running.alarms import alarms
from clbench.running.cell_key import Cell
from clbench.running.continual_search import ContinualSearch
from clbench.running.snapshots import Tick
from clbench.scenarios import merging
from clbench.strategies.chain import Chain
from clbench.strategies.part import Part
from clbench.training.assemble import assemble_trainer, seed_training
from clbench.training.experience_passes import ENDED, EVERY_PASS, Cursor
from clbench.training.learner import Learner
from clbench.training.loop import train
from clbench.training.trainer import Trainer


@dataclass
class Run:
    """Hold everything of one run that our own loop trains.

    A run resumes from :meth:`snapshot` with the same bits, also in another process.

    Args:
        cell: The cell that is run.
        stream: The stream that the strategy sees.
        chain: The strategy at work.
        trainer: The trainer that the loop uses.
        evaluator: Evaluates the learner during the run.
        training: How the strategy is trained on each experience of ``stream``.
        cursor: Where the run is.
        share: Number of the benchmark's experiences in one of this run: all of them if the strategy sees the stream
            merged.
        resumable: Whether the run resumes with the same bits.
        data: Checksum of the data set from which the stream was made.
        stopping: Ends experiences early, if the settings ask for it.
        search: Chooses settings of the strategy in each experience, if the settings ask for it.
    """

    cell: Cell
    stream: Stream
    chain: Chain
    trainer: Trainer
    evaluator: Evaluator
    training: Training
    cursor: Cursor = field(default_factory=Cursor)
    share: int = 1
    resumable: bool = True
    data: str = ""
    stopping: EarlyStopping | None = None
    search: ContinualSearch | None = None

    @classmethod
    def of(cls, cell: Cell, parts: list[Part], setup: RunSetup, search: ContinualSearch | None = None) -> Run:
        """Assemble a run of a cell by our own loop, with a search if it chooses settings itself.

        Raises:
            Refused: The cell is impossible with this model.
            Skip: The strategy makes steps of its own, which early stopping cannot end.
        """
        chain = Chain(parts, seed=setup.seed, single=len(setup.stream) == 1)
        trainer = assemble_trainer(setup, chain)
        if setup.stopping is not None and trainer.steps_itself:
            raise Skip(
                f"training.stop measures and restores the weights of the network, and {cell.label} makes steps of its "
                "own; leave stop out for it"
            )
        return cls(
            cell, setup.stream, chain, trainer, setup.evaluator, setup.training, share=setup.share,
            stopping=setup.stopping, search=search,
        )  # fmt: skip

    @property
    def learner(self) -> Learner:
        """Return the learner that the parts of the strategy see."""
        return self.trainer.learner

    def train(self, tick: Tick | None = None, pause: Callable[[], Any] = lambda: None) -> None:
        """Train from where the cursor is to the end of the stream.

        Args:
            tick: A function that is called after every step.
            pause: A function that is called when the samples of an experience are learned, before its end hooks.

        Raises:
            Interrupted: The run is asked to stop; it says whether a snapshot of it can be resumed.
        """
        if self.cursor.step == 0 and not self.cursor.begun:
            seed_training(self.cell.seed)
        learn = partial(
            train,
            self.trainer,
            self.stream,
            self.chain,
            training=self.training,
            cursor=self.cursor,
            tick=None if tick is None else lambda cursor, done: tick(cursor.step, self._fraction(done)),
            watch=self.stopping or EVERY_PASS,
            pause=pause,
        )
        try:
            if self.search is None:
                learn(looks=self.evaluator)
            else:
                self.search.learn(self, learn)
        except EvaluationInterrupted as stop:
            stop.savable = self.cursor.keep_evaluation(stop.kind, stop.experience)
            raise

    def _fraction(self, done: float) -> float:
        """Return the fraction of the run that is done, from that of the stream."""
        return done if self.search is None else self.search.fraction(self, done)

    def snapshot(self) -> dict[str, Any]:
        """Return all that a run needs to resume: learner, parts, generators, trace and cursor."""
        return {**self.standing(), **({} if self.search is None else {"search": self.search.state})}

    def standing(self) -> dict[str, Any]:
        """Return a snapshot without what a search for settings has found."""
        return {
            "key": self.cell.key,
            "learner": self.trainer.snapshot(),
            "chain": self.chain.snapshot(),
            "evaluator": self.evaluator.snapshot(),
            "cursor": dict(vars(self.cursor)),
            "generators": global_states(),
            **({} if self.stopping is None else {"stopping": self.stopping.state}),
        }

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Return to a snapshot of the same cell, taken on this device or on another.

        On another kind of device, the generators of the device itself (dropout, augmentation) begin anew from the run's
        seed. Everything else continues.

        Raises:
            Refused: The snapshot belongs to another cell, or has another layout.
        """
        reason = _unlike(self.snapshot(), snapshot, len(self.stream))
        if reason:
            raise Refused(f"this snapshot {reason}; remove it")
        self.return_to(snapshot)
        if self.search is not None:
            self.search.restore(snapshot["search"], self)

    def return_to(self, snapshot: dict[str, Any], *, spent: bool = False) -> None:
        """Return to a snapshot of this run, which is not checked again.

        Args:
            snapshot: The snapshot.
            spent: Whether costs and times stay as they are, because what was done since then counts.
        """
        if spent:
            learner = {**snapshot["learner"], "cost": dict(vars(self.learner.cost))}
            evaluator = {**snapshot["evaluator"], "seconds": self.evaluator.seconds, "elapsed": self.evaluator.elapsed}
            snapshot = {**snapshot, "learner": learner, "evaluator": evaluator}
        self.trainer.restore(snapshot["learner"])
        self.chain.restore(snapshot["chain"], self.learner.device)
        self.evaluator.restore(snapshot["evaluator"])
        if self.stopping is not None:
            self.stopping.restore(snapshot["stopping"], self.learner.device)
        if "generators" in snapshot:
            set_others(snapshot["generators"])
        for name, value in snapshot["cursor"].items():
            setattr(self.cursor, name, value.to(self.learner.device) if isinstance(value, torch.Tensor) else value)

    @property
    def tuning(self) -> dict[str, Any]:
        """Return how the run chose settings itself, for its record; empty if it did not."""
        return {} if self.search is None else self.search.provenance

    def account(self) -> Cost:
        """Return the cost of the run so far: steps, samples, time, bytes and operations."""
        cost = self.learner.cost
        memory = self.learner.memory
        used = memory.draws > 0 or any("memory" in part.needs for part in self.chain.parts)
        cost.memory_bytes, cost.state_bytes = memory.bytes if used else 0, self.chain.bytes
        if isinstance(self.learner.model, Blank):
            cost.weights = 0
            return cost
        # a program's own model may not be countable
        with suppress(Exception), self.learner.side_work.undisturbed(training=True):
            data = self.stream.dataset
            operations = per_row(self.learner.model, data.shape, device=self.learner.device, tokens=data.tokens)
            cost.count_flops(*operations)
        return cost

    def trace(self) -> Trace:
        """Return what the evaluator and the probe have recorded so far."""
        trainer, probe = self.trainer, self.trainer.probe
        trace = replace(self.evaluator.trace(), met=trainer.first_met, counted=trainer.first_counted)
        if probe is None:
            return trace
        return replace(trace, probe_step=np.array(probe.steps, dtype=np.int64), probe=probe.columns().numpy())

    def alarms(self, *, done: bool = True) -> tuple[str, ...]:
        """Return what looks wrong although nothing failed.

        Args:
            done: Whether the run has ended; before that, an alarm cannot say that something never happened.
        """
        settings = self.cell.config
        return alarms(self.chain, self.trainer, self.stream, self.evaluator.trace(), settings=settings, done=done)

    def shorten(self, places: list[int], iterations: int, evaluator: Any) -> None:
        """Train on some experiences only, with a given number of iterations each and another evaluator."""
        self.training, self.share = self.training.model_copy(update={"iterations": iterations}), 1
        self.stopping = self.search = None
        self.stream, self.evaluator = merging.only(self.stream, places), evaluator


def _unlike(ours: dict[str, Any], other: Any, experiences: int) -> str:
    """Return why a run cannot return to a snapshot; empty if nothing speaks against it."""
    for name, held in {"": ours, **{name: held for name, held in ours.items() if isinstance(held, dict)}}.items():
        found = other.get(name) if name else other
        if not isinstance(found, dict) or found.keys() != held.keys():
            return f"has not the fields that this clbench writes{f' under {name}' if name else ''}"
    if other["key"] != ours["key"]:
        return f"belongs to cell {other['key']}, not to {ours['key']}"
    shapes = [[tuple(t.shape) for t in (held["learner"]["w"], *held["learner"]["buffers"])] for held in (ours, other)]
    if shapes[0] != shapes[1]:
        return "is of a model with other weights or buffers"
    return "" if _stands(other, experiences) else "stands at no step of this stream"


def _stands(snapshot: dict[str, Any], experiences: int) -> bool:
    """Return whether the cursor of a snapshot is a place of the stream, and not before its last evaluation."""
    cursor, looks = snapshot["cursor"], snapshot["evaluator"]["looks"]
    counts = [cursor[name] for name in ("experience", "epoch", "start", "step", "made", "stage")]
    if not all(type(count) is int and count >= 0 for count in counts):
        return False
    last = looks[-1][0] if looks else 0
    there = cursor["experience"] < experiences and cursor["stage"] <= ENDED and last <= cursor["step"]
    return bool(there and cursor["start"] <= (0 if cursor["order"] is None else len(cursor["order"])))

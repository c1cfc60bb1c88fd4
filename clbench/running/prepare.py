"""One run: everything of a cell made ready to train, by our loop or by another library's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from clbench import adapters, models
from clbench.adapters.run_setup import Job, RunSetup, Skip
from clbench.benchmark import lr_schedules
from clbench.benchmark.hidden_boundaries import check_hidden
from clbench.benchmark.schema import Evaluation, Training
from clbench.core.cost import Cost
from clbench.core.errors import Refused
from clbench.core.global_rng import global_states, preserved, seed_others, set_others
from clbench.core.record import Trace
from clbench.core.rng import derive
from clbench.core.types import Dataset, Stream
from clbench.data.augment import augmenter
from clbench.evaluate import Evaluator
from clbench.models.blank import Blank
from clbench.models.flops import per_row
from clbench.running.alarms import alarms
from clbench.running.plan import Cell, given_stream, make_stream, rows
from clbench.running.snapshots import Tick
from clbench.scenarios import merging, shows_boundaries
from clbench.strategies.chain import Chain, check, undefined, unmet
from clbench.strategies.part import Part
from clbench.strategies.strategy import Declarations
from clbench.training.device_rows import Resident
from clbench.training.experience_passes import Cursor
from clbench.training.learner import Learner
from clbench.training.loop import train
from clbench.training.memory import Memory
from clbench.training.optimizers import optimizer
from clbench.training.passes import BatchSplit
from clbench.training.probe import Probe


@dataclass
class UserObjects:
    """What a program hands over in place of names: its own arrays, stream and module.

    Args:
        dataset: In place of the one named in the benchmark.
        stream: In place of the benchmark's: one for all seeds, or a function from a seed to its stream.
        model: A module, whose weights are every run's initial weights, or a function ``(shape, n_outputs) -> module``.
        alter: From the strategy's parts to those that run in their place.
    """

    dataset: Dataset | None = None
    stream: Stream | Callable[[int], Stream] | None = None
    model: nn.Module | Callable[[tuple[int, ...], int], nn.Module] | None = None
    alter: Callable[[list[Part]], list[Part]] | None = None


@dataclass
class Run:
    """Everything of one run, ready to train.

    A run goes on bit for bit from :meth:`snapshot`, also in another process.
    """

    cell: Cell
    stream: Stream
    chain: Chain
    learner: Learner
    evaluator: Evaluator
    cursor: Cursor
    share: int = 1
    """Experiences of the benchmark in one of this run's: all of them where the strategy sees the stream merged."""
    resumable: bool = True
    data: str = ""

    def train(self, tick: Tick | None = None) -> None:
        """Learn from where the cursor stands to the end of the stream."""
        if self.cursor.step == 0 and not self.cursor.begun:
            seed_others(self.cell.seed, "dropout")
            torch.manual_seed(derive(self.cell.seed, "dropout"))
        training = Training(**self.cell.config["training"])
        per_experience = training.iterations
        train(
            self.learner,
            self.stream,
            self.chain,
            self.evaluator,
            epochs=training.epochs,
            iterations=per_experience and per_experience * self.share,
            drop_last=training.drop_last,
            rate=lr_schedules.rate(training.lr_schedule),
            reset_optimizer=training.optimizer_state == "reset",
            cursor=self.cursor,
            tick=None if tick is None else lambda cursor, done: tick(cursor.step, done),
        )

    def snapshot(self) -> dict[str, Any]:
        """Weights, buffers, optimiser, generators, memory, part state, trace and cursor."""
        return {
            "key": self.cell.key,
            "learner": self.learner.snapshot(),
            "chain": self.chain.snapshot(),
            "evaluator": self.evaluator.snapshot(),
            "cursor": dict(vars(self.cursor)),
            "generators": global_states(),
        }

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Return to a snapshot of the same cell, taken on this device or on another.

        On another kind of device generators of the device itself (dropout, augmentation) cannot go on where they were:
        they begin anew from the run's seed. All else goes on.

        Raises:
            Refused: The snapshot is another cell's, or of another layout.
        """
        reason = _unlike(self.snapshot(), snapshot, len(self.stream))
        if reason:
            raise Refused(f"this snapshot {reason}; remove it")
        self.learner.restore(snapshot["learner"])
        self.chain.restore(snapshot["chain"], self.learner.device)
        self.evaluator.restore(snapshot["evaluator"])
        if "generators" in snapshot:
            set_others(snapshot["generators"])
        for name, value in snapshot["cursor"].items():
            setattr(self.cursor, name, value.to(self.learner.device) if isinstance(value, torch.Tensor) else value)

    def account(self) -> Cost:
        """What has been spent."""
        cost = self.learner.cost
        memory = self.learner.memory
        used = memory.draws > 0 or any("memory" in part.needs for part in self.chain.parts)
        cost.memory_bytes, cost.state_bytes = memory.bytes if used else 0, self.chain.bytes
        if isinstance(self.learner.model, Blank):
            cost.weights = 0
            return cost
        with suppress(Exception), self.learner.undisturbed(training=True):  # a program's own model may not be countable
            cost.count_flops(*per_row(self.learner.model, self.stream.dataset.shape, device=self.learner.device))
        return cost

    def trace(self) -> Trace:
        """What has been seen, at looks and by the probe."""
        learner, probe = self.learner, self.learner.probe
        trace = replace(self.evaluator.trace(), met=learner.first_met, counted=learner.first_counted)
        if probe is None:
            return trace
        return replace(trace, probe_step=np.array(probe.steps, dtype=np.int64), probe=probe.columns().numpy())

    def alarms(self, *, done: bool = True) -> tuple[str, ...]:
        """What looks wrong although nothing failed; where it did, nothing is said to have never happened."""
        settings = self.cell.config
        return alarms(self.chain, self.learner, self.stream, self.evaluator.trace(), settings=settings, done=done)

    def shorten(self, places: list[int], iterations: int, evaluator: Any) -> None:
        """Learn only these experiences, so many iterations each, with something else in the evaluator's place."""
        training = {**self.cell.config["training"], "iterations": iterations}
        self.cell, self.share = replace(self.cell, config={**self.cell.config, "training": training}), 1
        self.stream, self.evaluator = merging.only(self.stream, places), evaluator


def _unlike(ours: dict[str, Any], other: Any, experiences: int) -> str:
    """Why a run cannot return to a snapshot that another made; what cannot be seen here shows when it is tried."""
    for name, held in {"": ours, **{name: held for name, held in ours.items() if isinstance(held, dict)}}.items():
        found = other.get(name) if name else other
        if not isinstance(found, dict) or found.keys() != held.keys():
            return f"has not the fields that this clbench writes{f' under {name}' if name else ''}"
    if other["key"] != ours["key"]:
        return f"belongs to cell {other['key']}, not to {ours['key']}"
    shapes = [[tuple(t.shape) for t in (held["learner"]["w"], *held["learner"]["buffers"])] for held in (ours, other)]
    if shapes[0] != shapes[1]:
        return "is of a model with other weights or buffers"
    cursor = other["cursor"]
    if (
        min(cursor[name] for name in ("experience", "epoch", "start", "step")) < 0
        or cursor["experience"] >= experiences
    ):
        return "stands at no step of this stream"
    return ""


def prepare(cell: Cell, *, data_dir: str | None = None, device: str = "cpu", given: UserObjects | None = None) -> Run:
    """Build everything of a run by our loop; see :func:`prepare_job`.

    Raises:
        Refused: As there, and where another library's loop runs the strategy.
    """
    job = prepare_job(cell, data_dir=data_dir, device=device, given=given)
    if not isinstance(job, Run):
        raise Refused(f"{cell.label} is run by another library's loop, which cannot do this; choose another")
    return job


def prepare_job(
    cell: Cell, *, data_dir: str | None = None, device: str = "cpu", given: UserObjects | None = None
) -> Job:
    """Build everything of a run; stream, order and initial weights depend on benchmark and seed only.

    Args:
        cell: What to run.
        data_dir: Where data sets lie.
        device: ``cpu`` or ``cuda``.
        given: Arrays or a module in place of names.

    Raises:
        Refused: The data is missing or damaged, or the cell is impossible.
        Skip: The strategy needs what the stream hides.
    """
    parts, setup = parts_and_setup(cell, data_dir=data_dir, device=device, given=given)
    job: Job = adapters.host(parts, setup) if adapters.engine(parts) else assembled(cell, parts, setup)
    own = None if given is None else given.dataset
    if given is not None and given.stream is not None:
        job.data = setup.shown.dataset.checksum
    else:
        job.data = rows(cell.config["stream"], data_dir=data_dir, dataset=own).checksum
    return job


def parts_and_setup(
    cell: Cell, *, data_dir: str | None = None, device: str = "cpu", given: UserObjects | None = None
) -> tuple[list[Part], RunSetup]:
    """A cell's strategy, and all that it meets, whoever's loop runs it; the rest as in :func:`prepare_job`."""
    given, settings, seed = given or UserObjects(), cell.config, cell.seed
    if given.stream is None:
        shown = make_stream(settings["stream"], seed, data_dir=data_dir, dataset=given.dataset)
    else:
        shown = given_stream(given.stream, seed)
    parts = cell.strategy.parts()
    if given.alter is not None:
        parts = given.alter(parts)
        check(parts)
    declared = Declarations.of(parts)
    reason = undefined(parts, shown.family) or unmet(parts, _revealed(shown, settings, given))
    if reason:
        raise Skip(reason)
    if not shows_boundaries(shown):  # a program's own stream tells it only here
        check_hidden(settings)
    seen = {"stream": shown, "merged": merging.merged(shown), "accumulated": merging.accumulated(shown)}
    stream = seen[declared.sees]
    training, dataset = Training(**settings["training"]), stream.dataset
    augment = None if training.augment == "none" else augmenter(training.augment)
    if declared.uses_model:
        model = _model(settings["model"], dataset, stream.n_outputs, seed, given)
    else:
        model = Blank(stream.n_outputs)
    setup = RunSetup(
        settings=settings,
        seed=seed,
        shown=shown,
        stream=stream,
        rows=Resident(
            dataset.train,
            dataset,
            transform=stream.transform,
            augment=augment,
            seed=derive(seed, "augment"),
            device=device,
        ),
        model=model.to(device),
        training=training,
        evaluator=_evaluator(Evaluation(**settings["evaluation"]), shown, stream, seed, device),
        device=device,
    )
    return parts, setup


def assembled(cell: Cell, parts: list[Part], setup: RunSetup) -> Run:
    """A run by our own loop, of what has been made for it."""
    settings, stream, training = setup.settings, setup.stream, setup.training
    chain = Chain(parts, seed=setup.seed, single=len(stream) == 1)
    memory = Memory(
        **settings["memory"],
        classes=stream.n_outputs if setup.rows.family.has_classes else stream.dataset.n_classes,
        seed=setup.seed,
        device=setup.device,
        row_bytes=setup.rows.row_bytes,
    )
    learner = Learner(
        setup.model,
        stream=stream,
        train=setup.rows,
        memory=memory,
        optimizer=partial(optimizer, training),
        batch_size=training.batch_size,
        seed=setup.seed,
        separate_heads=settings["model"]["heads"] == "separate",
        clip_norm=training.clip_norm,
    )
    split = BatchSplit(training.batch_size, training.drop_last, learner.fewest)
    split.check(len(experience) for experience in stream)
    learner.predictors, learner.reader = chain.predict, chain.answer
    learner.steps_itself = chain.observe is not None
    if "length" in settings.get("reveal", ()):
        learner.total_steps = _total_steps(stream, training, setup.share, split)
        learner.length = len(stream) if shows_boundaries(stream) else None
    if settings["evaluation"].get("probe"):
        learner.probe = Probe(settings["evaluation"]["probe"])
    return Run(cell, stream, chain, learner, setup.evaluator, Cursor(), setup.share)


def _evaluator(evaluation: Evaluation, shown: Stream, stream: Stream, seed: int, device: str) -> Evaluator:
    return Evaluator(
        stream,
        every=evaluation.every,
        schedule=evaluation.schedule,
        tasks=evaluation.tasks,
        rows_per_task=None if evaluation.rows_per_task == "all" else evaluation.rows_per_task,
        masked=evaluation.masked,
        classes=evaluation.classes,
        precision=evaluation.precision,
        seed=seed,
        device=device,
        presence=shown if len(shown) == len(stream) else stream,
    )


def _revealed(stream: Stream, settings: Mapping[str, Any], given: UserObjects) -> frozenset[str]:
    memory = settings["memory"]
    provided = {
        "task_labels": stream.task_labels,
        "boundaries": shows_boundaries(stream),
        "memory": memory["size"] > 0,
        "length": "length" in settings.get("reveal", ()),
        "augmentation": settings["training"]["augment"] != "none",
        # a function makes a model anew for each seed, a module brings its weights along
        "pretrained": settings["model"].get("weights") is not None or isinstance(given.model, nn.Module),
        "side_tensors": memory["admit"] != "end" and memory["policy"] != "herding",
    }
    return frozenset(name for name, there in provided.items() if there)


def _total_steps(stream: Stream, training: Training, share: int, split: BatchSplit) -> int:
    if training.iterations is not None:
        return training.iterations * share * len(stream)
    return training.epochs * sum(split.count(len(experience)) for experience in stream)


def _model(config: Mapping[str, Any], dataset: Dataset, n_outputs: int, seed: int, given: UserObjects) -> nn.Module:
    """A model with the run's initial weights; all global generators are as before afterwards."""
    with preserved():
        seed_others(seed, "init")
        torch.manual_seed(derive(seed, "init"))
        if given.model is None:
            model: nn.Module = models.make({k: v for k, v in config.items() if k != "heads"}, dataset.shape, n_outputs)
            return model
        from clbench.models.user_models import build

        return build(given.model, dataset.shape, n_outputs)

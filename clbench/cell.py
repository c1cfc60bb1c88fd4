"""One cell, from its configuration to its record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from clbench import models, peak, rates
from clbench.alarms import alarms
from clbench.config import Evaluation, Training
from clbench.data.augment import augmenter
from clbench.environment import environment
from clbench.evaluate import Evaluator
from clbench.flops import per_row
from clbench.learner import Diverged, Learner
from clbench.memory import Memory
from clbench.parameters import Refused
from clbench.plan import Cell, make_stream
from clbench.probe import Probe
from clbench.resident import Resident
from clbench.rng import derive
from clbench.scenarios import bounds
from clbench.snapshots import Snapshots, Tick
from clbench.strategies import text as strategy_text
from clbench.strategies.chain import Chain, declared, unmet
from clbench.train import Cursor, train
from clbench.types import Dataset, Record, Stream


@dataclass
class Given:
    """What a program hands over in place of names: its own arrays and its own module.

    Args:
        dataset: In place of the one named in the benchmark.
        model: A module, whose weights are every run's initial weights, or a function ``(shape, n_outputs) -> module``.
    """

    dataset: Dataset | None = None
    model: nn.Module | Callable[[tuple[int, ...], int], nn.Module] | None = None


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

    def train(self, tick: Tick | None = None) -> None:
        """Learn from where the cursor stands to the end of the stream."""
        if self.cursor.step == 0 and not self.cursor.begun:
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
            rate=rates.rate(training.lr_schedule),
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
        }

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Return to a snapshot of the same cell.

        Raises:
            Refused: The snapshot is another cell's.
        """
        if snapshot["key"] != self.cell.key:
            raise Refused(f"this snapshot belongs to cell {snapshot['key']}, not to {self.cell.key}; remove it")
        self.learner.restore(snapshot["learner"])
        self.chain.restore(snapshot["chain"])
        self.evaluator.restore(snapshot["evaluator"])
        vars(self.cursor).update(snapshot["cursor"])


def prepare(cell: Cell, *, data_dir: str | None = None, device: str = "cpu", given: Given | None = None) -> Run:
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
    given, settings, seed = given or Given(), cell.config, cell.seed
    stream = make_stream(settings["stream"], seed, data_dir=data_dir, dataset=given.dataset)
    dataset = stream.dataset
    parts = strategy_text.parts(settings["strategy"])
    reason = unmet(parts, _revealed(stream, settings))
    if reason:
        raise Skip(reason)
    chain = Chain(parts, seed=seed)
    seen = {"stream": stream, "merged": bounds.merged(stream), "accumulated": bounds.accumulated(stream)}
    shown = stream
    stream = seen[declared(parts, "sees", "stream")]
    training, evaluation = Training(**settings["training"]), Evaluation(**settings["evaluation"])
    augment = None if training.augment == "none" else augmenter(training.augment)
    resident = Resident(
        dataset.train,
        dataset,
        transform=stream.transform,
        augment=augment,
        seed=derive(seed, "augment"),
        device=device,
    )
    memory = Memory(
        **settings["memory"], classes=stream.n_outputs, seed=seed, device=device, row_bytes=resident.row_bytes
    )
    model = _model(settings["model"], dataset, stream.n_outputs, seed, given).to(device)
    learner = Learner(
        model,
        stream=stream,
        train=resident,
        memory=memory,
        optimizer=partial(_optimizer, training),
        batch_size=training.batch_size,
        seed=seed,
        separate_heads=settings["model"]["heads"] == "separate",
        clip_norm=training.clip_norm,
    )
    learner.predictors = chain.predict
    if "length" in settings.get("reveal", ()):
        learner.length, learner.total_steps = len(stream), _total_steps(stream, training, len(shown) // len(stream))
    if evaluation.probe:
        learner.probe = Probe(evaluation.probe)
    rows = None if evaluation.rows_per_task == "all" else evaluation.rows_per_task
    presence = shown if len(shown) == len(stream) else stream
    evaluator = Evaluator(
        stream,
        every=evaluation.every,
        schedule=evaluation.schedule,
        tasks=evaluation.tasks,
        rows_per_task=rows,
        masked=evaluation.masked,
        classes=evaluation.classes,
        precision=evaluation.precision,
        seed=seed,
        device=device,
        presence=presence,
    )
    return Run(cell, stream, chain, learner, evaluator, Cursor(), len(shown) // len(stream))


class Skip(Exception):
    """The cell cannot run on this stream; the message says why."""


def _revealed(stream: Stream, settings: Mapping[str, Any]) -> frozenset[str]:
    given = {
        "task_labels": stream.task_labels,
        "boundaries": stream.build(0).boundary,
        "memory": settings["memory"]["size"] > 0,
        "length": "length" in settings.get("reveal", ()),
        "augmentation": settings["training"]["augment"] != "none",
        "pretrained": settings["model"].get("weights") is not None,
    }
    return frozenset(name for name, there in given.items() if there)


def _total_steps(stream: Stream, training: Training, share: int) -> int:
    if training.iterations is not None:
        return training.iterations * share * len(stream)
    size, up = training.batch_size, 0 if training.drop_last else training.batch_size - 1
    return training.epochs * sum((len(experience) + up) // size for experience in stream)


def _model(config: Mapping[str, Any], dataset: Dataset, n_outputs: int, seed: int, given: Given) -> nn.Module:
    """A model with the run's initial weights; torch's generator is as before afterwards."""
    import copy

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "init"))
        if given.model is None:
            return models.make({k: v for k, v in config.items() if k != "heads"}, dataset.shape, n_outputs)
        from clbench.models.wrap import wrap

        module = (
            copy.deepcopy(given.model) if isinstance(given.model, nn.Module) else given.model(dataset.shape, n_outputs)
        )
        return wrap(module, n_outputs, shape=dataset.shape)


def _optimizer(training: Training, weights: list[nn.Parameter]) -> torch.optim.Optimizer:
    lr, decay = training.lr, training.weight_decay
    if training.optimizer == "sgd":
        return torch.optim.SGD(weights, lr=lr, momentum=training.momentum, weight_decay=decay)
    return {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[training.optimizer](
        weights, lr=lr, weight_decay=decay
    )


# --------------------------------------------------------------------------------------------------- to a record


def run_cell(
    cell: Cell,
    *,
    data_dir: str | None = None,
    device: str = "cpu",
    given: Given | None = None,
    tick: Tick | None = None,
    save_model: Path | None = None,
    partial: Path | None = None,
) -> Record:
    """Run one cell to its record; whatever happens to it, but an interruption, is told in the record.

    Args:
        cell: What to run.
        data_dir: Where data sets lie.
        device: ``cpu`` or ``cuda``.
        given: Arrays or a module in place of names.
        tick: Called after every step.
        save_model: Where to save the final weights, a ``state_dict`` of the model.
        partial: Where a long run keeps its last snapshot; one found there is gone on from, and removed at the end.
    """
    run = None
    with _process_state(cell.config["training"]["threads"]):
        try:
            peak.restart(device)
            run = prepare(cell, data_dir=data_dir, device=device, given=given)
            if partial is None:
                run.train(tick)
            else:
                Snapshots(run, partial).train(tick)
            status, reason = "done", ""
        except Skip as error:
            status, reason = "skipped", str(error)
        except Diverged as error:
            status, reason = "diverged", str(error)
        except Exception as error:
            status, reason = "failed", _story(error)
        if run is not None and status == "done" and save_model is not None:
            save_model.parent.mkdir(parents=True, exist_ok=True)
            torch.save(run.learner.model.state_dict(), save_model)
        return record(cell, run, status=status, reason=reason, device=device)


def record(cell: Cell, run: Run | None, *, status: str, reason: str, device: str) -> Record:
    """The record of a run that ended in some way."""
    cost = {}
    if run is not None:
        account = run.learner.cost
        account.memory_bytes, account.state_bytes = run.learner.memory.bytes, run.chain.bytes
        account.evaluation_seconds = run.evaluator.seconds
        account.train_seconds = run.evaluator.elapsed - run.evaluator.seconds
        account.peak_bytes = peak.peak_bytes(device)
        _count_flops(run, device)
        cost = account.as_dict()
    trace = run.evaluator.trace() if run is not None and status in ("done", "diverged") else None
    if run is not None and trace is not None and run.learner.probe is not None:
        probe = run.learner.probe
        trace = replace(trace, probe_step=np.array(probe.steps, dtype=np.int64), probe=probe.columns().numpy())
    return Record(
        key=cell.key,
        cell=cell.config,
        label=cell.label,
        status=status,
        reason=reason,
        trace=trace,
        fingerprint=run.stream.fingerprint if run is not None else "",
        cost=cost,
        alarms=() if run is None or trace is None else alarms(run.chain, run.learner, run.stream, trace),
        environment=environment(device),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _count_flops(run: Run, device: str) -> None:
    """Left out where a program's own model cannot be counted: that is no reason to lose its record."""
    with suppress(Exception), run.learner.undisturbed(training=True):
        run.learner.cost.count_flops(*per_row(run.learner.model, run.stream.dataset.shape, device=device))


@contextmanager
def _process_state(threads: int):  # type: ignore[no-untyped-def]
    """Threads of the benchmark, and torch's generator as it was for whoever called us."""
    before, generator = torch.get_num_threads(), torch.random.get_rng_state()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.random.set_rng_state(generator)


def _story(error: Exception) -> str:
    """A user's mistake in its own words; anything else with the place where it happened."""
    if isinstance(error, Refused):
        return str(error)
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{place}"

"""Evaluate a run on the straight lines between the weights that it kept at consecutive ends of experiences.

Letters: J points of a line, T tasks, n evaluation samples, P weights.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from clbench.adapters.run_setup import Skip
from clbench.benchmark.assignments import seeds as read_seeds
from clbench.core import store
from clbench.core.errors import Refused
from clbench.core.record import Kind, Record
from clbench.core.rng import Generator
from clbench.evaluate.evaluator import outputs
from clbench.metrics.weight_line import Values, WeightLine
from clbench.models import weight_groups
from clbench.plots.plotted_runs import Runs, choose
from clbench.running.cell_key import Cell
from clbench.running.prepare import prepare
from clbench.running.prepared_run import Run
from clbench.running.saved_models.unpack import read_kept
from clbench.running.user_objects import UserObjects
from clbench.strategies.norm_statistics import recompute
from clbench.strategies.part import defines

Statistics = Literal["estimated", "interpolated"]
STATISTICS: tuple[Statistics, ...] = ("estimated", "interpolated")
SAMPLES = 2048
"""Number of training samples from which running statistics are estimated at each point."""
FEWEST_POINTS = 3
SAME = 0.005
"""Largest difference between the score of a kept model and that of its record that is not reported."""
COLUMNS = ("strategy", "seed", "from", "to", "at", "task", "old", "score", "loss")


@dataclass(frozen=True, eq=False)
class WeightPath:
    """Hold the lines of all runs of a result directory.

    Args:
        benchmark: Name and version of the benchmark.
        lines: The lines, run by run.
        left_out: Name of a run, or of a line -> why it was not evaluated.
        notes: What a reader has to know of the values.
        statistics: How running statistics of norm layers were made between the ends.
        has_statistics: Whether a run has such statistics.
    """

    benchmark: str
    lines: list[WeightLine]
    left_out: dict[str, str]
    notes: list[str]
    statistics: Statistics
    has_statistics: bool

    @property
    def caption(self) -> str:
        """Return what was done with running statistics, in a few words; empty if no run has any."""
        return f"running statistics {self.statistics}" if self.has_statistics else ""

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield a row for each point of each line and each task, as a mapping by the name of its column."""
        for line in self.lines:
            for j, at in enumerate(line.at.tolist()):
                for t, task in enumerate(line.tasks.tolist()):
                    values = (bool(line.old[t]), float(line.score[j, t]), float(line.loss[j, t]))
                    row = (line.label, line.seed, line.start, line.stop, at, task, *values)
                    yield dict(zip(COLUMNS, row, strict=True))

    def summary(self) -> list[dict[str, Any]]:
        """Return the heights of barriers, a mapping for each line."""
        return [
            {
                "strategy": line.label, "seed": line.seed, "from": line.start, "to": line.stop,
                "barrier": line.barrier, "barrier of old tasks": line.old_barrier, "loss barrier": line.loss_barrier,
                "instability": line.instability,
                "barriers of tasks": dict(zip(line.tasks.tolist(), line.task_barriers.tolist(), strict=True)),
            }
            for line in self.lines
        ]  # fmt: skip

    def csv(self) -> str:
        """Return the rows as CSV."""
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows())
        return text.getvalue()

    def json(self) -> str:
        """Return everything as JSON; heights of lines without old tasks are null."""
        lines = [
            {
                **{name: None if value != value else value for name, value in told.items()},
                "at": line.at.tolist(), "tasks": line.tasks.tolist(), "old": line.old.tolist(),
                "score": line.score.tolist(), "loss": line.loss.tolist(),
            }
            for told, line in zip(self.summary(), self.lines, strict=True)
        ]  # fmt: skip
        held = {
            "benchmark": self.benchmark, "statistics": self.statistics, "lines": lines, "left_out": self.left_out,
            "notes": self.notes,
        }  # fmt: skip
        return json.dumps(held, indent=1) + "\n"


class End(NamedTuple):
    """Hold the model that a run kept at one end.

    Args:
        name: ``end 0``, or ``joint``.
        held: The content of its file.
        w: (P,) its weights.
        rest: Its running statistics, weights that are never trained, and the like, by name.
    """

    name: str
    held: Mapping[str, Any]
    w: Tensor
    rest: dict[str, Tensor]


def weight_path(
    directory: str | Path,
    *,
    strategies: Sequence[str] | None = None,
    seeds: int | str | Iterable[int] | None = None,
    benchmark: str | None = None,
    points: int = 11,
    statistics: Statistics = "estimated",
    data_dir: str | Path | None = None,
    model: Any = None,
    dataset: Any = None,
    trust: bool = False,
    watch: Callable[[str], Any] = lambda _: None,
) -> WeightPath:
    """Evaluate runs on straight lines between the weights at consecutive ends, and from the last end to those of
    ``joint``.

    Samples and class masks of a line are those of the evaluation at its later end. The network alone predicts.

    Args:
        directory: The result directory of a run with ``--save-ends`` (``save_model="ends"``).
        strategies: Labels of strategies; by default all that kept their ends.
        seeds: The seeds that count, like ``"0-2"``; by default all.
        benchmark: Name and version; needed only if the directory holds several.
        points: J, points of each line, with both ends; at least 3.
        statistics: Running statistics of norm layers at each point: ``estimated`` from training samples of the
            experiences so far, also at the ends, or ``interpolated`` as the weights are. Without such layers there is
            no difference.
        data_dir: The directory of data sets.
        model: What was given to the run as ``model=``, if anything was.
        dataset: What was given to the run as ``dataset=``, if anything was.
        trust: Whether code of your own files may run (strategies, models, data sets).
        watch: Called with the name of each run before it is evaluated.

    Raises:
        Refused: No run kept its ends, or a value is out of range.
    """
    if points < FEWEST_POINTS:
        raise Refused(f"points = {points} is too few; a line has {FEWEST_POINTS} or more, with both ends")
    if statistics not in STATISTICS:
        raise Refused(f"statistics = {statistics!r} is not known; use {' or '.join(STATISTICS)}")
    directory = Path(directory).expanduser()
    runs = choose(store.load_all(directory), benchmark, strategies)
    wanted = None if seeds is None else set(read_seeds(seeds))
    lines: list[WeightLine] = []
    left_out: dict[str, str] = {}
    notes: list[str] = []
    given, has_statistics = UserObjects(model=model, dataset=dataset), False
    joint = _joint_runs(directory, runs)
    for records in runs.records.values():
        for record in sorted(records, key=lambda each: each.seed):
            if (wanted is not None and record.seed not in wanted) or record.key in {
                each.key for each in joint.values()
            }:
                continue
            name = f"{record.label}, seed {record.seed}"
            watch(name)
            try:
                walk = _Walk(record, directory, data_dir=data_dir, given=given, trust=trust, statistics=statistics)
                found = list(walk.lines(np.linspace(0, 1, points), joint.get(record.seed)))
            except (Refused, Skip) as why:
                left_out[name] = str(why)
                continue
            lines += found
            has_statistics = has_statistics or bool(walk.norms)
            notes += [f"{name}: {told}" for told in walk.notes]
            left_out |= {f"{name}, {line}": why for line, why in walk.left_out.items()}
    if not lines:
        whys = list(dict.fromkeys(left_out.values())) or ["no run has one of these seeds"]
        raise Refused(f"{directory} holds no two ends of a run to join: {whys[0]}")
    return WeightPath(runs.benchmark, lines, left_out, notes, statistics, has_statistics)


def _joint_runs(directory: Path, runs: Runs) -> dict[int, Record]:
    """Return the runs of ``joint`` of the same benchmark by seed, of which the model at the end was kept."""
    (benchmark,) = {record.benchmark for records in runs.records.values() for record in records}
    found = {}
    for record in store.load_all(directory):
        name = [item["name"] for item in record.cell["strategy"]]
        kept = store.model_path(record.key, directory)
        if name == ["joint"] and record.benchmark == benchmark and record.status == "done" and kept.exists():
            found[record.seed] = record
    return found


class _Walk:
    """Evaluate one run on the lines between the ends that it kept."""

    def __init__(
        self,
        record: Record,
        directory: Path,
        *,
        data_dir: str | Path | None,
        given: UserObjects,
        trust: bool,
        statistics: Statistics,
    ) -> None:
        self.record, self.directory, self.statistics = record, directory, statistics
        self.notes: list[str] = []
        self.left_out: dict[str, str] = {}
        self.ends = self._ends()
        _check_code(record, given, trust=trust)
        cell = Cell.of(record.cell, record.label)
        self.run: Run = prepare(cell, data_dir=None if data_dir is None else str(data_dir), given=given)
        for part in self.run.chain.parts:
            if defines(part, "answer") or defines(part, "predict"):
                raise Refused(f"{part.title} computes or changes the scores, so that weights alone predict nothing")
        if record.data and self.run.data != record.data:
            raise Refused("its data differ from those of the run; use the same data set (--data-dir)")
        for attach in self.run.chain.attach:
            attach(self.run.learner)
        self.index = [self.run.trainer.enter(experience).index for experience in self.run.stream]
        self.norms = self._norms()

    def _ends(self) -> list[Path]:
        last = store.model_path(self.record.key, self.directory)
        trace = self.record.trace
        count = trace.n_experiences if trace is not None else 0
        paths = [store.end_path(last, experience) for experience in range(count)]
        if not all(path.exists() for path in paths):
            raise Refused(
                "it did not keep the weights at every end; repeat the command of the run with --save-ends, which runs "
                "the cells without kept models again"
            )
        return paths

    def _norms(self) -> tuple[weight_groups.Group, ...]:
        """Return the groups of norm layers with running statistics."""
        learner = self.run.learner
        table = weight_groups.groups(weight_groups.layers(learner.model, learner.slices))
        return tuple(group for group in table if group.statistics)

    def lines(self, at: Values, joint: Record | None) -> Iterator[WeightLine]:
        """Yield the lines of the run at the points ``at`` (J,)."""
        ends = [self._end(path, f"end {number}") for number, path in enumerate(self.ends)]
        for start, stop in pairwise(ends):
            yield self._line(start, stop, at)
        if joint is not None:
            path = store.model_path(joint.key, self.directory)
            try:
                goal = self._end(path, "joint")
            except Refused as why:
                self.left_out[f"{ends[-1].name} -> joint"] = str(why)
            else:
                yield self._line(ends[-1], goal._replace(held=ends[-1].held), at)
        elif len(ends) == 1:
            raise Refused("its stream has one experience, so that there is one end, and no line")

    def _end(self, path: Path, name: str) -> End:
        held, learner = read_kept(path), self.run.learner
        kept = held.get("model", {"kind": "", "parameters": {}, "buffers": {}})
        shapes = {
            each: parameter.shape for each, parameter in learner.model.named_parameters() if each in learner.slices
        }
        if kept["kind"] != "module" or any(
            kept["parameters"].get(n, torch.empty(0)).shape != s for n, s in shapes.items()
        ):
            raise Refused(f"{name} has other weights than the network of this run, so that no line joins them")
        w = torch.cat([kept["parameters"][each].reshape(-1) for each in learner.slices])
        return End(name, held, w, {**kept["buffers"], **kept["parameters"]})

    def _line(self, start: End, stop: End, at: Values) -> WeightLine:
        experience = int(stop.held["experience"])
        self._stand_at(stop.held)
        learner, panels = self.run.learner, self.run.evaluator.panels
        panel = panels.panel(self.run.trainer.readout, Kind.END, experience)
        points = [self._point(start, stop, a, panel, experience) for a in at.tolist()]
        tasks, visits = np.array(panel.tasks), panels.visits
        seen = np.any(visits[: experience + 1][:, tasks], axis=0)  # the panel holds tasks of later experiences too
        old = np.any(visits[: int(start.held["experience"]) + 1][:, tasks[seen]], axis=0)
        score, loss = (np.array(each)[:, seen] for each in zip(*points, strict=True))
        line = WeightLine(
            self.record.label, self.record.seed, start.name, stop.name, at, tasks[seen], old, score, loss,
            learner.family.measure,
        )  # fmt: skip
        if stop.name != "joint":
            self._compare(line, experience)
        return line

    def _stand_at(self, held: Mapping[str, Any]) -> None:
        """Let the classes compete that competed when a model was kept."""
        learner = self.run.learner
        learner.classes.seen.fill_(False)
        learner.classes.see(held["seen"].nonzero().flatten().tolist(), inside=False)
        learner.experience = held["running"]

    def _point(self, start: End, stop: End, a: float, panel: Any, experience: int) -> tuple[Values, Values]:
        """Return score and loss (T,) of the model at one point of a line."""
        learner = self.run.learner
        learner.w.data.copy_(torch.lerp(start.w, stop.w, a))
        untrained = [each for each in learner.model.named_parameters() if each[0] not in learner.slices]
        for name, tensor in (*learner.model.named_buffers(), *untrained):
            kept = start.rest[name], stop.rest[name]
            tensor.data.copy_(torch.lerp(*kept, a) if tensor.is_floating_point() else kept[round(a)])
        if self.norms and self.statistics == "estimated":
            index = torch.cat(self.index[: experience + 1], dim=1)
            order = Generator(self.record.seed, "weight path").permutation(index.shape[1])[:SAMPLES]
            recompute(learner, self.norms, index[:, torch.from_numpy(order)])
        return self._evaluate(panel, int(stop.held["rows_at_a_time"]))

    def _evaluate(self, panel: Any, size: int) -> tuple[Values, Values]:
        """Return mean score and mean loss (T,) of the network on the samples of an evaluation, ``size`` at a time."""
        run = self.run
        readout, family = run.trainer.readout, run.learner.family
        task = panel.task if run.stream.task_labels else None
        halved = run.cell.config["evaluation"].get("precision") == "bfloat16"
        made = []
        with readout.undisturbed(training=False), torch.inference_mode():
            for begin in range(0, len(panel.x), size):
                span = slice(begin, begin + size)
                made.append(outputs(readout, panel.x[span], None if task is None else task[span], halved=halved).logits)
            logits = torch.cat(made)
            if panel.index is not None:  # samples with one input have one class mask
                logits = logits[panel.index]
            score = family.score(family.answer(logits, panel.class_mask), panel.target)
            loss = family.loss(logits, panel.target, panel.class_mask)
        counts = torch.bincount(panel.place, minlength=len(panel.tasks)).double()
        sums = (torch.zeros_like(counts).index_add_(0, panel.place, each.double()) for each in (score, loss))
        first, second = (each / counts for each in sums)
        return first.numpy(), second.numpy()

    def _compare(self, line: WeightLine, experience: int) -> None:
        """Note if the later end scores differently from the record, where nothing was estimated."""
        trace = self.record.trace
        if trace is None or (self.norms and self.statistics == "estimated"):
            return
        ends = np.flatnonzero((trace.kind == Kind.END) & (trace.experience == experience))
        most = float(np.abs(trace.score[ends[-1], line.tasks] - line.score[-1]).max())
        if most > SAME:
            self.notes.append(
                f"the weights of {line.stop} score differently from the record, by up to "
                f"{line.measure.change(most)} on a task; code, data or device have changed since"
            )


def _check_code(record: Record, given: UserObjects, *, trust: bool) -> None:
    """Refuse a run whose code is in files of a user, unless it is trusted, or that was handed over by a program.

    Raises:
        Refused: So it is.
    """
    text = json.dumps(record.cell)
    stream, own = record.cell["stream"], str(record.cell["model"].get("name", ""))
    data = stream.get("dataset")
    name = str(data.get("name")) if isinstance(data, Mapping) else ""
    if str(stream.get("scenario")).startswith("given"):
        raise Refused("a program gave its stream, which no record holds")
    if name.startswith("given") and given.dataset is None:
        raise Refused("a program gave its data set; call clbench.weight_path(..., dataset=...) with the same data")
    if own.startswith("given") and given.model is None:
        raise Refused("a program gave its model; call clbench.weight_path(..., model=...) with the same model")
    if ".py:" in text and not trust:
        raise Refused("it uses code of a file (FILE.py:NAME); if you trust it, add --trust (trust=True in Python)")

"""A plugin for scripts of avalanche-lib that evaluates as clbench does, and leaves the run unchanged."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clbench import metrics
from clbench.adapters.avalanche.avalanche_run import AvalancheSubject
from clbench.adapters.avalanche.from_avalanche import Guide, test_tasks
from clbench.adapters.avalanche.library import (
    EvaluationPlugin,
    MultiTaskModule,
    SupervisedPlugin,
    avalanche_model_adaptation,
    quiet,
    supervised,
)
from clbench.adapters.avalanche.stream_experiences import Meter
from clbench.adapters.avalanche.to_avalanche import ShownBenchmark
from clbench.benchmark.schema import Evaluation, section
from clbench.core import store
from clbench.core.cost import Cost
from clbench.core.environment import environment
from clbench.core.errors import Refused
from clbench.core.global_rng import preserved
from clbench.core.record import Kind, Record, Trace
from clbench.core.rng import derive
from clbench.core.types import Dataset, Rows, Stream, content_hash
from clbench.data.arrays import checksum
from clbench.evaluate import Evaluator
from clbench.families.class_mask import ALL, ClassMask
from clbench.metrics import Value
from clbench.models.output import Output
from clbench.training.loss_check import Diverged


@dataclass(frozen=True)
class Met:
    """Describe an experience that was trained on.

    Args:
        tasks: Tasks of its samples, ascending.
    """

    tasks: tuple[int, ...]


class ScriptSubject(AvalancheSubject):
    """Present a strategy of a script to an evaluator, as it would predict in evaluation mode.

    Args:
        strategy: The script's strategy.
        stream: The stream with the tasks.
        tests: Test experiences of the tasks, in order.
        labels: (T,) the task label of each.
        seed: Seed of heads that do not exist yet.
    """

    def __init__(self, strategy: Any, stream: Stream, tests: Sequence[Any], labels: Any, seed: int) -> None:
        super().__init__(strategy, stream, strategy.device, Cost(), Meter())
        self._tests, self._seed = tests, seed
        self._labels = torch.as_tensor(labels, device=strategy.device)

    @contextmanager
    def undisturbed(self, *, training: bool) -> Iterator[None]:
        """Switch to evaluation mode as for other strategies; a test experience shows that there are task labels."""
        with super().undisturbed(training=training):
            self.strategy.experience = self._tests[0]
            yield

    def output(self, x: Tensor, task: Tensor | None) -> Output:
        """Return the output; tasks that a multi-task model does not know yet get a new head in a copy.

        The model's own evaluation does the same.
        """
        labels = self._labels[:1].expand(len(x)) if task is None else self._labels[task]
        if self._unknown():
            if "adapted" not in self.scratch:
                self.scratch["adapted"] = self._adapted()
            self.strategy.model = self.scratch["adapted"]
        return super().output(x, labels)

    def _unknown(self) -> list[Any]:
        known = [m.known_train_tasks_labels for m in self.modules if isinstance(m, MultiTaskModule)]
        labels = self._labels.tolist()
        return [t for t, label in zip(self._tests, labels, strict=True) if any(label not in each for each in known)]

    def _adapted(self) -> Any:
        unknown, model = self._unknown(), copy.deepcopy(self.strategy.model)
        torch.manual_seed(derive(self._seed, "heads"))
        for experience in unknown:
            avalanche_model_adaptation(model, experience)
        return model.to(self.device)

    def class_mask(self, task: Tensor) -> ClassMask:
        """Let all classes compete: the script's model decides what it predicts."""
        del task
        return ALL


class ContinualEvaluationPlugin(SupervisedPlugin):
    """Evaluate every task after every iteration, without changing the run, and return a trace.

    Add it to the plugins of any strategy and train as before. It moves to the end of the list of plugins.

    Args:
        benchmark: The benchmark; only its test stream is read here.
        every: Iterations between evaluations; 0 evaluates only at ends of experiences.
        rows_per_task: Samples of each test experience, drawn once and stratified by label; ``None`` for all.
        tasks: Test experience of each training experience, if it cannot be found; see :func:`from_avalanche`.
        looked_at: Tasks to evaluate after an iteration: those ``seen`` so far, ``all``, or the ``current`` ones.
        test_stream: Name of the stream whose experiences are the tasks.
        seed: Seed of the draw of samples.

    Attributes:
        stopped: The reason why evaluations ended early, if an output was not finite; the script's training continues.
    """

    supports_distributed = False

    def __init__(
        self,
        benchmark: Any,
        *,
        every: int = 1,
        rows_per_task: int | None = 1000,
        tasks: Sequence[int] | None = None,
        looked_at: str = "seen",
        test_stream: str = "test",
        seed: int = 0,
    ) -> None:
        super().__init__()
        with preserved(), quiet():  # a transform may draw numbers, even from a range of one value
            self._tests = list(benchmark.streams[test_stream])
            trains = benchmark.streams.get("train")
            sized = len(trains) if hasattr(trains, "__len__") else None
            self._guide = Guide(self._tests, tasks=tasks, trains=sized)
            shown = isinstance(benchmark, ShownBenchmark) and test_stream == "test"
            self.stream = benchmark.stream if shown else _tasks_alone(self._tests, self._guide)
        self._evaluation = section(
            Evaluation,
            "ContinualEvaluationPlugin",
            {"every": every, "rows_per_task": "all" if rows_per_task is None else rows_per_task, "tasks": looked_at},
            called={"tasks": "looked_at"},
        )
        self._seed = seed
        self._met: list[Met] = []
        self._step = 0
        self._evaluator: Evaluator | None = None
        self._subject: ScriptSubject | None = None
        self._strategy: Any = None
        self.stopped = ""

    # ------------------------------------------------------------------ hooks

    def before_training(self, strategy: Any, *_: Any, **__: Any) -> None:
        """Move to the end of the plugins, and evaluate the first time."""
        if strategy.plugins[-1] is not self:  # a new list: the old one is being iterated
            strategy.plugins = [*(p for p in strategy.plugins if p is not self), self]
        if self._evaluator is None:
            self._strategy = strategy
            self._evaluator = Evaluator(
                self.stream, self._evaluation, seed=self._seed, device=strategy.device, presence=self._met
            )
            self._subject = ScriptSubject(strategy, self.stream, self._tests, self._guide.labels, self._seed)
            self._look(Kind.START, -1)
        elif strategy is not self._strategy:
            raise Refused("this plugin has evaluated another strategy already; make one for each")

    def before_training_exp(self, strategy: Any, *_: Any, **__: Any) -> None:
        """Note the tasks of the experience, and evaluate all tasks before any step.

        Other plugins have been called before, so that their changes of the weights are included.
        """
        if isinstance(strategy, supervised.JointTraining):
            experiences = strategy._experiences
        else:
            experiences = [strategy.experience]
        found: set[int] = set()
        for place, experience in enumerate(experiences):
            whole = getattr(experience, "origin_experience", experience)
            known = whole.logging()._current_experience
            number = place if len(experiences) > 1 else len(self._met) if known is None else known
            found |= set(self._guide.tasks_of(experience, number).tolist())
        self._met.append(Met(tuple(sorted(found))))
        self._look(Kind.SWITCH, len(self._met) - 1)

    def after_training_iteration(self, strategy: Any, *_: Any, **__: Any) -> None:
        """Evaluate if an evaluation is due."""
        self._step += 1
        self._look(Kind.STEP, len(self._met) - 1)

    def after_training_exp(self, strategy: Any, *_: Any, **__: Any) -> None:
        """Evaluate all tasks."""
        self._look(Kind.END, len(self._met) - 1)

    def _look(self, kind: Kind, number: int) -> None:
        if self.stopped or self._evaluator is None or self._subject is None:
            return
        try:
            with quiet():
                self._evaluator.look(self._subject, kind, number, self._step)
        except Diverged as error:  # not raised, since the script's run must not end
            self.stopped = str(error)
            warnings.warn(f"ContinualEvaluationPlugin stops its evaluations: {error}", stacklevel=2)

    # ------------------------------------------------------------------ results

    def trace(self) -> Trace:
        """Return the trace so far.

        Raises:
            Refused: Nothing has been trained yet.
        """
        if self._evaluator is None:
            raise Refused("nothing has been evaluated yet; call strategy.train first")
        return self._evaluator.trace()

    def metrics(self) -> dict[str, Value]:
        """Return every metric of the trace by name: its ``value``, NaN with a ``reason`` if it is undefined."""
        return metrics.compute(self.trace(), metrics.metric_names())

    def save(
        self,
        directory: str | Path,
        *,
        name: str = "avalanche-script",
        label: str | None = None,
        seed: int | None = None,
    ) -> Record:
        """Write a record that ``clbench board``, ``clbench plot`` and ``clbench.load`` read.

        Args:
            directory: Result directory.
            name: Name instead of a benchmark's.
            label: The strategy's label on leaderboards; by default its class and plugins.
            seed: Seed of the script; without one, runs are numbered from 0 in the directory.
        """
        trace, where, strategy = self.trace(), Path(directory).expanduser(), self._strategy
        own = (EvaluationPlugin, ContinualEvaluationPlugin)
        plugins = [type(p).__name__ for p in strategy.plugins if not isinstance(p, own)]
        plugins = [p for p in plugins if p not in ("Clock", "PeriodicEval")]
        cell: dict[str, Any] = {
            "benchmark": {"name": name, "version": 1},
            "stream": {
                "scenario": "avalanche script",
                "dataset": {"name": self.stream.dataset.name, "checksum": self.stream.dataset.checksum},
            },
            "model": {"name": type(strategy.model).__name__},
            "training": _training(strategy),
            "memory": {},
            "evaluation": {"every": trace.every, "rows_per_task": self._evaluation.rows_per_task},
            "strategy": [{"name": f"script:{'+'.join([type(strategy).__name__, *plugins])}", "parameters": {}}],
            "label": label or "",
            "seeded": seed is not None,
            "seed": seed or 0,
        }
        while seed is None and store.has(content_hash(cell), where):
            cell["seed"] += 1
        assert self._evaluator is not None
        assert self._subject is not None
        cost = self._subject.cost
        cost.steps, cost.evaluation_seconds = self._step, self._evaluator.seconds
        cost.train_seconds = float(trace.seconds[-1])
        cost.weights = sum(w.numel() for w in strategy.model.parameters())
        record = Record(
            key=content_hash(cell),
            cell=cell,
            label=label or " + ".join([type(strategy).__name__, *plugins]),
            status="diverged" if self.stopped else "done",
            reason=self.stopped,
            trace=trace,
            fingerprint=content_hash([self.stream.fingerprint, trace.present.tolist()]),
            cost=cost.as_dict(),
            environment={**environment(str(strategy.device)), "avalanche-lib": version("avalanche-lib")},
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        store.save(record, where)
        return record


def _training(strategy: Any) -> dict[str, Any]:
    group = strategy.optimizer.param_groups[0]
    return {
        "optimizer": type(strategy.optimizer).__name__.lower(),
        "lr": float(group["lr"]),
        "batch_size": strategy.train_mb_size,
        "epochs": strategy.train_epochs,
    }


def _tasks_alone(tests: Sequence[Any], guide: Guide) -> Stream:
    """Return a stream of which only the tasks are known."""
    rows, tasks = test_tasks(tests)
    scale = 1 / 255 if rows.x.dtype == np.uint8 else 1.0
    none = Rows(rows.x[:0], rows.y[:0])
    n_outputs = 1 + int(rows.y.max())
    names = tuple(map(str, range(n_outputs)))

    def unknown(number: int) -> Any:
        raise IndexError(f"experience {number} is the script's own")

    return Stream(
        name="avalanche script",
        dataset=Dataset("avalanche", none, rows, names, scale, checksum(none, rows, scale)),
        tasks=tasks,
        length=0,
        build=unknown,
        n_outputs=n_outputs,
        seed=0,
        description={"scenario": "avalanche script", "tests": content_hash([t.rows.tolist() for t in tasks])},
        task_labels=guide.revealed,
    )

"""Evaluate a learner and record a trace.

All evaluated tasks go through the model in one forward pass, in chunks that fit the cache. Letters: n samples, u
inputs, T tasks, K evaluations, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from clbench.benchmark import evaluation_schedules
from clbench.benchmark.schema import Evaluation
from clbench.core.record import Kind, Trace
from clbench.core.stop_request import EvaluationInterrupted, asked_to_stop
from clbench.core.types import Index, Stream
from clbench.evaluate.evaluation_samples import Panel, Panels
from clbench.evaluate.inputs_on_demand import OnDemand
from clbench.evaluate.predictions import Predictions, best
from clbench.evaluate.subject import Subject
from clbench.evaluate.taken_readings import TakenReadings
from clbench.models.output import Output
from clbench.models.side_effects import protect
from clbench.training.loss_check import Diverged

CHUNK_VALUES = 1 << 19
"""Values per chunk at the widest place of a model, its input or the output of a layer; about the cache of a core.

It is the same on every machine: another size sums in another order, which changes a prediction if two classes are
nearly equal. A size measured on each machine would make traces depend on the machine.
"""


CHUNK_ROWS, CHUNK_ROWS_OF_GPU = 64, 1024
"""Fewest samples per chunk on a CPU, and on a GPU, where they are halved if its memory is too small."""


class _Stopped(Exception):
    """Leave an evaluation between two chunks."""


class _Found:
    """Hold what was found for u inputs, each in one tensor, so that no chunk leaves small tensors between large ones.

    Otherwise the allocator of the host could not use the memory of a chunk's inputs again.

    Args:
        u: Number of inputs.
        device: Where outputs are.
    """

    def __init__(self, u: int, device: torch.device) -> None:
        self.sum = torch.zeros((), device=device)  # of all outputs
        self._u, self._held = u, dict[str, Tensor]()

    def __getitem__(self, name: str) -> Tensor:
        return self._held[name]

    def note(self, start: int, total: Tensor, **parts: Tensor | None) -> None:
        """Add what was found for b inputs: the sum of their outputs, and tensors (b, ...) by name."""
        self.sum += total
        for name, part in parts.items():
            if part is not None:
                if name not in self._held:
                    self._held[name] = part.new_empty((self._u, *part.shape[1:]))
                self._held[name][start : start + len(part)] = part


def outputs(learner: Subject, x: Tensor, task: Tensor | None, *, halved: bool) -> Output:
    """Return a learner's output for inputs (B, ...), with matrix products in bfloat16 if ``halved``."""
    if not halved:
        return learner.output(x, task)
    with torch.autocast(x.device.type, dtype=torch.bfloat16):
        output = learner.output(x.to(torch.bfloat16) if x.is_floating_point() else x, task)
    return Output(output.logits.float(), output.features.float())


def on_host(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return tensors (n_i,) or () of one type on the host, fetched from a GPU by one copy."""
    if not tensors or tensors[0].device.type == "cpu":
        return list(tensors)
    together = torch.cat([each.reshape(-1) for each in tensors]).cpu()
    parts = together.split([each.numel() for each in tensors])
    return [part.reshape(each.shape) for part, each in zip(parts, tensors, strict=True)]


class Evaluator:
    """Evaluate a learner and record a trace.

    Args:
        stream: Its tasks are evaluated.
        evaluation: When to evaluate, on what, and what is recorded.
        seed: Seed of the draw of samples; every strategy is evaluated on the same samples.
        presence: The stream that defines which tasks an experience contains, if the learner sees more than that.
        device: Where the samples are.

    Attributes:
        panels: The samples of evaluations.
        family: The family of tasks of the stream, which scores predictions.
        predictions: Records what is predicted for every sample when experiences end, if the settings ask for it.
        readings: Takes readings of the learner, if the settings ask for some.
        ended: Called with the number of the experience after each evaluation at its end.

    Raises:
        Refused: The schedule does not exist.
    """

    def __init__(
        self,
        stream: Stream,
        evaluation: Evaluation | None = None,
        *,
        seed: int = 0,
        device: torch.device | str = "cpu",
        presence: Sequence[Any] | None = None,
    ) -> None:
        evaluation = evaluation or Evaluation()
        self.every = evaluation.every if evaluation.schedule == "every" else 0
        self._due = evaluation_schedules.due(evaluation.schedule, evaluation.every)
        self._halved = evaluation.precision == "bfloat16"
        self.panels = Panels(stream, evaluation, seed=seed, device=device, presence=presence)
        self.family = self.panels.family
        self._stream, self._device = stream, self.panels.device
        self._looks: list[tuple[int, int, int, float, list[int]]] = []  # step, kind, experience, seconds, tasks
        self._totals: list[Tensor] = []  # (tasks,) sum of scores per evaluation: of classes, the number correct
        self._squares: list[Tensor] = []  # (tasks,) sum of their squares, if a score is a number
        self._further: list[dict[str, Tensor]] = []  # sums (tasks,) of the family's further quantities
        self._masked_counts: list[Tensor] = []
        self._per_unit: list[Tensor] = []  # (C,) accuracy
        self._competing: list[Index] = []  # (tasks,) output units
        self._sums: list[Tensor] = []
        self._before: tuple[Any, ...] | None = None
        self._switch = 0
        self._chunk: int | None = None
        self._changed = False  # whether the learner changes its inputs, so that it gets copies
        self.predictions: Predictions | None = None
        self.readings: TakenReadings | None = None
        if evaluation.readings:
            self.readings = TakenReadings(evaluation, self.panels, task_labels=stream.task_labels)
        self.ended: list[Callable[[int], Any]] = []
        self._started = perf_counter()
        self.seconds = 0.0

    # ------------------------------------------------------------------ evaluating

    def look(self, learner: Subject, kind: Kind, experience: int, step: int) -> None:
        """Evaluate, if the schedule includes this moment; the training clock stops meanwhile.

        Raises:
            Diverged: An output is not finite. On a GPU this is noticed at the next evaluation at an end.
            EvaluationInterrupted: The run is asked to stop. Nothing of this evaluation is recorded.
        """
        if kind is not Kind.STEP:
            self._switch = step
        if kind is not Kind.STEP or self._due(step, step - self._switch):
            self.take(learner, kind, experience, step)
        if self.readings is not None and self.readings.due(learner, kind, step, step - self._switch):
            self._read(self.readings, learner, kind, experience, step)

    def _read(self, readings: TakenReadings, learner: Subject, kind: Kind, experience: int, step: int) -> None:
        """Take readings; the training clock stops meanwhile, and what they run counts as evaluation."""
        began, cost = perf_counter(), learner.cost
        booked = cost.extra_forward_rows, cost.extra_seconds
        try:
            readings.take(learner, kind, experience, step)
            cost.evaluation_rows += cost.extra_forward_rows - booked[0]
        finally:
            cost.extra_forward_rows, cost.extra_seconds = booked
        self.seconds += perf_counter() - began

    def take(self, learner: Subject, kind: Kind, experience: int, step: int) -> None:
        """Evaluate, whatever the schedule says; otherwise as :meth:`look`."""
        began, cost = perf_counter(), learner.cost
        panel = self.panels.panel(learner, kind, experience)
        conditions = None if kind is Kind.STEP else (learner.standing(), self.panels.competes.copy(), self.panels.views)
        if kind is Kind.SWITCH and self._nothing_new(conditions, step):
            self._again(panel)
        else:
            booked = cost.extra_forward_rows, cost.extra_seconds
            try:
                with torch.inference_mode():
                    noting = self.predictions if kind is Kind.END else None
                    self._sums.append(self._pass(learner, panel, noting, step, experience))
                asked = cost.extra_forward_rows - booked[0]  # by parts that predict with a forward pass of their own
            except _Stopped:
                raise EvaluationInterrupted(int(kind), experience) from None
            finally:
                cost.extra_forward_rows, cost.extra_seconds = booked
            cost.evaluation_rows += len(panel.x) + asked
        self._before = conditions
        self._looks.append((step, int(kind), experience, began - self._started - self.seconds, panel.tasks))
        self._competing.append(panel.n_competing)
        cost.looks += 1
        if self._device.type == "cpu" or kind is Kind.END:
            self._check()
        if kind is Kind.END:
            for call in self.ended:
                call(experience)
        self.seconds += perf_counter() - began

    def _nothing_new(self, conditions: tuple[Any, ...] | None, step: int) -> bool:
        """Tell whether an evaluation at a switch would show the same as the one just before it.

        This is so if weights (no step since), inputs, labels and competing classes are the same, and nothing else that
        predictions depend on has changed.
        """
        before = self._before
        if before is None or conditions is None or not self._looks or self._looks[-1][0] != step:
            return False
        return bool(before[0] == conditions[0] and all(map(np.array_equal, before[1:], conditions[1:])))

    def _again(self, panel: Panel) -> None:
        """Record the last evaluation once more; its tasks are the same, in another order."""
        order = [self._looks[-1][-1].index(task) for task in panel.tasks]
        self._totals.append(self._totals[-1][order])
        if self._squares:
            self._squares.append(self._squares[-1][order])
            self._further.append({name: total[order] for name, total in self._further[-1].items()})
        if panel.task_mask is not None:
            self._masked_counts.append(self._masked_counts[-1][order])
        if panel.per_unit is not None:
            self._per_unit.append(self._per_unit[-1])

    def _pass(self, learner: Subject, panel: Panel, noting: Predictions | None, step: int, experience: int) -> Tensor:
        """Record a forward pass; return the sum of all outputs, which is finite only if each of them is."""
        u = len(panel.x)
        found = _Found(u, self._device)
        with learner.undisturbed(training=False):
            size = self._rows_of_chunk(learner, panel)
            learner.scratch.clear()
            versions, start = self._versions(panel), 0
            while start < u:
                if asked_to_stop():
                    raise _Stopped
                if self._fits(found, learner, panel, slice(start, start + size), noting):
                    start += size
                else:
                    self._chunk = size = size // 2
        if self._versions(panel) != versions:  # inputs up to here were unchanged
            self._changed = True
            protect(learner.modules[0])
            self.panels.forget()
        answer = found["answer"] if panel.index is None else found["answer"][panel.index]
        score = self.family.score(answer, panel.target)  # (n,)
        self._totals.append(self._per_task(score, panel))
        if score.is_floating_point():
            self._squares.append(self._per_task(score.double().square(), panel))
            further = self.family.further(answer, panel.target)
            self._further.append({name: self._per_task(value, panel) for name, value in further.items()})
        if noting is not None:
            noting.note(
                step=step,
                experience=experience,
                task=panel.task.cpu().numpy(),
                row=np.concatenate([self.panels.rows[task] for task in panel.tasks]),
                label=panel.target,
                top=found["top"] if panel.index is None else found["top"][panel.index],
            )
        if panel.task_mask is not None:
            scores = found["scores"] if panel.index is None else found["scores"][panel.index]  # (n, C)
            among = panel.task_mask.rows(panel.place).masked(scores).argmax(1)
            self._masked_counts.append(self._per_task(among == panel.target, panel))
        if panel.per_unit is not None:
            units = torch.zeros_like(panel.per_unit).index_add_(0, panel.target, score.long())
            self._per_unit.append(units.double() / panel.per_unit)  # 0 / 0 is NaN: no such sample
        return found.sum

    def _rows_of_chunk(self, learner: Subject, panel: Panel) -> int:
        """Return how many samples go through the model at a time; the first time, one sample goes through it."""
        if self._chunk is None:
            first = panel.task[:1].clone() if self._stream.task_labels else None
            fits = CHUNK_VALUES // self._widest(learner, panel.x[:1].clone(), first)
            self._chunk = max(CHUNK_ROWS if self._device.type == "cpu" else CHUNK_ROWS_OF_GPU, fits)
        return self._chunk

    def _fits(self, found: _Found, learner: Subject, panel: Panel, span: slice, noting: Predictions | None) -> bool:
        """Predict a chunk; tell whether the memory of a GPU was large enough for it, as it may be for half of it."""
        try:
            self._predict(found, learner, panel, span, noting)
        except torch.cuda.OutOfMemoryError:
            if span.stop - span.start == 1:
                raise
        else:
            return True
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        return False

    def _predict(self, found: _Found, learner: Subject, panel: Panel, span: slice, noting: Predictions | None) -> None:
        mask = panel.class_mask.rows(span)
        task = panel.task[span] if self._stream.task_labels else None
        x = panel.x[span]
        if self._changed:
            x, task = x.clone(), None if task is None else task.clone()
        output = self._output(learner, x, task)
        total = output.logits.sum()
        scores = learner.predict(output, task)
        answer = self.family.answer(scores, mask)
        top = None if noting is None else best(mask.masked(scores), answer)
        kept = None if panel.task_mask is None else scores
        found.note(span.start, total, answer=answer, top=top, scores=kept)

    @staticmethod
    def _versions(panel: Panel) -> tuple[int, ...]:
        """Return how often the tensors that a learner gets have been changed; those made on demand are new each
        time."""
        given = (panel.task,) if isinstance(panel.x, OnDemand) else (panel.x, panel.task)
        return tuple(-1 if t.is_inference() else t._version for t in given)

    def _widest(self, learner: Subject, row: Tensor, task: Tensor | None) -> int:
        """Return the most values that one sample (1, ...) has anywhere: as input, or after a layer. This counts as no
        cost."""
        found, account = [row.numel()], dict(vars(learner.cost))

        def note(_layer: nn.Module, _inputs: tuple[Tensor, ...], output: object) -> None:
            if isinstance(output, Tensor):
                found.append(output.numel())

        handles = [m.register_forward_hook(note) for m in learner.modules if not list(m.children())]
        try:
            self._output(learner, row, task)
        finally:
            for handle in handles:
                handle.remove()
            vars(learner.cost).update(account)
        return max(found)

    def _output(self, learner: Subject, x: Tensor, task: Tensor | None) -> Output:
        return outputs(learner, x, task, halved=self._halved)

    def _per_task(self, values: Tensor, panel: Panel) -> Tensor:
        """Return the sums (tasks,) of values (n,) of samples: integers of bool, else float64 in an order that never
        changes."""
        if values.is_floating_point():
            sizes = [len(self.panels.rows[task]) for task in panel.tasks]
            return torch.stack([own.sum() for own in values.double().split(sizes)])  # a task's samples are adjacent
        counts = torch.zeros(len(panel.tasks), dtype=torch.int64, device=self._device)
        return counts.index_add_(0, panel.place, values.long())

    def _check(self) -> None:
        sums, self._sums = self._sums, []
        unchecked = self._looks[len(self._looks) - len(sums) :]
        for (step, *_), total in zip(unchecked, on_host(sums), strict=True):
            if not math.isfinite(total.item()):
                raise Diverged(step)

    # ------------------------------------------------------------------ results

    def trace(self) -> Trace:
        """Return the trace of all evaluations so far."""
        rows = np.array([len(r) for r in self.panels.rows], dtype=np.int64)
        column = [np.array([look[i] for look in self._looks]) for i in range(4)]
        per_unit = np.array([unit.numpy() for unit in on_host(self._per_unit)])
        per_class = per_unit.reshape(-1, self._stream.n_outputs) if self.panels.classes else np.zeros((0, 0))
        score = self._scores(self._totals, rows)
        return Trace(
            step=column[0].astype(np.int64),
            kind=column[1].astype(np.int64),
            experience=column[2].astype(np.int64),
            score=score,
            rows=rows,
            population=np.array([len(task.rows) for task in self._stream.tasks], dtype=np.int64),
            present=self.panels.visits.copy(),
            every=self.every,
            seconds=column[3].astype(np.float64),
            masked=self._scores(self._masked_counts, rows) if self.panels.masked else np.zeros((0, 0)),
            measure=self.family.measure,
            spread=self._spread(score, rows),
            further=self._means(rows),
            units=self.panels.units.copy(),
            competing=self._table(self._competing, 0).astype(np.int32),
            class_score=per_class,
            readings={} if self.readings is None else self.readings.readings(),
        )

    def _scores(self, totals: list[Tensor], rows: Index) -> np.ndarray:
        return self._table([total.numpy() for total in on_host(totals)], np.nan) / rows

    def _spread(self, score: np.ndarray, rows: Index) -> np.ndarray:
        """Return (K, T) standard deviation of the scores of samples; (0, 0) for scores of 0 or 1, whose
        spread follows from the mean."""
        if not self._squares:
            return np.zeros((0, 0))
        with np.errstate(invalid="ignore", over="ignore"):  # a run that diverges may have endless squares
            variance = self._scores(self._squares, rows) - np.square(score)
            return np.asarray(np.sqrt(np.maximum(variance, 0.0)))

    def _means(self, rows: Index) -> np.ndarray:
        """Return (K, T), one field for each further quantity of the family; (0, 0) if there is none."""
        names = list(self._further[0]) if self._further else []
        if not names:
            return np.zeros((0, 0))
        made = np.zeros((len(self._looks), len(rows)), dtype=[(name, np.float64) for name in names])
        for name in names:
            made[name] = self._scores([sums[name] for sums in self._further], rows)
        return made

    def _table(self, values: list[Any], elsewhere: float) -> np.ndarray:
        """Return (K, T) from the values of the tasks of each evaluation."""
        table = np.full((len(self._looks), len(self.panels.rows)), elsewhere)
        for k, ((*_, tasks), own) in enumerate(zip(self._looks, values, strict=True)):
            table[k, tasks] = own
        return table

    @property
    def rows_at_a_time(self) -> int:
        """Return the number of samples that go through a model at a time."""
        return self._chunk or 64

    @property
    def elapsed(self) -> float:
        """Return the wall time since the evaluator was made, in seconds, summed over processes."""
        return perf_counter() - self._started

    def snapshot(self) -> dict[str, Any]:
        """Return what was recorded so far, to continue from it.

        Raises:
            Diverged: An output so far is not finite.
        """
        self._check()
        taken = {} if self.readings is None else {"readings": self.readings.state}  # only then, for older checkpoints
        return {
            **taken,
            "looks": list(self._looks),
            "totals": on_host(self._totals),
            "squares": on_host(self._squares),
            "further": [{name: c.cpu() for name, c in sums.items()} for sums in self._further],
            "masked": on_host(self._masked_counts),
            "per_unit": on_host(self._per_unit),
            "units": torch.from_numpy(self.panels.units.copy()),
            "competes": torch.from_numpy(self.panels.competes.copy()),
            "competing": [torch.from_numpy(each) for each in self._competing],
            "switch": self._switch,
            "seconds": self.seconds,
            "elapsed": perf_counter() - self._started,
            "predictions": None if self.predictions is None else self.predictions.state,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Return to a snapshot; the panel is made anew at the next evaluation."""
        self._looks = [(*look[:4], list(look[4])) for look in state["looks"]]
        self._totals, self._squares, self._masked_counts, self._per_unit = (
            [c.to(self._device) for c in state[name]] for name in ("totals", "squares", "masked", "per_unit")
        )
        self._further = [{name: c.to(self._device) for name, c in sums.items()} for sums in state["further"]]
        self._switch = state["switch"]
        self.panels.restore(units=state["units"].numpy().copy(), competes=state["competes"].numpy().copy())
        self._competing, self._before = [each.numpy() for each in state["competing"]], None
        self.seconds, self._started = state["seconds"], perf_counter() - state["elapsed"]
        if self.readings is not None:
            self.readings.state = state["readings"]
        if self.predictions is not None:
            self.predictions.state = state.get("predictions") or []
        self._sums = []

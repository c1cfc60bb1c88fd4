"""When to look at a learner and what to write down. Knows no strategy, and leaves no trace in what it looks at.

Fixed, pre-drawn rows per task, resident on the device, transformed once; all tasks looked at go through in one fused
forward pass, in chunks that fit the cache. Letters: n rows, T tasks, K looks, C classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clbench.learner import Diverged, Learner
from clbench.resident import Resident
from clbench.rng import Generator
from clbench.types import Index, Kind, Stream, Trace

CHUNK_VALUES = 1 << 19
"""Input values per chunk: with weights and activations of small models, this stays inside a core's cache."""


@dataclass(frozen=True, eq=False)
class Panel:
    """The rows of a set of tasks, ready to go through a model.

    Args:
        tasks: The tasks, in the order of ``place``.
        x: (n, ...) inputs.
        y: (n,) output units.
        place: (n,) position in ``tasks`` of each row.
        task: (n,) task labels.
        hidden: Classes that do not compete, ``None``, (C,) or (n, C) bool.
    """

    tasks: list[int]
    x: Tensor
    y: Tensor
    place: Tensor
    task: Tensor
    hidden: Tensor | None


class Evaluator:
    """Looks at a learner and writes a trace.

    Args:
        stream: Its tasks are what is looked at: those seen so far after a step, all of them at the start and at ends.
        every: Optimiser steps between step looks; 0 looks at ends only.
        tasks: ``all`` looks at every task after a step too, not only at those ``seen`` so far.
        rows_per_task: Rows of each task, drawn once and stratified by label; ``None`` takes all.
        seed: Of the draw of rows; the same rows for every strategy.
        presence: The stream that says which tasks an experience holds, where the learner sees more than that.
        device: Where the rows live.
    """

    def __init__(
        self,
        stream: Stream,
        *,
        every: int = 1,
        tasks: str = "seen",
        rows_per_task: int | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
        presence: Stream | None = None,
    ) -> None:
        self.every = every
        self._all_tasks = tasks == "all"
        self._stream = stream
        self._presence = presence or stream
        self._device = torch.device(device)
        self._test = Resident(stream.dataset.test, stream.dataset, transform=stream.transform, device=device)
        generator = Generator(seed, "evaluation")
        self._rows = [self._draw(task.id, rows_per_task, generator) for task in stream.tasks]
        self._order: list[int] = []
        self._views: Index = np.zeros(0, dtype=np.int64)
        self._panel: Panel | None = None
        self._panel_key: tuple[int, bool] | None = None
        self._present = np.zeros((len(stream), len(stream.tasks)), dtype=bool)
        self._visited = 0
        self._looks: list[tuple[int, int, int, float, list[int]]] = []  # step, kind, experience, seconds, tasks
        self._counts: list[Tensor] = []
        self._sums: list[Tensor] = []
        self._started = perf_counter()
        self.seconds = 0.0

    def _draw(self, task: int, n: int | None, generator: Generator) -> Index:
        rows = self._stream.tasks[task].rows
        if n is None or n >= len(rows):
            return rows
        labels = self._stream.labels(self._stream.dataset.test, rows, self._stream.tasks[task].view)
        shuffled = generator.permutation(len(rows))
        # the i-th row of a label with m rows gets rank (i + 1/2) / m: the n lowest are stratified
        position = np.empty(len(rows))
        for label in np.unique(labels):
            own = shuffled[labels[shuffled] == label]
            position[own] = (np.arange(len(own)) + 0.5) / len(own)
        return rows[np.sort(np.argsort(position, kind="stable")[:n])]

    # ------------------------------------------------------------------ looking

    def look(self, learner: Learner, kind: Kind, experience: int, step: int) -> None:
        """Look, if this moment counts; the training clock stands still meanwhile.

        Raises:
            Diverged: An output is not finite. On a GPU this is noticed at the next end look.
        """
        if kind is Kind.STEP and (self.every == 0 or step % self.every):
            return
        began = perf_counter()
        panel = self._panel_for(learner, kind, experience)
        with torch.inference_mode():
            counts, total = self._pass(learner, panel)
        self._looks.append((step, int(kind), experience, began - self._started - self.seconds, panel.tasks))
        self._counts.append(counts)
        self._sums.append(total)
        learner.cost.looks += 1
        learner.cost.evaluation_rows += len(panel.y)
        if self._device.type == "cpu" or kind is Kind.END:
            self._check()
        self.seconds += perf_counter() - began

    def _pass(self, learner: Learner, panel: Panel) -> tuple[Tensor, Tensor]:
        """Correct rows per task (T',) and the sum of all outputs, which is finite only if each of them is."""
        n, chunk = len(panel.y), max(64, CHUNK_VALUES // max(1, panel.x[0].numel()))
        correct, total = [], torch.zeros((), device=self._device)
        learner.scratch.clear()
        with learner.undisturbed(training=False):
            for start in range(0, n, chunk):
                span = slice(start, start + chunk)
                hidden = panel.hidden[span] if panel.hidden is not None and panel.hidden.dim() == 2 else panel.hidden
                x, task = panel.x[span], panel.task[span] if self._stream.task_labels else None
                output = learner.model(x)
                total += output.logits.sum()
                correct.append(learner.predict(output, task, hidden=hidden).argmax(1) == panel.y[span])
        counts = torch.zeros(len(panel.tasks), dtype=torch.int64, device=self._device)
        counts.index_add_(0, panel.place, torch.cat(correct).long())
        return counts, total

    def _check(self) -> None:
        sums, self._sums = self._sums, []
        unchecked = self._looks[len(self._looks) - len(sums) :]
        for (step, *_), total in zip(unchecked, sums, strict=True):
            if not math.isfinite(total.item()):
                raise Diverged(step)

    # ------------------------------------------------------------------ what is looked at

    def _panel_for(self, learner: Learner, kind: Kind, experience: int) -> Panel:
        """The seen tasks after a step, all tasks otherwise; remade when the experience or the kind of look changes."""
        key = (experience, kind is Kind.STEP)
        if key != self._panel_key:
            while self._visited <= experience:
                self._present[self._visited, list(self._presence[self._visited].tasks)] = True
                self._visited += 1
            seen = np.flatnonzero(self._present.any(axis=0)).tolist()
            self._arrange(seen, experience)
            k = len(seen) if kind is Kind.STEP and not self._all_tasks else len(self._order)
            n = sum(len(self._rows[t]) for t in self._order[:k])
            task = self._task[:n]
            self._panel_key = key
            self._panel = Panel(self._order[:k], self._x[:n], self._y[:n], self._place[:n], task, learner.hidden(task))
        assert self._panel is not None
        return self._panel

    def _arrange(self, seen: list[int], experience: int) -> None:
        """Put all rows into one block in which the tasks seen so far come first, so that a panel is a slice of it.

        It is remade where that order changes, or where the world drifts and tasks are to be seen under new views.
        """
        in_order = bool(self._order) and set(self._order[: len(seen)]) == set(seen)
        views = self._stream.task_views(experience)
        if in_order and np.array_equal(views, self._views):
            return
        drifts = in_order and self._stream.transform is None  # then labels change and inputs do not
        if not in_order:
            self._order = seen + [t.id for t in self._stream.tasks if t.id not in set(seen)]
        self._views = views
        test = self._stream.dataset.test
        y = [self._stream.labels(test, self._rows[t], int(views[t])) for t in self._order]
        self._y = torch.from_numpy(np.concatenate(y)).to(self._device)
        if drifts:
            return
        rows = torch.from_numpy(np.concatenate([self._rows[t] for t in self._order])).to(self._device)
        sizes = torch.tensor([len(self._rows[t]) for t in self._order])
        spread = [torch.arange(len(sizes)), torch.tensor(self._order), torch.from_numpy(views[self._order])]
        self._place, self._task, view = (column.repeat_interleave(sizes).to(self._device) for column in spread)
        self._x = self._test.present(rows, view)

    # ------------------------------------------------------------------ what was seen

    def trace(self) -> Trace:
        """Everything observed so far."""
        score = np.full((len(self._looks), len(self._stream.tasks)), np.nan)
        rows = np.array([len(r) for r in self._rows], dtype=np.int64)
        for k, ((*_, tasks), counts) in enumerate(zip(self._looks, self._counts, strict=True)):
            score[k, tasks] = counts.cpu().numpy() / rows[tasks]
        column = [np.array([look[i] for look in self._looks]) for i in range(4)]
        return Trace(
            step=column[0].astype(np.int64),
            kind=column[1].astype(np.int64),
            experience=column[2].astype(np.int64),
            score=score,
            rows=rows,
            present=self._present[: self._visited].copy(),
            every=self.every,
            seconds=column[3].astype(np.float64),
        )

    @property
    def elapsed(self) -> float:
        """Wall time since the evaluator was made, in seconds, whatever processes it was spent in."""
        return perf_counter() - self._started

    def snapshot(self) -> dict[str, Any]:
        """What has been seen so far, to go on from.

        Raises:
            Diverged: An output of a look so far is not finite.
        """
        self._check()
        return {
            "looks": list(self._looks),
            "counts": [c.cpu() for c in self._counts],
            "seconds": self.seconds,
            "elapsed": perf_counter() - self._started,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Return to a snapshot; the panel is remade at the next look."""
        self._looks = [(*look[:4], list(look[4])) for look in state["looks"]]
        self._counts = [c.to(self._device) for c in state["counts"]]
        self.seconds, self._started = state["seconds"], perf_counter() - state["elapsed"]
        self._present[:], self._visited, self._panel_key, self._sums = False, 0, None, []

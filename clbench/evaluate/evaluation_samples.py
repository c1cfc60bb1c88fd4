"""The samples of evaluations: fixed samples of each task, on the device, in one block of which evaluations take slices.

Letters: n samples of the evaluated tasks, u inputs that go through the model for them, T tasks, C classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clbench.benchmark.schema import Evaluation
from clbench.core.errors import Refused
from clbench.core.record import Kind
from clbench.core.rng import Generator
from clbench.core.types import Index, Mask, Stream, Teacher
from clbench.evaluate.inputs_on_demand import Inputs, inputs, only
from clbench.evaluate.subject import Subject
from clbench.families.class_mask import ClassMask
from clbench.training.device_rows import Resident


@dataclass(frozen=True, eq=False)
class Panel:
    """Hold the samples of a set of tasks for a model.

    Args:
        tasks: The tasks, in the order of ``place``.
        x: (u, ...) inputs, a tensor or made when they are read; a sample that several tasks share goes through once.
        index: (n,) input of each sample, ``None`` if no two samples share one (then u = n).
        target: (n, ...) targets; in classification output units (n,).
        place: (n,) position in ``tasks`` of each sample.
        task: (n,) task labels.
        class_mask: Which classes compete on each sample (n,).
        n_competing: (tasks,) how many classes compete on the samples of each task.
        task_mask: The class mask of each task (tasks,) in which only its own classes compete, if the evaluation among
            them is requested.
        per_unit: (C,) samples of each output unit, if accuracy per unit is requested.
    """

    tasks: list[int]
    x: Inputs
    index: Tensor | None
    target: Tensor
    place: Tensor
    task: Tensor
    class_mask: ClassMask
    n_competing: Index
    task_mask: ClassMask | None
    per_unit: Tensor | None


class Panels:
    """Draw the samples of evaluations, and arrange them as panels.

    Args:
        stream: Its tasks are evaluated.
        evaluation: The tasks that are evaluated after a step, samples of each task, and what panels contain. All other
            evaluations are on all tasks.
        seed: Seed of the draw of samples; every strategy is evaluated on the same samples.
        device: Where the samples are.
        presence: The stream that defines which tasks an experience contains, if the learner sees more than that.

    Attributes:
        device: As given.
        masked: Whether panels know the classes of each task.
        classes: Whether panels know how many samples each output unit has.
        family: The family of tasks of the stream.
        rows: For each task, the numbers of its evaluation samples in the test split.
        views: (T,) the view under which each task was last evaluated.
        units: (T, C) what each output unit is to a task, as in :attr:`clbench.core.record.Trace.units`.
        competes: (T, C) bool, the class mask of each task when it was last evaluated.
    """

    def __init__(
        self,
        stream: Stream,
        evaluation: Evaluation,
        *,
        seed: int,
        device: torch.device | str,
        presence: Sequence[Any] | None,
    ) -> None:
        self._looked_at = evaluation.tasks
        self._stream = stream
        self._presence: Sequence[Any] = stream if presence is None else presence
        self.device = torch.device(device)
        self.masked, self.classes = evaluation.masked, evaluation.classes
        self._dtype = torch.bfloat16 if evaluation.precision == "bfloat16" else torch.float32
        self._test = Resident(stream.dataset.test, stream.dataset, transform=stream.transform, device=device)
        self.family = self._test.family
        if not self.family.has_classes and (evaluation.masked or evaluation.classes):
            what = "masked" if evaluation.masked else "classes"
            raise Refused(
                f"evaluation.{what} needs classes, and this stream is of the family {self.family.name!r}; leave it out"
            )
        generator = Generator(seed, "evaluation")
        most = None if evaluation.rows_per_task == "all" else evaluation.rows_per_task
        self.rows = [self._draw(task.id, most, generator) for task in stream.tasks]
        self._order: list[int] = []
        self.views: Index = np.zeros(0, dtype=np.int64)
        self._task_classes = np.full((len(stream.tasks), stream.n_outputs), not self.family.has_classes)
        self.units = np.zeros(self._task_classes.shape, dtype=np.int8)
        self.competes = np.zeros(self._task_classes.shape, dtype=bool)  # at the last evaluation of each task
        self._panel: Panel | None = None
        self._panel_key: tuple[int, Kind] | None = None
        self._mask_changes = 0
        self._present = np.zeros((0, len(stream.tasks)), dtype=bool)
        self._visited = 0

    def _draw(self, task: int, n: int | None, generator: Generator) -> Index:
        rows = self._stream.tasks[task].rows
        if n is None or n >= len(rows):
            return rows
        labels = self._stream.labels(self._stream.dataset.test, rows, self._stream.tasks[task].view)
        shuffled = generator.permutation(len(rows))
        # the i-th sample of a label with m samples gets rank (i + 1/2) / m: the n lowest are stratified
        position = np.empty(len(rows))
        for label in np.unique(labels):
            own = shuffled[labels[shuffled] == label]
            position[own] = (np.arange(len(own)) + 0.5) / len(own)
        return rows[np.sort(np.argsort(position, kind="stable")[:n])]

    def passed(self, tasks: Iterable[int], experience: int) -> int:
        """Return the number of inputs that go through the model to evaluate some tasks while an experience runs."""
        keys = self._keys(list(tasks), self._stream.task_views(experience))
        return len(keys) if self._stream.task_labels else len(np.unique(keys))

    def step_tasks(self) -> Iterator[list[int]]:
        """Yield the tasks that an evaluation after a step includes, experience by experience."""
        seen: set[int] = set()
        for experience in self._presence:
            seen |= set(experience.tasks)
            named = {"seen": seen, "current": experience.tasks, "all": range(len(self.rows))}
            yield sorted(named[self._looked_at])

    def _keys(self, tasks: list[int], views: Index) -> Index:
        """Return one number per sample of ``tasks``, (n,); equal numbers are equal inputs."""
        shown = views if self._stream.transform is not None else np.zeros_like(views)
        size = len(self._stream.dataset.test)
        return np.concatenate([np.zeros(0, dtype=np.int64), *(self.rows[t] + size * shown[t] for t in tasks)])

    # ------------------------------------------------------------------ panels

    def panel(self, learner: Subject, kind: Kind, experience: int) -> Panel:
        """Return the samples of an evaluation; made anew if the experience or the kind of evaluation changes.

        Which classes compete is asked anew if that has changed, as it does inside an experience with a hidden boundary.
        """
        key, changed = (experience, kind), learner.class_mask_changes != self._mask_changes
        self._mask_changes = learner.class_mask_changes
        if key == self._panel_key and self._panel is not None:
            if changed:
                mask = learner.class_mask(self._panel.task)
                n_competing = self._note(self._panel.tasks, self._panel.place, mask)
                self._panel = replace(self._panel, class_mask=mask, n_competing=n_competing)
            return self._panel
        while self._visited <= experience:
            row = np.isin(np.arange(len(self.rows)), self._presence[self._visited].tasks)
            self._present = np.concatenate([self._present, row[None]])
            self._visited += 1
        seen = np.flatnonzero(self._present.any(axis=0)).tolist()
        self._arrange(seen, experience)
        self._panel_key = key
        if kind is not Kind.STEP or self._looked_at == "all":
            self._panel = self._first(len(self._order), learner)
        elif self._looked_at == "seen":
            self._panel = self._first(len(seen), learner)
        else:
            self._panel = self._chosen(np.flatnonzero(self._present[experience]), learner)
        return self._panel

    def tasks_of(self, experience: int, *, seen: bool) -> list[int]:
        """Return the tasks of an experience, or of all experiences up to it, ascending; at the start of the run (-1)
        those of the first experience."""
        last = max(experience, 0)
        first = 0 if seen else last
        return sorted({int(task) for number in range(first, last + 1) for task in self._presence[number].tasks})

    def of_all_tasks(self, learner: Subject, experience: int) -> Panel:
        """Return the samples of all tasks, in ascending order of tasks. Nothing is recorded as an evaluation."""
        self._arrange(self.tasks_of(experience, seen=True) if experience >= 0 else [], experience)
        task = self._tensor(np.array(self._order, dtype=np.int64))[self._place]
        task, order = task.sort(stable=True)
        index = order if self._index is None else self._index[order]
        tasks = list(range(len(self.rows)))
        target, mask = self._target[order], learner.class_mask(task)
        return Panel(tasks, self._x, index, target, task, task, mask, np.zeros(len(tasks), dtype=np.int64), None, None)

    @property
    def teachers(self) -> list[Teacher | None]:
        """Return the rule that gives the labels of each task, ``None`` where it is not known."""
        return [task.teacher for task in self._stream.tasks]

    @property
    def visits(self) -> Mask:
        """Return (E, T) whether each task had samples in each of the experiences so far."""
        return self._present[: self._visited]

    def restore(self, *, units: NDArray[np.int8], competes: Mask) -> None:
        """Return to the class masks of an earlier evaluation; the panel is made anew at the next one."""
        self.units, self.competes = units, competes
        self._present, self._visited, self._panel_key = self._present[:0], 0, None

    def forget(self) -> None:
        """Make the samples anew at the next evaluation, because they were changed in place."""
        self._order, self._panel, self._panel_key = [], None, None

    def _arrange(self, seen: list[int], experience: int) -> None:
        """Put all samples into one block in which the tasks seen so far come first, so that a panel is a slice of it.

        It is made anew if that order changes, or if the stream drifts and tasks are to be evaluated under new views.
        """
        in_order = bool(self._order) and set(self._order[: len(seen)]) == set(seen)
        views = self._stream.task_views(experience)
        if in_order and np.array_equal(views, self.views):
            return
        drifts = in_order and self._stream.transform is None  # then labels change and inputs do not
        if not in_order:
            self._order = seen + [t.id for t in self._stream.tasks if t.id not in set(seen)]
        if not np.array_equal(views, self.views):
            self._task_classes = self._classes_of_tasks(views)
        self.views = views
        test = self._stream.dataset.test
        labels = [self._stream.labels(test, self.rows[t], int(views[t])) for t in self._order]
        rows = np.concatenate([self.rows[t] for t in self._order])
        self._target = self._test.target(self._tensor(rows), self._tensor(np.concatenate(labels)))
        if drifts:
            return
        sizes = [len(self.rows[t]) for t in self._order]
        self._place = self._tensor(np.repeat(np.arange(len(sizes)), sizes))
        view = np.repeat(views[self._order], sizes)
        first, self._index = self._shared(self._keys(self._order, views))
        self._x = inputs(self._test, self._tensor(rows[first]), self._tensor(view[first]), self._dtype)

    def _shared(self, keys: Index) -> tuple[Index, Tensor | None]:
        """Return samples (u,) with different inputs, in order of first appearance, and the input (n,) of each sample.

        If task labels are revealed, a sample's prediction may depend on its task: then no input is shared.
        """
        everyone = np.arange(len(keys))
        if self._stream.task_labels:
            return everyone, None
        _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        if len(first) == len(keys):
            return everyone, None
        order = np.argsort(first)
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        return first[order], self._tensor(place[inverse.reshape(-1)])

    def _first(self, k: int, learner: Subject) -> Panel:
        """Return the first k tasks of the block."""
        n = sum(len(self.rows[t]) for t in self._order[:k])
        index = None if self._index is None else self._index[:n]
        u = n if index is None else int(index.max()) + 1 if n else 0
        return self._made(self._order[:k], only(self._x, slice(u)), index, self._target[:n], self._place[:n], learner)

    def _chosen(self, tasks: Index, learner: Subject) -> Panel:
        """Return any tasks of the block, in its order."""
        order = [t for t in self._order if t in set(tasks.tolist())]
        of_task = self._tensor(np.array([self._order.index(t) for t in order]))
        rows = torch.isin(self._place, of_task).nonzero().squeeze(1)  # (n,)
        place = torch.searchsorted(of_task, self._place[rows])
        if self._index is None:
            return self._made(order, only(self._x, rows), None, self._target[rows], place, learner)
        shared, index = torch.unique(self._index[rows], return_inverse=True)
        return self._made(order, only(self._x, shared), index, self._target[rows], place, learner)

    def _made(
        self, tasks: list[int], x: Inputs, index: Tensor | None, target: Tensor, place: Tensor, learner: Subject
    ) -> Panel:
        task = self._tensor(np.array(tasks, dtype=np.int64))[place]
        units = torch.bincount(target, minlength=self._stream.n_outputs) if self.classes else None
        own = ClassMask(torch.from_numpy(self._task_classes[tasks]).to(self.device)) if self.masked else None
        mask = learner.class_mask(task)
        n_competing = self._note(tasks, place, mask)
        return Panel(tasks, x, index, target, place, task, mask, n_competing, own, units)

    def _classes_of_tasks(self, views: Index) -> Mask:
        """Return (T, C) the units of all labels that a task has under its view, evaluated or not; all without
        classes."""
        if not self.family.has_classes:
            return self._task_classes
        own = np.zeros_like(self._task_classes)
        for task, view in zip(self._stream.tasks, views, strict=True):
            own[task.id, self._stream.labels(self._stream.dataset.test, task.rows, int(view))] = True
        return own

    def _note(self, tasks: list[int], place: Tensor, mask: ClassMask) -> Index:
        """Return how many units compete on the samples of some tasks, (tasks,).

        Record which they are now, and at any evaluation; the latter as in :attr:`clbench.core.record.Trace.units`.
        """
        competes = np.ones((len(tasks), self._stream.n_outputs), dtype=bool)
        if mask.per_row and mask.competes is not None:  # the samples of a task have the same mask
            competes[place.cpu().numpy()] = mask.competes.cpu().numpy()
        elif mask.competes is not None:
            competes &= mask.competes.cpu().numpy()
        self.competes[tasks] = competes
        here = np.where(self._task_classes[tasks], 2, competes).astype(np.int8)
        self.units[tasks] = np.maximum(self.units[tasks], here)
        counts: Index = competes.sum(axis=1)
        return counts

    def _tensor(self, array: Index) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)

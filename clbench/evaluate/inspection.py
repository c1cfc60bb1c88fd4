"""Look inside a learner for readings: activations, features, gradient, weights, each computed once for all readings.

Letters: n samples, T tasks, H features, P weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from clbench.core.types import Teacher
from clbench.evaluate.evaluation_samples import Panel
from clbench.evaluate.subject import Subject
from clbench.families.class_mask import ClassMask
from clbench.families.family import Family
from clbench.models.activations import Activities, watched_activations
from clbench.models.output import Output
from clbench.readings.reading import Which
from clbench.training.learner_readout import Readout

CHUNK = 256
"""Samples that go through the model at a time. It never depends on the machine, because it decides how sums are made.
"""


class Inspection:
    """Show a learner to readings, as :class:`clbench.readings.reading.Inspected` describes.

    It is used in evaluation mode, and nothing of it outlives the readings of one moment.

    Args:
        subject: The learner as the evaluator sees it.
        panel: The evaluation samples of all tasks, in ascending order of tasks.
        chosen: The tasks that ``current`` and ``seen`` mean.
        family: The family of tasks, whose loss is used.
        teachers: The rule of each task, ``None`` where it is not known.
        task_labels: Whether the stream reveals the tasks of samples.
        experience, step, at_end: As in the protocol.
    """

    def __init__(
        self,
        subject: Subject,
        panel: Panel,
        *,
        chosen: dict[str, list[int]],
        family: Family,
        teachers: Sequence[Teacher | None],
        task_labels: bool,
        experience: int,
        step: int,
        at_end: bool,
    ) -> None:
        self.subject, self.experience, self.step, self.at_end = subject, experience, step, at_end
        self.memory: dict[str, Any] = {}
        self.teachers = teachers
        self._panel, self._chosen = panel, {**chosen, "all": list(panel.tasks)}
        self._family, self._task_labels = family, task_labels
        self._activities: dict[tuple[int, ...], Activities] = {}
        self._features: dict[tuple[Any, ...], Tensor] = {}
        self._gradients: dict[tuple[int, ...], Tensor] = {}

    @property
    def model(self) -> nn.Module:
        """Return the model."""
        return self.subject.modules[0]

    @property
    def weights(self) -> Tensor:
        """Return the trainable weights (P,), a copy."""
        return torch.cat([p.detach().reshape(-1) for p in self._parameters()])

    def tasks(self, which: Which) -> list[int]:
        """Return the numbers of some tasks, ascending."""
        return list(self._chosen[which])

    def activations(self, which: Which) -> Activities:
        """Return the activity of the model's units on the samples of some tasks."""
        key = tuple(self.tasks(which))
        if key not in self._activities:
            with watched_activations(self.model) as found, torch.enable_grad():  # fused kernels hide activations
                for x, task, _ in self._batches(self._places(key)):
                    self._by_the_model(x, task)
            self._activities[key] = found
        return self._activities[key]

    def features(self, tasks: Sequence[int], *, most: int | None = None) -> Tensor:
        """Return the features (n, H) of the samples of some tasks; of each task at most ``most``, evenly chosen."""
        key = (tuple(tasks), most)
        if key not in self._features:
            with torch.no_grad():
                batches = self._batches(self._places(tasks, most))
                self._features[key] = torch.cat([self.subject.output(x, task).features for x, task, _ in batches])
        return self._features[key]

    def gradient(self, which: Which) -> Tensor:
        """Return the gradient (P,) of the mean loss on the samples of some tasks."""
        key = tuple(self.tasks(which))
        if key not in self._gradients:
            parameters = self._parameters()
            total = torch.zeros_like(self.weights)
            places = self._places(key)
            for x, task, rows in self._batches(places):
                with torch.enable_grad():
                    output = self._by_the_model(x, task)
                    mask: ClassMask = self.subject.class_mask(self._panel.task[rows])
                    loss = self._family.loss(output.logits, self._panel.target[rows], mask).sum()
                    parts = torch.autograd.grad(loss, parameters, allow_unused=True)
                pairs = zip(parts, parameters, strict=True)
                total += torch.cat([torch.zeros_like(p).reshape(-1) if g is None else g.reshape(-1) for g, p in pairs])
            self._gradients[key] = total / len(places)
        return self._gradients[key]

    # ------------------------------------------------------------------ samples and forward passes

    def _parameters(self) -> list[nn.Parameter]:
        return [p for p in self.model.parameters() if p.requires_grad]

    def _by_the_model(self, x: Tensor, task: Tensor | None) -> Output:
        """Return the output of the network that learns.

        A part may answer otherwise, as by class means of a replay buffer. If its answer has no gradient, it is left
        out, since its samples are not those of the panel.
        """
        reader = self.subject.reader if isinstance(self.subject, Readout) else None
        part = getattr(reader, "__self__", None)
        if reader is None or getattr(part, "answers_in_training", False):
            return self.subject.output(x, task)
        output: Output = self.model(x)
        return output

    def _places(self, tasks: Sequence[int], most: int | None = None) -> Tensor:
        """Return the places (n,) of the samples of some tasks in the panel."""
        found = []
        for task in tasks:
            own = (self._panel.task == task).nonzero().squeeze(1)
            if most is not None and len(own) > most:
                own = own[torch.arange(most, device=own.device) * len(own) // most]
            found.append(own)
        return torch.cat(found) if found else self._panel.task.new_zeros(0)

    def _batches(self, places: Tensor) -> Iterator[tuple[Tensor, Tensor | None, Tensor]]:
        """Yield inputs, task labels if they are revealed, and places of samples; all are copies, and are counted."""
        panel = self._panel
        for rows in places.split(CHUNK):
            x = panel.x[rows if panel.index is None else panel.index[rows]]
            x = x.float() if x.dtype is torch.bfloat16 else x
            task = panel.task[rows].clone() if self._task_labels else None
            self.subject.cost.evaluation_rows += len(rows)
            yield x, task, rows

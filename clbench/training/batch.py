"""What a step sees: samples by index, the sources they come from, and the classes that compete. Pixels are made on
demand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clbench.core.errors import Refused
from clbench.families.class_mask import ClassMask
from clbench.families.classification import Classification
from clbench.families.family import Family

CLASSIFICATION = Classification()
ON_HOST = "on_host"
"""Attribute of task labels that the host knows, so that it does not wait for a GPU to read them."""
ROW, Y, TASK, VIEW, EXPERIENCE = range(5)
"""Rows of an index matrix (5, B) int64: training sample, label, task, view, experience of origin. Task and experience
are -1 if the stream hides them. The label is the output unit in classification, else the group that a sample belongs
to."""


@dataclass(eq=False)
class Source:
    """Describe a part of a batch that comes from one place: the stream, or one draw from the replay buffer.

    Args:
        start, stop: Its range in the batch.
        coefficient: Factor of its mean loss; ``None`` is its share of the batch's samples.
        side: Side tensors of its samples, such as logits stored in the replay buffer; (stop - start, ...) each.
    """

    start: int
    stop: int
    coefficient: float | None = None
    side: dict[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def span(self) -> slice:
        return slice(self.start, self.stop)


class Batch:
    """Hold samples of the stream, then samples of each draw from the replay buffer.

    Attributes:
        family: The family of tasks, which defines loss and score.
        size: Number of samples from the loop, of the stream and merged ones; at least 1. Parts draw as many by
            default.
        rows: (B,) int64 stable indices of samples, the same across epochs, experiences and replay buffer.
        sources: Where the samples come from; the first is the stream.
        class_mask: Which classes compete on each sample, see :class:`clbench.families.class_mask.ClassMask`.
        first_pass: Whether this is the first pass over these samples of the stream in this experience.
        also_trained: (C,) bool, output units that a part's terms train besides those that compete; ``None`` for none.
        offered: Which samples of the stream are offered to the replay buffer, positions (k,) as an array of the host;
            ``None`` for all.
        skip: Set by a part's ``batch`` hook if nothing is to be learned from the batch; its samples are still offered
            to the replay buffer.
        repeat: Number of updates on the loop's samples, at least 1; set by a part's ``batch`` hook. For each further
            update the loop makes a batch of the same samples, and all parts act anew.
        repetition: Number of the update on these samples, from 0. Only the samples of the first one are offered to the
            replay buffer, and ``repeat`` has an effect only there.
    """

    def __init__(
        self,
        index: Tensor,
        *,
        gather: Callable[..., Tensor],
        class_mask: Callable[[Tensor], ClassMask],
        targets: Callable[[Tensor], Tensor] | None = None,
        family: Family = CLASSIFICATION,
        first_pass: bool = True,
        task_labels: bool = False,
        host: Callable[[], NDArray[np.int64]] | None = None,
    ) -> None:
        self.index = index  # (5, B)
        self._host = host
        self.family = family
        self._targets = targets
        self.sources = [Source(0, index.shape[1])]
        self.size = index.shape[1]
        self.first_pass = self._first_pass = first_pass
        self.skip = False
        self.repeat, self.repetition = 1, 0
        self.also_trained: Tensor | None = None
        self.offered: NDArray[np.int64] | None = None
        self._kept: dict[int, dict[str, Any]] = {}
        self._changes: list[Callable[[Tensor], Tensor]] = []
        self._augments: list[Callable[[Tensor, Tensor], Tensor]] = []
        self._merged: Tensor | None = None
        self._gather = gather
        self._mask_of = class_mask
        self._task_labels = task_labels
        self._x: Tensor | None = None
        self._class_mask: ClassMask | None = None
        self._restricted = False

    def __len__(self) -> int:
        return self.index.shape[1]

    @property
    def host(self) -> NDArray[np.int64]:
        """Return the index matrix (5, n) of the stream's samples on the host, without waiting for a GPU if the loop
        made the batch."""
        found = self.index[:, self.stream.span].cpu().numpy() if self._host is None else self._host()
        return np.asarray(found)

    @property
    def target(self) -> Tensor:
        """Return what is to be predicted, (B, ...); in classification the output unit of each sample, (B,) int64."""
        return self.index[Y] if self._targets is None else self._targets(self.index)

    @property
    def y(self) -> Tensor:
        """Return the output units (B,) int64, in classification."""
        if not self.family.has_classes:
            raise Refused(
                f"batch.y is for class labels, and this stream is of the family {self.family.name!r}; read batch.target"
            )
        return self.index[Y]

    @property
    def rows(self) -> Tensor:
        return self.index[ROW]

    @property
    def task(self) -> Tensor:
        """Return the task labels (B,), if the stream reveals them."""
        if not self._task_labels:
            raise AttributeError(
                "this stream hides task labels; a part that reads them declares needs = {'task_labels'}"
            )
        return self.index[TASK]

    def revealed_task(self, span: slice = slice(None)) -> Tensor | None:
        """Return the task labels of all samples or of a range of them; ``None`` if the stream hides them.

        Where the host knows them, the tensor has an attribute ``on_host``, a function that returns them as an array.
        """
        if not self._task_labels:
            return None
        task = self.index[TASK, span]
        if self._host is not None and len(self.sources) == 1 and span == slice(None):
            setattr(task, ON_HOST, lambda: self.host[TASK])
        return task

    @property
    def x(self) -> Tensor:
        """Return the inputs (B, ...): scaled, transformed and augmented; made once, on first use."""
        if self._x is None:
            x = self._gather(self.index, *self._augments)
            for change in self._changes:
                x = change(x)
            self._x = x
        return self._x

    @property
    def outline(self) -> tuple[object, ...]:
        """Return what a ``batch`` hook may change of the batch; equal if nothing was changed."""
        weights = tuple(source.coefficient for source in self.sources)
        mask = id(self._class_mask) if self._restricted else None
        return len(self), weights, self.skip, self.repeat, mask, len(self._changes), len(self._augments)

    @property
    def stream(self) -> Source:
        return self.sources[0]

    @property
    def class_mask(self) -> ClassMask:
        if self._class_mask is None:
            self._class_mask = self._mask_of(self.index)
        return self._class_mask

    def append(
        self, index: Tensor, *, coefficient: float | None = None, side: dict[str, Tensor] | None = None
    ) -> Source:
        """Add rehearsed samples and return their source.

        Args:
            index: (5, n) of a draw from the replay buffer.
            coefficient: Factor of the mean loss on these samples; ``None`` gives every sample of the batch the same
                weight.
            side: Their side tensors.
        """
        if self._x is not None or self._class_mask is not None:
            raise AssertionError("append samples in the 'batch' hook, before inputs or class mask are read")
        source = Source(len(self), len(self) + index.shape[1], coefficient, side or {})
        self.index = torch.cat([self.index, index], dim=1)
        self.sources.append(source)
        return source

    def merge(self, index: Tensor) -> None:
        """Add the samples (5, n) that are merged into an experience as a source after the stream's. For the loop
        only."""
        self._merged = index
        self.append(index)
        self.size = len(self)

    def again(self, repetition: int) -> Batch:
        """Return a batch of the loop's samples, as no part has changed it, for a further update. For the loop only."""
        made = Batch(
            self.index[:, self.stream.span],
            gather=self._gather,
            class_mask=self._mask_of,
            targets=self._targets,
            family=self.family,
            first_pass=self._first_pass,
            task_labels=self._task_labels,
            host=self._host,
        )
        made.repetition = repetition
        if self._merged is not None:
            made.merge(self._merged)
        return made

    def change(self, how: Callable[[Tensor], Tensor]) -> None:
        """Change inputs when they are made, (B, ...) to (B, ...): another augmentation, or a mixture of samples."""
        if self._x is not None:
            raise AssertionError("change inputs in the 'batch' hook, before they are read")
        self._changes.append(how)

    def augment(self, how: Callable[[Tensor, Tensor], Tensor]) -> None:
        """Set the last step of augmentation: a function of raw inputs and augmented inputs.

        Both are (B, ...) in [0, 1], before normalisation; it returns what is shown to the model.
        """
        if self._x is not None:
            raise AssertionError("change inputs in the 'batch' hook, before they are read")
        self._augments.append(how)

    def keep(self, part: object, **values: Any) -> None:
        """Keep values of a part, by name, for a later hook of the same step."""
        self._kept.setdefault(id(part), {}).update(values)

    def kept(self, part: object) -> dict[str, Any]:
        """Return what the part kept earlier in this step; empty if nothing."""
        return self._kept.get(id(part), {})

    def mask_classes(self, source: Source, classes: Tensor) -> None:
        """Let only ``classes`` (C,) bool compete on a source's samples, among those that competed before."""
        self._class_mask = self.class_mask.restricted(source.span, classes, len(self))
        self._restricted = True

    def open_classes(self, source: Source, n_outputs: int) -> None:
        """Let all C output units compete on a source's samples, also those that the benchmark's class mask leaves
        out."""
        opened = self.class_mask.opened(source.span, (len(self), n_outputs))
        self._restricted |= opened is not self._class_mask
        self._class_mask = opened

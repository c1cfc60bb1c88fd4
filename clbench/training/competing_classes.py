"""Which classes compete while a stream is learned.

If the stream reveals the task of a sample, the classes of that task compete on it. Otherwise the classes seen so far
compete, or all classes. Letters: B samples of a batch, C output units, T tasks.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from clbench.core.types import Stream
from clbench.families.class_mask import ALL, ClassMask
from clbench.training.batch import TASK


class CompetingClasses:
    """Return the class mask of any samples, and record which classes have occurred so far.

    Args:
        stream: Whose task labels and ``output`` decide which classes compete.
        device: Where masks are.
        has_classes: Whether outputs stand for classes; else all of them count as seen and compete everywhere.

    Attributes:
        seen: (C,) bool, output units whose class has occurred so far, including those of the running experience or, if
            its boundary is hidden, those of the batches so far.
        changes: A count that rises whenever the class mask changes inside an experience.
    """

    def __init__(self, stream: Stream, device: torch.device, *, has_classes: bool = True) -> None:
        self.seen = torch.full((stream.n_outputs,), not has_classes, dtype=torch.bool, device=device)
        self._has_classes = has_classes
        self.changes = 0
        self._all_outputs = stream.output == "all"
        self._by_task = _classes_by_task(stream, has_classes).to(device) if stream.task_labels else None
        self._mask = ALL

    @property
    def task_labels(self) -> bool:
        """Tell whether the stream reveals the task of a sample."""
        return self._by_task is not None

    @property
    def restricted(self) -> bool:
        """Tell whether some classes compete on no sample so far, because they have not been seen."""
        return self._mask.competes is not None

    def mask(self, index: Tensor) -> ClassMask:
        """Return the class mask of the samples of an index matrix (5, B)."""
        return self._mask if self._by_task is None else ClassMask(self._by_task[index[TASK]])

    def mask_of_tasks(self, task: Tensor) -> ClassMask:
        """Return the class mask of evaluation samples of some tasks (B,); before any class was seen, all compete."""
        if self._by_task is not None:
            return ClassMask(self._by_task[task])
        return self._mask if bool(self.seen.any()) else ALL

    # ------------------------------------------------------------------ for the loop only

    def see(self, units: Sequence[int], *, inside: bool) -> None:
        """Count output units as seen, and let all classes seen compete.

        Args:
            units: The output units; none if an experience with a hidden boundary begins.
            inside: Whether this happens inside an experience, not at its beginning.
        """
        if not self._has_classes:
            return
        self.seen[list(units)] = True
        self.changes += inside
        everything = self._all_outputs or bool(self.seen.all())
        self._mask = ALL if everything else ClassMask(self.seen.clone())

    def set_mask(self, mask: ClassMask) -> None:
        """Use this class mask until the next experience begins."""
        self._mask = mask


def _classes_by_task(stream: Stream, has_classes: bool) -> Tensor:
    """Return (T, C) bool, the classes of each task; all outputs if they are not classes."""
    table = torch.full((len(stream.tasks), stream.n_outputs), not has_classes, dtype=torch.bool)
    for task in stream.tasks if has_classes else ():
        table[task.id, list(task.classes)] = True
    return table

"""Which classes compete, and the heads of the others, held still.

Where the stream reveals the task of a row, the classes of that task compete on it; else those seen so far do, or all.
Letters: N rows of an experience, B of a batch, C output units, T tasks, P weights.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from clbench.core.types import Experience, Index, Stream
from clbench.models.flat_weights import Flat
from clbench.training.arrivals import Arrivals
from clbench.training.batch import TASK, Batch

OWN_MASKS = UNSEEN, IDLE = ("unseen heads", "idle heads")
"""Names of the masks that the learner sets itself."""


class Competition:
    """The part of :class:`clbench.training.learner.Learner` that says which classes compete, and from when on.

    Attributes:
        seen: (C,) bool, output units whose class has occurred so far: those of the running experience included, or,
            where its boundary is hidden, those of the batches met.
        competition: Raised whenever, inside an experience, other classes compete than before.
        head_mask: (P,) bool, weights of the model's last layer.
    """

    model: nn.Module
    flat: Flat
    g: Tensor
    slices: dict[str, slice]
    optimizer: torch.optim.Optimizer
    separate_heads: bool
    n_outputs: int
    device: torch.device
    experience: int | None
    _stream: Stream

    def freeze(self, name: str, mask: Tensor | None) -> None:
        """Hold the weights where ``mask`` (P,) is true, until the same name is given ``None``."""
        raise NotImplementedError

    def _begin_competition(self) -> None:
        """Before the first experience: no class is seen, and no row has arrived."""
        stream = self._stream
        self.seen = torch.zeros(self.n_outputs, dtype=torch.bool, device=self.device)
        self.competition = 0
        self._arrivals = Arrivals(self.n_outputs, len(stream.tasks))
        self._by_task = _classes_by_task(stream).to(self.device) if stream.task_labels else None
        self._compete: Tensor | None = None
        self._head = getattr(self.model, "head", None)

    def _enter_classes(self, experience: Experience, y: Index) -> None:
        """The rows of an experience, with output units ``y`` (N,), come next."""
        self._arrivals.enter(experience, y)
        if experience.boundary:
            self.seen[list(experience.classes)] = True
        self._let_compete()

    def arriving(self, order: Tensor, spans: Sequence[tuple[int, int]]) -> dict[int, tuple[Index, Index]]:
        """The batches ``spans`` of a pass in this order (n,) with which classes or tasks arrive, for the loop alone:
        place of the first row -> what :meth:`meet` takes."""
        return self._arrivals.batches(lambda: order.cpu().numpy(), spans)

    def meet(self, arrivals: tuple[Index, Index], step: int) -> None:
        """Classes and tasks arrive with the batch to come, behind so many steps of the stream.

        Where the boundary of the running experience is hidden, that is when a class counts as seen and competes.
        """
        units, tasks = arrivals
        self._arrivals.note(units, tasks, step)
        if self.experience is None and len(units):
            self.seen[units.tolist()] = True
            self.competition += 1
            self._let_compete()

    def _let_compete(self) -> None:
        """Let the classes seen compete, and hold the heads of the others."""
        self._compete = None if self._stream.output == "all" or bool(self.seen.all()) else self.seen.clone()
        self.freeze(UNSEEN, self._unseen_heads())

    @property
    def first_met(self) -> Index:
        """(C,) steps of the stream done before the first batch that held a row of each output unit, -1 for none."""
        return self._arrivals.met.copy()

    @property
    def first_counted(self) -> Index:
        """(T,) steps done before the first batch that held a row of each task, where boundaries are hidden; (0,) where
        none is, and tasks count from the beginning of their experience."""
        return self._arrivals.counted[: None if self._arrivals.hides else 0].copy()

    def compete(self, classes: Tensor | None) -> None:
        """Let these classes (C,) bool compete, or all, until the next experience is entered."""
        self._compete = classes

    @property
    def task_labels(self) -> bool:
        """Whether the stream reveals the task of a row."""
        return self._by_task is not None

    def allowed(self, index: Tensor) -> Tensor | None:
        """Classes that compete on the rows of an index matrix (5, B): ``None`` for all, else (C,) or (B, C) bool."""
        if self._by_task is not None:
            return self._by_task[index[TASK]]
        return self._compete

    def hidden(self, task: Tensor) -> Tensor | None:
        """Classes that do not compete on evaluation rows of the given tasks (B,), or ``None``."""
        if self._by_task is not None:
            return ~self._by_task[task]
        if self._compete is None or not bool(self.seen.any()):
            return None
        return ~self._compete

    # ------------------------------------------------------------------ heads

    def _unseen_heads(self) -> Tensor | None:
        """Head weights of classes not seen so far, where weight decay would drift them."""
        decays = any(group.get("weight_decay") for group in self.optimizer.param_groups)
        return self._head_rows(~self.seen) if decays and self._compete is not None else None

    def hold_idle_heads(self, batch: Batch) -> None:
        """With separate heads: hold those that no row of the batch may use, against momentum left from before."""
        if self.separate_heads:
            used = None if batch.allowed is None else batch.allowed.reshape(-1, self.n_outputs).any(0)
            if used is not None and batch.trains is not None:
                used = used | batch.trains
            self.freeze(IDLE, None if used is None else self._head_rows(~used))

    @property
    def head_mask(self) -> Tensor:
        return self._head_rows(torch.ones_like(self.seen))

    def _head_rows(self, units: Tensor) -> Tensor:
        """(P,) bool, the weights and biases that serve the output units (C,) bool."""
        mask = torch.zeros_like(self.g, dtype=torch.bool)
        own = () if self._head is None else tuple(self._head.parameters())
        for place, parameter in zip(self.slices.values(), self.flat.parameters, strict=True):
            if any(parameter is p for p in own):
                mask[place] = units.reshape(-1, *(1 for _ in parameter.shape[1:])).expand(parameter.shape).reshape(-1)
        return mask


def _classes_by_task(stream: Stream) -> Tensor:
    """(T, C) bool."""
    table = torch.zeros(len(stream.tasks), stream.n_outputs, dtype=torch.bool)
    for task in stream.tasks:
        table[task.id, list(task.classes)] = True
    return table

"""The replay buffer: the samples kept from the past. There is one per run; the benchmark sets its size for all methods.

It contains indices of samples and side tensors, not pixels; its size in bytes is counted as if it contained raw
samples, as a learner outside a benchmark would. Letter in shapes: M slots.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clbench.benchmark.schema import MemoryBudget
from clbench.core import host_reads
from clbench.core.errors import Refused
from clbench.core.rng import Generator
from clbench.core.uploads import sent
from clbench.training.batch import EXPERIENCE, Batch, Y
from clbench.training.buffer_policies import POLICIES, Chosen, ShrinkingHerding
from clbench.training.herding import exemplars

Index = NDArray[np.int64]

MOST_WAITING = 64
"""Largest number of offers whose samples are not yet in their slots; while they wait, their batches stay in memory."""


@dataclass(frozen=True, eq=False)
class Draw:
    """Hold samples drawn from the replay buffer: slots (n,), index matrix (5, n) and side tensors (n, ...)."""

    slots: Tensor
    index: Tensor
    side: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class _Arrival:
    """Hold the samples of an offer that the policy has taken: ``index[:, taken]`` for ``slots``, (k,) each."""

    slots: Index
    taken: Index
    index: Tensor
    side: dict[str, Tensor]


class Memory:
    """Hold a fixed number of slots that an admission policy fills.

    Args:
        budget: Size (M), policy and time of admission.
        seed: The run's seed.
        classes: C, the number of output units of the stream.
        device: Where index and side tensors are.
        row_bytes: Size of one raw sample, to count bytes.
    """

    def __init__(
        self,
        budget: MemoryBudget,
        *,
        seed: int,
        classes: int = 1,
        device: torch.device | str = "cpu",
        row_bytes: int = 0,
    ) -> None:
        self.size = size = budget.size
        self.policy = budget.policy
        self.admit_when = budget.admit
        self.row_bytes = row_bytes
        self._index = torch.zeros((5, size), dtype=torch.int64, device=device)  # (5, M)
        self._side: dict[str, Tensor] = {}
        self._none = self._index.new_zeros(0)
        self._waiting: list[_Arrival] = []  # admitted samples that are not yet in their slots
        self.draws = 0
        self._count = 0
        self._origin = np.full(size, -1, dtype=np.int64)  # experience of each slot, a copy on the host
        self._admission = POLICIES[budget.policy](size, Generator(seed, "memory/admit"), classes)
        self._drawing = Generator(seed, "memory/draw")
        self._ordering = Generator(seed, "memory/order")

    def __len__(self) -> int:
        return self._count

    @property
    def index(self) -> Tensor:
        """Return the index matrix (5, M) of all slots."""
        self._settle()
        return self._index

    @index.setter
    def index(self, index: Tensor) -> None:
        self._settle()
        self._index = index

    @property
    def side(self) -> dict[str, Tensor]:
        """Return the side tensors (M, ...) of all slots, by name."""
        self._settle()
        return self._side

    def has_earlier(self, experience: int | None) -> bool:
        """Tell whether a sample of an earlier experience is kept; without a visible boundary, whether any sample is."""
        if experience is None:
            return self._count > 0
        return bool((self._origin[: self._count] < experience).any())

    # ------------------------------------------------------------------ in

    def takes(self, batch: Batch) -> bool:
        """Tell whether the samples of a batch are offered at its step: at the first update on them."""
        if self.size == 0 or batch.repetition:
            return False
        return self.admit_when == "every_pass" or (self.admit_when == "first_pass" and batch.first_pass)

    def admit(self, batch: Batch) -> None:
        """Offer a batch's samples of the stream, after the draw and the step, with the side tensors of the stream's
        source."""
        if self.takes(batch):
            index, side = batch.index[:, batch.stream.span], batch.stream.side
            self.offer(index, side, host=batch.host, only=batch.offered)

    def end_experience(self, index: Tensor, features: Callable[[Tensor], Tensor]) -> None:
        """Choose among the samples (5, n) of an experience at its end, if the policy or the time of admission says so.

        Args:
            index: The samples.
            features: From samples (5, k) to the features (k, H) of the model as it is now.

        Raises:
            Refused: The policy has too few slots for the classes seen.
        """
        if not self.size:
            return
        if isinstance(self._admission, ShrinkingHerding):
            self.replace(exemplars(index, self.all().index, self.size, features))
        elif self.admit_when == "end":
            self.admit_shuffled(index)

    def admit_shuffled(self, index: Tensor) -> None:
        """Offer the samples (5, n) of an experience at its end, in a random order of the buffer's own."""
        order = torch.from_numpy(self._ordering.permutation(index.shape[1])).to(index.device)
        self.offer(index[:, order])

    def offer(
        self,
        index: Tensor,
        side: dict[str, Tensor] | None = None,
        *,
        host: Index | None = None,
        only: Index | None = None,
    ) -> None:
        """Offer samples (5, n) in order to the policy.

        On a GPU those that it takes are put into their slots when the buffer is read next, by the copy to the device
        that a draw needs anyway.

        Args:
            index: The samples.
            side: Their side tensors (n, ...).
            host: The same index matrix on the host, if it is there; otherwise the host waits for it.
            only: Positions (k,) of the samples that are offered; ``None`` for all.

        Raises:
            Refused: Their side tensors are not the same as those of the samples in the buffer.
        """
        host = index.cpu().numpy() if host is None and self.size else host
        if host is None or not self.size or (places := np.arange(host.shape[1]) if only is None else only).size == 0:
            return
        side = side or {}
        held = self._waiting[-1].side if self._waiting else self._side
        if self._count and side.keys() != held.keys():
            raise Refused(
                f"samples are offered to the replay buffer with side tensors {sorted(side)} and those kept have "
                f"{sorted(held)}, so some would be stale; a part gives them to every sample in its store hook"
            )
        slots = self._admission.place(host[Y, places], host[EXPERIENCE, places])
        # of two samples for one slot, the last gets it: writing both has no defined order on a GPU
        slots, last = np.unique(slots[::-1], return_index=True)
        taken = places[(len(places) - 1 - last)[slots >= 0]]
        slots = slots[slots >= 0]
        if len(slots) == 0:
            return
        self._origin[slots] = host[EXPERIENCE, taken]
        self._count = max(self._count, int(slots[-1]) + 1)
        if host_reads.free(self._index.device):
            self._put(torch.from_numpy(slots), torch.from_numpy(taken), index, side)
            return
        self._waiting.append(_Arrival(slots, taken, index, side))
        if len(self._waiting) == MOST_WAITING:
            self._settle()

    def _settle(self, *, beside: Index | None = None) -> Tensor:
        """Put admitted samples into their slots; return numbers (n,) on the device, copied there together with them.

        Args:
            beside: The numbers; by default there are none.
        """
        if not self._waiting:
            return self._none if beside is None else sent(beside, self._index.device)
        waiting, self._waiting = self._waiting, []
        numbers = np.zeros(0, dtype=np.int64) if beside is None else beside
        pieces = [numbers, *(each for a in waiting for each in (a.slots, a.taken))]
        together = sent(np.concatenate(pieces), self._index.device)
        found: Tensor
        found, *pairs = together.split([len(piece) for piece in pieces])
        for arrival, where, which in zip(waiting, pairs[::2], pairs[1::2], strict=True):
            self._put(where, which, arrival.index, arrival.side)
        return found

    def _put(self, where: Tensor, which: Tensor, index: Tensor, side: dict[str, Tensor]) -> None:
        """Put some samples ``which`` (k,) of an offer into their slots (k,)."""
        self._index[:, where] = index[:, which]
        for name, values in side.items():
            if name not in self._side:
                self._side[name] = values.new_zeros((self.size, *values.shape[1:]))
            self._side[name][where] = values[which]

    def replace(self, index: Tensor, side: dict[str, Tensor] | None = None) -> None:
        """Keep these samples (5, n) and no others; for parts that select what to keep.

        Raises:
            Refused: There are more samples than slots, or the policy selects samples itself.
        """
        n = index.shape[1]
        if n > self.size or not isinstance(self._admission, Chosen):
            raise Refused(
                f"{n} samples cannot be put into a replay buffer of {self.size} with policy {self.policy}; a part that "
                "selects its samples declares memory_policy = 'herding'"
            )
        self._settle()
        self._count = n
        self._index[:, :n] = index
        self._origin[:n] = index[EXPERIENCE].cpu().numpy()
        self._side = {
            name: torch.cat([values, values.new_zeros((self.size - n, *values.shape[1:]))])
            for name, values in (side or {}).items()
        }

    # ------------------------------------------------------------------ out

    def draw(self, n: int, *, before: int | None = None, generator: Generator | None = None) -> Draw:
        """Draw up to ``n`` different samples, uniformly.

        Args:
            n: Number of samples; all candidates if there are fewer.
            before: Draw only samples of experiences before this one.
            generator: Random generator; the buffer's own by default.
        """
        self.draws += 1
        return self.take(self._settle(beside=self._chosen(n, before, generator or self._drawing)))

    def draw_each(
        self, sizes: Sequence[int], *, before: int | None = None, generator: Generator | None = None
    ) -> list[Draw]:
        """Draw several times, one after another, with a single copy to the device; arguments are those of
        :meth:`draw`."""
        generator = generator or self._drawing
        self.draws += len(sizes)
        chosen = [self._chosen(n, before, generator) for n in sizes]
        if len(chosen) == 1:
            return [self.take(self._settle(beside=chosen[0]))]
        slots = self._settle(beside=np.concatenate(chosen))
        return [self.take(own) for own in slots.split([len(own) for own in chosen])]

    def _chosen(self, n: int, before: int | None, generator: Generator) -> Index:
        """Return the slots (k,) that are drawn, on the host."""
        if before is None:
            return generator.sample(self._count, min(n, self._count))
        candidates = np.flatnonzero(self._origin[: self._count] < before)
        found: Index = candidates[generator.sample(len(candidates), min(n, len(candidates)))]
        return found

    def take(self, slots: Tensor) -> Draw:
        """Return the samples in the given slots (n,)."""
        if self._waiting:
            self._settle()
        return Draw(
            slots, self._index.index_select(1, slots), {k: v.index_select(0, slots) for k, v in self._side.items()}
        )

    def of_experience(self, number: int) -> Draw:
        """Return every kept sample of one experience, in slot order; needs visible boundaries."""
        self.draws += 1
        slots = np.flatnonzero(self._origin[: self._count] == number)
        return self.take(self._settle(beside=slots))

    def all(self) -> Draw:
        """Return every kept sample, in slot order."""
        slots = torch.arange(self._count, device=self._index.device)
        return Draw(slots, self.index[:, : self._count], {k: v[: self._count] for k, v in self.side.items()})

    # ------------------------------------------------------------------ size and state

    @property
    def bytes(self) -> int:
        """Return the bytes that the kept samples and their side tensors would take outside a benchmark."""
        return self._count * self.row_bytes + sum(v.numel() * v.element_size() for v in self.side.values())

    @property
    def state(self) -> dict[str, Any]:
        return {
            "index": self.index.clone(),
            "side": {k: v.clone() for k, v in self.side.items()},
            "count": self._count,
            "draws": self.draws,
            "origin": self._origin.tolist(),
            "admission": self._admission.state,
            "drawing": self._drawing.state,
            "ordering": self._ordering.state,
        }

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        self._waiting = []
        self._index.copy_(state["index"])
        self._side = {k: v.to(self._index.device).clone() for k, v in state["side"].items()}
        self._count, self.draws = state["count"], state["draws"]
        self._origin[:] = state["origin"]
        self._admission.state, self._drawing.state = state["admission"], state["drawing"]
        self._ordering.state = state["ordering"]

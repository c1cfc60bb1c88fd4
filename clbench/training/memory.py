"""The rows kept from the past: one memory per run, sized by the benchmark, so that every method has the same budget.

It holds indices of rows and side tensors, not pixels; its budget is counted as if it held the raw rows, as a learner
outside a benchmark would. Letter in shapes: M slots.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clbench.benchmark.schema import MemoryBudget
from clbench.core.errors import Refused
from clbench.core.rng import Generator
from clbench.training.admission import POLICIES, Chosen
from clbench.training.batch import EXPERIENCE, Batch, Y

Index = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Draw:
    """Rows drawn from memory: their slots (n,), index matrix (5, n) and side tensors (n, ...)."""

    slots: Tensor
    index: Tensor
    side: dict[str, Tensor] = field(default_factory=dict)


class Memory:
    """A fixed number of slots filled by an admission policy.

    Args:
        budget: Size (M), policy and moment of admission.
        seed: The run's seed.
        classes: C, output units of the stream.
        device: Where index and side tensors live.
        row_bytes: Size of one raw row, for the account of bytes.
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
        self.index = torch.zeros((5, size), dtype=torch.int64, device=device)  # (5, M)
        self.side: dict[str, Tensor] = {}
        self.draws = 0
        self._count = 0
        self._origin = np.full(size, -1, dtype=np.int64)  # experience of each slot, mirrored on the host
        self._admission = POLICIES[budget.policy](size, Generator(seed, "memory/admit"), classes)
        self._drawing = Generator(seed, "memory/draw")
        self._ordering = Generator(seed, "memory/order")

    def __len__(self) -> int:
        return self._count

    def has_earlier(self, experience: int | None) -> bool:
        """Whether a row of an earlier experience is kept; without a visible boundary, whether any row is."""
        if experience is None:
            return self._count > 0
        return bool((self._origin[: self._count] < experience).any())

    # ------------------------------------------------------------------ in

    def takes(self, batch: Batch) -> bool:
        """Whether the rows of a batch are offered at its step."""
        return self.size > 0 and (
            self.admit_when == "every_pass" or (self.admit_when == "first_pass" and batch.first_pass)
        )

    def admit(self, batch: Batch) -> None:
        """Offer a batch's stream rows, after the draw and the step; raw rows, with the side tensors that parts gave
        the stream's source."""
        if self.takes(batch):
            index, side, chosen = batch.index[:, batch.stream.span], batch.stream.side, batch.offered
            if chosen is not None:
                index, side = index[:, chosen], {name: values[chosen] for name, values in side.items()}
            self.offer(index, side)

    def admit_shuffled(self, index: Tensor) -> None:
        """Offer the rows (5, n) of an experience at its end, in an order of the memory's own."""
        order = torch.from_numpy(self._ordering.permutation(index.shape[1])).to(index.device)
        self.offer(index[:, order])

    def offer(self, index: Tensor, side: dict[str, Tensor] | None = None) -> None:
        """Offer rows (5, n) in order to the policy.

        Raises:
            Refused: They come without side tensors that the rows kept have, or with others.
        """
        if self.size == 0 or index.shape[1] == 0:
            return
        side = side or {}
        if self._count and side.keys() != self.side.keys():
            raise Refused(
                f"rows are offered to memory with side tensors {sorted(side)} and those kept have {sorted(self.side)}, "
                "so that some would be stale; a part gives them to every row in its store hook"
            )
        host = index.cpu().numpy()
        slots = self._admission.place(host[Y], host[EXPERIENCE])
        # a slot taken twice belongs to its last taker: scattering with duplicates has no defined order on a GPU
        slots, last = np.unique(slots[::-1], return_index=True)
        taken = (len(host[Y]) - 1 - last)[slots >= 0]
        slots = slots[slots >= 0]
        if len(slots) == 0:
            return
        self._origin[slots] = host[EXPERIENCE, taken]
        self._count = max(self._count, int(slots[-1]) + 1)
        where, which = (torch.from_numpy(a).to(self.index.device) for a in (slots, taken))
        self.index[:, where] = index[:, which]
        for name, values in side.items():
            if name not in self.side:
                self.side[name] = values.new_zeros((self.size, *values.shape[1:]))
            self.side[name][where] = values[which]

    def replace(self, index: Tensor, side: dict[str, Tensor] | None = None) -> None:
        """Keep these rows (5, n) and no others; for parts that choose what to keep.

        Raises:
            Refused: More rows than slots, or a policy that chooses by itself.
        """
        n = index.shape[1]
        if n > self.size or not isinstance(self._admission, Chosen):
            raise Refused(
                f"{n} rows cannot be put into a memory of {self.size} under policy {self.policy}; a part that chooses "
                "its rows declares memory_policy = 'herding'"
            )
        self._count = n
        self.index[:, :n] = index
        self._origin[:n] = index[EXPERIENCE].cpu().numpy()
        self.side = {
            name: torch.cat([values, values.new_zeros((self.size - n, *values.shape[1:]))])
            for name, values in (side or {}).items()
        }

    # ------------------------------------------------------------------ out

    def draw(self, n: int, *, before: int | None = None, generator: Generator | None = None) -> Draw:
        """Up to ``n`` different rows, uniformly.

        Args:
            n: How many; all candidates where there are fewer.
            before: Only rows that came from experiences before this one.
            generator: Whose randomness; the memory's own by default.
        """
        generator = generator or self._drawing
        self.draws += 1
        if before is None:
            chosen = generator.sample(self._count, min(n, self._count))
        else:
            candidates = np.flatnonzero(self._origin[: self._count] < before)
            chosen = candidates[generator.sample(len(candidates), min(n, len(candidates)))]
        return self.take(torch.from_numpy(chosen).to(self.index.device))

    def take(self, slots: Tensor) -> Draw:
        """The rows in given slots (n,)."""
        return Draw(
            slots, self.index.index_select(1, slots), {k: v.index_select(0, slots) for k, v in self.side.items()}
        )

    def of_experience(self, number: int) -> Draw:
        """Every kept row of one experience, in slot order; needs visible boundaries."""
        self.draws += 1
        slots = np.flatnonzero(self._origin[: self._count] == number)
        return self.take(torch.from_numpy(slots).to(self.index.device))

    def all(self) -> Draw:
        """Every kept row, in slot order."""
        slots = torch.arange(self._count, device=self.index.device)
        return Draw(slots, self.index[:, : self._count], {k: v[: self._count] for k, v in self.side.items()})

    # ------------------------------------------------------------------ account and state

    @property
    def bytes(self) -> int:
        """Bytes that the kept rows and their side tensors would take outside a benchmark."""
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
        self.index.copy_(state["index"])
        self.side = {k: v.to(self.index.device).clone() for k, v in state["side"].items()}
        self._count, self.draws = state["count"], state["draws"]
        self._origin[:] = state["origin"]
        self._admission.state, self._drawing.state = state["admission"], state["drawing"]
        self._ordering.state = state["ordering"]

"""Admission policies of the replay buffer: they decide which offered sample goes to which slot. M slots, B samples."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clbench.core.errors import Refused
from clbench.core.rng import Generator

Index = NDArray[np.int64]


class Admission(ABC):
    """Decide in order, for every offered sample, to which slot it goes.

    Args:
        size: M.
        generator: The policy's own random numbers.
        classes: C, the number of output units of the stream.
    """

    def __init__(self, size: int, generator: Generator, classes: int) -> None:
        self.size = size
        self.generator = generator
        self.classes = classes

    @abstractmethod
    def place(self, y: Index, experience: Index) -> Index:
        """Return the slot of each offered sample, -1 for one that is not taken, (B,).

        Args:
            y: (B,) labels.
            experience: (B,) the experience that each sample comes from, -1 if boundaries are hidden.
        """

    @property
    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Return all that the policy remembers, as numbers and lists."""

    @state.setter
    @abstractmethod
    def state(self, state: dict[str, Any]) -> None: ...


class Reservoir(Admission):
    """Keep every sample offered so far with the same probability.

    Source: Vitter 1985, algorithm R: the n-th sample offered (from 1) replaces slot j ~ U{0..n-1} if j < M.
    """

    def __init__(self, size: int, generator: Generator, classes: int) -> None:
        super().__init__(size, generator, classes)
        self.offered = 0

    def place(self, y: Index, experience: Index) -> Index:
        slots = np.arange(self.offered, self.offered + len(y))
        self.offered += len(y)
        late = slots[max(0, self.size - int(slots[0])) :]  # a view; only these draw, so that batches have no effect
        late[:] = self.generator.integers(len(late), late + 1)
        late[late >= self.size] = -1
        return slots

    @property
    def state(self) -> dict[str, Any]:
        return {"offered": self.offered, "generator": self.generator.state}

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        self.offered, self.generator.state = state["offered"], state["generator"]


class PerClass(Admission):
    """Remember the slots of every class, and how many of its samples were offered."""

    def __init__(self, size: int, generator: Generator, classes: int) -> None:
        super().__init__(size, generator, classes)
        self.slots: dict[int, list[int]] = {}
        self.seen: dict[int, int] = {}
        self.full: set[int] = set()
        self.count = 0

    def _offered(self, label: int) -> list[int]:
        """Count a sample of a class, and return the slots of the class."""
        self.seen[label] = self.seen.get(label, 0) + 1
        return self.slots.setdefault(label, [])

    def _fill(self, own: list[int]) -> int:
        """Give a class the next free slot, and return it."""
        own.append(self.count)
        self.count += 1
        return own[-1]

    @property
    def state(self) -> dict[str, Any]:
        return {
            "slots": [[label, list(slots)] for label, slots in self.slots.items()],
            "seen": list(self.seen.items()),
            "full": sorted(self.full),
            "count": self.count,
            "generator": self.generator.state,
        }

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        self.slots = {label: list(slots) for label, slots in state["slots"]}
        self.seen, self.full, self.count = dict(state["seen"]), set(state["full"]), state["count"]
        self.generator.state = state["generator"]


class ClassBalanced(PerClass):
    """Share the slots among the classes seen as evenly as the stream allows; within a class, use a reservoir.

    A sample of a class that has never been the largest replaces a random sample of the largest class; a sample of any
    other class (a full class) replaces a sample of its own class with probability kept / seen of that class.

    Source: Chrysakis & Moens 2020, algorithm 1 (class-balancing reservoir sampling).
    """

    def place(self, y: Index, experience: Index) -> Index:
        pairs = self.generator.uniform(2 * len(y)).reshape(-1, 2).tolist()  # in order, so that batches have no effect
        placed = [self._place(label, *pair) for label, pair in zip(y.tolist(), pairs, strict=True)]
        return np.array(placed, dtype=np.int64)

    def _place(self, label: int, chance: float, pick: float) -> int:
        own = self._offered(label)
        if self.count < self.size:
            return self._fill(own)
        most = max(len(slots) for slots in self.slots.values())
        self.full |= {name for name, slots in self.slots.items() if len(slots) == most}
        if label in self.full:
            if chance < len(own) / self.seen[label]:
                return own[int(pick * len(own))]
            return -1
        largest = next(slots for slots in self.slots.values() if len(slots) == most)
        own.append(largest.pop(int(pick * most)))
        return own[-1]


class ClassQuota(PerClass):
    """Give every class the same quota from the start, M / C slots, even if others are unused; within it, use a
    reservoir.

    Source: van de Ven et al. 2022, whose budget is per class.

    Raises:
        Refused: There are fewer slots than classes.
    """

    def __init__(self, size: int, generator: Generator, classes: int) -> None:
        super().__init__(size, generator, classes)
        self.quota = size // classes
        if size and self.quota == 0:
            raise Refused(f"memory.policy class_quota with size {size} has too few slots for {classes} classes")

    def place(self, y: Index, experience: Index) -> Index:
        placed = [self._place(label, u) for label, u in zip(y.tolist(), self.generator.uniform(len(y)), strict=True)]
        return np.array(placed, dtype=np.int64)

    def _place(self, label: int, u: float) -> int:
        own = self._offered(label)
        if len(own) < self.quota:
            return self._fill(own)
        pick = int(u * self.seen[label])
        return own[pick] if pick < self.quota else -1


class GreedyBalanced(PerClass):
    """Share the slots among classes as evenly as possible; samples that come first are kept.

    A sample is taken if there is a free slot, or if its class has fewer samples than the largest; then it replaces one
    of the largest.

    Source: Prabhu et al. 2020 (GDumb), algorithm 1.
    """

    def place(self, y: Index, experience: Index) -> Index:
        placed = [self._place(label, u) for label, u in zip(y.tolist(), self.generator.uniform(len(y)), strict=True)]
        return np.array(placed, dtype=np.int64)

    def _place(self, label: int, pick: float) -> int:
        own = self._offered(label)
        if self.count < self.size:
            return self._fill(own)
        most = max(len(slots) for slots in self.slots.values())
        if len(own) >= most:
            return -1
        largest = [slots for slots in self.slots.values() if len(slots) == most]
        pick *= len(largest)  # one number: its integer part selects the class, the rest the sample
        chosen = largest[int(pick)]
        own.append(chosen.pop(int((pick - int(pick)) * most)))
        return own[-1]


class PerExperience(PerClass):
    """Share the slots evenly among the experiences so far; keep the last samples offered of each, in a ring.

    A new experience replaces the oldest samples of the experiences with most samples. It needs visible boundaries.

    Source: Lopez-Paz and Ranzato 2017 (GEM, section 3), where the number of tasks is known and fixes the quota.

    Raises:
        Refused: Boundaries are hidden, or there are more experiences than slots.
    """

    def place(self, y: Index, experience: Index) -> Index:
        if len(experience) and experience.min() < 0:
            raise Refused("memory.policy per_experience needs visible boundaries, which this stream hides")
        return np.array([self._place(e) for e in experience.tolist()], dtype=np.int64)

    def _place(self, number: int) -> int:
        own = self.slots.setdefault(number, [])
        quota = self.size // len(self.slots)
        if quota == 0:
            raise Refused(f"memory.policy per_experience: {self.size} slots for {len(self.slots)} experiences")
        if self.count < self.size and (len(own) < quota or len(self.slots) == 1):
            own.append(self.count)
            self.count += 1
        elif len(own) < quota:
            own.append(max(self.slots.values(), key=len).pop(0))
        else:
            own.append(own.pop(0))
        return own[-1]


class Chosen(Admission):
    """Take no sample when it is offered: a part selects what to keep and stores it itself."""

    def place(self, y: Index, experience: Index) -> Index:
        return np.full(len(y), -1, dtype=np.int64)

    @property
    def state(self) -> dict[str, Any]:
        return {}

    @state.setter
    def state(self, state: dict[str, Any]) -> None: ...


class ShrinkingHerding(Chosen):
    """Keep M // s samples of each of s classes seen, chosen by herding at the end of an experience.

    See :func:`clbench.training.herding.exemplars`. It needs visible boundaries, and features of the model.

    Source: Rebuffi et al. 2017 (iCaRL, algorithms 4 and 5); M // s as in PyCIL.
    """


POLICIES: dict[str, type[Admission]] = {
    "reservoir": Reservoir,
    "class_balanced": ClassBalanced,
    "class_quota": ClassQuota,
    "greedy_balanced": GreedyBalanced,
    "per_experience": PerExperience,
    "herding": Chosen,
    "shrinking_herding": ShrinkingHerding,
}

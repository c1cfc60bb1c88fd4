"""Admission policies of the memory: which offered row takes which slot. M slots, B offered rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clbench.core.errors import Refused
from clbench.core.rng import Generator

Index = NDArray[np.int64]


class Admission(ABC):
    """Decides, row by row in order, which slot an offered row takes.

    Args:
        size: M.
        generator: The policy's own randomness.
        classes: C, output units of the stream.
    """

    def __init__(self, size: int, generator: Generator, classes: int) -> None:
        self.size = size
        self.generator = generator
        self.classes = classes

    @abstractmethod
    def place(self, y: Index, experience: Index) -> Index:
        """Slot of each offered row, -1 where it is turned away, (B,); by its label ``y`` (B,) and the ``experience``
        (B,) that it comes from, -1 where boundaries are hidden."""

    @property
    @abstractmethod
    def state(self) -> dict[str, Any]:
        """All that the policy remembers, as plain numbers and lists."""

    @state.setter
    @abstractmethod
    def state(self, state: dict[str, Any]) -> None: ...


class Reservoir(Admission):
    """Every row offered so far is kept with the same probability.

    Source: Vitter 1985, algorithm R: the n-th row offered (from 1) replaces slot j ~ U{0..n-1} if j < M.
    """

    def __init__(self, size: int, generator: Generator, classes: int) -> None:
        super().__init__(size, generator, classes)
        self.offered = 0

    def place(self, y: Index, experience: Index) -> Index:
        slots = np.arange(self.offered, self.offered + len(y))
        self.offered += len(y)
        late = slots[max(0, self.size - int(slots[0])) :]  # a view; only these draw, so that batches do not matter
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
    """What policies remember that keep an account of every class: its slots, and how many of its rows were offered."""

    def __init__(self, size: int, generator: Generator, classes: int) -> None:
        super().__init__(size, generator, classes)
        self.slots: dict[int, list[int]] = {}
        self.seen: dict[int, int] = {}
        self.full: set[int] = set()
        self.count = 0

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
    """Classes seen share the memory as evenly as the stream allows; inside a class, a reservoir.

    A row of a class that has never been the largest takes a random slot of the largest class; a row of a class that has
    (a full class) replaces a row of its own class with probability kept / seen of that class.

    Source: Chrysakis & Moens 2020, algorithm 1 (class-balancing reservoir sampling).
    """

    def place(self, y: Index, experience: Index) -> Index:
        pairs = self.generator.uniform(2 * len(y)).reshape(-1, 2).tolist()  # row by row, so that batches do not matter
        placed = [self._place(label, *pair) for label, pair in zip(y.tolist(), pairs, strict=True)]
        return np.array(placed, dtype=np.int64)

    def _place(self, label: int, chance: float, pick: float) -> int:
        own = self.slots.setdefault(label, [])
        self.seen[label] = self.seen.get(label, 0) + 1
        if self.count < self.size:
            own.append(self.count)
            self.count += 1
            return own[-1]
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
    """Every class has the same quota from the start, M / C slots whether or not the others are used yet; inside it, a
    reservoir. The budget per class of van de Ven et al. 2022.

    Raises:
        Refused: Fewer slots than classes.
    """

    def __init__(self, size: int, generator: Generator, classes: int) -> None:
        super().__init__(size, generator, classes)
        self.quota = size // classes
        if size and self.quota == 0:
            raise Refused(f"memory.policy class_quota with size {size} leaves no slot for each of {classes} classes")

    def place(self, y: Index, experience: Index) -> Index:
        placed = [self._place(label, u) for label, u in zip(y.tolist(), self.generator.uniform(len(y)), strict=True)]
        return np.array(placed, dtype=np.int64)

    def _place(self, label: int, u: float) -> int:
        own = self.slots.setdefault(label, [])
        self.seen[label] = self.seen.get(label, 0) + 1
        if len(own) < self.quota:
            own.append(self.count)
            self.count += 1
            return own[-1]
        pick = int(u * self.seen[label])
        return own[pick] if pick < self.quota else -1


class GreedyBalanced(PerClass):
    """Classes share the memory as evenly as possible, first come first kept: a row is taken where there is room, or
    where its class keeps fewer rows than the largest, one of which it then replaces.

    Source: Prabhu et al. 2020 (GDumb), algorithm 1.
    """

    def place(self, y: Index, experience: Index) -> Index:
        placed = [self._place(label, u) for label, u in zip(y.tolist(), self.generator.uniform(len(y)), strict=True)]
        return np.array(placed, dtype=np.int64)

    def _place(self, label: int, pick: float) -> int:
        own = self.slots.setdefault(label, [])
        self.seen[label] = self.seen.get(label, 0) + 1
        if self.count < self.size:
            own.append(self.count)
            self.count += 1
            return own[-1]
        most = max(len(slots) for slots in self.slots.values())
        if len(own) >= most:
            return -1
        largest = [slots for slots in self.slots.values() if len(slots) == most]
        pick *= len(largest)  # one number chooses the class and, by what is left of it, the row
        chosen = largest[int(pick)]
        own.append(chosen.pop(int((pick - int(pick)) * most)))
        return own[-1]


class PerExperience(PerClass):
    """Experiences met so far share the memory evenly; of each the last rows offered are kept, in a ring.

    A new experience takes the oldest rows of those that keep the most. Needs visible boundaries.

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
    """Nothing is taken as it is offered: a part chooses what to keep and puts it there itself."""

    def place(self, y: Index, experience: Index) -> Index:
        return np.full(len(y), -1, dtype=np.int64)

    @property
    def state(self) -> dict[str, Any]:
        return {}

    @state.setter
    def state(self, state: dict[str, Any]) -> None: ...


POLICIES: dict[str, type[Admission]] = {
    "reservoir": Reservoir,
    "class_balanced": ClassBalanced,
    "class_quota": ClassQuota,
    "greedy_balanced": GreedyBalanced,
    "per_experience": PerExperience,
    "herding": Chosen,
}

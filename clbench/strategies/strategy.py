"""A strategy as a value: parsed once, checked once, and carried from the plan of a run to its end."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from clbench.benchmark.schema import MemoryBudget
from clbench.core.errors import Refused
from clbench.core.registry import a
from clbench.core.types import content_hash
from clbench.strategies import STRATEGIES, notation
from clbench.strategies.canonical_form import Item, canonical
from clbench.strategies.chain import check, needs_of
from clbench.strategies.notation import Written
from clbench.strategies.part import Part


@dataclass(frozen=True)
class Declarations:
    """Hold what the parts of one strategy declare together.

    Args:
        needs: What the stream must reveal or the benchmark must provide, of ``clbench.strategies.part.NEEDS``.
        sees: What it trains on: the ``stream``, or experiences ``merged`` into one or ``accumulated``.
        memory_policy: The admission policy that it requires; ``None`` takes the benchmark's.
        memory_admit: The moment of admission that it requires; ``None`` takes the benchmark's.
        engine: The library whose own loop runs it; empty for clbench's loop.
        uses_model: Whether its parts use the benchmark's model.
    """

    needs: frozenset[str]
    sees: str
    memory_policy: str | None
    memory_admit: str | None
    engine: str
    uses_model: bool

    @classmethod
    def of(cls, parts: Sequence[Part]) -> Declarations:
        """Collect the declarations of parts that were checked together."""

        def first(name: str, usual: Any) -> Any:
            return next((value for part in parts if (value := getattr(part, name)) != usual), usual)

        return cls(
            needs=frozenset().union(*(needs_of(part) for part in parts)),
            sees=first("sees", "stream"),
            memory_policy=first("memory_policy", None),
            memory_admit=first("memory_admit", None),
            engine=first("engine", ""),
            uses_model=all(part.uses_model for part in parts),
        )

    def budget(self, memory: MemoryBudget) -> MemoryBudget:
        """Return the benchmark's replay buffer under the policy and the moment of admission that the parts require."""
        policy, admit = self.memory_policy or memory.policy, self.memory_admit or memory.admit
        return memory.model_copy(update={"policy": policy, "admit": admit})  # no file may write all that parts may


@dataclass(frozen=True, eq=False)
class Strategy:
    """Name a strategy and hold its canonical form.

    Two strategies are equal if their canonical forms are, whatever their labels. :meth:`parse` reads and checks one
    that a user wrote; :meth:`of` takes a canonical form that was checked before, such as that of a record.

    Args:
        label: Its name on leaderboards: as the user wrote it, so that it can be read again.
        canonical_form: Name, parameters and, for code that is not clbench's, ``source`` of each recipe.
    """

    label: str
    canonical_form: tuple[Item, ...] = field(repr=False)

    @classmethod
    def parse(cls, written: Written, defaults: Mapping[str, Mapping[str, Any]] | None = None) -> Strategy:
        """Read a strategy, fill in its settings, and check that its parts can be joined.

        Args:
            written: Text (``"er + ewc(strength=1)"``), a mapping from a name to its parameters, or a list of either.
            defaults: The benchmark's values for parameters that have no published default, by recipe name.

        Raises:
            Refused: A syntax error, an unknown name or parameter, a wrong type, a missing value, a name that makes no
                parts, or parts that exclude each other.
        """
        calls = notation.calls(written)
        strategy = cls.of(canonical(calls, defaults), notation.text(calls))
        parts = strategy.parts()
        check(parts)
        strategy.__dict__["declarations"] = Declarations.of(parts)
        return strategy

    @classmethod
    def of(cls, items: Iterable[Mapping[str, Any]], label: str | None = None) -> Strategy:
        """Return the strategy of a canonical form, which is not checked again.

        Args:
            items: As in the cell of a record.
            label: Its name on leaderboards; by default the names of its items with all parameters.
        """
        held = tuple(dict(deepcopy(item)) for item in items)
        if label is None:
            label = notation.text([(str(item.get("name")), item.get("parameters") or {}) for item in held])
        return cls(label, held)

    @property
    def items(self) -> list[Item]:
        """Return a copy of the canonical form, as it enters a cell."""
        return deepcopy(list(self.canonical_form))

    @cached_property
    def declarations(self) -> Declarations:
        """Return what its parts declare together."""
        return Declarations.of(self.parts())

    @property
    def needs(self) -> frozenset[str]:
        """Return what the stream must reveal or the benchmark must provide."""
        return self.declarations.needs

    def parts(self) -> list[Part]:
        """Return new parts, which have learned nothing: every run has its own.

        Raises:
            Refused: A name is not available here, or makes no parts.
        """
        made: list[Part] = []
        for item in self.items:
            made.extend(_parts_of(item))
        return made

    def joined(self, other: Strategy) -> Strategy:
        """Return this strategy with another one's parts after its own.

        Raises:
            Refused: The parts exclude each other.
        """
        both = Strategy.of([*self.canonical_form, *other.canonical_form], f"{self.label} + {other.label}")
        check(both.parts())
        return both

    @cached_property
    def _identity(self) -> str:
        return content_hash(list(self.canonical_form))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Strategy) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)


def _parts_of(item: Item) -> Sequence[Part]:
    """Return the parts of one recipe; each part knows the name that the user wrote."""
    result = _called(item)
    several = [result] if isinstance(result, Part) else result
    if not (isinstance(several, list | tuple) and all(isinstance(part, Part) for part in several)):
        raise Refused(f"{item['name']} makes {a(result)}, which is no part; {_what_is_allowed(item)}")
    called = re.split(r"\.py:", item["name"])[-1]
    for part in several:  # of this instance, not of the class
        part.__dict__["written"] = called if len(several) == 1 else f"{called} ({type(part).__name__})"
    return several


def _called(item: Item) -> Any:
    target = STRATEGIES.get(item["name"])
    try:
        inspect.signature(target).bind(**item["parameters"])
    except TypeError as error:
        raise Refused(f"{item['name']} cannot be made from its settings ({error}); {_what_is_allowed(item)}") from None
    return target(**item["parameters"])


def _what_is_allowed(item: Item) -> str:
    known = "a strategy is a subclass of clbench.Part, or a function that returns parts"
    return known + (f"; a class with observe(x, y) is written observe:{item['name']}" if ".py:" in item["name"] else "")

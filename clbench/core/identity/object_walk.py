"""The walk over a thing and all that it refers to, from which its checksum comes."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any


class Unidentified(ValueError):
    """A thing of which nothing can be said that is the same in every process; the message is a clause that says why."""


class Walk(ABC):
    """One pass over a thing and all it refers to; what is met again is told by the number of its first meeting."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()
        self.met: dict[int, tuple[int, Any]] = {}  # holds on to what it met, whose id would else be given away again

    def put(self, *texts: str | bytes) -> None:
        for text in texts:
            raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
            self.digest.update(b"%d:" % len(raw))
            self.digest.update(raw)

    def again(self, thing: Any) -> bool:
        """Whether a thing was met before; then its number is told in place of its content."""
        if id(thing) in self.met:
            self.put("again", str(self.met[id(thing)][0]))
            return True
        self.met[id(thing)] = (len(self.met), thing)
        return False

    @abstractmethod
    def feed(self, thing: Any) -> None:
        """Take a thing in."""

    def alone(self, thing: Any) -> bytes:
        """The digest of a thing in a walk of its own."""
        walk = type(self)()
        walk.feed(thing)
        return walk.digest.digest()

    def each(self, things: Iterable[Any]) -> None:
        things = list(things)
        self.put("each", str(len(things)))
        for thing in things:
            self.feed(thing)

    def named(self, things: Mapping[str, Any]) -> None:
        """A mapping by names whose order says nothing: attributes, keywords."""
        self.put("named", str(len(things)))
        for name in sorted(things):
            self.put(name)
            self.feed(things[name])

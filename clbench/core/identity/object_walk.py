"""The walk over an object and all objects that it refers to; the checksum is computed from it."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any


class Unidentified(ValueError):
    """Report an object whose content is not the same in every process. The message is a clause that gives the
    reason."""


class Walk(ABC):
    """Walk once over an object and all objects that it refers to. An object met again counts by the number of its first
    visit."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()
        self.met: dict[int, tuple[int, Any]] = {}  # keeps references, since Python may reuse the id of a freed object

    def put(self, *texts: str | bytes) -> None:
        for text in texts:
            raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
            self.digest.update(b"%d:" % len(raw))
            self.digest.update(raw)

    def again(self, obj: Any) -> bool:
        """Return whether an object was met before; if so, add its number in place of its content."""
        if id(obj) in self.met:
            self.put("again", str(self.met[id(obj)][0]))
            return True
        self.met[id(obj)] = (len(self.met), obj)
        return False

    @abstractmethod
    def feed(self, obj: Any) -> None:
        """Add an object."""

    def alone(self, obj: Any) -> bytes:
        """Return the digest of an object in a walk of its own."""
        walk = type(self)()
        walk.feed(obj)
        return walk.digest.digest()

    def each(self, objects: Iterable[Any]) -> None:
        objects = list(objects)
        self.put("each", str(len(objects)))
        for obj in objects:
            self.feed(obj)

    def named(self, objects: Mapping[str, Any]) -> None:
        """Add a mapping from names to values, such as attributes or keywords. Its order does not count."""
        self.put("named", str(len(objects)))
        for name in sorted(objects):
            self.put(name)
            self.feed(objects[name])

"""The trace of a record as an attribute: held in memory, or read from its file when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, overload

if TYPE_CHECKING:
    from clbench.core.record import Trace


class Stored(Protocol):
    """Return the trace of a file; see ``clbench.core.stored_trace``."""

    def __call__(self) -> Trace: ...


class HeldTrace:
    """Give a record its trace. A record gets a trace, or what reads one when it is called; its users get a trace."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, record: None, owner: type) -> None: ...

    @overload
    def __get__(self, record: object, owner: type) -> Trace | None: ...

    def __get__(self, record: object | None, owner: type) -> Trace | None:
        if record is None:
            return None  # the default of a record's field
        held = record.__dict__[self.name]
        trace: Trace | None = held() if callable(held) else held
        return trace

    def __set__(self, record: object, held: Trace | Stored | None) -> None:
        record.__dict__[self.name] = held


def with_trace_in_memory(record: Any) -> dict[str, Any]:
    """Return the state of a record for a copy that needs no files: its trace is read if it is not in memory."""
    return {**record.__dict__, "trace": record.trace}

"""Tables that several metrics read: each is computed once for a trace."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

import numpy as np

from clbench.core.record import Trace
from clbench.metrics.metric import Undefined

P = ParamSpec("P")
T = TypeVar("T")

_TABLES: WeakKeyDictionary[Trace, dict[Any, tuple[Any, str]]] = WeakKeyDictionary()
"""The tables of each trace that exists, with the reason if one is undefined. They are no part of the trace's pickle."""


def once_per_trace(table: Callable[Concatenate[Trace, P], T]) -> Callable[Concatenate[Trace, P], T]:
    """Make a function of a trace keep its result, or the reason why it is undefined, as long as the trace exists.

    All callers get one object, so the arrays in it are read-only. Further arguments must be hashable, and those with
    defaults keyword-only.
    """

    usual: Mapping[str, Any] = getattr(table, "__kwdefaults__", None) or {}

    @wraps(table)
    def held(trace: Trace, /, *arguments: P.args, **settings: P.kwargs) -> T:
        tables = _TABLES.setdefault(trace, {})
        place = (table, arguments, *sorted({**usual, **settings}.items()))
        if place not in tables:
            try:
                tables[place] = _read_only(table(trace, *arguments, **settings)), ""
            except Undefined as why:
                tables[place] = None, str(why)
        found, reason = tables[place]
        if reason:
            raise Undefined(reason)
        result: T = found
        return result

    return held


def _read_only(result: Any) -> Any:
    for array in (result, *getattr(result, "__dict__", {}).values()):
        if isinstance(array, np.ndarray):
            array.setflags(write=False)
    return result

"""A guard for parts under test: starting a process raises an error before the process exists."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from clbench.core import environment
from clbench.running.executors.process_guard import STARTS, children, left_behind
from clbench.testing.trial_runs import Halted

ENVIRONMENT = environment.__file__
"""The module that asks the machine's own programs for hardware and versions."""


class Starts(Halted):
    """Report that a part starts a process."""

    why = "it starts processes"


_asked: list[str] | None = None
_listening = False


@contextmanager
def no_processes() -> Iterator[None]:
    """Make every start of a process raise an error while a strategy is tested.

    Raises:
        Starts: A process would have been started, even if a part caught the error; or one was started, and was ended.
    """
    global _asked, _listening
    if not _listening:
        sys.addaudithook(_refuse)
        _listening = True
    before, there = _asked, children()
    mine = _asked = []
    try:
        yield
    finally:
        _asked = before
        left = left_behind(there)
    if mine or left:
        raise Starts(_sentence(mine[0] if mine else "a process outside of Python"))


def _sentence(what: str) -> str:
    return (
        f"it starts a process ({what}); a run is one process, which may be stopped, saved and resumed: do the "
        "work in the hook itself"
    )


def _refuse(event: str, _: object) -> None:
    if _asked is None or event not in STARTS:
        return
    frame, place = sys._getframe(1), ""
    while frame is not None:
        name = frame.f_code.co_filename
        if name == ENVIRONMENT or name.startswith("<frozen importlib"):
            return  # started by clbench, or by a module during its import
        if not place and not name.startswith("<") and os.path.basename(name) not in ("subprocess.py", "os.py"):
            place = f"{os.path.basename(name)}, line {frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    _asked.append(f"{event}, {place}")
    raise Starts(_sentence(_asked[-1]))

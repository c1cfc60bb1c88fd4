"""A part under test starts no process: the first one is refused before it is there."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from clbench.core import environment
from clbench.running.executors.process_guard import STARTS, children, left_behind
from clbench.testing.trial_runs import Halted

ENVIRONMENT = environment.__file__
"""The module that asks the machine's own programs what a record says of the machine."""


class Starts(Halted):
    """A part starts a process."""

    why = "it starts processes"


_asked: list[str] | None = None
_listening = False


@contextmanager
def no_processes() -> Iterator[None]:
    """For as long as a strategy is asked, whatever would start a process raises instead.

    Raises:
        Starts: A process would have been started, also where a part has caught that; or was, and is ended.
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
        raise Starts(_sentence(mine[0] if mine else "a process that Python does not tell of"))


def _sentence(what: str) -> str:
    return (
        f"it starts a process ({what}); a run is one process, which may be stopped, saved and gone on with: do the "
        "work in the hook itself"
    )


def _refuse(event: str, _: object) -> None:
    if _asked is None or event not in STARTS:
        return
    frame, place = sys._getframe(1), ""
    while frame is not None:
        name = frame.f_code.co_filename
        if name == ENVIRONMENT or name.startswith("<frozen importlib"):
            return  # ours, or what a module does when it is imported
        if not place and not name.startswith("<") and os.path.basename(name) not in ("subprocess.py", "os.py"):
            place = f"{os.path.basename(name)}, line {frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    _asked.append(f"{event}, {place}")
    raise Starts(_sentence(_asked[-1]))

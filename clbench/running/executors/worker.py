"""The life of a worker process: cells in, events out, one cell at a time."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import warnings
from contextlib import suppress
from dataclasses import dataclass
from time import sleep
from typing import Any

from clbench.core.notices import Notice
from clbench.core.record import Record
from clbench.running.executors import Notified, Options, Trained, run_here, ticker
from clbench.running.executors.limits import descendants, end
from clbench.running.executors.process_guard import ends_if_copied, left_behind
from clbench.running.plan import Cell


@dataclass(frozen=True)
class Begun:
    """A worker has all it needs, and begins its cell: from here on its time counts."""


@dataclass(frozen=True)
class Answer:
    """The record of a cell that has ended, and whether its worker has to end with it."""

    record: Record
    retire: bool


PARENT_SECONDS = 1.0
"""How often a worker sees whether its parent is still there."""
STOPPED = 128 + signal.SIGTERM
"""Exit code of a worker that was asked to stop."""


class _Life:
    """What a worker knows of itself."""

    def __init__(self, pipe: Any) -> None:
        self.pid, self.pipe = os.getpid(), pipe
        self.stopping = False
        self.stepped = False
        """Whether the cell at hand has come to its first step: before, there is nothing to save."""

    def stop(self, _number: int, _frame: object) -> None:
        """On SIGTERM: save what is worth it at the end of the step, then end."""
        ends_if_copied(self.pid)
        if not self.stepped:
            os._exit(STOPPED)
        self.stopping = True

    def send(self, thing: Any) -> None:
        """Send; a copy of this process ends here."""
        ends_if_copied(self.pid)
        self.pipe.send(thing)

    def run(self, cell: Cell, options: Options) -> Record:
        """Run a cell; whatever it raises is its own."""
        from clbench.running.snapshots import Interrupted

        told = ticker(cell, self.send)

        def tick(step: int, fraction: float) -> None:
            ends_if_copied(self.pid)
            self.stepped = True
            told(step, fraction)
            if self.stopping:
                raise Interrupted

        def trained(record: Record) -> None:
            self.send(Trained(record))

        try:
            return run_here(cell, options, tick, trained)
        except Interrupted:
            ends_if_copied(self.pid)
            os._exit(STOPPED)
        except (BrokenPipeError, ConnectionResetError):
            raise
        except BaseException as error:
            from clbench.running.cell import place, record

            reason = f"{type(error).__name__}: it stopped its cell{place(error)}"
            return record(cell, None, status="failed", reason=reason, device=options.device)
        finally:
            self.stepped = False


def work(descriptor: int, parent: int) -> None:
    """Options first, then cells in and events out, until the parent closes the pipe or is no more.

    A worker is its own session, so that Ctrl-C reaches the parent alone, which decides what becomes of its workers.

    Args:
        descriptor: File descriptor of the worker's end of the pipe.
        parent: Process id of the parent.
    """
    from multiprocessing.connection import Connection

    import cloudpickle

    os.set_inheritable(descriptor, False)
    pipe = Connection(descriptor)
    life = _Life(pipe)
    _adopt()
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    shown = warnings.showwarning

    def show(message: Any, category: type[Warning], *rest: Any) -> None:
        if issubclass(category, Notice):
            life.send(Notified(str(message)))
        else:
            shown(message, category, *rest)

    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        options = cloudpickle.loads(pipe.recv())
        threads, folder = threading.active_count(), os.getcwd()
        while True:
            signal.signal(signal.SIGTERM, life.stop)  # a part may have set its own
            warnings.simplefilter("always", Notice)
            warnings.showwarning = show  # type: ignore[assignment]
            cell = pipe.recv()
            life.send(Begun())
            record = life.run(cell, options)
            ends_if_copied(life.pid)
            left = left_behind()
            with suppress(OSError):
                os.chdir(folder)
            life.send(Answer(record, retire=bool(left) or threading.active_count() > threads))
    ends_if_copied(life.pid)
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(0)  # threads that a part has left would hold it


def _adopt() -> None:
    """Be the parent of processes that are left by theirs, so that none is lost sight of; Linux alone knows it."""
    with suppress(Exception):
        ctypes.CDLL(None, use_errno=True).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def _watch(parent: int) -> None:
    """End with the parent, whatever the cell is at, and all that it has started too."""
    owner = os.getpid()
    while os.getppid() == parent:
        sleep(PARENT_SECONDS)
    end(descendants(owner))
    with suppress(OSError):
        os.killpg(owner, signal.SIGKILL)
    os._exit(1)

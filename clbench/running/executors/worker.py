"""The worker process: it receives cells and sends events, one cell at a time."""

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
from clbench.core.stop_request import Interrupted, ask_to_stop, asked_to_stop, end_steps, makes_steps, note_step
from clbench.running.cell_key import Cell
from clbench.running.executors import Notified, Trained, run_here, scores_of_run, ticker
from clbench.running.executors.added_objects import unpack
from clbench.running.executors.limits import descendants, end
from clbench.running.executors.process_guard import ends_if_copied, left_behind
from clbench.running.executors.stack_file import write_stacks_to
from clbench.running.options import Options


@dataclass(frozen=True)
class Begun:
    """Report that a worker has everything it needs and begins its cell; its time counts from here."""


@dataclass(frozen=True)
class Answer:
    """Hold the record of a cell that has ended, and whether its worker must end with it."""

    record: Record
    retire: bool


PARENT_SECONDS = 1.0
"""Seconds between two checks whether the parent still exists."""
STOPPED = 128 + signal.SIGTERM
"""Exit code of a worker that was asked to stop."""


class _Life:
    """Hold the state of a worker."""

    def __init__(self, pipe: Any) -> None:
        self.pid, self.pipe = os.getpid(), pipe

    def stop(self, _number: int, _frame: object) -> None:
        """End on SIGTERM: at once before the first step of a cell, afterwards where the run can be saved."""
        ends_if_copied(self.pid)
        if not makes_steps():
            os._exit(STOPPED)
        ask_to_stop()

    def send(self, obj: Any) -> None:
        """Send an object; a copy of this process ends here, and so does a worker whose command has died.

        It ends without a word, because another command may have taken its cell over already.
        """
        ends_if_copied(self.pid)
        try:
            self.pipe.send(obj)
        except (BrokenPipeError, ConnectionResetError):
            end(descendants(self.pid))
            os._exit(STOPPED)

    def run(self, cell: Cell, options: Options) -> Record:
        """Run a cell; any error that it raises belongs to it."""
        scores = scores_of_run(options)
        told = ticker(cell, self.send, scores)

        def tick(step: int, fraction: float) -> None:
            ends_if_copied(self.pid)
            note_step()
            told(step, fraction)
            if asked_to_stop():
                raise Interrupted

        def trained(record: Record) -> None:
            self.send(Trained(record))

        try:
            return run_here(cell, options, tick, trained, scores)
        except Interrupted:
            ends_if_copied(self.pid)
            os._exit(STOPPED)
        except BaseException as error:
            from clbench.running.error_text import place, traceback_text
            from clbench.running.run_cell import record

            reason, where = f"{type(error).__name__}: it ended the cell{place(error)}", traceback_text(error)
            return record(cell, None, status="failed", reason=reason, device=options.device, traceback=where)
        finally:
            end_steps()


def work(descriptor: int, parent: int, stacks: int) -> None:
    """Receive options, then run cells and send events, until the parent closes the pipe or has died.

    A worker has its own session, so that only the parent gets Ctrl-C and decides about its workers.

    Args:
        descriptor: File descriptor of the worker's end of the pipe.
        parent: Process id of the parent.
        stacks: File descriptor of the file for the stacks of this process.
    """
    from multiprocessing.connection import Connection

    import cloudpickle

    write_stacks_to(stacks)
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

    with suppress(EOFError, ConnectionResetError):
        options = cloudpickle.loads(pipe.recv())
        problems = unpack(options.added)
        if ":" in options.device:  # what names no GPU goes to this one too
            import torch

            torch.cuda.set_device(options.device)
        threads, folder = threading.active_count(), os.getcwd()
        while True:
            signal.signal(signal.SIGTERM, life.stop)  # a part may have set its own handler
            warnings.simplefilter("always", Notice)
            warnings.showwarning = show  # type: ignore[assignment]
            cell = pipe.recv()
            life.send(Begun())
            while problems:
                life.send(Notified(problems.pop()))
            record = life.run(cell, options)
            ends_if_copied(life.pid)
            left = left_behind()
            with suppress(OSError):
                os.chdir(folder)
            life.send(Answer(record, retire=bool(left) or threading.active_count() > threads))
            if asked_to_stop():
                os._exit(STOPPED)
    ends_if_copied(life.pid)
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(0)  # remaining threads of a part would prevent the exit


def _adopt() -> None:
    """Become the parent of orphaned processes, so that none is lost; only Linux supports it."""
    with suppress(Exception):
        ctypes.CDLL(None, use_errno=True).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def _watch(parent: int) -> None:
    """End this process together with the parent at any time, and all processes that it has started."""
    owner = os.getpid()
    while os.getppid() == parent:
        sleep(PARENT_SECONDS)
    end(descendants(owner))
    with suppress(OSError):
        os.killpg(owner, signal.SIGKILL)
    os._exit(1)

"""Signals that stop a run: SIGINT (Ctrl-C), SIGTERM, SIGHUP and SIGUSR1, which SLURM can send before the end of a job.

A cell that runs in this process is saved at the end of its step. Worker processes are asked to save theirs.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from clbench.core.stop_request import Interrupted, ask_to_stop, asked_to_stop, forget_stop, makes_steps

NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")
"""The signals that stop a run, as far as a system has them."""
SAVE_SECONDS = 10.0
"""Seconds that a cell in this process has to reach a place where it can be saved; then it is stopped without."""


class Stopped(KeyboardInterrupt):
    """Report that a signal ends the run."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Stop:
    """Stop what runs in this process: at the next place where it can be saved, or at once.

    Attributes:
        number: The signal that stops the run; 0 before.
    """

    def __init__(self) -> None:
        self.number = 0
        self._timer: threading.Timer | None = None

    def __call__(self, number: int, _frame: object) -> None:
        """Handle a signal.

        Raises:
            Stopped: There is nothing to save in this process, or the signal is the second one.
        """
        first, self.number = not self.number, self.number or number
        if not (first and makes_steps() and not asked_to_stop()):
            raise Stopped(self.number)
        ask_to_stop()
        if hasattr(signal, "pthread_kill"):  # a handler runs in the main thread only
            main = threading.main_thread().ident
            self._timer = threading.Timer(SAVE_SECONDS, signal.pthread_kill, (main, number))
            self._timer.daemon = True
            self._timer.start()

    def end(self) -> None:
        """Withdraw the request."""
        if self._timer is not None:
            self._timer.cancel()
        forget_stop()


def handled(numbers: Iterable[int], handler: Callable[[int, Any], None]) -> dict[int, Any]:
    """Handle signals by a function, and return their handlers before; nothing outside of the main thread."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    return {number: signal.signal(number, handler) for number in numbers}


def numbers() -> list[int]:
    """Return the signals that stop a run, without those that this process ignores, as ``nohup`` asks for."""
    found = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
    return [number for number in found if signal.getsignal(number) is not signal.SIG_IGN]


@contextmanager
def stops_cleanly() -> Iterator[None]:
    """Save running cells if a signal stops the program, as long as the context lasts.

    Signals for which the program has its own handler are left to it. Afterwards the program receives the signal.

    Raises:
        KeyboardInterrupt: The program was interrupted by Ctrl-C.
    """
    stop = Stop()
    usual = (signal.SIG_DFL, signal.default_int_handler)
    before = handled([number for number in numbers() if signal.getsignal(number) in usual], stop)
    try:
        yield
    except (Stopped, Interrupted) as error:
        if stop.number == 0:
            raise
        _restore(before)
        if stop.number != signal.SIGINT:
            os.kill(os.getpid(), stop.number)
        raise KeyboardInterrupt from error
    finally:
        stop.end()
        _restore(before)


def _restore(before: dict[int, Any]) -> None:
    for number, handler in before.items():
        signal.signal(number, handler)
    before.clear()

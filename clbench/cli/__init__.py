"""The command line; importing it imports the standard library alone, so that ``main`` is there for the first Ctrl-C."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit: 0 is fine, 1 a cell or a check that failed, 2 a user's mistake, told in one sentence.

    Args:
        arguments: In place of those of the process.
    """
    with leaves_at_once():
        from clbench.cli.app import app
        from clbench.cli.console import plain_console, tell
    with plain_console():
        try:
            app(args=[home(text) for text in (sys.argv[1:] if arguments is None else arguments)], prog_name="clbench")
        except OSError as error:
            if error.filename is not None or error.errno not in (errno.ENOSPC, errno.EIO):
                raise
            tell(f"the output cannot be written: {error.strerror}")
            sys.exit(1)
        except ValueError as error:
            from clbench.core.errors import Refused

            if not isinstance(error, Refused):
                raise
            tell(str(error))
            sys.exit(2)


def home(argument: str) -> str:
    """An argument with its ``~`` written out, also in ``--out=~/results``, where shells leave it as it is."""
    option, equals, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
    return option + equals + (os.path.expanduser(value) if value.startswith("~") else value)


@contextmanager
def leaves_at_once() -> Iterator[None]:
    """Ctrl-C ends the process without a word: what is being imported would tell it in pages."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda number, _: os._exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)

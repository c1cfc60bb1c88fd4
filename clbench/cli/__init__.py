"""Define the command line. This module imports only the standard library, so that ``main`` handles an early Ctrl-C."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit: 0 success, 1 a failed cell or check, 2 a user's mistake, explained in one sentence.

    Args:
        arguments: Command-line arguments, instead of those of the process.
    """
    with leaves_at_once():
        from clbench.cli.app import app
        from clbench.cli.console import plain_console, tell
    with plain_console():
        try:
            words = [home(text) for text in (sys.argv[1:] if arguments is None else arguments)]
            code = app(args=words, prog_name="clbench", standalone_mode=False)
            sys.exit(code if isinstance(code, int) else 0)
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                tell(f"{str(error.filename)[:40]}... is too long for the name of a file or folder; check it")
                sys.exit(2)
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
        except Exception as error:
            if not hasattr(error, "format_message"):  # not an error of the parser of commands
                raise
            from clbench.cli.usage_errors import explain_usage

            if sentence := explain_usage(error):
                tell(sentence)
            sys.exit(2)


def home(argument: str) -> str:
    """Expand ``~`` in an argument, also in ``--out=~/results``, which shells do not expand."""
    option, equals, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
    return option + equals + (os.path.expanduser(value) if value.startswith("~") else value)


@contextmanager
def leaves_at_once() -> Iterator[None]:
    """End the process silently on Ctrl-C: a traceback from inside an import would be pages long."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda number, _: os._exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)

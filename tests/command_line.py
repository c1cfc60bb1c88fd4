"""What tests of the command line share: a command run in this process, and settings that make runs short."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from clbench.cli import main

FAST = ("--set", "training.epochs=1")


@dataclass
class Answer:
    """What a command answered."""

    code: int
    out: str
    err: str


def call(*arguments: str | Path) -> Answer:
    """Run ``clbench ARGUMENTS`` in this process."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return Answer(int(stop.value.code or 0), out.getvalue(), err.getvalue())

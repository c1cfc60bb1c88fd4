"""Snapshots: every few minutes a long run is written to one file, atomically, so that it survives its process.

The file has a line with its identity (format, versions of clbench and torch, a checksum), and the output of
``torch.save``. If a file is damaged, or another version wrote it, it is moved aside, and the run starts again.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

import torch

import clbench
from clbench.core import store
from clbench.core.notices import notice
from clbench.training.loss_check import Diverged

Tick = Callable[[int, float], Any]
"""A function that is called after every step with the number of steps and the fraction of the stream; it may raise an
error to stop the run."""

FORMAT = 1
"""Version of the layout of a snapshot."""
SNAPSHOT_SECONDS = 300.0
"""Seconds between snapshots: the largest loss if a process is killed."""
WORTH_SECONDS = 10.0
"""Smallest duration of a run that is saved when it is asked to stop."""


class Resumable(Protocol):
    """Describe a run that resumes bit for bit from its snapshot."""

    def train(self, tick: Tick | None = None) -> None: ...

    def snapshot(self) -> dict[str, Any]: ...

    def restore(self, snapshot: dict[str, Any]) -> None: ...


class Unfit(Exception):
    """Report that a snapshot is damaged, of another version, or of another run; the message says which."""


class Interrupted(BaseException):
    """Stop a run after saving it; a tick raises this."""


class Snapshots:
    """Make a run survive its process.

    If a snapshot cannot be written, this is reported once, and the run continues.

    Args:
        run: The run, at its beginning.
        path: The file.
        seconds: Time between snapshots.
    """

    def __init__(self, run: Resumable, path: Path, *, seconds: float = SNAPSHOT_SECONDS) -> None:
        self.run, self.path, self.seconds = run, path, seconds
        self._told = False

    def go_on(self) -> bool:
        """Resume from the file's snapshot, and return whether there was one.

        Raises:
            Unfit: The snapshot cannot be resumed. The run cannot be used any more.
        """
        if not self.path.exists():
            return False
        saved = read(self.path)
        try:
            self.run.restore(saved)
        except Exception as error:
            raise Unfit(f"does not fit this run ({type(error).__name__}: {error})") from error
        return True

    def train(self, tick: Tick | None = None) -> None:
        """Resume from the file if it exists, train, and remove the file at the end of the stream.

        Raises:
            Unfit: The file cannot be resumed for a single step.
        """
        resumed, moved = self.go_on(), False
        began = last = perf_counter()
        owner = os.getpid()  # a copy of the process that a part has made writes nothing

        def save_and_tick(step: int, done: float) -> None:
            nonlocal last, moved
            moved = True
            if os.getpid() == owner and perf_counter() - last >= self.seconds:
                self._save()
                last = perf_counter()
            if tick:
                try:
                    tick(step, done)
                except Interrupted:
                    if perf_counter() - began >= WORTH_SECONDS:
                        self._save()
                    raise

        try:
            self.run.train(save_and_tick)
        except Diverged:
            raise
        except Exception as error:
            if resumed and not moved:
                raise Unfit(f"cannot be resumed ({type(error).__name__}: {error})") from error
            raise
        with suppress(OSError):
            self.path.unlink()

    def _save(self) -> None:
        try:
            store.write(self.path, packed(self.run.snapshot()))
        except Diverged:
            raise
        except Exception as error:
            if not self._told:
                self._told = True
                notice(
                    f"no snapshot can be written to {self.path} ({type(error).__name__}: {error}); the run continues, "
                    "but would start again if it were interrupted"
                )


def packed(snapshot: dict[str, Any]) -> bytes:
    """Return a snapshot as a file's content."""
    buffer = io.BytesIO()
    torch.save(snapshot, buffer)
    payload = buffer.getvalue()
    head = {"clbench snapshot": FORMAT, **_versions(), "checksum": hashlib.blake2b(payload, digest_size=16).hexdigest()}
    return json.dumps(head).encode() + b"\n" + payload


def read(path: Path) -> dict[str, Any]:
    """Read a snapshot from its file.

    Raises:
        Unfit: It is damaged, or of other versions.
    """
    try:
        first, _, payload = path.read_bytes().partition(b"\n")
        head = json.loads(first)
        written = {name: head.get(name) for name in ("clbench snapshot", *_versions())}
        checksum = head["checksum"]
    except OSError as error:
        raise Unfit(f"cannot be read ({error.strerror})") from None
    except (ValueError, AttributeError, KeyError, RecursionError):
        raise Unfit("is damaged, or was written by an earlier clbench") from None
    if written != {"clbench snapshot": FORMAT, **_versions()}:
        raise Unfit(f"was written by clbench {written['clbench']} with torch {written['torch']}, in another layout")
    if hashlib.blake2b(payload, digest_size=16).hexdigest() != checksum:
        raise Unfit("is damaged (its checksum differs)")
    try:
        saved: dict[str, Any] = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except Exception as error:
        raise Unfit(f"is damaged ({type(error).__name__})") from None
    return saved


def set_aside(path: Path, error: Unfit) -> str:
    """Move an unfit snapshot aside, and return a report as part of a sentence."""
    try:
        where = f"was moved to {store.set_aside(path)}"
    except OSError as problem:
        with suppress(OSError):
            path.unlink()
        where = f"could not be moved ({problem.strerror})"
    return f"the snapshot {path} {error} and {where}"


def _versions() -> dict[str, str]:
    return {"clbench": clbench.__version__, "torch": str(torch.__version__)}

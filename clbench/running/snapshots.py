"""Long runs survive their process: every few minutes all of a run is written to one file, atomically.

The file is a line that says what it is (format, versions of clbench and torch, a checksum), and what ``torch.save``
made of the snapshot. One that is damaged, or that another version wrote, is set aside, and the run begins anew.
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
"""Called after every step with steps done and the fraction of the stream done; may raise to stop the run."""

FORMAT = 1
"""Version of the layout of a snapshot."""
SNAPSHOT_SECONDS = 300.0
"""How much of a long run a killed process may cost."""
WORTH_SECONDS = 10.0
"""How long a run has gone on, at least, where it is saved because it is asked to stop."""


class Resumable(Protocol):
    """A run that goes on bit for bit from its snapshot."""

    def train(self, tick: Tick | None = None) -> None: ...

    def snapshot(self) -> dict[str, Any]: ...

    def restore(self, snapshot: dict[str, Any]) -> None: ...


class Unfit(Exception):
    """A snapshot is damaged, of another version, or of another run; the message says which."""


class Interrupted(BaseException):
    """A tick raises it to stop a run that is to be saved first."""


class Snapshots:
    """A run that survives its process.

    A snapshot that cannot be written is told once, and the run goes on.

    Args:
        run: The run, at its beginning.
        path: The file.
        seconds: Time between snapshots.
    """

    def __init__(self, run: Resumable, path: Path, *, seconds: float = SNAPSHOT_SECONDS) -> None:
        self.run, self.path, self.seconds = run, path, seconds
        self._told = False

    def go_on(self) -> bool:
        """Return to the file's snapshot, where there is one; whether there was.

        Raises:
            Unfit: It cannot be gone on from. The run is then of no more use.
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
        """Go on from the file where there is one, and remove it when the stream is learned.

        Raises:
            Unfit: The file cannot be gone on from, not for one step.
        """
        resumed, moved = self.go_on(), False
        began = last = perf_counter()
        owner = os.getpid()  # a copy of it that a part has made writes nothing

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
                raise Unfit(f"cannot be gone on from ({type(error).__name__}: {error})") from error
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
                    f"no snapshot can be written to {self.path} ({type(error).__name__}: {error}); the run goes on, "
                    "but would begin anew if it were interrupted"
                )


def packed(snapshot: dict[str, Any]) -> bytes:
    """A snapshot as a file's content."""
    buffer = io.BytesIO()
    torch.save(snapshot, buffer)
    payload = buffer.getvalue()
    head = {"clbench snapshot": FORMAT, **_versions(), "checksum": hashlib.blake2b(payload, digest_size=16).hexdigest()}
    return json.dumps(head).encode() + b"\n" + payload


def read(path: Path) -> dict[str, Any]:
    """A snapshot from its file.

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
    """Put an unfit snapshot where it is in nobody's way, and say so in part of a sentence."""
    try:
        where = f"was set aside as {store.set_aside(path)}"
    except OSError as problem:
        with suppress(OSError):
            path.unlink()
        where = f"could not be set aside ({problem.strerror})"
    return f"the snapshot {path} {error} and {where}"


def _versions() -> dict[str, str]:
    return {"clbench": clbench.__version__, "torch": str(torch.__version__)}

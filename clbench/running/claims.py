"""Claims of cells: commands that share a result directory claim each cell before they run it.

A claim is the file ``OUT/claims/KEY``, which only one command can create (``O_CREAT | O_EXCL``). The command touches it
while it runs the cell. A claim that was not touched for a minute is taken over, and so is one whose process on this
machine has ended. The minute is measured with the clock of the file system, never with that of a machine.

A claim saves work and decides nothing: a cell that runs twice gives the same record.
"""

from __future__ import annotations

import json
import os
import secrets
import threading
from contextlib import suppress
from dataclasses import asdict
from hashlib import blake2b
from pathlib import Path
from time import monotonic
from typing import Any

from clbench.core import store
from clbench.core.temporary_files import LEFT_SECONDS
from clbench.running.claim_files import FOLDER, PROGRESS, FolderClock, Seen, read
from clbench.running.claim_holder import Holder

ATTEMPTS = 20
PUBLISH_SECONDS = 2.0
"""Shortest time in seconds between two reports of progress for other commands."""


def _sweep(folder: Path, clock: FolderClock) -> None:
    """Remove temporary files that killed commands have left among claims."""
    with suppress(OSError), os.scandir(folder) as entries:
        left = [Path(each.path) for each in entries if each.name.startswith(".") or each.name.endswith(PROGRESS)]
        now = clock.look() if left else 0.0
        for path in left:
            seen = read(path)
            if seen is None:
                continue
            ended = seen.holder is not None and seen.holder.has_ended
            if ended or now - seen.touched / 1e9 > LEFT_SECONDS:
                with suppress(OSError):
                    path.unlink()


def remove_left(out: Path) -> None:
    """Remove what commands that have ended have left among the claims of a result directory: claims of finished cells,
    and temporary files."""
    folder = out / FOLDER
    clock = FolderClock(folder)
    with suppress(OSError):
        for path in list(folder.iterdir()):
            seen = read(path) if store.has(path.name, out) else None
            if seen is not None and clock.is_free(seen):
                path.unlink(missing_ok=True)
    _sweep(folder, clock)
    with suppress(OSError):
        folder.rmdir()


class Claims:
    """Claim cells of a result directory for this command, and keep the claims alive.

    Args:
        out: The result directory.
    """

    def __init__(self, out: Path) -> None:
        self.folder = out / FOLDER
        self.me = Holder.here()
        self._content = self.me.line()
        self._clock = FolderClock(self.folder)
        self._held: set[str] = set()
        self._guard = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._progress: dict[str, dict[str, Any]] = {}
        self._published: dict[str, dict[str, Any]] = {}
        self._markers: dict[str, list[Path]] = {}
        self._clean = False

    # ----------------------------------------------------------------------------------------------- claims

    def take(self, key: str) -> bool:
        """Claim a cell. Return ``False`` if another command has it.

        Raises:
            OSError: Claims cannot be written.
        """
        if not self._clean:
            self._clean = True
            _sweep(self.folder, self._clock)
        taken = self._create(key)
        if not taken:
            with suppress(FileNotFoundError):  # another command has just removed the empty folder
                taken = self._take_over(key)
        if not taken:
            return False
        with self._guard:
            self._held.add(key)
            if self._thread is None:
                self._thread = threading.Thread(target=self._keep_alive, name="clbench claims", daemon=True)
                self._thread.start()
        return True

    def release(self, key: str) -> None:
        """Give a claim back, unless another command has taken it over."""
        with self._guard:
            held = key in self._held
            self._held.discard(key)
            self._progress.pop(key, None)
        if held:
            with suppress(OSError):
                self._remove(key)
        for marker in self._markers.pop(key, ()):
            with suppress(OSError):
                marker.unlink()

    def close(self) -> None:
        """Give all claims back."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(timeout=5)
        for key in {*self._held, *self._markers}:
            self.release(key)
        with suppress(OSError):
            (self.folder / f"{self.me.token}{PROGRESS}").unlink(missing_ok=True)
        if self._clean:
            _sweep(self.folder, self._clock)
        with suppress(OSError):
            self.folder.rmdir()

    def _take_over(self, key: str) -> bool:
        """Take over the claim of a command that has ended or is silent, and return whether this command has it now.

        Of all commands that saw the same claim, one can create the marker of this take-over. It renames its own claim
        over the other.
        """
        path = self.folder / key
        seen = read(path)
        if seen is None:
            return self._create(key)
        if not self._is_free(seen):
            return False
        marker = self._mark(key, seen)
        if marker is None:
            return False
        self._markers.setdefault(key, []).append(marker)
        if read(path) != seen:  # it was touched, or given back
            return False
        fresh = self.folder / f".{key}.{secrets.token_hex(8)}"
        try:
            fresh.write_bytes(self._content)
            fresh.replace(path)
        except PermissionError:  # the folder lets only the owner of a file replace it
            return False
        finally:
            with suppress(OSError):
                fresh.unlink(missing_ok=True)
        return True

    def _mark(self, key: str, seen: Seen) -> Path | None:
        """Create the marker of a take-over; ``None`` if another command has. One that died with it is overruled."""
        generation = blake2b(seen.content + str(seen.touched).encode(), digest_size=8).hexdigest()
        for attempt in range(ATTEMPTS):
            marker = self.folder / f".{key}.{generation}.{attempt}"
            if self._written_new(marker):
                return marker
            other = read(marker)
            if other is not None and not self._is_free(other):
                return None
        return None

    def _remove(self, key: str) -> None:
        """Remove this command's claim. It is renamed first and then looked at; the claim of another is put back."""
        path, aside = self.folder / key, self.folder / f".{key}.{secrets.token_hex(8)}"
        if (seen := read(path)) is None or seen.content != self._content:
            return
        with suppress(FileNotFoundError):
            path.rename(aside)
        moved = read(aside)
        if moved is not None and moved.content != self._content:
            _put_back(aside, path)
        with suppress(OSError):
            aside.unlink()

    def _is_free(self, seen: Seen) -> bool:
        try:
            return self._clock.is_free(seen)
        except FileNotFoundError:  # the folder was removed just now, because no claims were left
            return True

    def _create(self, key: str) -> bool:
        path = self.folder / key
        for attempt in range(ATTEMPTS):
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                return self._written_new(path)
            except (FileNotFoundError, FileExistsError):  # another command has just removed the empty folder
                if attempt == ATTEMPTS - 1:
                    raise
        return False

    def _written_new(self, path: Path) -> bool:
        """Write a file that names this command, and return ``False`` if the file exists."""
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except FileExistsError:
            return False
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(self._content)
        except OSError:
            with suppress(OSError):
                path.unlink()
            raise
        return True

    # ----------------------------------------------------------------------------------------------- alive

    def report(self, key: str, **told: Any) -> None:
        """Tell other commands how far a cell is; they hear of it after some seconds."""
        with self._guard:
            if key in self._held:
                self._progress[key] = told

    def _keep_alive(self) -> None:
        """Touch the claims and publish the progress of their cells, until the end."""
        touched, rest = monotonic(), min(PUBLISH_SECONDS, self.me.seconds / 12)
        while not self._ended.wait(rest):
            with self._guard:
                held, progress = list(self._held), dict(self._progress)
            if monotonic() - touched >= self.me.seconds / 6:
                touched = monotonic()
                for key in held:
                    self._touch(key)
                self._published = {}
            if progress != self._published:
                self._published = progress
                self._publish(progress)

    def _touch(self, key: str) -> None:
        path = self.folder / key
        seen = read(path)
        if seen is None or seen.content != self._content:  # it was taken over while this process was stopped
            with self._guard:
                self._held.discard(key)
                self._progress.pop(key, None)
            return
        with suppress(OSError):
            os.utime(path)  # without a time: the file system's own clock

    def _publish(self, progress: dict[str, dict[str, Any]]) -> None:
        with suppress(OSError):
            if progress:
                told = {**asdict(self.me), "cells": progress}  # with the holder: whoever finds it knows if it has ended
                store.write(self.folder / f"{self.me.token}{PROGRESS}", json.dumps(told).encode())


def _put_back(aside: Path, path: Path) -> None:
    """Give a claim its name again, unless a new claim has it."""
    try:
        os.link(aside, path)
    except FileExistsError:
        pass
    except (OSError, NotImplementedError):  # a file system without hard links
        with suppress(OSError):
            if not path.exists():
                aside.rename(path)

"""Names of temporary files, and the removal of those that killed processes have left."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from contextlib import suppress
from functools import cache
from hashlib import blake2b
from pathlib import Path

LEFT_SECONDS = 600.0
"""Age in seconds from which a temporary file of a process that cannot be seen from here was left by it."""
_NAME = re.compile(r"\..*\.(?P<pid>\d{1,10})\.(?P<place>[0-9a-f]{8})[0-9a-f]{8}")
_NAMELESS = re.compile(r"\.[0-9a-f]{16}\.[0-9a-f]{16}\.npz|\.(now|writable)\.[0-9a-f]{16}")
"""Temporary files that name no process: traces whose records do not stand yet, and probes of a folder."""


def temporary_beside(path: Path) -> Path:
    """Return a new name for a temporary file beside a path. It names the process, whose machine may share the folder
    with others."""
    return path.with_name(f".{path.name}.{os.getpid()}.{_here()}{secrets.token_hex(4)}")


def is_temporary(name: str) -> bool:
    """Return whether a file has the name of a temporary one, such as one of :func:`temporary_beside`."""
    return (_NAME.fullmatch(name) or _NAMELESS.fullmatch(name)) is not None


def remove_left(*folders: Path) -> None:
    """Remove temporary files in some folders whose processes have ended.

    A process of this machine can be seen to have ended. Any other file is removed if it was not written for ten
    minutes, by the clock of the file system. Folders that are missing or cannot be written are left as they are.
    """
    for folder in folders:
        with suppress(OSError):
            left = [each.name for each in os.scandir(folder) if each.name.startswith(".") and is_temporary(each.name)]
            now = folder_time(folder) if left else 0.0
            for name in left:
                path = folder / name
                if _has_ended(name) or now - path.lstat().st_mtime > LEFT_SECONDS:
                    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


@cache
def _here() -> str:
    """Return 8 hex digits for the machine since it was started and its namespace of process ids; zeros if unknown."""
    with suppress(OSError):
        machine = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        return blake2b(f"{machine} {os.readlink('/proc/self/ns/pid')}".encode(), digest_size=4).hexdigest()
    return UNKNOWN


UNKNOWN = "0" * 8


def _has_ended(name: str) -> bool:
    """Return whether the process that made a file has certainly ended."""
    found = _NAME.fullmatch(name)
    if found is None or found["place"] != _here() or found["place"] == UNKNOWN:
        return False
    try:
        os.kill(int(found["pid"]), 0)  # signal 0 only asks; the places of other systems are unknown
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def folder_time(folder: Path) -> float:
    """Return the time in seconds by the clock that stamps the files of a folder: that of a file that is written now.

    A network file system asks its server for it, and knows afterwards which files the folder holds.

    Raises:
        OSError: The folder cannot be written.
    """
    probe = temporary_beside(folder / "now")
    try:
        probe.write_bytes(b"\n")
        return probe.stat().st_mtime_ns / 1e9
    finally:
        with suppress(OSError):
            probe.unlink()

"""The holder of a claim: a process of some machine, and whether it has certainly ended."""

from __future__ import annotations

import json
import os
import secrets
import socket
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

PATIENCE = "CLBENCH_CLAIM_SECONDS"
"""Environment variable for the seconds after which a claim that nobody touches may be taken over."""
LONGEST = 86400.0
"""Longest time in seconds that a claim can ask for."""


def patience() -> float:
    """Return the seconds after which a claim of this process may be taken over if it is not touched: 60, or those of
    ``CLBENCH_CLAIM_SECONDS``."""
    with suppress(ValueError):
        asked = float(os.environ.get(PATIENCE, ""))
        if 0 < asked <= LONGEST:
            return asked
    return 60.0


@dataclass(frozen=True)
class Holder:
    """Identify the command that holds a claim.

    Args:
        token: A random text; no two holders have the same.
        host: The name of the machine, for people.
        pid: The process id.
        started: The time at which the process started, in the unit of :func:`start_time`.
        boot: The identity of the machine since it was started; empty if unknown.
        space: The identity of the namespace of process ids, as of a container; empty if there are none.
        since: The beginning of the claim, ISO 8601, UTC.
        seconds: The claim may be taken over if it was not touched for this time.
    """

    token: str
    host: str
    pid: int
    started: float
    boot: str
    space: str
    since: str
    seconds: float

    @classmethod
    def here(cls) -> Holder:
        """Return a new holder for this process."""
        return cls(
            token=secrets.token_hex(8),
            host=socket.gethostname(),
            pid=os.getpid(),
            started=start_time(os.getpid()) or 0.0,
            boot=machine(),
            space=namespace(),
            since=datetime.now(UTC).isoformat(timespec="seconds"),
            seconds=patience(),
        )

    @classmethod
    def read(cls, content: bytes) -> Holder | None:
        """Return the holder that a claim names; ``None`` if its content is damaged or foreign."""
        try:
            held = json.loads(content)
            known = {each.name: held[each.name] for each in fields(cls)}
        except (ValueError, KeyError, TypeError, RecursionError):
            return None
        return cls(**known) if _plausible(known) else None

    def line(self) -> bytes:
        """Return the content of a claim, one line of JSON."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @property
    def is_local(self) -> bool:
        """Return whether the holder is a process that this process can see: of this machine since its last start, in
        the same namespace of process ids."""
        return bool(self.boot) and (self.boot, self.space) == (machine(), namespace())

    @property
    def has_ended(self) -> bool:
        """Return whether the process has certainly ended; ``False`` if this cannot be seen from here."""
        if not self.is_local:
            return False
        if not _exists(self.pid):
            return True
        now = start_time(self.pid)  # another process may have the number since
        return now is not None and self.started > 0 and abs(now - self.started) > 1.0


def _plausible(known: dict[str, Any]) -> bool:
    texts = (known[name] for name in ("token", "host", "boot", "space", "since"))
    numbers = (known[name] for name in ("pid", "started", "seconds"))
    return (
        all(isinstance(each, str) for each in texts)
        and all(isinstance(each, int | float) and not isinstance(each, bool) for each in numbers)
        and isinstance(known["pid"], int)
        and 0 < known["pid"] < 2**31
        and abs(known["started"]) < 2**63
        and 0 < known["seconds"] <= LONGEST
    )


def start_time(pid: int) -> float | None:
    """Return when a process started, in seconds: on Linux since the machine's start, so that a changed clock does not
    matter, and elsewhere since 1970. ``None`` if it cannot be read."""
    with suppress(OSError, ValueError, IndexError, AttributeError):
        told = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return int(told.rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    import psutil

    with suppress(psutil.Error, OSError):
        return float(psutil.Process(pid).create_time())
    return None


@cache
def machine() -> str:
    """Return the identity of this machine since it was started; empty if it is unknown."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    import psutil

    with suppress(psutil.Error, OSError):
        return f"{socket.gethostname()} {round(psutil.boot_time() / 60)}"
    return ""


@cache
def namespace() -> str:
    """Return the identity of the namespace of process ids, in which a number means one process; empty where there are
    no namespaces."""
    with suppress(OSError):
        return os.readlink("/proc/self/ns/pid")
    return ""


def _exists(pid: int) -> bool:
    """Return whether a process exists and has not ended; ``True`` if in doubt."""
    import psutil

    if os.name == "posix":  # where processes of other users are hidden, only a signal finds them
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except OSError:
            return True
    elif not psutil.pid_exists(pid):
        return False
    with suppress(psutil.Error, OSError):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return True

"""The file of a snapshot: a line that says what it is and where the run stands, and the output of ``torch.save``.

If a file is damaged, or belongs to another version, cell or code, it is put aside, and the cell begins anew.
"""

from __future__ import annotations

import hashlib
import io
import json
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import clbench
from clbench.running.attempts import START, Place
from clbench.running.options import Options

FORMAT = 2
"""Version of the layout of a snapshot."""
HEAD_BYTES = 1 << 16
"""Largest length of the first line."""


class Unfit(Exception):
    """Report that a snapshot is damaged, of another version, or of another run; the message says which."""


def snapshot_path(key: str, options: Options) -> Path | None:
    """Return the path of the snapshot of a cell; ``None`` if no snapshots are kept."""
    return options.partial / f"{key}.pt" if options.partial else None


def packed(snapshot: Any, *, place: Place = START, code: Mapping[str, str] | None = None) -> bytes:
    """Return a snapshot as a file's content.

    Args:
        snapshot: What :meth:`clbench.running.prepared_run.Run.snapshot` returns.
        place: Where the run stands.
        code: The digests of the code that made it, as in :attr:`clbench.core.record.Record.code`.
    """
    import torch

    buffer = io.BytesIO()
    torch.save(snapshot, buffer)
    payload = buffer.getvalue()
    head = {
        "clbench snapshot": FORMAT,
        **_versions(),
        "checksum": hashlib.blake2b(payload, digest_size=16).hexdigest(),
        "code": dict(code or {}),
        "step": place.step,
        "fraction": place.fraction,
        "seconds": place.seconds,
    }
    return json.dumps(head).encode() + b"\n" + payload


def place_of(path: Path) -> Place:
    """Return where the run of a snapshot stands, from the first line of its file; the start if it cannot be read."""
    try:
        with path.open("rb") as file:
            head = json.loads(file.readline(HEAD_BYTES))
        return Place(int(head["step"]), float(head["fraction"]), float(head["seconds"]))
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return START


def read(path: Path, code: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Read a snapshot from its file.

    Args:
        path: The file.
        code: The digests of the present code; a snapshot of other code cannot be resumed.

    Raises:
        Unfit: It is damaged, or of other versions or other code.
    """
    import torch

    try:
        first, _, payload = path.read_bytes().partition(b"\n")
        head = json.loads(first)
        written = {name: head.get(name) for name in ("clbench snapshot", *_versions())}
        checksum, made_by = head["checksum"], head.get("code", {})
    except OSError as error:
        raise Unfit(f"cannot be read ({error.strerror})") from None
    except (ValueError, AttributeError, KeyError, RecursionError):
        raise Unfit("is damaged, or was written by an earlier clbench") from None
    if written != {"clbench snapshot": FORMAT, **_versions()}:
        raise Unfit(f"was written by clbench {written['clbench']} with torch {written['torch']}, in another layout")
    if hashlib.blake2b(payload, digest_size=16).hexdigest() != checksum:
        raise Unfit("is damaged (its checksum differs)")
    if made_by != dict(code or {}):
        raise Unfit("was made before the code of clbench or of the strategy changed")
    try:
        saved: dict[str, Any] = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except Exception as error:
        raise Unfit(f"is damaged ({type(error).__name__})") from None
    return saved


def set_aside(path: Path, error: Unfit) -> str:
    """Move an unfit snapshot ``OUT/partial/KEY.pt`` to ``OUT/damaged/partial``, and return a report as part of a
    sentence."""
    folder = path.parent.parent / "damaged" / path.parent.name
    place = folder / path.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        while place.exists():
            place = folder / f"{path.stem}.{secrets.token_hex(2)}{path.suffix}"
        path.rename(place)
        where = f"was moved to {place}"
    except OSError as problem:
        with suppress(OSError):
            path.unlink()
        where = f"could not be moved ({problem.strerror})"
    return f"the snapshot {path} {error} and {where}"


def _versions() -> dict[str, str]:
    import torch

    return {"clbench": clbench.__version__, "torch": str(torch.__version__)}

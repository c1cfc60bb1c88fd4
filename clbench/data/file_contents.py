"""Checksums of file contents, which are cached by the files' sizes and modification times.

The key of a cell includes the checksum of the files of its data, so that a changed file makes another cell.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from clbench.core.errors import Refused
from clbench.data.roots import cache_root

SETTLED_SECONDS = 2.0
"""Files with a more recent change are always read, since the clock may be too coarse to show a change right after
it."""

_known: dict[str, str] = {}


def checksum(files: Sequence[Path], root: Path | None = None) -> str:
    """Return BLAKE2b over the contents of files, 32 hex digits; unchanged files are not read again.

    Args:
        files: The files, in the order in which they count.
        root: A folder; the names of files relative to it count too. Without it, names do not count.

    Raises:
        Refused: A file cannot be read.
    """
    try:
        stamp, newest = _stamp(files)
        kept = _recall(stamp)
        if kept is not None:
            return kept
        began = time.time()
        digest = hashlib.blake2b(digest_size=16)
        for file in files:
            name = "" if root is None else file.relative_to(root).as_posix()
            with file.open("rb") as stream:
                inside = hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16))
            digest.update(f"{len(name)}:{name}:{inside.hexdigest()}".encode("utf-8", "surrogateescape"))
        if newest < began - SETTLED_SECONDS and _stamp(files)[0] == stamp:
            _keep(stamp, digest.hexdigest())
    except OSError as error:
        raise Refused(f"{error.filename} cannot be read: {error.strerror}; put it back or name other data") from None
    return digest.hexdigest()


def _stamp(files: Sequence[Path]) -> tuple[str, float]:
    """Return text that changes if a file does, without reading it, and the latest modification time in seconds."""
    states = [(str(file.absolute()), file.stat()) for file in files]
    told = [(path, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino, s.st_dev) for path, s in states]
    newest = max((max(s.st_mtime_ns, s.st_ctime_ns) for _, s in states), default=0) / 1e9
    return hashlib.blake2b(json.dumps(told).encode(), digest_size=16).hexdigest(), newest


def _recall(stamp: str) -> str | None:
    if stamp in _known:
        return _known[stamp]
    with suppress(OSError, ValueError):
        text = (cache_root() / "checksums" / stamp).read_text(encoding="ascii")
        if len(text) == 32 and int(text, 16) >= 0:
            _known[stamp] = text
            return text
    return None


def _keep(stamp: str, found: str) -> None:
    _known[stamp] = found
    folder = cache_root() / "checksums"
    with suppress(OSError):  # then the next process reads it again
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{stamp}.{time.monotonic_ns()}"
        temporary.write_text(found, encoding="ascii")
        temporary.replace(folder / stamp)

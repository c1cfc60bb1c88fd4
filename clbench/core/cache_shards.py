"""A cache in files that may be deleted at any time: each process adds a file of its own, and readers merge all of them.

No file is ever changed, so processes of several machines may share the folder, and no locks are needed. A file that is
damaged, was removed meanwhile or cannot be written costs only the work of computing its entries again.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any

from clbench.core.atomic_files import write

FOLDER = ".cache"
"""Name of the folder in a result directory."""
MOST_FILES = 8
"""Number of files of one kind from which they are merged into one."""


class CacheShards:
    """Hold entries by key: those of all files of one kind, and new ones until they are saved.

    Args:
        directory: The directory whose folder ``.cache`` holds the files.
        kind: What the entries are, such as ``metrics``; letters only.
        version: What entries depend on besides their keys, such as a digest of code. Entries of other versions are
            never read, and their files are removed when new ones are saved.
    """

    def __init__(self, directory: Path, kind: str, version: str) -> None:
        self.folder = directory / FOLDER
        self._kind, self._prefix = f"{kind}-", f"{kind}-{version}-"
        self._files: list[Path] = []
        self._new: dict[str, Any] = {}
        self._held: dict[str, Any] | None = None

    def get(self, key: str) -> Any:
        """Return an entry; ``None`` if there is none. Files are read with the first entry that is asked for."""
        if self._held is None:
            self._held = self._read()
        return self._held.get(key)

    def put(self, key: str, entry: Any) -> None:
        """Add an entry, which JSON can hold, or replace one."""
        self._new[key] = entry
        if self._held is not None:
            self._held[key] = entry

    def save(self) -> None:
        """Write the new entries, if there are any and the folder can be written."""
        if not self._new:
            return
        entries, merged = self._new, self._files if len(self._files) + 1 >= MOST_FILES else []
        if merged:
            entries = {**(self._held or {}), **self._new}
        try:
            make_cache_folder(self.folder.parent)
            write(self.folder / f"{self._prefix}{secrets.token_hex(4)}.json", _encoded(entries))
            self._new = {}
            for path in (*merged, *self._of_other_versions()):
                path.unlink(missing_ok=True)
        except OSError:
            return

    def _read(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for path in sorted(self.folder.glob(f"{self._prefix}*.json")):
            with suppress(OSError, ValueError, RecursionError):
                found |= _decoded(path.read_bytes())
            self._files.append(path)
        return found | self._new

    def _of_other_versions(self) -> list[Path]:
        return [path for path in self.folder.glob(f"{self._kind}*.json") if not path.name.startswith(self._prefix)]


def make_cache_folder(directory: Path) -> Path:
    """Make the folder of a result directory for files that may be deleted, and return its path. Version control and
    backups leave it out.

    Raises:
        OSError: The directory cannot be written.
    """
    folder = directory / FOLDER
    if not folder.exists():
        folder.mkdir(exist_ok=True)
        (folder / ".gitignore").write_text("*\n")
        (folder / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55\n")
    return folder


def _encoded(entries: dict[str, Any]) -> bytes:
    text = json.dumps(entries, separators=(",", ":")).encode()
    return _sum(text) + b"\n" + text


def _decoded(content: bytes) -> dict[str, Any]:
    written, _, text = content.partition(b"\n")
    if written != _sum(text):
        raise ValueError("the file is damaged")
    entries: dict[str, Any] = json.loads(text)
    return entries


def _sum(text: bytes) -> bytes:
    return hashlib.blake2b(text, digest_size=16).hexdigest().encode()

"""The files of a result folder that strangers may have written: their names and contents, within limits."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from clbench.core import record_file
from clbench.core.errors import Refused
from clbench.core.record_folder import record_files
from clbench.core.result_paths import spare_trace_path
from clbench.core.shown_text import shown
from clbench.submission.record_content import MOST_RECORD, MOST_TRACE, ReadRecord, read_record
from clbench.submission.untrusted_files import MOST_BYTES, MOST_FILES, content_of
from clbench.submission.untrusted_json import plain_json

SKIPPED = frozenset({"records", "traces", "damaged", "conflicts", "superseded", "other-data", "forgotten"})
"""Folders in which no result folder is looked for."""


class TooLarge(Refused):
    """Report that result folders hold more than a submission may hold."""


@dataclass(frozen=True)
class FolderRecord:
    """Hold the files of one record.

    Args:
        read: The record.
        content: The content of its file.
        trace: The content of the file of its trace; ``None`` if it has none.
    """

    read: ReadRecord
    content: bytes
    trace: bytes | None


@dataclass
class FolderFiles:
    """Read the records of result folders, and count what was read.

    Args:
        problems: What is wrong with single files, one sentence each.
        files: Number of files that were read.
        size: Number of bytes that were read.
    """

    problems: list[str] = field(default_factory=list)
    files: int = 0
    size: int = 0

    def records(self, folder: Path) -> Iterator[FolderRecord]:
        """Yield the records of a result folder by key.

        Raises:
            Refused: The folder holds no records.
            TooLarge: It holds more than a submission may hold.
        """
        paths, foreign = record_files(folder)
        if not paths:
            absent = "" if folder.exists() else ", because there is no such folder"
            raise Refused(
                f"{shown(folder, None)} holds no records{absent}; give a folder that `clbench run --out DIR` has "
                "written"
            )
        self.problems += [f"{shown(name)} in {shown(folder / 'records', None)} is no record" for name in foreign]
        for path in paths:
            try:
                content = self._read(path, MOST_RECORD)
                trace = self._trace(path, content)
                read = read_record(path.name, content, trace)
            except (OSError, ValueError) as error:
                if isinstance(error, TooLarge):
                    raise
                why = error.strerror if isinstance(error, OSError) else error
                self.problems.append(shown(f"the record {path} cannot be used: {why}", None))
                continue
            yield FolderRecord(read, content, trace if read.record.has_trace else None)

    def _trace(self, path: Path, content: bytes) -> bytes | None:
        """Return the content of the trace of a record, which may still have its spare name; ``None`` if there is
        none."""
        folder = path.parent.parent
        plain = plain_json(content, MOST_RECORD)
        sums = plain.get("sums") if isinstance(plain, dict) else None
        written = sums.get("trace") if isinstance(sums, dict) else None
        own, found = folder / "traces" / f"{path.stem}.npz", None
        if os.path.lexists(own):
            found = self._read(own, MOST_TRACE)
            if not isinstance(written, str) or record_file.checksum(found) == written:
                return found
        if isinstance(written, str) and written.isalnum():
            spare = spare_trace_path(path.stem, folder, written)
            if os.path.lexists(spare):
                return self._read(spare, MOST_TRACE)
        return found

    def _read(self, path: Path, most: int) -> bytes:
        content = content_of(path, most)
        self.files += 1
        self.size += len(content)
        if self.files > MOST_FILES or self.size > MOST_BYTES:
            folder = shown(path.parent.parent, None)
            raise TooLarge(
                f"{folder} holds more than {MOST_FILES:,} files or {MOST_BYTES / 1e6:,.0f} MB, "
                "the most of a submission; give fewer folders, or split the folder"
            )
        return content


def result_folders(path: Path) -> list[Path]:
    """Return the result folders at and below a path, sorted. Links are not followed."""
    found = []
    for place, folders, _ in os.walk(path):
        if "records" in folders and record_files(Path(place))[0]:
            found.append(Path(place))
        folders[:] = sorted(name for name in folders if name not in SKIPPED and not name.startswith("."))
    return sorted(found)

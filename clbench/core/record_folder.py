"""The files of the folder ``records``: which are records, which are not, and which are damaged, with one line for each
kind."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from clbench.core.errors import Damaged, Refused
from clbench.core.notices import notice

KEY = re.compile(r"[0-9a-f]{16}")
"""A key: the name of a record's file without its suffix."""
_TEMPORARY = re.compile(r"\.[0-9a-f]{16}\.json\..+|\.(now|writable)\..+")
"""Files that processes are writing now, or have left when they were killed."""
_OLDER = "damaged"
"""A folder in ``records`` into which earlier versions moved damaged records."""
MOST = 3
"""The most files of one kind that are named."""


def record_files(directory: Path) -> tuple[list[Path], list[str]]:
    """Return the paths of a result directory's records by key, and the names of other files among them.

    A record is a file that is named ``KEY.json``, whatever it contains. Nothing is read.
    """
    folder = directory / "records"
    records, foreign = [], []
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return [], []
    for name in names:
        stem, suffix = os.path.splitext(name)
        if suffix == ".json" and KEY.fullmatch(stem):
            records.append(folder / name)
        elif name != _OLDER and not _TEMPORARY.fullmatch(name):
            foreign.append(name)
    return records, foreign


@dataclass
class LeftOut:
    """Collect the files of a result directory that count in no number.

    Args:
        directory: The result directory.
        damaged: Records that differ from what was written, or whose traces do.
        newer: Records that a newer version of clbench wrote.
        foreign: Names of files among the records that are none.
        read: Number of records that were read.
    """

    directory: Path
    damaged: list[Damaged] = field(default_factory=list)
    newer: list[Refused] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    read: int = 0

    def add(self, error: Refused) -> None:
        """Add a record that cannot be used."""
        if isinstance(error, Damaged):
            self.damaged.append(error)
        else:
            self.newer.append(error)

    def sentences(self) -> list[str]:
        """Return one sentence for each kind of file that was left out."""
        told = []
        if self.foreign:
            what = "files that are no records" if len(self.foreign) > 1 else "a file that is no record"
            told.append(f"left out of {self.directory / 'records'}: {_counted(self.foreign, what)}")
        if len(self.damaged) > 1:
            told.append(f"left out of {self.directory}: {self.named()}; run their benchmarks again")
        if len(self.newer) > 1:
            told.append(f"left out: {len(self.newer)} records, such as {self.newer[0]}")
        alone = [only[0] for only in (self.damaged, self.newer) if len(only) == 1]
        return [*told, *(f"left out: {error}" for error in alone)]

    def named(self) -> str:
        """Return the number of damaged records, and the first ones with their faults."""
        named = [f"{error.name} ({error.fault})" for error in self.damaged]
        return _counted(named, "damaged records")

    def report(self) -> None:
        """Report the files in one line for each kind."""
        for sentence in self.sentences():
            notice(sentence)


def _counted(names: Sequence[str], what: str) -> str:
    if len(names) == 1:
        return f"{names[0]}, {what}"
    shown = ", ".join(names[:MOST]) + (", ..." if len(names) > MOST else "")
    return f"{len(names)} {what}: {shown}"

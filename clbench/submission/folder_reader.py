"""Read result folders that strangers wrote, with the limits of a bundle."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from clbench.submission.folder_files import FolderFiles
from clbench.submission.record_content import ReadRecord, order
from clbench.submission.submitted import Submitted


def read_folders(paths: str | Path | Sequence[str | Path]) -> Submitted:
    """Read result folders as one submission.

    Args:
        paths: One result folder, or several.

    Returns:
        What can be read of them; what is wrong with single files is in its ``problems``.

    Raises:
        Refused: A folder holds no records, or they hold more than a submission may hold.
    """
    folders = [Path(paths)] if isinstance(paths, str | Path) else [Path(path) for path in paths]
    files, sums = FolderFiles(), dict[str, str]()
    records: list[ReadRecord] = []
    for folder in folders:
        before = "" if len(folders) == 1 else f"{folder.as_posix()}/"
        for each in files.records(folder):
            key = each.read.record.key
            sums[f"{before}records/{key}.json"] = hashlib.sha256(each.content).hexdigest()
            if each.trace is not None:
                sums[f"{before}traces/{key}.npz"] = each.read.trace_sum
            records.append(each.read)
    records.sort(key=lambda read: order(read.record))
    told = "".join(f"{name} {digest}\n" for name, digest in sorted(sums.items()))
    return Submitted(
        records=tuple(read.record for read in records),
        manifest=None,
        sources={},
        digest=hashlib.sha256(told.encode()).hexdigest(),
        problems=tuple(files.problems),
        path=" ".join(map(str, folders)),
        files=sums,
        formats={read.record.key: read.format for read in records},
    )

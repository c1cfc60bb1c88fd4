"""Write the records of a matrix to its result directory; what cannot be written is told in one sentence, and nothing is
lost."""

from __future__ import annotations

import errno
import os
import secrets
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from clbench.core import store
from clbench.core.errors import Refused
from clbench.core.notices import notice
from clbench.core.record import Record
from clbench.core.record_folder import LeftOut
from clbench.running.standing_records import keep_first, renew


def check_writable(out: Path) -> None:
    """Check that records can be written to a result directory.

    Raises:
        Refused: They cannot.
    """
    probe = out / f".writable.{secrets.token_hex(8)}"  # unique: other commands may begin now too
    try:
        store.write(probe, b"")
        probe.unlink(missing_ok=True)
        for folder in (out / "records", out / "traces"):
            folder.mkdir(exist_ok=True)
            if not os.access(folder, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except FileExistsError as error:
        raise Refused(f"results cannot be written to {out}: {error.filename} is a file; choose another --out") from None
    except OSError as error:
        raise Refused(f"results cannot be written to {out}: {error.strerror}; choose another --out") from None


def save(record: Record, out: Path) -> None:
    """Write a record.

    Raises:
        Refused: It cannot be written; the message says where it is kept instead, if it could be kept anywhere.
    """
    try:
        store.save(record, out)
    except OSError as error:
        raise _unwritten(record, out, error) from None


def put_record(record: Record, out: Path, *, again: bool, ends: bool = False) -> Record:
    """Write the record of a cell that was run, and return the one that stands; of a run on request that has failed, the
    failed one, so that it is told.

    Args:
        record: The record.
        out: The result directory.
        again: Whether the cell was finished before and was run again on request, such as for further files.
        ends: Whether the run has kept models after each experience.

    Raises:
        Refused: It cannot be written, as in :func:`save`.
    """
    try:
        standing = renew(record, out, models=not ends) if again else keep_first(record, out)
    except OSError as error:
        raise _unwritten(record, out, error) from None
    return record if again and record.status == "failed" else standing


def amend(record: Record, out: Path, **fields: Any) -> Record:
    """Change fields of a record that are not part of its key, and return it. Its trace stays as it is.

    Raises:
        Refused: It cannot be written, as in :func:`save`.
    """
    changed = replace(record, **fields)
    try:
        store.amend(record.key, out, **fields)
    except OSError as error:
        raise _unwritten(changed, out, error) from None
    return changed


def _unwritten(record: Record, out: Path, error: OSError) -> Refused:
    return Refused(
        f"the record of {record.label}, seed {record.seed} cannot be written to {out}: {error.strerror}; "
        f"{_rescued(record, out)}finished cells are safe, make room and run the same command again"
    )


def _rescued(record: Record, out: Path) -> str:
    """Write a record elsewhere, and return the place as part of a sentence."""
    place = Path(tempfile.gettempdir()) / f"clbench-rescued-{out.name}"
    try:
        store.save(record, place)
    except OSError:
        for folder in (place / "records", place / "traces", place):
            with suppress(OSError):  # it holds records of an earlier run
                folder.rmdir()
        return ""
    return f"it is kept in {place}, whose records and traces belong into those of {out}; "


def tell_damaged(faults: Sequence[store.Damaged], out: Path) -> bool:
    """Report many damaged records of a run in one sentence, and return whether that was done; a single one is reported
    when it is moved."""
    if len(faults) < 2:
        return False
    damaged = LeftOut(out, damaged=list(faults))
    notice(f"{damaged.named()}; they are moved to {out / 'damaged'} and their cells are run again")
    return True


def set_damaged_aside(key: str, out: Path, fault: store.Damaged, *, told: bool) -> None:
    """Move a damaged record out of the way, and say so unless it was told before.

    Raises:
        Refused: It cannot be moved.
    """
    try:
        store.set_record_aside(key, out)
    except FileNotFoundError:  # another command was faster
        return
    except OSError as problem:
        raise Refused(f"{fault}; it cannot be moved: {problem.strerror}") from None
    if not told:
        said = str(fault).partition("; remove it")[0]
        notice(f"{said}; it was moved to {out / 'damaged'} and its cell is run again")


def check_still_there(records: Sequence[Record], out: Path) -> None:
    """Check that finished records are on disk at the end too, and write those again that were removed meanwhile.

    Raises:
        Refused: Records were removed meanwhile.
    """
    lost = [record for record in records if not store.has(record.key, out)]
    for record in lost:
        save(record, out)
    if lost:
        raise Refused(
            f"{len(lost)} of {len(records)} records were removed from {out} while the matrix ran; they have been "
            "written again, and other removed files are lost; run the same command again for the leaderboard"
        )

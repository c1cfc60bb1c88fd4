"""Devices of a matrix: their names as a user writes them, and which of them the next worker process uses.

A device decides where a cell runs and nothing else. Keys, batches and random numbers do not depend on it, so records of
one GPU and of several GPUs of the same kind are the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from clbench.core.errors import Refused


def device_names(written: str) -> tuple[str, ...]:
    """Return the devices of a comma-separated list, such as ``cuda:0,cuda:1``, in its order.

    A device that is named twice gets twice as many cells.

    Raises:
        Refused: A name is empty, ``auto`` stands beside others, or CPU and GPU are mixed, whose bits differ.
    """
    names = tuple(name.strip() for name in written.split(","))
    if len(names) == 1:
        return names
    if not all(names):
        raise Refused(f"device {written!r} has an empty name; write the devices like cuda:0,cuda:1")
    if "auto" in names:
        raise Refused(
            f"device {written!r} has auto beside other devices; write auto alone, or name all, as in cuda:0,cuda:1"
        )
    if len({name.partition(":")[0] for name in names}) > 1:
        raise Refused(
            f"device {written!r} mixes kinds of devices, whose results are not the same bits; name devices of one "
            "kind, as in cuda:0,cuda:1"
        )
    return names


def check_jobs(devices: tuple[str, ...], jobs: int | str) -> None:
    """Check that every device can get a cell.

    Raises:
        Refused: Fewer cells are to run at a time than there are devices.
    """
    if str(jobs).isdecimal() and 0 < int(jobs) < len(devices):
        raise Refused(
            f"jobs = {jobs} leaves devices idle, since {len(devices)} devices are named; give at least {len(devices)} "
            "jobs, or name fewer devices"
        )


def least_used(devices: int, taken: Iterable[int]) -> int:
    """Return the place in the list of devices that has the fewest workers, the first of equals.

    Args:
        devices: Number of devices in the list, at least 1.
        taken: The place of each worker that exists.
    """
    count = Counter(taken)
    return min(range(devices), key=lambda place: count[place])

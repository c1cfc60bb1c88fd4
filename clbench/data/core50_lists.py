"""The lists of CORe50's authors, converted to a list of samples for the scenario ``listed``."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from clbench.core.errors import Refused

Protocol = Literal["ni", "nc", "nic", "nicv2_79", "nicv2_196", "nicv2_391"]
FOLDERS: dict[str, str] = {
    "ni": "NI_inc",
    "nc": "NC_inc",
    "nic": "NIC_inc",
    "nicv2_79": "NIC_v2_79",
    "nicv2_196": "NIC_v2_196",
    "nicv2_391": "NIC_v2_391",
}
"""The folder of each protocol, in which there is a folder for each of its ten runs."""
ROOTS = ("", "batches_filelists", "batches_filelists_NICv2")
"""Folders below that of CORe50 in which the authors' archives put the lists."""
LIST = re.compile(r"train_batch_(\d+)_filelist\.txt")
TEST = "test_filelist.txt"


@dataclass(frozen=True)
class Written:
    """Describe a list that was written.

    Args:
        file: The file.
        experiences: Number of experiences.
        train: Number of training samples.
        test: Number of test samples, which are one test set for all experiences.
        classes: Number of classes.
    """

    file: Path
    experiences: int
    train: int
    test: int
    classes: int


def convert(
    folder: Path,
    *,
    protocol: Protocol = "ni",
    run: int = 0,
    categories: bool = False,
    pictures: str = "core50_128x128",
    output: Path | None = None,
) -> Written:
    """Write a list of samples from the lists that CORe50's authors publish.

    Args:
        folder: The folder with the unpacked lists (``batches_filelists``) and pictures (``core50_128x128``).
        protocol: New instances (``ni``), new classes (``nc``), or both (``nic``, and ``nicv2`` in three lengths).
        run: The authors' order, 0 to 9.
        categories: Whether the 10 categories are the classes, instead of the 50 objects.
        pictures: The folder of pictures in ``folder``, against which the lists' paths are written.
        output: The file to write; by default in ``folder``, named after the protocol and the run.

    Raises:
        Refused: Lists are missing or damaged, or the file cannot be written.
    """
    lists = _run_folder(folder, protocol, run, categories)
    numbered = {int(found[1]): file for file in lists.iterdir() if (found := LIST.fullmatch(file.name))}
    gap = next((i for i in range(len(numbered)) if i not in numbered), None)
    if not numbered or gap is not None:
        raise Refused(
            f"{lists} lacks train_batch_{gap or 0:02}_filelist.txt; unpack the authors' lists again, each run has one "
            "for each experience"
        )
    if not (lists / TEST).is_file():
        raise Refused(f"{lists} lacks {TEST}; unpack the authors' lists again")
    rows: list[tuple[str, str, str, str]] = []
    for i in range(len(numbered)):
        rows += [(f"{pictures}/{path}", label, "train", str(i)) for path, label in _lines(numbered[i])]
    train = len(rows)
    rows += [(f"{pictures}/{path}", label, "test", "") for path, label in _lines(lists / TEST)]
    kind = f"{protocol}-categories" if categories else protocol
    file = output or folder / f"core50-{kind}-run{run}.csv"
    try:
        with file.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(("path", "label", "split", "experience"))
            writer.writerows(rows)
    except OSError as error:
        raise Refused(f"{file} cannot be written: {error.strerror}; name another file with --output") from None
    return Written(file, len(numbered), train, len(rows) - train, len({label for _, label, _, _ in rows}))


def _run_folder(folder: Path, protocol: str, run: int, categories: bool) -> Path:
    """Return the folder of a run's lists."""
    name = FOLDERS[protocol] + ("_cat" if categories else "")
    places = [folder / root / name / f"run{run}" for root in ROOTS]
    found = next((place for place in places if place.is_dir()), None)
    if found is None:
        archive = "batches_filelists_NICv2.zip" if protocol.startswith("nicv2") else "batches_filelists.zip"
        raise Refused(
            f"{folder} has no lists of protocol {protocol}, run {run} ({name}/run{run}); unpack {archive} of CORe50's "
            "authors in it, or choose one of ten runs, 0 to 9"
        )
    return found


def _lines(file: Path) -> list[tuple[str, str]]:
    """Return path and label of each line of the authors' list."""
    found = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        path, _, label = line.strip().rpartition(" ")
        if not path or not label.isdigit():
            raise Refused(f"{file}, line {number}: {line!r} is not a path and a label; unpack the authors' lists again")
        found.append((path.strip(), label))
    return found

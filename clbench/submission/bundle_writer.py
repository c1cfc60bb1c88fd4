"""Write a bundle: the records of result folders, their manifest, and the author's own code as text."""

from __future__ import annotations

import hashlib
import io
import stat
import zipfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import clbench
from clbench.comparison.comparable import shipped_seeds
from clbench.core.atomic_files import write_or_refuse
from clbench.core.errors import Refused
from clbench.core.record import Record
from clbench.core.shown_text import shown
from clbench.leaderboard.standings import reference_seeds
from clbench.submission import manifest as manifests
from clbench.submission.bundle_reader import bundle_of
from clbench.submission.folder_files import FolderFiles, FolderRecord
from clbench.submission.manifest import Manifest, Plugin
from clbench.submission.manifest_checks import RESULTS, contact_problems
from clbench.submission.plugin_files import plugin_of
from clbench.submission.plugin_sources import foreign_names
from clbench.submission.untrusted_files import BUNDLE

MOST_SHOWN = 12
"""The most things that are missing which a message names."""


class Incomplete(Refused):
    """Report all that a bundle lacks.

    Args:
        missing: One sentence for each thing.
    """

    def __init__(self, missing: Sequence[str]) -> None:
        self.missing = tuple(missing)
        count = "one thing is" if len(missing) == 1 else f"{len(missing)} things are"
        told = "; ".join(f"({number}) {each}" for number, each in enumerate(missing[:MOST_SHOWN], 1))
        more = f"; and {len(missing) - MOST_SHOWN} more" if len(missing) > MOST_SHOWN else ""
        super().__init__(f"no bundle was written, because {count} missing or wrong: {told}{more}")


@dataclass(frozen=True)
class Bundle:
    """Describe a bundle that was written.

    Args:
        path: The zip file.
        digest: Its sha256 sum.
        size: Its size in bytes.
        rows: Number of records of each row, by benchmark and label.
        manifest: Its manifest.
    """

    path: Path
    digest: str
    size: int
    rows: Mapping[tuple[str, str], int]
    manifest: Manifest


def submit(
    *directories: str | Path,
    out: str | Path,
    contact: str,
    licence: str,
    sources: Iterable[str | Path] = (),
) -> Bundle:
    """Write the finished records of result folders into a bundle, a zip file that others can check with
    ``clbench verify``. The same records make the same bytes.

    Args:
        directories: Result folders of ``clbench run``; nothing in them is changed.
        out: The zip file.
        contact: Who answers questions: an e-mail address, or a web address that begins with ``https://``.
        licence: The SPDX identifier of the licence of the records, such as ``CC-BY-4.0``.
        sources: Folders with the files of strategies of your own, if these are neither here nor where they were.

    Returns:
        The bundle.

    Raises:
        Refused: Something is missing: results of reference seeds, readable files, digests of code, program texts,
            contact or licence. The message lists all of it.
        Refused: A folder holds no records, or the file cannot be written.
    """
    gathered = _Gathered()
    for directory in map(Path, directories):
        gathered.add(directory)
    folders = [Path(folder) for folder in (*sources, *directories, *(Path(each).parent for each in directories))]
    manifest, files = gathered.packed(contact, licence, folders)
    content = zipped(files)
    read = bundle_of(content, str(out))
    if read.problems:
        raise Incomplete(read.problems)
    write_or_refuse(Path(out), content)
    rows = Counter((record.benchmark, record.label) for record in read.records)
    return Bundle(Path(out), read.digest, len(content), rows, manifest)


def zipped(files: Mapping[str, bytes]) -> bytes:
    """Return the zip file of some files. Its bytes depend on their names and contents alone.

    Args:
        files: Name -> content. Traces are compressed already, and are stored as they are.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in sorted(files.items()):
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            info.create_system = 3
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            info.compress_type = zipfile.ZIP_DEFLATED if _compressible(name, content) else zipfile.ZIP_STORED
            archive.writestr(info, content)
    return buffer.getvalue()


def _compressible(name: str, content: bytes) -> bool:
    """Return whether a file is compressed: no trace, and no text so uniform that readers take it for an attack."""
    return not name.endswith(".npz") and len(content) < (BUNDLE.ratio or 1) / 2 * len(zlib.compress(content))


@dataclass
class _Gathered:
    """Gather records of several folders, and all that they lack."""

    held: dict[str, FolderRecord] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    files: FolderFiles = field(default_factory=FolderFiles)

    def add(self, directory: Path) -> None:
        """Add the records of a folder."""
        for each in self.files.records(directory):
            key = each.read.record.key
            other = self.held.setdefault(key, each)
            if other.read.record.trace_digest != each.read.record.trace_digest:
                self.missing.append(
                    f"the folders hold different results of {_named(each.read.record)}; merge them first"
                )
        self.missing += self.files.problems
        self.files.problems = []

    def packed(self, contact: str, licence: str, folders: Sequence[Path]) -> tuple[Manifest, dict[str, bytes]]:
        """Return the manifest of the bundle and all its files.

        Raises:
            Incomplete: Something is missing.
        """
        records = [each.read.record for each in self.held.values()]
        results = [record for record in records if record.status in RESULTS]
        missing = list(contact_problems(contact, licence))
        missing += self.missing
        wanted = _wanted_seeds(results)
        missing += _missing_cells(records, wanted)
        missing += _mixed_code(results)
        plugins, files = _plugins(results, folders, missing)
        if missing or not results:
            raise Incomplete([shown(each, None) for each in missing] or ["no record has a result"])
        keys = {record.key for record in records if record.status != "failed"}
        for key in keys:
            each = self.held[key]
            files[f"records/{key}.json"] = each.content
            if each.trace is not None:
                files[f"traces/{key}.npz"] = each.trace
        manifest = Manifest(
            contact=contact,
            licence=licence,
            created=max(self.held[key].read.record.created for key in keys),
            clbench=clbench.__version__,
            files={name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())},
            seeds=wanted,
            code={record.settings: dict(record.code) for record in results},
            plugins=plugins,
        )
        return manifest, {**files, manifests.NAME: manifest.encoded()}


def _named(record: Record) -> str:
    return f"{record.label}, seed {record.seed} of {record.benchmark}"


def _rows(records: Iterable[Record]) -> dict[str, list[Record]]:
    rows: defaultdict[str, list[Record]] = defaultdict(list)
    for record in records:
        rows[record.settings].append(record)
    return dict(sorted(rows.items(), key=lambda row: (row[1][0].benchmark, row[1][0].label)))


def _wanted_seeds(results: Sequence[Record]) -> dict[str, tuple[int, ...]]:
    """Return the reference seeds of each benchmark: those of the shipped one, or more if rows have more; of another
    benchmark those that most rows have."""
    found: defaultdict[str, list[Record]] = defaultdict(list)
    for record in results:
        found[record.benchmark].append(record)
    wanted = {}
    for benchmark, own in sorted(found.items()):
        shipped = shipped_seeds(own[0].cell)
        seeds = reference_seeds([frozenset(each.seed for each in row) for row in _rows(own).values()], shipped)
        wanted[benchmark] = seeds if set(shipped) <= set(seeds) else tuple(sorted(shipped))
    return wanted


def _missing_cells(records: Sequence[Record], wanted: Mapping[str, tuple[int, ...]]) -> Iterator[str]:
    for row in _rows(records).values():
        first = row[0]
        if all(record.status == "skipped" for record in row):
            continue
        seeds = set(wanted.get(first.benchmark, ())) - {each.seed for each in row if each.status in RESULTS}
        failed = {each.seed: each.reason for each in row if each.status == "failed" and each.seed in seeds}
        for seed, reason in sorted(failed.items()):
            yield f"{first.label}, seed {seed} of {first.benchmark} has failed ({reason}); run it again"
        absent = sorted(seeds - set(failed))
        if absent:
            what = "seed" if len(absent) == 1 else "seeds"
            yield f"{first.label} has no result for {what} {', '.join(map(str, absent))} of {first.benchmark}; run it"


def _mixed_code(results: Sequence[Record]) -> Iterator[str]:
    engines: defaultdict[str, set[str]] = defaultdict(set)
    for row in _rows(results).values():
        first = row[0]
        codes = {tuple(sorted(record.code.items())) for record in row}
        again = "run it again with `clbench run ... --rerun stale`"
        if () in codes and not any(str(item["name"]).startswith("script:") for item in first.cell["strategy"]):
            yield f"records of {first.label} of {first.benchmark} name no code, as those of older versions; {again}"
        elif len(codes) > 1:
            yield f"the seeds of {first.label} of {first.benchmark} were run by different code; {again}"
        engines[first.benchmark] |= {record.code["engine"] for record in row if record.code.get("engine")}
    for benchmark, found in engines.items():
        if len(found) > 1:
            yield f"rows of {benchmark} were run by different versions of clbench's code; run them again with one"


def _plugins(
    results: Iterable[Record], folders: Sequence[Path], missing: list[str]
) -> tuple[tuple[Plugin, ...], dict[str, bytes]]:
    plugins, files = [], dict[str, bytes]()
    wanted: set[tuple[str, str]] = set()
    for record in results:
        try:
            wanted.update(foreign_names(record))
        except ValueError as error:
            missing.append(str(error))
    for name, source in sorted(wanted):
        try:
            plugin, texts = plugin_of(name, source, folders)
        except Refused as error:
            missing.append(str(error))
            continue
        plugins.append(plugin)
        files |= texts
    return tuple(plugins), files

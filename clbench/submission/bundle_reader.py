"""Read a bundle, which strangers wrote: in memory, within limits, and without running anything in it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import ValidationError

from clbench.core.errors import Refused
from clbench.core.shown_text import shown
from clbench.core.zip_members import Member, zip_members
from clbench.submission import manifest as manifests
from clbench.submission.manifest import Manifest
from clbench.submission.manifest_checks import manifest_problems
from clbench.submission.plugin_sources import source_problems
from clbench.submission.record_content import MOST_RECORD, MOST_TRACE, ReadRecord, order, read_record
from clbench.submission.submitted import Submitted
from clbench.submission.untrusted_files import BUNDLE, MOST_BYTES, content_of
from clbench.submission.untrusted_json import plain_json

RECORD = re.compile(r"records/([0-9a-f]{16})\.json")
TRACE = re.compile(r"traces/([0-9a-f]{16})\.npz")
SOURCE = re.compile(r"sources/(.+\.py)")
MOST_SOURCE = 1_000_000
"""The most bytes of a program text."""
MOST = {RECORD: MOST_RECORD, TRACE: MOST_TRACE, SOURCE: MOST_SOURCE}
"""The most bytes of each kind of file, which is not decompressed if its header says more."""
MOST_MANIFEST = 4_000_000
"""The most bytes of a manifest."""


def read_bundle(path: str | Path) -> Submitted:
    """Read a bundle of ``clbench submit``.

    Args:
        path: The zip file.

    Returns:
        What can be read of it; what is wrong with single files is in its ``problems``.

    Raises:
        Refused: The file cannot be read, is no bundle, or exceeds a limit.
    """
    try:
        content = content_of(Path(path), MOST_BYTES, links=True)
    except (OSError, ValueError) as error:
        raise _no_bundle(str(path), str(error.strerror if isinstance(error, OSError) else error)) from None
    return bundle_of(content, str(path))


def bundle_of(content: bytes, path: str) -> Submitted:
    """Read a bundle from its bytes; as :func:`read_bundle`.

    Args:
        content: The bytes of the zip file.
        path: Its path, for messages.

    Raises:
        Refused: The content is no bundle, or exceeds a limit.
    """
    try:
        members = zip_members(content, BUNDLE)
        manifest = _manifest(members)
    except ValueError as error:
        raise _no_bundle(path, str(error)) from None
    return _Reading(members, manifest).submitted(hashlib.sha256(content).hexdigest(), path)


def _no_bundle(path: str, why: str) -> Refused:
    return Refused(
        f"{shown(path, None)} is no bundle that can be read: {shown(why, None)}; write one with "
        "`clbench submit DIR -o bundle.zip`"
    )


def _manifest(members: Mapping[str, Member]) -> Manifest:
    """Read the manifest.

    Raises:
        ValueError: There is none, or it is damaged.
    """
    member = members.get(manifests.NAME)
    if member is None:
        raise ValueError(f"it holds no {manifests.NAME}")
    try:
        if member.size > MOST_MANIFEST:
            raise ValueError(f"it has {member.size:,} bytes; at most {MOST_MANIFEST:,} are allowed")
        return Manifest.model_validate(plain_json(member.content(), MOST_MANIFEST))
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(str(part) for part in fault["loc"])
        raise ValueError(f"its {manifests.NAME} is wrong at {place!r}: {fault['msg']}") from None
    except ValueError as error:
        raise ValueError(f"its {manifests.NAME} cannot be read: {error}") from None


class _Reading:
    """Read the members of a bundle one after the other."""

    def __init__(self, members: Mapping[str, Member], manifest: Manifest) -> None:
        self.members, self.manifest = members, manifest
        self.problems: list[str] = []
        self.sums: dict[str, str] = {}
        self.sources: dict[str, str] = {}

    def submitted(self, digest: str, path: str) -> Submitted:
        """Return the submission.

        Args:
            digest: The sha256 sum of the bundle.
            path: Its path as the user wrote it.
        """
        self.problems += _missing(self.members, self.manifest)
        records = sorted(self._records(), key=lambda read: order(read.record))
        self._read_sources()
        held = tuple(read.record for read in records)
        self.problems += manifest_problems(held, self.manifest)
        self.problems += source_problems(held, self.manifest, self.sources)
        return Submitted(
            records=held,
            manifest=self.manifest,
            sources=self.sources,
            digest=digest,
            problems=tuple(shown(problem, None) for problem in dict.fromkeys(self.problems)),
            path=path,
            files=self.sums,
            formats={read.record.key: read.format for read in records},
        )

    def _content(self, name: str) -> bytes | None:
        """Return a copy of the content of a member; as :meth:`_buffer`."""
        content = self._buffer(name)
        return None if content is None else bytes(content)

    def _buffer(self, name: str) -> bytes | memoryview | None:
        """Return the content of a member; ``None`` if it is damaged or not what the manifest names, which is a
        problem."""
        most = next((each for form, each in MOST.items() if form.fullmatch(name)), 0)
        try:
            if self.members[name].size > most:
                raise ValueError(f"it has {self.members[name].size:,} bytes; at most {most:,} are allowed")
            content = self.members[name].buffer()
        except ValueError as error:
            self.problems.append(f"{name} is damaged: {error}")
            return None
        self.sums[name] = hashlib.sha256(content).hexdigest()
        written = self.manifest.files.get(name)
        if written is not None and written != self.sums[name]:
            self.problems.append(f"{name} is not the file that the manifest names: its sha256 sum differs")
            return None
        return content

    def _records(self) -> Iterator[ReadRecord]:
        used = set()
        for name in self.members:
            found = RECORD.fullmatch(name)
            if not found:
                continue
            place = f"traces/{found[1]}.npz"
            used.add(place)
            content = self._content(name)
            trace = self._buffer(place) if place in self.members else None
            if content is None or (trace is None and place in self.members):
                continue
            try:
                yield read_record(name, content, trace)
            except ValueError as error:
                self.problems.append(f"the record {name} cannot be used: {error}")
        for name in self.members:
            if TRACE.fullmatch(name) and name not in used:
                self.problems.append(f"the trace {name} belongs to no record of the bundle")

    def _read_sources(self) -> None:
        for name in self.members:
            found = SOURCE.fullmatch(name)
            if not found:
                continue
            content = self._content(name)
            if content is None:
                continue
            try:
                self.sources[found[1]] = content.decode("utf-8")
            except UnicodeDecodeError:
                self.problems.append(f"{name} is no text in UTF-8")


def _missing(members: Mapping[str, Member], manifest: Manifest) -> Iterator[str]:
    """Yield what only one of the bundle and its manifest has, and files that no bundle has."""
    for name in manifest.files:
        if name not in members:
            yield f"the manifest names {name}, and the bundle does not hold it"
    for name in members:
        if name == manifests.NAME:
            continue
        if name not in manifest.files:
            yield f"the bundle holds {name}, and the manifest does not name it"
        if not any(form.fullmatch(name) for form in (RECORD, TRACE, SOURCE)):
            yield f"the bundle holds {name}, which is no record, no trace and no program text"

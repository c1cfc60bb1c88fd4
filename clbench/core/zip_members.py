"""Read the members of a zip file that may be hostile: in memory, in a strict layout, and within limits."""

from __future__ import annotations

import re
import stat
import struct
import zlib
from dataclasses import dataclass

_END = struct.Struct("<4s4H2LH")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_STORED, _DEFLATED = 0, 8
_UTF8 = 0x800
_LATER = 0xFFFFFFFF
"""A size in the header of a member that NumPy writes into an extra field instead."""
LONGEST_NAME = 200
_DRIVE = re.compile(r"[A-Za-z]:")


@dataclass(frozen=True)
class ZipLimits:
    """Bound what a zip file may hold.

    Args:
        files: The most members.
        size: The most bytes of all members together, after decompression.
        ratio: The most bytes for each compressed byte, of every member and of all together; ``None`` for no bound.
        extra: The most bytes of an extra field in the header of a member. NumPy writes 20.
    """

    files: int
    size: int
    ratio: float | None = None
    extra: int = 0


@dataclass(frozen=True)
class Member:
    """Describe one member: its size and checksum as the directory of the zip file has them, and its compressed data."""

    name: str
    size: int
    crc: int
    deflated: bool
    data: memoryview

    def content(self) -> bytes:
        """Return the content of the member; as :meth:`buffer`."""
        return bytes(self.buffer())

    def buffer(self) -> bytes | memoryview:
        """Return the content of the member: a view of the zip file if it is stored there as it is, so that no memory is
        used; else decompressed. No more memory is used than its size in the directory says.

        Raises:
            ValueError: Its data differ from the directory.
        """
        content: bytes | memoryview = self.data
        if self.deflated:
            inflate = zlib.decompressobj(-zlib.MAX_WBITS)
            try:
                content = inflate.decompress(self.data, self.size + 1)
            except zlib.error:
                raise ValueError(f"the compressed data of {self.name!r} are damaged") from None
            if not inflate.eof or inflate.unused_data:
                raise ValueError(f"the compressed data of {self.name!r} are not as long as its header says")
        if len(content) != self.size or zlib.crc32(content) != self.crc:
            raise ValueError(f"the content of {self.name!r} does not belong to its header")
        return content


def zip_members(content: bytes | memoryview, limits: ZipLimits) -> dict[str, Member]:
    """Return the members of a zip file by name, in their order. Nothing is decompressed.

    Every byte of the file has to belong to a member or to the directory: there are no comments, no bytes before,
    between or after members, and no member shares bytes with another one.

    Args:
        content: The bytes of the file.
        limits: The limits; sizes are those of the directory, which :meth:`Member.content` enforces.

    Raises:
        ValueError: The file is no zip file, has another layout, or exceeds a limit; the message gives the reason.
    """
    count, directory = _directory(content, limits)
    found: dict[str, Member] = {}
    names: set[str] = set()
    view, place, at, total = memoryview(content), directory, 0, 0
    for _ in range(count):
        member, length, after = _member(view, place, at, limits)
        if member.name.casefold() in names:
            raise ValueError(f"it holds {member.name!r} twice")
        total += member.size
        if total > limits.size:
            raise ValueError(f"it holds more than {_megabytes(limits.size)} after decompression")
        names.add(member.name.casefold())
        found[member.name] = member
        place, at = place + length, after
    if at != directory or place != len(content) - _END.size:
        raise ValueError("it has bytes that belong to no file in it")
    return found


def _directory(content: bytes | memoryview, limits: ZipLimits) -> tuple[int, int]:
    """Return the number of members, and where the directory begins."""
    if len(content) < _END.size or content[-_END.size :][:4] != b"PK\x05\x06":
        raise ValueError("it is no zip file, or does not end as one does" if content else "it is empty")
    _, disk, first, here, count, size, start, comment = _END.unpack(content[-_END.size :])
    if count == 0xFFFF or start == _LATER:
        raise ValueError("it is a zip file of the 64-bit format, which is not needed here")
    if disk or first or here != count or comment or start + size + _END.size != len(content):
        raise ValueError("the directory of the zip file is damaged, or has bytes after it")
    if count > limits.files:
        raise ValueError(f"it holds {count:,} files; at most {limits.files:,} are allowed")
    if not count * _ENTRY.size <= size <= count * (_ENTRY.size + LONGEST_NAME):
        raise ValueError("the directory of the zip file is damaged, or has names of more than 200 bytes")
    return count, start


def _member(view: memoryview, place: int, at: int, limits: ZipLimits) -> tuple[Member, int, int]:
    """Return a member, the length of its entry in the directory, and where the next member begins.

    Args:
        view: The bytes of the file.
        place: Where its entry in the directory begins.
        at: Where its own header has to begin.
        limits: The limits.
    """
    if place + _ENTRY.size > len(view):
        raise ValueError("the directory of the zip file is cut off")
    entry = _ENTRY.unpack(view[place : place + _ENTRY.size])
    signature, _, _, flags, method, _, _, crc, packed, size, n_name, n_extra, n_comment, disk, _, kind, start = entry
    name = _name(bytes(view[place + _ENTRY.size : place + _ENTRY.size + n_name]), n_name)
    if signature != b"PK\x01\x02" or n_comment or n_extra or disk:
        raise ValueError(f"the entry of {name!r} in the directory of the zip file is damaged or has additions")
    if flags & 1:
        raise ValueError(f"{name!r} is encrypted")
    if flags & ~_UTF8 or method not in (_STORED, _DEFLATED):
        raise ValueError(f"{name!r} is compressed or marked in a way that is not known here")
    if stat.S_IFMT(kind >> 16) not in (0, stat.S_IFREG):
        raise ValueError(f"{name!r} is a link or another special file")
    if (size and not packed) or (method == _STORED and packed != size):
        raise ValueError(f"the sizes of {name!r} contradict each other")
    if limits.ratio is not None and size > limits.ratio * packed:
        raise ValueError(f"{name!r} is compressed more than {limits.ratio:g} times")
    begin = _begin(view, at, (flags, method, crc, packed, size), name, limits) if start == at else -1
    if begin < 0 or begin + packed > len(view):
        raise ValueError(f"{name!r} does not lie behind the file before it")
    member = Member(name, size, crc, method == _DEFLATED, view[begin : begin + packed])
    return member, _ENTRY.size + n_name, begin + packed


def _begin(view: memoryview, at: int, wanted: tuple[int, int, int, int, int], name: str, limits: ZipLimits) -> int:
    """Return where the data of a member begin, after its own header, which has to agree with the directory."""
    if at + _LOCAL.size > len(view):
        return -1
    signature, _, flags, method, _, _, crc, packed, size, n_name, n_extra = _LOCAL.unpack(view[at : at + _LOCAL.size])
    own = bytes(view[at + _LOCAL.size : at + _LOCAL.size + n_name])
    if n_extra and (packed, size) == (_LATER, _LATER):
        packed, size = wanted[3:]
    if signature != b"PK\x03\x04" or (flags, method, crc, packed, size) != wanted or own != name.encode():
        raise ValueError(f"the header of {name!r} contradicts the directory of the zip file")
    if n_extra > limits.extra:
        raise ValueError(f"the header of {name!r} has additions")
    return at + _LOCAL.size + int(n_name) + int(n_extra)


def _name(written: bytes, length: int) -> str:
    """Return the name of a member.

    Raises:
        ValueError: It leads out of a folder, or is no plain name.
    """
    try:
        name = written.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"the name {written!r} is no text") from None
    parts = name.split("/")
    if not name or len(written) != length or length > LONGEST_NAME:
        raise ValueError("a file in it has no name, or a name of more than 200 bytes")
    if not name.isprintable() or "\\" in name:
        raise ValueError(f"the name {name!r} has characters that no file in it may have")
    if name.startswith("/") or _DRIVE.match(name) or any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"the name {name!r} leads out of its folder, or names a folder")
    return name


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"

"""Zip files of strangers: every layout, name or size that no bundle has is a sentence, and no memory is spent on it."""

from __future__ import annotations

import io
import stat
import struct
import tracemalloc
import zipfile

import pytest

from clbench.core.zip_members import ZipLimits, zip_members

LIMITS = ZipLimits(files=10, size=1_000_000, ratio=100)


def packed(*members, method=zipfile.ZIP_DEFLATED, mode=stat.S_IFREG | 0o600):
    """A zip file of some (name, content) pairs."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members:
            info = zipfile.ZipInfo(name)
            info.compress_type, info.external_attr = method, mode << 16
            archive.writestr(info, content)
    return buffer.getvalue()


TWO = (("records/a.json", b'{"a": 1}' * 4), ("traces/a.npz", bytes(range(256))))
CONTENT = packed(*TWO)
DIRECTORY = CONTENT.index(b"PK\x01\x02")
END = len(CONTENT) - 22


def edited(at, new):
    return CONTENT[:at] + new + CONTENT[at + len(new) :]


def read(content, limits=LIMITS):
    return {name: member.content() for name, member in zip_members(content, limits).items()}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_come_back_as_the_standard_library_reads_them(method):
    content = packed(*TWO, ("empty", b""), method=method)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert read(content) == {name: archive.read(name) for name in archive.namelist()} == {**dict(TWO), "empty": b""}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../../etc/passwd", "leads out of its folder"),
        ("records/../a", "leads out of its folder"),
        ("/etc/passwd", "leads out of its folder"),
        ("C:/windows", "leads out of its folder"),
        ("records//a", "leads out of its folder"),
        ("records/", "names a folder"),
        ("records\\a", "characters that no file in it may have"),
        ("a\x1b[2J", "characters that no file in it may have"),
        ("a\u202eb", "characters that no file in it may have"),
        ("n" * 201, "more than 200 bytes"),
    ],
)
def test_a_name_that_is_no_plain_path_is_refused(name, reason):
    with pytest.raises(ValueError, match=reason):
        zip_members(packed((name, b"text")), LIMITS)


def test_a_name_with_nul_or_no_text_is_refused():
    for byte, reason in ((b"\0", "characters"), (b"\xff", "is no text")):
        content = packed(("aXb", b"text")).replace(b"aXb", b"a" + byte + b"b")
        with pytest.raises(ValueError, match=reason):
            zip_members(content, LIMITS)


def test_links_devices_and_folders_are_refused():
    for mode in (stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFDIR):
        with pytest.raises(ValueError, match="link or another special file"):
            zip_members(packed(("a", b"/etc/passwd"), mode=mode | 0o777), LIMITS)


def test_doubled_names_are_refused_also_where_only_the_case_differs():
    with pytest.warns(UserWarning, match="Duplicate"):
        same = packed(("a", b"1"), ("a", b"2"))
    for content in (same, packed(("a", b"1"), ("A", b"2"))):
        with pytest.raises(ValueError, match="twice"):
            zip_members(content, LIMITS)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"PK\x03\x04 is a beginning and no end", "no zip file"),
        (CONTENT[:-1], "no zip file"),
        (CONTENT + b"\0", "no zip file"),
        (CONTENT + CONTENT[-22:], "bytes after it"),
        (b"#!/bin/sh\n" + CONTENT, "bytes after it"),
        (edited(END + 20, b"\x05\0"), "bytes after it"),
        (edited(END + 10, struct.pack("<H", 0xFFFF)), "64-bit"),
        (edited(END + 16, b"\xff" * 4), "64-bit"),
        (edited(END + 8, struct.pack("<2H", 3, 3)), "cut off|damaged|additions"),
        (edited(END + 8, struct.pack("<2H", 1, 1)), "damaged|belong to no file"),
        (edited(DIRECTORY + 8, b"\x01"), "encrypted"),
        (edited(DIRECTORY + 8, b"\x08"), "not known here"),
        (edited(DIRECTORY + 10, b"\x0c"), "not known here"),
        (edited(DIRECTORY + 24, struct.pack("<L", 31)), "contradicts the directory"),
        (edited(DIRECTORY + 20, struct.pack("<L", 5)), "contradicts the directory"),
        (edited(DIRECTORY + 42, struct.pack("<L", 1)), "does not lie behind"),
        (edited(22, struct.pack("<L", 31)), "contradicts the directory"),
        (edited(30, b"R"), "contradicts the directory"),
        (edited(14, b"\0\0\0\0"), "contradicts the directory"),
    ],
)
def test_a_layout_that_no_writer_of_bundles_makes_is_refused(content, reason):
    with pytest.raises(ValueError, match=reason):
        read(content)


def test_members_that_share_their_data_are_refused():
    content = bytearray(packed(("a", b"0" * 50), ("b", b"1" * 50), method=zipfile.ZIP_STORED))
    second = content.index(b"PK\x01\x02", content.index(b"PK\x01\x02") + 4)
    content[second + 42 : second + 46] = bytes(4)  # where the first one lies
    with pytest.raises(ValueError, match="does not lie behind the file before it"):
        zip_members(bytes(content), LIMITS)


def test_sizes_in_headers_are_enforced_while_reading():
    """Both headers of a member are edited alike, so that they agree with each other and lie about the data."""
    for size in (31, 33):
        told = struct.pack("<L", size)
        lying = edited(22, told)
        lying = lying[: DIRECTORY + 24] + told + lying[DIRECTORY + 28 :]
        with pytest.raises(ValueError, match=r"not as long|does not belong"):
            read(lying)
    wrong = edited(14, b"\1\2\3\4")
    with pytest.raises(ValueError, match="does not belong to its header"):
        read(wrong[: DIRECTORY + 16] + b"\1\2\3\4" + wrong[DIRECTORY + 20 :])


def test_numbers_of_files_sizes_and_ratios_have_limits():
    with pytest.raises(ValueError, match="holds 11 files; at most 10"):
        zip_members(packed(*((f"{i}", b"") for i in range(11))), LIMITS)
    with pytest.raises(ValueError, match=r"more than 1 MB"):
        zip_members(packed(("a", b"a" * 600_000), ("b", b"b" * 600_000), method=zipfile.ZIP_STORED), LIMITS)
    with pytest.raises(ValueError, match="compressed more than 100 times"):
        zip_members(packed(("a", bytes(500_000))), LIMITS)


def test_a_bomb_whose_header_says_little_costs_no_more_memory_than_the_header_says():
    bomb = packed(("a", bytes(50_000_000)))
    at, directory = bomb.index(b"a") - 8, bomb.index(b"PK\x01\x02") + 24
    little = struct.pack("<L", 1000)
    lying = bomb[:at] + little + bomb[at + 4 : directory] + little + bomb[directory + 4 :]
    tracemalloc.start()
    with pytest.raises(ValueError, match="not as long as its header says"):
        read(lying)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000

import hashlib
import re
from pathlib import Path

import clbench
from clbench.site.vendored_libraries import LIBRARIES, library_files, read

ROOM = Path(clbench.__file__).parent / "site" / "vendored"


def test_every_file_of_a_library_has_its_published_checksum():
    for library in LIBRARIES:
        for name, checksum in library.files.items():
            assert hashlib.sha256(read(library.folder, name)).hexdigest() == checksum, f"{library.folder}/{name}"


def test_the_folder_holds_the_files_of_the_table_and_no_others():
    there = {path.relative_to(ROOM).as_posix() for path in ROOM.rglob("*") if path.is_file()}
    assert there == {f"{library.folder}/{name}" for library in LIBRARIES for name in library.files}
    assert {path for path, _ in library_files()} == {f"lib/{name}" for name in there}


def test_the_scripts_state_the_version_and_the_texts_the_licence_of_the_table():
    for library in LIBRARIES:
        script = next(name for name in library.files if name.endswith(".js"))
        assert re.search(rf"(?<![\d.]){re.escape(library.version)}(?![\d.])", read(library.folder, script).decode())
        assert library.licence == "MIT"
        assert b"Permission is hereby granted, free of charge" in read(library.folder, "LICENSE.txt")

import pytest

from clbench import Refused
from clbench.site.site_folder import MARKER, write_files

FILES = [("index.html", b"one"), ("rows/a/b.html", b"two")]


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_files_are_written_into_a_new_folder_and_counted(tmp_path):
    assert write_files(tmp_path / "deep" / "site", FILES) == (2, 6)
    assert content(tmp_path / "deep" / "site") == {**dict(FILES), MARKER: b""}


def test_an_empty_folder_is_used(tmp_path):
    (tmp_path / "site").mkdir()
    write_files(tmp_path / "site", FILES)
    assert (tmp_path / "site" / "index.html").read_bytes() == b"one"


def test_an_earlier_site_is_replaced_whole(tmp_path):
    write_files(tmp_path / "site", [*FILES, ("old.html", b"old")])
    write_files(tmp_path / "site", [("index.html", b"new")])
    assert content(tmp_path / "site") == {"index.html": b"new", MARKER: b""}
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_a_folder_with_other_files_is_refused_and_left_as_it_is(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(Refused, match="is not empty and holds no earlier site"):
        write_files(tmp_path, FILES)
    assert content(tmp_path) == {"thesis.tex": b"mine"}


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "site").write_text("mine")
    with pytest.raises(Refused, match="is no folder"):
        write_files(tmp_path / "site", FILES)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_the_earlier_site_stays_whole_if_the_new_one_is_interrupted(tmp_path, error):
    write_files(tmp_path / "site", FILES)

    def interrupted():
        yield "index.html", b"half"
        raise error

    with pytest.raises(KeyboardInterrupt if error is KeyboardInterrupt else Refused):
        write_files(tmp_path / "site", interrupted())
    assert content(tmp_path / "site") == {**dict(FILES), MARKER: b""}
    assert [path.name for path in tmp_path.iterdir()] == ["site"]

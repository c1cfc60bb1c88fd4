"""Benchmark files of the package, current and earlier."""

import pytest

from clbench import shipped
from clbench.parameters import Refused
from clbench.plan import plan


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "earlier").mkdir()
    (tmp_path / "a.yaml").write_text("# a: comment\nname: a\nversion: 3  # third\n")
    (tmp_path / "b.yaml").write_text("name: b\n")
    (tmp_path / "earlier" / "a@1.yaml").write_text("name: a\nversion: 1\n")
    monkeypatch.setattr(shipped, "_folder", lambda: tmp_path)
    return tmp_path


def test_a_name_is_the_current_file_and_a_version_the_file_of_that_version(folder):
    assert shipped.find("a") == shipped.find("a@3") == folder / "a.yaml"
    assert shipped.find("a@1") == folder / "earlier" / "a@1.yaml"
    assert shipped.find("b@1") == folder / "b.yaml"
    assert shipped.official("a", 2) is None


def test_a_version_that_does_not_exist_is_refused(folder):
    with pytest.raises(Refused, match=r"no benchmark 'a@2'.*a@1"):
        shipped.find("a@2")


def test_every_earlier_file_holds_the_name_and_version_of_its_own_name():
    for named, path in shipped.earlier().items():
        benchmark = plan(path).benchmark
        assert named == f"{benchmark.name}@{benchmark.version}"
        assert benchmark.version < plan(benchmark.name).benchmark.version

"""Benchmark files of the package, current and earlier."""

import pytest

from clbench.benchmark import shipped_files
from clbench.core.errors import Refused
from clbench.running.plan import plan


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "earlier").mkdir()
    (tmp_path / "a.yaml").write_text("# a: comment\nname: a\nversion: 3  # third\n")
    (tmp_path / "b.yaml").write_text("name: b\n")
    (tmp_path / "earlier" / "a@1.yaml").write_text("name: a\nversion: 1\n")
    monkeypatch.setattr(shipped_files, "_folder", lambda: tmp_path)
    return tmp_path


def test_a_name_is_the_current_file_and_a_version_the_file_of_that_version(folder):
    assert shipped_files.find("a") == shipped_files.find("a@3") == folder / "a.yaml"
    assert shipped_files.find("a@1") == folder / "earlier" / "a@1.yaml"
    assert shipped_files.find("b@1") == folder / "b.yaml"
    assert shipped_files.official("a", 2) is None


def test_a_version_that_does_not_exist_is_refused(folder):
    with pytest.raises(Refused, match=r"no benchmark 'a@2'.*a@[13]"):
        shipped_files.find("a@2")


def test_every_earlier_file_holds_the_name_and_version_of_its_own_name():
    for named, path in shipped_files.earlier().items():
        benchmark = plan(path).benchmark
        assert named == f"{benchmark.name}@{benchmark.version}"
        assert benchmark.version < plan(benchmark.name).benchmark.version


@pytest.mark.parametrize(("setting", "strength"), [("class", 1e9), ("task", 1e5), ("domain", 1e10)])
def test_the_strength_of_ewc_on_split_mnist_is_the_published_one_of_its_setting(setting, strength):
    cells = plan("split-mnist", strategies=["ewc"], seeds=1, overrides=[f"stream.setting={setting}"]).cells
    assert cells[0].config["strategy"][0]["parameters"]["strength"] == strength
    assert cells[0].config["strategy"][0]["parameters"]["rows"] == 2000


def test_a_default_for_other_settings_only_leaves_the_parameter_without_one():
    benchmark = {
        "name": "mine",
        "stream": {"scenario": "split", "dataset": "digits", "setting": "domain"},
        "model": {"name": "mlp"},
        "defaults": {"ewc": {"strength": {"class": 1, "task": 2}}},
        "strategies": ["ewc"],
    }
    with pytest.raises(Refused, match="'ewc' needs a value for 'strength'"):
        plan(benchmark)
    assert plan({**benchmark, "stream": {**benchmark["stream"], "setting": "task"}}).cells[0].config["strategy"] == [
        {
            "name": "ewc",
            "parameters": {"strength": 2.0, "mode": "separate", "gamma": 1.0, "fisher": "exact", "rows": None},
        }
    ]


def test_a_default_for_a_setting_that_does_not_exist_is_refused():
    benchmark = {
        "name": "mine",
        "stream": {"scenario": "split", "dataset": "digits", "setting": "class"},
        "model": {"name": "mlp"},
        "defaults": {"ewc": {"strength": {"clas": 1}}},
        "strategies": ["ewc"],
    }
    with pytest.raises(Refused, match="strength"):
        plan(benchmark)


@pytest.mark.usefixtures("miniatures")
def test_where_er_ace_is_on_a_board_so_is_replay_at_its_loss():
    boards = {name: plan(path) for name, path in shipped_files.shipped().items()}
    with_ace = {
        name: {cell.label for cell in made.cells}
        for name, made in boards.items()
        if any(cell.label == "er_ace" for cell in made.cells)
    }
    assert len(with_ace) > 5
    assert [name for name, labels in with_ace.items() if "er(loss=sum, start=any)" not in labels] == []


def test_the_current_version_is_suggested_where_the_version_is_wrong(folder):
    with pytest.raises(Refused, match=r"no benchmark 'b@7'.*'b@1'"):
        shipped_files.find("b@7")

"""Benchmarks of other packages: found by name, run and listed with their origin; a clash of names is refused."""

import json
import sys

import pytest
from command_line import call

from clbench.benchmark import packaged_files, shipped_files
from clbench.core.errors import Refused
from clbench.running.plan import plan

FILE = """# Two classes after another, for a test.
name: {name}
version: {version}
stream: {{scenario: split, dataset: {{name: digits, train_rows: 100}}, experiences: 5}}
model: {{name: mlp, hidden: [8]}}
evaluation: {{schedule: ends}}
strategies: [naive]
seeds: 1
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a package as pip would leave it, with benchmark files in a folder of their own."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.chdir(tmp_path)
    modules = set(sys.modules)
    packaged_files.packaged.cache_clear()

    def install(package, files, *, init="", module="suite"):
        info, folder = site / f"{package}-1.2.dist-info", site / package
        info.mkdir()
        (folder / module).mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[clbench.benchmarks]\nall = {package}.suite\n")
        (folder / "__init__.py").write_text(init)
        for name, text in files.items():
            (folder / module / f"{name}.yaml").write_text(text)
        packaged_files.packaged.cache_clear()

    yield install
    packaged_files.packaged.cache_clear()
    for name in set(sys.modules) - modules:
        if str(site) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_a_benchmark_of_a_package_is_listed_with_its_origin_shown_and_run_by_name(install, tmp_path):
    install("bench_pack", {"mini": FILE.format(name="mini", version=3)})
    listed = call("list", "benchmarks").out
    assert "Two classes after another, for a test.  [bench_pack 1.2]" in listed
    assert "benchmark mini, version 3" in call("show", "mini").out
    assert plan("mini").cells == plan("mini@3").cells == plan(tmp_path / "site/bench_pack/suite/mini.yaml").cells
    assert call("run", "mini", "--out", "out", "--in-process").code == 0
    [board] = json.loads(call("board", "out", "--format", "json").out)["tables"]
    assert board["benchmark"] == "mini@3"
    assert "benchmark mini, from bench_pack 1.2" in call("doctor").out


def test_a_run_with_other_settings_is_told_apart_from_the_packages_benchmark(install):
    from clbench.comparison.comparable import deviations

    install("bench_pack", {"other": FILE.format(name="other", version=1)})
    [cell] = plan("other", overrides=["training.lr=0.5"]).cells
    assert deviations(cell.config, cell.label) == ["training.lr=0.5"]


def test_two_benchmarks_of_one_name_are_listed_and_refused_as_two_strategies_are(install):
    text = FILE.format(name="split-digits", version=7)
    install("one_pack", {"twice": FILE.format(name="twice", version=1), "split-digits": text})
    install("two_pack", {"twice": FILE.format(name="twice", version=1)})
    for name, first, second in (
        ("twice", "one_pack 1.2", "two_pack 1.2"),
        ("split-digits", "clbench", "one_pack 1.2"),
    ):
        sentence = f"two benchmarks are called '{name}': one from {first}, one from {second}; give the path"
        with pytest.raises(Refused, match=sentence):
            shipped_files.find(name)
        assert sentence in " ".join(call("list", "benchmarks").out.split())
        answer = call("run", name)
        assert (answer.code, sentence in answer.err) == (2, True)
    assert shipped_files.find("split-mnist").name == "split-mnist.yaml"  # others work on


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        (
            {"module": "elsewhere"},
            r"the benchmarks 'all' of bench_pack 1.2 in bench_pack.suite cannot be found \(it is",
        ),
        ({"init": "import nowhere_at_all"}, r"cannot be found \(ModuleNotFoundError: No module named 'nowhere_at_all'"),
    ],
)
def test_a_package_whose_folder_cannot_be_found_harms_nobody_else(install, how, sentence):
    install("bench_pack", {"mini": FILE.format(name="mini", version=1)}, **how)
    with pytest.raises(Refused, match=sentence):
        shipped_files.find("all")
    assert shipped_files.find("split-digits").name == "split-digits.yaml"
    assert call("list", "benchmarks").code == 0
    assert "cannot be found" in call("doctor").out


def test_a_file_whose_benchmark_has_another_name_is_refused(install):
    install("bench_pack", {"mini": FILE.format(name="maxi", version=1)})
    with pytest.raises(Refused, match=r"the file mini.yaml of bench_pack 1.2 calls its benchmark 'maxi'; both names"):
        shipped_files.find("mini")

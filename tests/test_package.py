"""What an installed clbench consists of, and what its citation says."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from ruamel.yaml import YAML

import clbench

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with what the wheel holds, as an installer would lay it out."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    (wheel,) = folder.glob("*.whl")
    assert wheel.name == f"clbench-{PROJECT['version']}-py3-none-any.whl"
    site = folder / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


def files(folder, *patterns):
    return {path.relative_to(folder).as_posix() for pattern in patterns for path in folder.rglob(pattern)}


def test_the_wheel_holds_every_module_the_mark_of_a_typed_package_and_all_templates(installed):
    kinds = ("*.py", "py.typed", "*.in", "*.html", "*.css", "*.js")
    assert files(installed / "clbench", *kinds) == files(ROOT / "clbench", *kinds) >= {"py.typed", "core/errors.py"}


def test_the_wheel_holds_every_benchmark_file_and_nothing_else_beside_the_package(installed):
    assert files(installed / "clbench/benchmark/shipped", "*") - {"earlier"} == files(ROOT / "benchmarks", "*.yaml")
    assert {path.name for path in installed.iterdir()} == {"clbench", f"clbench-{PROJECT['version']}.dist-info"}


def test_an_installed_package_finds_its_own_benchmark_files_in_any_folder(installed, tmp_path):
    code = (
        "from clbench.benchmark.shipped_files import earlier, find, shipped\n"
        "print(find('split-digits'), find('split-digits@1'), len(shipped()), len(earlier()), sep='\\n')"
    )
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    folder = installed / "clbench/benchmark/shipped"
    counts = [len(list((ROOT / "benchmarks").glob("*.yaml"))), len(list((ROOT / "benchmarks/earlier").glob("*.yaml")))]
    assert done.stdout.splitlines() == [
        str(folder / "split-digits.yaml"),
        str(folder / "earlier/split-digits@1.yaml"),
        *map(str, counts),
    ]


def test_the_citation_agrees_with_the_package_and_has_what_its_format_requires():
    citation = YAML(typ="safe").load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(citation)  # those that the format requires
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == PROJECT["version"] == clbench.__version__
    assert citation["license"] == PROJECT["license"] == "Apache-2.0"
    assert citation["authors"] == [{"name": "The clbench authors"}]
    assert citation["type"] == "software"


def test_the_bibtex_entry_of_the_readme_says_what_the_citation_says():
    citation = YAML(typ="safe").load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    entry = re.search(r"```bibtex\n@software\{clbench,\n(.*?)\}\n```", (ROOT / "README.md").read_text(), re.DOTALL)
    fields = dict(re.findall(r"^\s*(\w+)\s*= \{(.*)\},?$", entry[1], re.MULTILINE))
    assert fields == {
        "author": f"{{{citation['authors'][0]['name']}}}",  # braces: one name, not first and last
        "title": citation["title"],
        "version": citation["version"],
        "license": citation["license"],
    }


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize("target", ["setup", "bench"])
def test_make_says_at_its_end_how_to_call_what_it_installed_as_the_readme_does(target):
    alone = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")}
    lines = subprocess.run(  # also if `make test` runs this test
        ["make", "-n", target], cwd=ROOT, env=alone, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert "Call .venv/bin/clbench, or run '. .venv/bin/activate' and then clbench." in lines[-1]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert ". .venv/bin/activate" in readme
    assert ".venv/bin/clbench" in readme

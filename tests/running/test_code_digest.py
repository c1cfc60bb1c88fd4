"""A record knows the code that made it: what can change a trace counts, by its tokens, and nothing else does."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from synthetic import dipping, record

import clbench
from clbench.running import code_digest
from clbench.running.code_digest import PackageCode, code_of, code_state

ROOT = Path(clbench.__file__).parent
NAMES = ("er", "er_ace", "ewc", "naive", "derpp", "sklearn:GaussianNB", "mine.py:Mine")


@pytest.fixture
def package(tmp_path):
    """A copy of the package's files, which a test may edit."""
    return shutil.copytree(ROOT, tmp_path / "clbench", ignore=shutil.ignore_patterns("__pycache__", "*.yaml"))


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """A file with the digests of files that no test has edited."""
    file = tmp_path_factory.mktemp("digests") / "known.json"
    digests(ROOT, file)
    return file


def digests(root, known):
    made = PackageCode(root, known)
    return {name: dict(made.of([name])) for name in NAMES}


def edited(package, known, path, old, new):
    """The names whose engine and whose strategy have changed after an edit of the copied package."""
    before, file = digests(package, known), package / path
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    after = digests(package, known)
    return tuple({name for name in NAMES if before[name][part] != after[name][part]} for part in ("engine", "strategy"))


def test_a_comment_and_a_docstring_change_nothing(package, known):
    for path in ("strategies/replay.py", "training/loop.py"):
        assert edited(package, known, path, '"""', '"""Another text. ') == (set(), set())
        assert edited(package, known, path, "from __future__", "# a remark\n\n\nfrom __future__") == (set(), set())


def test_a_constant_of_a_part_changes_its_users_and_those_of_parts_that_import_it(package, known):
    assert edited(package, known, "strategies/replay.py", "from __future__ import annotations", "X = 1") == (
        set(),
        {"er", "er_ace", "mine.py:Mine"},
    )


def test_a_constant_of_the_loop_changes_all_strategies(package, known):
    assert edited(package, known, "training/loop.py", "from __future__ import annotations", "X = 1") == (
        set(NAMES),
        set(),
    )


@pytest.mark.parametrize("path", ["core/new_arithmetic.py", "scenarios/new.py", "models/sub/new.py"])
def test_a_new_module_of_a_room_of_the_engine_counts(package, known, path):
    before = digests(package, known)["er"]
    (package / path).parent.mkdir(exist_ok=True)
    (package / path).write_text("X = 1\n")
    assert digests(package, known)["er"]["engine"] != before["engine"]


@pytest.mark.parametrize(
    "path",
    ["cli/app.py", "metrics/anytime.py", "leaderboard/board.py", "plots/__init__.py", "core/store.py",
     "core/identity/checksum.py", "running/matrix.py", "strategies/__init__.py", "testing/contract.py"],
)  # fmt: skip
def test_code_that_reads_traces_or_decides_when_cells_run_does_not_count(package, known, path):
    assert edited(package, known, path, "from __future__ import annotations", "X = 1") == (set(), set())


def test_an_adapter_counts_for_the_strategies_that_it_finds(package, known):
    assert edited(package, known, "adapters/online_learner.py", "from __future__ import annotations", "X = 1") == (
        set(),
        {"sklearn:GaussianNB"},
    )


def test_digests_of_earlier_processes_change_nothing_whatever_their_file_holds(tmp_path, known):
    fresh = digests(ROOT, None)
    assert digests(ROOT, known) == fresh
    for content in (b"[1]", b"\xff"):
        damaged = tmp_path / "known.json"
        damaged.write_bytes(content)
        assert digests(ROOT, damaged) == fresh


def test_every_module_that_is_named_exists():
    named = {"core": code_digest.NOT_OF_CORE, "strategies": code_digest.OF_STRATEGIES,
             "adapters": code_digest.OF_ADAPTERS, "running": code_digest.OF_RUNNING}  # fmt: skip
    for room, names in named.items():
        for name in names:
            assert (ROOT / room / f"{name}.py").is_file() or (ROOT / room / name).is_dir(), name
    assert all((ROOT / room / "__init__.py").is_file() for room in code_digest.WHOLE)


def test_the_page_on_the_design_lists_the_same_modules():
    page = (ROOT.parent / "docs" / "design.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\| engine \| (.*?) \|", page, re.MULTILINE)
    assert tuple(re.findall(r"`(\w+)`", lines[0])) == code_digest.WHOLE
    named = {line.split(":")[0].strip("` "): tuple(line.split(": ")[1].split(", ")) for line in lines if ": " in line}
    assert named == {
        "strategies": code_digest.OF_STRATEGIES,
        "adapters": code_digest.OF_ADAPTERS,
        "running": code_digest.OF_RUNNING,
    }


def test_a_worker_and_its_parent_agree_without_torch(tmp_path):
    cell = {"strategy": [{"name": name} for name in ("er", "refresh")]}
    code = (
        f"import sys; from clbench.running.code_digest import code_of; print(code_of({cell!r}), 'torch' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert told == f"{code_of(cell)} False"


def test_a_run_holds_the_digests_of_its_code_in_its_record_and_they_are_not_in_its_key(tmp_path):
    [made] = clbench.run("split-digits", strategies="naive", seeds=1, overrides={"training.epochs": 1}, out=tmp_path)
    assert made.code == code_of(made.cell)
    assert set(made.code) == {"engine", "strategy"}
    [path] = (tmp_path / "records").glob("*.json")
    content = json.loads(path.read_text())
    assert content["code"] == made.code
    assert "code" not in content["cell"]


def test_a_record_of_other_code_has_changed_and_an_older_one_is_of_unknown_code():
    cell = record("er", 0, dipping(0)).cell
    now = code_of(cell)
    script = {**cell, "strategy": [{"name": "script:Naive", "parameters": {}}]}
    given = [(cell, now), (cell, {**now, "engine": "0" * 16}), (cell, {**now, "strategy": "0" * 16}), (cell, {})]
    assert [code_state(*each) for each in [*given, (script, {})]] == [
        "current", "changed", "changed", "unknown", "current",
    ]  # fmt: skip

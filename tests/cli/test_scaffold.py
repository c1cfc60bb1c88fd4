"""``clbench new strategy``: what it writes works as it is, and the page that tells of it runs as written."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from command_line import call

from clbench.cli import scaffold
from clbench.core.errors import Refused
from clbench.strategies.plugin_file import plugin
from clbench.strategies.strategy import Strategy
from clbench.testing import PROPERTIES, check_strategy

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "add-a-strategy.md"


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_it_writes_a_package_of_four_files_whose_part_keeps_the_contract():
    done = call("new", "strategy", "pull_back")
    folder = Path("clbench-pull-back")
    files = {"README.md", "clbench_pull_back.py", "pyproject.toml", "test_clbench_pull_back.py"}
    assert done.code == 0
    assert {path.name for path in folder.iterdir()} == files
    assert "pip install -e clbench-pull-back" in done.out
    part = f"{folder}/clbench_pull_back.py:PullBack"
    for prop in ("identity", "resumable", "future"):
        assert prop in PROPERTIES
        check_strategy(f"er + {part}(strength=0.5)", prop)
    assert not any("$" in (folder / name).read_text(encoding="utf-8") for name in files)


def test_the_part_that_is_written_pulls_the_weights_towards_their_start():
    from support import ready

    scaffold.strategy("pull_back", Path("mine"))
    run = ready("mine/clbench_pull_back.py:PullBack(strength=0.5)")
    start = run.learner.w.detach().clone()
    (part,) = run.chain.parts
    part.gradient(run.learner, None)  # remembers the start, where the pull is 0
    run.learner.w.data.add_(2.0)
    run.learner.g.fill_(1.0)
    part.gradient(run.learner, None)
    expected = 1.0 + 0.5 * (run.learner.w.detach() - start)
    assert run.learner.g.allclose(expected)
    assert run.learner.g.mean().item() == pytest.approx(2.0)  # 1 + 0.5 * 2


def test_the_python_on_the_page_is_what_is_written():
    (path,) = (p for p in scaffold.strategy("pull_back") if p.name == "clbench_pull_back.py")
    code = [line.split("  #")[0] for line in blocks("python")[0].splitlines() if '"""' not in line and line.strip()]
    written = [line.split("  #")[0] for line in path.read_text(encoding="utf-8").splitlines()]
    assert [line for line in code if line not in written] == []
    assert blocks("toml")[0].strip() in Path("clbench-pull-back/pyproject.toml").read_text(encoding="utf-8")


def test_the_recipe_on_the_page_joins_replay_and_the_part_that_is_written(monkeypatch):
    scaffold.strategy("pull_back")
    monkeypatch.syspath_prepend("clbench-pull-back")
    Path("recipes.py").write_text(
        next(text for text in blocks("python") if "clbench_pull_back" in text), encoding="utf-8"
    )
    (name,) = plugin("recipes.py").values()
    made = Strategy.parse(f"{name}(strength=0.5, rows=3)").parts()
    assert [type(part).__name__ for part in made] == ["Replay", "PullBack"]
    assert made[1].strength == 0.5
    with pytest.raises(Refused, match="needs a value for 'strength'"):
        Strategy.parse(name)
    sys.modules.pop("clbench_pull_back")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("er", "a strategy called 'er' exists already (from clbench)"),
        ("3d", "'3d' cannot be the name of a strategy"),
        ("MyMethod", "use lower-case letters"),
        ("my-method", "'my-method' cannot be the name of a strategy"),
        ("lambda", "no keyword of Python"),
    ],
)
def test_a_name_that_cannot_be_used_is_refused_with_a_sentence(name, sentence):
    answer = call("new", "strategy", name)
    assert answer.code == 2
    assert sentence in answer.err
    assert not list(Path().iterdir())


def test_nothing_is_overwritten(tmp_path):
    Path("there").mkdir()
    assert len(scaffold.strategy("mine", Path("there"))) == 4  # an empty folder may be used
    Path("there/README.md").write_text("mine", encoding="utf-8")
    with pytest.raises(Refused, match="nothing in it is overwritten"):
        scaffold.strategy("mine", Path("there"))
    assert Path("there/README.md").read_text(encoding="utf-8") == "mine"
    Path("file").write_text("", encoding="utf-8")
    with pytest.raises(Refused, match="nothing in it is overwritten"):
        scaffold.strategy("mine", Path("file"))


def environment(folder):
    """A fresh virtual environment that sees this one's packages, with the commands that the page uses."""
    venv.create(folder, with_pip=False)
    site = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    others = [path for path in sys.path if path.endswith("site-packages")]
    lines = [f"import site; site.addsitedir({path!r})" for path in others]
    (site / "others.pth").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for command in ("pip", "pytest", "clbench"):
        script = folder / "bin" / command
        script.write_text(f'#!/bin/sh\nexec {folder}/bin/python -m {command} "$@"\n', encoding="utf-8")
        script.chmod(0o755)
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PYTHON", "PIP_"))}
    return {
        **plain,
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "VIRTUAL_ENV": str(folder),
        "PIP_NO_INDEX": "1",
        "PIP_NO_DEPS": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip reads this as: no isolation
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "COLUMNS": "160",
    }


def test_the_page_runs_as_written_in_a_fresh_environment_outside_the_repository(tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    script = "set -e\n" + "\n".join(blocks("sh"))
    done = subprocess.run(
        ["sh", "-c", script],
        cwd=work,
        env=environment(tmp_path / "fresh"),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "strategy pull_back, from clbench-pull-back 0.1.0" in done.stdout
    assert done.stdout.count("The contract is kept.") == 1
    assert re.search(rf"{len(PROPERTIES)} passed", done.stdout)
    board = (work / "results" / "mine" / "leaderboard.csv").read_text(encoding="utf-8")
    assert [name for name in ("naive", "pull_back", "er + pull_back") if name not in board] == []
    assert "strategy pull_back, from idea.py" in done.stdout  # uninstalled by then


def test_a_wheel_of_what_is_written_is_built_without_network_and_its_strategy_is_listed(tmp_path):
    scaffold.strategy("pull_back")
    fresh = environment(tmp_path / "fresh")

    def do(*command):
        done = subprocess.run(command, cwd=tmp_path, env=fresh, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    do("pip", "wheel", "--quiet", "--no-build-isolation", "--no-deps", "--wheel-dir", "dist", "./clbench-pull-back")
    (wheel,) = Path("dist").iterdir()
    assert wheel.name == "clbench_pull_back-0.1.0-py3-none-any.whl"
    do("pip", "install", "--quiet", "--no-deps", str(wheel))
    shutil.rmtree("clbench-pull-back")  # what is listed comes from the wheel alone
    assert "[clbench-pull-back 0.1.0]" in do("clbench", "list", "strategies")
    code = "import clbench_pull_back; from clbench.strategies import STRATEGIES; print(STRATEGIES.get('pull_back'))"
    assert do("python", "-c", code).strip() == "<class 'clbench_pull_back.PullBack'>"

"""The page on many runs: its scripts are scripts, and its commands are commands that the program accepts."""

from __future__ import annotations

import re
import shlex
import subprocess

import pytest
import typer
from ruamel.yaml import YAML
from worked_pages import ROOT, blocks

from clbench.cli.app import app

PAGE = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
SCRIPTS = blocks("docs/scale.md", "sh")
PODS = [YAML(typ="safe").load(text) for text in blocks("docs/scale.md", "yaml")]


def accepted(words: list[str]) -> str:
    """Return the command that the program's parser finds in words; it refuses unknown options and missing values."""
    root = typer.main.get_command(app)
    command = root.commands[words[0]]
    command.make_context(words[0], words[1:], parent=root.make_context("clbench", list(words)))
    return words[0]


def command_lines(script: str) -> list[str]:
    """Return the lines of a script that call clbench, without comments and with a number for each variable."""
    joined = re.sub(r"\\\n\s*", " ", script)
    found = [
        line.partition(" #")[0] for line in joined.splitlines() if re.match(r"\s*(\w+=\S+ )*(exec )?clbench ", line)
    ]
    return [re.sub(r"\$\(\(.*?\)\)|\$\{?\w+\}?", "1", line).rstrip(" &") for line in found]


LINES = [line for script in SCRIPTS for line in command_lines(script)]


@pytest.mark.parametrize("script", SCRIPTS, ids=range(len(SCRIPTS)))
def test_every_script_of_the_page_is_one_that_bash_reads(script: str) -> None:
    done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("line", LINES)
def test_every_command_of_the_page_is_one_that_the_program_accepts(line: str) -> None:
    words = shlex.split(line)
    assert accepted(words[words.index("clbench") + 1 :])


def test_commands_in_the_text_of_the_page_exist() -> None:
    named = set(re.findall(r"`clbench (\w+)", PAGE))
    assert named <= set(typer.main.get_command(app).commands)
    assert {"run", "board", "status", "diff", "merge"} <= named


def test_options_of_run_in_the_text_of_the_page_exist() -> None:
    run = typer.main.get_command(app).commands["run"]
    known = {option for parameter in run.params for option in (*parameter.opts, *parameter.secondary_opts)}
    named = {each for text in re.findall(r"`(--[^`]*)`", PAGE) for each in re.findall(r"--[a-z][a-z-]+", text)}
    assert named - known - OF_OTHERS == set()


OF_OTHERS = {"--snapshots", "--json", "--signal", "--cpus-per-task", "--gres", "--array", "--requeue"}
"""Options of other commands and of SLURM that the text names."""


def test_the_pods_of_the_page_run_a_command_that_the_program_accepts_and_have_time_to_save() -> None:
    [job] = PODS
    pod = job["spec"]["template"]["spec"]
    [container] = pod["containers"]
    program, *words = container["command"]
    assert (program, accepted(words)) == ("clbench", "run")
    [mounted] = container["volumeMounts"]
    assert words[words.index("--out") + 1].startswith(f"{mounted['mountPath']}/")
    assert [volume["name"] for volume in pod["volumes"]] == [mounted["name"]]
    assert pod["terminationGracePeriodSeconds"] >= 30
    assert pod["restartPolicy"] == "Never"  # which the policy for evictions needs
    assert job["spec"]["completions"] == job["spec"]["parallelism"]

"""The examples of the command line: every ``--help`` ends with two that the program itself accepts."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from command_line import call

from clbench.api import split_strategies
from clbench.benchmark import documents, schema
from clbench.benchmark.shipped_files import find, shipped
from clbench.cli.app import app
from clbench.cli.examples import WIDTH, example_lines, examples
from clbench.cli.uses import USES
from clbench.strategies.strategy import Strategy

ROOT = typer.main.get_command(app)


def commands(command=ROOT, name: str = "clbench") -> Iterator[tuple[str, object]]:
    """All commands and sub-commands with their names, the program itself first."""
    yield name, command
    for each, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, f"{name} {each}")


EVERY = dict(commands())
LINES = [(name, line) for name, each in EVERY.items() for line, _ in example_lines(each.epilog)]


def parsed(line: str) -> tuple[str, dict[str, object]]:
    """The command of a line and its parameters, as the program's own parser reads them; nothing is run."""
    program, *words = shlex.split(line)
    assert program == "clbench"
    command, context, name = ROOT, ROOT.make_context("clbench", list(words)), "clbench"
    while hasattr(command, "commands"):
        word, command, words = command.resolve_command(context, words)
        name = f"{name} {word}"
        context = command.make_context(word, list(words), parent=context)
    with context:
        return name, context.params


@pytest.mark.parametrize("name", EVERY)
def test_every_help_ends_with_two_examples(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = example_lines(EVERY[name].epilog)
    assert len(lines) >= 2, f"add epilog=examples(...) to {name} in clbench/cli/app.py"
    shown = [line.strip() for line in call(*name.split()[1:], "--help").out.splitlines() if line.strip()]
    told = [part for line, words in lines for part in ([f"# {words}"] if words else []) + [line]]
    assert shown[-len(told) - 1 :] == ["Examples:", *told]
    assert max(len(line) for line in told) <= WIDTH


@pytest.mark.parametrize(("name", "line"), LINES + [("", line) for _, line in USES])
def test_an_example_is_a_command_line_that_the_program_accepts(
    name: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for file in re.findall(r"--plugin (\S+)", line):
        Path(file).write_text("import clbench\n\n\nclass Mine(clbench.Part):\n    pass\n", encoding="utf-8")
    command, found = parsed(line)
    assert command.startswith(name)
    benchmark = str(found.get("benchmark") or "split-digits")
    assert benchmark in shipped() or benchmark.endswith(".yaml")
    if "--plugin" not in line and isinstance(found.get("strategies"), str):
        defaults = schema.defaults_of(schema.check(*documents.read(find(benchmark))))
        assert [Strategy.parse(text, defaults).label for text in split_strategies(found["strategies"])]


def test_paragraphs_of_help_break_only_where_the_terminal_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    for name in EVERY:
        text = call(*name.split()[1:], "--help").out.split("╭")[0]
        paragraphs = [lines.strip().splitlines() for lines in re.split(r"\n\s*\n", text) if lines.strip()]
        assert [paragraph for paragraph in paragraphs if len(paragraph) > 1 and len(" ".join(paragraph)) < 290] == [], (
            name
        )


def test_an_example_that_the_program_does_not_know_is_found() -> None:
    with pytest.raises(Exception, match="No such option: --seed"):
        parsed("clbench run split-digits --seed 3")


def test_examples_are_read_as_they_were_written() -> None:
    text = examples("clbench show a  # what [it] does", "clbench run 'x [lr=1]'")
    assert example_lines(text) == [("clbench show a", "what [it] does"), ("clbench run 'x [lr=1]'", "")]
    assert example_lines(None) == []


def test_the_program_alone_shows_its_three_uses_and_ends_well() -> None:
    answer = call()
    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert [command for _, command in USES if f"  {command}" not in lines] == []
    assert [command.split()[1] for _, command in USES] == ["run", "new", "board"]

"""Show examples at the end of every ``--help``, and read them again for tests and pages."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup

WIDTH = 76
"""The longest line of an example in characters, so that none is wrapped in a terminal of 80 columns."""
HEADING = "Examples:"


def examples(*lines: str) -> str:
    """Return the text at the end of a command's ``--help``, for its ``epilog``.

    Args:
        lines: Command lines that work as they are, each with what it does after two spaces and ``#``, such as
            ``"clbench list metrics  # all metrics with their formulas"``. A command has at least two.
    """
    shown = [HEADING]
    for line in lines:
        command, _, words = line.partition("  # ")
        shown += ([f"  # {words}"] if words else []) + [f"  {command}"]
    return "\n".join(shown)


def example_lines(epilog: str | None) -> list[tuple[str, str]]:
    """Return the examples in an ``epilog``, as pairs of a command line and what it does."""
    found, words = [], ""
    for line in map(str.strip, (epilog or "").splitlines()):
        if line.startswith("# "):
            words = line[2:]
        elif line and line != HEADING:
            found.append((line, words))
            words = ""
    return found


class _EndsWithExamples:
    """End the ``--help`` of a command with examples, one to a line; typer would join or part the lines."""

    help: str | None
    epilog: str | None

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.help = unwrapped(self.help)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help of typer, then the examples."""
        epilog, self.epilog = self.epilog, None
        try:
            super().format_help(ctx, formatter)  # type: ignore[misc]  # of typer's class
        finally:
            self.epilog = epilog
        print_examples(epilog)


class Exemplified(_EndsWithExamples, TyperCommand):
    """Be a command whose ``--help`` ends with examples."""


class ExemplifiedGroup(_EndsWithExamples, TyperGroup):
    """Be a group of commands whose ``--help`` ends with examples."""


def unwrapped(text: str | None) -> str | None:
    """Return a help text whose paragraphs break only where the terminal ends."""
    return None if text is None else "\n\n".join(" ".join(each.split()) for each in text.split("\n\n"))


def print_examples(epilog: str | None) -> None:
    """Print the text of :func:`examples`; commands are coloured, and what they do is dim."""
    from rich.text import Text

    from clbench.cli.common import make_console

    console = make_console()
    for line in (epilog or "").splitlines():
        style = "bold" if line == HEADING else "dim" if line.startswith("  #") else "cyan"
        console.print(Text(f" {line}", style=style), soft_wrap=True)

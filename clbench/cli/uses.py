"""Show what clbench is for, which ``clbench`` alone prints: three uses, each with an example."""

from __future__ import annotations

from clbench.cli.common import make_console

USES = (
    (
        "Run a benchmark matrix (strategies x seeds), to a leaderboard and a picture:",
        "clbench run split-digits --strategies 'naive, er, joint' --seeds 5 --jobs 2",
    ),
    (
        "Add a strategy, from a small package with a method that works and its test:",
        "clbench new strategy my_method",
    ),
    (
        "Export a leaderboard as md, csv, json, tex or html (pictures: clbench plot):",
        "clbench board results/split-digits -o board.html",
    ),
)
"""What each use is, and a command that does it."""


def show_uses() -> None:
    """Print the three uses, and where to read on."""
    from rich.text import Text

    console = make_console()
    console.print("clbench compares continual-learning methods, evaluated after every iteration.\n")
    for words, command in USES:
        console.print(words)
        console.print(Text(f"  {command}\n", style="cyan"), soft_wrap=True)
    for words, command in (
        ("Begin with your own files", "clbench quickstart mine"),
        ("All commands", "clbench --help"),
        ("A command, with examples", "clbench run --help"),
        ("Names of everything", "clbench list"),
        ("What a name means", "clbench show er"),
    ):
        console.print(Text(f"{words + ':':<27}").append(command, style="cyan"), soft_wrap=True)

"""The changelog: no entry twice, and every count that it or the README states is that of the code."""

from __future__ import annotations

import re
from collections import Counter
from inspect import Parameter, signature
from pathlib import Path

import pytest

from clbench.running.plan import plan
from clbench.strategies import STRATEGIES
from clbench.strategies.chain import families_of

ROOT = Path(__file__).parents[1]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
NUMBER = r"(\d+|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)"
COUNTED = r"(strategies|metrics|scenarios|models|data sets|benchmarks|combinators|kinds of pictures|schedules)"


def entries() -> list[str]:
    """All entries, each on one line."""
    found: list[str] = []
    for line in CHANGELOG.splitlines():
        if line.startswith("- "):
            found.append(line[2:])
        elif line.startswith("  ") and found:
            found[-1] += " " + line.strip()
    return found


def learns_numbers(name: str) -> bool:
    """Whether a strategy is defined for regression, at any of its settings."""
    recipe = STRATEGIES.get(name)
    needed = [key for key, each in signature(recipe).parameters.items() if each.default is Parameter.empty]
    made = recipe(**dict.fromkeys(needed, 1))
    families = families_of(made if isinstance(made, list) else [made])
    return not families or "regression" in families


STATED = {
    r"Numbers are learned by (\d+) strategies": lambda: sum(learns_numbers(entry.name) for entry in STRATEGIES),
}
"""What the changelog counts, and how the code counts it. The version that is not yet released may count more."""


@pytest.mark.parametrize("statement", STATED)
def test_a_count_of_the_changelog_is_that_of_the_code(statement: str) -> None:
    assert re.findall(statement, CHANGELOG) == [str(STATED[statement]())]


def test_the_changelog_counts_nothing_that_is_not_compared_with_the_code() -> None:
    left = [re.sub("|".join(STATED), "", entry) for entry in entries()]
    assert [m.group(0) for entry in left for m in re.finditer(rf"(?<!up to )\b{NUMBER} {COUNTED}\b", entry)] == []


def test_no_entry_of_the_changelog_stands_twice_or_is_cut_off() -> None:
    assert [entry for entry, times in Counter(entries()).items() if times > 1] == []
    starts = Counter(entry[:60] for entry in entries())
    assert [start for start, times in starts.items() if times > 1] == []
    assert [entry for entry in entries() if not entry.rstrip().endswith((".", ":", ").", "`"))] == []


def test_the_readme_says_how_much_make_bench_runs() -> None:
    first, second, seeds = map(int, re.search(r"runs (\d+) and (\d+) strategies x (\d+) seeds", README).groups())
    plain, task = plan("split-digits").cells, plan("split-digits-task").cells
    assert (first, second) == (len({c.label for c in plain}), len({c.label for c in task}))
    assert {c.seed for c in plain} == {c.seed for c in task} == set(range(seeds))
    assert f"The {len(plain) + len(task)} runs of `make bench`" in README

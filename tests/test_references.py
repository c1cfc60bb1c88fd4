"""Names of modules and paths of files that code and pages mention exist."""

import re
from pathlib import Path

import clbench

ROOT = Path(__file__).parents[1]
TEXTS = [
    path
    for pattern in (
        "clbench/**/*.py",
        "benchmarks/**/*",
        "baselines/**/*.py",
        "docs/**/*.md",
        "*.md",
        "baselines/**/*.md",
    )
    for path in sorted(ROOT.glob(pattern))
    if path.is_file()
    and path.suffix in (".py", ".md", ".yaml")
    and path.name != "CHANGELOG.md"
    and "_build" not in path.parts
]
SOURCES = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "clbench").rglob("*.py")))
GROUPS = set(
    re.findall(r'Registry\(\s*"[\w\s-]+",\s*"(clbench\.\w+)"|^GROUP = "(clbench\.\w+)"', SOURCES, re.MULTILINE)
)
GROUPS = {name for pair in GROUPS for name in pair if name}
"""Groups of entry points, as the registries and the files of packages name them; some have the name of a room."""


def module_and_rest(name):
    """The file of the longest leading part of a dotted name that is a module or a folder, and the names after it."""
    pieces = name.split(".")
    for n in range(len(pieces), 0, -1):
        place = ROOT.joinpath(*pieces[:n])
        if place.is_dir():
            return place / "__init__.py", pieces[n:]
        if place.with_suffix(".py").exists():
            return place.with_suffix(".py"), pieces[n:]
    raise AssertionError(name)


def exists(name):
    file, rest = module_and_rest(name)
    if not rest:
        return True
    if file.parent == ROOT / "clbench":
        return hasattr(clbench, rest[0])
    return re.search(rf"\b{rest[0]}\b", file.read_text(encoding="utf-8")) is not None


def mentioned(pattern):
    for path in TEXTS:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            for found in re.finditer(pattern, line):
                yield f"{path.relative_to(ROOT)}:{number}", found[1]


def test_dotted_names_in_code_and_pages_are_those_of_the_package():
    names = list(mentioned(r"`~?(clbench(?:\.\w+)+)"))
    assert len(names) > 60
    assert [(where, name) for where, name in names if name not in GROUPS and not exists(name)] == []


def test_groups_of_entry_points_are_found_in_the_sources():
    assert {"clbench.datasets", "clbench.strategies", "clbench.combinators", "clbench.benchmarks"} < GROUPS


def test_paths_in_code_and_pages_are_those_of_the_repository():
    folders = "clbench|tests|benchmarks|docs|baselines"
    found = mentioned(rf"(?<![\w/.-])((?:{folders})/[\w./@-]+\.(?:py|md|yaml|json|png))\b")
    paths = [(where, path) for where, path in found if "NAME" not in path]  # NAME stands for any name
    assert len(paths) > 20
    assert [(where, path) for where, path in paths if not (ROOT / path).exists()] == []


def test_a_name_that_is_gone_is_found_out():
    assert exists("clbench.core.errors.Refused")
    assert not exists("clbench.core.parameters.Refusal")
    assert not exists("clbench.core.vanished")
    assert exists("clbench.Part")
    assert not exists("clbench.Whole")

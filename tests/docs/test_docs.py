"""What the papers of the house say is run or looked up here."""

from __future__ import annotations

import re
import runpy
from collections import Counter
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from worked_pages import ROOT, blocks

import clbench
from clbench.benchmark.shipped_files import shipped
from clbench.running.plan import plan

PAGES = sorted(path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts)
PAPERS = sorted([*ROOT.glob("*.md"), *PAGES, *(ROOT / "baselines").rglob("*.md")])


@pytest.mark.parametrize(
    "paper",
    [
        "README.md",
        "docs/python.md",
        "docs/strategies.md",
        "docs/scenarios.md",
        "docs/scikit-learn.md",
        "docs/families.md",
    ],
)
def test_python_in_the_docs_runs(paper, tmp_path, monkeypatch):
    from clbench.families import FAMILIES
    from clbench.strategies import STRATEGIES

    monkeypatch.chdir(tmp_path)
    try:
        for number, block in enumerate(blocks(paper, "python")):
            path = tmp_path / f"block_{number}.py"
            path.write_text(block, encoding="utf-8")
            runpy.run_path(str(path), run_name="docs")
    finally:
        STRATEGIES._added.clear()
        FAMILIES._added.pop("visits", None)


def test_the_schedules_the_executor_and_the_optimizer_of_the_page_on_benchmark_files_run(tmp_path, monkeypatch):
    code = blocks("docs/benchmark-files.md", "python")
    assert len(code) == 2
    (tmp_path / "mine.py").write_text("\n".join(code), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    [training] = [
        YAML(typ="safe").load(text)["training"]
        for text in blocks("docs/benchmark-files.md", "yaml")
        if "mine.py:Lion" in text
    ]
    settings = {
        "training.epochs": 1, "training.lr_schedule": {"mine.py:halved": {"factor": 0.3}},
        **{f"training.{name}": value for name, value in training.items()},
    }  # fmt: skip
    (record,) = clbench.run(
        "split-digits", strategies="naive", seeds=1, executor="mine.py:in_order",
        overrides={**settings, "evaluation.schedule": "mine.py:odd"},
    )  # fmt: skip
    assert record.status == "done"
    assert record.cell["training"]["lr_schedule"][f"{tmp_path.resolve() / 'mine.py'}:halved"] == {"factor": 0.3}
    assert record.cell["training"]["optimizer"][f"{tmp_path.resolve() / 'mine.py'}:Lion"] == {"betas": [0.95, 0.98]}


def test_the_page_for_users_of_avalanche_runs(tmp_path, monkeypatch):
    from clbench.adapters.avalanche.library import quiet

    with quiet():
        test_python_in_the_docs_runs("docs/coming-from-avalanche.md", tmp_path, monkeypatch)


def test_the_benchmark_file_in_the_docs_is_the_contract(tmp_path):
    path = tmp_path / "split-digits.yaml"
    path.write_text(blocks("docs/benchmark-files.md", "yaml")[0], encoding="utf-8")
    assert [c.label for c in plan(path).cells[::5]] == [
        "naive",
        "joint",
        "er",
        "er + ewc",
        "ewc(strength=100)",
        "er_ace [lr=0.03]",
    ]


def links(paper: Path) -> list[Path]:
    """What a paper links to in this repository."""
    found = re.findall(r"\]\(([^)#]+)", paper.read_text(encoding="utf-8"))
    return [(paper.parent / link).resolve() for link in found if "://" not in link]


def listed(paper: Path) -> list[Path]:
    """What a page's tables of contents list: names of pages without their suffix, or patterns."""
    trees = re.findall(r"^```\{toctree\}\n(.*?)^```", paper.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    lines = [line.strip() for tree in trees for line in tree.splitlines() if line.strip() and not line.startswith(":")]
    names = [re.sub(r"^.*<(.*)>$", r"\1", line) for line in lines]
    found = [path.resolve() for name in names for path in sorted(paper.parent.glob(f"{name}.md"))]
    return [path for path in dict.fromkeys(found) if path != paper.resolve()]


@pytest.mark.parametrize("paper", PAPERS, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_between_papers_lead_somewhere(paper):
    assert [link for link in links(paper) if not link.exists()] == []


def test_every_page_of_the_docs_is_reached_from_the_readme():
    reached, ahead = set(), [(ROOT / "README.md").resolve()]
    while ahead:
        page = ahead.pop()
        if page not in reached and page.suffix == ".md" and page.is_file():
            reached.add(page)
            ahead += links(page) + listed(page)
    assert [page.relative_to(ROOT).as_posix() for page in PAGES if page.resolve() not in reached] == []


def test_every_page_of_the_docs_has_one_place_in_the_side_bar():
    index = (ROOT / "docs" / "index.md").resolve()
    shown = Counter([index, *listed(index), *listed(ROOT / "docs" / "tutorials" / "index.md")])
    assert sorted(map(str, PAGES)) == sorted(map(str, shown.elements()))


@pytest.mark.usefixtures("miniatures")
@pytest.mark.parametrize("name", sorted(shipped()))
def test_every_shipped_benchmark_is_valid(name):
    assert plan(name).benchmark.name == name

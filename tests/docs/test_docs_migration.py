"""Pages that are worked through from top to bottom: files are written, commands run, as they stand."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import Answer, call
from support import same_trace, trained
from worked_pages import ROOT, blocks, blocks_of

import clbench

DOCS = ROOT / "docs"


def work_through(page: str) -> list[Answer]:
    """Write a page's ``# FILE.py`` blocks and run its commands, in the order in which they stand."""
    answers = []
    for block in blocks_of((DOCS / page).read_text(encoding="utf-8")):
        if block.file:
            Path(block.file).write_text(block.content, encoding="utf-8")
            continue
        for line in block.code.splitlines() if block.language == "sh" else ():
            command, *arguments = shlex.split(line)
            assert command == "clbench"
            answers.append(call(*arguments))
            assert answers[-1].code == 0, answers[-1].out + answers[-1].err
    return answers


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_the_page_on_one_method_learners_runs_as_written(here):
    shown, checked, _ = work_through("one-method-learners.md")
    assert "temperature" in shown.out
    assert "The contract is kept." in checked.out
    frame = clbench.load(here / "results" / "plain").set_index("strategy")
    assert frame.loc["naive", "acc"] == frame.loc["observe:plain.py:Plain", "acc"]
    assert frame.loc["er + observe:plain.py:Plain", "acc"] > frame.loc["naive", "acc"] + 0.1
    naive, plain = trained("naive"), trained("observe:plain.py:Plain")
    assert torch.equal(naive.learner.w, plain.learner.w)
    assert same_trace(naive, plain)


def test_the_page_on_mammoth_runs_as_written_and_both_ways_are_one_method(here):
    answers = work_through("coming-from-mammoth.md")
    assert "The contract is kept." in answers[0].out
    frame = clbench.load(here / "results" / "first", here / "results" / "then")
    assert set(frame["status"]) == {"done"}
    mean = frame.groupby("strategy")["acc"].mean()
    names = ("observe:wrapped.py:Wrapped", "ours.py:DarkPart")
    wrapped, part = (mean[f"{name}(alpha=0.3, beta=0.5)"] for name in names)
    assert min(wrapped, part) > mean["naive"] + 0.2
    assert abs(wrapped - part) < 0.2  # two seeds


def test_the_part_on_the_page_is_the_tables_derpp(here):
    block = next(code for code in blocks("docs/coming-from-mammoth.md", "python") if code.startswith("# ours.py"))
    Path("ours.py").write_text(block.replace("DarkPart", "DarkExperience"), encoding="utf-8")  # the same generator
    changes = ("stream.output=all", "training.epochs=2")
    page, table = (trained(f"{name}(alpha=0.3, beta=0.5)", *changes) for name in ("ours.py:DarkExperience", "derpp"))
    assert np.array_equal(page.learner.w.detach().numpy(), table.learner.w.detach().numpy())
    assert same_trace(page, table)

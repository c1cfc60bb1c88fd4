"""Relative paths are looked for beside the benchmark file first; pages for others name files without their folders."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import clbench
from clbench.core.errors import Refused
from clbench.core.notices import Notice
from clbench.leaderboard import render
from clbench.leaderboard.hub_export import export
from clbench.running.plan import plan

NET = "from torch import nn\n\n\ndef net(shape, n_outputs):\n    return nn.Linear(shape[0], n_outputs)\n"
PART = """
from dataclasses import dataclass

from clbench.strategies.part import Part


@dataclass(kw_only=True)
class Idle(Part):
    'Do nothing.'
"""
FILE = """
name: own
stream: {scenario: by_group, dataset: {name: "csv:data/rows.csv", group: site, normalize: mean-std}}
model: {name: "code/nets.py:net"}
evaluation: {every: 0}
strategies: [naive, "naive + code/parts.py:Idle"]
seeds: 1
"""


def rows(shift: float = 0.0) -> pd.DataFrame:
    return pd.DataFrame({"a": np.arange(60.0) + shift, "label": np.arange(60) % 2, "site": np.arange(60) // 30})


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A benchmark with its files, in a folder that is not the current one."""
    here = tmp_path / "project"
    for name, text in (("own.yaml", FILE), ("code/nets.py", NET), ("code/parts.py", PART)):
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_text(text)
    (here / "data").mkdir()
    rows().to_csv(here / "data/rows.csv", index=False)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return here


def test_data_networks_and_strategies_beside_the_file_are_found_in_workers_too(project):
    records = clbench.run(project / "own.yaml", isolated=True)
    assert [record.status for record in records] == ["done", "done"]
    assert str(project) not in json.dumps([record.cell for record in records])


def test_the_folder_of_the_file_comes_before_the_data_folder_and_the_key_is_that_of_the_contents(project, tmp_path):
    beside = plan(project / "own.yaml", data_dir=tmp_path / "store").cells[0].key
    (tmp_path / "store/data").mkdir(parents=True)
    rows(1).to_csv(tmp_path / "store/data/rows.csv", index=False)
    assert plan(project / "own.yaml", data_dir=tmp_path / "store").cells[0].key == beside
    (project / "data/rows.csv").unlink()
    assert plan(project / "own.yaml", data_dir=tmp_path / "store").cells[0].key != beside
    rows().to_csv(tmp_path / "store/data/rows.csv", index=False)
    assert plan(project / "own.yaml", data_dir=tmp_path / "store").cells[0].key == beside


def test_a_benchmark_that_a_program_holds_looks_in_the_current_directory(project, monkeypatch):
    document = {
        "name": "own",
        "stream": {"scenario": "by_group", "dataset": {"name": "csv:data/rows.csv", "group": "site"}},
    }
    document["model"] = {"name": "mlp"}
    with pytest.raises(
        Refused, match=r"there is no file .*rows.csv; give an absolute path, or one relative to the folder"
    ):
        plan(document)
    monkeypatch.chdir(project)
    assert plan(document).cells
    assert clbench.stream("split", "csv:data/rows.csv", experiences=2).dataset.shape == (2,)


def test_boards_pages_and_exports_name_files_without_the_folders_of_this_machine(project, tmp_path):
    text = FILE.replace("csv:data", f"csv:{project}/data").replace("code/", f"{project}/code/")
    (project / "own.yaml").write_text(text)
    records = clbench.run(project / "own.yaml")
    assert str(project) in json.dumps(records[1].cell)  # the key needs it
    board = clbench.leaderboard.board(records)
    for form in ("md", "csv", "json", "html", "latex"):
        page = render(board, form)
        assert "Idle" in page
        assert str(tmp_path) not in page
    export(records, tmp_path / "hub")
    cells = pd.read_parquet(tmp_path / "hub/data/cells.parquet")
    assert str(tmp_path) not in cells.drop(columns=[c for c in cells if c.startswith("environment")]).to_json()
    assert "csv:rows.csv" in cells["cell"][0]
    assert str(tmp_path) not in clbench.html(records[1])


def test_a_run_that_diverges_on_inputs_far_from_0_to_1_names_their_normalisation(project):
    document = {
        "name": "far", "stream": {"scenario": "split", "experiences": 2, "dataset": f"csv:{project}/far.csv"},
        "model": {"name": "mlp"}, "training": {"optimizer": "sgd", "lr": 1e30, "epochs": 5}, "evaluation": {"every": 0},
    }  # fmt: skip
    rows().assign(a=np.arange(60.0) * 1000).to_csv(project / "far.csv", index=False)
    with pytest.warns(Notice, match=r"values of column 'a' go up to 59,000;"):
        [far] = clbench.run(document, strategies="naive", seeds=1)
    assert far.status == "diverged"
    assert "its inputs reach from 0 to 5" in far.reason
    assert "set normalize: mean-std in the data set (--set stream.dataset.normalize=mean-std)" in far.reason
    rows().assign(a=np.arange(60.0) / 60, site=0).to_csv(project / "far.csv", index=False)
    [near] = clbench.run(document, strategies="naive", seeds=1)
    assert near.status == "diverged"
    assert "normalize" not in near.reason


def test_the_name_of_a_benchmark_alone_gives_its_stream():
    named, written = clbench.stream("split-digits", seed=3), clbench.stream("split", "digits", seed=3, experiences=5)
    assert named.fingerprint == written.fingerprint
    assert named.fingerprint != clbench.stream("split-digits", seed=4).fingerprint
    with pytest.raises(clbench.Refused, match="names no data set"):
        clbench.stream("split")
    with pytest.raises(clbench.Refused, match="names no data set"):
        clbench.stream("split-digits", experiences=2)

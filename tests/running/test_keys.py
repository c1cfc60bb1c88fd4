"""Keys of cells: those of committed records stay, and what a program adds at run time is part of them."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import clbench
from clbench.benchmark import shipped_files
from clbench.core.types import content_hash
from clbench.running.cell_key import Cell
from clbench.running.plan import plan
from clbench.strategies import STRATEGIES
from clbench.strategies.strategy import Strategy

BASELINES = Path(clbench.__file__).parents[1] / "baselines"
FOLDERS = sorted({path.parent for path in BASELINES.rglob("records/*.json")})


def cell_of(file):
    return json.loads(file.read_text(encoding="utf-8"))["cell"]


def planned_again(cell):
    """The cell that is planned from what a record's cell says."""
    document = {
        "name": cell["benchmark"]["name"],
        "version": cell["benchmark"]["version"],
        "seeds": [cell["seed"]],
        **{name: cell[name] for name in ("stream", "model", "training", "memory", "evaluation")},
        **({"reveal": cell["reveal"]} if "reveal" in cell else {}),
    }
    if cell["memory"]["policy"] == "herding":  # a strategy's own, which no file may write
        document["memory"] = {name: cell["memory"][name] for name in ("size", "admit")}
    written = {item["name"]: item["parameters"] for item in cell["strategy"]}
    rows = cell["stream"]["dataset"]
    own = rows if rows["name"].startswith("given:") else None
    [again] = plan(document, strategies=[written], dataset=own).cells
    return again


def of_another_library(cell):
    return any(":" in item["name"] for item in cell["strategy"])


def one_of_each_strategy(folder):
    """The first record of every strategy in a folder, settings included."""
    found = {}
    for file in sorted(folder.glob("*.json")):
        found.setdefault(json.dumps(cell_of(file)["strategy"], sort_keys=True), file)
    return list(found.values())


records = pytest.mark.skipif(not FOLDERS, reason="installed without the committed records")
each_folder = pytest.mark.parametrize(
    "folder", FOLDERS, ids=lambda folder: folder.parent.relative_to(BASELINES).as_posix()
)


@records
@each_folder
def test_the_key_of_a_committed_record_is_the_hash_of_its_cell_and_is_planned_again(folder):
    files = sorted(folder.glob("*.json"))
    for file in files:
        content = json.loads(file.read_text(encoding="utf-8"))
        assert content_hash(content["cell"]) == content["key"] == file.stem
    cell = cell_of(files[0])
    if of_another_library(cell):
        return  # its version is in the key
    again = planned_again(cell)
    assert json.loads(json.dumps(again.config)) == cell
    assert again.key == files[0].stem


@records
@each_folder
def test_a_committed_record_of_every_strategy_in_a_folder_is_planned_again(folder):
    files = one_of_each_strategy(folder)
    assert files
    for file in files:
        cell = cell_of(file)
        again = planned_again(cell)
        planned = json.loads(json.dumps(again.config))
        recorded, here = ([item.get("source") for item in each["strategy"]] for each in (cell, planned))
        if of_another_library(cell) and recorded != here:
            continue  # another version of the library, with settings of its own
        assert planned == cell
        assert again.key == file.stem


@records
def test_every_folder_of_baselines_with_records_or_traces_is_covered():
    folders = {path for name in ("records", "traces") for path in BASELINES.rglob(name) if path.is_dir()}
    assert {folder.parent for folder in folders} == {folder.parent for folder in FOLDERS}
    kept = {path.relative_to(BASELINES).with_suffix("").as_posix() for path in BASELINES.rglob("traces/*.npz")}
    written = {path.relative_to(BASELINES).with_suffix("").as_posix() for path in BASELINES.rglob("records/*.json")}
    assert {name.replace("/traces/", "/records/") for name in kept} == written


def test_every_shipped_benchmark_of_a_committed_record_can_be_found():
    named = {
        (cell["name"], cell["version"])
        for folder in FOLDERS
        for cell in [json.loads(next(folder.glob("*.json")).read_text(encoding="utf-8"))["cell"]["benchmark"]]
    }
    assert {name for name, version in named if shipped_files.official(name, version)} & set(shipped_files.shipped())


def test_parts_that_a_program_adds_are_told_apart_by_their_code_and_the_values_it_uses():
    def part(factor):
        @dataclass(kw_only=True)
        class Shrink(clbench.Part):
            every: int = 1

            def gradient(self, learner, batch):
                learner.g *= factor

        return Shrink

    for name, factor in {"keys-one": 0.5, "keys-same": 0.5, "keys-other": 0.9}.items():
        STRATEGIES.add(name, part(factor))
    sources = {
        name: plan("split-digits", strategies=[name], seeds=1).cells[0].config["strategy"][0]["source"]
        for name in ("keys-one", "keys-same", "keys-other")
    }
    assert sources["keys-one"] == sources["keys-same"] != sources["keys-other"]


def test_a_file_counts_with_the_modules_of_the_program_that_it_imports(tmp_path, monkeypatch):
    def source(folder, factor, imports):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "helper_of_a_part.py").write_text(f"FACTOR = {factor}\n")
        (tmp_path / folder / "idle.py").write_text(f"{imports}\n{PART}")
        with monkeypatch.context() as patch:
            patch.syspath_prepend(tmp_path / folder)
            patch.delitem(sys.modules, "helper_of_a_part", raising=False)
            return STRATEGIES.source(f"{tmp_path}/{folder}/idle.py:Idle")

    alone = [source(f"alone{factor}", factor, "") for factor in (1, 2)]
    assert alone[0] == alone[1]
    assert len(alone[0]) == 16
    one, same, other = (
        source(folder, factor, "import helper_of_a_part") for folder, factor in (("a", 1), ("b", 1), ("c", 2))
    )
    assert one == same != other
    assert one.partition("+")[0] == other.partition("+")[0]


PART = """
from dataclasses import dataclass
from clbench import Part

@dataclass(kw_only=True)
class Idle(Part):
    pass
"""


@pytest.mark.usefixtures("miniatures")
def test_cells_that_are_hashed_together_have_the_keys_of_their_configurations():
    for name in shipped_files.shipped():
        made = plan(name, seeds="0,7,123456789")
        assert [cell.key for cell in made.cells] == [content_hash(cell.config) for cell in made.cells], name
        assert {cell.seed for cell in made.cells} == {0, 7, 123456789}


@pytest.mark.parametrize("config", [{}, {"a": [1.0, "é"]}, {"zeta": None}, {"stream": {"seed": 1}, "reveal": ["x"]}])
def test_the_seed_stands_where_the_text_of_a_configuration_has_it(config):
    [cell] = Cell.of_seeds(config, "er", Strategy.parse("er"), {}, [3])
    assert cell.config == {**config, "seed": 3}
    assert cell.key == content_hash(cell.config)

"""The default benchmarks: settings chosen on held-out rows, and pages and pictures of the shipped version."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML

from clbench import api
from clbench.leaderboard import board, render
from clbench.running.plan import plan

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "baselines" / "split-digits"
SETTINGS = {"class": "split-digits", "task": "split-digits-task"}


def script(name):
    """A script of the folder as a module."""
    spec = importlib.util.spec_from_file_location(f"split_digits_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def run():
    return script("run")


@pytest.fixture(scope="module")
def records():
    return api.records(FOLDER)


def first_cells(setting):
    """Names of its parts, as in ``er + ewc`` -> cell of the first seed; of those with one name the first."""
    found = {}
    for cell in plan(SETTINGS[setting], seeds=1).cells:
        found.setdefault(" + ".join(part["name"] for part in cell.config["strategy"]), cell.config)
    return found


@pytest.mark.parametrize("setting", SETTINGS)
def test_free_settings_are_those_that_were_chosen_on_held_out_rows(setting):
    chosen = YAML(typ="safe").load(FOLDER / "chosen.yaml")
    cells = first_cells(setting)
    assert plan(SETTINGS[setting]).benchmark.training.lr == chosen["training"]["lr"]
    assert plan(SETTINGS[setting]).benchmark.training.epochs == chosen["training"]["epochs"]
    free = {"class": {"l2", "ewc", "er + ewc", "agem"}, "task": {"l2", "ewc", "si"}}[setting]
    assert free == set(cells) & set(chosen[setting])  # lwf and agem were chosen with task labels, and are left out
    for method in free:
        used, value = cells[method], chosen[setting][method]
        if method == "agem":
            assert (used["training"]["optimizer"], used["training"]["lr"]) == ("sgd", value)
        else:
            assert used["strategy"][-1]["parameters"]["strength"] == value


def test_settings_are_chosen_without_test_rows_and_on_seeds_that_no_table_uses():
    choose = script("choose")
    assert choose.HELD_OUT["stream.dataset.evaluate_on"] == "validation"
    assert choose.HELD_OUT["stream.dataset.validation"] > 0
    tables = {cell.seed for name in SETTINGS.values() for cell in plan(name).cells}
    assert not tables & {int(seed) for seed in choose.SEEDS.split(",")}


@pytest.mark.parametrize("name", ["leaderboard.png", "stability_gap.png"])
def test_pictures_of_the_readme_are_of_the_benchmarks_as_they_are_shipped(run, name):
    with Image.open(ROOT / "docs" / "pictures" / name) as picture:
        said = {key: value for key, value in picture.text.items() if key.startswith("clbench")}
    assert said == run.identity(), "made from other cells: python baselines/split-digits/run.py"


def test_committed_records_are_the_cells_of_the_shipped_files_all_done(records):
    keys = {cell.key for name in SETTINGS.values() for cell in plan(name).cells}
    assert {record.key for record in records} == keys
    assert {record.status for record in records} == {"done"}
    assert [record.alarms for record in records if record.alarms] == []


def test_the_committed_table_is_that_of_the_committed_records(run, records):
    assert (FOLDER / "leaderboard.md").read_text(encoding="utf-8") == render(board(run.of_this_version(records)), "md")


def test_numbers_in_the_readme_are_those_of_the_committed_records(records):
    tables = {table.benchmark: {r.strategy: r.metrics["acc"] for r in table.rows} for table in board(records).tables}
    rows, task = tables["split-digits@2"], tables["split-digits-task@1"]
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.findall(r"`([^`]+)` (\d+\.\d) ± (\d+\.\d)( with task labels)?", text)
    assert len(found) >= 6
    for name, mean, half, labels in found:
        of = (task if labels else rows)[name]
        assert (mean, half) == (f"{100 * of.mean:.1f}", f"{100 * of.half:.1f}"), name


def test_joint_is_the_upper_bound_that_it_is_called(records):
    for table in board(records).tables:
        mean = {row.strategy: row.metrics["acc"].mean for row in table.rows}
        bounds = [mean.pop(name) for name in ("joint", "cumulative") if name in mean]
        assert max(bounds) - min(bounds) < 0.02
        assert min(bounds) > max(mean.values())
        halves = [row.metrics["acc"].half for row in table.rows]
        assert np.median(halves) < 0.05

"""How strategies of avalanche-lib are written, refused, listed, run in workers and shown on boards."""

from __future__ import annotations

import json
import warnings

import pytest
from support import SMALL

import clbench
from clbench.adapters.avalanche import avalanche_recipes
from clbench.core.errors import Refused
from clbench.core.parameters import settings
from clbench.leaderboard import board, render
from clbench.running.plan import plan
from clbench.running.prepare import prepare_job
from clbench.running.run_cell import run_cell
from clbench.strategies import STRATEGIES

PLUGIN = """
from avalanche.core import SupervisedPlugin


class Counts(SupervisedPlugin):
    def __init__(self, start: int = 0):
        super().__init__()
        self.seen = start

    def after_training_iteration(self, strategy, **kwargs):
        self.seen += 1
"""


def planned(*strategies, **document):
    return plan({**SMALL, **document}, strategies=strategies, seeds=[0]).cells


def test_a_template_is_canonical_with_the_librarys_version_in_the_cell():
    (cell,) = planned("avalanche:EWC(ewc_lambda=1)", "avalanche:EWC(mode=separate, ewc_lambda=1)")
    (item,) = cell.config["strategy"]
    assert item["name"] == "avalanche:EWC"
    assert item["parameters"] == {
        "ewc_lambda": 1.0, "mode": "separate", "decay_factor": None, "keep_importance_data": False,
    }  # fmt: skip
    assert item["source"] == f"avalanche-lib {avalanche_recipes.VERSION}"


@pytest.mark.parametrize(
    ("strategy", "words"),
    [
        ("avalanche:Repaly", "did you mean 'Replay'"),
        ("avalanche:Replay(memsize=3)", "did you mean 'mem_size'"),
        ("avalanche:Replay(train_epochs=3)", "train_epochs is set by the benchmark"),
        ("avalanche:EWC", "needs a value for 'ewc_lambda'"),
        ("avalanche:Replay(mem_size=many)", "mem_size = 'many' is not allowed"),
        ("avalanche:Replay + avalanche:GDumb", "both set the template"),
        ("er + avalanche:Replay", "has only parts of its own"),
        ("avalanche:Replay + ewc(strength=1)", "has only parts of its own"),
        ("cumulative + avalanche:Cumulative", "both accumulate the stream"),
        ("avalanche:no.such.Plugin", r"no\.such does not import"),
        ("avalanche:", "avalanche: does not exist; known: AETraining, AGEM, "),
        ("avalanche:.X", "names no module and no file"),
        ("avalanche:mine.py", r"write avalanche:mine\.py:NAME"),
        ("avalanche:Replay(mem_size=-4)", "mem_size = -4 is not allowed"),
        ("avalanche:collections.Counter", "neither a template nor a plugin"),
    ],
)
def test_mistakes_are_refused_when_the_matrix_is_planned(strategy, words):
    with pytest.raises(Refused, match=words):
        planned(strategy)


def test_parameters_that_exclude_each_other_are_told_in_the_librarys_words():
    record = run_cell(planned("avalanche:EWC(ewc_lambda=1, mode=online)")[0])
    assert record.status == "failed"
    assert "does not accept these parameters" in record.reason
    assert "decay_factor" in record.reason


def test_plugins_join_a_template_by_name_by_path_and_from_a_file(tmp_path):
    file = tmp_path / "counting.py"
    file.write_text(PLUGIN, encoding="utf-8")
    joined = (
        "avalanche:Naive + avalanche:EWCPlugin(ewc_lambda=1)"
        f" + avalanche:avalanche.training.plugins.ReplayPlugin(mem_size=20) + avalanche:{file}:Counts(start=3)"
    )
    cell = planned(joined)[0]
    job = prepare_job(cell)
    job.train()
    counting = next(plugin for plugin in job.strategy.plugins if type(plugin).__name__ == "Counts")
    assert counting.seen == 3 + job.account().steps
    assert job.account().memory_bytes == 20 * 64
    assert job.account().state_bytes > 0
    key = cell.key
    file.write_text(PLUGIN + "\nANOTHER = 1\n", encoding="utf-8")
    assert planned(joined)[0].key != key


def test_a_plugin_alone_acts_on_the_naive_template():
    alone, joined = planned(
        "avalanche:ReplayPlugin(mem_size=40)", "avalanche:Naive + avalanche:ReplayPlugin(mem_size=40)"
    )
    first, second = run_cell(alone), run_cell(joined)
    assert (first.trace.score[-1] == second.trace.score[-1]).all()


def test_every_exported_template_and_plugin_can_be_shown():
    for name in avalanche_recipes.shipped():
        recipe = STRATEGIES.get(f"avalanche:{name}")
        settings(recipe)
        assert not {each for each, _, _ in settings(recipe)} & avalanche_recipes.GIVEN


def test_bounds_of_ours_act_on_the_stream_that_it_sees():
    ours, theirs, native = (
        run_cell(cell) for cell in planned("joint", "joint + avalanche:Naive", "avalanche:JointTraining")
    )
    assert ours.cost["steps"] == theirs.cost["steps"] == native.cost["steps"]
    assert ours.fingerprint == theirs.fingerprint == native.fingerprint
    assert (theirs.trace.score[-1] == native.trace.score[-1]).all()


def test_rows_are_marked_as_run_by_avalanche_wherever_boards_are_read(tmp_path):
    records = [run_cell(cell) for cell in planned("er", "avalanche:Replay(mem_size=40)")]
    assert [record.engine for record in records] == ["clbench", "avalanche"]
    assert records[1].environment["avalanche-lib"] == avalanche_recipes.VERSION
    assert "avalanche-lib" not in records[0].environment
    made = board(records)
    for format in ("table", "md", "latex"):
        assert "Run by" in render(made, format)
        assert "Run by" not in render(board(records[:1]), format)
    lines = render(made, "csv").splitlines()
    place = lines[0].split(",").index("engine")
    assert {line.split(",")[place] for line in lines[1:]} == {"clbench", "avalanche"}
    rows = json.loads(render(made, "json"))["tables"][0]["rows"]
    assert {row["strategy"]: row["engine"] for row in rows}["avalanche:Replay(mem_size=40)"] == "avalanche"
    assert "run by avalanche" in render(made, "html")


def test_it_runs_in_worker_processes_and_finished_cells_are_not_run_again(tmp_path):
    def run():
        return clbench.run(SMALL, strategies="er, avalanche:Replay(mem_size=40)", seeds=1, jobs=2, out=tmp_path)

    first = run()
    assert [record.status for record in first] == ["done", "done"]
    frame = clbench.load(tmp_path)
    assert dict(zip(frame.strategy, frame.engine, strict=True)) == {
        "er": "clbench", "avalanche:Replay(mem_size=40)": "avalanche",
    }  # fmt: skip
    here = run_cell(planned("avalanche:Replay(mem_size=40)")[0])
    there = next(record for record in first if record.engine == "avalanche")
    assert (here.trace.score[-1] == there.trace.score[-1]).all()  # the same in this process and in a worker
    assert [record.created for record in run()] == [record.created for record in first]


def test_warnings_of_others_than_the_library_are_left_alone():
    from clbench.adapters.avalanche.library import quiet

    with pytest.warns(UserWarning, match="mine"), quiet():
        warnings.warn("mine", UserWarning, stacklevel=1)

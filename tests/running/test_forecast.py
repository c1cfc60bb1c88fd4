"""The time of a matrix, predicted: exact where a step, a boundary and a look take what they are told to take."""

from __future__ import annotations

import re
import time

import numpy as np
import pytest
from command_line import call
from support import SMALL

from clbench.running import forecast
from clbench.running.forecast import Forecast, cell_seconds, matrix_seconds
from clbench.running.plan import plan
from clbench.running.prepare import prepare as prepare_run
from clbench.running.run_cell import run_cell

FIRST_STEP, LATER_STEP, BEGIN, END, INPUT, FIXED, FINISH = 1.0, 2.0, 30.0, 70.0, 0.01, 0.5, 11.0


def cell_of(strategy, *changes):
    return plan(SMALL, strategies=[strategy], seeds=[0], overrides=changes).cells[0]


@pytest.fixture
def machine(monkeypatch) -> list[float]:
    """A machine on which everything takes a known time: what happens moves its clock."""
    now = [0.0]

    def spend(seconds):
        now[0] += seconds

    def prepare(cell, **where):
        run = prepare_run(cell, **where)
        number = [0]
        run.chain.begin_experience += (lambda *_: spend(BEGIN),)
        run.chain.end_experience += (lambda *_: (spend(END), number.__setitem__(0, number[0] + 1)),)
        run.chain.after_step += (lambda *_: spend(LATER_STEP if number[0] else FIRST_STEP),)
        run.chain.end_stream += (lambda *_: spend(FINISH),)
        inner = run.evaluator._pass

        def look(learner, panel, *more):
            spend(FIXED + INPUT * len(panel.x))
            return inner(learner, panel, *more)

        run.evaluator._pass = look
        return run

    monkeypatch.setattr(forecast, "perf_counter", lambda: now[0])
    monkeypatch.setattr(forecast, "prepare_job", prepare)
    return now


def truth(machine, cell):
    """What the whole cell takes on that machine."""
    began = machine[0]
    forecast.prepare_job(cell).train()
    return machine[0] - began


CELLS = {
    "looks at every step": ("naive", "training.epochs=4"),
    "looks at every seventh step": ("naive", "training.epochs=4", "evaluation.every=7"),
    "ends only": ("naive", "training.epochs=4", "evaluation.every=0"),
    "dense": ("er", "training.epochs=9", "evaluation.schedule={dense: {steps: 3, growth: 1.5}}"),
    "current tasks": ("naive", "training.epochs=4", "evaluation.tasks=current"),
    "all tasks": ("naive", "training.epochs=4", "evaluation.tasks=all"),
    "given steps": ("naive", "training.epochs=4", "evaluation.schedule={at: [1, 5, 40, 41]}"),
    "iterations": ("er", "training.iterations=33"),
    "incomplete batches left out": ("er", "training.epochs=5", "training.drop_last=true"),
    "merged": ("joint", "training.epochs=4"),
    "merged, iterations": ("joint", "training.iterations=20"),
    "growing": ("cumulative", "training.epochs=2"),
    "two experiences": ("naive", "training.epochs=4", "stream.experiences=2"),
    "fewer iterations than would be timed": ("naive", "training.batch_size=60"),
}


@pytest.mark.parametrize("name", CELLS)
def test_where_everything_takes_a_known_time_the_prediction_is_exact(name, machine):
    cell = cell_of(*CELLS[name])
    assert cell_seconds(cell) == pytest.approx(truth(machine, cell), rel=1e-6)


@pytest.mark.parametrize("rates", [[], [0.1, 0.2, 0.3]])
def test_a_run_that_chooses_settings_learns_each_experience_at_least_once_more_for_each_rate(rates, machine):
    chf = ("tuning.protocol=chf", "tuning.drop=1", f"tuning.learning_rates={rates}")
    cell = cell_of("l2(strength=1e-3)", "training.epochs=4", *chf)  # the first try of every experience stands
    # a switch is evaluated anew after a return, where it is the evaluation before it otherwise
    assert cell_seconds(cell) == pytest.approx(truth(machine, cell), rel=0.02)
    assert cell_seconds(cell) > 1.5 * cell_seconds(cell_of("l2(strength=1e-3)", "training.epochs=4"))


@pytest.mark.parametrize(("by_place", "by_past"), [(0.5, 0.0), (0.0, 0.25), (0.5, 0.25)])
def test_steps_that_grow_along_the_stream_or_with_what_was_really_learned_are_told_apart_as_far_as_lines_go(
    by_place, by_past, machine, monkeypatch
):
    inner = forecast.prepare_job

    def prepare(cell, **where):
        run = inner(cell, **where)
        learned = []

        def spend(learner, _):
            machine[0] += by_place * learner.experience + by_past * len(learned)

        run.chain.after_step += (spend,)
        run.chain.end_experience += (lambda learner, _: learned.append(learner.experience),)
        return run

    monkeypatch.setattr(forecast, "prepare_job", prepare)
    for changes in (("stream.experiences=5",), ("stream.dataset.train_rows=600", "stream.experiences=10")):
        cell = cell_of("naive", "training.epochs=4", *changes)
        assert cell_seconds(cell) == pytest.approx(truth(machine, cell), rel=1e-6)


def test_steps_are_foretold_where_a_last_row_joins_the_batch_before_it(machine):
    sizes = [len(e) for e in prepare_run(cell_of("naive")).stream]
    model = "model={name: resnet, norm: batch, width: 1}"
    cell = cell_of("naive", model, f"training.batch_size={sizes[0] - 1}", "training.epochs=4")
    assert cell_seconds(cell) == pytest.approx(truth(machine, cell), rel=1e-6)


def test_a_cell_that_is_skipped_takes_no_time_and_one_that_cannot_run_is_told_with_the_reason():
    found = forecast.forecast([cell_of("er", "memory.size=0"), cell_of("naive", "stream.experiences=11")])
    assert (found[0].seconds, found[0].reason.split(":")[0]) == (0.0, "skipped")
    assert np.isnan(found[1].seconds)
    assert found[1].reason.startswith("cannot be timed: ")
    assert matrix_seconds(found, jobs=2) == 0.0


def test_each_strategy_is_timed_once_whatever_the_number_of_seeds():
    told: list[str] = []
    cells = plan(SMALL, strategies=["naive", "er"], seeds=3).cells
    found = forecast.forecast(cells, budget=0.01, watch=told.append)
    assert told == ["naive", "er"]
    assert [(each.label, each.cells) for each in found] == [("naive", 3), ("er", 3)]
    assert all(each.seconds > 0 for each in found)


@pytest.mark.parametrize(("jobs", "seconds"), [(1, 11.0), (2, 7.0), (3, 7.0), (4, 5.0)])
def test_cells_go_in_turn_to_the_worker_that_is_free_first(jobs, seconds):
    assert matrix_seconds([Forecast("a", 3, 2.0), Forecast("b", 1, 5.0)], jobs=jobs) == seconds


def test_timing_leaves_threads_and_generators_alone():
    import torch

    from clbench.core.global_rng import comparable_states

    generator, threads, before = torch.random.get_rng_state(), torch.get_num_threads(), comparable_states()
    cell_seconds(cell_of("naive", "model.dropout=0.5", "training.threads=1"), budget=0.01)
    assert torch.equal(torch.random.get_rng_state(), generator)
    assert torch.get_num_threads() == threads
    assert comparable_states() == before


def test_on_this_machine_the_prediction_is_near_the_processor_time_of_a_run(monkeypatch):
    monkeypatch.setattr(forecast, "perf_counter", time.process_time)
    cell = cell_of("er", "training.epochs=20")
    run_cell(cell)  # warms up
    predicted = cell_seconds(cell, budget=0.5)
    began = time.process_time()
    run_cell(cell)
    assert 0.4 < predicted / (time.process_time() - began) < 2.5


# --------------------------------------------------------------------------------------------------- command line

COMMAND = ("run", "split-digits", "--strategies", "naive, er", "--seeds", "2", "--set", "training.epochs=1")


def test_a_dry_run_predicts_the_time_and_writes_nothing(tmp_path):
    answer = call(*COMMAND, "--out", tmp_path / "results", "--dry-run", "--jobs", "2")
    assert answer.code == 0
    rows = [line.split() for line in answer.out.splitlines()]
    for label in ("naive", "er"):
        (row,) = (row for row in rows if len(row) == 4 and row[:2] == [label, "2"])
        assert 0 < float(row[2]) < 60
    assert "Predicted: 0:0" in answer.out
    assert "with 2 jobs" in answer.out
    assert not (tmp_path / "results").exists()


def test_a_dry_run_of_strategies_that_cannot_be_timed_predicts_no_time(tmp_path):
    net = tmp_path / "narrow.py"
    net.write_text("from torch import nn\n\n\ndef narrow(shape, n_outputs):\n    return nn.Linear(3, n_outputs)\n")
    answer = call(*COMMAND, "--dry-run", "--out", tmp_path / "results", "--set", f"model={{name: '{net}:narrow'}}")
    assert "naive: cannot be timed: " in answer.out
    assert "Nothing could be timed, so no time is predicted." in answer.out
    assert "Predicted" not in answer.out


def test_a_dry_run_with_more_jobs_than_cores_predicts_with_the_cores(tmp_path, monkeypatch):
    from clbench.running import matrix

    monkeypatch.setattr(matrix, "usable_cores", lambda: 2)
    monkeypatch.setattr(forecast, "forecast", lambda cells, **_: [Forecast("naive", len(cells), 3600.0)])
    command = ("run", "split-digits", "--strategies", "naive", "--seeds", "8", "--out", tmp_path, "--dry-run", "--jobs")
    assert re.search(r"Predicted: 4:00:0\d with 8 jobs on 2 cores", call(*command, "8").out)  # 8 hours on 2 cores
    assert re.search(r"Predicted: 4:00:0\d with 2 jobs, of", call(*command, "2").out)
    assert re.search(
        r"Predicted: 8:00:0\d with 8 jobs on 2 cores", call(*command, "8", "--set", "training.threads=2").out
    )


def test_slow_evaluations_are_timed_less_often(machine, monkeypatch):
    taken = []
    inner = forecast.Clock._evaluate

    def counted(clock, learner, kind, number, step):
        taken.append(kind.name)
        inner(clock, learner, kind, number, step)

    monkeypatch.setattr(forecast.Clock, "_evaluate", counted)
    cell = cell_of("naive", "training.epochs=4", "stream.experiences=5")
    assert cell_seconds(cell) == pytest.approx(truth(machine, cell), rel=1e-6)
    # each takes longer than the whole allowance: two after the steps of the pilot and of each of four experiences, and
    # three switches, and the start with two ends
    assert (taken.count("STEP"), taken.count("SWITCH"), taken.count("START") + taken.count("END")) == (10, 3, 3)


def test_a_dry_run_predicts_nothing_where_that_is_not_wanted_or_nothing_is_to_do(tmp_path):
    out = tmp_path / "results"
    assert "Predicted" not in call(*COMMAND, "--out", out, "--dry-run", "--no-time").out
    assert call(*COMMAND, "--out", out).code == 0
    answer = call(*COMMAND, "--out", out, "--dry-run")
    assert "4 finished, 0 to do" in answer.out
    assert "Predicted" not in answer.out

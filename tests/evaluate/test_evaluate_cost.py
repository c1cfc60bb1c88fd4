"""What a record says a run has cost: operations by hand, peak memory, and records from before these were taken."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from support import EVERY_STRATEGY, SMALL, ready
from torch import nn

from clbench.core import peak_memory
from clbench.leaderboard import board
from clbench.leaderboard.frame import frame
from clbench.models.flops import per_row
from clbench.models.output import Output
from clbench.running.options import Options
from clbench.running.plan import plan
from clbench.running.run_cell import run_cell
from clbench.running.user_objects import UserObjects

FORWARD, BACKWARD = 2368, 2688
"""Of one row through 64-16-10: 2 (64·16 + 16·10); twice that, without the 2·64·16 of a gradient for the inputs."""


def cost(strategy, *changes, **given):
    cell = plan(SMALL, strategies=[strategy], seeds=[0], overrides=changes, model={"name": "given"} if given else None)
    record = run_cell(cell.cells[0], Options(given=UserObjects(**given)))
    assert record.status == "done", record.reason
    return record.cost


class Convolution(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 5, 3, padding=1)

    def forward(self, x):
        y = self.layer(x).mean(dim=(2, 3))
        return Output(y, y)


def test_operations_of_one_row_by_hand():
    # 5 filters of 3x3x3 at 8x8 places; the gradient of the filters takes as many, that of the inputs is not needed
    assert per_row(Convolution(), (3, 8, 8)) == (2 * 5 * 27 * 64, 2 * 5 * 27 * 64)


def test_operations_of_a_run_are_those_of_its_rows():
    naive, er, agem = cost("naive"), cost("er"), cost("agem")
    assert naive["stream_rows"] == 300
    assert naive["train_flops"] == 300 * (FORWARD + BACKWARD)
    assert naive["evaluation_flops"] == naive["evaluation_rows"] * FORWARD
    assert er["replay_rows"] > 0
    assert er["train_flops"] == (300 + er["replay_rows"]) * (FORWARD + BACKWARD)
    assert agem["extra_backward_rows"] > 0
    extra = agem["extra_forward_rows"] * FORWARD + agem["extra_backward_rows"] * BACKWARD
    assert agem["train_flops"] == 300 * (FORWARD + BACKWARD) + extra


UNSEEN = {"pcr", "hpcr", "ncm", "slda", "acil", "ranpac", "fecam", "l2p", "first_task", "dualprompt", "coda_prompt"}
"""No hook of the whole model sees their rows: they run its body alone, with a head of their own, or no model."""


@pytest.mark.parametrize("name", [name for name in EVERY_STRATEGY if name not in UNSEEN])
def test_every_row_that_goes_forward_is_booked(name):
    seen, told, _ = booked(name)
    assert seen == told


@pytest.mark.parametrize("fisher", ["exact", "sampled", "empirical", "batch"])
def test_every_row_of_a_fisher_estimate_is_booked(fisher):
    seen, told, cost = booked(f"ewc(fisher={fisher})")
    assert seen == told
    assert cost.extra_backward_rows == 300 if fisher != "exact" else cost.extra_backward_rows > 300


def booked(strategy):
    """Rows that went through the model in a run, rows in its account, and the account."""
    run, rows = ready(strategy, "training.epochs=1"), []
    run.learner.model.register_forward_hook(lambda _, inputs, output: rows.append(len(inputs[0])))
    run.train()
    cost = run.learner.cost
    widths = 1  # the evaluator's first look sends one row ahead, to see how wide the model is
    told = cost.stream_rows + cost.replay_rows + cost.extra_forward_rows + cost.evaluation_rows + widths
    return sum(rows), told, cost


def test_memory_is_booked_where_it_is_used():
    assert cost("naive")["memory_bytes"] == cost("ewc")["memory_bytes"] == 0
    assert cost("er")["memory_bytes"] == cost("icarl")["memory_bytes"] == 40 * 64  # rows of 8x8 bytes


def test_counts_do_not_depend_on_evaluation_and_are_the_same_twice():
    runs = [cost("agem", f"evaluation.every={every}") for every in (1, 1, 0)]
    for name in ("train_flops", "stream_rows", "extra_backward_rows", "memory_bytes", "state_bytes"):
        assert runs[0][name] == runs[1][name] == runs[2][name]
    assert runs[0]["evaluation_flops"] == runs[1]["evaluation_flops"] > runs[2]["evaluation_flops"]


def test_counting_leaves_the_model_as_it_was():
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 10))
    kept = []

    def build(shape, n_outputs):
        kept.append(module)
        return module

    generator = torch.random.get_rng_state()
    spent = cost("naive", model=build)
    assert spent["train_flops"] > 0
    assert torch.equal(torch.random.get_rng_state(), generator)
    assert kept[0][2].num_batches_tracked == spent["steps"]


def test_a_model_that_cannot_be_counted_still_gets_its_record(monkeypatch):
    from clbench.running import prepared_run

    def refuse(*_, **__):
        raise RuntimeError("no counting here")

    monkeypatch.setattr(prepared_run, "per_row", refuse)
    spent = cost("naive")
    assert "train_flops" not in spent
    assert spent["stream_rows"] == 300


def test_peak_memory_starts_anew_and_sees_what_is_held():
    peak_memory.reset("cpu")
    before = peak_memory.peak_bytes("cpu")
    held = np.ones(40_000_000 // 8)
    held[::512] = 2.0
    grown = peak_memory.peak_bytes("cpu")
    assert grown >= before + 30_000_000
    del held
    peak_memory.reset("cpu")
    assert peak_memory.peak_bytes("cpu") <= grown
    assert cost("naive")["peak_bytes"] > 10_000_000


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems keep one peak per process")
def test_peak_memory_leaves_out_the_process_that_started_this_one():
    code = (
        "import subprocess, sys; held = bytearray(300_000_000); print(subprocess.run([sys.executable, '-c', "
        '\'from clbench.core import peak_memory; peak_memory.reset("cpu"); print(peak_memory.peak_bytes("cpu"))\'], '
        "capture_output=True, text=True, check=True).stdout)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert 1_000_000 < int(told) < 200_000_000


@pytest.mark.parametrize("dropped", ["train_flops", "peak_bytes", "extra_seconds"])
def test_records_from_before_a_cost_was_taken_are_read_beside_newer_ones(dropped):
    cells = plan(SMALL, strategies=["naive"], seeds=2).cells
    old, new = (run_cell(cell) for cell in cells)
    del old.cost[dropped]
    assert frame([old, new])[f"cost_{dropped}"].isna().tolist() == [True, False]
    ((row,),) = [table.rows for table in board([old, new]).tables]
    assert row.cost[dropped].mean == pytest.approx(new.cost[dropped])

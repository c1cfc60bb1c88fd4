"""Inputs of looks that are made chunk by chunk have the bits of those made at once, and need little memory."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from typing import ClassVar

import numpy as np
import pytest
import torch
from support import everything, ready, same_trace, trained
from torch import nn

from clbench.core.record import Kind
from clbench.data.arrays import from_arrays
from clbench.data.corruptions import STRENGTHS, Corrupt
from clbench.evaluate import evaluator, inputs_on_demand
from clbench.evaluate.inputs_on_demand import OnDemand
from clbench.evaluate.predictions import Predictions
from clbench.training.device_rows import Resident

STREAMS = {
    "split": (),
    "normalised": ("stream.dataset.normalize=mean-std",),
    "task labels": ("stream.setting=task", "evaluation.masked=true", "evaluation.classes=true"),
    "current": ("evaluation.tasks=current",),
    "permuted": ("stream.scenario=permuted", "stream.setting=domain", "stream.experiences=3"),
    "permuted, current": ("stream.scenario=permuted", "stream.setting=domain", "stream.experiences=3",
                          "evaluation.tasks=current"),
    "rotated": ("stream.scenario=rotated", "stream.setting=domain", "stream.degrees=[0, 30, 60]"),
    "half precision": ("evaluation.precision=bfloat16",),
    "readings": ("evaluation.readings=[dormant, effective_rank, gradient_norm]",),
}  # fmt: skip


def on_demand(monkeypatch):
    monkeypatch.setattr(inputs_on_demand, "MOST_BYTES", 0)


@pytest.mark.parametrize("stream", STREAMS)
def test_looks_at_inputs_made_on_demand_have_the_bits_of_looks_at_inputs_that_are_kept(stream, monkeypatch):
    monkeypatch.setattr(evaluator, "CHUNK_VALUES", 64 * 70)  # chunks cut through tasks
    kept, made = ready("er", *STREAMS[stream]), ready("er", *STREAMS[stream])
    for run in (kept, made):
        run.evaluator.predictions = Predictions()
    kept.train()
    on_demand(monkeypatch)
    made.train()
    assert isinstance(made.evaluator.panels._panel.x, OnDemand)
    assert same_trace(made, kept)
    for name, value in everything(kept).items():
        assert torch.equal(everything(made)[name], value), name
    ours, theirs = made.evaluator.trace(), kept.evaluator.trace()
    assert np.array_equal(ours.masked, theirs.masked, equal_nan=True)
    assert np.array_equal(ours.class_score, theirs.class_score, equal_nan=True)
    assert ours.readings.keys() == theirs.readings.keys()
    for name, reading in theirs.readings.items():
        assert np.array_equal(ours.readings[name].values, reading.values, equal_nan=True), name
    columns = kept.evaluator.predictions.columns()
    assert len(columns["row"]) > 100
    assert all(np.array_equal(made.evaluator.predictions.columns()[name], columns[name]) for name in columns)
    assert made.learner.cost.evaluation_rows == kept.learner.cost.evaluation_rows


@pytest.mark.parametrize("corruption", [*STRENGTHS, "clean"])
def test_corrupted_inputs_made_on_demand_have_the_bits_of_those_made_at_once(corruption):
    x = np.random.default_rng(0).integers(0, 256, (150, 3, 32, 32), dtype=np.uint8)
    y = np.arange(150) % 10
    dataset = from_arrays("made-up", x, y, x, y)
    views = [(corruption, 0 if corruption == "clean" else 3), ("contrast", 1)]
    split = Resident(dataset.test, dataset, transform=Corrupt(views, 0))
    rows, view = torch.randperm(150), torch.arange(150) // 100  # a chunk holds one view or both
    made = OnDemand(split, rows, view, torch.float32)
    chunks = torch.cat([made[start : start + 33] for start in range(0, 150, 33)])
    assert torch.equal(chunks, split.present(rows, view))
    assert torch.equal(made.only(torch.tensor([7, 3]))[:], chunks[[7, 3]])


def test_a_model_that_changes_its_inputs_in_place_changes_no_others(monkeypatch):
    class InPlace(nn.Module):
        def __init__(self, shape, n_outputs):
            super().__init__()
            self.head = nn.Linear(int(np.prod(shape)), n_outputs)

        def forward(self, x):
            x.mul_(0.5)
            return self.head(x.flatten(1))

    kept = trained("naive", model=InPlace)
    on_demand(monkeypatch)
    assert same_trace(trained("naive", model=InPlace), kept)


def test_small_sets_are_kept_as_tensors():
    run = trained("naive")
    assert isinstance(run.evaluator.panels._panel.x, torch.Tensor)


LOOK = """
    import sys, threading, time
    import numpy as np, torch
    from clbench.core.record import Kind
    from clbench.data.arrays import from_arrays
    from clbench.running.plan import plan
    from clbench.running.prepare import prepare
    from clbench.running.user_objects import UserObjects
    from torch import nn

    class Means(nn.Module):
        def __init__(self, shape, n_outputs):
            super().__init__()
            self.head = nn.Linear(shape[0], n_outputs)

        def forward(self, x):
            return self.head(x.mean((2, 3)))

    torch.set_num_threads(1)
    x = np.lib.format.open_memmap(sys.argv[1], mode="w+", dtype=np.uint8, shape=(3000, 3, 300, 300))  # sparse
    x[:, 0, 0, 0] = np.arange(3000) % 251
    y = np.arange(3000) % 10
    dataset = from_arrays("made-up", x[:200], y[:200], x, y)
    benchmark = {
        "name": "large",
        "stream": {"scenario": "split", "experiences": 5},
        "model": {"name": "given"},
        "training": {"batch_size": 32, "lr": 0.1},
        "evaluation": {"every": 1, "rows_per_task": "all", "tasks": "all"},
    }
    cell = plan(benchmark, strategies=["naive"], seeds=1, dataset={"name": "given"}, model={"name": "given"}).cells[0]
    run = prepare(cell, given=UserObjects(dataset=dataset, model=Means))
    most = [0]

    def watch():
        while True:
            text = open("/proc/self/status").read()
            most[0] = max(most[0], int(text.split("RssAnon:")[1].split()[0]))
            time.sleep(0.002)

    threading.Thread(target=watch, daemon=True).start()
    run.trainer.enter(run.stream[0])
    run.evaluator.take(run.trainer.readout, Kind.START, -1, 0)
    print(most[0] // 1024, run.learner.cost.evaluation_rows)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the memory of a process from /proc")
def test_a_look_at_3000_pictures_of_300_pixels_stays_below_400_mb(tmp_path):
    program = textwrap.dedent(LOOK)
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "x.npy")], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    megabytes, rows = map(int, done.stdout.split())
    assert rows == 3000
    assert megabytes < 400  # all of them as float32 are 3,240 MB


# --------------------------------------------------------------------------------------------------- memory of a GPU


class Narrow(nn.Module):
    """Has room for 20 samples at a time, as a GPU with little memory would."""

    most = 20
    sizes: ClassVar[list[int]] = []

    def __init__(self, shape, n_outputs):
        super().__init__()
        self.head = nn.Linear(int(np.prod(shape)), n_outputs)

    def forward(self, x):
        if len(x) > type(self).most:
            raise torch.cuda.OutOfMemoryError("no room")
        type(self).sizes.append(len(x))
        return self.head(x.flatten(1))


def test_chunks_are_halved_until_the_memory_of_a_gpu_is_large_enough(monkeypatch):
    monkeypatch.setattr(Narrow, "most", 1000)
    whole = trained("naive", "evaluation.tasks=all", model=Narrow)
    monkeypatch.setattr(Narrow, "most", 20)
    monkeypatch.setattr(evaluator, "CHUNK_VALUES", 64 * 100)
    monkeypatch.setattr(Narrow, "sizes", [])
    small = trained("naive", "evaluation.tasks=all", model=Narrow)
    assert small.evaluator.rows_at_a_time == 12  # 100, 50, 25, 12
    assert max(Narrow.sizes) == 16  # a batch of training
    assert np.array_equal(small.evaluator.trace().score, whole.evaluator.trace().score)
    assert small.learner.cost.evaluation_rows == whole.learner.cost.evaluation_rows


def test_memory_that_is_too_small_for_one_sample_is_an_error(monkeypatch):
    run = ready("naive", model=Narrow)
    monkeypatch.setattr(evaluator.Evaluator, "_widest", lambda *_: 1)
    monkeypatch.setattr(Narrow, "most", 0)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        run.evaluator.take(run.trainer.readout, Kind.START, -1, 0)


def test_looks_are_fetched_from_a_gpu_together_and_keep_their_shapes():
    class Elsewhere:
        type = "cuda"

    tensors = [torch.arange(3), torch.tensor(7), torch.arange(2)]

    class Far(torch.Tensor):
        device = Elsewhere()

    far = [each.as_subclass(Far) for each in tensors]
    for found, expected in zip(evaluator.on_host(far), tensors, strict=True):
        assert torch.equal(found.as_subclass(torch.Tensor), expected)

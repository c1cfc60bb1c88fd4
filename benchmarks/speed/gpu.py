"""Steps on a GPU beside bare PyTorch on it, and whether a step waits: ``python benchmarks/speed/gpu.py``.

For each job two tables. The first has the time of a step of ``naive`` by our loop and by a bare loop with the same
network, batches, precision, memory format and chunks, and the peak memory of both. The second names the line at which
a step of each strategy makes the host wait for the GPU, found by ``torch.cuda.set_sync_debug_mode("error")``.

Images are made up, so no file is needed. ``--device cpu`` tries the script where there is no GPU; its numbers mean
nothing for one, and nothing can wait there.
"""

from __future__ import annotations

import argparse
import statistics
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from clbench.data.arrays import from_arrays
from clbench.running.plan import plan
from clbench.running.prepare import prepare
from clbench.running.prepared_run import Run
from clbench.running.user_objects import UserObjects
from clbench.training import loop

WARM = 5
"""Steps before the first that counts: kernels are chosen and memory is allocated there."""
JOBS: dict[str, dict[str, Any]] = {
    "float32": {},
    "bfloat16": {"precision": "bfloat16"},
    "channels last": {"channels_last": True},
    "bfloat16, channels last": {"precision": "bfloat16", "channels_last": True},
    "4 chunks": {"accumulate": 4},
    "compiled": {"compile": True},
}
STRATEGIES = ("naive", "er", "er_ace", "derpp(alpha=0.1, beta=0.5)", "lwf", "ewc(strength=1, rows=200)", "icarl")


def made(strategy: str, settings: dict[str, Any], *, device: str, rows: int, batch: int, side: int, width: int) -> Run:
    """Return a run on made-up images with a residual network of group normalisation."""
    generator = np.random.default_rng(0)
    x = generator.integers(0, 256, (rows, 3, side, side), dtype=np.uint8)
    y = np.arange(rows) % 10
    benchmark = {
        "name": "speed-gpu",
        "stream": {"scenario": "split", "experiences": 2, "dataset": {"name": "made-up"}},
        "model": {"name": "resnet", "width": width},
        "training": {"lr": 0.01, "batch_size": batch, "drop_last": True, **settings},
        "memory": {"size": min(500, rows)},
        "evaluation": {"schedule": "ends", "rows_per_task": 8},
        "strategies": [strategy],
    }
    cell = plan(benchmark, seeds=1, dataset={"name": "made-up"}).cells[0]
    return prepare(cell, given=UserObjects(dataset=from_arrays("made-up", x, y, x[:100], y[:100])), device=device)


@contextmanager
def each_step(around: Callable[[int], Any]) -> Iterator[None]:
    """Run every iteration of the loop inside of ``around(number)``, as long as the context lasts."""
    usual = loop.iterate

    def iterate(trainer: Any, hooks: Any, batch: Any, number: int) -> None:
        with around(number):
            usual(trainer, hooks, batch, number)

    loop.iterate = iterate
    try:
        yield
    finally:
        loop.iterate = usual


@contextmanager
def no_waits(device: str) -> Iterator[None]:
    """Raise an error where the host waits for the GPU."""
    if not device.startswith("cuda"):
        yield
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def first_wait(run: Run, device: str) -> str:
    """Return the line of clbench at which a step makes the host wait for the GPU; empty if none does."""
    try:
        with each_step(lambda number: no_waits(device) if number > WARM else nullcontext()):
            run.train()
    except RuntimeError as error:
        if "synchroniz" not in str(error):
            raise
        ours = [f for f in traceback.extract_tb(error.__traceback__) if "clbench/" in f.filename]
        return f"{ours[-1].filename.rpartition('clbench/')[2]}:{ours[-1].lineno}" if ours else str(error)
    return ""


def wait_for(device: str) -> None:
    """Wait until the device has finished."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def peak(device: str) -> float:
    """Return the peak memory of the device in MB since the last call; 0 on a CPU."""
    if not device.startswith("cuda"):
        return 0.0
    found = torch.cuda.max_memory_allocated(device) / 1e6
    torch.cuda.reset_peak_memory_stats(device)
    return found


def ours(build: Callable[[], Run], device: str) -> tuple[float, float]:
    """Return the seconds of a step of our loop, and the peak memory in MB."""
    run, times = build(), []

    @contextmanager
    def clock(number: int) -> Iterator[None]:
        if number == WARM + 1:
            wait_for(device)
            times.append((number, perf_counter()))
        yield
        last[:] = [number]

    last: list[int] = []
    peak(device)
    with each_step(clock):
        stop_after_first_experience(run)
    wait_for(device)
    began, start = times[0]
    return (perf_counter() - start) / (last[0] - began + 1), peak(device)


def stop_after_first_experience(run: Run) -> None:
    """Learn the first experience, without evaluations."""

    class NoLooks:
        def look(self, *_: Any) -> None:
            """Evaluate nothing."""

    loop.train(run.trainer, run.stream, run.chain, NoLooks(), run.training, until=1)


def bare(build: Callable[[], Run], settings: dict[str, Any], device: str) -> tuple[float, float]:
    """Return the seconds of a step of a plain loop on the same samples, and the peak memory in MB."""
    run = build()
    experience, size = run.stream[0], run.learner.batch_size
    model = build_bare(build)
    x = torch.from_numpy(run.stream.dataset.train.x[experience.rows]).to(device)
    y = torch.from_numpy(run.stream.dataset.train.y[experience.rows]).to(device)
    if settings.get("channels_last"):
        model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    shown = torch.compile(model) if settings.get("compile") else model
    kind, half = device.partition(":")[0], settings.get("precision") == "bfloat16"
    chunks = settings.get("accumulate", 1)
    del run
    peak(device)
    order = torch.randperm(len(x), device=device)
    count, began = len(x) // size, 0.0
    for k in range(count):
        if k == WARM:
            wait_for(device)
            began = perf_counter()
        rows = order[k * size : (k + 1) * size]
        images = x[rows].float() / 255
        if settings.get("channels_last"):
            images = images.contiguous(memory_format=torch.channels_last)
        optimizer.zero_grad()
        for part, labels in zip(images.chunk(chunks), y[rows].chunk(chunks), strict=True):
            with torch.autocast(kind, dtype=torch.bfloat16, enabled=half):
                logits = shown(part).logits
            (F.cross_entropy(logits.float(), labels) * (len(part) / size)).backward()
        optimizer.step()
    wait_for(device)
    return (perf_counter() - began) / (count - WARM), peak(device)


def build_bare(build: Callable[[], Run]) -> torch.nn.Module:
    """Return the network of a run as a module of its own, whose weights are no part of a flat vector."""
    import copy

    model = copy.deepcopy(build().learner.model)
    model._forward_pre_hooks.clear()
    model._forward_hooks.clear()
    for parameter in model.parameters():
        parameter.data, parameter.grad = parameter.data.clone(), None
    return model


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--width", type=int, default=64)
    given = parser.parse_args()
    device = given.device
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise SystemExit("torch finds no GPU; this script measures one (--device cpu tries it without)")
    make = partial(made, device=device, rows=given.rows, batch=given.batch, side=given.side, width=given.width)
    print(f"{'a step of naive':26} {'ours ms':>8} {'bare ms':>8} {'ratio':>6}  {'ours MB':>8} {'bare MB':>8}")
    for name, settings in JOBS.items():
        build = partial(make, "naive", settings)
        pairs = [(ours(build, device), bare(build, settings, device)) for _ in range(given.rounds)]
        (mine, theirs), ratio = pairs[-1], statistics.median(a[0] / b[0] for a, b in pairs)
        print(
            f"{name:26} {1e3 * mine[0]:8.2f} {1e3 * theirs[0]:8.2f} {ratio:6.2f}  {mine[1]:8.0f} {theirs[1]:8.0f}",
            flush=True,
        )
    print("\na step waits for the GPU at")
    for strategy in STRATEGIES:
        print(f"{strategy:30} {first_wait(make(strategy, {}), device) or 'no line'}", flush=True)


if __name__ == "__main__":
    main()

"""The bare loop: the speed jobs written by hand in plain PyTorch, with nothing of clbench in it.

It is written the way a careful researcher would for one experiment: rows in memory as float tensors, batches gathered
by index, a memory of row indices, one backward pass over stream and rehearsed rows together, fixed evaluation rows.
``python benchmarks/speed/bare.py`` times it alone.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

EXPERIENCES = 5


@dataclass(frozen=True)
class Job:
    """A class-incremental job: 10 classes, two per experience in ascending order, all outputs compete.

    Args:
        hidden: Widths of the hidden layers.
        lr: Step size of plain SGD.
        batch_size: Stream rows per iteration.
        replay: Rows drawn from memory per iteration, from the second experience on; 0 for none.
        memory: Rows the reservoir holds.
        epochs: Passes over each experience; the reservoir sees the first.
        drop_last: Whether an incomplete last batch is left out.
        rows_per_task: Evaluation rows per task; ``None`` for all.
        threads: Threads of the arithmetic.
    """

    hidden: tuple[int, ...]
    lr: float
    batch_size: int
    replay: int
    memory: int
    epochs: int
    drop_last: bool
    rows_per_task: int | None
    threads: int


REFERENCE = Job((400, 400), 0.1, 128, 128, 500, 1, True, 1000, 2)
DIGITS = Job((100, 100), 0.05, 32, 32, 100, 5, False, None, 1)


@dataclass(frozen=True, eq=False)
class Split:
    """A data set in memory: inputs (N, F) float32 in [0, 1], labels (N,) int64 in [0, 10)."""

    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor


class Reservoir:
    """Indices of rows kept from the stream, each row seen being kept with the same probability.

    Args:
        size: Rows kept.
        seed: Seed of its private generator.

    Source: Vitter 1985, algorithm R, a batch at a time.
    """

    def __init__(self, size: int, seed: int) -> None:
        self.rows = np.zeros(size, dtype=np.int64)
        self.seen = 0
        self.random = np.random.default_rng(seed)

    def admit(self, rows: NDArray[np.int64]) -> None:
        """Offer the rows (B,) of a batch, in order."""
        position = np.arange(self.seen, self.seen + len(rows))
        slot = np.where(position < len(self.rows), position, self.random.integers(0, position + 1))
        kept = slot < len(self.rows)
        self.rows[slot[kept]] = rows[kept]  # numpy lets the last row that claims a slot have it, as one by one would
        self.seen += len(rows)

    def draw(self, n: int) -> Tensor:
        """``n`` different rows, or all where fewer are held; shape (n,)."""
        held = min(self.seen, len(self.rows))
        return torch.from_numpy(self.rows[self.random.permutation(held)[:n]])


def make_model(inputs: int, hidden: tuple[int, ...], seed: int) -> nn.Sequential:
    """An MLP with ReLU and 10 outputs, initialised as PyTorch does from ``seed``."""
    torch.manual_seed(seed)
    widths = (inputs, *hidden)
    layers: list[nn.Module] = []
    for before, after in zip(widths, hidden, strict=False):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], 10))


def evaluation_rows(data: Split, job: Job, seed: int) -> list[Tensor]:
    """The fixed evaluation rows of each task, (n,) indices into the test data."""
    generator = torch.Generator().manual_seed(seed)
    chosen = []
    for task in range(EXPERIENCES):
        rows = (data.y_test // 2 == task).nonzero().flatten()
        chosen.append(rows[torch.randperm(len(rows), generator=generator)][: job.rows_per_task])
    return chosen


@torch.inference_mode()
def look(model: nn.Module, tasks: list[tuple[Tensor, Tensor]]) -> list[float]:
    """Accuracy in [0, 1] of each task."""
    return [(model(x).argmax(1) == y).float().mean().item() for x, y in tasks]


def train(data: Split, job: Job, *, evaluate: bool, seed: int) -> dict[str, Any]:
    """Run a job.

    Args:
        data: What is learned.
        job: How.
        evaluate: Whether every task seen so far is evaluated after every iteration.
        seed: Of weights, orders, memory and evaluation rows.

    Returns:
        ``seconds`` of the loop (loading and set-up excluded), ``iterations``, final ``accuracies`` (5,) in [0, 1], and
        ``curve``, the accuracies of the tasks seen after each iteration (empty without evaluation).
    """
    torch.set_num_threads(job.threads)
    generator = torch.Generator().manual_seed(seed)
    model = make_model(data.x_train.shape[1], job.hidden, seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=job.lr)
    memory = Reservoir(job.memory, seed)
    tasks = [(data.x_test[rows], data.y_test[rows]) for rows in evaluation_rows(data, job, seed)]
    streams = [(data.y_train // 2 == task).nonzero().flatten() for task in range(EXPERIENCES)]
    curve = []
    iterations = 0

    start = time.perf_counter()
    for experience, stream in enumerate(streams):
        for epoch in range(job.epochs):
            order = stream[torch.randperm(len(stream), generator=generator)]
            for batch in order.split(job.batch_size):
                if job.drop_last and len(batch) < job.batch_size:
                    continue
                rows = torch.cat([batch, memory.draw(job.replay)]) if job.replay and experience else batch
                loss = functional.cross_entropy(model(data.x_train[rows]), data.y_train[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                if job.replay and epoch == 0:
                    memory.admit(batch.numpy())
                iterations += 1
                if evaluate:
                    curve.append(look(model, tasks[: experience + 1]))
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "iterations": iterations, "accuracies": look(model, tasks), "curve": curve}


def run_reference(
    x_train: Tensor, y_train: Tensor, x_test: Tensor, y_test: Tensor, *, evaluate: bool, seed: int
) -> dict[str, Any]:
    """The reference job on flattened MNIST, inputs (N, 784) in [0, 1]; see :func:`train` for what is returned."""
    return train(Split(x_train, y_train, x_test, y_test), REFERENCE, evaluate=evaluate, seed=seed)


def run_digits(
    x_train: Tensor, y_train: Tensor, x_test: Tensor, y_test: Tensor, *, strategy: str, evaluate: bool, seed: int
) -> dict[str, Any]:
    """The small job on scikit-learn's digits, inputs (N, 64) in [0, 1]; ``strategy`` is ``naive`` or ``er``."""
    job = {"naive": replace(DIGITS, replay=0), "er": DIGITS}[strategy]
    return train(Split(x_train, y_train, x_test, y_test), job, evaluate=evaluate, seed=seed)


def find_mnist(folder: str | Path | None = None) -> Path:
    """The folder that holds MNIST's four idx files.

    Args:
        folder: Where to look; by default the environment variable ``CLBENCH_DATA``, then ``../shared/data``.

    Raises:
        SystemExit: They are not there.
    """
    root = Path(folder or os.environ.get("CLBENCH_DATA") or Path(__file__).parents[3] / "shared" / "data")
    for candidate in (root / "mnist" / "MNIST" / "raw", root / "MNIST" / "raw"):
        if (candidate / "train-images-idx3-ubyte").is_file():
            return candidate
    raise SystemExit(
        f"no MNIST under {root}: expected mnist/MNIST/raw or MNIST/raw with the four uncompressed idx files; "
        "give the folder with --data or CLBENCH_DATA"
    )


def load_mnist(folder: str | Path | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """MNIST as (x_train, y_train, x_test, y_test): inputs (N, 784) float32 in [0, 1], labels (N,) int64."""
    raw = find_mnist(folder)

    def images(name: str) -> Tensor:
        pixels = np.fromfile(raw / name, dtype=np.uint8, offset=16).reshape(-1, 784)
        return torch.from_numpy(pixels.astype(np.float32) / 255)

    def labels(name: str) -> Tensor:
        return torch.from_numpy(np.fromfile(raw / name, dtype=np.uint8, offset=8).astype(np.int64))

    return (
        images("train-images-idx3-ubyte"),
        labels("train-labels-idx1-ubyte"),
        images("t10k-images-idx3-ubyte"),
        labels("t10k-labels-idx1-ubyte"),
    )


def load_digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """scikit-learn's digits, a fixed stratified 80/20 split: inputs (N, 64) float32 in [0, 1], labels (N,) int64."""
    from sklearn.datasets import load_digits as load
    from sklearn.model_selection import train_test_split

    bunch = load()
    x = (bunch.data / 16).astype(np.float32)
    parts = train_test_split(x, bunch.target.astype(np.int64), test_size=0.2, stratify=bunch.target, random_state=0)
    x_train, x_test, y_train, y_test = (torch.from_numpy(part) for part in parts)
    return x_train, y_train, x_test, y_test


def main() -> None:
    """Time every job alone and print the median seconds."""
    parser = argparse.ArgumentParser(description="time the bare PyTorch loop alone")
    parser.add_argument("--data", help="folder with mnist/MNIST/raw or MNIST/raw; default CLBENCH_DATA")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    mnist, digits = load_mnist(given.data), load_digits()
    for evaluate in (True, False):
        for name in ("reference", "digits naive", "digits er"):
            runs = []
            for seed in range(given.rounds):
                if name == "reference":
                    runs.append(run_reference(*mnist, evaluate=evaluate, seed=seed))
                else:
                    runs.append(run_digits(*digits, strategy=name.split()[1], evaluate=evaluate, seed=seed))
            seconds = [run["seconds"] for run in runs]
            accuracy = np.mean([run["accuracies"] for run in runs])
            print(
                f"{name:12} {'every iteration' if evaluate else 'no evaluation':15} "
                f"median {statistics.median(seconds):.3f} s, fastest {min(seconds):.3f} s, "
                f"{runs[0]['iterations']} iterations, ACC {accuracy:.3f}"
            )


if __name__ == "__main__":
    main()

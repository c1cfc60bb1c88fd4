"""A pretrained network beside bare PyTorch, in one run on one thread: ``python benchmarks/speed/pretrained.py``.

Its ratios: a step of which only the head is trained, one of all weights, without and with a factor of the learning
rate for the body, one with terms of rank 4 beside queries and values, and the extraction of features. The bare loop
does what a careful researcher would: the body runs without a graph where nothing in it is trained, and the head has an
optimiser of its own, or a group of its own.

The network is a vision transformer of the form of ViT-S/14 with random weights, on made-up images of 56 pixels, so that
no file is needed. Targets: at most 1.15 for steps, 1.05 for the extraction.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from torch.nn import functional as F

from clbench.data.arrays import from_arrays
from clbench.models import frozen_features
from clbench.models.extractor import extract
from clbench.models.image_input import ImageInput
from clbench.models.transformer import Form, VisionTransformer
from clbench.running.plan import plan
from clbench.running.prepare import prepare
from clbench.running.user_objects import UserObjects

ROWS, BATCH, SIDE = 128, 16, 56
FORM = Form(width=384, depth=12, heads=6, hidden=1536, patch=14, grid=(4, 4), layer_scale=True)


def network(n_outputs: int = 10) -> VisionTransformer:
    """Return the transformer with the same random weights in every call."""
    torch.manual_seed(0)
    return VisionTransformer(FORM, ImageInput((0.0,) * 3, (1.0,) * 3, None), n_outputs)


def images() -> np.ndarray:
    """Return made-up images (ROWS, 3, SIDE, SIDE)."""
    return np.random.default_rng(0).integers(0, 256, (ROWS, 3, SIDE, SIDE), dtype=np.uint8)


def ours(file: Path, train: str, scale: dict[str, float] | None, strategy: str = "naive") -> float:
    """Return the seconds of one pass of a strategy over all rows in our loop."""
    x, y = images(), np.arange(ROWS) % 10
    given = UserObjects(dataset=from_arrays("made-up", x, y, x[:10], y[:10]))
    benchmark = {
        "name": "speed",
        "stream": {"scenario": "split", "experiences": 1, "dataset": {"name": "made-up"}},
        "model": {"name": "pretrained", "source": f"file:{file}", "train": train, "input": "unit"},
        "training": {"lr": 0.01, "batch_size": BATCH, "threads": 1, **({"lr_scale": scale} if scale else {})},
        "evaluation": {"schedule": "ends"},
        "reveal": ["length"],
        "strategies": [strategy],
    }
    cell = plan(benchmark, seeds=1, dataset={"name": "made-up"}).cells[0]
    run = prepare(cell, given=given)
    began = perf_counter()
    run.train()
    return perf_counter() - began


class Term(torch.nn.Module):
    """A linear layer with a term of rank 4."""

    def __init__(self, layer: torch.nn.Linear) -> None:
        super().__init__()
        self.layer = layer.requires_grad_(False)
        self.a = torch.nn.Parameter(torch.randn(4, layer.in_features) / 100)
        self.b = torch.nn.Parameter(torch.zeros(layer.out_features, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map tokens to tokens."""
        output: torch.Tensor = self.layer(x) + x @ self.a.T @ self.b.T
        return output


def bare_terms() -> float:
    """Return the seconds of the pass in plain PyTorch with terms of rank 4 in a frozen body."""
    model = network().requires_grad_(False)
    model.head.requires_grad_(True)
    for block in model.blocks:
        block.attention.query, block.attention.value = Term(block.attention.query), Term(block.attention.value)
    x = torch.from_numpy(images()).float() / 255
    y = torch.arange(ROWS) % 10
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.01)
    began = perf_counter()
    order = torch.randperm(ROWS)
    with torch.no_grad():
        model(x[:10])
    for start in range(0, ROWS, BATCH):
        rows = order[start : start + BATCH]
        optimizer.zero_grad()
        F.cross_entropy(model(x[rows]).logits, y[rows]).backward()
        optimizer.step()
    with torch.no_grad():
        model(x[:10])
    return perf_counter() - began


def bare(train: str, scale: float | None) -> float:
    """Return the seconds of the same pass in plain PyTorch, with the two looks at ten rows that ours makes."""
    model = network()
    x = torch.from_numpy(images()).float() / 255
    y = torch.arange(ROWS) % 10
    body = [p for name, p in model.named_parameters() if not name.startswith("head.")]
    groups = [{"params": list(model.head.parameters())}]
    if train == "all":
        groups.append({"params": body, "lr": 0.01 * (1.0 if scale is None else scale)})
    optimizer = torch.optim.SGD(groups, lr=0.01)
    began = perf_counter()
    order = torch.randperm(ROWS)
    with torch.no_grad():
        model(x[:10])
    for start in range(0, ROWS, BATCH):
        rows = order[start : start + BATCH]
        if train == "head":
            with torch.no_grad():
                features = model.features(x[rows])
        else:
            features = model.features(x[rows])
        optimizer.zero_grad()
        F.cross_entropy(model.head(features), y[rows]).backward()
        optimizer.step()
    with torch.no_grad():
        model(x[:10])
    return perf_counter() - began


def extraction(file: Path) -> tuple[float, float]:
    """Return the seconds of an extraction by clbench and by bare forward passes of the same rows at a time."""
    x = images()
    began = perf_counter()
    extract(x, 1 / 255, settings=frozen_features.canonical({"source": f"file:{file}", "input": "unit"}), what="x")
    took = perf_counter() - began
    began = perf_counter()
    model = network().eval()
    model.load_state_dict(torch.load(file, weights_only=True))
    with torch.inference_mode():
        [model.features(torch.from_numpy(x[start : start + 64]).float() / 255) for start in range(0, ROWS, 64)]
    return took, perf_counter() - began


def main() -> None:
    """Print the median ratios of some rounds, with the lowest and the highest."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "vit.pth"
        torch.save(network().state_dict(), file)
        rows: dict[str, Callable[[], tuple[float, float]]] = {
            "head only": lambda: (ours(file, "head", None), bare("head", None)),
            "all weights": lambda: (ours(file, "all", None), bare("all", None)),
            "lr_scale of the body": lambda: (ours(file, "all", {"body": 0.01}), bare("all", 0.01)),
            "terms of rank 4": lambda: (ours(file, "head", None, "sd_lora(rank=4, terms=1)"), bare_terms()),
            "extraction": lambda: extraction(file),
        }
        for name, measure in rows.items():
            measure()
            ratios = sorted(mine / theirs for mine, theirs in (measure() for _ in range(rounds)))
            print(f"{name:22} {statistics.median(ratios):.3f}  ({ratios[0]:.3f} to {ratios[-1]:.3f})")


if __name__ == "__main__":
    main()

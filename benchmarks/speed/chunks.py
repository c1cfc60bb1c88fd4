"""How large a chunk of a look should be: seconds of a forward pass by chunk size, and whether outputs depend on it.

    python benchmarks/speed/chunks.py [--device cuda] [--threads 1]

Prints a table. The evaluator keeps one size on every machine, ``clbench.evaluate.evaluator.CHUNK_VALUES``: where the
last columns are not 0, another size takes sums in another order, and turns predictions round that are nearly tied.
"""

from __future__ import annotations

import argparse
from time import perf_counter

import torch

from clbench import models
from clbench.evaluate.evaluator import CHUNK_VALUES

JOBS = {
    "mlp 784-400-400-10": ({"name": "mlp", "hidden": [400, 400]}, (1, 28, 28), 5000),
    "cnn on 28x28": ({"name": "cnn"}, (1, 28, 28), 500),
    "resnet on 32x32": ({"name": "resnet"}, (3, 32, 32), 250),
}
"""Model, shape of a row, rows of a look."""
SIZES = tuple(1 << power for power in range(15, 25))
"""Values per chunk, of the input."""
REPEATS = 3


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print("| model | values per chunk | rows per chunk | ms per look | logits differ by | predictions that differ |")
    print("|---|---|---|---|---|---|")
    for name, (config, shape, rows) in JOBS.items():
        torch.manual_seed(0)
        model = models.make(models.canonical(config), shape, 10).to(options.device).eval()
        x = torch.rand(rows, *shape, device=options.device)
        kept = _logits(model, x, CHUNK_VALUES)
        best = dict.fromkeys(SIZES, float("inf"))
        for _ in range(REPEATS):  # interleaved, so that a slow moment of the machine hits all sizes
            for size in SIZES:
                best[size] = min(best[size], _seconds(model, x, size))
        for size, seconds in best.items():
            logits = _logits(model, x, size)
            apart, turned = (logits - kept).abs().max(), (logits.argmax(1) != kept.argmax(1)).sum()
            mark = " (ours)" if size == CHUNK_VALUES else ""
            print(f"| {name} | {size}{mark} | {_rows(x, size)} | {1000 * seconds:.2f} | {apart:.1e} | {turned} |")


def _rows(x: torch.Tensor, size: int) -> int:
    return min(len(x), max(64, size // x[0].numel()))


def _logits(model: torch.nn.Module, x: torch.Tensor, size: int) -> torch.Tensor:
    with torch.inference_mode():
        return torch.cat([model(chunk).logits for chunk in x.split(_rows(x, size))])


def _seconds(model: torch.nn.Module, x: torch.Tensor, size: int) -> float:
    began = perf_counter()
    _logits(model, x, size).argmax(1).sum().item()  # waits for the device
    return perf_counter() - began


if __name__ == "__main__":
    main()

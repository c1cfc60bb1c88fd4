"""Each strategy's time per iteration as a ratio to its arithmetic floor: ``python benchmarks/speed/strategies.py``.

The floor is what the formula cannot do without, timed as bare PyTorch in the same run: one forward and backward pass
with its optimiser step over the rows of the stream and of memory, and the further rows that the method sends forward
(and backward), as its own account of cost counts them, taken at the price per row of large passes, without any overhead
of a pass. Work at boundaries (Fisher information, herding) is in both. Target: at most 1.3.

Steps in loops of a part's own (gdumb, fpf, k_fpf) are steps with their own number of rows; gdumb's have momentum, decay
and clipping. That of l2m has one product of rank 8 beside each hidden layer, as if all samples had one member, the
cosines with 30 keys, and the optimiser's work on the whole pool. ncm and slda send nothing through the model: their
floor is the sums per class, and for slda the scatter matrix, of the stream's pixels in double precision; that of acil
is the expansion of the pixels, two products with a matrix of 2048 x 2048 and a system of B equations; that of
ranpac the expansion and the Gram matrix of 2000 features in the first pass, and the choice of a ridge at each boundary;
that of fecam a scatter matrix for each class of an experience, and inverses at each boundary. That of gpm has
two products of each layer's gradient with its basis or with the basis of what is left free, whichever is narrower, and
a singular value decomposition of the layer's inputs at each boundary. That of trgp and cuber has, besides, the scaling
of the inputs of each layer on the directions of related tasks, forward and backward, with steps of their matrices, also
for the further rows of a gradient; they run in the task setting. refresh draws a normal number for every weight,
and binary one for every unit and row, with two products per layer. Of fpf and k_fpf a whole backward pass is in the
floor, although the formula needs that of the trained layers alone: theirs is generous. That of hypernet generates the
weights of the running task, and those of each earlier task for its regulariser, forward and backward.
dst's has masks that are drawn, sorted and kept in each step, and consolidation's has frozen weights in each step, the
first experience included. clr's is a step of a small convolutional network with
kernels per channel, a whole backward pass included.
That of l2p, dualprompt and coda_prompt is a pass of a small transformer without a graph for the query, and one
with the prompts or prefixes of each sample, with its backward pass and the steps of all prompts, keys and the head;
for coda_prompt also the penalty.
frozen's floor is the steps of the first experience, freeze_norm's that of naive: this model has no layer to freeze.

Made-up images of MNIST's size, MLP 784-400-400-10, batches of 128, 5 experiences of 40 iterations, one thread.
"""

from __future__ import annotations

import argparse
import math
import statistics
from itertools import pairwise
from time import perf_counter
from typing import Any

import numpy as np
import torch
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from torch.nn import functional as F

from clbench.data.arrays import from_arrays
from clbench.models.vit import ViT
from clbench.running.plan import plan
from clbench.running.prepare import prepare
from clbench.running.prepared_run import Run
from clbench.running.user_objects import UserObjects

STRATEGIES = [
    "naive",
    "joint",
    "cumulative",
    "frozen",
    "er",
    "er_ace",
    "er_aml",
    "der(alpha=0.3)",
    "derpp(alpha=0.1, beta=0.5)",
    "mir",
    "pcr(views=1)",
    "hpcr(views=1)",
    "icarl",
    "bic",
    "expand",
    "wa",
    "podnet",
    "er + align_norms",
    "agem",
    "gem",
    "gpm",
    "trgp",
    "cuber(strength=0.1)",
    "l2(strength=0.01)",
    "ewc(strength=1, rows=200)",
    "si(strength=0.001)",
    "mas(strength=0.001, rows=200)",
    "consolidation(strength=1, frozen=0.3, rows=200)",
    "merge",
    "lwf",
    "pred_kd",
    "feat_kd",
    "refresh(strength=1e-5)",
    "refresh(strength=1e-5, form=code)",
    "hft",
    "hft(granularity=element)",
    "clr",
    "dst(every=40)",
    "er + group_mask",
    "gdumb(passes=8)",
    "fpf(iters=40)",
    "k_fpf(every=40, iters=20)",
    "view_batch(views=2, strong=null)",
    "repeats(high=2)",
    "freeze_norm",
    "hypernet",
    "hypernet(form=rnn)",
    "l2m",
    "l2p",
    "dualprompt",
    "coda_prompt",
    "sensitivity",
    "only",
    "binary(anneal=constant, beta=1)",
    "ncm",
    "slda",
    "acil(features=pixels)",
    "ranpac(features=pixels, size=2000)",
    "fecam(features=pixels)",
]
MAIN = {
    "ncm": "sums", "slda": "scatter", "acil": "regression", "ranpac": "gram", "fecam": "scatters",
    "refresh": "noisy", "binary": "drawn", "l2m": "modulated", "clr": "adapted", "dst": "held",
    "consolidation": "held",
}  # fmt: skip
"""What a step of the main loop is, by the name of the strategy, where it is not one of plain SGD alone."""
ONCE = {"ranpac": 5 * 10}
"""Steps that count of strategies that pass over later passes, by name."""
SOLVED = {"ranpac": [("chosen", 240)], "fecam": [("inverted", 2)]}
"""Pieces of work at each boundary, with a number, by the name of the strategy."""
LABELS = {"clr", "dst", "trgp", "cuber", "hypernet"}
"""Strategies that need task labels."""
PROMPTED = {"l2p", "dualprompt", "coda_prompt"}
"""Strategies with prompts for a transformer."""
OWN = {"gdumb": "clipped"}
"""The same for steps in a part's own loop."""
VIT = {"patch": 7, "width": 64, "depth": 5, "mlp_ratio": 2.0}
"""The transformer of strategies with prompts: 16 tokens."""
MODELS: dict[str, dict[str, Any]] = {
    "clr": {"name": "cnn", "width": 8, "hidden": 32, "norm": "batch"},
    **{name: {"name": "vit", "attention_heads": 4, **VIT} for name in PROMPTED},
}
"""The models of strategies that need convolutions or a transformer."""
TARGET = 1.3
BATCH = 128


def made_up() -> UserObjects:
    """6000 random 28 x 28 images of ten classes."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (6000, 1, 28, 28), dtype=np.uint8)
    y = np.arange(6000) % 10
    return UserObjects(dataset=from_arrays("made-up", x, y, x[:200], y[:200]))


def ready(strategy: str, given: UserObjects) -> Run:
    """A run of the job that has not begun."""
    setting = "task" if strategy.partition("(")[0] in LABELS else "class"
    benchmark = {
        "name": "speed-strategies",
        "stream": {"scenario": "split", "setting": setting, "order": "fixed"},
        "model": MODELS.get(strategy.partition("(")[0], {"name": "mlp", "hidden": [400, 400]}),
        "training": {"optimizer": "sgd", "lr": 0.01, "batch_size": BATCH, "iterations": 40, "drop_last": True},
        "memory": {"size": 500},
        "reveal": ["length"],
        "evaluation": {"every": 0, "rows_per_task": 1},
    }
    cell = plan(benchmark, strategies=[strategy], seeds=1, dataset={"name": "made-up"}).cells[0]
    return prepare(cell, given=given)


def noted_bases(run: Run) -> list[list[tuple[int, int, int]]]:
    """A list that gets, at the end of each experience, outputs, fan-in and directions of all projected matrices."""
    noted: list[list[tuple[int, int, int]]] = []

    def note(learner: Any, _: Any) -> None:
        for part in run.chain.parts:
            bases = part.state.get("bases", part.state.get("directions"))
            if bases is not None:
                sizes = {name: place.stop - place.start for name, place in learner.slices.items()}
                shapes = {name: tuple(basis.shape) for name, basis in bases.items()}
                noted.append([(sizes[f"{name}.weight"] // shape[0], *shape) for name, shape in shapes.items()])

    run.chain.end_experience += (note,)
    return noted


def noted_scales(run: Run) -> list[list[tuple[int, list[int]]]]:
    """A list that gets, at each beginning of an experience, fan-in and sizes of scales of the layers that have some."""
    noted: list[list[tuple[int, list[int]]]] = []

    def note(*_: Any) -> None:
        for part in run.chain.parts:
            if "scales" in part.state:
                own = part.state["scales"][part.state["task"]]
                widths = {name: len(basis) for name, basis in part.state["directions"].items()}
                noted.append([(widths[name], [len(q) for q in relation["q"]]) for name, relation in own.items()])

    run.chain.begin_experience += (note,)
    return noted


def seconds(run: Run) -> float:
    """Wall time of a whole run."""
    began = perf_counter()
    run.train()
    return perf_counter() - began


def adapted_layers(widths: tuple[int, ...]) -> list[torch.nn.Module]:
    """The layers of the small convolutional network below its head, with a kernel for each channel."""
    layers: list[torch.nn.Module] = []
    for place, (a, b) in enumerate(pairwise(widths)):
        layers += [
            torch.nn.Conv2d(a, b, 3, padding=1, bias=False),
            torch.nn.Conv2d(b, b, 3, padding=1, groups=b, bias=False),
            torch.nn.BatchNorm2d(b),
            torch.nn.ReLU(),
            *([torch.nn.MaxPool2d(2)] if place % 2 else []),
        ]
    return [*layers, torch.nn.Flatten(), torch.nn.Linear(widths[-1] * 49, 32), torch.nn.ReLU()]


class Bare:
    """The passes of the floor in plain PyTorch, with their prices in seconds."""

    def __init__(self) -> None:
        sizes = (784, 400, 400, 10)
        layers = [m for a, b in pairwise(sizes) for m in (torch.nn.Linear(a, b), torch.nn.ReLU())]
        self.model = torch.nn.Sequential(*layers[:-1])
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01)
        self.heavy = torch.optim.SGD(self.model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-6)
        self.pool: list[torch.nn.Parameter] = []
        self.x = torch.randint(0, 256, (6000, 784), dtype=torch.uint8)
        self.y = torch.randint(0, 10, (6000,))
        self.expansion = torch.randn(784, 2048, dtype=torch.float64) / 28
        self.inverse = torch.eye(2048, dtype=torch.float64)
        self.products = torch.zeros(2000, 2000, dtype=torch.float64)
        self.sums_of_features = torch.zeros(2000, 10, dtype=torch.float64)
        self.convolutions = torch.nn.Sequential(*adapted_layers((1, 8, 8, 16, 16)), torch.nn.Linear(32, 10))
        self.descent = torch.optim.SGD(self.convolutions.parameters(), lr=0.01)
        self.masks = [torch.rand_like(parameter) < 0.8 for parameter in self.model.parameters()]
        self.gradients: dict[tuple[int, int], torch.Tensor] = {}
        self.bases: dict[int, torch.Tensor] = {}
        self.generators: dict[str, tuple[torch.nn.Module, torch.optim.Optimizer]] = {}
        self.transformer = ViT((1, 28, 28), 10, heads=4, **VIT)
        self.prompts: dict[str, list[torch.nn.Parameter]] = {}

    def rows(self, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        """A gathered and scaled batch."""
        index = torch.randint(0, 6000, (n,))
        return self.x[index].float().mul_(1 / 255), self.y[index]

    def step(self, n: int) -> None:
        """Forward, backward, optimiser step."""
        x, y = self.rows(n)
        self.optimizer.zero_grad(set_to_none=False)
        F.cross_entropy(self.model(x), y).backward()
        self.optimizer.step()

    def forward(self, n: int) -> None:
        """Forward only."""
        with torch.no_grad():
            self.model(self.rows(n)[0])

    def both(self, n: int) -> None:
        """Forward and backward, no step."""
        x, y = self.rows(n)
        torch.autograd.grad(F.cross_entropy(self.model(x), y), list(self.model.parameters()))

    def noisy(self, n: int) -> None:
        """A step, and a normal number for every weight."""
        self.step(n)
        for parameter in self.model.parameters():
            torch.empty_like(parameter).normal_()

    def drawn(self, n: int) -> None:
        """A step whose sums are drawn: means and variances of weights of ±1, two products a layer, and their slopes."""
        a, y = self.rows(n)
        fields = [layer.weight for layer in self.model if isinstance(layer, torch.nn.Linear)]
        self.optimizer.zero_grad(set_to_none=False)
        for depth, field in enumerate(fields):
            mean = torch.tanh(field)
            variance = (a * a) @ (1 - mean * mean).T / field.shape[1]
            z = a @ mean.T / field.shape[1] ** 0.5 + torch.randn(n, len(field)) * (variance + 1e-20).sqrt()
            a = z.relu() if depth < len(fields) - 1 else z
        F.cross_entropy(a, y).backward()
        self.optimizer.step()

    def modulated(self, n: int) -> None:
        """A step of layers with low-rank products of one member of a pool, and the cosines with its keys."""
        if not self.pool:
            shapes = [(30, 784)] + [s for a, b in ((784, 400), (400, 400)) for s in ((30, 8, a), (30, b, 8))]
            self.pool = [torch.nn.Parameter(0.01 * torch.randn(shape)) for shape in shapes]
            self.pooled = torch.optim.SGD([*self.model.parameters(), *self.pool], lr=0.01)
        keys, *pairs = self.pool
        x, y = self.rows(n)
        cosine = F.normalize(x, dim=1) @ F.normalize(keys, dim=1).T
        h, member = x, 7
        for layer, a, b in zip(self.model[:-1:2], pairs[::2], pairs[1::2], strict=True):
            h = torch.relu(layer(h) + 2 * (h @ a[member].T @ b[member].T))
        self.pooled.zero_grad(set_to_none=False)
        (F.cross_entropy(self.model[-1](h), y) - 0.5 * cosine[:, member].mean()).backward()
        self.pooled.step()

    def prompted(self, name: str) -> None:
        """A step of prompts for a frozen transformer on BATCH rows, with the pass of the query."""
        model, head = self.transformer, [self.transformer.head.weight, self.transformer.head.bias]
        if name not in self.prompts:
            model.requires_grad_(False)
            model.head.requires_grad_(True)
            shapes = {
                "l2p": [(10, 64), (10, 5, 64)],
                "dualprompt": [(10, 64), (2, 2, 5, 64), (10, 3, 2, 5, 64)],
                "coda_prompt": [(5, 100, 64), (5, 100, 64), (5, 100, 512)],
            }[name]
            self.prompts[name] = [torch.nn.Parameter(torch.rand(shape)) for shape in shapes]
        key, *prompts = self.prompts[name]
        optimizer = torch.optim.SGD([key, *prompts, *head], lr=0.01)
        x, y = self.rows(BATCH)
        with torch.no_grad():
            tokens = model.tokens(x.view(-1, 1, 28, 28))
            query = model.encode(tokens).mean(1)
        if name == "coda_prompt":  # 60 components, in the mean over five experiences
            rows = [tensor[:, :60] for tensor in (key, *prompts)]
            product = query @ (F.normalize(rows[0], dim=2) * rows[1]).mT  # (5, B, 60)
            weights = product / (query.square() @ rows[1].square().mT).sqrt()
            pulled = -sum((each @ each.mT - torch.eye(60)).square().sum() for each in rows)
            prefixes = {
                place: (each @ own).view(BATCH, 2, 4, 64).unbind(1)
                for place, (each, own) in enumerate(zip(weights, rows[2], strict=True))
            }
            features = model.encode(tokens, prefixes)
        else:
            cosine = F.normalize(query, dim=1) @ F.normalize(key, dim=1).T
        if name == "l2p":
            chosen = cosine.topk(5, dim=1)
            features = model.encode(torch.cat([prompts[0][chosen.indices].flatten(1, 2), tokens], dim=1))[:, :25]
            pulled = chosen.values.sum(1).mean()
        elif name == "dualprompt":
            general, own = prompts
            prefixes = {place: (general[place, :1], general[place, 1:]) for place in range(2)}
            prefixes |= {2 + place: (own[3, place, :1], own[3, place, 1:]) for place in range(3)}
            features, pulled = model.encode(tokens, prefixes), cosine[:, 3].mean()
        optimizer.zero_grad()
        (F.cross_entropy(model.head(features.mean(1)), y) - pulled).backward()
        optimizer.step()

    def generated(self, job: tuple[str, int]) -> None:
        """A step on BATCH rows with generated weights, and the regulariser on those of other tasks."""
        form, others = job
        shapes = [p.shape for p in self.model.parameters()]
        if form not in self.generators:
            made = Generator(form, sum(map(math.prod, shapes)))
            self.generators[form] = made, torch.optim.SGD(made.parameters(), lr=1e-4)
        generator, optimizer = self.generators[form]
        x, y = self.rows(BATCH)
        optimizer.zero_grad(set_to_none=False)
        weights = [p.view(s) for p, s in zip(generator(1)[0].split([s.numel() for s in shapes]), shapes, strict=True)]
        h = x
        for depth in range(0, len(weights), 2):
            h = F.linear(h if depth == 0 else h.relu(), weights[depth], weights[depth + 1])
        F.cross_entropy(h, y).backward()
        if others:
            (1e-6 * (generator(others) - 0.01).square().sum()).backward()
        optimizer.step()

    def adapted(self, n: int) -> None:
        """A step of a convolutional network with a kernel for each channel after its convolutions."""
        x, y = self.rows(n)
        self.descent.zero_grad(set_to_none=False)
        F.cross_entropy(self.convolutions(x.view(n, 1, 28, 28)), y).backward()
        self.descent.step()

    def held(self, n: int) -> None:
        """A step that leaves the weights of a mask as they are."""
        before = [parameter.detach().clone() for parameter in self.model.parameters()]
        self.step(n)
        for parameter, old, mask in zip(self.model.parameters(), before, self.masks, strict=True):
            parameter.data.copy_(torch.where(mask, old, parameter.data))

    def mask(self, share: float) -> None:
        """Masks at random, without the smallest weights, with as many others at random: once each for all weights."""
        for parameter in self.model.parameters():
            n = parameter.numel()
            torch.rand(n).topk(round(0.2 * n))
            parameter.detach().reshape(-1).abs().topk(round(share * n), largest=False)
            torch.rand(n).topk(round(share * n))

    def clipped(self, n: int) -> None:
        """A step with momentum, weight decay and a clipped gradient."""
        x, y = self.rows(n)
        self.heavy.zero_grad(set_to_none=False)
        F.cross_entropy(self.model(x), y).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 10.0)
        self.heavy.step()

    def sums(self, n: int) -> torch.Tensor:
        """Sums and counts of rows per class, in double precision."""
        x, y = self.rows(n)
        z = x.double()
        torch.zeros(10, 784, dtype=torch.float64).index_add_(0, y, z)
        torch.zeros(10, dtype=torch.float64).index_add_(0, y, torch.ones(n, dtype=torch.float64))
        return z

    def scatter(self, n: int) -> None:
        """The same, and the scatter matrix of the rows."""
        z = self.sums(n)
        z.T @ z

    def gram(self, n: int) -> None:
        """The Gram matrix of random features of the rows, in double precision, and their products with labels."""
        x, y = self.rows(n)
        h = (x.double() @ self.expansion[:, :2000]).relu_()
        self.products[:2000, :2000].addmm_(h.T, h)
        self.sums_of_features.index_add_(1, y, h.T)

    def scatters(self, n: int) -> None:
        """Normalised rows, and the scatter matrix of each of the two classes of an experience, in double precision."""
        z = self.sums(n)
        u = F.normalize(z, dim=1)
        for own in u.split(n // 2):
            apart = own - own.mean(0)
            apart.T @ apart

    def chosen(self, n: int) -> None:
        """The choice of a ridge by the error of n rows, and the solution with it."""
        h = torch.randn(n, 2000, dtype=torch.float64)
        gram = self.products + 1e-3 * torch.eye(2000, dtype=torch.float64)
        values, vectors = torch.linalg.eigh(gram - h.T @ h)
        seen, wanted = h @ vectors, vectors.T @ self.sums_of_features
        for power in range(-8, 9):
            seen @ (wanted / (values.clamp(min=0) + 10.0**power)[:, None])
        torch.cholesky_solve(self.sums_of_features, torch.linalg.cholesky_ex(gram)[0])

    def inverted(self, n: int) -> None:
        """Inverses of n positive definite matrices."""
        for _ in range(n):
            matrix = torch.eye(784, dtype=torch.float64) + 1e-3
            torch.cholesky_inverse(torch.linalg.cholesky_ex(matrix)[0])

    def regression(self, n: int) -> None:
        """The products of a recursive regression on random features of the rows, in double precision."""
        x, _ = self.rows(n)
        h = (x.double() @ self.expansion).relu_()
        moved = h @ self.inverse
        root = torch.linalg.cholesky(torch.eye(n, dtype=torch.float64) + moved @ h.T)
        moved = torch.linalg.solve_triangular(root, moved, upper=False)
        self.inverse.addmm_(moved.T, moved, alpha=-1e-9)

    def projection(self, matrices: list[tuple[int, int, int]]) -> None:
        """Two products of each gradient with the narrower of a basis and its complement."""
        for out, fan_in, width in matrices:
            gradient, basis = self.gradients[out, fan_in], self.bases[fan_in][:, : min(width, fan_in - width)]
            gradient.addmm_(gradient @ basis, basis.T, alpha=-1)

    def decomposition(self, matrices: list[tuple[int, int, int]]) -> None:
        """Principal directions of the inputs of each layer, in double precision."""
        for _, fan_in, _ in matrices:
            torch.linalg.svd(torch.randn(125, fan_in, dtype=torch.float64), full_matrices=False)

    def projections(self, noted: list[list[tuple[int, int, int]]], steps: int) -> float:
        """Seconds of the projections of a run, from the widths of bases after each experience."""
        for out, fan_in, _ in noted[0] if noted else ():
            self.gradients[out, fan_in] = torch.randn(out, fan_in)
            self.bases[fan_in] = torch.linalg.qr(torch.randn(fan_in, fan_in)).Q
        total = sum(steps * self.price("projection", matrices) for matrices in noted[:-1])
        return total + sum(self.price("decomposition", matrices, 5) for matrices in noted)

    def scaling(self, layers: list[tuple[int, list[int]]]) -> None:
        """Scaled inputs of each layer and their gradients, without one for the pixels, and steps of the matrices."""
        for fan_in, sizes in layers:
            x = torch.ones(BATCH, fan_in, requires_grad=fan_in != 784)
            basis, scales = self.bases[fan_in][:, : sum(sizes)], [torch.eye(r, requires_grad=True) for r in sizes]
            parts = (x @ basis).split(sizes, dim=1)
            changed = torch.cat([part @ q - part for part, q in zip(parts, scales, strict=True)], dim=1)
            output = x + changed @ basis.T
            wanted = [*scales, x] if x.requires_grad else scales
            for q, g in zip(scales, torch.autograd.grad(output, wanted, output), strict=False):
                q.data.sub_(g, alpha=0.01)

    def scalings(self, noted: list[list[tuple[int, list[int]]]], steps: float) -> float:
        """Seconds of the scaled inputs of a run, from the sizes of scales in each experience, and from its batches."""
        for layers in noted:
            for fan_in, sizes in layers:
                self.bases[fan_in] = torch.randn(fan_in, max(fan_in, sum(sizes)))
        return sum(steps * self.price("scaling", layers) for layers in noted if layers)

    def price(self, what: str, n: Any, repeats: int = 30) -> float:
        """Median seconds of one pass over n rows, or of another piece of work."""
        function, taken = getattr(self, what), []
        for _ in range(repeats):
            began = perf_counter()
            function(n)
            taken.append(perf_counter() - began)
        return statistics.median(taken)


class Generator(torch.nn.Module):
    """The hypernetwork of the floor, with as many weights as it generates.

    Args:
        form: Of chunks or an LSTM.
        d: Number of generated weights.
    """

    def __init__(self, form: str, d: int) -> None:
        super().__init__()
        self.d, width = d, 96 if form == "rnn" else 25
        fixed = 4 * 96 * (16 + 96 + 2) if form == "rnn" else 25 * 17 + 25 * 26
        chunk = (d - fixed) // (width + 1)
        self.tasks, self.chunks = (
            torch.nn.Parameter(torch.randn(5, 8)),
            torch.nn.Parameter(torch.randn(-(-d // chunk), 8)),
        )
        self.body: torch.nn.Module = torch.nn.LSTM(16, 96, batch_first=True)
        if form != "rnn":
            self.body = torch.nn.Sequential(
                torch.nn.Linear(16, 25), torch.nn.ELU(), torch.nn.Linear(25, 25), torch.nn.ELU()
            )
        self.last = torch.nn.Linear(width, chunk)
        torch.nn.init.normal_(self.last.weight, std=0.005)

    def forward(self, n: int) -> torch.Tensor:
        k = len(self.chunks)
        z = torch.cat([self.tasks[:n, None].expand(n, k, 8), self.chunks.expand(n, k, 8)], dim=2)
        z = self.body(z)[0] if isinstance(self.body, torch.nn.LSTM) else self.body(z)
        generated: torch.Tensor = self.last(z).flatten(1)[:, : self.d]
        return generated


def floor(run: Run, bare: Bare, strategy: str) -> float:
    """Seconds that the counted rows of a finished run of a strategy take in bare PyTorch."""
    name = strategy.partition("(")[0]
    if name == "hypernet":
        form = "rnn" if "rnn" in strategy else "chunks"
        return 40 * sum(bare.price("generated", (form, others)) for others in range(len(run.stream)))
    if name in PROMPTED:
        return run.cursor.step * bare.price("prompted", name)
    main, own_step = MAIN.get(name, "step"), OWN.get(name, "step")
    cost = run.learner.cost
    rows = cost.stream_rows + cost.replay_rows
    backward, forward = cost.extra_backward_rows, cost.extra_forward_rows - cost.extra_backward_rows
    updates = min(cost.steps, run.cursor.step) if backward else cost.steps  # several on a batch, if none is elsewhere
    steps = updates if rows else 0  # others were skipped
    own = cost.steps - steps  # in loops of parts, whose rows are then all of the further ones
    counted = min(steps, ONCE.get(name, steps))
    total = counted * bare.price(main, max(1, round(rows / max(1, steps)))) if steps else 0.0
    total += len(run.stream) * sum(bare.price(piece, n, 3) for piece, n in SOLVED.get(name, ()))
    total += sum(part.state.get("rewired", 0) for part in run.chain.parts) * bare.price("mask", 0.1, 5)
    if own:
        total += own * bare.price(own_step, max(1, round(backward / own)))
    elif backward:
        total += backward * bare.price("both", 512, 8) / 512
    return total + max(0, forward) * bare.price("forward", 512, 8) / 512


def main() -> None:
    """Time every strategy and its floor in turn, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--strategies", nargs="*", default=STRATEGIES)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    given, bare = made_up(), Bare()
    seconds(ready("naive", given)), bare.price("step", 256)  # first imports and caches
    ratios: dict[str, list[float]] = {name: [] for name in options.strategies}
    each: dict[str, list[float]] = {name: [] for name in options.strategies}
    for _ in range(options.rounds):
        for name in options.strategies:
            run = ready(name, given)
            noted, scales = noted_bases(run), noted_scales(run)
            taken = seconds(run)
            further = run.learner.cost.extra_backward_rows / BATCH / len(run.stream)  # batches, scaled too
            least = floor(run, bare, name) + bare.projections(noted, 40) + bare.scalings(scales, 40 + further)
            ratios[name].append(taken / least)
            each[name].append(1000 * taken / run.cursor.step)
    table = Table("strategy", "ms per iteration", "ratio to floor", "rounds", box=SIMPLE)
    for name, found in ratios.items():
        middle = statistics.median(found)
        mark = "" if middle <= TARGET else " *"
        spread = f"{min(found):.2f} to {max(found):.2f}"
        table.add_row(name, f"{statistics.median(each[name]):.2f}", f"{middle:.2f}{mark}", spread)
    Console().print(table)
    print(f"* above the target of {TARGET}")


if __name__ == "__main__":
    main()

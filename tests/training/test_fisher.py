"""Fisher information, against closed forms and a loop over rows with plain automatic differentiation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support import ready
from torch import nn
from torch.nn import functional as F

from clbench.core.rng import Generator
from clbench.families.class_mask import ClassMask
from clbench.families.classification import Classification
from clbench.models import make
from clbench.models.flat_weights import flatten
from clbench.models.output import Output
from clbench.models.wrap import wrap
from clbench.training.fisher import estimate

ESTIMATORS = ("exact", "sampled", "empirical", "batch")


def log_p(model: nn.Module, row: torch.Tensor, hidden: torch.Tensor | None) -> torch.Tensor:
    logits = model(row[None]).logits[0]
    return (logits if hidden is None else logits.masked_fill(hidden, -torch.inf)).log_softmax(0)  # (C,)


def square(model: nn.Module, scalar: torch.Tensor) -> torch.Tensor:
    gradients = torch.autograd.grad(scalar, list(model.parameters()), materialize_grads=True)
    return torch.cat([g.reshape(-1) for g in gradients]).square()


def row_by_row(model, x, y, estimator, hidden=None):
    """The definitions in the module's docstring, one row and one class at a time; the sum over rows, (P,)."""
    masks = [None] * len(x) if hidden is None else hidden.expand(len(x), hidden.shape[-1])
    if estimator == "batch":
        return square(model, -torch.stack([log_p(model, r, m)[t] for r, t, m in zip(x, y, masks, strict=True)]).mean())
    total = 0
    for row, label, mask in zip(x, y, masks, strict=True):
        if estimator == "empirical":
            total = total + square(model, log_p(model, row, mask)[label])
            continue
        p = log_p(model, row, mask).exp().tolist()
        for c, share in enumerate(p):
            if share > 0:
                total = total + share * square(model, log_p(model, row, mask)[c])
    return total


def ours(model, x, y, estimator, hidden=None, generator=None):
    flat = flatten(model)
    mask, family = ClassMask(None if hidden is None else ~hidden), Classification()
    made = estimate(model.eval(), flat, x, y, family=family, estimator=estimator, class_mask=mask, generator=generator)
    return made.total, made.backward


class Functional(nn.Module):
    """Its only linear layer is never called: the weights are used, normalised, in a product."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(6, 5), nn.Linear(5, 4, bias=False)

    def forward(self, x: torch.Tensor) -> Output:
        features = torch.tanh(self.body(x.flatten(1)))
        return Output(F.linear(F.normalize(features), F.normalize(self.head.weight)), features)


class Twice(nn.Module):
    """One layer is used twice in a forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.again, self.head = nn.Linear(6, 5), nn.Linear(5, 5), nn.Linear(5, 4)

    def forward(self, x: torch.Tensor) -> Output:
        features = torch.tanh(self.again(torch.tanh(self.again(self.body(x.flatten(1))))))
        return Output(self.head(features), features)


class Cosine(nn.Linear):
    """A linear layer by name only."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(F.normalize(x), F.normalize(self.weight), self.bias)


class Tied(nn.Module):
    """Two layers share their weights; a third has no influence on the logits."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.one, self.other = nn.Linear(6, 5), nn.Linear(5, 5), nn.Linear(5, 5)
        self.head, self.unused = nn.Linear(5, 4), nn.Linear(5, 2)
        self.other.weight = self.one.weight

    def forward(self, x: torch.Tensor) -> Output:
        features = torch.tanh(self.other(torch.tanh(self.one(self.body(x.flatten(1))))))
        self.unused(features)
        return Output(self.head(features), features)


def cosine() -> nn.Module:
    return wrap(nn.Sequential(nn.Flatten(), nn.Linear(6, 5), nn.Tanh(), Cosine(5, 4)), 4, shape=(6,))


def in_place() -> nn.Module:
    layers = (nn.Flatten(), nn.Linear(6, 5), nn.ReLU(inplace=True), nn.Linear(5, 5), nn.ReLU(inplace=True))
    return wrap(nn.Sequential(*layers, nn.Linear(5, 4)), 4, shape=(6,))


def normalised() -> nn.Module:
    layers = (nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Dropout(0.5), nn.Linear(5, 4))
    return wrap(nn.Sequential(nn.Flatten(), *layers), 4, shape=(6,))


MODELS = {
    "linear": lambda: make({"name": "mlp", "hidden": []}, (6,), 4),
    "mlp": lambda: make({"name": "mlp", "hidden": [5, 3], "activation": "tanh", "dropout": 0.5}, (6,), 4),
    "cnn": lambda: make({"name": "cnn", "width": 2, "hidden": 5}, (1, 4, 4), 4),
    "resnet with batch norm": lambda: make({"name": "resnet", "width": 2, "norm": "batch"}, (1, 4, 4), 4),
    "batch norm": normalised,
    "relu in place": in_place,
    "layer used twice": Twice,
    "weights used without their layer": Functional,
    "cosine head": cosine,
    "tied weights": Tied,
}
MASKS = {
    "all compete": None,
    "two hidden": torch.tensor([False, True, False, True]),
    "by row": torch.tensor([[False, True, False, True], [True, False, True, False]]).repeat(4, 1),
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("estimator", ["exact", "empirical", "batch"])
@pytest.mark.parametrize("name", MODELS)
def test_the_estimators_agree_with_a_loop_over_rows(name, estimator, mask):
    torch.manual_seed(0)
    model, hidden = MODELS[name]().eval(), MASKS[mask]
    x = torch.randn(8, *((1, 4, 4) if "cnn" in name or "resnet" in name else (6,)))
    y = torch.arange(8) % (4 if hidden is None else 2)
    if hidden is not None and hidden.dim() == 1:
        y = 2 * y
    expected = row_by_row(model, x, y, estimator, hidden)
    result, backward = ours(model, x, y, estimator, hidden)
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-8)
    competing = 4 if hidden is None else 2
    assert backward == (8 * competing if estimator == "exact" else 8)


def test_the_exact_fisher_of_a_two_class_linear_model_is_its_closed_form():
    # logits (w0 x, w1 x), p = sigmoid((w0 - w1) x): both weights have Fisher information p (1 - p) x²
    model = wrap(nn.Linear(1, 2, bias=False), 2, shape=(1,))
    with torch.no_grad():
        model.module.weight.copy_(torch.tensor([[0.3], [-0.5]]))
    x = torch.tensor([[1.0], [-2.0], [0.5]])
    p = 1 / (1 + np.exp(-0.8 * np.array([1.0, -2.0, 0.5])))
    closed = float((p * (1 - p) * np.array([1.0, 4.0, 0.25])).sum())
    result, _ = ours(model, x, torch.tensor([0, 1, 1]), "exact")
    assert result.tolist() == pytest.approx([closed, closed], rel=1e-5)


def test_the_exact_fisher_does_not_depend_on_the_labels():
    torch.manual_seed(0)
    model, x = MODELS["mlp"]().eval(), torch.randn(8, 6)
    one, other = (ours(model, x, torch.full((8,), c), "exact")[0] for c in (0, 3))
    assert torch.equal(one, other)


@pytest.mark.parametrize("mask", ["all compete", "two hidden"])
def test_the_sampled_estimator_converges_to_the_exact_one(mask):
    torch.manual_seed(0)
    model = MODELS["linear"]().eval()
    with torch.no_grad():
        model.head.weight.mul_(5)
    x, hidden = torch.randn(4, 6), MASKS[mask]
    exact, _ = ours(model, x, torch.zeros(4, dtype=torch.int64), "exact", hidden)
    many = x.repeat(5000, 1)
    sampled, _ = ours(model, many, torch.zeros(20000, dtype=torch.int64), "sampled", hidden, Generator(0, "s"))
    torch.testing.assert_close(sampled / 5000, exact, rtol=0.05, atol=0.005)
    assert (sampled / 5000 - exact).abs().max() > 1e-7


def test_sampled_labels_follow_the_uniform_numbers_through_the_cumulative_distribution():
    model = wrap(nn.Linear(1, 2, bias=False), 2, shape=(1,))
    with torch.no_grad():
        model.module.weight.copy_(torch.tensor([[np.log(3.0)], [0.0]]))  # p = (3/4, 1/4) at x = 1

    class Fixed(Generator):
        def uniform(self, n):
            return np.array([0.74, 0.76])

    result, _ = ours(model, torch.ones(2, 1), torch.zeros(2, dtype=torch.int64), "sampled", None, Fixed(0, ""))
    # label 0 has gradient ±1/4, label 1 has ±3/4
    assert result.tolist() == pytest.approx([1 / 16 + 9 / 16] * 2, rel=1e-5)


def test_the_batch_estimator_is_smaller_than_the_empirical_one_by_jensens_inequality():
    torch.manual_seed(0)
    model, x, y = MODELS["mlp"]().eval(), torch.randn(32, 6), torch.arange(32) % 4
    batch, empirical = (ours(model, x, y, e)[0] for e in ("batch", "empirical"))
    assert bool((batch <= empirical / 32 + 1e-9).all())
    assert batch.sum() < 0.5 * empirical.sum() / 32


# -------------------------------------------------------------------------------------------- learner.side_work.fisher


@pytest.mark.parametrize("estimator", ["exact", "empirical", "batch"])
def test_the_learner_averages_over_rows_or_batches(estimator):
    run = ready("naive", "training.batch_size=8")
    shown = run.trainer.enter(run.stream[0])
    index = shown.index[:, :20]
    x, y = run.learner._rows.present(index[0], index[3]), index[1]
    hidden = ~run.learner.classes.seen
    model = run.learner.model.eval()
    if estimator == "batch":
        pieces = [row_by_row(model, x[i : i + 8], y[i : i + 8], "batch", hidden) for i in (0, 8, 16)]
        expected = sum(pieces) / 3
    else:
        expected = row_by_row(model, x, y, estimator, hidden) / 20
    torch.testing.assert_close(run.learner.side_work.fisher(index, estimator=estimator), expected, rtol=1e-4, atol=1e-9)


def test_the_learner_uses_the_classes_of_each_rows_task_where_labels_are_revealed():
    run = ready("naive", "stream.setting=task")
    index = run.trainer.enter(run.stream[2]).index[:, :10]
    x, y = run.learner._rows.present(index[0], index[3]), index[1]
    hidden = torch.ones(10, dtype=torch.bool)
    hidden[list(run.stream.tasks[2].classes)] = False
    expected = row_by_row(run.learner.model.eval(), x, y, "exact", hidden) / 10
    torch.testing.assert_close(run.learner.side_work.fisher(index), expected, rtol=1e-4, atol=1e-9)


def test_the_fisher_is_taken_on_inputs_without_augmentation():
    plain, augmented = (ready("naive", f"training.augment={name}") for name in ("none", "crop-flip"))
    stream = ready("naive").stream
    ours, theirs = (run.learner.side_work.fisher(run.trainer.enter(stream[0]).index) for run in (plain, augmented))
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_fisher_does_not_depend_on_chunks_and_counts_its_cost(estimator):
    run = ready("naive", "training.batch_size=300")
    run.trainer.enter(run.stream[0])
    index = torch.cat([run.trainer.enter(e).index for e in run.stream], dim=1)  # 300 rows, more than one chunk
    before = run.learner.cost.extra_backward_rows
    whole = run.learner.side_work.fisher(index, estimator=estimator, generator=Generator(0, "s"))
    rows = run.learner.cost.extra_backward_rows - before
    assert rows == (3000 if estimator == "exact" else 300)
    if estimator in ("exact", "empirical"):
        halves = [run.learner.side_work.fisher(i, estimator=estimator) for i in index.split(150, dim=1)]
        torch.testing.assert_close(whole, sum(halves) / 2)
    assert bool((whole >= 0).all())
    assert float(whole.sum()) > 0

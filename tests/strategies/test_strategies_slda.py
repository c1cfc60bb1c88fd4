"""Streaming LDA, against the paper's update taken row by row, and against the discriminant of all rows at once."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from support import batches, ready, trained

from clbench.core.errors import Refused
from clbench.strategies.slda import Discriminants


def row_by_row(rows, classes, shrinkage, target):
    """The paper's formulas in a plain loop: weights (H, C) and offsets (C,)."""
    width = rows[0][0].size
    mean, count, sigma = np.zeros((classes, width)), np.zeros(classes), np.zeros((width, width))
    for t, (z, y) in enumerate(rows):
        delta = t / (t + 1) * np.outer(z - mean[y], z - mean[y])
        sigma = (t * sigma + delta) / (t + 1)
        mean[y] = (count[y] * mean[y] + z) / (count[y] + 1)
        count[y] += 1
    unit = np.trace(sigma) / width if target == "variance" else 1.0
    inverse = np.linalg.inv((1 - shrinkage) * sigma + shrinkage * unit * np.eye(width))
    return inverse @ mean.T, 0.5 * np.einsum("ch,hk,ck->c", mean, inverse, mean)


@pytest.mark.parametrize("target", ["identity", "variance"])
def test_batches_of_rows_are_taken_as_the_paper_takes_single_rows(target):
    seen = batches(ready("slda"))
    run = trained(f"slda(shrinkage=0.01, target={target})")
    rows = [(x.numpy().ravel().astype(float), int(y)) for batch in seen for x, y in zip(batch.x, batch.y, strict=True)]
    weight, offset = row_by_row(rows, 10, 0.01, target)
    test = run.stream.dataset.test
    x = torch.from_numpy(test.x).float() * run.stream.dataset.scale
    run.learner.scratch.clear()
    told = run.trainer.readout.output(x, None).logits.numpy()
    by_hand = x.flatten(1).numpy().astype(float) @ weight - offset
    assert np.allclose(told, by_hand, rtol=1e-4, atol=1e-3)  # told in float32
    assert (told.argmax(1) == by_hand.argmax(1)).all()


def test_it_predicts_nearly_as_linear_discriminant_analysis_of_all_rows():
    """Not the same: the paper's Σ counts a class's first row as if its mean were 0, and every row by t / (t + 1)."""
    run = trained("slda(shrinkage=0.01)", "stream.dataset.train_rows=1000")
    rows = np.concatenate([experience.rows for experience in run.stream])
    data = run.stream.dataset
    x, y = data.train.x[rows].reshape(len(rows), -1) * data.scale, data.train.y[rows]
    other = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.01, priors=np.full(10, 0.1)).fit(x, y)
    z = data.test.x.reshape(len(data.test), -1) * data.scale
    asked = torch.from_numpy(data.test.x).float() * data.scale
    run.learner.scratch.clear()
    ours = run.trainer.readout.output(asked, None).logits.argmax(1).numpy()
    assert (ours == other.predict(z)).mean() > 0.95
    assert (ours == data.test.y).mean() > 0.9


def scores(part, learner, z, y, asked):
    """What a part makes of features, having seen rows one batch after another."""
    for rows, labels in zip(z.split(7), y.split(7), strict=True):
        part.see = lambda learner, x: x
        part.observe(learner, SimpleNamespace(x=rows, y=labels))
    learner.scratch.clear()
    return part.read(learner, asked).logits


def test_the_scale_of_the_features_changes_nothing_but_where_the_target_is_the_identity():
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(3).repeat(20)
    z = (
        torch.randn(60, 5, generator=generator, dtype=torch.float64) * torch.tensor([1.0, 0.1, 2.0, 0.01, 1.0])
        + y[:, None]
    )
    asked = torch.randn(30, 5, generator=generator, dtype=torch.float64) + 1
    learner = SimpleNamespace(n_outputs=3, scratch={})
    apart = {}
    for target in ("variance", "identity"):
        one, other = (
            scores(Discriminants(shrinkage=0.1, target=target), learner, factor * z, y, factor * asked)
            for factor in (1.0, 1000.0)
        )
        apart[target] = float((one - other).abs().max())
    assert apart["variance"] < 1e-3 < 0.1 < apart["identity"]


def test_one_row_alone_is_read_although_nothing_varies_yet():
    learner = SimpleNamespace(n_outputs=2, scratch={})
    z = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
    told = scores(Discriminants(), learner, z, torch.tensor([1]), z)
    assert told.argmax(1).tolist() == [1]
    assert bool(told.isfinite().all())


def test_its_shrinkage_is_that_of_scikit_learn():
    """Both shrink towards the mean variance; another ε would be another classifier."""
    run = trained("slda(shrinkage=0.3)", "stream.dataset.train_rows=1000")
    rows = np.concatenate([experience.rows for experience in run.stream])
    data = run.stream.dataset
    x, y = data.train.x[rows].reshape(len(rows), -1) * data.scale, data.train.y[rows]
    asked = torch.from_numpy(data.test.x).float() * data.scale
    ours = run.trainer.readout.output(asked, None).logits.argmax(1).numpy()
    z = data.test.x.reshape(len(data.test), -1) * data.scale
    alike = {}
    for shrinkage in (0.3, 1e-4):
        other = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage, priors=np.full(10, 0.1)).fit(x, y)
        alike[shrinkage] = (ours == other.predict(z)).mean()
    assert alike[0.3] > 0.97
    assert alike[0.3] > alike[1e-4]


def test_the_papers_own_shrinkage_can_be_had():
    with pytest.raises(Refused, match="target"):
        ready("slda(target=none)")
    (part,) = ready("slda(shrinkage=1e-4, target=identity)").chain.parts
    assert (part.shrinkage, part.target) == (1e-4, "identity")


def test_before_any_row_it_says_nothing():
    run = ready("slda")
    assert not run.trainer.readout.output(torch.ones(3, *run.stream.dataset.shape), None).logits.any()

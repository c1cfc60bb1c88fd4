"""Streaming LDA, against the paper's update taken row by row, and against the discriminant of all rows at once."""

import numpy as np
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from support import batches, ready, trained


def row_by_row(rows, classes, shrinkage):
    """The paper's formulas in a plain loop: weights (H, C) and offsets (C,)."""
    width = rows[0][0].size
    mean, count, sigma = np.zeros((classes, width)), np.zeros(classes), np.zeros((width, width))
    for t, (z, y) in enumerate(rows):
        delta = t / (t + 1) * np.outer(z - mean[y], z - mean[y])
        sigma = (t * sigma + delta) / (t + 1)
        mean[y] = (count[y] * mean[y] + z) / (count[y] + 1)
        count[y] += 1
    inverse = np.linalg.inv((1 - shrinkage) * sigma + shrinkage * np.eye(width))
    return inverse @ mean.T, 0.5 * np.einsum("ch,hk,ck->c", mean, inverse, mean)


def test_batches_of_rows_are_taken_as_the_paper_takes_single_rows():
    seen = batches(ready("slda(shrinkage=0.01)"))
    run = trained("slda(shrinkage=0.01)")
    rows = [(x.numpy().ravel().astype(float), int(y)) for batch in seen for x, y in zip(batch.x, batch.y, strict=True)]
    weight, offset = row_by_row(rows, 10, 0.01)
    test = run.stream.dataset.test
    x = torch.from_numpy(test.x).float() * run.stream.dataset.scale
    run.learner.scratch.clear()
    told = run.learner.output(x, None).logits.numpy()
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
    ours = run.learner.output(asked, None).logits.argmax(1).numpy()
    assert (ours == other.predict(z)).mean() > 0.95
    assert (ours == data.test.y).mean() > 0.9


def test_before_any_row_it_says_nothing():
    run = ready("slda")
    assert not run.learner.output(torch.ones(3, *run.stream.dataset.shape), None).logits.any()

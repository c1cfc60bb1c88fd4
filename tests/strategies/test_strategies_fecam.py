"""FeCAM, against its formulas in numpy: covariances by class, shrinkage, correlation, and the shared form."""

import numpy as np
import pytest
import torch
from support import trained
from test_strategies_ranpac import stream_rows

from clbench.core.errors import Refused


def shrunk(covariance, first, second):
    """Σ + α1 v I + α2 c (1 - I)."""
    width = len(covariance)
    variance, others = np.diagonal(covariance).mean(), covariance[~np.eye(width, dtype=bool)].mean()
    return covariance + first * variance * np.eye(width) + second * others * (1 - np.eye(width))


def distances(u, mean, inverse):
    return np.einsum("nf,fg,ng->n", u - mean, inverse, u - mean)


def normalised(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.mark.parametrize(("shrink", "times", "power"), [((1, 0), 1, 1.0), ((1, 1), 2, 0.5), ((0.3, 0), 1, 1.0)])
@pytest.mark.parametrize("batch_size", [4, 40])
def test_scores_are_those_of_the_formula(shrink, times, power, batch_size):
    text = f"fecam(features=pixels, shrink=[{shrink[0]}, {shrink[1]}], times={times}, power={power})"
    run = trained(text, f"training.batch_size={batch_size}", "evaluation.every=0")
    x, y = stream_rows(run)
    u = normalised(x) ** power
    wanted = np.empty((30, 10))
    for label in range(10):
        covariance = np.cov(u[y == label].T)
        for _ in range(times):
            covariance = shrunk(covariance, *shrink)
        deviation = np.sqrt(np.diagonal(covariance))
        inverse = np.linalg.pinv(covariance / np.outer(deviation, deviation))
        wanted[:, label] = -distances(u[:30], u[y == label].mean(0), inverse)
    np.testing.assert_allclose(run_scores(run, x[:30]), wanted, rtol=1e-4, atol=1e-5)


def run_scores(run, x):
    part, learner = run.chain.parts[0], run.learner
    learner.scratch.clear()
    return part.answer(learner, torch.from_numpy(x.astype(np.float32)).view(-1, 1, 8, 8), None).logits.numpy()


def test_with_endless_shrinkage_it_is_the_nearest_mean_of_normalised_features():
    run = trained("fecam(features=pixels, shrink=[1e12, 0])", "evaluation.every=0")
    x, y = stream_rows(run)
    u = normalised(x)
    means = np.stack([u[y == label].mean(0) for label in range(10)])
    wanted = -np.square(u[:40, None] - means).sum(2)
    np.testing.assert_allclose(run_scores(run, x[:40]), wanted, rtol=1e-4)


def test_the_shared_form_mixes_the_covariances_of_experiences_by_their_numbers_of_new_classes():
    run = trained("fecam(features=pixels, form=shared)", "evaluation.every=0", "stream.experiences=3")
    x, y = stream_rows(run)
    u = normalised(x)
    shared, known = None, 0
    for number in range(3):
        own, labels = stream_rows(run, number)
        own = shrunk(np.cov(normalised(own).T), 1, 0)
        new = len(np.unique(labels))
        shared = own if shared is None else (known * shared + new * own) / (known + new)
        known += new
    inverse = np.linalg.pinv(shared)
    wanted = np.stack([-distances(u[:30], u[y == label].mean(0), inverse) for label in range(10)], 1)
    np.testing.assert_allclose(run_scores(run, x[:30]), wanted, rtol=1e-4, atol=1e-4)


def test_the_shared_form_needs_boundaries():
    from clbench.adapters.run_setup import Skip

    with pytest.raises(Skip, match="needs visible boundaries"):
        trained("fecam(features=pixels, form=shared)", "stream.boundaries=false")
    trained("fecam(features=pixels)", "stream.boundaries=false")


def test_a_power_above_1_is_refused():
    with pytest.raises(Refused, match="power"):
        trained("fecam(power=2)")

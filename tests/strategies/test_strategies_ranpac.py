"""RanPAC, against ridge regression by numpy on all samples at once, and the search of the ridge by brute force."""

import numpy as np
import pytest
from support import trained

from clbench.core.errors import Refused
from clbench.strategies.ranpac import RIDGES

ORDER = "[3, 8, 1, 0, 9, 2, 6, 5, 7, 4]"


def stream_rows(run, experience=None):
    """All samples of a stream or an experience in their order of learning, flattened and scaled, and their labels."""
    chosen = run.stream if experience is None else [run.stream[experience]]
    rows = np.concatenate([each.rows for each in chosen])
    data = run.stream.dataset
    x = data.train.x[rows].reshape(len(rows), -1).astype(np.float32) * np.float32(data.scale)
    return x.astype(np.float64), data.train.y[rows]


def ridge_regression(h, y, ridge, classes=10):
    """W = (HᵀH + λ I)⁻¹ HᵀY by numpy."""
    return np.linalg.solve(h.T @ h + ridge * np.eye(h.shape[1]), h.T @ np.eye(classes)[y])


@pytest.mark.parametrize("batch_size", [1, 16, 300])
@pytest.mark.parametrize("changes", [("stream.experiences=5",), ("stream.experiences=2", f"stream.order={ORDER}")])
def test_weights_are_those_of_ridge_regression_on_all_samples(batch_size, changes):
    run = trained(
        "ranpac(features=pixels, size=96, ridge=0.5)",
        f"training.batch_size={batch_size}",
        "evaluation.every=0",
        *changes,
    )
    part = run.chain.parts[0]
    x, y = stream_rows(run)
    h = np.maximum(x @ part.state["projection"].numpy(), 0)
    assert np.abs(part.weights().numpy() - ridge_regression(h, y, 0.5)).max() < 1e-8


def test_without_a_projection_and_with_a_vanishing_ridge_it_is_least_squares():
    run = trained("ranpac(features=pixels, projection=false, ridge=1e-9)", "evaluation.every=0")
    x, y = stream_rows(run)
    part = run.chain.parts[0]
    wanted = np.linalg.lstsq(x, np.eye(10)[y], rcond=None)[0]
    assert np.abs(x @ part.weights().numpy() - x @ wanted).max() < 1e-5


def test_the_ridge_has_the_smallest_error_on_the_last_fifth_of_the_samples_of_the_last_experience():
    run = trained(
        "ranpac(features=pixels, size=80)", "evaluation.every=0", "stream.experiences=2", "training.batch_size=7"
    )
    state = run.chain.parts[0].state
    learned = order_of(run, 1)
    x, y = (values[learned] for values in stream_rows(run, 1))
    h, cut = np.maximum(x @ state["projection"].numpy(), 0), int(0.8 * len(y))
    errors = [
        np.square(h[cut:] @ ridge_regression(h[:cut], y[:cut], ridge) - np.eye(10)[y[cut:]]).sum() for ridge in RIDGES
    ]
    assert state["chosen"] == RIDGES[int(np.argmin(errors))]
    assert 1e-6 < state["chosen"] < 1e6
    assert {"earlier", "held", "met", "split"} & state.keys() == set()


def order_of(run, experience):
    """The order in which the samples of an experience were learned, from the generator for orders."""
    from clbench.core.rng import Generator

    order = Generator(run.cell.seed, "order")
    found = [order.permutation(len(each)) for each in run.stream]
    return found[experience]


def test_further_passes_change_nothing():
    once, twice = (
        trained("ranpac(features=pixels, size=64)", "evaluation.every=0", f"training.epochs={n}") for n in (1, 2)
    )
    np.testing.assert_allclose(once.chain.parts[0].state["gram"], twice.chain.parts[0].state["gram"], atol=1e-9)
    assert once.chain.parts[0].state["count"].sum() == twice.chain.parts[0].state["count"].sum()


def test_a_search_needs_boundaries_and_a_number_does_not():
    from clbench.adapters.run_setup import Skip

    with pytest.raises(Skip, match="needs visible boundaries"):
        trained("ranpac(features=pixels, size=32)", "stream.boundaries=false")
    trained("ranpac(features=pixels, size=32, ridge=1)", "stream.boundaries=false")


def test_a_ridge_of_zero_is_refused():
    with pytest.raises(Refused, match="ridge"):
        trained("ranpac(ridge=0)")


def test_it_learns_digits_better_than_nearest_means():
    found = {
        strategy: trained(f"{strategy}", "evaluation.schedule=ends").evaluator.trace().score[-1].mean()
        for strategy in ("ranpac(features=pixels, size=400)", "ncm")
    }
    assert found["ranpac(features=pixels, size=400)"] > found["ncm"] + 0.02

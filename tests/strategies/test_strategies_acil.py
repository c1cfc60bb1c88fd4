"""Analytic class-incremental learning, against the closed form of ridge regression on all samples at once."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support import ready, trained

from clbench.core.errors import Refused
from clbench.core.rng import Generator
from clbench.data.arrays import from_arrays
from clbench.strategies.acil import BLOCK, AnalyticHead


def closed_form(z, y, expansion, gamma, classes):
    """W = (HᵀH + γ I)⁻¹ HᵀY by numpy, of H = max(z V, 0)."""
    h = np.maximum(z @ expansion, 0)
    return np.linalg.solve(h.T @ h + gamma * np.eye(h.shape[1]), h.T @ np.eye(classes)[y])


def stream_rows(run):
    """All samples of a stream, flattened and scaled, and their labels."""
    rows = np.concatenate([experience.rows for experience in run.stream])
    data = run.stream.dataset
    return data.train.x[rows].reshape(len(rows), -1).astype(np.float32) * np.float32(data.scale), data.train.y[rows]


def state_of(run):
    """What the part of a run has learned, as arrays of numpy."""
    return {name: value.numpy() for name, value in run.chain.parts[0].state.items()}


@pytest.mark.parametrize("batch_size", [1, 16, 300])
@pytest.mark.parametrize("order", ["[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]", "[3, 8, 1, 0, 9, 2, 6, 5, 7, 4]"])
def test_weights_are_those_of_ridge_regression_on_all_samples_for_any_batch_size_and_order(batch_size, order):
    changes = (f"training.batch_size={batch_size}", f"stream.order={order}", "evaluation.every=0")
    run = trained("acil(features=pixels, expansion=64)", *changes)
    state, (x, y) = state_of(run), stream_rows(run)
    wanted = closed_form(x.astype(np.float64), y, state["expansion"], 0.1, 10)
    assert np.abs(state["weight"] - wanted).max() < 1e-8
    h = np.maximum(x.astype(np.float64) @ state["expansion"], 0)
    assert np.abs(state["inverse"] @ (h.T @ h + 0.1 * np.eye(64)) - np.eye(64)).max() < 1e-8


def twenty_classes():
    """400 random samples of 20 classes, around a point for each."""
    rng = np.random.default_rng(0)
    y = np.arange(400) % 20
    x = rng.normal(0, 40, (400, 1, 5, 5)) + rng.uniform(60, 200, (20, 1, 5, 5))[y]
    x = x.clip(0, 255).astype(np.uint8)
    return from_arrays("twenty", x, y, x[:100], y[:100])


def test_twenty_experiences_equal_one():
    runs = [
        trained(
            "acil(features=pixels, expansion=50)",
            f"stream.experiences={experiences}",
            "evaluation.every=0",
            dataset=twenty_classes(),
        )
        for experiences in (20, 1)
    ]
    assert [len(run.stream) for run in runs] == [20, 1]
    many, one = map(state_of, runs)
    assert np.array_equal(many["expansion"], one["expansion"])
    assert np.abs(many["weight"] - one["weight"]).max() < 1e-8
    assert np.abs(many["inverse"] - one["inverse"]).max() < 1e-8


def fed(part, batches, classes=3):
    """What a part has learned from batches of features and labels."""
    part.generator = Generator(0, "test")
    part.see = lambda learner, x: x
    for z, y in batches:
        part.observe(SimpleNamespace(n_outputs=classes), SimpleNamespace(x=z, y=y))
    return part.state


def test_a_batch_of_thousands_of_samples_gives_the_weights_of_small_ones():
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(2 * BLOCK + 77, 6, generator=generator, dtype=torch.float64)
    y = torch.randint(0, 3, (len(z),), generator=generator)
    large = fed(AnalyticHead(expansion=40), [(z, y)])
    small = fed(AnalyticHead(expansion=40), zip(z.split(10), y.split(10), strict=True))
    wanted = closed_form(z.numpy(), y.numpy(), large["expansion"].numpy(), 0.1, 3)
    assert np.abs(large["weight"].numpy() - wanted).max() < 1e-8
    assert np.abs(small["weight"].numpy() - wanted).max() < 1e-8
    assert large["count"].tolist() == torch.bincount(y).tolist()


def test_one_sample_in_one_dimension_is_as_by_hand():
    """h = 2 and γ = 4: R = 1 / (4 + 4), and the weight of its class is 2 / 8."""
    part = AnalyticHead(expansion=1, gamma=4.0)
    part.state.update(
        expansion=torch.ones(1, 1, dtype=torch.float64),
        inverse=torch.full((1, 1), 0.25, dtype=torch.float64),
        weight=torch.zeros(1, 3, dtype=torch.float64),
        count=torch.zeros(3, dtype=torch.float64),
    )
    state = fed(part, [(torch.tensor([[2.0]], dtype=torch.float64), torch.tensor([1]))])
    assert state["inverse"].item() == pytest.approx(1 / 8, abs=1e-15)
    assert state["weight"].tolist() == [[0.0, pytest.approx(0.25, abs=1e-15), 0.0]]


def test_the_expansion_is_uniform_in_one_over_the_root_of_the_width_and_does_not_change():
    run = trained("acil(features=pixels, expansion=500)", "evaluation.every=0")
    drawn = state_of(run)["expansion"]
    assert drawn.shape == (64, 500)
    assert np.abs(drawn).max() <= 1 / 8
    assert drawn.std() == pytest.approx(1 / 8 / np.sqrt(3), rel=0.02)
    assert abs(drawn.mean()) < 0.002
    other = trained("acil(features=pixels, expansion=500, gamma=10)", "stream.order=[9, 8, 7, 6, 5, 4, 3, 2, 1, 0]")
    assert np.array_equal(state_of(other)["expansion"], drawn)


def test_predictions_are_those_of_the_regression_and_classes_without_samples_rank_last():
    run = ready("acil(features=pixels, expansion=64)")
    part = run.chain.parts[0]
    data = run.stream.dataset
    x = data.train.x[data.train.y < 4][:60]
    y = data.train.y[data.train.y < 4][:60]
    z = torch.from_numpy(x).float().flatten(1).double() * data.scale
    part.meet(run.learner, z)
    part.state["count"].index_add_(0, torch.from_numpy(y), torch.ones(60, dtype=torch.float64))
    part.regress(part.expand(z), torch.from_numpy(y))
    scores = part.read(run.learner, z).logits
    wanted = np.maximum(z.numpy() @ part.state["expansion"].numpy(), 0) @ part.state["weight"].numpy()
    assert np.allclose(scores[:, :4].numpy(), wanted[:, :4], atol=1e-5)
    assert (scores[:, 4:].max(1).values < scores[:, :4].min(1).values).all()
    assert (scores.argmax(1).numpy() == y).mean() > 0.95


def test_features_are_those_of_the_benchmarks_model_which_stays_as_it_was():
    before, run = ready("acil(expansion=64)"), trained("acil(expansion=64)", "evaluation.every=0")
    assert torch.equal(before.learner.w, run.learner.w)
    x, y = stream_rows(run)
    with torch.no_grad():
        features = run.learner.model(torch.from_numpy(x).view(len(x), *run.stream.dataset.shape)).features
    state = state_of(run)
    assert state["expansion"].shape == (16, 64)
    wanted = closed_form(features.double().numpy(), y, state["expansion"], 0.1, 10)
    assert np.abs(state["weight"] - wanted).max() < 1e-5  # features of other batches differ in their last float32 bit


def test_before_any_sample_it_says_nothing():
    run = ready("acil")
    assert not run.trainer.readout.output(torch.ones(3, *run.stream.dataset.shape), None).logits.any()


@pytest.mark.parametrize("wrong", ["gamma=0", "expansion=0", "features=layers"])
def test_settings_without_a_meaning_are_refused(wrong):
    with pytest.raises(Refused, match=wrong.partition("=")[0]):
        ready(f"acil({wrong})")


def test_other_parts_may_only_arrange_samples():
    run = trained("er + acil(features=pixels, expansion=32)", "evaluation.every=0")
    assert run.learner.cost.replay_rows > 0
    assert state_of_last(run)["count"].sum() == run.learner.cost.stream_rows + run.learner.cost.replay_rows
    with pytest.raises(Refused, match="cannot be joined"):
        ready("acil + ewc(strength=1)")


def state_of_last(run):
    """What the last part of a run has learned."""
    return run.chain.parts[-1].state


@pytest.mark.parametrize("features", ["pixels", "model"])
def test_it_predicts_better_than_means_and_discriminants_of_the_same_features(features):
    changes = (
        "stream.dataset.train_rows=1000",
        "evaluation.every=0",
        "evaluation.rows_per_task=all",
        "model.hidden=[40]",
    )
    scores = {}
    for name in ("acil", "slda", "ncm"):
        settings = {"acil": f"features={features}, expansion=512"}.get(name, f"features={features}")
        scores[name] = np.nanmean(trained(f"{name}({settings})", *changes).evaluator.trace().score[-1])
    assert scores["acil"] > scores["slda"] > scores["ncm"]
    assert scores["acil"] > 0.93

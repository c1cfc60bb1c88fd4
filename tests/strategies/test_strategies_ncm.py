"""Nearest class mean, against means worked out at once."""

import numpy as np
import pytest
import torch
from support import SMALL, ready, trained

from clbench.core.errors import Refused
from clbench.models.output import Output
from clbench.strategies.strategy import Strategy


def train_rows(run):
    """All rows that a stream shows, flattened and scaled, and their labels."""
    rows = np.concatenate([experience.rows for experience in run.stream])
    data = run.stream.dataset
    return data.train.x[rows].reshape(len(rows), -1) * data.scale, data.train.y[rows]


def test_means_are_those_of_all_rows_of_a_class():
    run = trained("ncm")
    x, y = train_rows(run)
    state = run.chain.parts[0].state
    for c in range(10):
        assert np.allclose(state["mean"][c].numpy(), x[y == c].mean(0), atol=1e-6)  # inputs are float32
        assert state["count"][c] == (y == c).sum()


def test_the_class_whose_mean_is_nearest_is_predicted():
    run = trained("ncm")
    x, y = train_rows(run)
    means = np.stack([x[y == c].mean(0) for c in range(10)])
    test = run.stream.dataset.test
    z = test.x.reshape(len(test), -1) * run.stream.dataset.scale
    nearest = ((z[:, None] - means[None]) ** 2).sum(-1).argmin(1)
    asked = torch.from_numpy(test.x).float() * run.stream.dataset.scale
    assert run.trainer.readout.output(asked, None).logits.argmax(1).tolist() == nearest.tolist()


def test_classes_that_were_never_seen_rank_behind_all_others():
    run = ready("ncm")
    part = run.chain.parts[0]
    z = torch.tensor([[0.0, 1.0], [9.0, 9.0]], dtype=torch.float64)
    part.meet(run.learner, z)
    part.move(z[:1], torch.tensor([3]))
    for row in part.read(run.learner, z).logits:
        assert row.argmax() == 3
    assert torch.isfinite(part.read(run.learner, z).logits).all()


def test_the_order_of_rows_changes_nothing():
    forwards, backwards = trained("ncm"), trained("ncm", "stream.order=[9, 8, 7, 6, 5, 4, 3, 2, 1, 0]")
    ours, theirs = (run.chain.parts[0].state["mean"] for run in (forwards, backwards))
    assert torch.allclose(ours, theirs, atol=1e-12)


def test_features_are_those_of_the_benchmarks_model_which_stays_as_it_was():
    before, run = ready("ncm(features=model)"), trained("ncm(features=model)")
    assert torch.equal(before.learner.w, run.learner.w)
    x, y = train_rows(run)
    with torch.no_grad():
        output: Output = run.learner.model(torch.from_numpy(x).float().reshape(-1, *run.stream.dataset.shape))
    features = output.features.numpy()
    for c in range(10):
        mean = run.chain.parts[0].state["mean"][c].numpy()
        assert np.allclose(mean, features[y == c].mean(0), atol=1e-6)


def test_rehearsal_may_stand_beside_it_and_a_penalty_may_not():
    Strategy.parse("er + ncm")
    with pytest.raises(Refused, match="ncm and ewc cannot be joined: the first makes its own step"):
        Strategy.parse("ewc + ncm", SMALL["defaults"])


def test_cosines_are_those_of_samples_and_means():
    run = trained("ncm(metric=cosine)", "evaluation.every=0", "training.batch_size=7")
    data = run.stream.dataset
    rows = np.concatenate([experience.rows for experience in run.stream])
    x = data.train.x[rows].reshape(len(rows), -1).astype(np.float64) * data.scale
    y = data.train.y[rows]
    means = np.stack([x[y == label].mean(0) for label in range(10)])
    wanted = x[:20] @ means.T / np.linalg.norm(x[:20], axis=1)[:, None] / np.linalg.norm(means, axis=1)
    answered = run.chain.parts[0].answer(run.learner, torch.from_numpy(x[:20].astype(np.float32)), None).logits
    np.testing.assert_allclose(answered.numpy(), wanted, atol=1e-6)


def test_a_sample_of_zeros_has_the_lowest_cosine_for_all_classes_and_an_alarm():
    run = trained("ncm(metric=cosine)", "evaluation.every=0")
    part, learner = run.chain.parts[0], run.learner
    answered = part.answer(learner, torch.zeros(2, 1, 8, 8), None).logits
    assert torch.equal(answered, torch.full((2, 10), -1.0))
    assert part.self_checks(learner) == []
    part.state["zeros"] = torch.tensor(3)
    assert part.self_checks(learner)[0].startswith("3 training samples have features of zeros only")


def test_the_euclidean_metric_is_no_part_of_the_cell():
    assert Strategy.parse("ncm(metric=euclidean)") == Strategy.parse("ncm")
    assert "metric" not in str(Strategy.parse("ncm"))
    assert Strategy.parse("ncm(metric=cosine)") != Strategy.parse("ncm")

"""A strategy of ours as a classifier of scikit-learn."""

import pickle
import random

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from clbench.adapters.sklearn import ContinualClassifier

EXPECTED_FAILURES = {
    "check_methods_subset_invariance": "asks for 1e-7; float32 sums of a batch differ by more with the rows beside it",
}


@pytest.mark.filterwarnings("ignore:Skipping check")
@parametrize_with_checks([ContinualClassifier()], expected_failed_checks=lambda _: EXPECTED_FAILURES)
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


def digits(classes, *, start=0, stop=800):
    x, y = load_digits(return_X_y=True)
    x, y = x[start:stop] / 16, y[start:stop]
    chosen = np.isin(y, classes)
    return x[chosen], y[chosen]


def after_five_calls(strategy, **settings):
    """ACC on all digits of a strategy that is shown two digits a call."""
    model = ContinualClassifier(strategy, random_state=0, epochs=3, **settings)
    for first in range(0, 10, 2):
        model.partial_fit(*digits([first, first + 1]), classes=range(10))
    return model.score(*digits(range(10), start=800, stop=1400)), model


def test_calls_are_experiences_naive_forgets_and_replay_does_not():
    naive, _ = after_five_calls("naive")
    er, model = after_five_calls("er")
    assert naive < 0.3
    assert er > naive + 0.3
    assert model._stream.number == 5
    assert len(model._stream.y) <= 200 + len(digits([8, 9])[1])  # rows in memory, and those of the last call


def test_a_penalty_acts_across_calls():
    plain, held = (after_five_calls(s)[1]._stream.learner.w for s in ("naive", "l2(strength=10)"))
    assert not torch.equal(plain, held)


@pytest.mark.parametrize("strategy", ["derpp(alpha=0.5, beta=0.5)", "icarl", "ncm", "er + ewc(strength=1)"])
def test_strategies_that_keep_something_work_across_calls(strategy):
    score, _ = after_five_calls(strategy)
    assert score > 0.5


def test_it_is_the_same_twice_and_leaves_the_global_generators_alone():
    before = torch.random.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    x, y = digits([0, 1, 2])
    one, other = (ContinualClassifier(epochs=2, random_state=3).fit(x, y).decision_function(x) for _ in range(2))
    assert np.array_equal(one, other)
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert before[1] == np.random.get_state()[1].tolist()  # noqa: NPY002
    assert before[2] == random.getstate()


@pytest.mark.parametrize("strategy", ["er", "derpp(alpha=0.5, beta=0.5)", "er + sklearn:GaussianNB"])
def test_a_pickle_goes_on_as_the_classifier_itself(strategy):
    first, second = digits([0, 1]), digits([2, 3])
    model = ContinualClassifier(strategy, epochs=2, random_state=0).partial_fit(*first, classes=range(4))
    sent = pickle.loads(pickle.dumps(model))
    assert np.array_equal(sent.decision_function(first[0]), model.decision_function(first[0]))
    for each in (model, sent):
        each.partial_fit(*second)
    assert np.array_equal(sent.decision_function(second[0]), model.decision_function(second[0]))


def test_it_stands_in_pipelines_and_cross_validation():
    pipeline = make_pipeline(StandardScaler(), ContinualClassifier("naive", epochs=5, random_state=0))
    assert cross_val_score(clone(pipeline), *digits(range(4)), cv=3).mean() > 0.9


def test_two_classes_have_one_decision_and_unseen_ones_come_last():
    x, y = digits([0, 1])
    model = ContinualClassifier(epochs=2, random_state=0).partial_fit(x, y, classes=[0, 1, 5])
    assert set(model.predict(x)) <= {0, 1}
    assert model.predict_proba(x)[:, 2].max() < 1e-6
    assert ContinualClassifier(epochs=2).fit(x, y).decision_function(x).shape == y.shape


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"strategy": "err"}, "did you mean"),
        ({"strategy": "joint"}, "acts on a whole stream"),
        ({"strategy": "er", "memory_size": 0}, "needs a replay buffer"),
        ({"optimizer": "sdg"}, "optimizer"),
        ({"lr": -1.0}, "lr"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        ContinualClassifier(**settings).fit(*digits([0, 1], stop=100))


def test_a_label_that_was_not_announced_is_refused():
    model = ContinualClassifier(epochs=1).partial_fit(*digits([0, 1], stop=100))
    with pytest.raises(ValueError, match="give all of them as classes="):
        model.partial_fit(*digits([2], stop=100))

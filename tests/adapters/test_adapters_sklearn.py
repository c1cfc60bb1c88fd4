"""Estimators of scikit-learn in our loop."""

import io

import numpy as np
import pytest
import torch
from sklearn.naive_bayes import GaussianNB
from support import batches, ready, same_trace, stream_rows, train_until, trained

import clbench
from clbench.core.errors import Refused
from clbench.running.plan import plan
from clbench.strategies.strategy import Strategy


def taught(estimator, run):
    """An estimator taught the rows of a run in the order of its batches."""
    data = run.stream.dataset
    for rows in stream_rows(run):
        x = data.train.x[rows].reshape(len(rows), -1) * data.scale
        estimator.partial_fit(x.astype(np.float32).astype(float), data.train.y[rows], classes=np.arange(10))
    return estimator


def test_an_estimator_learns_what_it_learns_by_hand():
    run = trained("sklearn:GaussianNB")
    by_hand = taught(GaussianNB(), ready("naive"))
    test, scale = run.stream.dataset.test, run.stream.dataset.scale
    x = torch.from_numpy(test.x).float() * scale
    told = run.trainer.readout.output(x, None).logits.argmax(1).numpy()
    assert (told == by_hand.predict(x.flatten(1).numpy().astype(float))).all()
    assert run.account().weights == 0
    assert run.account().stream_rows == 300


@pytest.mark.parametrize(
    "strategy",
    [
        "sklearn:SGDClassifier(loss=log_loss)",
        "sklearn:Perceptron",
        "sklearn:PassiveAggressiveClassifier",
        "sklearn:GaussianNB",
        "sklearn:MultinomialNB",
        "sklearn:ComplementNB",
        "sklearn:BernoulliNB",
        "sklearn:MLPClassifier(hidden_layer_sizes=[10])",
        "sklearn:MiniBatchKMeans(n_clusters=12)",
        "er + sklearn:SGDClassifier",
    ],
)
def test_every_kind_runs_twice_the_same_and_resumes(strategy):
    run = trained(strategy, "training.batch_size=20")
    assert same_trace(run, trained(strategy, "training.batch_size=20"))
    half = train_until(ready(strategy, "training.batch_size=20"), 7)
    buffer = io.BytesIO()
    torch.save(half.snapshot(), buffer)
    resumed = ready(strategy, "training.batch_size=20")
    resumed.restore(torch.load(io.BytesIO(buffer.getvalue()), weights_only=True))
    resumed.train()
    assert same_trace(run, resumed)


@pytest.mark.parametrize("scenario", ["task", "domain"])
def test_it_stands_in_other_settings(scenario):
    score = trained("sklearn:GaussianNB", f"stream.setting={scenario}").evaluator.trace().score[-1]
    assert score.mean() > 0.6


def test_looks_leave_it_alone():
    often, never = trained("sklearn:SGDClassifier"), trained("sklearn:SGDClassifier", "evaluation.every=0")
    assert np.array_equal(often.chain.parts[0].wrapped.estimator.coef_, never.chain.parts[0].wrapped.estimator.coef_)


def test_rehearsed_rows_are_taught_too():
    run = ready("er + sklearn:SGDClassifier")
    sizes = [len(batch) for batch in batches(run)]
    assert max(sizes) == 32
    assert run.account().replay_rows > 0


def test_an_impossible_class_has_a_finite_score():
    from clbench.adapters.sklearn.estimators import Taught

    class Sure:
        classes_ = np.array([0, 2])

        def decision_function(self, x):
            return np.tile([-np.inf, 5.0], (len(x), 1))

    told = Taught(Sure(), 3, begun=True).ask(np.zeros((2, 4))).astype(np.float32)
    assert np.isfinite(told.sum())
    assert told.argmax(1).tolist() == [2, 2]


def test_its_randomness_is_the_runs_seed():
    coefficients = [trained("sklearn:SGDClassifier", seed=s).chain.parts[0].wrapped.estimator.coef_ for s in (0, 1)]
    assert not np.array_equal(*coefficients)
    assert Strategy.parse("sklearn:SGDClassifier").items[0]["source"].startswith("scikit-learn ")


def test_before_it_is_taught_it_says_nothing():
    run = ready("sklearn:GaussianNB")
    run.chain.attach[0](run.learner)
    assert not run.trainer.readout.output(torch.ones(2, 1, 8, 8), None).logits.any()


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ("sklearn:SGDClassifer", "did you mean 'SGDClassifier'"),
        ("sklearn:svm.SVC", "has no partial_fit"),
        ("sklearn:linear_model.SGDRegressor", "predicts no classes"),
        ("sklearn:SGDClassifier(loss=logloss)", "The 'loss' parameter of SGDClassifier must be a str among"),
        ("sklearn:SGDClassifier(alfa=1)", "did you mean 'alpha'"),
        ("sklearn:nowhere.Nothing", r"nowhere does not import.*write sklearn:FILE\.py:NAME"),
        ("sklearn:linear_model.SGDClassifer", "has no 'SGDClassifer' to be a learner; did you mean 'SGDClassifier'"),
        ("sklearn:SVC", "sklearn:SVC does not exist; known: BernoulliNB, .*; else write"),
        ("sklearn:", "sklearn: does not exist; known: BernoulliNB, "),
        ("sklearn:mine.py", r"names a file without a name in it; write sklearn:mine\.py:NAME"),
        ("sklearn:sklearn.naive_bayes", "is a module; a learner is a class, or a function that makes one"),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(written, sentence):
    with pytest.raises(Refused, match=sentence):
        Strategy.parse(written)


@pytest.mark.parametrize(
    ("label", "sentence"),
    [
        ("'seven'", "predicts what is no array of numbers"),
        ("99", "predicts labels from 99 to 99; they are output units, from 0 to 9"),
    ],
)
def test_an_estimator_of_ones_own_that_predicts_no_output_unit_is_refused(tmp_path, label, sentence):
    file = tmp_path / "mine.py"
    file.write_text(
        f"class Mine:\n    def partial_fit(self, x, y): pass\n    def predict(self, x): return [{label}] * len(x)\n",
        encoding="utf-8",
    )
    with pytest.raises(Refused, match=sentence):
        trained(f"sklearn:{file}:Mine")


def test_rows_that_are_weighed_against_each_other_are_refused():
    with pytest.raises(Refused, match="weights all samples equally"):
        trained("er(loss=weighted) + sklearn:GaussianNB")


def test_it_runs_in_workers_and_from_a_file(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("from sklearn.naive_bayes import GaussianNB\n\nclass Mine(GaussianNB):\n    pass\n")
    found = clbench.run(
        "split-digits", strategies=f"sklearn:GaussianNB, sklearn:{file}:Mine", seeds=1, jobs=2, out=tmp_path / "out"
    )
    assert [record.status for record in found] == ["done", "done"]
    assert np.array_equal(found[0].trace.score, found[1].trace.score, equal_nan=True)
    before = plan("split-digits", strategies=[f"sklearn:{file}:Mine"], seeds=1).cells[0].key
    file.write_text(file.read_text() + "CHANGED = 1\n")
    assert plan("split-digits", strategies=[f"sklearn:{file}:Mine"], seeds=1).cells[0].key != before

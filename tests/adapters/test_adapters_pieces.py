"""Pieces of the adapters by themselves: constructors as recipes, models in the library's shapes, pickled learners."""

from __future__ import annotations

import io
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from clbench.adapters.constructor_recipes import find, is_plain, recipe_of
from clbench.adapters.online_learner import LearnerReferences, OnlineLearner, Pickler, Unpickler, size
from clbench.core.errors import Refused
from clbench.core.parameters import settings, validate
from clbench.models.output import Output
from clbench.strategies.part import Part

# ---------------------------------------------------------------------------------------------- constructors


class Estimator:
    """What another library might have."""

    def __init__(self, alpha: float, loss="hinge", *rest, rows: int = "all", seed=None, callback=print, sizes=(1, 2)):
        pass


def recipe(constructor=Estimator, leave_out=("seed",)):
    return recipe_of("lib:Estimator", constructor, lambda given: given, source="lib 1.0", leave_out=leave_out)


def test_settings_are_the_plain_parameters_of_a_constructor():
    assert settings(recipe()) == [
        ("alpha", "float", ""),
        ("loss", "Any", "hinge"),
        ("rows", "Any", "all"),  # its default is no int, so anything goes
        ("sizes", "Any", "(1, 2)"),
    ]


def test_a_recipe_checks_and_fills_in_its_settings_like_any_other():
    assert validate(recipe(), {"alpha": 1}, where="x") == {
        "alpha": 1.0,
        "loss": "hinge",
        "rows": "all",
        "sizes": (1, 2),
    }
    with pytest.raises(Refused, match="did you mean 'alpha'"):
        validate(recipe(), {"alhpa": 1}, where="x")
    with pytest.raises(Refused, match="alpha = 'much'"):
        validate(recipe(), {"alpha": "much"}, where="x")


def test_what_clbench_gives_by_itself_may_not_be_set():
    with pytest.raises(Refused, match=r"seed is .* by the benchmark"):
        validate(recipe(), {"alpha": 1, "seed": 3}, where="x")


def test_a_recipe_has_the_name_text_and_source_of_what_it_makes():
    made = recipe()
    assert made.__name__ == "lib:Estimator"
    assert made.__doc__ == "What another library might have."
    assert made.source == "lib 1.0"
    assert made(alpha=2) == {"alpha": 2}


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (None, True), (True, True), (1, True), (1.5, True), ("x", True), ([1, [2, "x"]], True), ({"a": [1]}, True),
        (print, False), ([1, print], False), ({1: "x"}, False), ({"a": object()}, False), (np.float64(1), False),
    ],
)  # fmt: skip
def test_a_value_is_plain_if_a_benchmark_file_can_hold_it(value, plain):
    assert is_plain(value) is plain


def test_a_class_is_found_by_its_path_with_and_without_its_package():
    from collections import OrderedDict

    assert find("lib", "collections.OrderedDict", "learner") is OrderedDict
    assert find("lib", "decoder.JSONDecoder", "learner", within="json").__name__ == "JSONDecoder"
    assert find("lib", "collections.OrderedDict", "learner", within="json") is OrderedDict


@pytest.mark.parametrize(
    ("rest", "known", "sentence"),
    [
        ("collections.OrderedDcit", (), "'OrderedDict'"),
        ("collections.abc", (), "lib:collections.abc is a module"),
        ("no_such_package.Thing", (), "no_such_package does not import"),
        ("Thign", ("Thing", "Other"), "did you mean 'Thing'?"),
        ("zzz", ("Thing",), "else write lib:FILE.py:NAME or lib:package.module.NAME"),
        ("mine.py", (), "write lib:mine.py:NAME"),
        ("what ever.x", (), "names no module and no file"),
        ("Alone", (), "names no module and no file"),
    ],
)
def test_what_is_not_there_is_answered_by_what_to_write(rest, known, sentence):
    with pytest.raises(Refused) as caught:
        find("lib", rest, "learner", known=known)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------------------------------------- model shapes


class Scores(nn.Module):
    """Logits 0, 1, 2, ... for every row, and two features; draws and counts in evaluation mode too."""

    def __init__(self, n_outputs):
        super().__init__()
        self.n_outputs = n_outputs
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x):
        self.calls += 1
        torch.rand(1)
        return Output(torch.arange(float(self.n_outputs)).expand(len(x), -1), x.flatten(1)[:, :2])


X = torch.ones(3, 1, 2, 2)


def shapes():
    from clbench.adapters.avalanche import model_shapes

    return model_shapes


def seen(*classes):
    return SimpleNamespace(classes_in_this_experience=classes)


def test_in_a_shared_head_only_classes_that_were_shown_compete():
    head = shapes().SharedHead(Scores(4), 4, grows=True)
    hidden = shapes().HIDDEN
    head.adaptation(seen(1, 3))
    assert head(X)[0].tolist() == [hidden, 1.0, hidden, 3.0]
    head.adaptation(seen(0))
    assert head(X)[0].tolist() == [0.0, 1.0, hidden, 3.0]
    assert torch.exp(torch.tensor(hidden)) == 0


def test_a_head_of_all_outputs_hides_none():
    assert shapes().SharedHead(Scores(3), 3, grows=False)(X)[0].tolist() == [0.0, 1.0, 2.0]


def test_a_head_that_hides_in_training_only_shows_all_logits_in_evaluation():
    head = shapes().SharedHead(Scores(3), 3, grows=True, trains_only=True)
    head.adaptation(seen(0))
    assert head.train()(X)[0].tolist() == [0.0, shapes().HIDDEN, shapes().HIDDEN]
    assert head.eval()(X)[0].tolist() == [0.0, 1.0, 2.0]


def test_an_evaluation_reads_the_model_itself():
    head = shapes().SharedHead(Scores(3), 3, grows=True)
    head.looked_at = True
    assert head(X)[0].tolist() == [0.0, 1.0, 2.0]


def test_with_task_labels_the_classes_of_each_rows_task_compete():
    by_task = torch.tensor([[True, True, False], [False, False, True]])
    model, hidden = shapes().PerTask(Scores(3), by_task), shapes().HIDDEN
    assert model(X, torch.tensor([0, 1, 0])).tolist() == [
        [0.0, 1.0, hidden],
        [hidden, hidden, 2.0],
        [0.0, 1.0, hidden],
    ]
    assert model(X, 1)[0].tolist() == [hidden, hidden, 2.0]
    assert model(X)[0].tolist() == [0.0, 1.0, 2.0]
    assert model.forward_single_task(X, 0)[0].tolist() == [0.0, 1.0, hidden]


def test_of_every_task_are_those_that_were_trained():
    model = shapes().PerTask(Scores(2), torch.eye(2, dtype=torch.bool))
    model.known_train_tasks_labels = {1}
    assert list(model(X, None)) == [1]


def test_features_are_what_the_last_layer_reads():
    x = torch.arange(12.0).reshape(3, 1, 2, 2)
    for model in (
        shapes().Features(Scores(2)),
        shapes().SharedHead(Scores(2), 2, grows=False).get_features,
        shapes().PerTask(Scores(2), torch.ones(1, 2, dtype=torch.bool)).get_features,
    ):
        assert model(x).tolist() == [[0, 1], [4, 5], [8, 9]]


def test_asking_for_the_number_of_features_leaves_model_and_generator_as_they_were():
    model = Scores(2).train()
    before = torch.get_rng_state()
    assert shapes().width(model, X[:1]) == 2
    assert model.training
    assert model.calls.item() == 0
    assert torch.equal(torch.get_rng_state(), before)


# ---------------------------------------------------------------------------------------------- pickled learners


@pytest.fixture
def learner():
    """What a pickled learner may refer to."""
    w = nn.Parameter(torch.arange(10.0))
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    steps = SimpleNamespace(others=(SimpleNamespace(name="optimiser"),))
    return SimpleNamespace(model=model, _steps=steps, w=w, g=torch.zeros(10))


def there_and_back(thing, learner, other=None):
    buffer = io.BytesIO()
    Pickler(buffer, LearnerReferences(learner)).dump(thing)
    written = torch.frombuffer(bytearray(buffer.getvalue()), dtype=torch.uint8)
    return Unpickler(written, LearnerReferences(other or learner)).load(), len(written)


def test_what_is_the_learners_is_named_and_comes_back_as_the_same_object(learner):
    own = {"model": learner.model, "layer": learner.model[0], "mean": learner.model[1].running_mean, "lr": 0.1}
    back, _ = there_and_back({**own, "optimiser": learner._steps.others[0]}, learner)
    assert back["model"] is learner.model
    assert back["layer"] is learner.model[0]
    assert back["mean"] is learner.model[1].running_mean
    assert back["optimiser"] is learner._steps.others[0]
    assert back["lr"] == 0.1


def test_views_of_weights_and_gradients_are_views_again(learner):
    view, gradient = learner.w.detach()[2:8].view(2, 3), learner.g[::2]
    (back, also), written = there_and_back((view, gradient), learner)
    assert back.tolist() == [[2, 3, 4], [5, 6, 7]]
    with torch.no_grad():
        learner.w[2], learner.g[2] = 70.0, 7.0
    assert back[0, 0] == 70.0
    assert also[1] == 7.0
    assert written < 400  # no values were copied


def test_in_another_process_the_names_stand_for_its_own_learner(learner):
    other = SimpleNamespace(
        model=nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)),
        _steps=SimpleNamespace(others=(object(),)),
        w=learner.w.detach() + 1,
        g=learner.g,
    )
    back, _ = there_and_back({"model": learner.model, "w": learner.w.detach()[:3]}, learner, other)
    assert back["model"] is other.model
    assert back["w"].tolist() == [1, 2, 3]


def test_tensors_of_the_learners_own_making_are_copied(learner):
    own = torch.arange(4.0)
    back, _ = there_and_back(own, learner)
    own[0] = 9
    assert back.tolist() == [0, 1, 2, 3]


def test_arrays_keep_their_type(learner):
    back, _ = there_and_back([np.arange(3, dtype=np.int16), np.zeros(2, dtype=">f4"), np.dtype("f8")], learner)
    assert [a.dtype.str for a in back[:2]] == ["<i2", ">f4"]
    assert back[2] is np.dtype("f8")


@pytest.mark.parametrize(
    ("thing", "expected"),
    [(b"x" * 100, 100), (["abc", "abc", "abcd"], 7), ([1.5, 2.5, 1000], 24), ({"a": 1.5}, 1 + 8), (None, 0)],
)
def test_the_size_of_a_pickle_is_that_of_its_values_and_each_text_counts_once(thing, expected):
    assert size(pickle.dumps(thing, protocol=4)) == expected


class Answers(OnlineLearner):
    """Only asked for the scores of its answers."""


@pytest.fixture
def part():
    made = Answers.__new__(Answers)
    made.name, made.parameters = "mine.py:Mine", {}
    return made


def test_labels_become_a_one_for_the_predicted_output_unit(part):
    assert part.scores(np.array([2, 0]), 3).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert part.scores([1], 2, rows=1).tolist() == [[0, 1]]


def test_scores_are_taken_as_they_are(part):
    assert part.scores(np.array([[0.25, 0.75]]), 2).tolist() == [[0.25, 0.75]]
    assert part.scores(torch.tensor([[1, 2], [3, 4]]), 2).dtype == torch.float32


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        (np.array([0, 3]), "labels from 0 to 3"),
        (np.array([-1, 0]), "labels from -1 to 0"),
        (np.array([0.5, 1.0]), r"shape \(2,\)"),
        (np.zeros((2, 4)), r"shape \(2, 4\)"),
        (np.zeros((3, 3)), r"shape \(3, 3\) for 2 samples"),
        (np.array(1), r"shape \(\)"),
        (["a", "b"], "no array of numbers"),
        (None, "no array of numbers"),
    ],
)
def test_an_answer_of_another_form_is_refused_with_both_that_are_allowed(part, told, sentence):
    with pytest.raises(Refused, match=sentence) as caught:
        part.scores(told, 3, rows=2)
    assert str(caught.value).startswith("mine.py:Mine")


def test_every_adapter_is_a_part():
    assert issubclass(OnlineLearner, Part)

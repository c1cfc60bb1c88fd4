"""The reader of benchmark files by itself: places of mistakes, plain values, assignments, seeds, defaults."""

from datetime import date
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from clbench.benchmark import assignments, documents, schema
from clbench.core.errors import Refused

FILE = """\
# a comment
name: mine
version: 2
stream: {scenario: split, dataset: digits}
model:
  name: mlp
  hidden: [10]
training:
  lr: 0.1
  epochs: 3
strategies:
  - naive
  - er
"""


@pytest.fixture
def written(tmp_path):
    """Write a benchmark file and read it."""

    def read(text):
        (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
        return documents.read(tmp_path / "mine.yaml")

    return read


def checked(written, text):
    return schema.check(*written(text))


# ---------------------------------------------------------------------------------------------- reading


def test_a_file_is_its_values_with_defaults_for_what_it_leaves_out(written):
    made = checked(written, FILE)
    assert (made.name, made.version) == ("mine", 2)
    assert made.model == {"name": "mlp", "hidden": [10]}
    assert (made.training.lr, made.training.epochs, made.training.batch_size) == (0.1, 3, 32)
    assert made.memory.size == 0
    assert made.strategies == ["naive", "er"]
    assert made.seeds == 5


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (("name",), "mine.yaml, line 2"),
        (("training", "epochs"), "mine.yaml, line 10"),
        (("training", "unknown"), "mine.yaml, line 8"),
        (("strategies", 1), "mine.yaml, line 13"),
        (("nothing", "of", "this"), "mine.yaml"),
        ((), "mine.yaml"),
    ],
)
def test_a_place_is_the_line_of_the_deepest_key_that_is_there(written, path, place):
    assert written(FILE)[1].place(path) == place


def test_an_error_about_a_setting_leads_to_its_line(written):
    _, source = written(FILE)
    found = source.refuse(Refused("epochs is too much", "epochs"), "training")
    assert str(found) == "mine.yaml, line 10: epochs is too much"
    assert found.key == "epochs"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("  lr: 0.1", "  lr: -1"), r"mine\.yaml, line 9: training\.lr = -1 is not allowed"),
        (("  lr: 0.1", "  lr: .nan"), r"mine\.yaml, line 9: training\.lr"),
        (("  epochs: 3", "  epoch: 3"), r"mine\.yaml, line 10: unknown key 'training\.epoch'; did you mean 'epochs'\?"),
        (("version: 2", "versio: 2"), r"mine\.yaml, line 3: unknown key 'versio'; did you mean 'version'\?"),
        (("version: 2", "version: 0"), r"line 3: version = 0"),
        (("name: mine", "name: my bench"), r"line 2: name = 'my bench'"),
        (("model:\n  name: mlp\n  hidden: [10]\n", ""), r"mine\.yaml: the key 'model' is missing"),
        (("  - naive\n  - er\n", "  []\n"), r"strategies"),
        (("  lr: 0.1", "  lr: [0.1"), r"mine\.yaml, line 1\d: not valid YAML"),
        (("  lr: 0.1", "  clip_norm: 0"), r"line 9: training\.clip_norm = 0"),
    ],
)
def test_a_mistake_is_refused_with_line_and_key(written, change, sentence):
    assert change[0] in FILE
    with pytest.raises(Refused, match=sentence) as caught:
        checked(written, FILE.replace(*change))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["- a list\n", "just text\n", "", "42\n"])
def test_a_file_that_is_no_mapping_is_refused(written, text):
    with pytest.raises(Refused, match=r"mine\.yaml: .*mapping"):
        written(text)


def test_a_file_that_is_not_there_is_refused_with_its_path(tmp_path):
    with pytest.raises(Refused, match=r"gone\.yaml cannot be read"):
        documents.read(tmp_path / "gone.yaml")


# ---------------------------------------------------------------------------------------------- plain values


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.arange(3), [0, 1, 2]),
        (torch.tensor([1.5]), [1.5]),
        ((1, 2), [1, 2]),
        (range(3), [0, 1, 2]),
        ({3, 1, 2}, [1, 2, 3]),
        (Path("a/b"), "a/b"),
        (date(2024, 1, 2), "2024-01-02"),
        ({1: {"a": (None, True)}}, {"1": {"a": [None, True]}}),
    ],
)
def test_values_of_programs_become_what_a_file_can_hold(value, plain):
    found = documents.plain(value)
    assert found == plain
    assert type(found) is type(plain)


def test_truth_values_stay_truth_values_and_do_not_become_numbers():
    assert documents.plain([True, 1, 1.0]) == [True, 1, 1.0]
    assert [type(v) for v in documents.plain([True, 1, 1.0])] == [bool, int, float]


def test_a_value_that_no_file_can_hold_is_refused_with_its_place():
    with pytest.raises(Refused, match=r"a benchmark: model: ratio = Fraction\(1, 2\) is a Fraction"):
        documents.plain({"model": {"ratio": Fraction(1, 2)}})


# ---------------------------------------------------------------------------------------------- assignments


def test_assignments_reach_into_sections_and_make_those_that_are_missing():
    document = {"training": {"lr": 0.1}, "name": "x"}
    made = assignments.override(document, ["training.lr=0.3", ("memory.size", 7), "a.b.c=[1, two]"])
    assert made == {"training": {"lr": 0.3}, "name": "x", "memory": {"size": 7}, "a": {"b": {"c": [1, "two"]}}}
    assert document == {"training": {"lr": 0.1}, "name": "x"}  # what was given is unchanged


def test_the_short_form_of_a_data_set_gets_room_for_settings():
    document = {"stream": {"dataset": "digits"}}
    made = assignments.override(document, ["stream.dataset.train_rows=100"])
    assert made == {"stream": {"dataset": {"name": "digits", "train_rows": 100}}}


def test_of_two_assignments_to_one_key_the_last_counts():
    assert assignments.override({}, ["a=1", "a=2"]) == {"a": 2}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a=1", 1),
        ("a=1.5", 1.5),
        ("a=true", True),
        ("a=", None),
        ("a=x=y", "x=y"),
        ("a={b: 1}", {"b": 1}),
        ("a=1e-3", 0.001),
    ],
)
def test_the_value_of_an_assignment_is_yaml(text, value):
    assert assignments.override({}, [text]) == {"a": value}


@pytest.mark.parametrize(
    ("assignment", "sentence"),
    [
        ("training.lr", "is not an assignment"),
        ("=3", "is not an assignment"),
        ("a=[1", "not valid YAML"),
        ("name.b=1", "'name' holds 'x', not a section"),
        (("", 3), "has no dotted key"),
        ((3, 3), "has no dotted key"),
        (("a", object()), "is a object"),
    ],
)
def test_an_assignment_that_cannot_be_is_refused_with_how_to_write_one(assignment, sentence):
    with pytest.raises(Refused, match=sentence):
        assignments.override({"name": "x"}, [assignment])


@pytest.mark.parametrize(
    ("assignment", "key", "short"),
    [
        ("training.lr=0.3", "training.lr", "--set training.lr=0.3"),
        (("training.lr", 0.3), "training.lr", "training.lr = 0.3"),
        (" a = 1", "a", "--set  a = 1"),
    ],
)
def test_an_assignment_has_a_key_and_a_form_for_messages(assignment, key, short):
    assert assignments.key(assignment) == key
    assert assignments.short(assignment) == short


# ---------------------------------------------------------------------------------------------- seeds


@pytest.mark.parametrize(
    ("written_as", "meant"),
    [
        (3, [0, 1, 2]), ("3", [0, 1, 2]), ("3,", [3]), ("0,2,5", [0, 2, 5]), ([7, 1], [7, 1]), (range(2, 4), [2, 3]),
        (np.array([4, 2]), [4, 2]), (np.int64(2), [0, 1]), (" 1 , 2 ", [1, 2]), ("0-3", [0, 1, 2, 3]),
        ("2-3,7", [2, 3, 7]), ((9,), [9]),
    ],
)  # fmt: skip
def test_seeds_are_a_number_of_them_or_a_list(written_as, meant):
    assert assignments.seeds(written_as) == meant


@pytest.mark.parametrize(
    "written_as", ["", "a", "1,1", "-1,", 0, [], [1, 1], [-1], [1.5], [True], "1.5", "3-1", "1-", "0-2,1"]
)
def test_seeds_that_are_none_or_twice_or_no_whole_numbers_are_refused(written_as):
    with pytest.raises(Refused, match="seeds"):
        assignments.seeds(written_as)


@given(st.lists(st.integers(0, 10**6), min_size=1, unique=True))
def test_a_list_of_seeds_and_its_text_are_the_same(listed):
    assert assignments.seeds(listed) == assignments.seeds(",".join(map(str, listed)) + ",") == listed


# ---------------------------------------------------------------------------------------------- canonical forms


def test_options_at_their_default_are_no_part_of_a_cell():
    assert not {"clip_norm", "optimizer_state", "lr_schedule"} & set(schema.Training().canonical())
    assert schema.Training(clip_norm=1.0).canonical()["clip_norm"] == 1.0
    assert schema.Training().canonical()["lr"] == 0.1
    assert set(schema.Training().canonical()) == set(schema.Training.model_fields) - schema.Training.options


def test_when_to_evaluate_has_one_form_in_a_cell():
    ends, never = schema.Evaluation(schedule="ends", every=7).canonical(), schema.Evaluation(every=0).canonical()
    assert ends == never
    assert schema.Evaluation(schedule="dense").canonical()["every"] == 0
    assert schema.Evaluation(every=3).canonical()["every"] == 3


def test_sections_are_not_changed():
    with pytest.raises(ValueError, match="frozen"):
        schema.Training().lr = 3


@pytest.mark.parametrize(
    ("setting", "strength"),
    [("class", {"strength": 3, "alpha": 1}), ("task", {"strength": 5, "alpha": 1}), ("domain", {"alpha": 1})],
)
def test_defaults_may_differ_between_settings(setting, strength):
    made = schema.Benchmark(
        name="x",
        stream={"setting": setting},
        model={"name": "mlp"},
        defaults={"ewc": {"strength": {"class": 3, "task": 5}, "alpha": 1}},
    )
    assert schema.defaults_of(made) == {"ewc": strength}


def test_a_mapping_of_something_else_is_a_value_like_any_other():
    made = schema.Benchmark(
        name="x",
        stream={},
        model={},
        defaults={"mine": {"layers": {"first": 3}, "empty": {}, "mixed": {"class": 1, "x": 2}}},
    )
    assert schema.defaults_of(made) == {"mine": {"layers": {"first": 3}, "empty": {}, "mixed": {"class": 1, "x": 2}}}

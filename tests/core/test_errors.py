"""The error of a user's mistake, and the nearest known name."""

import pickle

import pytest

import clbench
from clbench.core.errors import Refused, did_you_mean


def test_a_mistyped_name_is_answered_by_the_nearest_known_one():
    assert did_you_mean("naiv", ["er", "naive", "nearest"]) == "did you mean 'naive'?"


def test_a_name_like_none_of_the_known_ones_is_answered_by_all_of_them_in_order():
    assert did_you_mean("xyz", ["naive", "er"]) == "known: er, naive"


def test_where_nothing_is_known_the_answer_says_so():
    assert did_you_mean("er", []) == "known: none"


def test_known_names_may_come_from_an_iterator():
    assert did_you_mean("ewc2", iter(["si", "ewc"])) == "did you mean 'ewc'?"


def test_a_refusal_is_a_value_error_whose_text_is_the_sentence():
    with pytest.raises(ValueError, match=r"^lr must be above 0$") as caught:
        raise Refused("lr must be above 0", "training.lr")
    assert caught.value.key == "training.lr"
    assert Refused("nothing said about a setting").key == ""


def test_the_public_name_is_the_class_that_the_package_raises():
    assert clbench.Refused is Refused


def test_a_refusal_of_a_worker_reaches_the_parent_as_the_same_sentence_and_setting():
    copy = pickle.loads(pickle.dumps(Refused("lr must be above 0", "training.lr")))
    assert (type(copy), str(copy), copy.key) == (Refused, "lr must be above 0", "training.lr")

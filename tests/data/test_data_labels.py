"""Labels of any kind become classes, and what cannot be a class is answered with the cure."""

import numpy as np
import pytest
import torch

from clbench.core.errors import Refused
from clbench.data import from_arrays

X = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")
PLAIN = [0, 1, 2, 0, 1, 2]


def made(y_train, y_test=None, **settings):
    return from_arrays("mine", X, y_train, X, y_train if y_test is None else y_test, **settings)


@pytest.mark.parametrize(
    "y",
    [
        np.array(PLAIN, float),
        np.array(PLAIN, np.float32)[:, None],
        np.array(PLAIN, object),
        [np.int8(v) for v in PLAIN],
        np.array(PLAIN, np.uint8),
        torch.tensor(PLAIN, dtype=torch.float64),
        np.array([0, 1.0, 2, 0, 1, 2], object),
    ],
    ids=["floats", "column", "objects", "int8", "uint8", "tensor", "mixed numbers"],
)
def test_whole_numbers_are_labels_whatever_holds_them(y):
    data = made(y)
    assert data.class_names == ("0", "1", "2")
    assert data.train.y.tolist() == PLAIN
    assert data.checksum == made(np.array(PLAIN)).checksum


def test_truth_values_are_two_classes():
    y = np.array([True, False, True, True, False, False])
    for each in (y, y.astype(object), torch.from_numpy(y), list(y)):
        data = made(each)
        assert data.class_names == ("False", "True")
        assert data.train.y.tolist() == [1, 0, 1, 1, 0, 0]
    assert made(y, y.astype(int)).class_names == ("0", "1")
    assert made(y, class_names=["no", "yes"]).class_names == ("no", "yes")


def test_strings_and_bytes_are_labels():
    words = np.array(["b", "a", "c", "b", "a", "c"])
    for each in (words, words.astype(object), words.astype("S"), words.astype("S").astype(object)):
        assert made(each).class_names == ("a", "b", "c")
        assert made(each).train.y.tolist() == [1, 0, 2, 1, 0, 2]


def test_labels_of_different_types_in_the_two_splits_mean_the_same():
    y = np.array([10, 2, 30, 10, 2, 30])
    forms = [
        y,
        y.astype(float),
        y.astype(np.uint8),
        y.astype(str),
        y.astype(str).astype(object),
        y.astype(float).astype(str),
    ]
    for train, test in [(a, b) for a in forms[:3] for b in forms] + [(b, a) for a in forms[:3] for b in forms]:
        data = made(train, test)
        assert data.class_names == ("2", "10", "30")  # in the order of numbers, not of text
        assert data.train.y.tolist() == data.test.y.tolist() == [1, 0, 2, 1, 0, 2]


def test_a_pandas_category_is_its_values():
    import pandas as pd

    labels = pd.Series(["b", "a", "c"] * 2, dtype="category")
    assert made(labels).class_names == ("a", "b", "c")
    assert made(pd.Series(PLAIN, dtype="Int64")).class_names == ("0", "1", "2")
    assert made(pd.Series(["b", "a", "c"] * 2, dtype="string")).class_names == ("a", "b", "c")


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (
            np.array(PLAIN) + 0.5,
            r"labels such as 0\.5, which are not whole numbers; labels must be integers or strings",
        ),
        (np.array([0, 1, np.nan, 0, 1, 2]), r"no label in row 2 \(1 in all\); remove such rows"),
        (np.array([0, 1, np.inf, 0, 1, 2]), "no label in row 2"),
        (np.array(["a", None, "b", "a", None, "b"], object), r"no label in row 1 \(2 in all\)"),
        (
            np.array(["a", 1, "b", "a", 1, "b"], object),
            "labels of type int and str; labels must be integers or strings",
        ),
        (np.eye(3)[PLAIN], r"not one-hot rows \(which hold the labels y.argmax\(1\)\)"),
        (np.array(PLAIN, "datetime64[D]"), "labels must be integers or strings"),
        (np.array(PLAIN, complex), "labels must be integers or strings"),
        (PLAIN[:5], "5 labels for 6 samples"),
        (3, r"has shape \(\)"),
    ],
)
def test_what_is_no_label_is_refused_with_its_place(y, message):
    with pytest.raises(Refused, match=message):
        made(y, PLAIN)


def test_words_and_numbers_in_the_two_splits_are_refused_naming_both():
    said = r"training labels are integers \(such as 0\) and test labels strings \(such as 'a'\); write both"
    with pytest.raises(Refused, match=said):
        made(PLAIN, ["a", "b", "c"] * 2)

"""Arrays become checked data sets; settings hold rows out, cut down and measure; names resolve without torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from clbench.core.errors import Refused
from clbench.data import DATASETS, canonical, check_name, from_arrays, load, prepare
from clbench.data.digits import digits
from clbench.data.splits import channel_statistics
from clbench.data.stratified import stratified


def arrays(n_train=20, n_test=10, shape=(4, 4), classes=5, dtype=np.uint8):
    """Distinct rows, so that sets of rows can be compared."""
    x = np.arange((n_train + n_test) * int(np.prod(shape))).reshape(-1, *shape)
    x = (x % 251).astype(dtype)
    return x[:n_train], np.arange(n_train) % classes, x[n_train:], np.arange(n_test) % classes


# ------------------------------------------------------------------------------------------------- from_arrays


def test_grey_images_get_a_channel_axis_and_bytes_a_scale_of_one_over_255():
    x, y, xt, yt = arrays()
    data = from_arrays("mine", x, y, xt, yt)
    assert data.shape == (1, 4, 4)
    assert data.train.x.dtype == np.uint8
    assert data.scale == 1 / 255
    assert (data.train.x[:, 0] == x).all()


def test_channels_move_from_last_to_first_only_where_they_are_clearly_last():
    x, y, xt, yt = arrays(shape=(4, 5, 3))
    data = from_arrays("mine", x, y, xt, yt)
    assert data.shape == (3, 4, 5)
    assert data.train.x[7, 2, 3, 1] == x[7, 3, 1, 2]
    x, y, xt, yt = arrays(shape=(3, 5, 3))
    assert (from_arrays("mine", x, y, xt, yt).train.x == x).all()


def test_vectors_of_doubles_become_float32_with_scale_one():
    x, y, xt, yt = arrays(shape=(6,), dtype=np.float64)
    data = from_arrays("mine", x, y, xt, yt)
    assert data.train.x.dtype == np.float32
    assert data.shape == (6,)
    assert data.scale == 1.0


def test_integer_images_within_a_byte_become_bytes():
    x, y, xt, yt = arrays(dtype=np.int64)
    assert from_arrays("mine", x, y, xt, yt).train.x.dtype == np.uint8


def test_any_integers_are_renumbered_in_ascending_order():
    x, y, xt, yt = arrays()
    data = from_arrays("mine", x, 100 - 10 * y, xt, 100 - 10 * yt)
    assert data.class_names == ("60", "70", "80", "90", "100")
    assert (data.train.y == 4 - y).all()


def test_strings_are_labels_and_become_class_names():
    x, y, xt, yt = arrays(classes=2)
    words = np.array(["dog", "cat"])
    data = from_arrays("mine", x, list(words[y]), xt, words[yt].astype(object))
    assert data.class_names == ("cat", "dog")
    assert (data.test.y == 1 - yt).all()


def test_class_names_follow_the_label_and_not_its_rank():
    x, y, xt, yt = arrays(classes=2)
    data = from_arrays("mine", x, y + 1, xt, yt + 1, class_names=["unused", "a", "b"])
    assert data.class_names == ("a", "b")


def test_torch_tensors_and_numpy_arrays_give_the_same_checksum():
    parts = arrays()
    tensors = [torch.from_numpy(part) for part in parts]
    assert from_arrays("a", *tensors).checksum == from_arrays("b", *parts).checksum


def test_one_changed_pixel_changes_the_checksum():
    x, y, xt, yt = arrays()
    before = from_arrays("mine", x, y, xt, yt).checksum
    xt = xt.copy()
    xt[3, 2, 1] ^= 1
    assert from_arrays("mine", x, y, xt, yt).checksum != before


def test_rows_given_read_only_can_still_be_shared_with_torch():
    x, y, xt, yt = arrays()
    x.flags.writeable = False
    data = from_arrays("mine", x, y, xt, yt)
    assert torch.from_numpy(data.train.x).shape == (20, 1, 4, 4)  # would warn, and so fail, on a read-only array


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y, xt, yt: (x, y[:-1], xt, yt), "y_train has 19 labels for 20 samples"),
        (lambda x, y, xt, yt: (x, y, xt, np.where(yt == 4, 9, yt)), "test labels 9 do not occur"),
        (lambda x, y, xt, yt: (x, y, xt, np.where(yt == 4, 0, yt)), "no test samples for class 4"),
        (lambda x, y, xt, yt: (x.astype(float) * np.nan, y, xt.astype(float), yt), "NaN or infinite"),
        (lambda x, y, xt, yt: (x[:0], y[:0], xt, yt), "at least one sample"),
        (lambda x, y, xt, yt: (x, y, xt[:, :2], yt), "bring both to the same type and shape"),
        (lambda x, y, xt, yt: (x, np.eye(5)[y], xt, yt), "not one-hot"),
        (lambda x, y, xt, yt: (x, y + 0.5, xt, yt), "integers or strings"),
        (lambda x, y, xt, yt: (x.astype(str), y, xt, yt), "must hold numbers"),
        (lambda x, y, xt, yt: ([[1], [1, 2]], y, xt, yt), "is not an array"),
    ],
)
def test_unusable_arrays_are_refused_with_the_reason(change, message):
    with pytest.raises(Refused, match=message):
        from_arrays("mine", *change(*arrays()))


def test_class_names_that_do_not_fit_the_labels_are_refused():
    with pytest.raises(Refused, match=r"go from 0 to 4 \(5 distinct\), but there are 3 class names"):
        from_arrays("mine", *arrays(), class_names=["a", "b", "c"])


# ------------------------------------------------------------------------------------------------- settings


def test_stratified_choice_takes_the_same_share_of_every_class():
    y = np.repeat(np.arange(3), (100, 50, 10))
    chosen = stratified(y, 32, "test")
    assert np.bincount(y[chosen]).tolist() == [20, 10, 2]


def test_stratified_choice_takes_at_least_one_of_a_rare_class():
    y = np.repeat(np.arange(3), (1000, 1000, 1))
    chosen = stratified(y, 3, "test")
    assert np.bincount(y[chosen]).tolist() == [1, 1, 1]


@pytest.mark.parametrize("n", [5, 6, 17, 99, 120])
def test_stratified_choice_has_exactly_the_size_asked_for(n):
    y = np.random.default_rng(n).permutation(np.repeat(np.arange(5), (40, 30, 25, 24, 1)))
    assert stratified(y, n, "test").sum() == n


def test_validation_rows_are_disjoint_from_training_rows_and_together_are_all(small_dataset):
    kept = prepare(small_dataset, validation=0.25, evaluate_on="validation")
    assert len(kept.train) == 150
    assert np.bincount(kept.test.y).tolist() == [5] * 10
    rows = [{row.tobytes() for row in part.x} for part in (kept.train, kept.test, small_dataset.train)]
    assert not rows[0] & rows[1]
    assert rows[0] | rows[1] == rows[2]


def test_rows_held_out_leave_the_test_split_alone_unless_they_are_asked_for(small_dataset):
    held = prepare(small_dataset, validation=0.25)
    assert len(held.train) == 150
    assert held.test is small_dataset.test
    assert held.checksum != small_dataset.checksum


def test_training_subset_is_stratified_and_fixed_and_grows_by_adding_rows(small_dataset):
    small, again, large = (prepare(small_dataset, train_rows=n) for n in (50, 50, 100))
    assert np.bincount(small.train.y).tolist() == [5] * 10
    assert small.checksum == again.checksum
    assert {row.tobytes() for row in small.train.x} < {row.tobytes() for row in large.train.x}


def test_no_settings_leave_the_data_set_as_it_is(small_dataset):
    same = prepare(small_dataset)
    assert same.train is small_dataset.train
    assert same.checksum == small_dataset.checksum
    assert same.mean == ()


def test_statistics_are_those_of_the_training_rows_that_remain(small_dataset):
    data = prepare(small_dataset, normalize="mean-std", train_rows=50)
    scaled = torch.from_numpy(data.train.x).double() / 255
    assert data.mean == pytest.approx([scaled.mean().item()], abs=1e-12)
    assert data.std == pytest.approx([scaled.std(correction=0).item()], abs=1e-12)


def test_statistics_are_per_channel_and_a_constant_channel_gets_a_deviation_of_one():
    x = np.zeros((3000, 2, 2, 2), dtype=np.uint8)
    x[:, 0] = 51
    x[1500:, 1] = 255
    mean, std = channel_statistics(x, 1 / 255)
    assert mean == pytest.approx((0.2, 0.5))
    assert std == pytest.approx((1.0, 0.5))


def test_statistics_of_vectors_are_one_pair_for_all_values():
    mean, std = channel_statistics(np.array([[1.0, 3.0], [5.0, 7.0]], dtype=np.float32), 1.0)
    assert mean == (4.0,)
    assert std == pytest.approx((5**0.5,))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"validation": 1.0}, r"in \[0, 1\)"),
        ({"validation": -0.1}, r"in \[0, 1\)"),
        ({"evaluate_on": "validation"}, "needs held-out samples"),
        ({"train_rows": 201}, "ask for 10 to 200"),
        ({"train_rows": 9}, "ask for 10 to 200"),
        ({"validation": 0.99}, "leaves no training samples for class"),
    ],
)
def test_impossible_settings_are_refused(small_dataset, settings, message):
    with pytest.raises(Refused, match=message):
        prepare(small_dataset, **settings)


# ------------------------------------------------------------------------------------------------- names and digits


def test_digits_are_split_80_20_in_every_class():
    data = load("digits")
    assert (len(data.train), len(data.test)) == (1438, 359)
    assert data.shape == (1, 8, 8)
    assert data.scale == 1 / 16
    assert data.train.x.max() == 16
    share = np.bincount(data.test.y) / (np.bincount(data.test.y) + np.bincount(data.train.y))
    assert np.abs(share - 0.2).max() < 0.005


def test_digits_are_scikit_learns_images_each_once():
    from sklearn.datasets import load_digits

    data, original = load("digits"), load_digits()
    ours = [(part.x[i].tobytes(), part.y[i]) for part in (data.train, data.test) for i in range(len(part))]
    theirs = [(original.images[i].astype(np.uint8).tobytes(), original.target[i]) for i in range(1797)]
    assert sorted(ours) == sorted(theirs)


def test_digits_are_the_same_where_scikit_learn_has_to_be_imported_to_read_them(monkeypatch):
    read = load("digits")
    monkeypatch.setattr("clbench.data.digits.find_spec", lambda name: None)
    again = digits(Path())
    assert again.checksum == read.checksum
    assert np.array_equal(again.train.x, read.train.x)


def test_reading_digits_does_not_import_scikit_learn():
    code = "import sys; from clbench.data import load; load('digits'); print('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_digits_keep_their_checksum():
    """A change here changes every published stream of digits; it must never happen unnoticed."""
    assert load("digits").checksum == "c12b7f03ace0fb2c934b1f9ccbd64e27"


def test_settings_of_load_are_checked_like_any_others():
    settings = canonical({"validation": 0.1})
    assert settings == {  # and no others, so that cells from before there were more keep their keys
        "normalize": "none",
        "validation": 0.1,
        "train_rows": None,
        "evaluate_on": "test",
        "size": None,
    }
    with pytest.raises(Refused, match="did you mean 'normalize'"):
        canonical({"normalise": "none"})
    assert canonical({"scale": 255, "layout": "NHWC", "background": "#00ff80"}).items() >= {
        ("scale", 255.0),
        ("layout", "NHWC"),
        ("background", "#00ff80"),
    }
    for wrong in ({"scale": 0}, {"layout": "CHW"}, {"background": "pinkish"}):
        with pytest.raises(Refused, match="is not allowed"):
            canonical(wrong)


@pytest.mark.parametrize("name", ["digits", "mnist", "FashionMNIST", "folder:some/where", "npz:a.npz", "parquet:p"])
def test_known_names_pass_the_check(name):
    check_name(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mnits", "did you mean 'mnist'"),
        ("FashonMNIST", "did you mean 'FashionMNIST'"),
        ("zip:x", "write one of csv:PATH, folder:PATH, hf:PATH, list:PATH, npz:PATH, parquet:PATH"),
        ("npz:", "write one of csv:PATH, folder:PATH"),
    ],
)
def test_unknown_names_are_refused_with_what_exists(name, message):
    with pytest.raises(Refused, match=message):
        load(name)


def test_a_data_set_of_ones_own_is_found_by_name_once_it_is_added(small_dataset, monkeypatch):
    monkeypatch.setattr(DATASETS, "_added", dict(DATASETS._added))  # other tests list what there is
    DATASETS.add("test-only-object", small_dataset)
    DATASETS.add("test-only-function", lambda data_dir: small_dataset)
    for name in ("test-only-object", "test-only-function"):
        data = load(name, train_rows=20)
        assert data.name == name
        assert len(data.train) == 20
    with pytest.raises(Refused, match="has no setting 'size'"):
        load("test-only-function", size=4)


def test_listing_and_checking_names_imports_no_torch():
    code = (
        "import sys; from clbench.data import DATASETS, check_name; check_name('cifar10'); list(DATASETS); "
        "import clbench.data.transforms, clbench.data.augment; "
        "print([m for m in ('torch', 'torchvision', 'sklearn', 'PIL', 'pyarrow', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""Data as programs hold it: every form becomes the same data set, anything else is answered with the forms."""

import random

import numpy as np
import pandas as pd
import pytest
import sklearn.datasets
import torch
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, IterableDataset, Subset, TensorDataset
from torch.utils.data import Dataset as TorchDataset

import clbench
from clbench.core.errors import Refused
from clbench.data import from_arrays, load
from clbench.data.user_data import given

RNG = np.random.default_rng(0)
X, XT = RNG.random((40, 6)).astype("float32"), RNG.random((20, 6)).astype("float32")
Y, YT = np.arange(40) % 4, np.arange(20) % 4
WHOLE = from_arrays("arrays", X, Y, XT, YT)
BENCHMARK = {
    "name": "t",
    "stream": {"scenario": "split", "experiences": 2},
    "model": {"name": "mlp", "hidden": [4]},
    "evaluation": {"every": 0},
}


class Items(TorchDataset):
    """A map-style data set of (input, label, index)."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return torch.from_numpy(self.x[i]), int(self.y[i]), i


class Endless(IterableDataset):
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __iter__(self):
        return iter([(x, torch.tensor(y)) for x, y in zip(self.x, self.y, strict=True)])


def tensors(x, y):
    return TensorDataset(torch.tensor(x), torch.tensor(y))


def frame(x, y, label="label"):
    return pd.DataFrame(x, columns=[f"c{i}" for i in range(x.shape[1])]).assign(**{label: y})


def bunch(x, y):
    return sklearn.utils.Bunch(data=x, target=y, DESCR="made up")


FORMS = {
    "four": (X, Y, XT, YT),
    "list of four": [X, Y, XT, YT],
    "lists": (X.tolist(), Y.tolist(), XT.tolist(), YT.tolist()),
    "keras": ((X, Y), (XT, YT)),
    "keras lists": [[X, Y], [XT, YT]],
    "order of train_test_split": (X, XT, Y, YT),
    "mapping": {"x_train": X, "y_train": Y, "x_test": XT, "y_test": YT},
    "capitals": {"X_train": X, "y_train": Y, "X_test": XT, "y_test": YT},
    "validation": {"x_train": X, "y_train": Y, "x_val": XT, "y_val": YT},
    "mapping of pairs": {"train": (X, Y), "test": (XT, YT)},
    "mapping of torch": {"train": tensors(X, Y), "val": tensors(XT, YT)},
    "tensors": (torch.tensor(X), torch.tensor(Y), torch.tensor(XT), torch.tensor(YT)),
    "tensor data sets": (tensors(X, Y), tensors(XT, YT)),
    "map-style": (Items(X, Y), Items(XT, YT)),
    "iterable": (Endless(X, Y), Endless(XT, YT)),
    "subsets": (Subset(tensors(X, Y), range(40)), Subset(tensors(XT, YT), range(20))),
    "loaders": (DataLoader(tensors(X, Y), batch_size=7, shuffle=True), DataLoader(tensors(XT, YT))),
    "frames": (frame(X, Y), frame(XT, YT)),
    "frames with a label": (frame(X, Y, "kind"), frame(XT, YT, "kind"), "kind"),
    "frame with a split": pd.concat([frame(X, Y).assign(split="train"), frame(XT, YT).assign(split="test")]),
    "frame and series": (
        frame(X, Y).drop(columns="label"),
        pd.Series(Y),
        frame(XT, YT).drop(columns="label"),
        pd.Series(YT),
    ),
    "bunches": (bunch(X, Y), bunch(XT, YT)),
    "finished": WHOLE,
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_data_set(form):
    data = given(FORMS[form])
    assert data.checksum == WHOLE.checksum
    assert data.name == "arrays"
    assert data.class_names == ("0", "1", "2", "3")


@pytest.mark.parametrize("form", ["keras", "tensor data sets", "frames", "mapping", "bunches"])
def test_runs_and_streams_take_them(form):
    (record,) = clbench.run(BENCHMARK, dataset=FORMS[form], strategies="naive", seeds=1)
    (plain,) = clbench.run(BENCHMARK, dataset=(X, Y, XT, YT), strategies="naive", seeds=1)
    assert record.status == "done"
    assert record.key == plain.key
    stream = clbench.stream("split", FORMS[form], experiences=2)
    assert (
        stream.fingerprint == record.fingerprint == clbench.stream("split", (X, Y, XT, YT), experiences=2).fingerprint
    )


# --------------------------------------------------------------------------------------------------- without test rows


@pytest.mark.parametrize(
    "form",
    [
        (X, Y),
        tensors(X, Y),
        Items(X, Y),
        frame(X, Y),
        (frame(X, Y, "kind"), "kind"),
        bunch(X, Y),
        (frame(X, Y).iloc[:, :6], Y),
    ],
    ids=["pair", "tensors", "items", "frame", "label", "bunch", "frame and array"],
)
def test_a_fifth_of_what_comes_without_test_rows_becomes_them_in_every_class(form):
    data = given(form)
    assert (len(data.train), len(data.test)) == (32, 8)
    assert np.bincount(data.test.y).tolist() == [2, 2, 2, 2]
    rows = {row.tobytes(): label for row, label in zip(X, Y, strict=True)}
    found = [(row.tobytes(), y) for part in (data.train, data.test) for row, y in zip(part.x, part.y, strict=True)]
    assert sorted(found) == sorted(rows.items())
    assert data.checksum == given((X, Y)).checksum


def test_scikit_learns_own_sets_are_taken_with_their_names():
    iris = given(sklearn.datasets.load_iris())
    assert iris.class_names == ("setosa", "versicolor", "virginica")
    assert (len(iris.train), len(iris.test), iris.shape, iris.scale) == (120, 30, (4,), 1.0)
    assert given(sklearn.datasets.load_iris(as_frame=True)).checksum == iris.checksum
    assert given(sklearn.datasets.load_iris(return_X_y=True)).checksum == iris.checksum
    digits = sklearn.datasets.load_digits()
    assert given(digits).shape == (64,)
    with pytest.raises(Refused, match=r"not whole numbers|single sample"):
        given(sklearn.datasets.load_diabetes())


def test_the_order_of_train_test_split_is_told_by_its_shapes():
    x, y = sklearn.datasets.load_wine(return_X_y=True)
    split = train_test_split(x, y, test_size=0.3, random_state=0, stratify=y)
    data = given(tuple(split))
    assert len(data.test) == len(split[1])
    assert data.checksum == given((split[0], split[2], split[1], split[3])).checksum


def test_a_class_with_one_row_cannot_be_cut():
    with pytest.raises(
        Refused, match="class '9' has a single sample, which cannot be both a training and a test sample"
    ):
        given((X, np.where(np.arange(40) == 7, 9, Y)))


def test_sparse_rows_and_short_floats_are_taken_and_masked_values_refused():
    from scipy.sparse import csr_matrix

    assert given((csr_matrix(X), Y, csr_matrix(XT), YT)).checksum == WHOLE.checksum
    assert given((csr_matrix(X), Y)).checksum == given((X, Y)).checksum
    assert given((torch.tensor(X).bfloat16(), Y)).checksum == given((torch.tensor(X).bfloat16().float(), Y)).checksum
    with pytest.raises(Refused, match="has masked values; fill them or remove their samples"):
        given((np.ma.masked_array(X, X > 0.5), Y))


# --------------------------------------------------------------------------------------------------- torch


def test_classes_and_images_of_a_torch_data_set_are_kept():
    images = (RNG.random((40, 3, 5, 5)) * 255).astype("uint8")
    train = Items(images, Y)
    train.classes = ["ant", "bee", "cat", "dog"]
    data = given((train, train))
    assert data.class_names == ("ant", "bee", "cat", "dog")
    assert data.shape == (3, 5, 5)
    assert (data.train.x == images).all()


def test_random_transforms_leave_the_callers_generator_alone():
    class Noisy(Items):
        def __getitem__(self, i):
            return torch.from_numpy(self.x[i]) + 0.01 * torch.rand(6), int(self.y[i])

    before = torch.get_rng_state()
    given((Noisy(X, Y), Items(XT, YT)))
    assert torch.equal(before, torch.get_rng_state())


def test_transforms_that_draw_from_python_and_numpy_leave_the_callers_generators_alone():
    from clbench.core.global_rng import comparable_states

    class Noisy(Items):
        def __getitem__(self, i):
            noise = random.random() + np.random.random()  # noqa: NPY002 what transforms draw from
            return torch.from_numpy(self.x[i]) + 0.01 * noise, int(self.y[i])

    before = comparable_states()
    given((Noisy(X, Y), Items(XT, YT)))
    assert comparable_states() == before


def test_images_of_pillow_are_taken():
    from PIL import Image

    images = RNG.integers(0, 256, (40, 5, 7, 3), dtype=np.uint8)

    class Photos(Items):
        def __getitem__(self, i):
            return Image.fromarray(self.x[i]), int(self.y[i])

    data = given((Photos(images, Y), Photos(images, Y)))
    assert data.checksum == from_arrays("arrays", images, Y, images, Y).checksum


# --------------------------------------------------------------------------------------------------- by name


def test_a_name_stands_in_the_place_of_the_benchmarks_and_keeps_its_settings(tmp_path):
    file = tmp_path / "a+digits.npz"
    np.savez(file, x_train=X, y_train=Y, x_test=XT, y_test=YT)
    benchmark = {**BENCHMARK, "stream": {**BENCHMARK["stream"], "dataset": {"name": "mnist", "train_rows": 20}}}
    by_path, by_name = (
        clbench.run(benchmark, dataset=name, strategies="naive", seeds=1)[0] for name in (file, f"npz:'{file}'")
    )
    assert by_path.status == "done"
    assert by_path.key == by_name.key
    assert by_path.cell["stream"]["dataset"]["train_rows"] == 20
    assert by_path.cell["stream"]["dataset"]["name"] == f"npz:'{file}'"
    named = clbench.run("split-digits", dataset="digits", strategies="naive", seeds=1, overrides={"training.epochs": 1})
    plain = clbench.run("split-digits", strategies="naive", seeds=1, overrides={"training.epochs": 1})
    assert named[0].key == plain[0].key


def test_a_name_that_is_none_is_refused_as_in_a_file():
    with pytest.raises(Refused, match="did you mean 'digits'"):
        clbench.run(BENCHMARK, dataset="digit", strategies="naive", seeds=1)


# --------------------------------------------------------------------------------------------------- csv


def write_csv(file, **columns):
    pd.concat([frame(X, Y), frame(XT, YT)]).assign(**columns).to_csv(file, index=False)
    return file


def test_a_csv_file_is_read_by_its_columns(tmp_path):
    split = ["train"] * 40 + ["test"] * 20
    write_csv(tmp_path / "told.csv", split=split)
    write_csv(tmp_path / "other.csv", fold=split)
    pd.concat([frame(X, Y, "kind"), frame(XT, YT, "kind")]).assign(split=split).to_csv(tmp_path / "indexed.csv")
    whole = pd.read_csv(tmp_path / "told.csv")
    expected = given(whole).checksum
    assert len(given(whole).test) == 20
    assert load("csv:told.csv", tmp_path).checksum == expected
    assert load("csv:other.csv?split=fold", tmp_path).checksum == expected
    indexed = load("csv:indexed.csv?label=kind", tmp_path)
    assert indexed.shape == (6,)  # the nameless column is pandas' index
    assert indexed.checksum == expected
    pd.read_csv(tmp_path / "told.csv").to_csv(tmp_path / "again.csv")
    assert load("csv:again.csv", tmp_path).checksum == expected


def test_a_csv_file_without_a_split_is_cut_by_the_fraction_that_was_said(tmp_path):
    write_csv(tmp_path / "a.csv")
    assert len(load("csv:a.csv", tmp_path).test) == 12
    assert len(load("csv:a.csv?test=0.5", tmp_path).test) == 30
    assert given(tmp_path / "a.csv").checksum == load("csv:a.csv", tmp_path).checksum


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("csv:no.csv", "there is no file"),
        ("csv:a.csv?label=kin", "has no column 'kin'"),
        ("csv:b.csv?label=c1", "labels such as .*, which are not whole numbers"),
        ("csv:a.csv?split=word", "column 'word' has 'hello'; it says train or test for every row"),
        ("csv:dates.csv", "column 'word' holds 600 different texts, and at most 100 categories are encoded one-hot"),
        ("csv:marks.csv", r"column 'word' holds numbers and texts such as '\?'; write numbers alone"),
        ("csv:a.csv?labels=c1", "'labels=c1' is not known; did you mean 'label'"),
        ("csv:a.csv?test=2", "test is the fraction of test samples"),
        ("csv:gaps.csv", "column 'c0' lacks 1 of 60 values; set missing: mean .*, or missing: drop"),
        (
            "csv:bare.csv",
            r"has no column of labels \(one of label, .*name it: dataset: {name: csv:FILE, label",
        ),
        ("csv:empty.csv", "cannot be read as CSV"),
    ],
)
def test_a_csv_file_that_cannot_be_used_is_refused_with_the_cure(tmp_path, name, message):
    write_csv(tmp_path / "a.csv", word="hello")
    write_csv(tmp_path / "b.csv")
    write_csv(tmp_path / "gaps.csv", c0=[np.nan] + [0.5] * 59)
    write_csv(tmp_path / "marks.csv", word=[str(i) for i in range(59)] + ["?"])
    pd.DataFrame({"word": [f"day {i}" for i in range(750)], "label": [0, 1] * 375}).to_csv(tmp_path / "dates.csv")
    frame(X, Y, "what").to_csv(tmp_path / "bare.csv", index=False)
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(Refused, match=message):
        load(name, tmp_path)


def test_columns_of_whole_numbers_and_of_truth_values_are_numbers(tmp_path):
    table = pd.DataFrame(
        {"a": range(12), "b": [True, False] * 6, "c": pd.array([1, 2] * 6, "Int64"), "label": [0, 1] * 6}
    )
    data = given(table)
    assert data.shape == (3,)
    assert data.train.x.dtype == np.float32
    assert {tuple(row) for row in np.concatenate([data.train.x, data.test.x]).tolist()} == {
        (float(i), float(i % 2 == 0), float(1 + i % 2)) for i in range(12)
    }


def test_two_frames_are_matched_by_the_names_of_their_columns():
    train, test = frame(X, Y), frame(XT, YT)
    assert given((train, test[sorted(test.columns, reverse=True)])).checksum == WHOLE.checksum
    with pytest.raises(Refused, match="only one of both frames has the columns c0, extra"):
        given((train, test.rename(columns={"c0": "extra"})))
    with pytest.raises(Refused, match="has the column 'c1' twice"):
        given((train.rename(columns={"c0": "c1"}), test))


# --------------------------------------------------------------------------------------------------- anything else


def test_a_file_is_taken_by_its_path_as_text_too(tmp_path):
    path = tmp_path / "my +rows.csv"
    frame(X, Y).to_csv(path, index=False)
    whole, text = given(path), given(str(path))
    assert (whole.checksum, whole.train.x.shape) == (text.checksum, (32, 6))
    with pytest.raises(Refused, match="no data set called"):
        given(str(tmp_path / "none.csv"))


class Endless(TorchDataset):
    """A map-style data set without a length, which Python's own protocol ends."""

    def __getitem__(self, i):
        return torch.from_numpy(X[i]), int(Y[i])


class Torn(Items):
    def __getitem__(self, i):
        if i == 3:
            raise OSError("no such image")
        return super().__getitem__(i)


def test_a_torch_data_set_without_a_length_is_read_to_its_end():
    assert given((Endless(), Items(XT, YT))).checksum == WHOLE.checksum


def test_an_item_that_cannot_be_read_is_told_by_its_number():
    with pytest.raises(Refused, match=r"item 3 of Torn cannot be read \(OSError: no such image\)"):
        given((Torn(X, Y), Items(XT, YT)))


NONE = {
    "number": 3,
    "mapping of some": {"x_train": X},
    "empty mapping": {},
    "three": (X, Y, XT),
    "one": (X,),
    "six": (X, Y, XT, YT, X, Y),
    "rows alone": X,
    "three pairs": ((X, Y), (XT, YT), (XT, YT)),
    "torch and array": (tensors(X, Y), X),
    "function": lambda: (X, Y),
    "frame and number": (frame(X, Y), 3),
    "pair and column": ((X, Y), "label"),
    "tensors without labels": TensorDataset(torch.tensor(X)),
    "bytes": b"digits",
}


@pytest.mark.parametrize("form", NONE)
def test_anything_else_is_refused_with_what_is_taken(form):
    for use in (
        lambda: clbench.run(BENCHMARK, dataset=NONE[form], strategies="naive", seeds=1),
        lambda: clbench.stream("split", NONE[form], experiences=2),
    ):
        with pytest.raises(Refused, match="dataset="):
            use()


def test_the_refusal_names_what_came_and_every_form():
    with pytest.raises(Refused) as caught:
        given((X, Y, XT))
    said = str(caught.value)
    assert said.startswith("dataset= is a tuple of ndarray, ndarray, ndarray; it takes a clbench.Dataset; a name")
    for form in ("x_train, y_train, x_test, y_test", "torch", "pandas", "Bunch", "mapping", "csv:FILE"):
        assert form in said

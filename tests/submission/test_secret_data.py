"""Data that a secret key has changed: it is as hard for honest strategies, and tells who knows the test samples."""

import numpy as np
import pytest
from small_submission import HERE, SMALL, honest

from clbench import api
from clbench.core.rng import Generator
from clbench.running.plan import plan, rows
from clbench.submission.cell_runs import RunSettings
from clbench.submission.rerun_results import failures
from clbench.submission.secret_data import _groups, _labels, secret_data
from clbench.submission.secret_runs import try_secret_data
from clbench.submission.submitted_rows import values

KNOWS_THE_DIGITS = """
import torch
from clbench import Part
from clbench.models.output import Output
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

known = load_digits()
fitted = LogisticRegression(C=10, max_iter=3000).fit(known.data / 16, known.target)

class Oracle(Part):
    \"\"\"Answers with a classifier that was trained on all digits, those of the test included.\"\"\"

    def attach(self, learner):
        self.state.setdefault("w", torch.tensor(fitted.coef_, dtype=torch.float32))
        self.state.setdefault("b", torch.tensor(fitted.intercept_, dtype=torch.float32))

    def answer(self, learner, x, task):
        logits = x.flatten(1) @ self.state["w"].T + self.state["b"]
        return Output(logits, logits)
"""


def cell_with(**sections):
    """A cell of the small benchmark with other settings."""
    return plan({**SMALL, **sections}, strategies=["er"], seeds=1).cells[0].config


def test_pixels_move_alike_in_all_samples_and_every_class_gets_another_label():
    cell = cell_with()
    plain, (changed, told) = rows(cell["stream"]), secret_data(cell, [0, 1], 7)
    assert told == "permuted pixels and permuted labels"
    assert changed.checksum != plain.checksum
    for ours, theirs in ((changed.train, plain.train), (changed.test, plain.test)):
        assert ours.x.dtype == theirs.x.dtype
        np.testing.assert_array_equal(np.sort(ours.x.reshape(len(ours), -1)), np.sort(theirs.x.reshape(len(ours), -1)))
        assert not np.any(ours.y == theirs.y)
    labels = {int(a): int(b) for a, b in zip(plain.train.y, changed.train.y, strict=True)}
    assert sorted(labels.values()) == list(range(10))
    assert [labels[int(y)] for y in plain.test.y] == changed.test.y.tolist()
    assert all(changed.class_names[b] == plain.class_names[a] for a, b in labels.items())
    columns = plain.train.x.reshape(len(plain.train), -1).T
    moved = changed.train.x.reshape(len(plain.train), -1).T
    assert sorted(map(bytes, columns)) == sorted(map(bytes, moved))  # whole columns: one order for all samples


def test_another_key_makes_other_data_and_the_same_key_the_same():
    cell = cell_with()
    a, b, c = (secret_data(cell, [0, 1], key)[0] for key in (1, 1, 2))
    np.testing.assert_array_equal(a.test.x, b.test.x)
    assert not np.array_equal(a.test.x, c.test.x)
    assert a.checksum == b.checksum != c.checksum


@pytest.mark.parametrize(
    ("sections", "told"),
    [
        ({"model": {"name": "cnn", "width": 4, "hidden": 16}}, "mirrored or turned images"),
        ({"stream": {"scenario": "rotated", "dataset": "digits", "experiences": 2}}, "mirrored or turned images"),
        ({"training": {**SMALL["training"], "augment": "crop"}}, "mirrored or turned images"),
    ],
)
def test_images_are_turned_where_the_places_of_pixels_matter(sections, told):
    cell = cell_with(**sections)
    plain, (changed, words) = rows(cell["stream"]), secret_data(cell, [0, 1], 3)
    assert words == f"{told} and permuted labels"
    one, theirs = changed.test.x[5, 0], plain.test.x[5, 0]
    turns = [np.rot90(each, n) for each in (theirs, theirs.T) for n in range(4)]
    assert not np.array_equal(one, theirs)
    assert any(np.array_equal(one, each) for each in turns)


def test_where_classes_have_a_fixed_order_labels_stay_in_their_tasks():
    seeded, fixed = cell_with(), cell_with(stream={**SMALL["stream"], "order": "fixed", "experiences": 5})
    data = rows(fixed["stream"])
    assert len(np.unique(_groups(seeded, data, [0, 1], None))) == 1
    pairs = _groups(fixed, data, [0, 1], None)
    assert pairs[::2].tolist() == pairs[1::2].tolist()
    assert len(set(pairs.tolist())) == 5
    labels = _labels(_groups(fixed, data, [0, 1], None), 10, Generator(0, "here"))
    assert labels.tolist() == [1, 0, 3, 2, 5, 4, 7, 6, 9, 8]


def test_honest_strategies_stay_in_their_band_on_data_of_several_keys():
    results = [each for key in range(4) for each in try_secret_data(honest(), key=key)]
    assert [each.holds for each in results] == [True] * 8
    assert all("in the band of its seeds" in each.sentence for each in results)


def test_an_honest_convolutional_network_stays_in_its_band():
    benchmark = {**SMALL, "model": {"name": "cnn", "width": 4, "hidden": 16}}
    made = api.run(benchmark, strategies=["er"], seeds=4)
    assert not failures(each for key in range(3) for each in try_secret_data(made, settings=HERE, key=key))


def test_a_strategy_that_knows_all_digits_by_heart_ranks_first_and_collapses_on_secret_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "oracle.py").write_text(KNOWS_THE_DIGITS)
    made = api.run(SMALL, strategies=["oracle.py:Oracle"], seeds=3)
    assert min(values(made, "acc")) > 0.95
    assert max(values(honest(), "acc")) < 0.9
    found = failures(try_secret_data(made, settings=RunSettings(trust=True)))
    assert len(found) == 1
    assert "as if it knew the plain data by heart" in found[0].sentence
    assert found[0].level == "honest seeds"

"""Rasters, lags and samples show what is in the stream."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_data import tiny

from clbench.plots import save
from clbench.plots.picture_format import Format
from clbench.plots.stream_plot import _samples, picture, terminal
from clbench.scenarios import make
from clbench.scenarios.lags import frequency_by_lag
from clbench.scenarios.raster import lags, raster
from clbench.scenarios.split import split

DATA = tiny(6, per_class=40)


# ------------------------------------------------------------------------------------------- rasters


def test_the_raster_of_a_split_has_the_share_of_each_class():
    found = raster(split(tiny(4), 0, experiences=2, order="fixed"))
    assert (found.by, found.names) == ("class", ("c0", "c1", "c2", "c3"))
    assert found.edges.tolist() == [0, 1, 2]
    expected = [[5 / 11, 0], [6 / 11, 0], [0, 7 / 15], [0, 8 / 15]]
    np.testing.assert_allclose(found.share, expected)


def test_tasks_are_shown_where_they_are_views_and_concepts_where_the_world_drifts():
    permuted = raster(make({"scenario": "permuted", "experiences": 3}, DATA, 0))
    assert permuted.by == "task"
    np.testing.assert_array_equal(permuted.share, np.eye(3))
    drift = raster(make({"scenario": "drift", "changes": 2}, DATA, 0))
    assert drift.by == "concept"
    assert drift.share.shape[0] == 3
    assert drift.share[:, 0].tolist() == [1, 0, 0]


def test_experiences_that_keep_their_order_are_cut_finer():
    stream = make({"scenario": "gaussian", "sigma": 0, "experiences": 1}, DATA, 0)
    found = raster(stream, columns=30)
    assert found.share.shape == (6, 30)
    assert (found.edges[0], found.edges[-1]) == (0, 1)
    order = np.argmax(found.share, axis=0)
    assert (np.diff(order) != 0).sum() == 5  # one class after another


@pytest.mark.parametrize("by", ["class", "task"])
def test_columns_of_long_streams_are_means_of_some_experiences(by):
    stream = make({"scenario": "scole", "experiences": 1000}, DATA, 0)
    found = raster(stream, columns=50, by=by)
    assert found.share.shape == (6, 50)
    np.testing.assert_allclose(found.share.sum(axis=0), 1)
    np.testing.assert_array_equal(found.edges, np.arange(51) * 20)
    seen = [stream[i] for i in (0, 6, 13, 19)]
    expected = np.mean([np.bincount(DATA.train.y[e.rows], minlength=6) / len(e) for e in seen], axis=0)
    np.testing.assert_allclose(found.share[:, 0], expected)


# ------------------------------------------------------------------------------------------- lags


def test_lags_of_a_power_law_are_those_of_its_schedule():
    stream = make({"scenario": "power_law", "tasks": 8, "alpha": 1.0, "rehearsal": 3.0}, DATA, 0)
    found = lags(stream)
    lag, frequency = frequency_by_lag(stream)
    np.testing.assert_allclose(found.lag, lag)
    np.testing.assert_allclose(found.frequency, frequency)
    np.testing.assert_allclose(found.frequency, 1 / lag, rtol=0.05)
    assert found.exponent == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_lags_are_counted_where_the_scenario_does_not_tell_them(alpha):
    apply = [{"recur": {"visits": 2000, "alpha": alpha}}, {"subsample": {"fraction": 0.02}}]
    stream = make({"scenario": "split", "experiences": 6, "apply": apply}, DATA, 1)
    assert lags(stream).exponent == pytest.approx(alpha, abs=0.1)
    assert lags(stream, by="task").exponent == pytest.approx(alpha, abs=0.1)


def test_classes_in_pairs_come_back_as_often_at_lag_1_as_at_lag_1():
    apply = [{"recur": {"visits": 400, "schedule": "uniform"}}]
    found = lags(make({"scenario": "split", "experiences": 3, "apply": apply}, DATA, 0))
    assert found.frequency[0] == pytest.approx(1)
    np.testing.assert_allclose(found.frequency[:4], 1, atol=0.35)


@pytest.mark.parametrize("scenario", ["split", "permuted", "online", "gaussian"])
def test_streams_without_recurrence_have_no_lags(scenario):
    assert lags(make({"scenario": scenario}, DATA, 0)) is None


# ------------------------------------------------------------------------------------------- pictures


@pytest.mark.parametrize(
    "config",
    [
        {"scenario": "split"},
        {"scenario": "corrupted", "corruptions": ["fog"], "order": "mixed"},
        {"scenario": "power_law", "tasks": 4},
        {"scenario": "scole", "experiences": 300},
        {"scenario": "drift"},
        {"scenario": "split", "setting": "domain", "experiences": 1},
    ],
    ids=lambda c: c["scenario"],
)
def test_every_kind_of_stream_has_a_picture(config, tmp_path):
    stream = make(config, DATA, 0)
    figure = picture(stream)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert any(title.startswith("which ") for title in titles)
    assert ("frequency of recurrence" in titles) == (lags(stream) is not None)
    assert stream.fingerprint in figure.get_label()
    path = save(figure, tmp_path / "stream.png")
    assert path.stat().st_size > 10_000


def test_samples_are_shown_as_the_learner_sees_them_with_their_units():
    stream = make({"scenario": "permuted", "experiences": 2, "setting": "class"}, DATA, 0)
    (first, plain, units), (_, permuted, later) = list(_samples(stream))
    assert units.tolist() == [0, 1, 3, 5]
    assert later.tolist() == [6, 7, 9, 11]
    y = DATA.train.y[first.rows]
    for image, unit in zip(plain, units, strict=True):
        row = first.rows[np.flatnonzero(y == unit)[0]]
        np.testing.assert_allclose(image, DATA.train.x[row] / 255, rtol=1e-6)
    order = stream.transform.orders[1]
    np.testing.assert_allclose(permuted.reshape(4, -1), plain.reshape(4, -1)[:, order], rtol=1e-6)


def test_vectors_and_colour_have_pictures_too():
    assert len(picture(split(tiny(4, shape=(16,)), 0, experiences=2)).axes) == 2  # raster and its scale
    assert len(picture(split(tiny(4, shape=(3, 5, 5)), 0, experiences=2)).axes) == 4
    assert len(picture(split(tiny(4), 0, experiences=2), samples=False).axes) == 2


# ------------------------------------------------------------------------------------------- the terminal


def test_the_terminal_shows_the_raster_in_blocks():
    text = terminal(split(tiny(4), 0, experiences=2, order="fixed"), 30)
    lines = text.splitlines()
    assert len(lines) == 6
    assert all(len(line) <= 30 for line in lines)
    cells = [line[11:] for line in lines[:4]]
    assert [line[:10].strip() for line in lines[:4]] == ["c0", "c1", "c2", "c3"]
    assert [set(c[:9]) == {" "} for c in cells] == [False, False, True, True]
    assert [set(c[10:]) == {" "} for c in cells] == [True, True, False, False]
    assert cells[3][10:] == "█" * 9  # the largest share
    assert lines[4].split() == ["0", "1"]


def test_the_terminal_joins_rows_when_there_are_too_many_and_thins_long_streams():
    text = terminal(make({"scenario": "scole", "experiences": 500}, DATA, 0), 60, height=3)
    lines = text.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["c0..c1", "c2..c3", "c4..c5"]
    assert max(map(len, lines)) == 60
    assert lines[3].endswith("499")


def test_terminal_and_rasters_need_no_torch_and_no_matplotlib():
    code = (
        f"import sys; sys.path[:0] = {[str(path) for path in Path(__file__).parents[1:3]]}\n"
        f"sys.path.insert(0, {str(Path(__file__).parents[1] / 'scenarios')!r})\n"
        "from test_scenarios_fingerprints import fixed, make\n"
        "from clbench.plots.stream_plot import terminal\n"
        "terminal(make({'scenario': 'permuted'}, fixed(), 0))\n"
        "print(sorted({'torch', 'matplotlib'} & set(sys.modules)))\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_a_picture_of_a_stream_has_the_size_and_letters_asked_for():
    stream = split(tiny(4, shape=(3, 5, 5)), 0, experiences=2)
    figure = picture(stream, Format(width=3.3, height=4.0, title=False))
    assert figure.get_size_inches() == pytest.approx((3.3, 4.0))
    assert figure.texts == []
    assert figure.get_label().startswith("split of ")
    assert figure.axes[0].title.get_fontsize() < picture(stream).axes[0].title.get_fontsize()

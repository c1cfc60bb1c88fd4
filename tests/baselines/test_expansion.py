"""The finding about the stability gap is worked out from records alone, and pictures show the look at a switch."""

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synthetic import record, trace_from

from clbench.core import store
from clbench.metrics import curves
from clbench.plots import stability_gap, switch_gaps

HERE = Path(__file__).parents[2] / "baselines" / "stability-gap"


@pytest.fixture(scope="module")
def expansion():
    sys.path.insert(0, str(HERE))
    try:
        return importlib.import_module("expansion")
    finally:
        sys.path.remove(str(HERE))


def falling(expanded, trained, *, seed=0, look=True):
    """Two tasks, the first at 0.8: it loses ``expanded`` at the switch, ``trained`` at the deepest, 0.1 for good."""
    scores = {
        0: 0.1,
        1: 0.5,
        2: 0.8,
        3: 0.75 - expanded,
        4: 0.8 - expanded - trained,
        5: 0.7 - expanded,
        6: 0.7 - expanded,
    }
    at_switch = lambda e, ended: np.array([0.8 - expanded, 0.0]) if e else ended  # noqa: E731
    trace = trace_from(
        np.eye(2), [2, 4], lambda step, _: np.array([scores[step], 0.5]), at_switch=at_switch if look else None
    )
    classes = np.where(trace.experience > 0, 4, 2)[:, None] * np.isfinite(trace.score)
    return replace(trace, competing=classes.astype(np.int32)) if look else trace


def folder_of(path, kinds, seeds=3):
    for label, settings in kinds.items():
        for seed in range(seeds):
            store.save(record(label, seed, falling(**settings)), path)
    return path


def test_the_tables_are_worked_out_within_a_seed_and_say_what_is_not_told(expansion, tmp_path):
    arriving = folder_of(
        tmp_path / "class",
        {
            "er": {"expanded": 0.1, "trained": 0.3},
            "frozen": {"expanded": 0.2, "trained": 0.0},
            "older": {"expanded": 0.1, "trained": 0.3, "look": False},
        },
    )
    still = folder_of(tmp_path / "task", {"er": {"expanded": 0.0, "trained": 0.4}})
    expansion.main([arriving, still], tmp_path)
    text = (tmp_path / "expansion.md").read_text(encoding="utf-8")
    rows = {
        line.split("|")[1].strip(): [c.strip() for c in line.split("|")[2:-1]]
        for line in text.splitlines()
        if "| `" in line
    }
    assert rows["`er`"] == [
        "3",
        "40.0 ± 0.0",
        "10.0 ± 0.0",
        "30.0 ± 0.0",
        "25.0 ± 0.0",
        "42.9 ± 0.0",
        "3 of 3",
    ]
    # training of the frozen one takes 0.1 here, since the made-up experience ends 0.1 lower
    assert rows["`frozen`"][1:5] == ["30.0 ± 0.0", "20.0 ± 0.0", "10.0 ± 0.0", "66.7 ± 0.0"]
    assert "`older`" not in rows
    assert "- split-digits@1, class (`class`): `older`" in text
    assert "- split-digits@1, class (`task`)" in text.partition("## Streams without new outputs")[2]
    assert (tmp_path / "expansion.png").stat().st_size > 10_000


def test_benchmarks_that_share_a_folder_have_a_table_each(expansion, tmp_path):
    for name, expanded in (("one", 0.1), ("two", 0.2)):
        for seed in range(2):
            store.save(record("er", seed, falling(expanded, 0.3), name=name), tmp_path)
    first, second = expansion.read(tmp_path, tmp_path)
    assert [group.title for group in (first, second)] == ["one@1, class (`.`)", "two@1, class (`.`)"]
    assert [group.rows[0].expansion.tolist() for group in (first, second)] == [
        pytest.approx([0.1, 0.1]),
        pytest.approx([0.2, 0.2]),
    ]


def test_a_folder_without_gaps_is_left_out(expansion, tmp_path):
    store.save(record("joint", 0, trace_from(np.ones((1, 2)), [5], lambda *_: np.array([0.5, 0.6]))), tmp_path)
    assert expansion.read(tmp_path, tmp_path.parent) == []


# --------------------------------------------------------------------------------------------------- pictures


def hollow(axes):
    return [line.get_ydata()[0] for line in axes.get_lines() if line.get_label() == "_arrived"]


def test_pictures_mark_the_look_at_a_switch_where_outputs_change_something():
    records = [record("er", seed, falling(0.1, 0.3)) for seed in range(3)]
    figure = stability_gap(records)
    assert hollow(figure.axes[1]) == pytest.approx([0.7])
    assert "hollow" in figure.texts[-1].get_text()
    figure = switch_gaps(records)
    assert hollow(figure.axes[0]) == pytest.approx([-0.1])
    points = figure.axes[1].containers[0].lines[0].get_ydata()
    np.testing.assert_allclose(points, [-0.1, -0.4, -0.2])
    assert curves.arrival(records[0].trace, 1, np.array([True, False])) == pytest.approx(-0.1)


@pytest.mark.parametrize("look", [True, False])
def test_pictures_are_as_before_where_nothing_changes_or_nothing_is_told(look):
    records = [record("er", seed, falling(0.0, 0.3, look=look)) for seed in range(3)]
    figure = stability_gap(records)
    assert hollow(figure.axes[1]) == []
    assert "hollow" not in figure.texts[-1].get_text()
    points = switch_gaps(records).axes[1].containers[0].lines[0].get_ydata()
    np.testing.assert_allclose(points, ([0.0] if look else []) + [-0.3, -0.1], atol=1e-12)

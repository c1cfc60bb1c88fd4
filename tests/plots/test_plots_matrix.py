"""What is in the picture of the matrix R, read off its artists."""

import numpy as np
import pytest
from synthetic import dipping, matrix, record, trace_from

from clbench.core.errors import Refused
from clbench.metrics import end_scores
from clbench.metrics.interval import half_width
from clbench.plots import end_matrix

ENDS = np.array([[0.90, 0.10], [0.50, 0.80], [0.72, 0.41]])  # R[e, i]
PRESENT = [[1, 0], [0, 1], [1, 0]]


def visits(seed=0, *, present=PRESENT, ends=ENDS):
    return record("er", seed, trace_from(present, [2] * len(ends), lambda _, e: ends[max(e, 0)] + 0.02 * seed))


def panels(figure):
    return [axes for axes in figure.axes if axes.get_images()]


def image(axes):
    return axes.get_images()[0].get_array()


def frames(axes):
    """Centres of the frames: (experience, task)."""
    found = [patch for patch in axes.patches if not patch.get_fill()]
    return sorted((round(p.get_x() + p.get_width() / 2), round(p.get_y() + p.get_height() / 2)) for p in found)


def heading(figure):
    return " ".join(text.get_text() for text in figure.texts)


def test_tasks_go_down_and_experiences_to_the_right_with_the_mean_over_seeds():
    (axes,) = panels(end_matrix([visits(0), visits(1)]))
    assert image(axes).shape == (2, 3)
    np.testing.assert_allclose(image(axes).compressed(), (ENDS.T + 0.01)[[0, 0, 0, 1, 1], [0, 1, 2, 1, 2]])
    assert np.argwhere(image(axes).mask).tolist() == [[1, 0]]


def test_cells_hold_their_numbers_and_tasks_not_seen_yet_too():
    (axes,) = panels(end_matrix([visits()]))
    numbers = {text.get_position(): text.get_text() for text in axes.texts}
    assert numbers == {(0, 0): "90", (1, 0): "50", (2, 0): "72", (0, 1): "10", (1, 1): "80", (2, 1): "41"}


def test_numbers_are_light_on_dark_grounds_and_dark_on_light_ones():
    (axes,) = panels(end_matrix([visits()]))
    colours = {text.get_text(): text.get_color() for text in axes.texts}
    assert colours["90"] == "white"
    assert colours["41"] not in ("white", colours["10"])


def test_the_interval_is_printed_from_three_seeds_on():
    assert not [t for t in panels(end_matrix([visits(0), visits(1)]))[0].texts if "±" in t.get_text()]
    figure = end_matrix([visits(seed) for seed in range(3)])
    half = 100 * half_width([0, 0.02, 0.04])
    assert {t.get_text() for t in panels(figure)[0].texts if "±" in t.get_text()} == {f"±{half:.0f}"}
    assert "± 95 % interval" in heading(figure)


def test_frames_mark_the_tasks_present_where_all_seeds_agree():
    figure = end_matrix([visits(0), visits(1)])
    assert frames(panels(figure)[0]) == [(0, 0), (1, 1), (2, 0)]
    assert "frame: present" in heading(figure)
    other = end_matrix([visits(0), visits(1, present=[[1, 0], [0, 1], [0, 1]])])
    assert frames(panels(other)[0]) == []
    assert "frame" not in heading(other)


def test_every_strategy_has_a_panel_with_its_acc_and_cells_of_one_size():
    records = matrix([0])
    figure = end_matrix(records)
    titles = [axes.get_title(loc="left").split("\n") for axes in panels(figure)]
    finished = [r for r in records if r.trace is not None]
    assert [title[0] for title in titles] == [
        r.label for r in sorted(finished, key=lambda r: -r.trace.score[-1].mean())
    ]
    naive = next(r.trace for r in records if r.label == "naive")
    assert titles[-1][1] == f"ACC {100 * end_scores(naive)[-1].mean():.1f} %"
    assert {axes.get_xlim() for axes in panels(figure)} == {(-0.5, 4.5)}
    joint = panels(figure)[[title[0] for title in titles].index("joint")]
    assert image(joint).shape == (5, 1)
    assert list(joint.get_xticks()) == [0]


def test_long_streams_have_neither_numbers_nor_frames():
    figure = end_matrix([record("er", 0, dipping(0, tasks=30, length=2))])
    (axes,) = panels(figure)
    assert image(axes).shape == (30, 30)
    assert not axes.texts
    assert not frames(axes)
    assert "numbers" not in heading(figure)


def test_seeds_of_different_shapes_have_no_mean():
    with pytest.raises(Refused, match="'er' has no mean: its seeds differ"):
        end_matrix([visits(0), record("er", 1, dipping(1))])

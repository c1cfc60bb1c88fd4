"""Results as lines of text, and the table of the kinds of pictures."""

import subprocess
import sys

import numpy as np
import pytest
from matplotlib.text import Text
from synthetic import dipping, matrix, record, trace_from

from clbench import plots
from clbench.core.errors import Refused
from clbench.metrics import acc, curves, wc_acc
from clbench.plots import KINDS, sparklines
from clbench.plots.terminal_plot import heights


def steps(levels, *, label="er", seed=0, length=10):
    """One task, an experience of ``length`` iterations for each level of accuracy."""
    trace = trace_from(
        [[1]] * len(levels), [length] * len(levels), lambda step, e: np.array([levels[max(e, 0)]]), every=1
    )
    return record(label, seed, trace)


def rows(text):
    """The lines of strategies of a block: label -> the rest."""
    return {line.split("  ")[0]: line for line in text.splitlines()[3:]}


def test_a_column_is_the_mean_of_its_share_of_the_iterations():
    trace = trace_from([[1]], [8], lambda step, _: np.array([step / 8]))
    # No task is seen before the first step, so the line is level up to there: (0.125 + (0.125 + 0.25) / 2) / 2.
    np.testing.assert_allclose(heights([trace], np.array([0.0, 8.0]), 4), [0.15625, 0.375, 0.625, 0.875])


def test_seeds_are_averaged_after_their_experiences_are_scaled_to_one_length():
    short, long = (trace_from([[1], [1]], [n, n], lambda s, e: np.array([[0.2, 0.8][max(e, 0)]])) for n in (40, 80))
    boundaries = np.array([0.0, 60.0, 120.0])
    np.testing.assert_allclose(heights([short, long], boundaries, 6), [0.2, 0.2, 0.2, 0.8, 0.8, 0.8], atol=0.03)


def test_blocks_are_eighths_and_digits_tenths():
    records = [steps([0.0, 0.3, 1.0], length=200)]
    assert "▁" * 5 + "▃" in rows(sparklines(records, width=60))["er"]
    assert rows(sparklines(records, width=60))["er"].count("█") > 5
    line = rows(sparklines(records, width=60, ascii=True))["er"]
    assert {"0", "3", "9"} <= set(line.split()[1])


def test_marks_stand_over_the_columns_in_which_experiences_begin():
    text = sparklines([steps([0.1, 0.9], length=500)], width=60)
    marks, line = text.splitlines()[2:4]
    place = marks.index("╷")
    assert set(line[place + 1 : place + 5]) == {"█"}
    assert set(line[place - 5 : place]) == {"▁"}


def test_no_marks_where_they_would_stand_in_every_other_column():
    text = sparklines([steps([0.5] * 40, length=2)], width=60)
    assert "╷" not in text
    assert "40 experiences, 80 iterations, 1 seed" in text


def test_the_best_comes_first_with_acc_and_wc_acc_beside_it():
    records = matrix([0])
    lines = rows(sparklines(records, width=100))
    means = {r.label: (acc(r.trace), wc_acc(r.trace)) for r in records if r.trace}
    assert list(lines) == sorted(means, key=lambda label: -means[label][0])
    assert lines["naive"].split()[-2:] == [f"{100 * value:.1f}" for value in means["naive"]]


def test_an_upper_bound_with_its_own_experiences_is_level():
    joint = rows(sparklines(matrix([0]), width=100))["joint"].split()[1]
    assert set(joint) == {"█"}


@pytest.mark.parametrize("width", [50, 80, 133])
@pytest.mark.parametrize("ascii", [False, True])
def test_lines_fit_the_terminal_and_use_its_width(width, ascii):
    text = sparklines(matrix(range(3)), width=width, ascii=ascii)
    assert max(map(len, text.splitlines())) == width
    assert text.isascii() == ascii
    assert ("+-" in text) == ascii


def test_long_labels_are_cut():
    records = [steps([0.5], label="x" * 80)]
    assert f"\n{'x' * 31}…  " in sparklines(records, width=80)
    assert f"\n{'x' * 29}...  " in sparklines(records, width=80, ascii=True)


def test_several_benchmarks_are_printed_one_after_the_other():
    records = [record("er", 0, dipping(0), name=name) for name in ("b", "a")]
    assert [block.split("@")[0] for block in sparklines(records).split("\n\n")] == ["a", "b"]
    assert "a@1" not in sparklines(records, benchmark="b@1")
    with pytest.raises(Refused, match="choose one"):
        sparklines(records, strategies=["er"])
    with pytest.raises(Refused, match="no cell is done"):
        sparklines([record("er", 0, status="failed", reason="x")])


# ---------------------------------------------------------------------------------------------------- kinds


def test_every_kind_takes_records_and_gives_a_picture():
    records = matrix([0])
    assert list(KINDS) == [
        "gap", "tasks", "switches", "matrix", "classes", "predictions", "confusion", "lag", "cost", "readings",
        "spark",
    ]  # fmt: skip
    for name, kind in KINDS.items():
        if name in ("classes", "predictions", "confusion", "readings"):  # need more than these records
            continue
        settings = {"cost": "steps"} if name == "cost" else {}
        made = kind.function(records, benchmark="split-digits@1", strategies=["er", "naive"], **settings)
        text = made if name == "spark" else " ".join(artist.get_text() for artist in made.findobj(Text))
        assert "split-digits@1" in text
        assert "agem" not in text
        assert kind.meaning


def test_an_unknown_kind_is_refused_with_the_nearest_one():
    with pytest.raises(Refused, match="did you mean 'switches'"):
        plots.get("switch")


def test_every_public_name_is_there_and_no_other():
    assert all(getattr(plots, name) is not None for name in plots.__all__)
    with pytest.raises(AttributeError, match="stability_gap"):
        plots.stability  # noqa: B018


def test_the_table_of_kinds_loads_neither_numpy_nor_matplotlib():
    code = "import sys, clbench.plots as p; print(len(p.KINDS), sorted({'numpy', 'matplotlib'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "11 []"


def test_curves_are_shared_between_line_and_text():
    trace = dipping(0)
    whole = curves.series(trace, curves.selected(trace, "seen"))
    mean = heights([trace], curves.experience_boundaries(trace), 1)
    assert mean[0] == pytest.approx(np.trapezoid(whole.y, whole.x) / whole.x[-1], abs=0.02)

"""What people read of scores that are no accuracies: metrics of a hand-made trace, boards, pictures and alarms."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from clbench import plots
from clbench.core.errors import Refused
from clbench.core.measure import ACCURACY, Measure
from clbench.core.record import Kind, Record, Trace
from clbench.evaluate.trace_alarms import of_trace
from clbench.families.regression import R2
from clbench.leaderboard import board, render
from clbench.metrics import compute, get
from clbench.running.progress import outcome_text
from clbench.running.wandb_tracker import history

BITS = Measure(name="bits per byte", short="bits", lower_is_better=True, decimals=2)


def trace(measure: Measure = R2) -> Trace:
    """Two tasks in two experiences of four steps: R² of the first falls from 0.8 to -0.4 and ends at 0.2."""
    rows = [  # step, kind, experience, scores of both tasks
        (0, Kind.START, -1, -1.0, -1.2), (0, Kind.SWITCH, 0, -1.0, -1.2),
        (2, Kind.STEP, 0, 0.4, np.nan), (4, Kind.STEP, 0, 0.8, np.nan), (4, Kind.END, 0, 0.8, -0.9),
        (4, Kind.SWITCH, 1, 0.8, -0.9),
        (5, Kind.STEP, 1, -0.4, 0.1), (6, Kind.STEP, 1, 0.0, 0.3), (7, Kind.STEP, 1, 0.1, 0.5),
        (8, Kind.STEP, 1, 0.2, 0.6), (8, Kind.END, 1, 0.2, 0.6),
    ]  # fmt: skip
    columns = list(zip(*rows, strict=True))
    score = np.array(columns[3:], dtype=float).T
    further = np.zeros(score.shape, dtype=[("mse", np.float64)])
    further["mse"] = 50 * (1 - score)
    return Trace(
        step=np.array(columns[0]), kind=np.array(columns[1]), experience=np.array(columns[2]), score=score,
        rows=np.array([100, 100]), population=np.array([400, 400]), present=np.array([[True, False], [False, True]]),
        competing=np.ones(score.shape, dtype=np.int32), measure=measure, spread=np.full(score.shape, 0.5),
        further=further,
    )  # fmt: skip


def record(label: str, seed: int, held: Trace) -> Record:
    cell = {"benchmark": {"name": "numbers", "version": 1}, "stream": {"scenario": "split"}, "seed": seed,
            "strategy": [{"name": label, "parameters": {}}]}  # fmt: skip
    return Record(key=f"{label}{seed}", cell=cell, label=label, status="done", trace=held, created=str(seed))


def test_metrics_of_a_hand_made_trace_are_those_worked_out():
    found = {name: value.value for name, value in compute(trace()).items() if value.defined}
    expected = {
        "acc": 0.4,  # (0.2 + 0.6) / 2
        "mse": 50 * 0.6,
        "forgetting": 0.6,
        "bwt": -0.6,
        "la": 0.7,
        "gap_depth": 1.2,  # 0.8 to -0.4
        "gap_depth_relative": 1.5,
        "gap_pairs": 1.0,
        "gap_expansion": 0.0,
        "gap_residual": 0.6,
        "gap_transient": 0.6,
        "gap_area": (1.2 + 0.8 + 0.7 + 0.6) / 4,
        "min_acc": -0.4,
        "wc_acc": (-0.4 + 0.6) / 2,
        "aaa": (2 * 0.4 + 2 * 0.8 + (-0.15 + 0.15 + 0.3 + 0.4)) / 8,
        "recovery_censored": 1.0,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_the_standard_error_comes_from_the_spread_and_falls_within_it_do_not_count():
    held = trace()
    expected = 0.5 / 10 * np.sqrt(300 / 399)
    assert held.standard_error[-1] == pytest.approx([expected, expected])
    noisy = replace(held, spread=np.full(held.score.shape, 12.0))
    assert "never fell by more than two standard errors" in get("recovery")(noisy).reason
    assert "no old task was above chance" in get("gap_depth_relative")(noisy).reason


def test_without_a_chance_level_the_relative_depth_is_undefined_and_other_gaps_are_not():
    found = compute(trace(BITS), ["gap_depth", "gap_depth_relative"])
    assert found["gap_depth"].value == pytest.approx(1.2)
    assert found["gap_depth_relative"].reason == "bits per byte has no chance level"


def test_titles_ranges_and_directions_are_those_of_the_measure():
    assert [get(name).under(R2).title for name in ("acc", "aaa", "min_acc", "gap_depth", "recovery")] == [
        "R²", "Anytime R²", "min-R²", "Gap depth", "Recovery",
    ]  # fmt: skip
    acc, depth, bwt = (get(name).under(R2) for name in ("acc", "gap_depth", "bwt"))
    assert (acc.low, acc.high, acc.arrow) == (-np.inf, 1.0, "↑")
    assert (depth.low, depth.high) == (0.0, np.inf)
    assert (bwt.low, bwt.high) == (-np.inf, np.inf)
    bits = get("acc").under(BITS)
    assert (bits.title, bits.arrow, bits.high) == ("bits", "↓", np.inf)
    assert get("acc").under(ACCURACY) is get("acc")


def test_boards_print_numbers_of_the_measure_and_say_what_they_are():
    made = board([record("naive", seed, trace()) for seed in range(3)])
    assert made.shown[:2] == ("acc", "mse")
    text = render(made, "md")
    assert "R² ↑ | MSE ↓ | Anytime R² ↑" in text
    assert "| 0.4000 ± 0.0000 | 30.00 ± 0.00 |" in text
    assert "0 is predicting the mean of all test targets" in text
    assert '"measure": "R²"' in render(made, "json")
    page = render(made, "html")
    assert "the R² on task i" in page
    lower = render(board([record("naive", 0, trace(BITS))]), "md")
    assert "| bits ↓ |" in lower
    assert "| -0.40 |" in lower  # the negative of the score


def test_a_board_of_classes_reads_as_before():
    held = replace(trace(ACCURACY), score=np.clip(trace().score, 0, 1), spread=np.zeros((0, 0)))
    text = render(board([record("naive", 0, held)]), "md")
    assert "ACC ↑ | AAA ↑ | min-ACC ↑" in text
    assert "| 40.00 |" in text
    assert "accuracies in percent" in text
    assert "MSE" not in text


@pytest.mark.parametrize("kind", ["stability_gap", "task_curves", "switch_gaps", "end_matrix", "accuracy_by_lag"])
def test_pictures_name_the_measure_and_leave_room_below_0(kind):
    figure = getattr(plots, kind)([record("naive", seed, trace()) for seed in range(3)])
    words = [axes.get_ylabel() for axes in figure.axes] + [text.get_text() for text in figure.findobj(match=_is_text)]
    assert any("R²" in word for word in words)
    assert not any("accuracy" in word or "%" in word.replace("95 %", "") for word in words)
    if kind == "stability_gap":
        assert figure.axes[0].get_ylim()[0] < -0.9


def _is_text(artist: object) -> bool:
    from matplotlib.text import Text

    return isinstance(artist, Text)


def test_a_confusion_matrix_of_numbers_is_refused():
    with pytest.raises(Refused, match="a confusion matrix is of classes, and these runs are scored by R²"):
        plots.confusion([record("naive", 0, trace())])


def test_lines_of_progress_and_of_trackers_tell_scores_as_what_they_are():
    assert outcome_text(record("naive", 0, trace())) == "naive, seed 0: done, R² 0.400, 0.0 s"
    assert {"score/0", "score/seen"} < set(list(history(trace()))[6])


def test_tasks_below_the_chance_level_right_after_learning_raise_an_alarm():
    low = replace(trace(), score=trace().score - 0.9)  # 0.8 and 0.6 at their own ends become -0.1 and -0.3
    (alarm,) = of_trace(SimpleNamespace(), low)
    assert alarm.startswith("tasks that have just been learned have a mean R² of -0.200, below the 0.000 of guessing")
    assert of_trace(SimpleNamespace(), trace()) == []  # the first task ends at 0.2 - 0.4 = forgotten, which is no alarm
    assert of_trace(SimpleNamespace(), replace(trace(BITS), score=low.score)) == []

"""Readings are drawn in a panel each, as means over seeds, beside the accuracy on what was just learned."""

from dataclasses import replace

import numpy as np
import pytest
from synthetic import dipping, record

from clbench.core.errors import Refused
from clbench.core.record import Kind, Reading
from clbench.plots import network_readings


def with_readings(seed, **values):
    trace = dipping(seed, tasks=3, length=4)
    steps = trace.step[np.isin(trace.kind, (Kind.START, Kind.END))]
    return replace(trace, readings={name: Reading(steps, np.array(each, np.float32)) for name, each in values.items()})


NAN = float("nan")
CKA = [[NAN, NAN, NAN], [1, NAN, NAN], [0.5, 1, NAN], [0.25, 0.5, 1]]


def lines(axes):
    return {str(line.get_label()): line for line in axes.get_lines() if not str(line.get_label()).startswith("_")}


def test_each_reading_has_a_panel_with_the_mean_over_seeds():
    records = [
        record("er", seed, with_readings(seed, fau=[0.8, 0.6, 0.4, 0.2 + 0.1 * seed], cka=CKA)) for seed in range(3)
    ]
    figure = network_readings(records)
    score, fau, cka = figure.axes
    assert fau.get_title(loc="left") == "fraction of active units"
    assert lines(fau)["er"].get_ydata() == pytest.approx([0.8, 0.6, 0.4, 0.3])
    assert lines(fau)["er"].get_xdata().tolist() == [0, 4, 8, 12]
    assert lines(cka)["er"].get_ydata() == pytest.approx([1, 0.75, 1.75 / 3])  # the mean over tasks with a value
    trace = records[0].trace
    ends = trace.score[trace.kind == Kind.END]
    mean = np.mean([np.diag(each.trace.score[each.trace.kind == Kind.END]) for each in records], axis=0)
    assert ends.shape == (3, 3)
    assert lines(score)["er"].get_ydata() == pytest.approx(mean)
    assert "mean of 3 seeds, band: 95 % interval" in figure.get_label()


def test_the_first_of_several_numbers_is_drawn_and_the_last_reading_at_a_step():
    trace = with_readings(0, **{"fau(by_layer=True)": [[0.8, 9], [0.6, 9], [0.4, 9], [0.2, 9]]})
    steps, values = trace.readings["fau(by_layer=True)"]
    twice = Reading(np.append(steps, 12), np.vstack([values, [[0.1, 9]]]))
    figure = network_readings([record("er", 0, replace(trace, readings={"fau(by_layer=True)": twice}))])
    assert figure.axes[1].get_title(loc="left") == "fraction of active units, by_layer=True"
    assert lines(figure.axes[1])["er"].get_ydata() == pytest.approx([0.8, 0.6, 0.4, 0.1])


def test_a_strategy_without_readings_has_a_line_of_accuracy_only():
    records = [
        record("er", 0, with_readings(0, fau=[0.8, 0.6, 0.4, 0.2])),
        record("ncm", 0, dipping(0, tasks=3, length=4)),
    ]
    score, fau = network_readings(records).axes
    assert set(lines(score)) == {"er", "ncm"}
    assert set(lines(fau)) == {"er"}


def test_records_without_readings_are_refused_with_the_setting():
    with pytest.raises(Refused, match=r"set evaluation.readings=\[fau"):
        network_readings([record("er", 0, dipping(0, tasks=3, length=4))])


def test_an_upper_bound_that_merges_experiences_is_drawn_from_its_start_to_its_end():
    whole = with_readings(0, fau=[0.8, 0.6, 0.4, 0.2])
    ends = np.flatnonzero(np.isin(whole.kind, (Kind.START, Kind.END)))[[0, -1]]
    merged = replace(
        whole.at(ends), experience=np.array([-1, 0]), present=np.ones((1, 3), dtype=bool), readings={
            "fau": Reading(np.array([0, 12]), np.array([0.8, 0.7], np.float32))
        },
    )  # fmt: skip
    score, fau = network_readings([record("er", 0, whole), record("joint", 0, merged)]).axes
    assert lines(fau)["joint"].get_ydata() == pytest.approx([0.8, 0.7])
    assert lines(fau)["er"].get_xdata().tolist() == [0, 4, 8, 12]
    assert lines(score)["joint"].get_xdata().tolist() == [12]

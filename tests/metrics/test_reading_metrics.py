"""Metrics of readings: the value at the end and the slope over experiences, or the reason why there is none."""

from dataclasses import replace

import numpy as np
import pytest
from synthetic import dipping

from clbench.core.record import Kind, Reading
from clbench.metrics import compute, get, reading_at_ends


def with_readings(experiences=4, **values):
    trace = dipping(0, tasks=experiences, length=3)
    steps = trace.step[np.isin(trace.kind, (Kind.START, Kind.END))]
    made = {
        name.replace("__", "(tau=0.1)"): Reading(steps, np.array(each, dtype=np.float32))
        for name, each in values.items()
    }
    return replace(trace, readings=made)


def test_the_last_value_and_the_slope_per_experience_are_those_worked_out():
    trace = with_readings(
        fau=[0.9, 0.8, 0.7, 0.5, 0.6],
        effective_rank=[9, 8, 6, 4, 2],
        dormant=[[0, 9], [0, 9], [0.25, 9], [0.5, 9], [0.5, 9]],
    )
    found = {name: value.value for name, value in compute(trace).items() if value.defined}
    assert found["fau"] == pytest.approx(0.6)
    assert found["rank"] == 2
    assert found["dormant"] == 0.5
    # experiences -1.5, -0.5, 0.5, 1.5 have squares that add up to 5; the reading at the start does not count
    assert found["fau_slope"] == pytest.approx((-1.5 * 0.8 - 0.5 * 0.7 + 0.5 * 0.5 + 1.5 * 0.6) / 5)
    assert found["rank_slope"] == pytest.approx(-2)
    assert found["dormant_slope"] == pytest.approx((-0.5 * 0.25 + 0.5 * 0.5 + 1.5 * 0.5) / 5)
    assert reading_at_ends(trace, "dormant").tolist() == [0, 0.25, 0.5, 0.5]


def test_a_reading_with_other_settings_counts_where_there_is_none_with_the_usual_ones():
    other = with_readings(dormant__=[0.1, 0.2, 0.3, 0.4, 0.5])
    assert compute(other, ["dormant"])["dormant"].value == pytest.approx(0.5)
    both = with_readings(dormant__=[0.1, 0.2, 0.3, 0.4, 0.5], dormant=[0, 0, 0, 0, 0.25])
    assert compute(both, ["dormant"])["dormant"].value == 0.25


def test_the_last_of_several_readings_at_a_step_counts():
    trace = with_readings(fau=[0.9, 0.8, 0.7, 0.5, 0.6])
    steps, values = trace.readings["fau"]
    more = Reading(np.append(steps, steps[-1]), np.append(values, np.float32(0.1)))
    assert compute(replace(trace, readings={"fau": more}), ["fau"])["fau"].value == pytest.approx(0.1)


def test_metrics_of_readings_are_undefined_with_the_reason():
    trace = with_readings(fau=[0.9, 0.8, 0.7, 0.5, np.nan])
    assert "has no reading 'effective_rank'" in compute(trace, ["rank"])["rank"].reason
    assert "evaluation.readings=[dormant]" in compute(trace, ["dormant_slope"])["dormant_slope"].reason
    assert "no value for this network" in compute(trace, ["fau"])["fau"].reason
    short = with_readings(2, fau=[0.9, 0.8, 0.7])
    assert "a slope needs 3" in compute(short, ["fau_slope"])["fau_slope"].reason
    late = replace(trace, readings={"fau": Reading(np.array([0, 1]), np.zeros(2, dtype=np.float32))})
    assert "not taken at the end of each experience" in compute(late, ["fau"])["fau"].reason


def test_units_are_shares_and_directions():
    assert get("fau").in_percent()
    assert get("fau_slope").formula.endswith("(share per experience)")
    assert get("rank_slope").formula.endswith("(directions per experience)")
    assert [get(name).higher_is_better for name in ("fau", "dormant_slope", "rank")] == [None, None, None]

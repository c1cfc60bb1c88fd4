"""The band of the next value of a row, and which platforms give the same bits."""

import numpy as np
import pytest

from clbench.submission.bands import band, band_above
from clbench.submission.platforms import platform_difference


def test_a_band_is_students_prediction_interval_worked_by_hand():
    # values 1 to 5: mean 3, SD 1.5811; t(4, 0.975) = 2.7764; 2.7764 * 1.5811 * sqrt(1.2) = 4.8089
    found = band([1.0, 2.0, 3.0, 4.0, 5.0])
    assert (found.low, found.high) == pytest.approx((-1.8089, 7.8089), abs=1e-3)
    assert 7.8 in found
    assert 7.9 not in found
    lower = band_above([1.0, 2.0, 3.0, 4.0, 5.0])  # t(4, 0.95) = 2.1318: 3.6924
    assert lower.low == pytest.approx(-0.6924, abs=1e-3)
    assert 1e9 in lower


def test_a_row_without_spread_has_the_band_of_one_sample_and_one_value_has_none():
    found = band([0.2, 0.2, 0.2], grain=0.02)
    assert (found.low, found.high) == pytest.approx((0.18, 0.22))
    with pytest.raises(ValueError, match="needs 2 values or more, and there are 1"):
        band([0.2])


@pytest.mark.parametrize("new", [1, 6])
def test_all_new_values_together_lie_in_their_bands_in_95_percent_of_simulated_rows(new):
    generator, rounds = np.random.default_rng(11), 4000
    inside = 0
    for _ in range(rounds):
        expected = band(generator.standard_normal(5), new=new)
        inside += all(value in expected for value in generator.standard_normal(new))
    # Bonferroni's inequality is an equality for one value, and keeps a little more for several
    assert 0.95 - 0.014 < inside / rounds < (0.964 if new == 1 else 0.99)


def test_platforms_differ_by_torch_device_processor_and_instruction_set_alone():
    one = {"torch": "2.1", "device": "cpu", "hardware": "A", "capability": "AVX2", "commit": "1", "python": "3.11"}
    assert platform_difference(one, {**one, "commit": "2", "python": "3.12"}) == ""
    assert platform_difference(one, {**one, "capability": "DEFAULT"}) == "instruction set AVX2 and DEFAULT"
    assert platform_difference(one, {**one, "torch": "2.2", "hardware": "B"}) == "torch 2.1 and 2.2, processor A and B"
    older = {name: value for name, value in one.items() if name != "capability"}
    assert platform_difference(older, one) == ""

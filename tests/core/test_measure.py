"""How scores are printed, for accuracy and for measures of which people read the negative."""

import math

import pytest

from clbench.core.measure import ACCURACY, Measure

ERROR = Measure(name="mean squared error", short="MSE", high=0.0, lower_is_better=True, decimals=3)
DEGREES = Measure(name="angle", short="ANGLE", unit="°", factor=180.0, decimals=1)


@pytest.mark.parametrize(
    ("measure", "score", "text"),
    [
        (ACCURACY, 0.8321, "83.21 %"),
        (ACCURACY, 1.0, "100.00 %"),
        (ACCURACY, 0.0, "0.00 %"),
        (ERROR, -0.25, "0.250"),
        (DEGREES, 0.5, "90.0 °"),
    ],
)
def test_a_score_is_printed_with_the_factor_decimals_sign_and_unit_of_its_measure(measure, score, text):
    assert measure.text(score) == text


def test_decimals_are_left_out_where_room_is_short_and_none_are_left_below_zero():
    assert ACCURACY.text(0.83219, fewer=1) == "83.2 %"
    assert ACCURACY.number(0.83219) == "83.22"
    assert ERROR.text(-0.25, fewer=9) == "0"


def test_a_change_keeps_its_sign_whichever_direction_is_better():
    assert ACCURACY.change(-0.105) == "-10.50"
    assert ERROR.change(0.25) == "0.250"


def test_what_people_read_turns_round_where_lower_is_better_and_the_score_does_not():
    assert ERROR.shown(-2.0) == 2.0
    assert ACCURACY.shown(0.5) == 50.0
    assert ERROR.shown(-1.0) < ERROR.shown(-2.0)  # the higher score is the lower error


def test_a_measure_is_bounded_only_where_both_bounds_are_those_of_a_share():
    assert ACCURACY.bounded
    assert not ERROR.bounded
    assert not Measure(name="r2", short="R2", high=1.0).bounded
    assert Measure(name="share", short="S", low=0.0, high=1.0).bounded


def test_a_score_that_is_not_there_is_printed_as_such():
    assert ACCURACY.text(math.nan) == "nan %"

"""Statistics of boards against values that statsmodels 0.15.0 and rliable 1.2.0 computed from the same numbers."""

import numpy as np
import pytest

from clbench.leaderboard.pooled_statistics import performance_profile, pooled_mean, probability_of_improvement
from clbench.leaderboard.statistics import detectable, holm, power, seeds_to_separate

ONE = np.array(
    [
        [0.625, 0.897, 0.776, 0.225],
        [0.3, 0.874, 0.005, 0.821],
        [0.797, 0.468, 0.303, 0.278],
        [0.255, 0.445, 0.505, 0.553],
        [0.996, 0.793, 0.622, 0.989],
    ]
)
OTHER = np.array(
    [
        [0.194, 0.144, 0.551, 0.04],
        [0.032, 0.463, 0.42, 0.825],
        [0.566, 0.463, 0.447, 0.223],
        [0.011, 0.173, 0.623, 0.181],
        [0.333, 0.003, 0.747, 0.139],
        [0.241, 0.792, 0.459, 0.762],
        [0.576, 0.668, 0.082, 0.487],
    ]
)
"""(runs, benchmarks)."""


def test_holms_p_values_are_those_of_statsmodels():
    found = holm([0.001, 0.04, 0.03, 0.2, 0.012, 0.5, 0.04])
    assert found == pytest.approx([0.007, 0.16, 0.15, 0.4, 0.072, 0.5, 0.16], abs=1e-12)


@pytest.mark.parametrize(
    ("effect", "n", "expected"),
    [
        (0.5, 3, 0.0841070559),
        (0.5, 5, 0.14051669),
        (0.5, 10, 0.2931756065),
        (0.5, 20, 0.5645044184),
        (1.0, 3, 0.1792553938),
        (1.0, 5, 0.4013899174),
        (1.0, 10, 0.8030968566),
        (1.0, 20, 0.9885912948),
        (1.7, 3, 0.3774652285),
        (1.7, 5, 0.8077806407),
        (1.7, 10, 0.9973079993),
        (1.7, 20, 0.999999912),
    ],
)
def test_power_is_that_of_statsmodels(effect, n, expected):
    assert power(effect, n) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("n", "expected"), [(3, 3.2640436), (5, 1.6819971), (10, 0.9960019), (20, 0.6604417)])
def test_detectable_differences_are_those_of_statsmodels(n, expected):
    assert detectable(n) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("effect", "expected"), [(0.3, 89.1494), (0.5, 33.3671), (1.0, 9.9379)])
def test_seeds_that_separate_an_effect_are_those_of_statsmodels_rounded_up(effect, expected):
    assert seeds_to_separate(effect, 1.0) == np.ceil(expected)


def test_interquartile_means_and_probabilities_of_improvement_are_those_of_rliable():
    assert pooled_mean(list(ONE.T)).value == pytest.approx(0.5887, abs=1e-12)
    assert pooled_mean(list(OTHER.T)).value == pytest.approx(0.3715, abs=1e-12)
    assert probability_of_improvement(list(ONE.T), list(OTHER.T)).value == pytest.approx(0.7214285714285714, abs=1e-12)
    ties = probability_of_improvement(list(ONE.round(1).T), list(OTHER.round(1).T))
    assert ties.value == pytest.approx(0.7, abs=1e-12)


def test_a_performance_profile_is_the_share_of_runs_above_each_threshold():
    assert performance_profile(list(ONE.T), [0, 0.25, 0.5, 0.75, 1]) == pytest.approx([1, 0.9, 0.6, 0.4, 0])

"""The theory of one perceptron with binary weights: values and limits that are known, and small cases counted out."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from clbench.metrics.binary_perceptron import entropy, error_of_overlap, typical_error, typical_overlap


def test_the_error_of_an_overlap_is_the_angle_between_student_and_teacher_as_a_share_of_a_half_turn():
    found = error_of_overlap(np.array([1.0, 0.5, 0.0, -0.5, -1.0, 1.0000001]))
    assert found == pytest.approx([0, 1 / 3, 1 / 2, 2 / 3, 1, 0])


def test_the_error_is_the_share_of_random_patterns_on_which_two_perceptrons_differ():
    rng = np.random.default_rng(0)
    teacher = np.ones(401)
    student = np.where(np.arange(401) < 60, -1.0, 1.0)
    x = rng.choice([-1.0, 1.0], (40_000, 401))
    differ = np.mean((x @ teacher > 0) != (x @ student > 0))
    assert differ == pytest.approx(float(error_of_overlap(np.array(teacher @ student / 401))), abs=0.006)


def test_without_patterns_a_student_guesses_and_few_patterns_help_in_proportion():
    assert typical_error(0.0) == pytest.approx(0.5)
    # q = q̂ for small α, and q̂ = 2 α E φ(0)² / Φ(0) = 4 α / (2 π)
    assert typical_overlap(1e-3) == pytest.approx(2e-3 / math.pi, rel=0.01)


def test_learning_is_perfect_above_the_known_transition():
    assert typical_overlap(1.24) == pytest.approx(0.69, abs=0.01)
    assert typical_error(1.24) == pytest.approx(math.acos(0.691) / math.pi, abs=0.001)
    assert typical_error(1.25) == typical_error(2.0) == 0.0


def test_the_error_falls_with_the_number_of_patterns():
    errors = [typical_error(alpha) for alpha in (0, 0.2, 0.4, 0.8, 1.2, 1.3)]
    assert errors == sorted(errors, reverse=True)


def test_the_entropy_is_that_of_all_students_without_patterns_and_falls_to_zero_at_the_transition():
    assert entropy(0.0, 0.0, 0.0) == pytest.approx(math.log(2))


def test_the_theory_agrees_with_students_that_are_counted_out():
    """The average overlap with the teacher of all of 2^17 students that are right on α N patterns."""
    rng, n = np.random.default_rng(1), 17
    students = np.array(list(itertools.product([-1.0, 1.0], repeat=n)))  # (2^N, N)
    for alpha in (0.2, 0.4):
        overlaps = []
        for _ in range(60):
            teacher, x = rng.choice([-1.0, 1.0], n), rng.choice([-1.0, 1.0], (round(alpha * n), n))
            right = ((students @ x.T > 0) == (x @ teacher > 0)).all(1)
            overlaps.append((students[right] @ teacher / n).mean())
        assert np.mean(overlaps) == pytest.approx(typical_overlap(round(alpha * n) / n), abs=0.06)

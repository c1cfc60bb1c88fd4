"""Which seeds are drawn, and what fresh seeds notice: picked seeds, in simulated rows and in real runs."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from small_submission import DIGEST, SMALL, honest

from clbench import api
from clbench.submission.drawn_cells import drawn_cells, drawn_seeds
from clbench.submission.fresh_seeds import (
    LEVEL,
    _holm,
    _p_values,
    chance_to_notice,
    not_below,
    stated_power,
    try_fresh,
)
from clbench.submission.rerun_results import failures
from clbench.submission.submitted_rows import values


def test_cells_and_seeds_are_drawn_by_the_rule_that_the_module_states():
    def number(text):
        return int(hashlib.sha256(text.encode()).hexdigest(), 16)

    by_hand = sorted(honest(), key=lambda record: number(f"cell {DIGEST}  {record.key}"))
    assert drawn_cells(honest(), 4, DIGEST) == by_hand[:4]
    assert drawn_seeds(5, DIGEST, []) == [number(f"seed {DIGEST}  {place}") % 10**9 for place in range(5)]


def test_a_draw_depends_on_the_digest_and_the_salt_alone_and_a_longer_one_begins_like_a_shorter_one():
    assert drawn_cells(honest()[::-1], 4, DIGEST) == drawn_cells(honest(), 4, DIGEST)
    assert drawn_cells(honest(), 2, DIGEST) == drawn_cells(honest(), 4, DIGEST)[:2]
    assert drawn_seeds(3, DIGEST, []) == drawn_seeds(9, DIGEST, [])[:3]
    draws = [tuple(drawn_seeds(3, digest, [], salt=salt)) for digest in ("a", "b") for salt in ("", "mine")]
    assert len(set(draws)) == 4


def test_submitted_seeds_and_seeds_of_benchmarks_are_never_fresh():
    first = drawn_seeds(6, DIGEST, [])
    assert drawn_seeds(4, DIGEST, first[:2]) == first[2:]
    assert min(drawn_seeds(2000, DIGEST, [])) >= 1000


def test_records_without_a_trace_and_second_copies_are_not_drawn():
    untraced = replace(honest()[0], trace=None)
    assert set(drawn_cells([untraced, *honest()[1:], *honest()[1:]], 99, DIGEST)) == set(honest()[1:])


# ----------------------------------------------------------------------------------------------------- the test


def test_the_p_value_is_that_of_the_pooled_t_test_of_scipy():
    generator = np.random.default_rng(3)
    for n, m in ((10, 5), (5, 3), (2, 1), (1, 2)):
        submitted, fresh = generator.normal(0.7, 0.02, n), generator.normal(0.69, 0.02, m)
        theirs = stats.ttest_ind(fresh, submitted, equal_var=True, alternative="less").pvalue
        assert not_below(submitted, fresh) == pytest.approx(theirs, rel=1e-9)


def test_rows_without_spread_are_judged_by_their_means_and_two_values_are_not_judged():
    assert not_below([0.1] * 10, [0.1] * 3) == 1.0
    assert not_below([0.2] * 5, [0.1] * 3) == 0.0
    assert np.isnan(not_below([0.2], [0.1]))
    assert np.isnan(not_below([], [0.1, 0.1, 0.3]))


def test_p_values_of_several_rows_are_those_of_holms_method_worked_by_hand():
    # sorted 0.01, 0.02, 0.03, 0.5: times 4, 3, 2, 1, then never below the one before
    assert _holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert _holm([0.04, float("nan"), 0.01])[::2] == pytest.approx([0.04, 0.02])
    assert _holm([]) == []


def test_an_honest_row_is_called_picked_in_five_percent_whatever_its_numbers_of_seeds():
    for kept, fresh in ((10, 5), (5, 3), (5, 5), (3, 1)):
        assert abs(chance_to_notice(kept, kept, fresh) - LEVEL) < 0.006  # 4 standard errors


def test_all_rows_of_an_honest_submission_together_are_called_picked_in_five_percent_at_most():
    generator = np.random.default_rng(5)
    p = _p_values(generator.standard_normal((20_000, 5)), generator.standard_normal((20_000, 3))).reshape(2000, 10)
    assert np.mean([min(_holm(list(row))) < LEVEL for row in p]) < 0.065


@pytest.mark.parametrize(("kept", "tried", "expected"), [(10, 20, 0.54), (10, 40, 0.87), (5, 20, 0.71)])
def test_five_fresh_seeds_notice_the_best_of_many_as_often_as_the_page_says(kept, tried, expected):
    assert abs(chance_to_notice(kept, tried, 5) - expected) < 0.02


def test_the_report_states_the_power_for_its_numbers_of_seeds():
    assert stated_power(10, 5) == (
        f"5 fresh seeds notice the best 10 of 20 in {chance_to_notice(10, 20, 5):.0%} and the best 10 of 40 in "
        f"{chance_to_notice(10, 40, 5):.0%} of simulated submissions of one row"
    )


# ------------------------------------------------------------------------------------------------------ attacks


@pytest.fixture(scope="module")
def many():
    """The records of 24 seeds of naive, from the best to the worst."""
    made = api.run(SMALL, strategies=["naive"], seeds=24)
    return sorted(made, key=lambda record: -values([record], "acc")[0])


def test_fresh_seeds_notice_the_best_five_of_many_seeds_and_not_five_that_were_not_picked(many):
    picked = failures(try_fresh(many[:5], DIGEST, 5))
    assert len(picked) == 1
    assert "naive on two-halves@1: the submitted seeds look picked: acc is" in picked[0].sentence
    assert picked[0].level == "honest seeds"
    by_seed = sorted(many, key=lambda record: record.seed)
    assert not failures(try_fresh(by_seed[:5], DIGEST, 5))


def test_fresh_seeds_notice_bad_seeds_that_were_run_again_under_other_numbers_until_they_were_good(many):
    by_seed = sorted(many[6:], key=lambda record: record.seed)
    redrawn = [*by_seed[:1], *many[:6]]  # one stays as it was, and six are replaced by the best of all
    assert failures(try_fresh(redrawn, DIGEST, 5))


def test_a_strategy_that_fails_with_a_fresh_seed_is_a_finding():
    record = next(each for each in honest() if each.label == "er")
    cell = {**record.cell, "training": {**record.cell["training"], "optimizer": "sgd", "lr": 1e30}}
    sentences = [each.sentence for each in failures(try_fresh([replace(record, cell=cell)], DIGEST, 1))]
    assert len(sentences) == 1
    assert "diverged" in sentences[0]

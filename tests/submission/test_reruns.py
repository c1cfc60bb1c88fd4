"""What running cells again finds: every attack on a trace, on the platform of the submission and on another one."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
from small_submission import DIGEST, SEEDS, SMALL, after_switch, among_honest, edited, honest, one, with_trace

from clbench.core import store
from clbench.core.record import Kind
from clbench.running.code_digest import code_of
from clbench.running.prepare import prepare
from clbench.running.run_cell import record as record_of
from clbench.running.user_objects import UserObjects
from clbench.submission.cell_runs import cell_of
from clbench.submission.rerun_results import failures
from clbench.submission.reruns import reproduce

ALL = 2 * SEEDS


def found(records, *, prefix=None, count=ALL):
    """The findings of running cells again, by key."""
    return {finding.key: finding.sentence for finding in failures(reproduce(records, DIGEST, count, prefix=prefix))}


def test_honest_cells_that_are_run_again_are_equal_in_all_evaluations():
    results = reproduce(honest(), DIGEST, 3)
    assert [result.holds for result in results] == [True] * 3
    assert all("equal in all 29 evaluations" in result.sentence for result in results)
    assert all(f"{result.label}, seed {result.seeds[0]} ({result.key})" in result.sentence for result in results)


def test_a_prefix_makes_the_first_evaluations_of_the_same_run_and_leaves_every_setting():
    results = reproduce(honest(), DIGEST, ALL, prefix=14)
    assert len(results) == ALL
    assert all(result.holds for result in results)
    # 12 steps of the first experience and 2 of the second, with one at the start, at the end and at both switches
    assert all("first 18 evaluations (14 steps) are equal" in result.sentence for result in results)


def test_a_prefix_beyond_the_end_compares_whole_runs():
    assert "equal in all 29 evaluations" in reproduce(honest(), DIGEST, 1, prefix=1000)[0].sentence


def test_traces_of_two_rows_that_were_swapped_are_named_with_their_first_difference():
    er, naive = one("er", 2), one("naive", 2)
    told = found(among_honest(with_trace(er, naive.trace), with_trace(naive, er.trace)))
    assert set(told) == {er.key, naive.key}
    assert all("in experience 1: accuracy on task" in sentence for sentence in told.values())
    assert all("seed 2" in sentence for sentence in told.values())


def test_a_curve_made_up_on_the_grid_of_scores_is_named_at_once():
    record = one("er", 1)
    made_up = np.where(np.isnan(record.trace.score), np.nan, np.round(np.linspace(0, 1, 29))[:, None])
    told = found(among_honest(edited(record, score=made_up)), prefix=2)
    assert set(told) == {record.key}


def test_a_dip_that_was_smoothed_is_named_and_only_by_a_run_that_reaches_it():
    record = one("naive", 0)
    place, score = after_switch(record.trace), record.trace.score.copy()
    before = score[place - 1, 0]
    lower = np.flatnonzero(score[:, 0] < before)
    lower = lower[lower >= place]
    assert len(lower) > 3  # there is a dip
    score[lower, 0] = before
    attacked = among_honest(edited(record, score=score))
    step = int(record.trace.step[lower[0]])
    sentence = found(attacked)[record.key]
    assert f"after step {step} in experience 1: accuracy on task 0 is" in sentence
    assert not found(attacked, prefix=step - 1)
    assert found(attacked, prefix=step)


def test_one_edited_score_with_everything_hashed_again_is_named():
    record = one("er", 3)
    score = record.trace.score.copy()
    score[-1, 0] += 1 / 50
    sentence = found(among_honest(edited(record, score=score)))[record.key]
    was = 100 * record.trace.score[-1, 0]
    assert f"(step 24): accuracy on task 0 is {was:.4g} % and {was + 2:.4g} %" in sentence


def test_other_code_than_the_record_names_is_found_by_its_trace():
    honest_one = one("er", 4)
    run = prepare(cell_of(honest_one, trust=False), given=UserObjects(alter=lambda parts: parts[:0]))
    run.train()
    forged = record_of(run.cell, run, status="done", reason="", device="cpu")
    assert forged.code == code_of(honest_one.cell)  # it names the code of clbench's er
    assert set(found(among_honest(replace(forged, key=honest_one.key)))) == {honest_one.key}
    admitted = replace(forged, code={**forged.code, "strategy": "0" * 16})
    assert "names other code of the strategy" in found(among_honest(admitted))[honest_one.key]


def test_a_cell_that_cannot_be_run_is_a_finding_and_never_an_error():
    record = one("er", 0)
    for cell, told in (
        ({**record.cell, "training": {**record.cell["training"], "threads": 10**6}}, "1 to 256 are allowed"),
        ({**record.cell, "training": 5}, "cannot be read"),
        ({**record.cell, "strategy": [{"name": "er", "parameters": {"no": 1}}]}, "cannot be read"),
        ({**record.cell, "strategy": "er"}, "cannot be read"),
        ({**record.cell, "stream": {"scenario": "given:mine"}}, "a program handed over its stream"),
        (
            {**record.cell, "model": {"name": "none such", "heads": "shared"}},
            "is done in the submission and failed here",
        ),
    ):
        assert told in found([replace(record, cell=cell)])[record.key]


# -------------------------------------------------------------------------------------------- another platform


def elsewhere(record, **columns):
    """The record as if it came from another platform, with an edited trace."""
    return replace(edited(record, **columns), environment={**record.environment, "capability": "ELSEWHERE"})


def raised(record, first, by):
    """Scores that are higher from an evaluation on."""
    score = record.trace.score.copy()
    score[first:] = np.clip(score[first:] + by, 0, 1)
    return score


def test_on_another_platform_a_trace_may_part_after_the_first_evaluations_and_is_named_there():
    attacked = [elsewhere(record, score=raised(record, 24, 1 / 50)) for record in honest()]
    for prefix in (None, 22):  # a prefix that parts is run to its end, since final metrics decide
        results = reproduce(attacked, DIGEST, 2, prefix=prefix)
        assert all(result.holds for result in results)
        assert all("at evaluation 25, and its final metrics lie in the band" in result.sentence for result in results)
        assert all("another platform (instruction set ELSEWHERE and" in result.sentence for result in results)


def test_on_another_platform_an_early_difference_is_a_finding():
    record = one("er", 0)
    sentence = found(among_honest(elsewhere(record, score=raised(record, 10, 1 / 50))))[record.key]
    assert "although the first 20 evaluations are equal on every platform" in sentence


def test_on_another_platform_final_metrics_outside_the_band_of_the_other_seeds_are_a_finding():
    row = [elsewhere(record, score=raised(record, 24, 0.5)) for record in honest() if record.label == "naive"]
    results = reproduce(row, DIGEST, 1)
    assert not results[0].holds
    assert "outside the band of the row's other seeds: acc is" in results[0].sentence


def test_on_another_platform_a_row_of_one_seed_cannot_be_judged_by_its_band():
    record = one("er", 0)
    results = reproduce([elsewhere(record, score=raised(record, 24, 1 / 50))], DIGEST, 1)
    assert not results[0].holds
    assert "its row has 0 other seeds" in results[0].sentence


def test_on_the_same_platform_a_late_difference_is_a_finding_too():
    record = one("er", 0)
    sentence = found(among_honest(edited(record, score=raised(record, 24, 1 / 50))))[record.key]
    assert "on a platform of the same kind" in sentence


MADE_ELSEWHERE = "import sys; from clbench import api; api.run({0!r}, strategies='er, pcr', seeds=2, out=sys.argv[1])"


def test_records_of_a_processor_without_vector_instructions_are_reproduced_here(tmp_path):
    benchmark = {**SMALL, "defaults": {"pcr": {"views": 1}}}
    environment = {**os.environ, "ATEN_CPU_CAPABILITY": "default"}
    command = [sys.executable, "-c", MADE_ELSEWHERE.format(benchmark), str(tmp_path / "theirs")]
    subprocess.run(command, check=True, env=environment)
    theirs = list(store.load_all(tmp_path / "theirs"))
    assert [each.environment["capability"] for each in theirs] == ["DEFAULT"] * 4
    results = reproduce(theirs, DIGEST, 4)
    assert [each.holds for each in results] == [True] * 4, [each.sentence for each in results]


def test_older_records_without_evaluations_at_switches_can_be_reproduced():
    old = [with_trace(record, record.trace.at(record.trace.kind != Kind.SWITCH)) for record in honest()[:2]]
    assert all(result.holds for result in [*reproduce(old, DIGEST, 2), *reproduce(old, DIGEST, 2, prefix=15)])

"""Boards and frames from made-up records with known accuracies."""

import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from synthetic import dipping, matrix, record, trace_from

from clbench.comparison.record_groups import by_strategy
from clbench.core.errors import Refused
from clbench.core.record import Trace
from clbench.leaderboard import FORMATS, board, frame, render
from clbench.leaderboard.standings import reference_seeds
from clbench.metrics import COLUMNS, compute, intransigence, metric_names


def flat(label, seed, accuracy, **options):
    """A finished cell whose ACC is ``accuracy``."""
    return record(label, seed, trace_from([[1]], [3], lambda *_: np.array([accuracy])), **options)


def only_table(records):
    return board(records, ["acc"]).tables[0]


def test_means_and_student_intervals_are_over_a_strategys_own_seeds():
    summary = only_table([flat("er", s, a) for s, a in enumerate([0.9, 0.8, 0.7])]).rows[0].metrics["acc"]
    assert summary.mean == pytest.approx(0.8)
    assert summary.half == pytest.approx(4.302652729911275 * 0.1 / math.sqrt(3))
    assert summary.n == 3


def test_one_seed_has_a_mean_but_no_interval():
    summary = only_table([flat("er", 0, 0.9)]).rows[0].metrics["acc"]
    assert summary.mean == 0.9
    assert math.isnan(summary.half)


def test_rank_is_by_acc_over_the_seeds_that_most_strategies_have():
    scores = {"er": [0.9, 0.8, 0.1], "agem": [0.7, 0.8, 0.6], "mir": [0.6] * 4, "naive": [0.95, 0.82]}
    table = only_table([flat(label, s, a) for label, found in scores.items() for s, a in enumerate(found)])
    assert table.reference == (0, 1, 2)
    assert [(row.strategy, row.rank, row.standing, row.covered) for row in table.rows] == [
        ("agem", 1, "ranked", (3, 3)),
        ("er", 2, "ranked", (3, 3)),
        ("mir", 2, "ranked", (3, 3)),
        ("naive", None, "incomplete", (2, 3)),
    ]
    agem, er, mir, naive = table.rows
    assert (agem.ranking, er.ranking, mir.ranking) == pytest.approx((0.7, 0.6, 0.6))
    assert math.isnan(naive.ranking)
    assert naive.metrics["acc"].mean == pytest.approx(0.885)
    assert [(p.seed, p.status) for p in naive.problems] == [(2, "missing")]
    assert mir.metrics["acc"].n == 4
    assert "ranked by ACC over seeds 0, 1, 2; a row without one of them is not ranked" in table.notes
    assert any(
        note.startswith("naive is incomplete: 2 of 3 seeds; minus agem over 2 shared seeds: +13.5")
        for note in table.notes
    )


def test_of_several_most_common_sets_of_seeds_the_largest_and_then_the_first_is_the_reference():
    found = [frozenset({0}), frozenset({1, 2}), frozenset({3, 4}), frozenset()]
    assert reference_seeds(found, ()) == (1, 2)
    assert reference_seeds([*found, frozenset({0})], ()) == (0,)
    assert reference_seeds([], ()) == ()


def test_rows_that_lack_seeds_of_the_shipped_benchmark_do_not_choose_the_reference_seeds():
    few, five, ten = (frozenset(range(n)) for n in (2, 5, 10))
    assert reference_seeds([few] * 9 + [ten] * 2 + [five], range(5)) == tuple(range(10))
    assert reference_seeds([few] * 9 + [ten] * 2 + [five], ()) == (0, 1)
    assert reference_seeds([few, few, frozenset({7})], range(5)) == (0, 1)


def test_ties_share_a_rank_and_the_next_rank_is_skipped():
    rows = only_table([flat("a", 0, 0.5), flat("b", 0, 0.9), flat("c", 0, 0.9), flat("d", 0, 0.1 + 0.4)]).rows
    assert [(row.strategy, row.rank) for row in rows] == [("b", 1), ("c", 1), ("a", 3), ("d", 3)]


def test_strategies_without_a_finished_cell_are_listed_unranked_with_the_reason_and_do_not_shrink_the_common_seeds():
    records = [flat("er", s, 0.9) for s in range(3)]
    records += [record("ewc", s, status="diverged", reason="not finite after step 7") for s in range(2)]
    records += [record("gem", 0, status="skipped", reason="it needs task labels")]
    table = only_table(records)
    assert table.reference == (0, 1, 2)
    assert [row.rank for row in table.rows] == [1, None, None]
    ewc, gem = table.rows[1:]
    assert [(p.seed, p.status, p.reason) for p in ewc.problems] == [
        (0, "diverged", "not finite after step 7"),
        (1, "diverged", "not finite after step 7"),
        (2, "missing", "not run"),
    ]
    assert (gem.problems[0].status, gem.problems[0].reason) == ("skipped", "it needs task labels")
    assert math.isnan(ewc.metrics["acc"].mean)
    assert ewc.metrics["acc"].reason == "no finished cell"


def test_a_diverged_cell_counts_in_no_mean_even_where_it_has_a_trace():
    good, bad = flat("er", 0, 0.9), flat("er", 1, 0.1, status="diverged", reason="not finite")
    row = only_table([good, bad]).rows[0]
    assert row.metrics["acc"].mean == 0.9
    assert row.finished == (0,)


def test_rows_without_a_common_seed_are_not_compared_and_the_one_without_the_reference_seed_is_incomplete():
    table = only_table([flat("er", 0, 0.9), flat("naive", 1, 0.95)])
    assert [(row.strategy, row.rank, row.covered) for row in table.rows] == [("er", 1, (1, 1)), ("naive", None, (0, 1))]
    assert "naive is incomplete: 0 of 1 seeds" in table.notes
    assert table.pairs == ()


def test_a_cell_recorded_twice_counts_once_and_the_finished_record_wins():
    failed = record("er", 0, status="failed", reason="out of memory")
    row = only_table([flat("er", 0, 0.9), failed, flat("er", 0, 0.9)]).rows[0]
    assert len(row.records) == 1
    assert row.problems == ()


def test_seeds_of_one_label_under_different_settings_are_never_averaged():
    records = [flat("er", 0, 0.9), flat("er", 1, 0.5, training={"lr": 0.1})]
    table = only_table(records)
    assert [row.metrics["acc"].n for row in table.rows] == [1, 1]
    assert sorted(row.strategy for row in table.rows) == ["er [lr=0.05]", "er [lr=0.1]"]
    assert any("training.lr" in note for note in table.notes)


def test_rows_of_one_label_are_told_apart_by_their_settings_or_by_a_hash_where_these_are_too_long():
    by_list = [flat("er", 0, 0.9, training={"lr": lr, "milestones": [1, lr]}) for lr in (1, 2)]
    assert list(by_strategy(by_list)) == ["er [lr=1, milestones=1,1]", "er [lr=2, milestones=1,2]"]
    absent = [flat("er", 0, 0.9, training={"clip": 1}), flat("er", 1, 0.9)]
    first, second = by_strategy(absent)
    assert first == "er [clip=1]"
    assert second.startswith("er #")
    many = [flat("er", 0, 0.9, training={f"setting_{i}": i * k for i in range(1, 9)}) for k in (1, 2)]
    assert all(label.startswith("er #") for label in by_strategy(many))
    assert list(by_strategy([flat("er", seed, 0.9) for seed in (0, 1)])) == ["er"]


def test_a_board_says_when_and_at_how_many_rows_was_looked():
    def looked(label, **evaluation):
        made = flat(label, 0, 0.9)
        return replace(made, cell={**made.cell, "evaluation": evaluation}, key=label)

    def note(*records):
        return [text for text in only_table(list(records)).notes if text.startswith("evaluations: ")]

    every = looked("er", every=10, rows_per_task=1000, tasks="seen", schedule="every")
    assert note(every) == ["evaluations: every 10; samples per task: 1000"]
    assert note(every, looked("naive", every=0, rows_per_task="all")) == [
        "evaluations: every 10; samples per task: 1000 or ends only; samples per task: all"
    ]
    dense = looked("er", every=1, rows_per_task=9, schedule={"dense": {"steps": 20, "growth": 1.1}}, tasks="all")
    assert note(dense) == ["evaluations: dense steps 20, growth 1.1; tasks: all; samples per task: 9"]
    at = looked("er", every=1, rows_per_task=9, schedule={"at": list(range(1, 9))})
    assert note(at) == ["evaluations: at 1, 2, 3, 4, 5, … (8 iterations); samples per task: 9"]
    assert note(flat("er", 0, 0.9)) == []
    for format in FORMATS:
        text = render(board([every]), format).replace("\\_", "_")
        assert "every 10; samples per task: 1000" in text


def test_a_strategy_on_another_stream_is_named():
    records = [flat(label, 0, 0.5) for label in ("er", "naive")] + [flat("joint", 0, 0.9, fingerprint="merged")]
    assert any("upper bounds" in note and "joint" in note and "naive" not in note for note in only_table(records).notes)


def test_benchmarks_and_their_versions_have_tables_of_their_own():
    records = [flat("er", 0, 0.9), flat("er", 0, 0.5, version=2), flat("er", 0, 0.4, name="other")]
    assert [table.benchmark for table in board(records).tables] == ["other@1", "split-digits@1", "split-digits@2"]


def test_alarms_are_told_once_with_their_seeds():
    records = [flat("ewc", s, 0.9, alarms=["the penalty was always 0"]) for s in range(2)]
    assert only_table(records).rows[0].alarms == ["the penalty was always 0 (seeds 0, 1)"]


def test_costs_are_averaged_over_finished_seeds():
    cost = only_table([flat("er", s, 0.9) for s in range(2)]).rows[0].cost
    assert cost["steps"].mean == 300
    assert cost["train_seconds"].mean == pytest.approx(2.0)


def test_the_metrics_asked_for_are_shown_in_their_order_and_unknown_ones_refused():
    assert board(matrix(), ["bwt", "acc"]).shown == ("bwt", "acc")
    assert board(matrix()).metrics == COLUMNS
    with pytest.raises(Refused, match="did you mean 'wc_acc'"):
        board(matrix(), ["wc_ac"])


def against(records, strategy):
    """The intransigence of one strategy on the board of some records, and the reason where it has none."""
    rows = {row.strategy: row for row in board(records, ["intransigence"]).tables[0].rows}
    found = rows[strategy].metrics["intransigence"]
    return found.reason if math.isnan(found.mean) else pytest.approx(found.mean)


def learned(level, tasks=3):
    """The trace of a stream of ``tasks`` experiences that learns each task to ``level``."""
    return trace_from(np.eye(tasks), [2] * tasks, lambda *_: np.full(tasks, level))


def test_intransigence_compares_with_the_joint_run_of_the_same_seed():
    records = [record("er", 0, learned(0.5)), record("er", 1, learned(0.6))]
    records += [record("cumulative", 0, learned(0.9)), record("cumulative", 1, learned(0.7))]
    assert against(records, "er") == ((0.9 - 0.5) + (0.7 - 0.6)) / 2
    assert against(records, "cumulative") == "this run is the reference"
    summary = next(row for row in board(records[:3], ["intransigence"]).tables[0].rows if row.strategy == "er")
    assert summary.metrics["intransigence"].n == 1


def test_cumulative_is_the_reference_before_joint_and_joint_serves_alone():
    joint = record("joint", 0, trace_from([[1, 1, 1]], [6], lambda *_: np.full(3, 0.95)))
    records = [record("er", 0, learned(0.5)), joint]
    assert against(records, "er") == 0.45
    assert against([*records, record("cumulative", 0, learned(0.9))], "er") == 0.4


def test_the_reference_is_of_the_same_stream_and_of_the_rows_own_training_where_there_are_several():
    own = record("er", 0, learned(0.5), training={"lr": 0.1})
    slow = record("cumulative", 0, learned(0.7))
    fast = record("cumulative", 0, learned(0.8), training={"lr": 0.1})
    assert against([own, slow], "er") == 0.2
    assert against([own, slow, fast], "er") == 0.3
    longer = record("cumulative", 0, learned(0.9))
    longer.cell["stream"]["experiences"] = 10
    assert against([own, longer], "er").startswith("no joint reference run")
    failed = record("cumulative", 0, status="failed", reason="out of memory")
    assert against([own, failed], "er").startswith("no joint reference run")


def test_a_strategy_joined_to_cumulative_is_no_reference():
    plain = [{"name": "cumulative", "parameters": {}}]
    records = [record("er", 0, learned(0.5)), record("cumulative", 0, learned(0.9), settings=plain)]
    assert against(records, "er") == 0.4
    joined = record("cumulative", 0, learned(0.9), settings=[*plain, {"name": "ewc", "parameters": {"strength": 1}}])
    assert against([records[0], joined], "er").startswith("no joint reference run")


def test_frame_holds_the_intransigence_of_each_cell():
    records = [record("er", s, learned(0.5 + 0.1 * s)) for s in range(2)] + [record("cumulative", 1, learned(0.9))]
    table = frame(records).set_index(["strategy", "seed"]).intransigence
    assert math.isnan(table["er", 0])
    assert table["er", 1] == intransigence(records[1].trace, records[2].trace) == pytest.approx(0.3)


def test_a_board_of_no_records_is_empty():
    assert board([]).tables == ()


def test_frame_has_a_row_per_cell_with_every_metric_cost_provenance_and_the_trace():
    records = matrix()
    table = frame(records)
    assert len(table) == len(records)
    assert set(metric_names()) <= set(table.columns)
    row = table[(table.strategy == "er") & (table.seed == 2)].iloc[0]
    assert isinstance(row.trace, Trace)
    assert row.acc == compute(row.trace)["acc"].value
    assert (row.benchmark, row.status, row.cost_steps) == ("split-digits@1", "done", 300)
    assert (row.key, row.fingerprint, row.environment_device) == (row.key, "stream2", "cpu")
    assert math.isnan(table[table.strategy == "gem"].iloc[0].acc)
    assert table[table.strategy == "gem"].iloc[0].reason == "gem needs task labels, which this stream hides"


def test_frame_leaves_metrics_of_unfinished_runs_empty():
    assert math.isnan(frame([record("er", 0, dipping(0), status="diverged", reason="x")]).acc[0])


def test_frame_of_no_records_still_has_its_columns():
    table = frame([])
    assert len(table) == 0
    assert {"benchmark", "strategy", "seed", "acc", "trace"} <= set(table.columns)


def test_boards_and_pictures_are_made_without_torch():
    script = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "import clbench.leaderboard, clbench.plots\n"
        "heavy = {'pandas', 'matplotlib', 'scipy', 'jinja2', 'torch'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "from synthetic import matrix\n"
        "board = clbench.leaderboard.board(matrix([0, 1]))\n"
        "for format in clbench.leaderboard.FORMATS: clbench.leaderboard.render(board, format)\n"
        "clbench.leaderboard.frame(matrix([0]))\n"
        "assert 'torch' not in sys.modules and 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)

"""Pieces of boards by hand: summaries, ranks, problems, notes, recipes, and lines of blocks."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import record, trace_from

from clbench.leaderboard import board, notes
from clbench.leaderboard.board_rows import Problem, count_problems, group_problems
from clbench.leaderboard.settings_text import differing_settings, evaluation_text, recipe
from clbench.leaderboard.standings import places_of
from clbench.leaderboard.summaries import summarise
from clbench.metrics import Value
from clbench.metrics.curves import experience_boundaries
from clbench.plots.cost_plot import pareto
from clbench.plots.terminal_plot import BLOCKS, heights, sparklines


def flat(accuracy, tasks=2, length=4):
    """A run whose accuracy never changes."""
    return trace_from(np.eye(tasks), [length] * tasks, lambda *_: np.full(tasks, accuracy))


# ---------------------------------------------------------------------------------------------- summaries and ranks


def test_a_summary_is_over_the_seeds_that_have_a_value_and_keeps_a_reason():
    found = summarise({7: Value(0.4), 0: Value(0.2), 3: Value(float("nan"), "too short"), 4: Value(0.6)})
    assert (found.mean, found.n, found.reason) == (pytest.approx(0.4), 3, "too short")
    assert found.half == pytest.approx(4.302652730 * np.sqrt(0.04) / np.sqrt(3))
    assert list(found.values.items()) == [(0, 0.2), (4, 0.6), (7, 0.4)]


@pytest.mark.parametrize("seeds", [1, 2])
def test_fewer_than_three_seeds_have_no_interval_but_their_values(seeds):
    found = summarise({seed: Value(0.1 * seed) for seed in range(seeds)})
    assert np.isnan(found.half)
    assert found.values == {seed: 0.1 * seed for seed in range(seeds)}


def test_without_any_value_the_reason_is_that_of_the_first_seed_or_that_nothing_is_finished():
    assert summarise({0: Value(float("nan"), "a"), 1: Value(float("nan"), "b")}).reason == "a"
    assert summarise({}).reason
    assert np.isnan(summarise({}).mean)


@given(st.dictionaries(st.text(min_size=1), st.integers(0, 5), min_size=1))
def test_a_rank_is_one_more_than_the_number_of_better_strategies(scores):
    ranks = places_of({label: score / 10 for label, score in scores.items()})
    for label, score in scores.items():
        assert ranks[label] == 1 + sum(other > score for other in scores.values())


def test_differences_in_the_last_bits_are_ties():
    assert places_of({"a": 0.5, "b": 0.5 + 1e-12, "c": 0.4}) == {"a": 1, "b": 1, "c": 3}


def test_the_order_of_records_changes_no_table():
    records = [record(label, 0, flat(score)) for label, score in (("a", 0.5), ("b", 0.7), ("c", 0.7))]
    tables = [[(row.strategy, row.rank) for row in board(order).tables[0].rows] for order in permutations(records)]
    assert all(table == [("b", 1), ("c", 1), ("a", 3)] for table in tables)


# ---------------------------------------------------------------------------------------------- problems


def test_problems_are_counted_by_what_happened_and_grouped_by_reason():
    problems = [
        Problem(0, "diverged", "nan"),
        Problem(3, "diverged", "nan"),
        Problem(1, "diverged", "inf"),
        Problem(2, "missing", "not run"),
    ]
    assert count_problems(problems) == "3 diverged, 1 missing"
    assert group_problems(problems) == [
        "diverged (seeds 0, 3): nan",
        "diverged (seed 1): inf",
        "missing (seed 2): not run",
    ]
    assert count_problems([]) == ""


def test_a_row_knows_its_finished_seeds_and_those_that_are_not():
    records = [
        record("a", 0, flat(0.5)),
        record("a", 2, status="failed", reason="no memory"),
        record("b", 1, flat(0.5)),
    ]
    (table,) = board(records).tables
    row = next(row for row in table.rows if row.strategy == "a")
    assert table.seeds == (0, 1, 2)
    assert row.finished == (0,)
    assert table.reference == (0,)  # that another row has seed 1 instead is no problem of this one
    assert [(p.seed, p.status, p.reason) for p in row.problems] == [
        (2, "failed", "no memory"),
    ]


def test_a_cell_that_is_done_without_a_trace_is_a_failed_one():
    (table,) = board([record("a", 0, status="done")]).tables
    assert [p.status for p in table.rows[0].problems] == ["failed"]
    assert table.rows[0].rank is None


# ---------------------------------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("evaluation", "words"),
    [
        ({}, ""),
        ({"every": 5}, ("every 5", "per task: all")),
        ({"every": 0}, ("ends only",)),
        ({"schedule": "ends"}, ("ends only",)),
        ({"every": 1, "rows_per_task": 100, "tasks": "all"}, ("every 1", "tasks: all", "100")),
        ({"schedule": {"dense": {"steps": 20, "growth": 1.1}}}, ("dense steps 20, growth 1.1",)),
        ({"schedule": {"at": [1, 2, 3]}}, ("at 1, 2, 3",)),
        ({"schedule": {"at": list(range(9))}}, ("0, 1, 2, 3, 4", "9 iterations")),
    ],
)
def test_when_and_at_what_was_evaluated_is_said_in_words(evaluation, words):
    text = evaluation_text(evaluation)
    assert text == words if not words else all(word in text for word in words)


def test_settings_in_which_cells_of_a_table_differ_are_named():
    cells = [
        {"training": {"lr": 0.1, "epochs": 5}, "memory": {"size": 10, "policy": "a"}, "model": {"name": "mlp"}},
        {"training": {"lr": 0.2, "epochs": 5}, "memory": {"size": 20, "policy": "b"}},
    ]
    assert differing_settings(cells) == ["model.name", "training.lr", "memory.size"]
    assert differing_settings(cells[:1]) == []


# ---------------------------------------------------------------------------------------------- notes


class Row:
    """As much of a row as notes read."""

    def __init__(self, strategy, *records):
        self.strategy = self.label = self.name = strategy
        self.records = records
        self.recipe = recipe(records[0])


def of(name, seed=0, label=None, fingerprint=None, **parameters):
    settings = [{"name": name, "parameters": parameters}]
    return record(label or name, seed, flat(0.5), settings=settings, fingerprint=fingerprint)


@pytest.mark.parametrize(
    ("name", "parameters", "text"),
    [
        ("er", {}, "er"),
        ("er", {"loss": "concat", "rows": None, "new_weight": 0.5, "start": "earlier"}, "er"),
        ("er", {"loss": "sum", "rows": 7}, "er(loss=sum, rows=7)"),
        ("not_here", {"alpha": 1}, "not_here(alpha=1)"),
        ("/some/where/mine.py:Mine", {"alpha": 1}, "mine.py:Mine(alpha=1)"),
    ],
)
def test_a_recipe_is_a_strategy_with_what_is_not_at_its_default(name, parameters, text):
    assert recipe(of(name, **parameters)) == text


@pytest.mark.parametrize(
    ("label", "name", "parameters", "renamed"),
    [
        ("er", "er", {}, False),
        ("er", "er", {"loss": "sum"}, True),
        ("er(loss=sum)", "er", {"loss": "sum"}, False),
        ("er(loss=sum)", "er", {"loss": "concat"}, True),
        ("er [lr=0.1]", "er", {}, False),
        ("mine", "er", {}, True),
        ("er + ewc(strength=1)", "er", {}, True),
        ("what is this (", "er", {}, True),
        ("my_part", "a.py:MyPart", {}, False),
    ],
)
def test_a_label_that_is_read_as_another_strategy_is_a_new_name(label, name, parameters, renamed):
    assert notes.is_renamed(of(name, label=label, **parameters)) is renamed


def test_new_names_are_told_with_what_they_stand_for():
    rows = [Row("er", of("er")), Row("er_sum", of("er", label="er_sum", loss="sum"))]
    assert notes.labels(rows) == ["labels: er_sum is er(loss=sum)"]
    assert notes.labels(rows[:1]) == []


def test_versions_are_told_where_they_differ_and_only_there():
    old, new = ({"clbench": v, "torch": "2.4"} for v in ("0.1", "0.2"))
    rows = [Row("a", replace(of("er"), environment=old)), Row("b", replace(of("er"), environment=new))]
    (text,) = notes.different_versions(rows)
    assert "clbench 0.1, torch 2.4 (a)" in text
    assert "clbench 0.2, torch 2.4 (b)" in text
    assert notes.different_versions([rows[0], Row("c", replace(of("er"), environment=old))]) == []
    assert notes.versions(replace(of("er"), environment={})) == ""


def test_strategies_on_another_stream_than_most_are_named_and_upper_bounds_are_called_so():
    rows = [Row(label, of("er", label=label, fingerprint="f")) for label in ("a", "b", "c")]
    assert notes.other_streams(rows) == []
    other, bound = Row("d", of("er", label="d", fingerprint="g")), Row("joint", of("joint", fingerprint="h"))
    told = notes.other_streams([*rows, other, bound])
    assert len(told) == 2
    assert next(text for text in told if text.endswith(": joint")).startswith("upper bound")
    assert next(text for text in told if text.endswith(": d"))


def test_streams_are_compared_seed_by_seed():
    rows = [Row(label, *(of("er", seed, label, fingerprint=f"f{seed}") for seed in (0, 1))) for label in ("a", "b")]
    assert notes.other_streams(rows) == []


# ---------------------------------------------------------------------------------------------- fronts and blocks


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=8))
def test_the_front_is_what_no_other_point_beats(points):
    cost, score = zip(*points, strict=True)
    expected = [
        not any(c <= cost[i] and s >= score[i] and (c < cost[i] or s > score[i]) for c, s in points)
        for i in range(len(points))
    ]
    assert pareto(cost, score).tolist() == expected
    assert any(expected)


def test_columns_are_means_over_their_share_of_the_iterations():
    rising = trace_from(np.ones((1, 1)), [8], lambda step, _: np.array([step / 8]))
    found = heights([rising], experience_boundaries(rising), 4)
    # the task counts from iteration 1 on, so the first quarter holds 1/8 up to there: (0.125 + 0.1875) / 2
    assert found.tolist() == pytest.approx([0.15625, 0.375, 0.625, 0.875])
    level = flat(0.5, tasks=1)
    both = heights([rising, level], experience_boundaries(rising), 4)
    assert both.tolist() == pytest.approx([0.328125, 0.4375, 0.5625, 0.6875])


def test_a_run_with_other_experiences_is_level_at_its_end():
    joint = trace_from(np.ones((1, 2)), [8], lambda step, _: np.full(2, step / 8))
    assert heights([joint], np.array([0.0, 4.0, 8.0]), 3).tolist() == [1, 1, 1]


@pytest.mark.parametrize(("accuracy", "block"), [(0.0, 0), (0.124, 0), (0.126, 1), (0.5, 4), (0.99, 7), (1.0, 7)])
def test_a_block_is_an_eighth_of_the_scale(accuracy, block):
    text = sparklines([record("a", 0, flat(accuracy))], width=60)
    assert set(text.splitlines()[-1]) & set(BLOCKS) == {BLOCKS[block]}


def test_lines_are_sorted_by_accuracy_and_fit_the_terminal():
    text = sparklines([record(label, 0, flat(score)) for label, score in (("low", 0.2), ("high", 0.9))], width=50)
    lines = text.splitlines()
    assert [line.split()[0] for line in lines[-2:]] == ["high", "low"]
    assert max(map(len, lines)) <= 50


def test_plain_letters_are_tenths():
    text = sparklines([record("a", 0, flat(0.55))], width=60, ascii=True)
    assert text.isascii()
    assert "5555" in text.splitlines()[-1]

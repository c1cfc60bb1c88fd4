"""The law of leaderboards: a number of a row depends on that row, and a number of a pair on that pair."""

import itertools
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import record, trace_from

from clbench.leaderboard import board
from clbench.leaderboard.pooled_pairs import AcrossBenchmarks

METRICS = ["acc", "aaa", "wc_acc", "min_acc", "forgetting", "bwt", "gap_depth"]


def run(label, seed, levels, name="split-digits"):
    """A run of two tasks with these final accuracies, of which the first is lower at its worst evaluation."""
    first, second = levels

    def accuracy(step, experience):
        return np.array([first * (0.5 if step == 3 else 1.0), second * (experience > 0)])

    return record(label, seed, trace_from(np.eye(2), [2, 2], accuracy), name=name)


LEVELS = st.tuples(st.integers(0, 100), st.integers(0, 100)).map(lambda found: tuple(x / 100 for x in found))
ROW = st.dictionaries(st.integers(0, 6), LEVELS, min_size=1, max_size=6)
ROWS = st.dictionaries(st.sampled_from(["er", "naive", "agem", "mir", "joint"]), ROW, min_size=2, max_size=5)


def records_of(rows):
    return [run(label, seed, levels) for label, found in rows.items() for seed, levels in found.items()]


def bits(numbers):
    return np.array(numbers, dtype=float).tobytes()


def of_row(row):
    """All numbers of a row that are its own."""
    found = [row.metrics[name] for name in METRICS] + list(row.cost.values())
    return [bits([x.mean, x.half, x.n, *x.values, *x.values.values()]) for x in found] + [
        bits(list(row.scores.values()))
    ]


def of_pairs(table):
    """All numbers of the pairs of a table; the first of two names is the one that sorts first."""
    found = {}
    for pair in table.pairs:
        numbers = list(astuple(pair.statistics))
        if pair.one > pair.other:
            numbers[0] = 0.0 - numbers[0]
        numbers[0] += 0.0  # one zero, not two
        found[tuple(sorted((pair.one, pair.other)))] = bits(numbers)
    return found


@settings(max_examples=40, deadline=None)
@given(ROWS, st.data())
def test_no_number_of_a_row_or_of_a_pair_depends_on_the_other_rows(rows, data):
    kept = data.draw(st.lists(st.sampled_from(sorted(rows)), min_size=1, unique=True))
    by = data.draw(st.sampled_from(["acc", "wc_acc", "forgetting"]))
    (every,) = board(records_of(rows), METRICS, rank_by=by).tables
    (some,) = board(records_of({label: rows[label] for label in kept}), METRICS, rank_by=by).tables
    before = {row.label: of_row(row) for row in every.rows}
    assert {row.label: of_row(row) for row in some.rows} == {label: before[label] for label in kept}
    pairs, others = of_pairs(every), of_pairs(some)
    common = set(pairs) & set(others)
    assert {pair: others[pair] for pair in common} == {pair: pairs[pair] for pair in common}
    for anchor in kept:
        (among,) = board(records_of(rows), METRICS, rank_by=by, versus=anchor).tables
        (few,) = board(records_of({label: rows[label] for label in kept}), METRICS, rank_by=by, versus=anchor).tables
        with_all = of_pairs(among)
        assert of_pairs(few).items() <= with_all.items()


@settings(max_examples=30, deadline=None)
@given(ROWS)
def test_a_table_has_a_rank_for_exactly_the_rows_with_all_reference_seeds_in_the_order_of_their_means(rows):
    (table,) = board(records_of(rows), ["acc"]).tables
    sets = [frozenset(found) for found in rows.values()]
    assert frozenset(table.reference) in sets
    most = max(sets.count(each) for each in sets)
    assert sets.count(frozenset(table.reference)) == most or any(set(range(5)) <= each for each in sets)
    for row in table.rows:
        assert (row.rank is not None) == (set(table.reference) <= set(row.finished)) == (row.standing == "ranked")
    means = [row.ranking for row in table.rows if row.rank is not None]
    assert means == sorted(means, reverse=True)
    grouped = [row.group for row in table.rows if row.group is not None]
    assert "joint" not in [row.label for row in table.rows if row.group is not None]
    assert not grouped or grouped[0] == 1


def test_what_is_pooled_over_benchmarks_depends_on_the_row_or_pair_alone():
    rng = np.random.default_rng(0)
    records = [
        run(label, seed, tuple(rng.integers(0, 100, 2) / 100), name=name)
        for label in ("er", "naive", "agem", "mir")
        for name in ("one", "two", "three")
        for seed in range(3)
    ]
    every = AcrossBenchmarks.of(board(records, ["acc"]))
    for one, other in itertools.combinations(("er", "naive", "agem", "mir"), 2):
        few = AcrossBenchmarks.of(board([r for r in records if r.label in (one, other)], ["acc"]))
        assert few.means == {name: every.means[name] for name in few.means}
        ((first, second, pair, _),) = few.pairs
        assert pair in [found for a, b, found, _ in every.pairs if (a, b) == (first, second)]


def runs(label, accuracies):
    return [run(label, seed, (a, a)) for seed, a in enumerate(accuracies)]


def test_groups_come_from_all_pairs_of_ranked_rows_without_upper_bounds():
    base = np.array([0.50, 0.54, 0.46, 0.52, 0.48])
    rows = {
        "er": base + np.array([0.2, 0.21, 0.2, 0.19, 0.2]),
        "mir": base + np.array([0.19, 0.22, 0.2, 0.18, 0.2]),
        "agem": base + np.array([0.1, 0.1, 0.11, 0.1, 0.09]),
        "naive": base - np.array([0.1, 0.1, 0.11, 0.1, 0.09]),
        "joint": base + 0.3,
    }
    (table,) = board([each for label, found in rows.items() for each in runs(label, found)], ["acc"]).tables
    assert {row.label: row.group for row in table.rows} == {"joint": None, "er": 1, "mir": 1, "agem": 2, "naive": 3}
    assert [row.rank for row in table.rows] == [1, 2, 3, 4, 5]
    assert len(table.pairs) == 6
    level = [(pair.one, pair.other) for pair in table.pairs if not pair.separated]
    assert level == [("er", "mir")]


@pytest.mark.parametrize("seeds", [1, 2])
def test_with_fewer_than_three_seeds_there_are_no_groups(seeds):
    (table,) = board([*runs("er", [0.9, 0.8][:seeds]), *runs("naive", [0.1, 0.2][:seeds])], ["acc"]).tables
    assert [row.group for row in table.rows] == [None, None]
    assert table.pairs[0].statistics.n == seeds


def test_rows_are_ranked_by_another_metric_in_its_direction():
    rows = {"er": [(0.9, 0.9)] * 3, "naive": [(0.2, 1.0)] * 3, "agem": [(0.4, 0.3)] * 3}
    records = [run(label, seed, levels) for label, found in rows.items() for seed, levels in enumerate(found)]
    by_acc, by_forgetting = board(records, ["acc"]), board(records, ["acc"], rank_by="forgetting")
    assert [row.label for row in by_acc.tables[0].rows] == ["er", "naive", "agem"]
    # each loses half of its first task on the way and regains it: forgetting 0, so all are equal
    assert [row.rank for row in by_forgetting.tables[0].rows] == [1, 1, 1]
    worst = board(records, ["acc"], rank_by="min_acc")  # half of the first task
    assert [(row.label, row.rank, round(row.ranking, 3)) for row in worst.tables[0].rows] == [
        ("er", 1, 0.45), ("agem", 2, 0.2), ("naive", 3, 0.1),
    ]  # fmt: skip
    assert "ranked by min-ACC" in worst.tables[0].notes


def costing(label, steps, accuracy):
    made = runs(label, [accuracy] * 3)
    for each in made:
        each.cost["steps"] = steps
    return made


def test_rows_over_the_budget_are_not_ranked_and_do_not_choose_the_reference_seeds():
    records = [*costing("er", 900, 0.9), *costing("naive", 300, 0.2), *costing("agem", 500, 0.5)]
    records += [run("er", 3, (0.9, 0.9)), run("mir", 0, (0.9, 0.9))]
    (table,) = board(records, ["acc"], within="steps=500").tables
    assert [(row.label, row.rank, row.standing) for row in table.rows] == [
        ("agem", 1, "ranked"), ("naive", 2, "ranked"), ("mir", None, "incomplete"), ("er", None, "over budget"),
    ]  # fmt: skip
    assert table.reference == (0, 1, 2)
    assert "ranked within steps up to 500; not within: er (steps 900)" in table.notes
    for each in records:
        if each.label == "naive":
            del each.cost["train_seconds"]
    (unknown,) = board(records, ["acc"], within={"train_seconds": 1e9}).tables
    assert [row.label for row in unknown.rows if row.standing == "over budget"] == ["naive"]
    assert (
        "ranked within train_seconds up to 1,000,000,000; not within: naive (train_seconds not recorded)"
        in unknown.notes
    )


def test_only_the_chosen_seeds_count():
    records = [*runs("er", [0.9, 0.8, 0.1, 0.1]), *runs("naive", [0.2, 0.3])]
    (table,) = board(records, ["acc"], seeds="0-1").tables
    assert table.reference == table.seeds == (0, 1)
    assert [(row.label, row.rank, row.metrics["acc"].n) for row in table.rows] == [("er", 1, 2), ("naive", 2, 2)]
    assert table.rows[0].ranking == pytest.approx(0.85)


def test_versus_compares_every_other_row_with_one_and_corrects_for_these_pairs_alone():
    rows = {"er": [0.9, 0.8, 0.85], "naive": [0.2, 0.25, 0.1], "agem": [0.5, 0.3, 0.35]}
    records = [each for label, found in rows.items() for each in runs(label, found)]
    (table,) = board(records, ["acc"], versus="naive").tables
    assert [(pair.one, pair.other) for pair in table.pairs] == [("er", "naive"), ("agem", "naive")]
    p = [pair.statistics.t_p for pair in table.pairs]
    assert [pair.holm_p for pair in table.pairs] == [2 * min(p), max(2 * min(p), max(p))]
    assert table.pairs[0].statistics.difference == pytest.approx(0.85 - 0.55 / 3)

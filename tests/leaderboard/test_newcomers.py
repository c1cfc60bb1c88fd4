"""A newcomer with few seeds changes no rank: the committed ten-seed tables, and made-up ones."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clbench import api
from clbench.leaderboard import board

TEN_SEEDS = Path(__file__).parents[2] / "baselines" / "strategies" / "split-cifar10-online" / "ten-seeds"


@pytest.fixture(scope="module")
def ten_seeds():
    return api.records(TEN_SEEDS)


def newcomer(records, seed):
    """The run of er with one seed, as if a strategy of another name had made it."""
    (run,) = [record for record in records if record.label == "er" and record.seed == seed]
    strategy = [{"name": "newcomer", "parameters": {}}]
    return replace(run, label="newcomer", key=f"newcomer{seed}", cell={**run.cell, "strategy": strategy})


@pytest.mark.parametrize("seed", [0, 8])
def test_a_newcomer_with_one_seed_changes_no_rank_and_no_group_and_stands_below_as_incomplete(ten_seeds, seed):
    (before,) = board(ten_seeds, ["acc"]).tables
    (after,) = board([*ten_seeds, newcomer(ten_seeds, seed)], ["acc"]).tables
    *ranked, last = after.rows
    assert [row.strategy for row in ranked][:3] == ["er_ace", "pcr(views=1)", "er"]
    assert [(row.strategy, row.rank, row.group, row.ranking, row.covered) for row in ranked] == [
        (row.strategy, row.rank, row.group, row.ranking, row.covered) for row in before.rows
    ]
    assert (last.strategy, last.rank, last.group, last.standing, last.covered) == (
        "newcomer", None, None, "incomplete", (1, 10),
    )  # fmt: skip
    assert after.reference == before.reference == tuple(range(10))
    assert after.pairs[: len(before.pairs)] == before.pairs


def test_a_newcomer_is_compared_with_the_best_row_over_the_seeds_that_both_have(ten_seeds):
    (table,) = board([*ten_seeds, newcomer(ten_seeds, 8)], ["acc"]).tables
    pair = table.pairs[-1]
    assert (pair.one, pair.other, pair.statistics.n) == ("er_ace", "newcomer", 1)
    scores = {row.label: row.scores for row in table.rows}
    assert pair.statistics.difference == scores["er_ace"][8] - scores["er"][8]
    assert np.isnan(pair.holm_p)
    shown = 100 * (scores["er"][8] - scores["er_ace"][8])
    assert f"newcomer is incomplete: 1 of 10 seeds; minus er_ace over 1 shared seed: {shown:+.2f}" in table.notes

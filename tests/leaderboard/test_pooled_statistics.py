"""Statistics over benchmarks against scipy and hand-worked values, and how boards show them."""

import csv
import io
import json
import math

import numpy as np
import pytest
from scipy import stats
from synthetic import record, trace_from

from clbench.leaderboard import board, render
from clbench.leaderboard.pooled_pairs import AcrossBenchmarks
from clbench.leaderboard.pooled_statistics import (
    interquartile_mean,
    performance_profile,
    pooled_mean,
    pooled_pair,
    probability_of_improvement,
    wilcoxon_p,
)


@pytest.mark.parametrize("n", [1, 3, 4, 7, 10, 25])
def test_the_interquartile_mean_is_the_mean_trimmed_by_a_quarter_on_each_side(n):
    values = np.random.default_rng(n).normal(size=n)
    assert interquartile_mean(values) == pytest.approx(stats.trim_mean(values, 0.25))
    assert interquartile_mean([[1, 2, 3, 100]]).tolist() == [2.5]


def test_the_probability_of_improvement_is_that_of_mann_and_whitney_averaged_over_benchmarks():
    rng = np.random.default_rng(0)
    one = [rng.normal(0.2, 1, 7), rng.normal(0, 1, 5)]
    other = [rng.normal(0, 1, 6), rng.normal(0, 1, 5)]
    theirs = [stats.mannwhitneyu(a, b).statistic / (len(a) * len(b)) for a, b in zip(one, other, strict=True)]
    found = probability_of_improvement(one, other)
    assert found.value == pytest.approx(np.mean(theirs))
    assert found.low < found.value < found.high
    # 3 > 1, 3 > 2, 2 > 1, and a tie of 2 with 2, which counts half: (1 + 1 + 1 + 0.5) / 4
    assert probability_of_improvement([np.array([3.0, 2.0])], [np.array([1.0, 2.0])]).value == 0.875
    assert probability_of_improvement([], []).value != probability_of_improvement([], []).value


def test_the_bootstrap_draws_runs_within_benchmarks_and_never_benchmarks():
    # every run of a benchmark scores the same, so nothing varies, though the benchmarks differ widely
    constant = pooled_mean([np.full(5, 0.1), np.full(5, 0.9), np.full(5, 0.5)])
    assert (constant.low, constant.high) == (constant.value, constant.value) == pytest.approx((0.5, 0.5))
    runs = [np.random.default_rng(place).normal(0.5, 0.1, 100) for place in range(4)]
    found = pooled_mean(runs)
    # scipy's bootstrap of one stratum, for runs of one distribution: as wide
    theirs = stats.bootstrap(
        (np.concatenate(runs),), lambda x, axis: stats.trim_mean(x, 0.25, axis=axis), method="percentile",
        n_resamples=2000, rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    assert found.high - found.low == pytest.approx(theirs.high - theirs.low, rel=0.12)
    assert found == pooled_mean(runs)


def test_a_performance_profile_is_the_share_of_runs_above_each_threshold():
    scores = [np.array([0.1, 0.3]), np.array([0.5, 0.5, 0.9, 0.7])]
    assert performance_profile(scores, [0.0, 0.3, 0.5, 0.9]) == pytest.approx([1, 4 / 6, 2 / 6, 0])


def test_a_pair_counts_wins_ties_and_losses_of_means_and_has_wilcoxons_exact_p():
    one = [np.array(own) for own in ([0.5, 0.7], [0.4, 0.4], [0.3, 0.3], [0.9, 0.7])]
    other = [np.array(own) for own in ([0.5, 0.5], [0.5, 0.3], [0.35, 0.35], [0.5, 0.5])]
    pair = pooled_pair(one, other)
    assert (pair.benchmarks, pair.wins, pair.ties, pair.losses) == (4, 2, 1, 1)
    assert pair.difference == pytest.approx((0.1 + 0 - 0.05 + 0.3) / 4)
    # the differences 0.1, -0.05, 0.3 have ranks 2, 1, 3: a negative sum of at most 1 has 2 of 8 patterns on each side
    assert pair.wilcoxon_p == 0.5
    assert wilcoxon_p([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]) == 2 / 64
    assert wilcoxon_p([0.0, 0.0]) == 1
    assert math.isnan(wilcoxon_p([0.1]))


def runs(label, name, accuracies):
    traces = [trace_from([[1]], [3], lambda *_, a=a: np.array([a])) for a in accuracies]
    return [record(label, seed, trace, name=name) for seed, trace in enumerate(traces)]


def test_only_benchmarks_on_which_both_rows_are_complete_count():
    records = [
        each
        for name, er, naive, mir in [
            ("one", [0.9, 0.8, 0.9], [0.1, 0.1, 0.1], [0.5, 0.5, 0.5]),
            ("two", [0.7, 0.7, 0.7], [0.2, 0.2, 0.2], [0.6]),
            ("three", [0.6, 0.7, 0.6], [0.3, 0.3, 0.3], [0.9, 0.9, 0.9]),
        ]
        for label, found in (("er", er), ("naive", naive), ("mir", mir))
        for each in runs(label, name, found)
    ]
    made = board(records, ["acc"], across=True, pairs=True)
    pool = AcrossBenchmarks.of(made)
    assert {name: sorted(own) for name, own in pool.scores.items()} == {
        "er": ["one@1", "three@1", "two@1"], "naive": ["one@1", "three@1", "two@1"], "mir": ["one@1", "three@1"],
    }  # fmt: skip
    found = {(one, other): pair for one, other, pair, _ in pool.pairs}
    assert found["mir", "naive"].benchmarks == 2
    pair = found.get(("er", "mir")) or found["mir", "er"]
    assert (pair.wins, pair.losses) == (1, 1)
    text = render(made, "md")
    assert "All benchmarks: pairs" in text
    assert "| naive | 3 | +53.33 ≈ | 3/0/0 | 0.250 |" in text
    plain = json.loads(render(board(records, ["acc"], pairs=True), "json"))
    assert [row["strategy"] for row in plain["pooled"]["rows"]] == ["er", "mir", "naive"]
    assert {(each["one"], each["other"]) for each in plain["pooled"]["pairs"]} == set(found)
    assert all(len(table["pairs"]) >= 2 for table in plain["tables"])


def test_files_of_pairs_hold_a_line_per_pair_with_numbers_in_full():
    rows = {"er": [0.9, 0.8, 0.9], "naive": [0.1, 0.2, 0.1], "=mir": [0.5, 0.5]}
    records = [each for name in ("one", "two") for label, found in rows.items() for each in runs(label, name, found)]
    made = board(records, ["acc"], pairs=True, rename={"er": "Ours"})
    lines = list(csv.DictReader(io.StringIO(render(made, "csv"))))
    assert [(line["benchmark"], line["one"], line["other"], line["n"]) for line in lines] == [
        (name, "Ours", other, n) for name in ("one@1", "two@1") for other, n in (("naive", "3"), ("'=mir", "2"))
    ]
    assert float(lines[0]["difference"]) == made.tables[0].pairs[0].statistics.difference
    assert float(lines[0]["holm_p"]) == made.tables[0].pairs[0].holm_p
    assert lines[1]["holm_p"] == lines[1]["t_p"] == ""  # two shared seeds
    (pooled,) = csv.DictReader(io.StringIO(render(board(records, ["acc"], pairs=True, across=True), "csv")))
    assert (pooled["one"], pooled["other"], pooled["wins"], pooled["improvement_value"]) == ("er", "naive", "2", "1.0")


def test_a_notebook_shows_the_pairs_too():
    records = [*runs("er", "one", [0.9, 0.8, 0.9]), *runs("naive", "one", [0.1, 0.2, 0.1])]
    assert "Holm" in board(records, ["acc"], pairs=True)._repr_html_()
    assert "one@1, pairs" not in board(records, ["acc"])._repr_html_()


@pytest.mark.parametrize("format", ["table", "md", "latex", "html", "json"])
def test_every_format_shows_the_pairs_of_a_table(format):
    records = [*runs("er", "one", [0.9, 0.8, 0.9, 0.95]), *runs("naive", "one", [0.1, 0.2, 0.1, 0.1])]
    differences = [0.8, 0.6, 0.8, 0.85]
    p = stats.ttest_1samp(differences, 0).pvalue
    text = render(board(records, ["acc"], pairs=True), format)
    if format == "json":
        (pair,) = json.loads(text)["tables"][0]["pairs"]
        assert pair["t_p"] == pair["holm_p"] == pytest.approx(p)
        assert pair["more_seeds"] is None
    else:
        assert "pairs" in text.casefold()
        assert f"{p:.3f}" in text or "0.001" in text
        assert "0.125" in text  # the p value of signs
    assert "Holm's p" not in render(board(records, ["acc"]), format)

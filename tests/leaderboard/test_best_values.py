"""Which value of a column is best, and which are not separated from it."""

import json
import math

import numpy as np
import pytest
from synthetic import record, trace_from

from clbench.leaderboard import board, render
from clbench.leaderboard.best_values import note, separated
from clbench.leaderboard.summaries import summarise
from clbench.metrics import Value
from clbench.metrics.interval import half_width


def runs(label, accuracies, **options):
    """Finished cells of one strategy with these accuracies, seed by seed."""
    traces = [trace_from([[1]], [3], lambda *_, a=a: np.array([a])) for a in accuracies]
    return [record(label, seed, trace, **options) for seed, trace in enumerate(traces)]


def marks_of(*records):
    table = board([each for own in records for each in own], ["acc"]).tables[0]
    return {row.strategy: row.marks.get("acc", "") for row in table.rows}, note(table.rows)


def test_a_difference_is_separated_if_its_paired_interval_excludes_zero():
    # paired differences 0.10, 0.11, 0.12: mean 0.11, half-width 4.303 * 0.01 / sqrt(3) = 0.0248, though the values
    # themselves spread over 0.4
    found, told = marks_of(runs("a", [0.5, 0.7, 0.9]), runs("b", [0.4, 0.59, 0.78]))
    assert found == {"a": "best", "b": ""}
    assert told == "bold: best of a column"
    # differences 0.10, -0.05, 0.12: mean 0.057, half-width 4.303 * 0.0929 / sqrt(3) = 0.231
    found, told = marks_of(runs("a", [0.5, 0.7, 0.9]), runs("b", [0.4, 0.75, 0.78]))
    assert found == {"a": "best", "b": "level"}
    assert told.startswith("bold: best of a column; ≈: not separated from it (the 95 % interval of their difference")


def test_pairs_are_of_equal_seeds_and_not_of_equal_places():
    one = summarise({0: Value(0.9), 2: Value(0.7), 3: Value(0.5), 5: Value(0.3)})
    other = summarise({5: Value(0.2), 3: Value(0.4), 2: Value(0.61), 1: Value(0.0)})
    differences = [0.7 - 0.61, 0.5 - 0.4, 0.3 - 0.2]
    assert abs(np.mean(differences)) > half_width(differences)
    assert separated(one, other)


@pytest.mark.parametrize("seeds", [1, 2])
def test_with_fewer_than_three_pairs_only_equal_means_share_the_mark(seeds):
    found, told = marks_of(runs("a", [0.5, 0.7][:seeds]), runs("b", [0.5, 0.7][:seeds]), runs("c", [0.49, 0.7][:seeds]))
    assert found == {"a": "best", "b": "best", "c": ""}
    assert "≈" not in told


def test_an_upper_bound_is_never_the_best_and_the_note_says_so():
    found, told = marks_of(
        runs("joint", [0.99, 0.98, 0.99]), runs("er", [0.5, 0.6, 0.7]), runs("naive", [0.1, 0.1, 0.1])
    )
    assert found == {"joint": "", "er": "best", "naive": ""}
    assert told == "bold: best of a column, upper bounds left out"


def test_where_lower_is_better_the_lowest_is_best_and_a_metric_that_means_nothing_alone_has_no_best():
    def learned(loss):
        return [
            record(
                f"loses {loss}",
                seed,
                trace_from(np.eye(2), [2, 2], lambda step, _: np.array([0.9 - loss * (step > 2)] * 2)),
            )
            for seed in range(3)
        ]

    table = board([*learned(0.1), *learned(0.4)], ["forgetting", "gap_depth", "gap_pairs"]).tables[0]
    marks = {row.strategy: dict(row.marks) for row in table.rows}
    assert marks == {"loses 0.1": {"forgetting": "best"}, "loses 0.4": {}}


def test_a_row_alone_and_rows_without_rank_have_no_marks():
    assert marks_of(runs("er", [0.5, 0.6, 0.7])) == ({"er": ""}, "")
    apart = [*runs("a", [0.5]), record("b", 1, runs("b", [0.9])[0].trace)]
    assert marks_of(apart) == ({"a": "", "b": ""}, "")


def test_every_format_shows_the_marks_in_its_own_way():
    made = board([*runs("a", [0.5, 0.7, 0.9]), *runs("b", [0.4, 0.75, 0.78]), *runs("c", [0.1, 0.1, 0.1])], ["acc"])
    markdown = render(made, "md")
    assert f"| **70.00 ± {100 * half_width([0.5, 0.7, 0.9]):.2f}** |" in markdown
    assert f"| 64.33 ± {100 * half_width([0.4, 0.75, 0.78]):.2f} ≈ |" in markdown
    assert "| 10.00 ± 0.00 |" in markdown
    latex = render(made, "latex")
    assert latex.count(r"\textbf{") == 1
    assert latex.count(r"$^{\approx}$ \\") == 1
    page = render(made, "html")
    assert page.count('class="number best"') == 1
    assert page.count('title="not separated from the best"') == 1
    rows = json.loads(render(made, "json"))["tables"][0]["rows"]
    assert [row["metrics"]["acc"].get("mark") for row in rows] == ["best", "level", None]
    text = [line.rstrip() for line in render(made, "table").splitlines()]
    ends = [line[-1] for line in text if line.startswith((" 1 ", " 2 ", " 3 "))]
    assert ends == ["*", "≈", "0"]
    assert any(line.startswith("*: best of a column; ≈: not separated") for line in text)


def test_a_summary_without_values_is_not_marked():
    table = board([*runs("a", [0.5] * 3), *runs("b", [0.6] * 3)], ["acc", "bwt"]).tables[0]
    assert all(math.isnan(row.metrics["bwt"].mean) and "bwt" not in row.marks for row in table.rows)

"""What a dry run prints of a plan."""

import pytest

from clbench.cli.dry_run import _seeds


@pytest.mark.parametrize(
    ("seeds", "text"),
    [
        ([], "-"),
        ([3], "3"),
        ([0, 1, 2, 5], "0, 1, 2, 5"),
        (list(range(12)), "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11"),
        (list(range(13)), "0 to 12"),
        ([*range(1000), 1500, *range(2000, 2500)], "0 to 999, 1500, 2000 to 2499"),
        (list(range(0, 26, 2)), "0, 2, 4, 6, 8, 10, ... (13 seeds)"),
        ([9, *range(20, 40), 8], "8 to 9, 20 to 39"),
    ],
)
def test_many_seeds_are_told_as_runs_in_a_bounded_text(seeds, text):
    assert _seeds(seeds) == text

"""The status of a submission: the highest level that was checked without a finding, at it or below."""

import pytest

from clbench.submission.findings import Finding, findings_of, reached
from clbench.submission.submitted import Submitted

NOTHING = Submitted((), None, {}, "", (), "bundle.zip")


def finding(level):
    return Finding("hashes", level, "", "a sum differs")


@pytest.mark.parametrize(
    ("levels", "done", "status"),
    [
        ([], [], "self-reported"),
        ([], ["consistent"], "consistent"),
        (["consistent"], ["consistent", "reproduced", "honest seeds"], "self-reported"),
        (["reproduced"], ["consistent", "reproduced", "honest seeds"], "consistent"),
        (["honest seeds"], ["consistent", "reproduced", "honest seeds"], "reproduced"),
        ([], ["consistent", "honest seeds"], "consistent"),
        ([], ["consistent", "reproduced", "honest seeds"], "honest seeds"),
    ],
)
def test_a_status_needs_all_checks_up_to_it_without_a_finding(levels, done, status):
    assert reached(map(finding, levels), done) == status


def test_a_check_that_fails_on_the_content_of_a_submission_is_a_finding_after_what_it_had_found():
    def lengths(submitted):
        yield finding("consistent")
        raise IndexError(f"{submitted.path}\nis odd")

    first, second = findings_of(lengths, NOTHING)
    assert first == finding("consistent")
    assert second.level == "consistent"
    assert second.sentence == "the check lengths cannot read this submission (IndexError: bundle.zip is odd)"

"""All checks that run something, on a result folder as strangers hand it over."""

import pytest
from small_submission import honest

from clbench.core import store
from clbench.core.errors import Refused
from clbench.submission.findings import reached
from clbench.submission.folder_reader import read_folders
from clbench.submission.run_checks import run_checks


@pytest.fixture(scope="module")
def submitted(tmp_path_factory):
    """The honest records of er, read from a folder within the limits for strangers."""
    folder = tmp_path_factory.mktemp("records")
    for record in honest():
        if record.label == "er":
            store.save(record, folder)
    return read_folders([folder])


def test_an_honest_folder_stands_all_checks_and_the_report_says_what_was_done(submitted):
    found = run_checks(submitted, rerun=2, fresh=3)
    assert [each.check for each in found.results] == ["rerun", "rerun", "fresh seeds", "secret data"]
    assert not found.findings
    assert reached(found.findings, ["consistent", *found.done]) == "honest seeds"
    assert found.remarks[0] == f"2 cells, drawn from the sha256 {submitted.digest}, were run again to their ends"
    assert found.remarks[2].startswith("3 fresh seeds notice the best 5 of 10 in ")


def test_levels_that_were_not_asked_for_are_not_done_and_run_nothing(submitted):
    assert run_checks(submitted).results == ()
    found = run_checks(submitted, rerun=1, prefix=5)
    assert found.done == ("reproduced",)
    assert found.remarks[0].endswith("were run again for 5 steps")


@pytest.mark.parametrize(("asked", "told"), [({"rerun": -1}, "rerun = -1"), ({"prefix": 0}, "from 1")])
def test_impossible_numbers_are_refused(submitted, asked, told):
    with pytest.raises(Refused, match=told):
        run_checks(submitted, **asked)

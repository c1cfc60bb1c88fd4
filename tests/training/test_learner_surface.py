"""What parts of a strategy see of the learner is what the page for their authors lists."""

import re
from pathlib import Path

from support import ready

PAGE = (Path(__file__).parents[2] / "docs" / "add-a-strategy.md").read_text(encoding="utf-8")


def listed(head):
    """The names in the first column of the table with this head."""
    table = PAGE.split(f"| `{head}` | what |")[1].split("\n\n")[0]
    rows = re.findall(r"^\| (`[^|]+`) \|", table, flags=re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


def public(thing):
    return {name for name in dir(thing) if not name.startswith("_")}


def test_the_learner_has_the_names_that_the_page_lists_and_fewer_than_thirty_five():
    learner = ready("naive").learner
    assert public(learner) == listed("learner.")
    assert len(public(learner)) < 35


def test_the_members_of_the_learner_have_the_names_that_the_page_lists():
    learner = ready("naive").learner
    assert public(learner.side_work) == listed("learner.side_work.")
    assert public(learner.classes) - {"see", "set_mask"} == listed("learner.classes.")  # those two are the loop's

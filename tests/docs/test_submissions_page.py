"""The workflows on the page about submissions are valid, and give strangers no rights."""

from __future__ import annotations

import re

from ruamel.yaml import YAML
from worked_pages import ROOT

PAGE = (ROOT / "docs" / "submissions.md").read_text(encoding="utf-8")
FLOWS = [YAML(typ="safe").load(text) for text in re.findall(r"^```yaml\n(.*?)^```", PAGE, flags=re.M | re.S)]
CHECK, PUBLISH = FLOWS


def steps(flow):
    [job] = flow["jobs"].values()
    return job["steps"]


def script(flow):
    return "\n".join(step.get("run", "") for step in steps(flow))


def test_a_pull_request_is_checked_without_secrets_without_rights_and_without_code_of_the_bundle():
    assert list(CHECK["on"]) == ["pull_request"]
    assert CHECK["permissions"] == {"contents": "read"}
    assert "secrets" not in str(CHECK)
    assert "clbench verify" in script(CHECK)
    assert not re.search(r"--rerun|--fresh|--trust", script(CHECK))


def test_no_workflow_pastes_what_strangers_can_choose_into_a_script():
    """Names of files and branches reach a script only as variables of the environment, in quotes."""
    for flow in FLOWS:
        assert "${{" not in script(flow)
        assert re.findall(r"(?<!\")\$(?:bundle|folder|BASE)", script(flow)) == []


def test_credentials_are_not_left_behind_for_later_steps():
    for flow in FLOWS:
        [checkout] = [step for step in steps(flow) if str(step.get("uses", "")).startswith("actions/checkout@")]
        assert checkout["with"]["persist-credentials"] is False


def test_a_site_is_published_from_what_was_merged_and_only_after_the_check():
    assert PUBLISH["on"] == {"push": {"branches": ["main"]}}
    assert "contents" in PUBLISH["permissions"]
    assert PUBLISH["permissions"]["contents"] == "read"
    text = script(PUBLISH)
    assert text.index("clbench verify") < text.index("zipfile -e") < text.index("clbench site")


def test_both_workflows_end_by_themselves():
    assert all(job["timeout-minutes"] <= 60 for flow in FLOWS for job in flow["jobs"].values())

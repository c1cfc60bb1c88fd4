"""The report of a verification: an in-toto Statement v1, which counts for the content that it names alone."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import jsonschema
import pytest
from command_line import call
from small_submission import honest

import clbench
from clbench.core import store
from clbench.core.errors import Refused
from clbench.submission.findings import Finding
from clbench.submission.statement import statement, write_statement
from clbench.submission.statement_status import read_status
from clbench.submission.verification import Verification, Verified

STATEMENT = {
    "type": "object",
    "required": ["_type", "subject", "predicateType"],
    "properties": {
        "_type": {"const": "https://in-toto.io/Statement/v1"},
        "subject": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["digest"],
                "properties": {
                    "name": {"type": "string"},
                    "digest": {
                        "type": "object",
                        "minProperties": 1,
                        "properties": {"sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"}},
                    },
                },
            },
        },
        "predicateType": {"type": "string", "pattern": "^[a-z][a-z0-9+.-]*:.+"},
        "predicate": {"type": "object"},
    },
}
"""The fields that the specification of the Statement layer requires, as JSON Schema."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("work")
    for record in honest():
        store.save(record, made / "res")
    return made


def verified(digest: str, *levels: str, findings: tuple[Finding, ...] = ()) -> Verified:
    return Verified("theirs", digest, bundle=True, records=1, findings=findings, done=levels)  # type: ignore[arg-type]


def test_a_report_is_a_statement_of_the_specification(folder: Path) -> None:
    told = statement(clbench.verify(folder / "res"))
    jsonschema.validate(told, STATEMENT)
    json.dumps(told, allow_nan=False)
    (each,) = told["predicate"]["submissions"]
    assert (told["predicate"]["status"], each["status"], each["records"]) == ("consistent", "consistent", 10)
    assert each["sha256"] == told["subject"][0]["digest"]["sha256"]


def test_the_schema_refuses_another_layer() -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"_type": "https://in-toto.io/Statement/v0.1"}, STATEMENT)


def test_a_status_counts_for_the_digest_that_the_report_names_alone(tmp_path: Path) -> None:
    first = verified("1" * 64, "consistent", "reproduced")
    other = verified("2" * 64, "consistent", findings=(Finding("cost", "consistent", "", "less"),))
    found = Verification((first, other), "reproduced")
    assert found.status == "self-reported"
    path = tmp_path / "verification.json"
    write_statement(found, path)
    assert [read_status(path, digit * 64) for digit in "123"] == ["reproduced", "self-reported", "self-reported"]


def test_a_level_counts_only_with_those_before_it() -> None:
    assert verified("1" * 64, "consistent", "honest seeds").status == "consistent"
    wrong = Finding("rerun", "reproduced", "", "differs")
    levels = ("consistent", "reproduced", "honest seeds")
    assert verified("1" * 64, *levels).status == "honest seeds"
    assert verified("1" * 64, *levels, findings=(wrong,)).status == "consistent"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[" * 100_000,
        "null",
        "{}",
        '{"_type": "https://in-toto.io/Statement/v1", "predicateType": "urn:clbench:verification:v1", "subject": 3}',
        '{"_type": "https://in-toto.io/Statement/v1", "predicateType": "urn:clbench:verification:v1", '
        '"subject": [{"digest": {"sha256": "'
        + "1" * 64
        + '"}}], "predicate": {"submissions": [{"sha256": "'
        + "1" * 64
        + '", "status": ["reproduced"]}]}}',
    ],
)
def test_a_damaged_report_gives_no_status(tmp_path: Path, text: str) -> None:
    path = tmp_path / "verification.json"
    path.write_text(text, encoding="utf-8")
    assert read_status(path, "1" * 64) == "self-reported"
    assert read_status(tmp_path / "none.json", "1" * 64) == "self-reported"


def test_the_command_ends_with_0_if_the_status_is_reached_and_with_1_if_it_is_not(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    shutil.copytree(folder / "res", folder / "[/x]")
    assert call("verify", "[/x]").out.startswith("[/x]: 10 records, consistent")
    answer = call("verify", "res", "-o", "report.json")
    assert (answer.code, "res: 10 records, consistent" in answer.out) == (0, True)
    jsonschema.validate(json.loads((folder / "report.json").read_text(encoding="utf-8")), STATEMENT)
    for record in honest()[1:]:
        store.save(record, folder / "less")
    answer = call("verify", "less")
    assert answer.code == 1
    assert "lacks seed 0 of two-halves@1" in answer.out
    assert "consistent was asked for, and self-reported is reached" in answer.out


@pytest.fixture(scope="module")
def whole(folder: Path) -> Path:
    clbench.submit(folder / "res", out=folder / "bundle.zip", contact="ada@example.org", licence="MIT")
    return folder / "bundle.zip"


def test_a_bundle_is_reproduced_by_running_drawn_cells_and_the_report_holds_each_run(whole: Path) -> None:
    found = clbench.verify(whole, rerun=2, prefix=6)
    assert (found.asked, found.status) == ("reproduced", "reproduced")
    (each,) = statement(found)["predicate"]["submissions"]
    assert each["sha256"] == hashlib.sha256(whole.read_bytes()).hexdigest()
    assert each["checked"] == ["consistent", "reproduced"]
    assert [run["holds"] for run in each["runs"]] == [True, True]
    assert {run["record"] for run in each["runs"]} <= {record.key for record in honest()}


def test_nothing_is_run_again_of_a_bundle_that_is_not_consistent(folder: Path) -> None:
    for record in honest()[1:]:
        store.save(record, folder / "dropped")
    found = clbench.verify(folder / "dropped", rerun=2)
    assert (found.asked, found.status, found.submissions[0].runs) == ("reproduced", "self-reported", ())


@pytest.mark.parametrize("place", range(0, 100, 4))
def test_one_changed_byte_of_a_bundle_is_named(whole: Path, tmp_path: Path, place: int) -> None:
    content = bytearray(whole.read_bytes())
    content[place * len(content) // 100 + 7] ^= 1
    path = tmp_path / "changed.zip"
    path.write_bytes(content)
    assert _told_of(path)


def _told_of(path: Path) -> list[str]:
    """Return why a bundle is not consistent: why it cannot be read, or what is found; empty if it is consistent."""
    try:
        found = clbench.verify(path)
    except Refused as error:
        return [str(error)]
    return [each.sentence for each in found.findings]


def test_the_honest_bundle_has_nothing_to_tell(whole: Path) -> None:
    assert not _told_of(whole)

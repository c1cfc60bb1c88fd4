"""The report of a verification as an in-toto Statement v1: plain JSON that names what was verified by its sha256.

It is not signed. A signature says who says it; running cells again says whether it is so.

Source: the in-toto attestation framework, Statement v1.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from clbench.core.atomic_files import write_or_refuse
from clbench.core.environment import environment
from clbench.core.shown_text import shown
from clbench.submission.statement_status import PREDICATE, TYPE
from clbench.submission.verification import Verification, Verified


def statement(verification: Verification) -> dict[str, Any]:
    """Return the report of a verification.

    Args:
        verification: What was found.
    """
    return {
        "_type": TYPE,
        "subject": [
            {"name": shown(each.path, None), "digest": {"sha256": each.digest}} for each in verification.submissions
        ],
        "predicateType": PREDICATE,
        "predicate": {
            "status": verification.status,
            "asked": verification.asked,
            "verified": datetime.now(UTC).isoformat(timespec="seconds"),
            "verifier": dict(environment(verification.device)),
            "submissions": [_told(each) for each in verification.submissions],
        },
    }


def _told(each: Verified) -> dict[str, Any]:
    return {
        "sha256": each.digest,
        "bundle": each.bundle,
        "status": each.status,
        "checked": list(each.done),
        "records": each.records,
        "findings": [
            {"check": found.check, "level": found.level, "record": found.key, "sentence": found.sentence}
            for found in each.findings
        ],
        "not_checked": [{"what": what, "records": number} for what, number in each.unchecked.items()],
        "remarks": [
            {"check": remark.check, "record": remark.key, "sentence": remark.sentence} for remark in each.remarks
        ],
        "drawn": list(each.drawn),
        "runs": [
            {
                "check": run.check,
                "level": run.level,
                "record": run.key,
                "strategy": shown(run.label),
                "seeds": list(run.seeds),
                "holds": run.holds,
                "sentence": run.sentence,
            }
            for run in each.runs
        ],
        "rows": [dict(row) for row in each.rows],
    }


def write_statement(verification: Verification, path: str | Path) -> None:
    """Write the report of a verification as JSON.

    Raises:
        Refused: The file cannot be written.
    """
    text = json.dumps(statement(verification), indent=1, ensure_ascii=True, allow_nan=False)
    write_or_refuse(Path(path).expanduser(), text.encode() + b"\n")

"""The status *consistent*: honest records have it, and each attack that leaves a trace in the numbers is named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_submission import among_honest, edited, honest, one, with_trace

import clbench
from clbench.core import store
from clbench.core.errors import Refused
from clbench.core.record import Kind, Record
from clbench.core.types import content_hash
from clbench.submission.findings import Finding
from clbench.submission.manifest import Manifest
from clbench.submission.submitted import Submitted
from clbench.submission.verification import Verified, consistent


def test_a_record_without_the_digest_that_its_format_has_is_named_and_an_older_one_is_not() -> None:
    stripped = replace(one("er", 0), trace_digest="")
    records = tuple(among_honest(stripped))
    for version, status in ((3, "self-reported"), (1, "consistent")):
        found = consistent(Submitted(records, None, {}, "5" * 64, (), "theirs", formats={stripped.key: version}))
        assert found.status == status
    assert found.unchecked["identity: the digest of the trace: records of formats 1 and 2 hold none"] == 1


def checked(records: Sequence[Record], manifest: Manifest | None = None, **more: object) -> Verified:
    """Return what is found about records, as if an attacker had hashed every file again."""
    submitted = Submitted(tuple(records), manifest, {}, "5" * 64, (), "theirs")
    return consistent(submitted, **more)  # type: ignore[arg-type]


def only(found: Verified) -> Finding:
    """Return the one finding; there is no other."""
    assert found.status == "self-reported"
    assert len(found.findings) == 1, [each.sentence for each in found.findings]
    return found.findings[0]


def recelled(record: Record, **cell: object) -> Record:
    """Return a record with another cell, whose key is right."""
    changed = {**record.cell, **cell}
    return replace(record, cell=changed, key=content_hash(changed))


def test_honest_records_are_consistent_and_all_but_the_shipped_file_is_checked() -> None:
    found = checked(honest())
    assert (found.status, found.findings, found.records) == ("consistent", (), 10)
    assert found.unchecked == {"benchmark: settings of two-halves@1: this version of clbench does not ship it": 1}
    assert [row["seeds"] for row in found.rows] == [[0, 1, 2, 3, 4], [0, 1, 2, 3, 4]]


def test_the_report_holds_metrics_that_are_computed_from_traces() -> None:
    found = checked(honest())
    er = next(row for row in found.rows if row["strategy"] == "er")
    trace = one("er", 3).trace
    assert trace is not None
    assert er["metrics"][3]["acc"] == pytest.approx(trace.score[-1].mean(), abs=1e-12)  # type: ignore[index]


def test_a_score_that_is_no_multiple_of_one_sample_is_named() -> None:
    trace = one("er", 1).trace
    assert trace is not None
    score = trace.score.copy()
    score[-1, 0] = 0.987
    found = only(checked(among_honest(edited(one("er", 1), score=score))))
    assert (found.check, found.key) == ("scores", one("er", 1).key)
    assert "0.987 of task 0 is no multiple of 1/50" in found.sentence


def test_an_edited_parameter_or_seed_belongs_to_another_key() -> None:
    honest_one = one("er", 1)
    for cell in ({"memory": {**honest_one.cell["memory"], "size": 10}}, {"seed": 7}):
        attacked = replace(honest_one, cell={**honest_one.cell, **cell})
        found = checked([attacked, *(each for each in honest() if each.key != honest_one.key)]).findings
        assert any("has the key of another cell" in each.sentence for each in found if each.check == "identity")


def test_an_edited_seed_with_a_right_key_is_another_stream() -> None:
    attacked = recelled(one("er", 4), seed=9)
    rows = [each for each in honest() if each.key != one("er", 4).key]
    found = [each for each in checked([*rows, attacked]).findings if each.check == "stream"]
    assert [each.key for each in found] == [attacked.key]
    assert "was made on another stream than its cell and seed give" in found[0].sentence


def test_a_trace_under_another_seed_is_named_with_both_records() -> None:
    copied = one("er", 2).trace
    assert copied is not None
    found = checked(among_honest(with_trace(one("er", 3), copied))).findings
    (copy,) = [each for each in found if each.check == "copied traces"]
    assert one("er", 2).key in copy.sentence
    assert one("er", 3).key in copy.sentence


def test_a_trace_under_another_strategy_is_a_remark_since_parts_may_have_no_effect() -> None:
    copied = one("er", 2).trace
    assert copied is not None
    found = checked(among_honest(with_trace(one("naive", 2), copied)))
    assert any("have the same trace" in remark.sentence for remark in found.remarks)


def test_a_dropped_seed_is_named() -> None:
    found = only(checked([each for each in honest() if each.key != one("naive", 3).key]))
    assert found.check == "seeds"
    assert "lacks seed 3 of two-halves@1: 4 of 5 reference seeds are there" in found.sentence


def test_a_seed_that_failed_counts_as_dropped() -> None:
    failed = replace(one("er", 0), status="failed", reason="out of memory", trace=None)
    sentences = [each.sentence for each in checked(among_honest(failed)).findings]
    assert any("failed: out of memory" in each for each in sentences)
    assert any("lacks seed 0" in each for each in sentences)


def test_another_stream_under_the_name_is_named() -> None:
    attacked = replace(one("er", 0), fingerprint=one("er", 1).fingerprint)
    assert "was made on another stream" in only(checked(among_honest(attacked))).sentence
    attacked = replace(one("er", 0), data="0" * 32)
    assert "was made on other data" in only(checked(among_honest(attacked))).sentence


def test_fewer_evaluations_than_declared_are_named_at_the_first_that_is_missing() -> None:
    trace = one("er", 0).trace
    assert trace is not None
    sparse = trace.at((trace.kind != Kind.STEP) | (trace.step % 2 == 0))
    attacked = with_trace(one("er", 0), sparse)
    attacked = replace(attacked, cost={**attacked.cost, "looks": float(len(sparse.step))})
    found = [each for each in checked(among_honest(attacked)).findings if each.check == "schedule"]
    assert len(found) == 1
    assert "at step 2, and its schedule has it after a step in experience 0 at step 1" in found[0].sentence


def test_fewer_steps_than_declared_are_named() -> None:
    attacked = []
    for record in honest():
        training = {**record.cell["training"], "iterations": 24}
        attacked.append(recelled(record, training=training))
    found = [each for each in checked(attacked).findings if each.check == "schedule"]
    assert len(found) == len(attacked)
    assert "made 12 steps in experience 0, and its settings and stream give 24" in found[0].sentence


@pytest.mark.parametrize(
    ("name", "factor", "told"),
    [
        ("steps", 0.5, "names 12 optimiser steps, and its trace has 24"),
        ("looks", 0.5, "evaluations, and its trace has"),
        ("stream_rows", 0.5, "names 287 learned samples of the stream, and its settings give 574"),
        ("evaluation_rows", 0.1, "samples in evaluations, and those of its trace pass at least"),
        ("replay_rows", 0.5, "numbers of operations and of samples that do not belong together"),
        ("train_flops", 0.5, "operations of training, and its model takes"),
        ("weights", 0.5, "weights, and its model has"),
        ("memory_bytes", 0.5, "names 1,280 bytes of memory, and its replay buffer takes 2,560"),
        ("train_seconds", 0.1, "s of training, and its trace has"),
    ],
)
def test_an_understated_cost_is_named(name: str, factor: float, told: str) -> None:
    record = one("er", 0)
    attacked = replace(record, cost={**record.cost, name: float(round(record.cost[name] * factor, 6))})
    found = checked(among_honest(attacked)).findings
    assert any(told in each.sentence and each.check == "cost" for each in found), [each.sentence for each in found]
    assert {each.key for each in found} == {record.key}


def test_operations_that_are_understated_together_are_those_of_another_model() -> None:
    record = one("er", 0)
    half = {name: record.cost[name] / 2 for name in ("evaluation_flops", "train_flops")}
    found = checked(among_honest(replace(record, cost={**record.cost, **half}))).findings
    assert ["operations of evaluations, and" in each.sentence for each in found] == [True, False]
    assert "operations of training, and its model takes" in found[1].sentence


def test_records_of_two_codes_in_a_row_are_named() -> None:
    attacked = replace(one("er", 4), code={**one("er", 4).code, "engine": "0" * 16})
    found = only(checked(among_honest(attacked)))
    assert (found.check, found.key) == ("code", one("er", 4).key)
    found = only(checked(among_honest(replace(one("er", 4), code={}))))
    assert "names no code, and er, seed" in found.sentence


def test_one_trace_file_in_two_bundles_is_named_and_equal_results_of_two_runs_are_not() -> None:
    manifest = Manifest(contact="a@b.org", licence="MIT", created="", clbench="", files={}, seeds={})
    held: dict[str, str] = {}
    files = {f"traces/{record.key}.npz": f"{place:064d}" for place, record in enumerate(honest())}
    ours = Submitted(tuple(honest()), manifest, {}, "5" * 64, (), "ours", files)
    assert consistent(ours, held=held).status == "consistent"
    first = next(iter(files))
    other = {**dict.fromkeys(files, "f" * 64), first: files[first]}
    theirs = Submitted(tuple(honest()), manifest, {}, "6" * 64, (), "theirs", other)
    found = [each for each in consistent(theirs, held=held).findings if each.check == "submitted twice"]
    assert [each.key for each in found] == [honest()[0].key]
    assert "is a copy: ours holds the same file" in found[0].sentence


def test_a_shipped_benchmark_with_another_stream_is_refused_in_bundles_and_noted_in_folders() -> None:
    named = [recelled(record, benchmark={"name": "split-digits", "version": 2}) for record in honest()]
    manifest = Manifest(contact="a@b.org", licence="MIT", created="", clbench="", files={}, seeds={})
    found = [each for each in checked(named, manifest).findings if each.check == "benchmark"]
    assert "stream.experiences = 2 instead of 5" in found[0].sentence
    assert any("stream.experiences = 2 instead of 5" in each.sentence for each in checked(named).remarks)


def test_tasks_that_are_left_out_of_evaluations_are_named() -> None:
    trace = one("er", 0).trace
    assert trace is not None
    score = trace.score.copy()
    score[np.flatnonzero(trace.experience == 1)[3], 0] = np.nan
    found = only(checked(among_honest(edited(one("er", 0), score=score))))
    assert "does not evaluate task 0 at evaluation" in found.sentence


def test_what_an_attacker_does_consistently_is_left_to_runs() -> None:
    """A score on the grid, with every digest made again, is a possible result: ``--rerun`` finds it."""
    trace = one("er", 1).trace
    assert trace is not None
    score = trace.score.copy()
    score[-1] = np.minimum(score[-1] + 1 / 50, 1.0)
    assert checked(among_honest(edited(one("er", 1), score=score))).status == "consistent"


def test_hostile_records_are_findings_and_never_tracebacks() -> None:
    hostile = [
        recelled(one("er", 0), strategy=[{"name": "er", "parameters": {"rows": {"a": [1]}}}]),
        recelled(one("er", 1), evaluation={"schedule": {"dense": {"steps": "x"}}}),
        recelled(one("er", 2), training={}),
        recelled(one("er", 3), stream={"scenario": "split", "dataset": {"name": "digits"}, "experiences": 10**12}),
    ]
    found = checked(hostile)
    assert found.status == "self-reported"
    assert all(each.sentence.isprintable() for each in found.findings)


EVIL = """\
from pathlib import Path

Path("was-run").write_text("it was", encoding="utf-8")
"""


def test_no_code_that_a_record_names_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.py").write_text(EVIL, encoding="utf-8")
    name, cell = "evil.py:Evil", one("er", 0).cell
    code = {"name": name, "parameters": {}, "source": "0" * 16}
    hostile = [
        recelled(one("er", 0), strategy=[code]),
        recelled(one("er", 0), strategy=[{"name": f"observe:{name}", "parameters": {}}]),
        recelled(one("er", 0), stream={**cell["stream"], "scenario": name}),
        recelled(one("er", 0), stream={**cell["stream"], "dataset": {"name": name}}),
        recelled(one("er", 0), stream={**cell["stream"], "apply": [{name: {}}]}),
        recelled(one("er", 0), model={**cell["model"], "name": name}),
        recelled(one("er", 0), model={**cell["model"], "activation": name}),
        recelled(one("er", 0), evaluation={**cell["evaluation"], "schedule": {name: {}}}),
        recelled(one("er", 0), training={**cell["training"], "optimizer": {name: {}}, "lr_schedule": {name: {}}}),
        recelled(one("er", 0), benchmark={"name": "evil.py", "version": 1}),
    ]
    for record in hostile:
        checked([record])
    assert not (tmp_path / "was-run").exists()
    with pytest.raises(Refused):  # the trap works: a cell that runs it leaves its mark
        clbench.run("split-digits", strategies=[name], seeds=1)
    assert (tmp_path / "was-run").exists()


def test_verify_reads_folders_below_a_path_and_names_a_changed_byte(tmp_path: Path) -> None:
    for name in ("one", "two"):
        for record in honest():
            store.save(record, tmp_path / name)
    found = clbench.verify(tmp_path)
    assert (found.status, len(found.submissions)) == ("consistent", 2)
    file = next((tmp_path / "two" / "records").glob("*.json"))
    file.write_text(file.read_text(encoding="utf-8").replace('"looks": 2', '"looks": 1', 1), encoding="utf-8")
    found = clbench.verify(tmp_path)
    assert [each.status for each in found.submissions] == ["consistent", "self-reported"]
    assert any(file.stem in each.sentence for each in found.findings)


def test_levels_are_asked_for_in_order(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="add --rerun"):
        clbench.verify(tmp_path, fresh=3)
    with pytest.raises(Refused, match="add --rerun"):
        clbench.verify(tmp_path, prefix=50)
    with pytest.raises(Refused, match="holds no records and no bundle"):
        clbench.verify(tmp_path)

"""Weights & Biases, offline: what was written is read back from the run folder and compared with the record."""

import json
import os
import sys
from collections import namedtuple
from dataclasses import replace

import numpy as np
import pytest
from synthetic import dipping, record, trace_from

from clbench.core.errors import Refused
from clbench.core.record import Kind
from clbench.metrics import board_names, compute
from clbench.running import wandb_tracker


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "wandb-config"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "wandb-cache"))


def messages(path):
    """The protocol buffers of a run file: 7 bytes of header, then LevelDB's log format in blocks of 32 KiB."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, at, pieces, found = path.read_bytes(), 7, b"", []
    assert content[:4] == b":W&B"
    while at < len(content):
        if (left := 32768 - at % 32768) < 7:
            at += left
            continue
        length, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
        pieces += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a whole message, or the last piece of one
            found.append(Record.FromString(pieces))
            pieces = b""
    return found


Found = namedtuple("Found", "run config history summary code folder")


def read(out, key):
    """Run, config, history rows and summary of the one run folder of a cell."""
    [folder] = (out / "wandb").glob(f"offline-run-*-{key}")
    run, config, history, summary, code = None, {}, [], {}, None
    for message in messages(folder / f"run-{key}.wandb"):
        kind = message.WhichOneof("record_type")
        if kind == "run":
            run = message.run
            config |= {item.key: json.loads(item.value_json) for item in message.run.config.update}
        elif kind == "config":
            config |= {item.key: json.loads(item.value_json) for item in message.config.update}
        elif kind == "history":
            row = {".".join(i.nested_key) or i.key: json.loads(i.value_json) for i in message.history.item}
            history.append({name: value for name, value in row.items() if not name.startswith("_")})
        elif kind == "summary":
            summary |= {".".join(i.nested_key) or i.key: json.loads(i.value_json) for i in message.summary.update}
        elif kind == "exit":
            code = message.exit.exit_code
    config = {name: value for name, value in config.items() if not name.startswith("_")}
    return Found(run, config, history, summary, code, folder)


def test_offline_run_holds_cell_curves_metrics_costs_and_picture(tmp_path):
    trace = dipping(3, tasks=3, length=12)
    sent = record("er + ewc(strength=10)", 4, trace, alarms=("memory was never drawn from",))

    assert wandb_tracker.send([sent], out=tmp_path, mode="offline", project="proof") == []

    found = read(tmp_path, sent.key)
    run, config, history = found.run, found.config, found.history
    assert (run.run_id, run.project, run.run_group) == (sent.key, "proof", "split-digits@1")
    assert run.display_name == "er + ewc(strength=10) / seed 4"
    assert list(run.tags) == ["done"]
    provenance = config.pop("record")
    assert config == sent.cell
    assert provenance["environment"] == sent.environment
    assert provenance["alarms"] == ["memory was never drawn from"]
    assert "alarm: memory was never drawn from" in run.notes

    rows = history[:-1]
    assert [row["iteration"] for row in rows] == trace.step.tolist()
    assert [row["experience"] for row in rows] == trace.experience.tolist()
    assert [Kind[row["look"].upper()] for row in rows] == trace.kind.tolist()
    score = np.array([[row.get(f"accuracy/{task}", np.nan) for task in range(3)] for row in rows])
    np.testing.assert_array_equal(score, trace.score)
    assert "accuracy/seen" not in rows[0]
    assert rows[-1]["accuracy/seen"] == pytest.approx(trace.score[-1].mean())
    second = next(row for row in rows if row["experience"] == 1)
    assert second["accuracy/seen"] == pytest.approx((second["accuracy/0"] + second["accuracy/1"]) / 2)

    values = {name: value.value for name, value in compute(trace, board_names()).items() if value.defined}
    expected = values | {f"cost/{k}": v for k, v in sent.cost.items()} | {"status": "done", "alarms": 1}
    summary = {name: value for name, value in found.summary.items() if name in expected}
    assert summary == pytest.approx(expected)
    assert not any(name.startswith("accuracy/") for name in found.summary)

    picture = history[-1]["stability_gap.path"]
    assert (found.folder / "files" / picture).read_bytes()[:4] == b"\x89PNG"


def test_metric_without_a_value_is_left_out_and_its_reason_is_in_the_notes(tmp_path):
    trace = trace_from([[True]], [5], lambda step, experience: np.array([0.1 * step]))
    sent = record("joint", 0, trace)

    assert wandb_tracker.send([sent], out=tmp_path, mode="offline") == []

    found = read(tmp_path, sent.key)
    reason = compute(trace, ["min_acc"])["min_acc"].reason
    assert "min_acc" not in found.summary
    assert f"min-ACC has no value: {reason}" in found.run.notes
    assert found.summary["acc"] == pytest.approx(0.5)


def test_cell_that_diverged_is_sent_as_a_failed_run_with_its_reason(tmp_path):
    sent = record("ewc(strength=1e6)", 1, status="diverged", reason="the outputs are not finite after step 71")

    assert wandb_tracker.send([sent], out=tmp_path, mode="offline") == []

    found = read(tmp_path, sent.key)
    assert found.code == 1
    assert found.run.notes == "diverged: the outputs are not finite after step 71"
    assert (found.summary["status"], found.history) == ("diverged", [])


def test_sending_twice_leaves_one_run_per_cell_with_the_later_content(tmp_path):
    first = record("er", 0, status="failed", reason="ValueError: no")
    trace = dipping(0, tasks=2, length=4)
    assert wandb_tracker.send([first], out=tmp_path, mode="offline") == []

    assert (
        wandb_tracker.send([replace(first, status="done", reason="", trace=trace)], out=tmp_path, mode="offline") == []
    )

    assert len(list((tmp_path / "wandb").glob("offline-run-*"))) == 1
    found = read(tmp_path, first.key)
    assert found.summary["acc"] == pytest.approx(compute(trace, ["acc"])["acc"].value)


def test_sending_leaves_the_process_as_it_was_and_prints_nothing(tmp_path, capfd):
    import wandb

    before = sys.exit, sys.excepthook, dict(os.environ), os.getcwd()

    assert wandb_tracker.send([record("er", 0, dipping(0, tasks=2, length=4))], out=tmp_path, mode="offline") == []

    assert (sys.exit, sys.excepthook, dict(os.environ), os.getcwd()) == before
    assert wandb.run is None
    assert capfd.readouterr() == ("", "")


def test_a_run_that_the_program_has_open_stays_open(tmp_path):
    import wandb

    settings = wandb.Settings(silent=True, console="off", x_disable_stats=True, x_disable_meta=True)
    with wandb.init(project="own", mode="offline", dir=str(tmp_path / "own"), settings=settings) as own:
        assert wandb_tracker.send([record("er", 0, dipping(0, tasks=2, length=4))], out=tmp_path, mode="offline") == []
        assert wandb.run is own
        own.log({"still": 1})
    wandb.teardown()


def test_wandb_that_starts_no_run_is_told_in_one_sentence(tmp_path, monkeypatch):
    import wandb

    def refuse(**_):
        raise wandb.errors.CommError("no network\nhere")

    monkeypatch.setattr(wandb, "init", refuse)
    records = [record("er", seed, dipping(seed, tasks=2, length=4)) for seed in range(3)]

    [problem] = wandb_tracker.send(records, out=tmp_path, mode="offline")

    assert "CommError: no network here" in problem
    assert "0 of 3 runs were sent" in problem


def test_run_that_breaks_halfway_is_finished_and_the_others_are_sent(tmp_path, monkeypatch):
    broken, whole = (record("er", seed, dipping(seed, tasks=2, length=4)) for seed in range(2))
    fill = wandb_tracker._fill

    def break_first(wandb, run, sent, picture):
        if sent is broken:
            raise RuntimeError("the service is gone")
        fill(wandb, run, sent, picture)

    monkeypatch.setattr(wandb_tracker, "_fill", break_first)

    [problem] = wandb_tracker.send([broken, whole], out=tmp_path, mode="offline")

    assert problem.startswith("er, seed 0 was not sent whole (RuntimeError: the service is gone)")
    assert read(tmp_path, broken.key).code == 0
    assert read(tmp_path, whole.key).summary["status"] == "done"


def test_wandb_that_does_not_import_is_told_in_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    [problem] = wandb_tracker.send([record("er", 0, dipping(0, tasks=2, length=4))], out=tmp_path, mode="offline")
    assert "wandb" in problem
    assert "the records are safe" in problem


def test_folder_that_cannot_be_written_is_told_in_one_sentence(tmp_path):
    (tmp_path / "file").write_text("in the way")
    [problem] = wandb_tracker.send([record("er", 0)], out=tmp_path / "file", mode="offline")
    assert "NotADirectoryError" in problem


def test_disabled_needs_no_wandb(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)  # importing it would raise
    assert wandb_tracker.send([record("er", 0)], out=tmp_path, mode="disabled") == []
    assert list(tmp_path.iterdir()) == []


def test_unknown_mode_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(Refused, match="choose online, offline or disabled"):
        wandb_tracker.send([], out=tmp_path, mode="live")

"""Records on disk: what is written is what is read, and damage is told in one sentence."""

import json
from dataclasses import fields, replace

import numpy as np
import pytest
from synthetic import dipping, record

from clbench.core import atomic_files, store, trace_file
from clbench.core.errors import Refused
from clbench.core.measure import Measure
from clbench.core.notices import Notice
from clbench.core.record import Reading, Record, Trace


@pytest.fixture
def saved(tmp_path):
    """A record with a trace, and the paths of its two files."""
    kept = record("er + ewc(strength=10)", 3, dipping(0, tasks=2, length=4), alarms=("memory was never drawn from",))
    path = store.save(kept, tmp_path)
    return kept, path, tmp_path / "traces" / f"{kept.key}.npz"


def assert_same(a, b):
    without = {"trace": None, "trace_digest": ""}  # which is computed when a record is written
    assert {**vars(a), **without} == {**vars(b), **without}
    assert (a.trace is None) == (b.trace is None)
    if a.trace is not None:
        assert a.trace.readings.keys() == b.trace.readings.keys()
        pairs = [(a.trace.readings[name], b.trace.readings[name]) for name in a.trace.readings]
        for one, other in (arrays for pair in pairs for arrays in zip(*pair, strict=True)):
            np.testing.assert_array_equal(one, other)
            assert one.dtype == other.dtype
        for field in (each for each in fields(Trace) if each.name != "readings"):
            one, other = (np.asarray(getattr(r.trace, field.name)) for r in (a, b))
            np.testing.assert_array_equal(one, other)
            assert one.dtype == other.dtype


def refusal(path):
    with pytest.raises(Refused) as caught:
        store.load(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_record_comes_back_as_it_was_with_scores_that_are_nan(saved):
    kept, path, _ = saved
    assert np.isnan(kept.trace.score).any()
    assert_same(store.load(path), kept)


def test_record_without_a_trace_comes_back_and_writes_no_trace(tmp_path):
    kept = record("gem", 0, status="skipped", reason="GEM needs task labels, which this stream hides")
    assert_same(store.load(store.save(kept, tmp_path)), kept)
    assert not (tmp_path / "traces").exists()


def test_characters_of_any_language_come_back(tmp_path):
    kept = record("er λ=½", 0, status="failed", reason='ValueError: „ungültig“ \\ "quoted"\nsecond line')
    assert_same(store.load(store.save(kept, tmp_path)), kept)


def test_every_field_of_a_record_is_in_its_file(saved):
    _, path, _ = saved
    written = set(json.loads(path.read_text())) - {"format", "has_trace", "sums"}
    assert written == {field.name for field in fields(Record)} - {"trace", "traceback"}  # which only failed cells have


def test_saving_again_replaces_the_record(saved, tmp_path):
    kept, path, _ = saved
    later = record(kept.label, 3, dipping(1, tasks=2, length=4))
    assert store.save(later, tmp_path) == path
    assert_same(store.load(path), later)
    assert [found.key for found in store.load_all(tmp_path)] == [kept.key]


def test_trace_is_written_before_its_record(monkeypatch, tmp_path):
    written, write = [], store.write
    monkeypatch.setattr(store, "write", lambda path, content: (written.append(path.suffix), write(path, content)))
    store.save(record("er", 0, dipping(0, tasks=2, length=4)), tmp_path)
    assert written == [".npz", ".json"]


def test_write_that_fails_leaves_the_old_file_and_nothing_else(monkeypatch, saved):
    _, path, _ = saved
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic_files.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        store.write(path, b"half")
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", "{}", '{"format": "one"}', '{"format": null}', "{" * 9],
    ids=["empty", "list", "null", "no fields", "format in words", "no format", "unclosed"],
)
def test_file_that_is_no_record_is_refused_with_its_name_and_the_cure(saved, text):
    _, path, _ = saved
    path.write_text(text)
    assert refusal(path).startswith(f"the record {path} is damaged")
    assert refusal(path).endswith("remove it and run its benchmark again")


def test_record_cut_off_anywhere_is_refused(saved):
    _, path, _ = saved
    whole = path.read_bytes().rstrip()
    for length in range(0, len(whole), 3):
        path.write_bytes(whole[:length])
        assert "is damaged" in refusal(path)


def test_unknown_status_and_unknown_field_are_refused(saved):
    _, path, _ = saved
    good = json.loads(path.read_text())
    for change in ({"status": "finished"}, {"score": 1.0}):
        path.write_text(json.dumps({**good, **change}))
        assert "is damaged" in refusal(path)


def test_record_of_a_newer_format_asks_for_a_newer_clbench(saved):
    _, path, _ = saved
    path.write_text(json.dumps({"format": store.FORMAT + 1, "what": "is here is not known yet"}))
    assert refusal(path).endswith(
        f"was written by a newer clbench (format {store.FORMAT + 1}, here {store.FORMAT}); upgrade clbench"
    )


def test_record_that_is_not_there_is_refused(tmp_path):
    path = tmp_path / "records" / "none.json"
    assert refusal(path).startswith(f"the record {path} cannot be read (No such file or directory)")


def test_missing_trace_is_refused_with_its_path(saved):
    _, path, trace = saved
    trace.unlink()
    assert refusal(path).startswith(f"the trace {trace} is damaged or missing")


def test_trace_cut_off_anywhere_is_refused(saved):
    _, path, trace = saved
    whole = trace.read_bytes()
    for length in range(0, len(whole), 7):
        trace.write_bytes(whole[:length])
        assert refusal(path).startswith(f"the trace {trace} is damaged or missing")


def test_trace_with_any_byte_changed_is_refused_or_read_as_it_was(saved):
    kept, path, trace = saved
    whole = trace.read_bytes()
    refused = 0
    for at in range(len(whole)):
        trace.write_bytes(whole[:at] + bytes([whole[at] ^ 0x41]) + whole[at + 1 :])
        try:
            assert_same(store.load(path), kept)  # a byte that carries nothing, such as a time of day
        except Refused:
            refused += 1
    assert refused > len(whole) / 2


@pytest.mark.parametrize(("name", "cut"), [("rows", np.s_[:1]), ("step", np.s_[:-1]), ("score", np.s_[0])])
def test_trace_whose_arrays_do_not_fit_together_is_refused(saved, name, cut):
    _, path, trace = saved
    arrays = dict(np.load(trace))
    np.savez(trace, **{**arrays, name: arrays[name][cut]})
    assert refusal(path).startswith(f"the trace {trace} is damaged or missing")


def test_all_records_of_two_directories_come_in_a_stable_order(tmp_path):
    kept = [record(label, seed) for label in ("a", "b") for seed in (0, 1)]
    for one in kept:
        store.save(one, tmp_path / one.label)
    found = [one.key for one in store.load_all(tmp_path / "b", tmp_path / "a")]
    assert found == [key for label in "ba" for key in sorted(one.key for one in kept if one.label == label)]


def test_file_left_by_a_killed_writer_is_no_record(saved, tmp_path):
    kept, path, _ = saved
    path.with_name(f".{path.name}.4711").write_text("{ half")
    assert [found.key for found in store.load_all(tmp_path)] == [kept.key]


def test_directory_without_records_is_refused(tmp_path):
    with pytest.raises(Refused, match="holds no records; give a directory"):
        list(store.load_all(tmp_path))


# --------------------------------------------------------------------------------------------------- optional columns


def with_extras(trace):
    looks, tasks = trace.score.shape
    return replace(
        trace,
        masked=np.linspace(0, 1, looks * tasks).reshape(looks, tasks),
        class_score=np.where(np.arange(looks * 4).reshape(looks, 4) % 3, 0.5, np.nan),
        population=np.full(tasks, 900),
        units=np.full((tasks, 3), 2, dtype=np.int8),
        competing=np.arange(looks * tasks, dtype=np.int32).reshape(looks, tasks),
        met=np.array([0, 4, -1]),
        counted=np.arange(tasks),
        probe_step=np.array([1, 5]),
        probe=np.arange(12.0).reshape(2, 6),
        measure=Measure("nats", "nats", lower_is_better=True, columns=("mse",)),
        spread=np.linspace(0, 2, looks * tasks).reshape(looks, tasks),
        further=np.full((looks, tasks), (0.25,), dtype=[("mse", np.float64)]),
        readings={"fau": Reading(np.array([0, 4]), np.array([[0.5, np.nan], [0.25, 1]], dtype=np.float32))},
    )


def test_extra_columns_of_a_trace_come_back_and_cost_nothing_where_nothing_was_recorded(tmp_path):
    plain = record("er", 0, dipping(0, tasks=2, length=4))
    full = record("er", 1, with_extras(dipping(0, tasks=2, length=4)))
    for kept in (plain, full):
        assert_same(store.load(store.save(kept, tmp_path)), kept)
    held = [set(np.load(tmp_path / "traces" / f"{kept.key}.npz").files) for kept in (plain, full)]
    assert held[0] == set(trace_file.TRACE_FIELDS)
    of_readings = {"reading_0_steps", "reading_0_values"}
    assert held[1] == {field.name for field in fields(Trace)} - {"settled", "predictions"} | of_readings


def test_a_trace_from_before_a_column_existed_is_read_without_it(tmp_path):
    kept = record("er", 1, with_extras(dipping(0, tasks=2, length=4)))
    path = store.save(kept, tmp_path)
    file = tmp_path / "traces" / f"{kept.key}.npz"
    with np.load(file) as arrays:
        old = {name: arrays[name] for name in arrays.files if name in trace_file.TRACE_FIELDS}
    np.savez_compressed(file, **old)
    content = json.loads(path.read_text())
    del content["sums"], content["trace_digest"]
    content["format"] = 1
    path.write_text(json.dumps(content))
    trace = store.load(path).trace
    assert [trace.masked.shape, trace.class_score.shape, trace.population.shape] == [(0, 0), (0, 0), (0,)]
    assert [trace.probe_step.shape, trace.probe.shape] == [(0,), (0, 6)]
    np.testing.assert_array_equal(trace.score, kept.trace.score)
    assert np.isfinite(trace.standard_error[-1]).all()


# --------------------------------------------------------------------------------------------------- among others


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b'{"format": 1', b"\x00\x05\x16\x07", b"[" * 100_000, "directory"],
    ids=["empty", "no fields", "cut off", "binary", "deep", "directory"],
)
def test_a_file_that_is_no_record_is_named_and_the_others_are_read(saved, tmp_path, content):
    kept, path, _ = saved
    foreign = path.with_name("0123456789abcdef.json")
    foreign.mkdir() if content == "directory" else foreign.write_bytes(content)
    with pytest.warns(Notice, match=r"left out: the record .*0123456789abcdef\.json"):
        assert [found.key for found in store.load_all(tmp_path)] == [kept.key]


def test_files_of_other_programs_are_named_together(saved, tmp_path):
    kept, path, _ = saved
    for name in "abcd":
        path.with_name(f"._{name}.json").write_bytes(b"\x00\x05")
    with pytest.warns(Notice) as told:
        assert [found.key for found in store.load_all(tmp_path)] == [kept.key]
    assert [str(each.message) for each in told] == [
        f"left out of {path.parent}: 4 files that are no records: ._a.json, ._b.json, ._c.json, ..."
    ]


def test_a_folder_in_which_nothing_can_be_read_is_refused(saved, tmp_path):
    _, path, _ = saved
    path.write_bytes(b"")
    with pytest.warns(Notice), pytest.raises(Refused, match="holds no records"):
        list(store.load_all(tmp_path))


def test_a_record_under_the_name_of_another_is_damaged(saved):
    _, path, _ = saved
    other = path.with_name("0123456789abcdef.json")
    path.rename(other)
    assert "is damaged (it is the record of cell" in refusal(other)


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("cost", '{"train_seconds": NaN}'),
        ("cost", '{"train_seconds": 1e400}'),
        ("cost", '{"train_seconds": [1]}'),
        ("cost", '{"train_seconds": "a while"}'),
        ("environment", '{"torch": ["2", "4"]}'),
        ("environment", '{"torch": {"major": 2}}'),
        ("label", "[1]"),
        ("label", "5"),
        ("cell", '{"benchmark": {"name": 5, "version": 1}, "strategy": [], "seed": 0}'),
        ("cell", '{"benchmark": {"name": "b", "version": 1}, "strategy": "er", "seed": 0}'),
        ("cell", '{"benchmark": {"name": "b", "version": 1}, "strategy": [], "seed": -Infinity}'),
        ("cell", '{"benchmark": "b"}'),
    ],
)
def test_a_value_of_a_kind_that_no_record_holds_is_damage(saved, field, text):
    _, path, _ = saved
    content = json.loads(path.read_text())
    content[field] = "HERE"
    path.write_text(json.dumps(content).replace('"HERE"', text))
    assert refusal(path).startswith(f"the record {path} is damaged (")


def test_what_is_set_aside_lies_in_a_result_folder_and_nothing_is_overwritten(saved, tmp_path):
    kept, path, trace = saved
    for content in (b"first", b"second"):
        path.write_bytes(content)
        store.set_record_aside(kept.key, tmp_path)
    assert not path.exists()
    held = {each.name: each.read_bytes() for each in (tmp_path / "damaged" / "records").iterdir()}
    assert held == {path.name: b"first", f"{path.name}.2": b"second"}
    kept = (tmp_path / "damaged" / "traces" / trace.name).read_bytes()
    assert kept == trace.read_bytes()  # a copy: the trace is replaced by that of the next record


def test_a_text_that_utf_8_has_no_bytes_for_and_a_cost_that_is_no_number_lose_no_record(tmp_path):
    kept = record("er", 0, status="failed", reason="cannot open caf\udce9")
    kept.cost.update({"a": float("nan"), "b": 2.0})
    found = store.load(store.save(kept, tmp_path))
    assert found.reason == "cannot open caf\\udce9"
    assert found.cost == {name: value for name, value in kept.cost.items() if name != "a"}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda content: content.clear(), "it is no record"),
        (lambda content: content.pop("label"), "it has no entry 'label'"),
        (lambda content: content.update(accuracy=1), "its entry 'accuracy' is not known"),
        (lambda content: content.update(status="good"), "its entry 'status' is wrong: input should be 'done', "),
        (lambda content: content["cost"].update(train_seconds="long"), "its entry 'cost.train_seconds' is wrong: "),
        (lambda content: content["cell"].pop("benchmark"), "its cell has no entry 'benchmark'"),
    ],
)
def test_the_fault_of_a_damaged_record_is_told_in_plain_words(saved, change, fault):
    _, path, _ = saved
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    assert refusal(path).startswith(f"the record {path} is damaged ({fault}")


def test_a_trace_that_is_missing_is_told_without_numbers_of_errors(saved):
    _, path, trace = saved
    trace.unlink()
    assert refusal(path).startswith(f"the trace {trace} is damaged or missing (No such file or directory); ")

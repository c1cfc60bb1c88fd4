"""A bundle holds the records of result folders and all that others need to check them; what is missing is listed."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from bundles import CODE, bundle, made, members, record_name, results, rewrite, with_manifest
from synthetic import folder

import clbench
from clbench.core import store
from clbench.core.trace_equality import trace_digest
from clbench.core.types import content_hash
from clbench.submission.bundle_reader import read_bundle
from clbench.submission.bundle_writer import Incomplete
from clbench.submission.copied_traces import copied_traces
from clbench.submission.folder_files import result_folders
from clbench.submission.folder_reader import read_folders

WHO = {"contact": "ada@example.org", "licence": "CC-BY-4.0"}


def test_a_bundle_comes_back_with_the_records_that_went_in(tmp_path):
    source = results(tmp_path / "res")
    written = clbench.submit(source, out=tmp_path / "b.zip", **WHO)
    read = read_bundle(tmp_path / "b.zip")
    assert read.problems == ()
    assert read.digest == written.digest
    assert [(each.label, each.seed) for each in read.records] == [("er", 0), ("er", 1), ("naive", 0), ("naive", 1)]
    known = {each.key: each for each in store.load_all(source)}
    for each in read.records:
        own, other = ({each.name: getattr(one, each.name) for each in dataclasses.fields(one) if each.name != "trace"}
                      for one in (each, known[each.key]))  # fmt: skip
        assert own == other
        assert trace_digest(each.trace) == trace_digest(known[each.key].trace)
        assert each.trace is each.trace
    assert set(read.files) == set(read.manifest.files) == {*members(tmp_path / "b.zip")} - {"manifest.json"}
    assert read.manifest.seeds == {"mine@1": (0, 1)}
    assert set(map(str, read.manifest.code.values())) == {str(CODE)}
    assert set(read.formats.values()) == {store.FORMAT}


def test_the_same_records_make_the_same_bytes_whatever_the_order_of_folders(tmp_path):
    one, two = results(tmp_path / "one", labels=["er"]), results(tmp_path / "two", labels=["naive", "er"])
    clbench.submit(one, two, out=tmp_path / "a.zip", **WHO)
    clbench.submit(two, one, out=tmp_path / "b.zip", **WHO)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_all_that_is_missing_is_listed_at_once_and_nothing_is_written(tmp_path):
    older = dataclasses.replace(made("older", 0), code={})
    mixed = [made("mixed", 0), dataclasses.replace(made("mixed", 1), code={**CODE, "strategy": "b" * 16})]
    failed = [made("failing", 0), made("failing", 1, status="failed", reason="it ran out of memory")]
    res = folder(tmp_path / "res", *(made("er", seed) for seed in range(2)), made("naive", 1), older, *mixed, *failed)
    broken = made("broken", 0)
    store.save(broken, res)
    store.trace_path(broken.key, res).write_bytes(b"none")
    with pytest.raises(Incomplete) as told:
        clbench.submit(res, out=tmp_path / "b.zip", contact="ada", licence="my own!")
    assert not (tmp_path / "b.zip").exists()
    for words in (
        "8 things are missing or wrong",
        "the contact 'ada' is no e-mail address",
        "the licence 'my own!' is no SPDX identifier",
        f"{broken.key}.json cannot be used: its trace does not belong to it",
        "naive has no result for seed 0 of mine@1; run it",
        "failing, seed 1 of mine@1 has failed (it ran out of memory); run it again",
        "older has no result for seed 1 of mine@1",
        "records of older of mine@1 name no code",
        "the seeds of mixed of mine@1 were run by different code",
    ):
        assert words in str(told.value)
    assert "\n" not in str(told.value)


def test_a_shipped_benchmark_asks_for_its_own_seeds(tmp_path):
    res = results(tmp_path / "res", seeds=4, name="split-digits", version=1)
    with pytest.raises(Incomplete, match="er has no result for seed 4 of split-digits@1; run it"):
        clbench.submit(res, out=tmp_path / "b.zip", **WHO)
    more = results(tmp_path / "more", seeds=7, name="split-digits", version=1)
    assert clbench.submit(more, out=tmp_path / "b.zip", **WHO).manifest.seeds == {"split-digits@1": tuple(range(7))}


def test_rows_that_do_not_apply_go_in_and_need_no_seeds(tmp_path):
    res = results(tmp_path / "res")
    store.save(made("gem", 0, status="skipped", reason="it needs task labels"), res)
    written = clbench.submit(res, out=tmp_path / "b.zip", **WHO)
    assert written.rows[("mine@1", "gem")] == 1
    assert read_bundle(written.path).problems == ()


def test_folders_with_different_results_of_one_cell_are_not_packed(tmp_path):
    one, other = results(tmp_path / "one"), tmp_path / "other"
    folder(other, made("er", 0, trace=made("er", 1).trace))
    with pytest.raises(Incomplete, match="the folders hold different results of er, seed 0 of mine@1"):
        clbench.submit(one, other, out=tmp_path / "b.zip", **WHO)


def test_a_record_whose_cell_has_another_form_is_missing(tmp_path):
    odd = made("er", 0)
    odd.cell["stream"]["apply"] = [3]
    odd = dataclasses.replace(odd, key=content_hash(odd.cell))
    with pytest.raises(Incomplete, match=f"the cell of the record {odd.key} cannot be read"):
        clbench.submit(folder(tmp_path / "res", odd), out=tmp_path / "b.zip", **WHO)


# ---------------------------------------------------------------------------------------------- program texts

PART = """\
import dataclasses

import clbench
from helping import half


@dataclasses.dataclass(kw_only=True)
class Mine(clbench.Part):
    strength: float = half(2.0)
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A bundle with a strategy of a file that imports a module beside it, in the current folder."""
    from clbench.core import registry

    (tmp_path / "mine.py").write_text(PART)
    (tmp_path / "helping.py").write_text("def half(x):\n    return x / 2\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("helping", None)
    item = {"name": "mine.py:Mine", "parameters": {"strength": 1.0}, "source": registry.checksum("mine.py:Mine")}
    folder(tmp_path / "res", *(made("mine", seed, settings=[item]) for seed in range(2)))
    yield tmp_path
    sys.modules.pop("helping", None)


def test_program_texts_go_in_and_are_compared_without_being_imported(own):
    clbench.submit("res", out="b.zip", **WHO)
    read = read_bundle("b.zip")
    assert read.problems == ()
    [plugin] = read.manifest.plugins
    assert read.sources[plugin.file.removeprefix("sources/")] == PART
    assert list(plugin.modules) == ["helping"]
    files = members(Path("b.zip"))
    for name in (plugin.file, plugin.modules["helping"]):
        planted = files[name] + f"\nopen({str(own / 'planted')!r}, 'w')\n".encode()
        changed = read_bundle(rewrite(Path("c.zip"), {**files, name: planted}, rehash=True))
        assert changed.problems == (
            f"{plugin.file} is not the code of mine.py:Mine that its records name: the checksums differ",
        )
    assert not (own / "planted").exists()


def test_a_bundle_without_a_program_text_is_named_and_one_with_too_many_too(own):
    clbench.submit("res", out="b.zip", **WHO)
    files = members(Path("b.zip"))
    without = {name: content for name, content in files.items() if not name.startswith("sources/")}
    problems = read_bundle(rewrite(Path("c.zip"), without, rehash=True)).problems
    assert problems == ("the bundle does not hold the program text of mine.py:Mine",)
    problems = read_bundle(with_manifest(rewrite(Path("c.zip"), without, rehash=True), plugins=[])).problems
    assert len(problems) == 1
    assert "which the manifest does not name" in problems[0]
    more = {**files, "sources/other.py": b"print('hello')\n"}
    assert read_bundle(rewrite(Path("c.zip"), more, rehash=True)).problems == (
        "the bundle holds sources/other.py, which belongs to no record",
    )


def test_a_program_text_that_was_edited_or_moved_is_missing(own):
    (own / "helping.py").write_text("def half(x):\n    return x / 3\n")
    sys.modules.pop("helping")
    text = (own / "mine.py").read_text()
    (own / "mine.py").write_text(f"{text}\n\nX = 1\n")
    with pytest.raises(Incomplete, match=r"mine.py was edited since its cells ran"):
        clbench.submit("res", out="b.zip", **WHO)
    (own / "mine.py").unlink()
    with pytest.raises(Incomplete, match=r"the program text of mine.py:Mine is not there: name its folder"):
        clbench.submit("res", out="b.zip", **WHO)
    (own / "kept").mkdir()
    (own / "kept" / "mine.py").write_text(text)
    with pytest.raises(Incomplete, match=r"a module that mine.py:Mine imports was edited"):
        clbench.submit("res", out="b.zip", **WHO, sources=["kept"])
    (own / "helping.py").write_text("def half(x):\n    return x / 2  # a remark\n")
    sys.modules.pop("helping")
    os.utime(own / "kept" / "mine.py", (1, 1))
    from clbench.core import registry

    registry._module.cache_clear()
    assert clbench.submit("res", out="b.zip", **WHO, sources=["kept"]).manifest.plugins[0].modules


# ---------------------------------------------------------------------------------------------- attacks


def test_a_file_that_was_changed_is_named(tmp_path):
    path = bundle(tmp_path)
    files = members(path)
    name = record_name(files)
    rewrite(path, {**files, name: files[name].replace(b'"label": "', b'"label": "x')})
    read = read_bundle(path)
    assert read.problems == (
        f"{name} is not the file that the manifest names: its sha256 sum differs",
        *(problem for problem in read.problems[1:] if "has no result for seed" in problem),
    )
    assert len(read.records) == 3


def test_a_padded_manifest_is_named(tmp_path):
    path = bundle(tmp_path)
    manifest = json.loads(members(path)["manifest.json"])
    more = {**manifest["files"], "records/0123456789abcdef.json": "0" * 64}
    for entries, words in (
        ({"files": more}, "the manifest names records/0123456789abcdef.json, and the bundle does not hold it"),
        ({"seeds": {"mine@1": [0, 1, 2]}}, "er has no result for seed 2 of mine@1, which the manifest names"),
        ({"seeds": {**manifest["seeds"], "other@1": [0]}}, "names seeds of other@1, of which the bundle holds no"),
        ({"seeds": {}}, "the bundle holds records of mine@1, of which the manifest names no seeds"),
        ({"code": {**manifest["code"], "f" * 16: {}}}, f"names code of a row {'f' * 16}, of which"),
        ({"code": {}}, "the code of er in the manifest is not that of its record"),
        ({"plugins": [{"name": "mine.py:A", "source": "1"}]}, "names code of mine.py:A, which no record uses"),
        ({"contact": "nobody"}, "the contact 'nobody' is no e-mail address"),
    ):
        bundle(tmp_path)
        problems = read_bundle(with_manifest(path, **entries)).problems
        assert any(words in problem for problem in problems), problems


def test_files_that_no_manifest_names_and_files_of_other_kinds_are_named(tmp_path):
    path = bundle(tmp_path)
    files = members(path)
    nested = {**files, "inner.zip": path.read_bytes()}
    assert read_bundle(rewrite(path, nested)).problems == (
        "the bundle holds inner.zip, and the manifest does not name it",
        "the bundle holds inner.zip, which is no record, no trace and no program text",
    )
    lonely = {**files, "traces/0123456789abcdef.npz": b"PK"}
    assert read_bundle(rewrite(path, lonely, rehash=True)).problems == (
        "the trace traces/0123456789abcdef.npz belongs to no record of the bundle",
    )


def test_traces_that_are_swapped_or_missing_are_named(tmp_path):
    path = bundle(tmp_path)
    files = members(path)
    one, other = sorted(name for name in files if name.startswith("traces/"))[:2]
    read = read_bundle(rewrite(path, {**files, one: files[other], other: files[one]}, rehash=True))
    assert sum("its trace does not belong to it: the checksums differ" in each for each in read.problems) == 2
    assert len(read.records) == 2
    del files[one]
    read = read_bundle(rewrite(path, files, rehash=True))
    assert any("its trace is missing" in each for each in read.problems)


def test_a_trace_that_was_submitted_twice_is_named_in_the_later_bundle_and_an_honest_repetition_is_not(tmp_path):
    honest = read_bundle(bundle(tmp_path / "a", *(made("er", seed) for seed in range(2))))
    renamed = [made("mine", seed, trace=made("er", seed).trace) for seed in range(2)]
    copied = read_bundle(bundle(tmp_path / "b", *renamed))
    again = [
        dataclasses.replace(each, trace=dataclasses.replace(each.trace, seconds=np.arange(float(len(each.trace.step)))))
        for each in (made("er", 0), made("er", 1), *renamed)
    ]
    repeated = read_bundle(bundle(tmp_path / "c", *again))
    other = read_bundle(bundle(tmp_path / "d", made("naive", 0), made("naive", 1)))
    held: dict[str, str] = {}
    found = [list(copied_traces(each, held)) for each in (honest, copied, repeated, other)]
    assert [len(each) for each in found] == [0, 2, 0, 0]
    assert [finding.key for finding in found[1]] == [record.key for record in copied.records]
    assert found[1][0].sentence.startswith(f"the trace of mine, seed 0 ({copied.records[0].key}) is a copy: ")


# ---------------------------------------------------------------------------------------------- hostile texts

DEEP = "[" * 40 + "]" * 40
HOSTILE = [
    (f'"deep": {DEEP}', "nested deeper than 32 levels"),
    (f'"deep": {"[" * 100_000}', "nested deeper than 32 levels|no JSON"),
    (f'"long": "{"x" * 10_001}"', "a text of 10,001 bytes"),
    (f'"{"x" * 10_001}": 1', "a text of 10,001 bytes"),
    ('"twice": 1, "twice": 1', "a name twice"),
    ('"none": NaN', "NaN is no number"),
    ('"none": -Infinity', "-Infinity is no number"),
    ('"large": 1e999', "too large"),
    ('"large": 9223372036854775808', "more than 64 bits"),
    (f'"large": {"9" * 5000}', "more than 64 bits"),
    ('"half": "\\ud800"', "half a character"),
]


@pytest.mark.parametrize(("entry", "reason"), HOSTILE, ids=[reason for _, reason in HOSTILE])
def test_hostile_json_of_a_record_is_a_problem_and_of_a_manifest_a_refusal(tmp_path, entry, reason):
    path = bundle(tmp_path)
    files = members(path)
    name = record_name(files)
    hostile = files[name].replace(b"{", b"{" + entry.encode() + b", ", 1)
    read = read_bundle(rewrite(path, {**files, name: hostile, "manifest.json": files["manifest.json"]}, rehash=True))
    [problem] = [each for each in read.problems if name in each]
    assert len(read.records) == 3
    assert problem.isprintable()
    assert any(word in problem for word in reason.split("|"))
    manifest = files["manifest.json"].replace(b"{", b"{" + entry.encode() + b", ", 1)
    with pytest.raises(clbench.Refused, match=reason):
        read_bundle(rewrite(path, {**files, "manifest.json": manifest}))


def test_a_file_that_is_too_large_for_its_kind_is_not_decompressed(tmp_path):
    path = bundle(tmp_path)
    files = members(path)
    name = record_name(files)
    read = read_bundle(rewrite(path, {**files, name: b" " * 1_000_001}, rehash=True))
    assert f"{name} is damaged: it has 1,000,001 bytes; at most 1,000,000 are allowed" in read.problems
    assert name not in read.files


@pytest.mark.parametrize("text", ["\x1b[2J", "\u202eexe.zip", "\x00", "<script>alert(1)</script>", "a\nb"])
def test_no_sentence_about_a_bundle_holds_what_a_terminal_obeys(tmp_path, text):
    path = bundle(tmp_path)
    manifest = json.loads(members(path)["manifest.json"])
    entries = {"contact": text, "licence": text, "seeds": {text: [0]}, "code": {text: {text: text}}}
    entries |= {"files": {**manifest["files"], text: "0" * 64}}
    entries |= {"plugins": [{"name": text, "source": text, "file": text, "modules": {text: text}}]}
    problems = read_bundle(with_manifest(path, **entries)).problems
    assert len(problems) >= 6
    assert all(problem.isprintable() for problem in problems)
    with pytest.raises(clbench.Refused) as told:
        read_bundle(with_manifest(path, **{text: 1}))
    assert str(told.value).isprintable()


# ---------------------------------------------------------------------------------------------- folders


def test_folders_are_read_as_a_bundle_without_a_manifest(tmp_path):
    res = results(tmp_path / "deep" / "res")
    read = read_folders(res)
    assert (read.manifest, read.problems) == (None, ())
    assert [(each.label, each.seed) for each in read.records] == [("er", 0), ("er", 1), ("naive", 0), ("naive", 1)]
    written = clbench.submit(res, out=tmp_path / "b.zip", **WHO)
    assert read.files == read_bundle(written.path).manifest.files
    assert read_folders([res]).digest == read.digest
    assert result_folders(tmp_path) == [res]
    store.record_path(read.records[0].key, res).unlink()
    assert read_folders(res).digest != read.digest


def test_links_devices_and_large_files_of_a_folder_are_not_read(tmp_path):
    res = results(tmp_path / "res")
    one, two, three, _ = sorted((res / "records").glob("*.json"))
    secret = tmp_path / "secret.json"
    secret.write_bytes(one.read_bytes())
    one.unlink()
    one.symlink_to(secret)
    two.unlink()
    os.mkfifo(two)
    three.write_bytes(b" " * 1_000_001)
    read = read_folders(res)
    assert len(read.records) == 1
    for path, reason in ((one, "it is a link"), (two, "it is no plain file"), (three, "at most 1,000,000 are allowed")):
        [problem] = [each for each in read.problems if path.name in each]
        assert reason in problem


def test_metrics_of_a_submission_come_from_its_traces_and_from_no_cache(tmp_path):
    from clbench.comparison.trace_values import TraceValues

    res = results(tmp_path / "res")
    honest = next(store.load_all(res))
    with TraceValues() as values:
        wanted = values.metrics(honest, ["acc"])
    assert list((res / ".cache").iterdir())
    for path in (res / ".cache").glob("metrics*"):
        path.write_bytes(path.read_bytes().replace(b"0.", b"1."))
    [own] = [each for each in read_folders(res).records if each.key == honest.key]
    with TraceValues() as values:
        assert values.metrics(own, ["acc"]) == wanted


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("step", -1, "a value of step"),
        ("experience", 7, "a value of experience"),
        ("kind", 9, "a value of kind"),
        ("score", 1.5, "a score outside 0 to 1"),
        ("score", np.inf, "a score outside 0 to 1"),
        ("rows", -5, "a value of rows"),
        ("seconds", -1.0, "impossible times"),
    ],
)  # fmt: skip
def test_a_trace_with_impossible_numbers_is_a_problem(tmp_path, column, value, reason):
    trace = made("er", 0).trace
    changed = np.array(getattr(trace, column) if column != "seconds" else np.zeros(len(trace.step)))
    changed[0] = value
    res = folder(tmp_path / "res", made("er", 0, trace=dataclasses.replace(trace, **{column: changed})))
    read = read_folders(res)
    assert read.records == ()
    assert reason in read.problems[0]

"""Files with flipped or missing bytes: they are left out and named, they count in no number, and nothing raises."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from command_line import call
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import SMALL, ready, train_until

import clbench
from clbench.core import store
from clbench.core.notices import Notice
from clbench.core.record_folder import LeftOut
from clbench.core.trace_equality import trace_digest
from clbench.running import snapshots
from clbench.running.claims import Claims

MANY = [pytest.param(500, marks=pytest.mark.slow)]
Damage = Callable[[bytes], bytes]


def flipped(places: list[tuple[int, int]]) -> Damage:
    """Change some bytes: each place counts modulo the length of the file, each change is from 1 to 255."""

    def damage(content: bytes) -> bytes:
        changed = bytearray(content)
        for place, change in places:
            changed[place % len(changed)] ^= change
        return bytes(changed)

    return damage


def cut(length: int) -> Damage:
    """Keep the first bytes of a file, at most all but one."""
    return lambda content: content[: length % len(content)]


PLACES = st.integers(0, 2**20)
DAMAGES = st.one_of(
    st.lists(st.tuples(PLACES, st.integers(1, 255)), min_size=1, max_size=4).map(flipped),
    st.tuples(PLACES, st.just(0x01)).map(lambda one: flipped([one])),  # the next digit or letter
    PLACES.map(cut),
)


def for_each_damage(examples: int, check: Callable[[Damage], None]) -> None:
    """Call a check with that many kinds of damage, always the same ones."""

    @settings(
        max_examples=examples, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(DAMAGES)
    def checked(damage: Damage) -> None:
        check(damage)

    checked()


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A result folder with a cell of each of two strategies, and the table without the second one."""
    out = tmp_path_factory.mktemp("fuzzed") / "out"
    records = clbench.run(SMALL, strategies="naive, er", seeds=1, out=out)
    assert [record.status for record in records] == ["done", "done"]
    alone = out.with_name("alone")
    shutil.copytree(out, alone)
    key = records[1].key
    store.record_path(key, alone).unlink()
    store.trace_path(key, alone).unlink()
    return out, key, board(out)[0], board(alone)[0]


def board(out: Path) -> tuple[str, str]:
    """The printed table of a folder, the same with and without its cache of metrics, and what is said beside it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COLUMNS", raising=False)  # a fixture of the module runs before those of a test
        answer = call("board", out)
        shutil.rmtree(out / ".cache", ignore_errors=True)
        again = call("board", out)
    assert (answer.code, again.code) == (0, 0), answer.err
    assert "Traceback" not in answer.err
    assert (answer.out, answer.err) == (again.out, again.err)
    return answer.out.replace(out.name, "OUT"), answer.err


def path_of(kind: str, key: str, out: Path) -> Path:
    return store.record_path(key, out) if kind == "record" else store.trace_path(key, out)


@pytest.mark.parametrize("kind", ["record", "trace"])
@pytest.mark.parametrize("examples", [60, *MANY])
def test_a_damaged_record_or_trace_is_left_out_and_named_or_still_says_the_same(results, kind, examples):
    out, key, _, _ = results
    path = path_of(kind, key, out)
    content, whole = path.read_bytes(), store.load(store.record_path(key, out))
    left_out = 0

    def check(damage: Damage) -> None:
        nonlocal left_out
        broken = damage(content)
        if broken == content:
            return
        path.write_bytes(broken)
        try:
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                records = {record.key: record for record in store.load_all(out)}
        finally:
            path.write_bytes(content)
        if key in records:  # such as a space in place of a line's end
            assert records[key] == whole or vars(records[key]).keys() == vars(whole).keys()
            assert records[key].cell == whole.cell
            assert records[key].cost == whole.cost
            assert trace_digest(records[key].trace) == trace_digest(whole.trace)
            assert told == []
        else:
            left_out += 1
            assert len(records) == 1
            [sentence] = [str(each.message) for each in told if issubclass(each.category, Notice)]
            assert sentence.startswith("left out: ")
            assert key in sentence
            assert "\n" not in sentence

    for_each_damage(examples, check)
    assert left_out > examples / 2


@pytest.mark.parametrize("kind", ["record", "trace"])
@pytest.mark.parametrize("examples", [3, *MANY])
def test_the_table_of_a_folder_with_a_damaged_file_is_that_of_the_folder_without_its_cell(results, kind, examples):
    out, key, complete, without = results
    assert complete != without
    path = path_of(kind, key, out)
    content = path.read_bytes()

    def check(damage: Damage) -> None:
        path.write_bytes(damage(content))
        try:
            table, said = board(out)
            assert table == (without if key in said else complete)
        finally:
            path.write_bytes(content)

    for_each_damage(examples, check)


@pytest.fixture(scope="module")
def older(tmp_path_factory):
    """A result folder with a record of the first format, which has no checksums, and its key."""
    out, source = tmp_path_factory.mktemp("older"), Path(__file__).parents[2] / "baselines" / "rotated-mnist"
    key = min(path.stem for path in (source / "records").glob("*.json"))
    for kind in ("record", "trace"):
        path = path_of(kind, key, out)
        path.parent.mkdir()
        shutil.copy(path_of(kind, key, source), path)
    assert json.loads(store.record_path(key, out).read_bytes())["format"] == 1
    return out, key


@pytest.mark.parametrize("kind", ["record", "trace"])
@pytest.mark.parametrize("examples", [60, *MANY])
def test_a_damaged_file_without_checksums_is_read_or_named_too(older, kind, examples):
    out, key = older
    path = path_of(kind, key, out)
    content = path.read_bytes()

    def check(damage: Damage) -> None:
        path.write_bytes(damage(content))
        left = LeftOut(out)
        try:
            read = [record.trace for record in store.load_folder(left)]
        finally:
            path.write_bytes(content)
        assert len(read) + len(left.damaged) + len(left.newer) == 1
        assert all(key in sentence for sentence in left.sentences())

    for_each_damage(examples, check)


def test_a_trace_whose_archive_claims_to_be_encrypted_is_damaged(older):
    out, key = older
    path = path_of("trace", key, out)
    content = path.read_bytes()
    at = content.index(b"PK\x01\x02") + 8  # the flags of the first file in the archive's directory
    path.write_bytes(content[:at] + bytes([content[at] | 1]) + content[at + 1 :])
    left = LeftOut(out)
    try:
        assert list(store.load_folder(left)) == []
    finally:
        path.write_bytes(content)
    assert "is encrypted" in left.sentences()[0]


@pytest.fixture(scope="module")
def snapshot():
    run = train_until(ready("er + ewc(strength=1)"), 12)
    return snapshots.packed(run.snapshot())


@pytest.mark.parametrize("examples", [60, *MANY])
def test_a_damaged_checkpoint_is_refused_or_still_says_the_same(snapshot, examples, tmp_path):
    path = tmp_path / "partial.pt"
    path.write_bytes(snapshot)
    whole = snapshots.read(path)

    def check(damage: Damage) -> None:
        path.write_bytes(damage(snapshot))
        try:
            found = snapshots.read(path)
        except snapshots.Unfit as error:
            found, said = None, str(error)
        if found is None:
            assert "\n" not in said
        else:
            assert same(found, whole)

    for_each_damage(examples, check)


def same(a, b) -> bool:
    """Whether two contents of checkpoints are equal."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return a == b


@pytest.mark.parametrize("examples", [40, *MANY])
def test_a_damaged_claim_counts_by_its_age(tmp_path, examples):
    key = "0123456789abcdef"
    holder = Claims(tmp_path)
    assert holder.take(key)
    path = tmp_path / "claims" / key
    content = path.read_bytes()
    holder.close()

    def check(damage: Damage) -> None:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(damage(content))
        other = Claims(tmp_path)
        other.take(key)  # whether it is free depends on what is left of it, but nothing raises
        other.close()
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(damage(content))
        os.utime(path, (0, 0))
        other = Claims(tmp_path)
        assert other.take(key)
        assert path.read_bytes() != damage(content)
        other.close()
        assert not path.exists()

    for_each_damage(examples, check)


def test_an_empty_or_foreign_file_among_claims_is_no_claim_for_longer_than_a_minute(tmp_path):
    key = "0123456789abcdef"
    for content in (b"", b"{}", b"[1, 2]", b"\xff\xfe", b"null\n", b'{"pid": 1e400}', b"[" * 100_000):
        (tmp_path / "claims").mkdir(exist_ok=True)
        (tmp_path / "claims" / key).write_bytes(content)
        fresh = Claims(tmp_path)
        assert not fresh.take(key)
        os.utime(tmp_path / "claims" / key, (0, 0))
        assert fresh.take(key)
        fresh.close()

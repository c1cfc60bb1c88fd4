"""Forgotten cells are moved with all their files, and nothing is lost."""

import io
import sys
from dataclasses import replace

import pytest
from command_line import call
from synthetic import dipping, record

import clbench
from clbench import api
from clbench.core import store
from clbench.running.claims import Claims
from clbench.running.forget import chosen


def of_file(source, minute):
    items = [{"name": "mine.py:Mine", "parameters": {}, "source": source}]
    made = record("mine", 0, dipping(0), settings=items)
    return replace(made, created=f"2024-01-01T00:{minute:02d}:00+00:00")


@pytest.fixture
def results(tmp_path):
    made = [record("er", seed, dipping(seed)) for seed in (0, 1)]
    made += [record("er + l2", 0, status="failed", reason="it broke"), of_file("aaaa", 1), of_file("bbbb", 2)]
    made.append(record("naive", 0, status="failed", reason="it broke too"))
    for each in made:
        store.save(each, tmp_path)
    return tmp_path


def names(directory):
    return sorted(f"{each.label} {each.seed}" for each in api.records(directory))


def test_failed_cells_are_moved_to_a_result_folder_of_their_own(results):
    answer = call("forget", results, "--failed", "--yes")
    assert answer.code == 0
    assert "split-digits@1, er + l2: 1 cell, failed" in answer.out
    assert f"2 cells moved to {results / 'forgotten'}." in answer.out
    assert names(results) == ["er 0", "er 1", "mine 0", "mine 0"]
    assert names(results / "forgotten") == ["er + l2 0", "naive 0"]


def test_all_files_of_a_cell_are_moved_and_none_of_another(results):
    [key], [other] = ([r.key for r in api.records(results) if (r.label, r.seed) == ("er", seed)] for seed in (0, 1))
    kept = (
        "predictions/{}.parquet",
        "models/{}.pt",
        "models/{}/0.pt",
        "partial/{}.pt",
        "traces/{}.npz",
        "records/{}.json",
    )
    for each in (key, other):
        for form in kept[:4]:
            path = results / form.format(each)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(each.encode())
    before = {form: (results / form.format(key)).read_bytes() for form in kept}
    [moved] = clbench.forget(results, keys=[key[:8]])
    assert moved.key == key
    assert {form: (results / "forgotten" / form.format(key)).read_bytes() for form in kept} == before
    assert not any((results / form.format(key)).exists() for form in kept)
    assert all((results / form.format(other)).exists() for form in kept)


def test_all_conditions_hold_together(results):
    records = api.records(results)
    assert [r.label for r in chosen(records, strategies=["er", "naive"], failed=True)] == ["naive"]
    assert [r.cell["strategy"][0]["source"] for r in chosen(records, older=True)] == ["aaaa"]
    assert chosen(records, strategies=["er"], older=True) == []
    assert [r.cell["strategy"][0]["source"] for r in chosen(records, strategies=["mine [source=bbbb]"])] == ["bbbb"]


def test_a_cell_that_is_forgotten_a_second_time_replaces_nothing(results):
    [first] = clbench.forget(results, strategies="naive")
    store.save(replace(first, reason="it broke again"), results)
    clbench.forget(results, strategies="naive")
    assert [r.reason for r in api.records(results / "forgotten")] == ["it broke too"]
    assert [r.reason for r in api.records(results / "forgotten-2")] == ["it broke again"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ((), "forget needs to know which cells: give --strategies, --key, --failed or --older"),
        (("--strategies", "niave"), "no cell has the strategy 'niave'; did you mean 'naive'?"),
        (("--key", "zz"), "no cell has a key that begins with 'zz'"),
        (("--failed",), "forget asks before it moves 2 cells, and there is no terminal; add --yes"),
    ],
)
def test_a_command_that_does_not_say_enough_moves_nothing(results, options, sentence, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    before = names(results)
    answer = call("forget", results, *options)
    assert answer.code == 2
    assert sentence in answer.err
    assert names(results) == before


def test_nothing_that_fits_is_no_mistake(results):
    answer = call("forget", results, "--strategies", "er", "--failed", "--yes")
    assert (answer.code, answer.out.strip()) == (0, "No cell fits, so nothing was moved.")


def test_a_cell_that_another_command_runs_stays(results):
    [naive] = [r for r in api.records(results) if r.label == "naive"]
    other = Claims(results)
    other.take(naive.key)
    try:
        with pytest.warns(UserWarning, match="naive, seed 0 stays, because another command runs it now"):
            moved = clbench.forget(results, failed=True)
    finally:
        other.close()
    assert [each.label for each in moved] == ["er + l2"]
    assert "naive 0" in names(results)

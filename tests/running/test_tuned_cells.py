"""Tuned settings in a run: which strategies take them, what is part of the key, and what a record says."""

from __future__ import annotations

import copy
import warnings

import pytest
from support import SMALL

import clbench
from clbench.benchmark.tuned_settings import as_tuned, provenance_text, read_tuned
from clbench.core import store
from clbench.core.errors import Refused
from clbench.core.notices import Notice
from clbench.running.plan import plan

FIRST = {"protocol": "first:2", "trials": 24, "spent": 4.8, "study": "00"}
FILE = {
    "benchmark": "small@1",
    "strategies": {
        "ewc": {"defaults": {"ewc": {"strength": 3.0}}, "tuning": FIRST},
        "er + ewc": {"defaults": {"ewc": {"strength": 7}}, "training": {"lr": 0.05}, "tuning": {"protocol": "end"}},
    },
}


def cells(strategies, file=FILE, **options):
    return plan(SMALL, strategies=strategies, seeds=1, tuned=as_tuned(file), **options).cells


def test_values_enter_the_cell_as_if_the_user_had_written_them():
    naive, ewc, both = cells(["naive", "ewc", "er + ewc"])
    written = ["naive", "ewc(strength=3)", {"strategy": "er + ewc(strength=7)", "training": {"lr": 0.05}}]
    usual = plan(SMALL, strategies=written, seeds=1).cells
    assert [cell.key for cell in (naive, ewc, both)] == [cell.key for cell in usual]
    assert [cell.label for cell in (ewc, both)] == ["ewc(strength=3)", "er + ewc(strength=7) [lr=0.05]"]
    assert [cell.tuning for cell in (naive, ewc)] == [{}, {"benchmark": "small@1", **FIRST}]


def test_a_strategy_is_found_however_it_is_written_and_not_with_other_values():
    assert [cell.tuning != {} for cell in cells(["er+ewc", {"ewc": {}}, ["er", "ewc"], "ewc(rows=9)"])] == [
        True,
        True,
        False,
    ]  # fmt: skip  (the third is the first again)
    with pytest.raises(Refused, match="has settings for ewc, er \\+ ewc, and the run has naive, er"):
        cells(["naive", "er"])


def said(*, seeds=1, overrides=(), **changes):
    file = copy.deepcopy(FILE) | changes
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", Notice)
        plan(SMALL, strategies=["naive", "ewc"], seeds=seeds, overrides=overrides, tuned=as_tuned(file))
    return [str(each.message) for each in told if issubclass(each.category, Notice)]


def test_a_run_that_does_not_fit_the_search_of_its_settings_says_in_what():
    assert said() == []
    [told] = said(benchmark="small@2")
    assert told == "the settings in the tuned settings were chosen for small@2, and this is small@1"
    assert said(settings={"training.epochs": 3}, overrides=["training.epochs=3"]) == []
    [told] = said(settings={"training.epochs": 3}, overrides=["training.epochs=2"])
    assert told.endswith(
        "with training.epochs=3, and here it is 2; add --set training.epochs=3 for a run as in the search"
    )
    on_seeds = {
        "strategies": {"ewc": {"defaults": {"ewc": {"strength": 3.0}}, "tuning": FIRST | {"seeds": [100, 101]}}}
    }
    assert said(seeds=2, **on_seeds) == []
    [told] = said(seeds=[5, 101], **on_seeds)
    assert "were chosen on seeds 101 too; use other seeds" in told


def test_a_value_that_the_entry_sets_too_is_refused():
    with pytest.raises(Refused, match=r"er \+ ewc sets training.lr = 0.2, and in the tuned settings it is 0.05"):
        cells([{"strategy": "er + ewc", "training": {"lr": 0.2}}])
    other = copy.deepcopy(FILE)
    other["strategies"]["ewc"]["defaults"] = {"ewc": {"strenght": 3}}
    with pytest.raises(Refused, match=r"no parameter 'strenght'; did you mean 'strength'"):
        cells(["ewc"], other)
    other["strategies"]["ewc"]["defaults"] = {"si": {"strength": 3}}
    with pytest.raises(Refused, match=r"the tuned settings: ewc has no setting 'si.strength'"):
        cells(["ewc"], other)


def test_records_say_how_their_settings_were_found_and_a_plain_run_keeps_it(tmp_path):
    (made,) = clbench.run(SMALL, strategies="ewc", seeds=1, tuned=FILE, out=tmp_path)
    assert made.tuning == {"benchmark": "small@1", **FIRST}
    assert store.load(tmp_path / "records" / f"{made.key}.json").tuning == made.tuning
    (again,) = clbench.run(SMALL, strategies="ewc(strength=3)", seeds=1, out=tmp_path)
    assert (again.key, again.created, again.tuning) == (made.key, made.created, made.tuning)


def test_a_record_with_the_same_values_takes_part_and_says_what_the_present_run_knows(tmp_path):
    (plain,) = clbench.run(SMALL, strategies="ewc(strength=3)", seeds=1, out=tmp_path)
    assert plain.tuning == {}
    (found,) = clbench.run(SMALL, strategies="ewc", seeds=1, tuned=FILE, out=tmp_path)
    assert (found.key, found.created) == (plain.key, plain.created), "it was not run again"
    assert found.tuning["protocol"] == "first:2"
    late = copy.deepcopy(FILE)
    late["strategies"]["ewc"]["tuning"] = {"protocol": "end", "available": False}
    (other,) = clbench.run(SMALL, strategies="ewc", seeds=1, tuned=late, out=tmp_path)
    assert other.tuning == {"benchmark": "small@1", "protocol": "end", "available": False}, (
        "nothing of the first is left"
    )
    assert store.load(tmp_path / "records" / f"{found.key}.json").tuning == other.tuning


def test_workers_say_it_too(tmp_path):
    (made,) = clbench.run(SMALL, strategies="ewc", seeds=1, tuned=FILE, isolated=True)
    assert made.tuning == {"benchmark": "small@1", **FIRST}


def test_a_search_is_told_in_a_few_words():
    assert provenance_text(FIRST) == "first:2 (24 trials, 4.8x)"
    assert provenance_text({"protocol": "chf"}) == "chf"
    assert provenance_text({"protocol": "end", "method": "grid"}) == "end (grid)"
    assert provenance_text({**FIRST, "benchmark": "short@1"}, "long@2") == "first:2 on short@1 (24 trials, 4.8x)"
    assert provenance_text({**FIRST, "benchmark": "long@1"}, "long@2") == "first:2 (24 trials, 4.8x)"


def test_a_file_is_read_as_it_was_written(tmp_path):
    made = as_tuned(FILE)
    (tmp_path / "tuned.yaml").write_text(made.text, encoding="utf-8")
    read = read_tuned(tmp_path / "tuned.yaml")
    assert (read.content, read.text) == (made.content, made.text) == (FILE, made.text)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("er: 3\n", "tuned.yaml holds no tuned settings: it needs benchmark and strategies"),
        ("- er\n", "tuned.yaml: a file of tuned settings is a mapping"),
        ("benchmark: a@1\nstrategies: er\n", "strategies has to map each strategy to its settings"),
        ("benchmark: a@1\nstrategies: {er: 3}\n", "strategy 'er': it has to be a mapping with defaults, training"),
        ("benchmark: a@1\nstrategies: {er: {default: {}}}\n", "unknown key 'default'; did you mean 'defaults'?"),
        ("benchmark: a@1\nstrategies: {er: {defaults: 3}}\n", "defaults = 3 is not allowed; it has to be a mapping"),
        (
            "benchmark: a@1\nstrategies:\n  ewc:\n    defaults: {ewc: {strength: 3}}\n    tuning:\n",
            "tuning names no protocol",
        ),
        ("benchmark: a@1\nstrategies: {ewc: {defaults: {ewc: 3}}}\n", "defaults of ewc have to be a mapping"),
        ("a: [\n", "not valid YAML"),
    ],
)
def test_a_file_that_is_no_answer_of_a_search_is_refused(tmp_path, content, told):
    (tmp_path / "tuned.yaml").write_text(content, encoding="utf-8")
    with pytest.raises(Refused) as refused:
        read_tuned(tmp_path / "tuned.yaml")
    assert told in str(refused.value)


def test_a_folder_or_a_missing_file_is_answered_with_what_to_give(tmp_path):
    with pytest.raises(Refused, match="is a folder; give a file that clbench tune has written"):
        read_tuned(tmp_path)
    (tmp_path / "tuned.yaml").write_text(as_tuned(FILE).text, encoding="utf-8")
    with pytest.raises(Refused, match=r"is a folder; give the file .*tuned.yaml in it"):
        read_tuned(tmp_path)
    with pytest.raises(Refused, match=r"the file of tuned settings .* cannot be read"):
        read_tuned(tmp_path / "tunde.yaml")

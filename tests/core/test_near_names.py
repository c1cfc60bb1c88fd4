"""The name that a user meant: other spellings, names of other libraries, mistyped names."""

from __future__ import annotations

import pytest

from clbench.benchmark.schema import Benchmark
from clbench.benchmark.setting_names import setting_names
from clbench.cli.app import app
from clbench.cli.kinds import KINDS, names, registry
from clbench.core.near_names import OTHER_NAMES, fold, nearest, same
from clbench.core.parameters import schema

KNOWN = ["er", "er_ace", "ewc", "naive", "split-digits", "strength", "lr", "lr_schedule"]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("ER", "er"),
        ("er-ace", "er_ace"),
        ("Split_Digits", "split-digits"),
        ("learning_rate", "lr"),
        ("learningRate", "lr"),
        ("learning_rte", "lr"),  # a mistyped name of another library
        ("lambda", "strength"),
        ("finetune", "naive"),
        ("stregnth", "strength"),
        ("naiv", "naive"),
        ("zzz", ""),
        ("", ""),
    ],
)
def test_the_name_that_is_meant_is_found(written: str, meant: str) -> None:
    assert nearest(written, KNOWN) == meant


def test_a_name_of_another_library_is_found_only_where_our_name_exists() -> None:
    assert same("learning_rate", ["lr"]) == "lr"
    assert same("learning_rate", ["rate"]) == ""
    assert nearest("lambda", ["alpha", "strength"]) == "strength"  # the likeliest first
    assert nearest("lambda", ["alpha"]) == "alpha"


def test_the_table_of_other_names_is_written_folded_and_leads_to_names_that_exist() -> None:
    assert [name for name in OTHER_NAMES if fold(name) != name] == []
    known = {name for kind in KINDS for name in names(kind)} | set(Benchmark.model_fields)
    for kind in ("strategies", "models", "scenarios", "lr_schedules"):
        for entry in registry(kind):
            known |= set(schema(registry(kind).get(entry.name)).model_fields)
    for model in names("models"):
        dotted = setting_names({"stream": {"scenario": "split"}, "model": {"name": model}}, Benchmark)
        known |= {*dotted, *(name.rpartition(".")[2] for name in dotted)}
    known |= {command.name for command in app.registered_commands} | {group.name for group in app.registered_groups}
    options = {"--jobs", "--device", "--out", "--plugin", "--help", "--seeds"}
    targets = {each for found in OTHER_NAMES.values() for each in found}
    assert sorted(targets - known - options) == []

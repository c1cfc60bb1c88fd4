"""Whose a module is, and which names a function reads, on functions written for it."""

import importlib
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from clbench.core.identity.global_names import globals_read, why_open
from clbench.core.identity.module_files import beside
from clbench.core.identity.module_origin import library, version_of

LIMIT = 3
SETTINGS = {"limit": 3}


@pytest.mark.parametrize(
    "module",
    ["torch", "torch.nn.functional", "numpy.linalg", "json", "json.decoder", "math", "sys", "clbench.api", "yaml"],
)
def test_what_is_installed_or_comes_with_python_is_a_library(module):
    assert library(module)


@pytest.mark.parametrize("module", [__name__, "support", "", "no_such_module_anywhere"])
def test_what_a_program_holds_itself_is_no_library(module):
    assert not library(module)


def test_a_file_beside_a_script_is_no_library_whatever_it_is_called(tmp_path, monkeypatch):
    (tmp_path / "helpers_of_mine.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert not library("helpers_of_mine")
    import helpers_of_mine

    assert not library(helpers_of_mine.__name__)
    monkeypatch.delitem(sys.modules, "helpers_of_mine")


@pytest.mark.parametrize("module", ["torch.nn", "numpy", "sklearn.svm", "json", "clbench", "", "no_such_module"])
def test_libraries_whose_version_a_record_tells_anyway_count_by_name(module):
    assert version_of(module) == ""


def test_other_libraries_count_by_their_installed_version():
    from importlib.metadata import version

    assert version_of("pydantic.fields") == version("pydantic")
    assert version_of("ruamel") == version("ruamel.yaml")  # the package of another name


def names(function):
    return dict(globals_read(function))


def test_a_function_reads_its_globals_and_not_its_own_names():
    def clipped(values):
        largest = max(values)
        return min(largest, LIMIT)

    assert names(clipped) == {"LIMIT": 3, "max": max, "min": min}


def test_modules_are_followed_to_what_is_taken_of_them():
    def mean(values):
        return np.linalg.norm(values) + os.path.getsize("x")

    assert names(mean) == {"np.linalg.norm": np.linalg.norm, "os.path.getsize": os.path.getsize}


def test_attributes_of_values_are_not_followed():
    def limit():
        return SETTINGS.get("limit")

    assert names(limit) == {"SETTINGS": SETTINGS}


def test_functions_inside_of_functions_are_read_too():
    def outer():
        def inner():
            return LIMIT

        return [lambda: SETTINGS, inner]

    assert set(names(outer)) == {"LIMIT", "SETTINGS"}


def test_what_is_imported_while_a_function_runs_is_read():
    def late():
        from json import dumps

        return dumps({})

    import json

    assert names(late) == {"import json dumps": json.dumps}


def test_a_name_that_is_not_there_yet_is_told_from_none():
    def early():
        return not_defined_anywhere  # noqa: F821

    assert list(names(early).values()) == ["clbench: no such name yet"]


def reads(function):
    return [why for path, value in globals_read(function) if (why := why_open(path, value))]


def test_a_function_that_reads_files_is_open_and_the_sentence_names_the_call():
    def by_open():
        return open("rows.txt").read()

    def by_numpy():
        return np.load("rows.npy")

    def by_path():
        return Path("rows.txt").read_text()

    def by_environment():
        return os.environ["HOME"]

    for function, name in (
        (by_open, "open"),
        (by_numpy, "numpy.load"),
        (by_path, ".read_text"),
        (by_environment, "os.environ"),
    ):
        assert len(reads(function)) == 1
        assert f"({name})" in reads(function)[0]


def test_a_function_that_finds_names_at_run_time_is_open():
    def by_eval(text):
        return eval(text)

    def by_globals(name):
        return globals()[name]

    assert ["(eval)" in reads(by_eval)[0], "(globals)" in reads(by_globals)[0]] == [True, True]


def test_a_function_of_values_alone_is_closed():
    def closed(x):
        return np.exp(x) / np.sum(np.exp(x)) if len(x) > LIMIT else sorted(x)

    assert reads(closed) == []


def test_texts_of_modules_that_a_module_uses_count_and_those_of_libraries_do_not(tmp_path, monkeypatch):
    (tmp_path / "first_of_mine.py").write_text("import json\nimport second_of_mine\n")
    (tmp_path / "second_of_mine.py").write_text("from third_of_mine import f\n")
    (tmp_path / "third_of_mine.py").write_text("def f():\n    return 1\n")
    (tmp_path / "alone_of_mine.py").write_text("import json\n")
    monkeypatch.syspath_prepend(tmp_path)
    import alone_of_mine
    import first_of_mine
    import second_of_mine
    import third_of_mine

    assert beside(alone_of_mine) == beside(third_of_mine) == ""
    before = beside(first_of_mine), beside(second_of_mine)
    assert all(before)
    assert before[0] != before[1]
    (tmp_path / "third_of_mine.py").write_text("def f():\n    return 2\n")
    assert (beside(first_of_mine), beside(second_of_mine)) == before  # the code that is imported is still the old one
    importlib.reload(third_of_mine)
    assert (beside(first_of_mine) != before[0], beside(second_of_mine) != before[1]) == (True, True)
    before = beside(first_of_mine)
    (tmp_path / "first_of_mine.py").write_text("changed = 1\n")
    assert beside(first_of_mine) == before  # its own text is not beside it
    for name in ("first_of_mine", "second_of_mine", "third_of_mine", "alone_of_mine"):
        monkeypatch.delitem(sys.modules, name)

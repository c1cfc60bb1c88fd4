"""Mutated bundles end in a sentence, or say what the whole bundle says: no traceback, and little memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from bundles import bundle

import clbench

TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize("count", [60, pytest.param(500, marks=pytest.mark.slow)])
def test_mutated_bundles_end_in_a_sentence_or_say_what_the_whole_one_says(tmp_path, count):
    path = bundle(tmp_path)
    folders = os.pathsep.join([str(TESTS), str(Path(clbench.__file__).parents[1])])
    command = [sys.executable, str(TESTS / "mutated_bundles.py"), str(path), str(count)]
    ran = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": folders}, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    told = json.loads(ran.stdout)
    assert told["wrong"] == []
    assert sum(told["found"].values()) == count
    assert told["found"]["refused"] > count / 4
    assert told["found"]["named"] > count / 4
    assert told["peak"] < 500_000_000

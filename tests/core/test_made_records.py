"""The records that ``benchmarks/speed/records.py`` makes are real ones: whoever reads them finds no fault."""

import importlib.util
import sys
import warnings
from pathlib import Path

import pytest

from clbench.core import store
from clbench.core.trace_equality import trace_digest
from clbench.core.types import content_hash

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "speed" / "records.py"


@pytest.mark.skipif(not SCRIPT.exists(), reason="installed without the benchmarks of speed")
def test_made_records_have_right_keys_and_checksums_and_traces_of_their_own(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("made_records", SCRIPT)
    made = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "made_records", made)  # dataclasses look up their module
    spec.loader.exec_module(made)
    made.make(tmp_path / "records", 160)  # of the 75 originals, in two variants and a part of the third
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = list(store.load_all(tmp_path / "records"))
    assert len({each.key for each in found}) == 160
    assert all(each.key == content_hash(each.cell) for each in found)
    assert len({each.trace_digest for each in found}) == 160
    assert all(trace_digest(each.trace) == each.trace_digest for each in found[:20])
    assert {each.cell["training"]["epochs"] for each in found} == {10, 20, 30}

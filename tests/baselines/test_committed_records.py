"""All committed records are read by this version: their keys are the hashes of their cells, and no file is left out."""

from pathlib import Path

import pytest

from clbench.core import record_file, store
from clbench.core.record_folder import LeftOut, record_files
from clbench.core.trace_equality import trace_digest
from clbench.core.types import content_hash

BASELINES = Path(__file__).parents[2] / "baselines"
FOLDERS = sorted({path.parent for path in BASELINES.rglob("records") if path.is_dir()})


def test_every_committed_record_has_the_key_of_its_cell_whatever_its_format():
    keys = []
    for folder in FOLDERS:
        paths, foreign = record_files(folder)
        assert foreign == []
        for path in paths:
            held = record_file.decoded(path.read_bytes(), path)
            assert path.stem == held.key == content_hash(held.cell)
            assert set(held.sums) == ({"record", "trace"} if held.has_trace else {"record"}) or held.format == 1
            keys.append(held.format)
    assert len(keys) >= 1779
    assert {1, 2} <= set(keys)


def test_every_committed_trace_is_read_and_no_file_is_left_out():
    read = 0
    for folder in FOLDERS:
        out = LeftOut(folder)
        for record in store.load_folder(out):
            assert (record.trace is None) == (record.status in ("skipped", "failed"))
            read += 1
        assert out.sentences() == []
    assert read >= 1779


@pytest.mark.slow
def test_a_committed_record_that_is_written_again_has_the_same_key_and_an_equal_trace(tmp_path):
    for folder in FOLDERS:
        for record in store.load_all(folder):
            again = store.load(store.save(record, tmp_path))
            assert again.key == record.key
            if record.trace is not None:
                assert again.trace_digest == trace_digest(record.trace) == trace_digest(again.trace)

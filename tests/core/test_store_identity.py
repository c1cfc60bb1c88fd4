"""A record is what was written: its key, its numbers and its trace are checked when it is read."""

import json

import pytest
from synthetic import dipping, record

from clbench.core import store
from clbench.core.errors import Refused


def written(tmp_path, *seeds):
    made = [record("er", seed, dipping(seed)) for seed in seeds]
    return [store.save(each, tmp_path) for each in made]


def test_what_is_saved_is_read_again(tmp_path):
    [path] = written(tmp_path, 0)
    assert store.load(path).key == path.stem
    assert set(json.loads(path.read_text())["sums"]) == {"record", "trace"}


def test_two_traces_that_changed_places_are_told(tmp_path):
    paths = written(tmp_path, 0, 1)
    one, two = (tmp_path / "traces" / f"{path.stem}.npz" for path in paths)
    held = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(held)
    with pytest.raises(Refused, match="it does not belong to this record"):
        store.load(paths[0])


def test_two_records_that_changed_places_are_told(tmp_path):
    one, two = written(tmp_path, 0, 1)
    held = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(held)
    with pytest.raises(Refused, match="the record of cell"):
        store.load(one)


@pytest.mark.parametrize("field", ["label", "cost", "status", "fingerprint", "data"])
def test_a_record_that_was_changed_is_told(tmp_path, field):
    [path] = written(tmp_path, 0)
    content = json.loads(path.read_text())
    content[field] = {**content[field], "steps": 301.0} if field == "cost" else "failed"
    path.write_text(json.dumps(content))
    with pytest.raises(Refused, match="changed after it was written"):
        store.load(path)


def test_a_cell_that_is_not_its_keys_is_told_in_older_records_too(tmp_path):
    [path] = written(tmp_path, 0)
    content = json.loads(path.read_text())
    del content["sums"]
    content["format"] = 1
    path.write_text(json.dumps(content))
    assert store.load(path).seed == 0
    content["cell"]["training"]["lr"] = 0.06
    path.write_text(json.dumps(content))
    with pytest.raises(Refused, match="its key does not belong to its cell"):
        store.load(path)


def test_the_layout_of_the_text_does_not_count(tmp_path):
    [path] = written(tmp_path, 0)
    content = json.loads(path.read_text())
    path.write_text(json.dumps(dict(reversed(content.items())), indent=4))
    assert store.load(path).label == "er"


def test_a_record_that_lost_its_checksums_is_told(tmp_path):
    [path] = written(tmp_path, 0)
    content = json.loads(path.read_text())
    del content["sums"]
    path.write_text(json.dumps(content))
    with pytest.raises(Refused, match="it has no checksum"):
        store.load(path)

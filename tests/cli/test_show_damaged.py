"""Asking for one record that cannot be used names its fault."""

from command_line import call
from synthetic import dipping, record

from clbench.core import store


def test_show_names_the_fault_of_a_damaged_record_that_was_asked_for(tmp_path):
    whole, cut = (record("er", seed, dipping(seed, tasks=2, length=4)) for seed in (0, 1))
    store.save(whole, tmp_path)
    store.save(cut, tmp_path)
    path = tmp_path / "records" / f"{cut.key}.json"
    path.write_text(path.read_text()[:200])
    answer = call("show", tmp_path, cut.key)
    assert answer.code == 2
    assert f"the record {path} is damaged (it is cut off or edited: " in answer.err
    missing = call("show", tmp_path, "zz")
    assert missing.code == 2
    assert "has a key that begins with 'zz'" in missing.err

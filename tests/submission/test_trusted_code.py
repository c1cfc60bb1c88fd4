"""Which code a cell of a stranger may run: never its own, and other code than clbench's only with consent."""

import os
from dataclasses import replace

import pytest
from small_submission import DIGEST, SMALL, honest

from clbench import api
from clbench.submission.cell_runs import RunSettings
from clbench.submission.fresh_seeds import try_fresh
from clbench.submission.reruns import reproduce
from clbench.submission.trusted_code import NotRunnable, foreign_code, runnable

LEAVES_A_MARK = """
from pathlib import Path
from clbench import Part

Path({mark!r}).write_text("imported")

class Mine(Part):
    def loss(self, learner, batch, output):
        return {strength} * learner.w.square().sum()
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """A folder with a plugin whose import leaves a mark, the records of a run with it, and the mark."""
    monkeypatch.chdir(tmp_path)
    mark = tmp_path / "mark"
    (tmp_path / "mine.py").write_text(LEAVES_A_MARK.format(mark=str(mark), strength=0.001))
    made = api.run(SMALL, strategies=["mine.py:Mine"], seeds=2)
    assert [each.status for each in made] == ["done", "done"]
    mark.unlink()
    return tmp_path, made, mark


def test_code_of_a_plugin_is_not_even_imported_without_trust(plugin):
    _, made, mark = plugin
    results = [*reproduce(made, DIGEST, 2), *try_fresh(made, DIGEST, 1)]
    assert not any(each.holds for each in results)
    assert all("not clbench's own (mine.py:Mine); if you trust this code and have it" in r.sentence for r in results)
    assert not mark.exists()


def test_with_trust_the_verifiers_copy_of_the_same_code_runs(plugin):
    folder, made, _ = plugin
    assert all(each.holds for each in reproduce(made, DIGEST, 2, settings=RunSettings(trust=True)))
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    (folder / "mine.py").rename(elsewhere / "mine.py")
    missing = reproduce(made, DIGEST, 1, settings=RunSettings(trust=True))
    assert "no file mine.py with the digest of the cell is here" in missing[0].sentence
    os.chdir(elsewhere)
    assert all(each.holds for each in reproduce(made, DIGEST, 2, settings=RunSettings(trust=True)))


def test_with_trust_other_code_of_the_same_name_is_not_imported(plugin):
    folder, made, mark = plugin
    (folder / "mine.py").write_text(LEAVES_A_MARK.format(mark=str(mark), strength=0.002))
    results = reproduce(made, DIGEST, 2, settings=RunSettings(trust=True))
    assert all("no file mine.py with the digest of the cell is here" in each.sentence for each in results)
    assert not mark.exists()


def test_a_path_of_the_authors_machine_is_replaced_by_the_verifiers_file(plugin):
    _, made, _ = plugin
    item = {**made[0].cell["strategy"][0], "name": "/home/author/mine.py:Mine"}
    moved = replace(made[0], cell={**made[0].cell, "strategy": [item]})
    assert reproduce([moved], DIGEST, 1, settings=RunSettings(trust=True))[0].holds


def test_every_place_of_a_cell_that_can_name_code_is_seen():
    cell = honest()[0].cell
    assert not list(foreign_code(cell))
    stream, training, evaluation = cell["stream"], cell["training"], cell["evaluation"]
    for changed in (
        {"strategy": [{"name": "avalanche:Naive", "parameters": {}, "source": "0.6"}]},
        {"strategy": [{"name": "er", "parameters": {"loss": "loss.py:f"}}]},
        {"strategy": [{"name": "er", "parameters": {}, "source": "0123456789abcdef"}]},
        {"stream": {**stream, "scenario": "s.py:f"}},
        {"stream": {**stream, "dataset": {"name": "hf:owner/name"}}},
        {"stream": {**stream, "dataset": {"name": "digits+d.py:f"}}},
        {"stream": {**stream, "apply": [{"c.py:f": {}}]}},
        {"stream": {**stream, "apply": [{"interleave": {"other": {**stream, "scenario": "s.py:f"}}}]}},
        {"model": {"name": "m.py:Net", "heads": "shared"}},
        {"training": {**training, "optimizer": {"o.py:Lion": {"lr": 1}, "source": "ab"}}},
        {"training": {**training, "lr_schedule": {"l.py:f": {}, "source": "ab"}}},
        {"evaluation": {**evaluation, "schedule": {"e.py:f": {}, "source": "ab"}}},
    ):
        assert list(foreign_code({**cell, **changed})), changed
        with pytest.raises(NotRunnable):
            runnable({**cell, **changed}, trust=False)


def test_code_that_nothing_identifies_is_refused_with_trust_too():
    cell = {**honest()[0].cell, "strategy": [{"name": "er", "parameters": {"loss": "loss.py:f"}}]}
    with pytest.raises(NotRunnable, match=r"nothing in the cell identifies the code of loss.py:f"):
        runnable(cell, trust=True)


def test_objects_that_a_program_handed_over_cannot_be_run_again():
    cell = honest()[0].cell
    given = {**cell, "stream": {**cell["stream"], "dataset": {"name": "given:mine", "checksum": "1"}}}
    with pytest.raises(NotRunnable, match="a program handed over its data set"):
        runnable(given, trust=True)

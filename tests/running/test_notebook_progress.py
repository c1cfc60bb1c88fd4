"""Progress of runs from Python: bars in notebooks, lines elsewhere if asked, silence otherwise."""

import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import clbench
from clbench.core.record import Record
from clbench.running.executors import Progress, Started
from clbench.running.notebook_progress import NotebookBars, in_notebook
from clbench.running.plan import plan
from clbench.running.progress import Tally

SETTINGS = {"training.epochs": 1, "stream.dataset.train_rows": 100, "evaluation.every": 0}


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def ended(cell, status="done", reason=""):
    return Record(key=cell.key, cell=cell.config, label=cell.label, status=status, reason=reason)


def shown(monkeypatch):
    """Replace IPython, and return the list of everything that it shows."""
    told = []
    display = ModuleType("IPython.display")
    display.HTML = str
    display.display = lambda page, display_id: told.append(page) or SimpleNamespace(update=told.append)
    package = ModuleType("IPython")
    package.display = display
    package.get_ipython = lambda: SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", package)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    return told


def test_bars_show_running_cells_and_at_the_end_those_without_a_result(monkeypatch):
    told, clock = shown(monkeypatch), Clock()
    one, other = plan("split-digits", strategies=["naive", "er"], seeds=1).cells
    with NotebookBars(Tally(2, 0, clock), clock) as bars:
        bars(Started(one))
        clock.now = 1.0
        bars(Progress(one, step=30, fraction=0.25))
        assert "naive, seed 0, iteration 30" in told[-1]
        assert "width: 25.0%" in told[-1]
        assert "width: 12.5%" in told[-1]  # of all cells
        clock.now = 1.1
        bars(Progress(one, step=31, fraction=0.26))
        assert "iteration 31" not in told[-1]  # too early to draw again
        bars(replace(ended(one), status="failed", reason="<it> broke"))
        bars(Started(other))
        bars(ended(other))
    assert "all 2 cells: 2 done" in told[-1]
    assert "naive, seed 0: failed: &lt;it&gt; broke" in told[-1]
    assert "iteration" not in told[-1]


def test_a_program_is_no_notebook_unless_it_is_a_kernel(monkeypatch):
    assert not in_notebook()
    shown(monkeypatch)
    assert in_notebook()
    sys.modules["IPython"].get_ipython = lambda: None
    assert not in_notebook()


def test_a_script_is_silent_unless_it_asks_for_progress(capsys):
    run = {"strategies": "naive", "seeds": 2, "overrides": SETTINGS}
    clbench.run("split-digits", **run)
    assert capsys.readouterr() == ("", "")
    seen = []
    clbench.run("split-digits", **run, progress=True, watch=seen.append)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["[1/2] naive, seed 0", "[2/2] naive, seed 1"]
    assert len([event for event in seen if isinstance(event, Record)]) == 2


def test_a_notebook_shows_progress_unless_it_asks_for_silence(monkeypatch, tmp_path):
    told = shown(monkeypatch)
    run = {"strategies": "naive", "seeds": 1, "overrides": SETTINGS, "out": tmp_path}
    clbench.run("split-digits", **run, progress=False)
    assert told == []
    clbench.run("split-digits", **run)
    assert "all 1 cells: 1 done" in told[-1]  # found, not run again
    assert "width: 100.0%" in told[-1]


def test_cells_that_lack_a_file_to_keep_are_counted_as_cells_to_run(capsys, tmp_path):
    ask = {"strategies": "naive", "seeds": 2, "overrides": SETTINGS, "out": tmp_path / "out"}
    clbench.run("split-digits", **ask)
    clbench.run("split-digits", **ask, save_model=True, progress=True)
    lines = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("[")]
    assert lines == ["[1/2]", "[2/2]"]

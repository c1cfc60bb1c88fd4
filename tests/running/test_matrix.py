"""Matrices of real cells: what fails is a record, what is finished stays, and how a cell is run changes nothing."""

import inspect
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from torch import nn

import clbench
from clbench.core import store
from clbench.core.errors import Refused
from clbench.core.notices import Notice
from clbench.core.record import Record
from clbench.running.executors import Started
from clbench.running.plan import plan
from clbench.running.run_cell import run_cell

STRATEGIES = ["naive", "er", "er + ewc(strength=1)", "agem", "cumulative"]
SHORT = {"training.epochs": 1}


def run_short(**arguments):
    arguments.setdefault("overrides", SHORT)
    return clbench.run("split-digits", **arguments)


def assert_same_traces(records, others):
    assert [(r.label, r.seed, r.status) for r in records] == [(r.label, r.seed, r.status) for r in others]
    for one, other in zip(records, others, strict=True):
        for name in ("step", "kind", "experience", "score", "rows", "present"):
            np.testing.assert_array_equal(getattr(one.trace, name), getattr(other.trace, name))
        assert one.fingerprint == other.fingerprint


@pytest.fixture(scope="module")
def alone():
    """Every cell of a small matrix, each run on its own, last first."""
    cells = plan("split-digits", strategies=STRATEGIES, seeds=2, overrides=["training.epochs=1"]).cells
    records = [run_cell(cell) for cell in reversed(cells)][::-1]
    assert [r.status for r in records] == ["done"] * 10
    return records


# --------------------------------------------------------------------------------------------------- the same trace


def test_cell_gives_the_same_trace_alone_and_in_a_matrix(alone, tmp_path):
    records = run_short(strategies=STRATEGIES, seeds=2, out=tmp_path)
    assert_same_traces(records, alone)
    from_disk = {record.key: record for record in store.load_all(tmp_path)}
    assert_same_traces([from_disk[record.key] for record in records], alone)
    assert [from_disk[record.key].cell for record in records] == [record.cell for record in records]


def test_different_cells_give_different_traces(alone):
    scores = {record.trace.score.tobytes() for record in alone}
    assert len(scores) == len(alone)


def test_strategies_at_one_seed_see_one_stream_and_seeds_see_different_orders(alone):
    prints = {(r.seed, r.fingerprint) for r in alone if r.label != "cumulative"}
    assert len(prints) == len({seed for seed, _ in prints}) == 2


def test_running_a_matrix_leaves_torch_and_the_generators_as_they_were():
    import random

    import torch

    torch.manual_seed(7)

    def state():
        numpy = np.random.get_state()[1].tolist()  # noqa: NPY002
        return torch.get_num_threads(), torch.random.get_rng_state().tolist(), numpy, random.getstate()

    before = state()
    run_short(strategies="er", seeds=1)
    assert state() == before


# --------------------------------------------------------------------------------------------------- what is finished


def test_finished_cells_are_not_run_again_and_a_new_seed_runs_alone(tmp_path):
    first = run_short(strategies="naive, er", seeds=1, out=tmp_path)
    events = []

    second = run_short(strategies="naive, er", seeds=2, out=tmp_path, watch=events.append)

    assert [(e.cell.label, e.cell.seed) for e in events if isinstance(e, Started)] == [("naive", 1), ("er", 1)]
    assert [r.created for r in second if r.seed == 0] == [r.created for r in first]


def test_a_record_is_on_disk_before_the_watcher_hears_of_it(tmp_path):
    heard = []

    def watch(event):
        if isinstance(event, Record):
            heard.append(store.has(event.key, tmp_path))

    run_short(strategies="naive", seeds=2, out=tmp_path, watch=watch)
    assert heard == [True, True]


def test_damaged_record_in_the_way_is_set_aside_and_its_cell_runs_again(tmp_path):
    [record] = run_short(strategies="naive", seeds=1, out=tmp_path)
    path = store.record_path(record.key, tmp_path)
    path.write_text("{ half")
    with pytest.warns(Notice, match=rf"the record {path} is damaged \(.*\); it was moved to .*damaged"):
        [again] = run_short(strategies="naive", seeds=1, out=tmp_path)
    assert_same_traces([again], [record])
    assert_same_traces([store.load(path)], [record])
    assert (tmp_path / "damaged" / "records" / path.name).read_text() == "{ half"
    assert (tmp_path / "damaged" / "traces" / f"{record.key}.npz").exists()


def test_files_that_a_killed_command_has_left_half_written_are_removed_by_the_next_one(tmp_path):
    code = "import sys; from pathlib import Path; from clbench.core.temporary_files import temporary_beside as beside\n"
    code += "for name in ('records', 'traces', 'partial'):\n"
    code += "    path = beside(Path(sys.argv[1]) / name / 'x'); path.parent.mkdir(); path.touch()"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    assert len([path for path in tmp_path.rglob(".x.*") if path.is_file()]) == 3
    run_short(strategies="naive", seeds=1, out=tmp_path)
    assert [path for path in tmp_path.rglob(".*") if path.is_file()] == []


def test_many_damaged_records_are_told_in_one_line_and_their_cells_run_again(tmp_path):
    records = run_short(strategies="naive", seeds=4, out=tmp_path)
    for record in records[:3]:
        store.record_path(record.key, tmp_path).write_text("{}")
    with pytest.warns(Notice) as told:
        again = run_short(strategies="naive", seeds=4, out=tmp_path)
    assert_same_traces(again, records)
    named = ", ".join(f"{record.key}.json (it is no record)" for record in records[:3])
    where = f"they are moved to {tmp_path / 'damaged'} and their cells are run again"
    assert [str(each.message) for each in told] == [f"3 damaged records: {named}; {where}"]
    assert len(list((tmp_path / "damaged" / "records").iterdir())) == 3


def test_results_that_are_removed_while_a_matrix_runs_are_written_again_and_told(tmp_path):
    def watch(event):
        if isinstance(event, Record) and event.seed == 1:
            shutil.rmtree(tmp_path / "out")

    with pytest.raises(Refused, match=r"2 of 3 records were removed from .*out while the matrix ran; .*written again"):
        run_short(strategies="naive", seeds=3, out=tmp_path / "out", watch=watch)
    assert sorted(record.seed for record in store.load_all(tmp_path / "out")) == [0, 1, 2]


def test_what_cannot_be_written_of_a_record_is_kept_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path / "elsewhere"))
    write = store.write

    def refuse(path, content):
        if path.suffix == ".npz" and "elsewhere" not in str(path):
            raise OSError(28, "No space left on device")
        write(path, content)

    monkeypatch.setattr(store, "write", refuse)
    with pytest.raises(Refused, match=r"it is kept in .*elsewhere/clbench-rescued-out, whose records and traces"):
        run_short(strategies="naive", seeds=1, out=tmp_path / "out")
    [kept] = store.load_all(tmp_path / "elsewhere" / "clbench-rescued-out")
    assert kept.status == "done"


def test_weights_that_cannot_be_written_are_told_and_the_record_is_kept(tmp_path):
    (tmp_path / "models").write_text("in the way")
    with pytest.warns(
        Notice, match=r"naive, seed 0: the model could not be kept in .* \(File exists\); the record is kept"
    ):
        run_short(strategies="naive", seeds=1, out=tmp_path, save_model=True)
    assert [record.status for record in store.load_all(tmp_path)] == ["done"]


@pytest.mark.parametrize("below", ["", "sub/folder"])
def test_result_directory_that_cannot_be_written_is_refused_before_anything_runs(tmp_path, below):
    (tmp_path / "file").write_text("in the way")
    events = []
    with pytest.raises(Refused, match=r"results cannot be written to .*; choose another --out"):
        run_short(strategies="naive", seeds=1, out=tmp_path / "file" / below, watch=events.append)
    assert events == []


@pytest.mark.parametrize("name", ["records", "traces"])
def test_a_file_in_the_place_of_a_folder_of_results_is_named(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(Refused, match=rf"results cannot be written to .*{name} is a file; choose another --out"):
        run_short(strategies="naive", seeds=1, out=tmp_path)


def test_disk_that_fills_up_is_told_and_finished_cells_are_safe(tmp_path, monkeypatch):
    write = store.write

    def fill(path, content):
        if path.suffix == ".npz" and len(list((tmp_path / "records").glob("*.json"))) == 1:
            raise OSError(28, "No space left on device")
        write(path, content)

    monkeypatch.setattr(store, "write", fill)
    with pytest.raises(
        Refused, match=r"record of naive, seed 1 cannot be written .*No space left.*run the same command"
    ):
        run_short(strategies="naive", seeds=3, out=tmp_path)
    assert [record.seed for record in store.load_all(tmp_path)] == [0]


@pytest.mark.parametrize("jobs", [0, -1, "many"])
def test_impossible_number_of_jobs_is_refused(jobs):
    with pytest.raises(Refused, match="give a number from 1, or auto"):
        run_short(strategies="naive", seeds=1, jobs=jobs)


# --------------------------------------------------------------------------------------------------- what goes wrong


def test_diverging_cell_is_a_record_that_names_the_iteration_and_the_matrix_goes_on(tmp_path):
    wild = {"strategy": "naive", "training": {"optimizer": "sgd", "lr": 1e6}}
    records = run_short(strategies=[wild, "naive"], seeds=1, out=tmp_path)
    assert [r.status for r in records] == ["diverged", "done"]
    assert records[0].label == "naive [optimizer=sgd, lr=1e+06]"
    last = records[0].trace.step[-1]
    assert last > 0
    assert f"the model's outputs are not finite after step {last};" in records[0].reason

    events = []
    again = run_short(strategies=[wild], seeds=1, out=tmp_path, watch=events.append)
    assert (events, again[0].created) == ([], records[0].created)


def test_exception_in_a_users_model_is_told_before_anything_runs_or_is_a_failed_record_with_its_words_and_place():
    def broken(shape, n_outputs):
        raise RuntimeError(f"no model for {shape} and {n_outputs}")

    with pytest.raises(Refused, match=r"RuntimeError: no model for \(1, 8, 8\) and 10 \(test_matrix.py, line "):
        run_short(strategies="naive", seeds=1, model=broken)

    class Late(nn.Module):
        """Fails in training alone."""

        def __init__(self, shape, n_outputs):
            super().__init__()
            self.last = nn.Linear(64, n_outputs)

        def forward(self, x):
            if self.training and len(x) > 2:
                raise RuntimeError(f"no step with {len(x)} rows")
            return self.last(x.flatten(1))

    [record] = run_short(strategies="naive", seeds=1, model=Late)
    assert record.status == "failed"
    assert record.reason.startswith("RuntimeError: no step with ")
    assert "(test_matrix.py, line " in record.reason
    assert record.trace is None


def test_strategy_that_lacks_what_it_needs_is_skipped_with_the_reason():
    records = run_short(strategies="er, naive", seeds=1, overrides={**SHORT, "memory.size": 0})
    assert [r.status for r in records] == ["skipped", "done"]
    assert records[0].reason == "er needs a replay buffer, and the benchmark's memory has size 0"


@pytest.mark.filterwarnings("ignore:.*attempt [23] begins")
def test_worker_killed_from_outside_fails_its_cell_alone_and_the_same_call_runs_it_again(tmp_path):
    weapon = tmp_path / "weapon"
    weapon.touch()

    def mortal(shape, n_outputs):
        import os
        import signal
        from pathlib import Path

        import torch

        from clbench.core.rng import derive

        if torch.initial_seed() == derive(1, "init") and Path(weapon).exists():
            os.kill(os.getpid(), signal.SIGKILL)
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, n_outputs))

    first = run_short(strategies="naive", seeds=3, model=mortal, jobs=2, out=tmp_path / "out")
    assert [r.status for r in first] == ["done", "failed", "done"]
    assert first[1].reason.startswith(
        "its worker process died (SIGKILL) in each of 3 attempts; was there enough memory?"
    )
    assert store.load(store.record_path(first[1].key, tmp_path / "out")).status == "failed"

    weapon.unlink()
    events = []
    second = run_short(strategies="naive", seeds=3, model=mortal, jobs=1, out=tmp_path / "out", watch=events.append)
    assert [r.status for r in second] == ["done", "done", "done"]
    assert [e.cell.seed for e in events if isinstance(e, Started)] == [1]


# --------------------------------------------------------------------------------------------------- own things


def own_arrays():
    """Two classes that differ in their first value, 40 + 20 rows (n, 6) float32."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 6)).astype(np.float32), np.arange(60) % 2
    x[:, 0] += 6 * y - 3
    return x[:40], y[:40], x[40:], y[40:]


OWN = {
    "name": "own",
    "stream": {"scenario": "split", "setting": "class", "experiences": 2},
    "model": {"name": "mlp", "hidden": [8]},
    "training": {"lr": 0.5, "batch_size": 4, "epochs": 3},
    "memory": {"size": 10},
    "strategies": ["joint", "er"],
    "seeds": 2,
}


def test_own_arrays_and_own_module_go_straight_in_and_the_module_stays_untouched():
    import torch

    module = torch.nn.Linear(6, 2)
    with torch.no_grad():
        module.weight.zero_()
        module.weight[1, 0] = 5.0  # it separates the classes before any training
        module.bias.zero_()
    before = {name: value.clone() for name, value in module.state_dict().items()}

    records = clbench.run(OWN, dataset=own_arrays(), model=module)

    assert [r.status for r in records] == ["done"] * 4
    assert all((r.trace.score[0] > 0.9).all() for r in records)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert records[0].cell["stream"]["dataset"]["name"] == "given:arrays"
    assert records[0].cell["model"]["name"] == "given:Linear"


def test_other_arrays_and_other_weights_are_other_cells():
    import torch

    arrays = own_arrays()
    module = torch.nn.Linear(6, 2)
    keys = [clbench.run({**OWN, "strategies": ["naive"], "seeds": 1}, dataset=arrays, model=module)[0].key]
    with torch.no_grad():
        module.weight[0, 0] += 1
    keys.append(clbench.run({**OWN, "strategies": ["naive"], "seeds": 1}, dataset=arrays, model=module)[0].key)
    arrays[0][0, 0] += 1
    keys.append(clbench.run({**OWN, "strategies": ["naive"], "seeds": 1}, dataset=arrays, model=module)[0].key)
    assert len(set(keys)) == 3


SCRIPT = """
import torch
import clbench
from beside import arrays, relu

class Own(torch.nn.Module):
    def __init__(self, n_outputs):
        super().__init__()
        self.first = torch.nn.Linear(6, 16)
        self.second = torch.nn.Linear(16, n_outputs)

    def forward(self, x):
        return self.second(relu(self.first(x)))

clbench.run(OWN, strategies=STRATEGIES, dataset=arrays(), model=lambda shape, n: Own(n), jobs=2, out="out")
"""


def test_two_workers_of_a_script_without_a_main_guard_give_the_traces_of_one_process(tmp_path):
    """Model, class and data live in the script and in a module beside it, which the workers have to find."""
    import torch

    (tmp_path / "elsewhere").mkdir()
    source = inspect.getsource(own_arrays).replace("own_arrays", "arrays")
    (tmp_path / "beside.py").write_text(f"import numpy as np\n\n{source}\ndef relu(x):\n    return x.relu()\n")
    (tmp_path / "script.py").write_text(SCRIPT.replace("OWN", repr(OWN)).replace("STRATEGIES", repr(STRATEGIES)))
    environment = {**os.environ, "PYTHONPATH": str(Path(clbench.__file__).parents[1])}
    subprocess.run([sys.executable, tmp_path / "script.py"], check=True, cwd=tmp_path / "elsewhere", env=environment)

    def build(shape, n_outputs):
        return torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.ReLU(), torch.nn.Linear(16, n_outputs))

    in_process = clbench.run(OWN, strategies=STRATEGIES, dataset=own_arrays(), model=build)
    in_workers = {(r.label, r.seed): r for r in store.load_all(tmp_path / "elsewhere" / "out")}
    assert len(in_workers) == len(in_process) == 2 * len(STRATEGIES)
    assert_same_traces([in_workers[r.label, r.seed] for r in in_process], in_process)


# --------------------------------------------------------------------------------------------------- content hash


def keys(strategy, **arguments):
    return [cell.key for cell in plan("split-digits", strategies=[strategy], seeds=1, **arguments).cells]


def test_text_and_data_forms_of_a_strategy_are_one_cell():
    text = keys("er + ewc(strength=100)")
    assert text == keys({"er": None, "ewc": {"strength": 100}})
    assert text == keys({"strategy": ["er", {"ewc": {"strength": 100.0}}]})
    assert text == keys({"strategy": "er + ewc(strength=100)", "label": "named otherwise"})
    assert text != keys("ewc(strength=100) + er")


def test_spaces_and_written_out_defaults_do_not_change_a_cell():
    assert keys("er+ewc( strength = 1e2 )") == keys("  er +  ewc(strength=100)")
    assert keys("ewc") == keys("ewc(strength=100)")
    assert keys("er") == keys({"strategy": "er", "training": {"lr": 0.01}})
    assert keys("er") == keys("er", overrides=["training.lr=1e-2", "training.threads=1"])


def test_writings_of_a_benchmark_file_do_not_change_its_cells(tmp_path):
    loose = tmp_path / "loose.yaml"
    loose.write_text(
        """# the same benchmark, written otherwise
strategies:   [ 'er' ]
name:  split-digits
version: 2
seeds: [0]
evaluation: {rows_per_task: all,   every: 1}
memory:
  policy: reservoir
  size: 100
training:
  epochs: 10
  optimizer_state: reset
  optimizer: adam
  batch_size: 64
  lr: 1.0e-2
model: {hidden: [100, 100], name: mlp}
stream:
  dataset: {name: digits}
  experiences: 5
  scenario: split
  setting: class
"""
    )
    assert [cell.key for cell in plan(loose).cells] == keys("er")


def test_whatever_determines_a_run_is_in_its_hash():
    cells = plan("split-digits", strategies=["er"], seeds=2).cells
    changes = ["training.lr=0.06", "training.threads=2", "memory.size=99", "evaluation.every=2", "stream.experiences=2"]
    changes += ["model.hidden=[100]", "version=3", "stream.output=all", "stream.dataset.normalize=mean-std"]
    found = {cell.key for cell in cells} | {key for change in changes for key in keys("er", overrides=[change])}
    assert len(found) == len(cells) + len(changes)


def test_own_arrays_stand_in_place_of_a_benchmark_files_data_set(small_dataset):
    own = clbench.run(
        "split-digits", dataset=small_dataset, strategies="naive", seeds=1, overrides={"training.epochs": 1}
    )
    assert [record.status for record in own] == ["done"]
    assert own[0].cell["stream"]["dataset"] == {"name": "given:small", "checksum": small_dataset.checksum}


def own_stream(seed):
    """Split digits made by a program: two classes an experience, another order for every seed."""
    return clbench.stream("split", "digits", seed=seed, setting="class", experiences=5)


def test_a_stream_made_by_a_program_stands_in_place_of_a_benchmarks(tmp_path):
    usual = clbench.run("split-digits", strategies="er", seeds=2)
    own = clbench.run("split-digits", stream=own_stream, strategies="er", seeds=2, jobs=2, out=tmp_path)
    for theirs, ours in zip(usual, own, strict=True):
        assert ours.fingerprint == theirs.fingerprint == ours.cell["stream"]["fingerprint"]
        assert np.array_equal(ours.trace.score, theirs.trace.score, equal_nan=True)
        assert ours.key != theirs.key
    again = clbench.run("split-digits", stream=own_stream, strategies="er", seeds=2, out=tmp_path)
    assert [record.created for record in again] == [record.created for record in own]


def test_one_stream_serves_all_seeds_and_another_is_another_cell():
    runs = [clbench.run("split-digits", stream=own_stream(s), strategies="naive", seeds=[5]) for s in (0, 1)]
    assert runs[0][0].key != runs[1][0].key
    assert runs[0][0].fingerprint == own_stream(0).fingerprint


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"stream": lambda seed: "digits"}, "gave a str for seed 0; allowed is a clbench.Stream"),
        ({"stream": own_stream, "dataset": ([[0.0]], [0], [[0.0]], [0])}, "are both given"),
    ],
)
def test_a_stream_that_cannot_be_is_refused(given, sentence):
    with pytest.raises(clbench.Refused, match=sentence):
        clbench.run("split-digits", strategies="naive", seeds=1, **given)

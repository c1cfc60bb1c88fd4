"""Killed with signal 9 at any moment, or gone on with from a snapshot: the same scores as undisturbed."""

import io
import json
import subprocess
import sys

import numpy as np
import psutil
import pytest
import torch

import clbench
from clbench.core import store
from clbench.core.errors import Refused
from clbench.core.notices import Notice
from clbench.running import snapshots
from clbench.running.code_digest import code_of
from clbench.running.options import Options
from clbench.running.plan import plan
from clbench.running.prepare import prepare
from clbench.running.run_cell import run_cell
from clbench.running.snapshot_file import packed
from clbench.running.snapshots import Snapshots
from clbench.running.user_objects import UserObjects

MATRIX = {"strategies": "naive, er", "seeds": 2, "overrides": {"training.epochs": 1}}


@pytest.fixture(scope="module")
def undisturbed():
    """Key -> scores of a matrix that nobody interrupts."""
    return {record.key: record.trace.score for record in clbench.run("split-digits", **MATRIX)}


# --------------------------------------------------------------------------------------------------- kill -9

# Children of one interpreter that has imported everything; each runs the same matrix and is killed at its moment.
KILLED = """
import json, os, signal, sys, time
from pathlib import Path
import clbench, clbench.running.run_cell
import sklearn.datasets, torch._dynamo  # imported by the first data set and the first optimiser
moments = json.loads(sys.argv[1])

def die_at_write(number):
    fsync, count = os.fsync, 0
    def count_down(descriptor):
        nonlocal count
        fsync(descriptor)
        count += Path(os.readlink(f"/proc/self/fd/{descriptor}")).parent.name in ("traces", "records")
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)
    os.fsync = count_down

for out, kind, value in moments:
    out = Path(out)
    child = os.fork()
    if child == 0:
        if kind == "write":
            die_at_write(value)
        clbench.run("split-digits", out=out, **MATRIX)
        os._exit(0)
    if kind == "seconds":
        time.sleep(value)
        os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    half = sum(len(list((out / folder).glob(".*"))) for folder in ("traces", "records"))
    print(json.dumps([code, half, len(list(out.glob("traces/[!.]*"))), len(list(out.glob("records/[!.]*")))]))
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """Matrices killed at a number of writes or of seconds, some moments in a row: kind -> folder and states.

    A state is the exit code and the numbers of hidden files of traces and records, of traces and of records. Writes
    are those of traces and records: one of each for every cell that is to be run.
    """
    moments = {"write": [1, 2, 4, 3], "seconds": [0.01, 0.15, 0.3, 0.2, 0.4]}
    folders = {kind: tmp_path_factory.mktemp(kind) for kind in moments}
    listed = [(str(folders[kind]), kind, value) for kind, values in moments.items() for value in values]
    code = KILLED.replace("**MATRIX", f"**{MATRIX}")
    command = [sys.executable, "-c", code, json.dumps(listed)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    states = [json.loads(line) for line in lines]
    return {"write": (folders["write"], states[:4]), "seconds": (folders["seconds"], states[4:])}


def assert_whole(out, undisturbed):
    """The same call again ends with the undisturbed scores, in memory and on disk."""
    records = clbench.run("split-digits", out=out, **MATRIX)
    for found in (records, list(store.load_all(out))):
        assert {record.key for record in found} == set(undisturbed)
        for record in found:
            np.testing.assert_array_equal(record.trace.score, undisturbed[record.key])


def test_kill_9_while_a_file_is_written_leaves_nothing_half_written_and_loses_nothing(killed, undisturbed):
    out, states = killed["write"]
    assert states == [[-9, 1, 0, 0], [-9, 3, 0, 0], [-9, 4, 1, 1], [-9, 4, 2, 2]]  # a new record removes spare traces
    assert len(list(store.load_all(out))) == 2
    assert_whole(out, undisturbed)
    assert [path for folder in ("traces", "records") for path in (out / folder).glob(".*")] == []


def test_kill_9_after_any_time_loses_nothing(killed, undisturbed):
    out, states = killed["seconds"]
    assert states[0] == [-9, 0, 0, 0]
    kept = [records for _, _, _, records in states]
    assert kept == sorted(kept)
    for record in store.load_all(out) if kept[-1] else ():
        np.testing.assert_array_equal(record.trace.score, undisturbed[record.key])
    assert_whole(out, undisturbed)


def test_workers_of_a_killed_matrix_end_by_themselves():
    code = """
from clbench.running.executors import execute
from clbench.running.options import Options
from clbench.running.plan import plan
cells = plan("split-digits", strategies=["er"], seeds=60).cells
execute(cells, Options(), jobs=2, emit=lambda event: print("event", flush=True))
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as parent:
        for _ in range(3):  # two cells begin at once; the third event comes from a worker at work
            assert parent.stdout.readline() == b"event\n"
        workers = psutil.Process(parent.pid).children()
        assert len(workers) == 2
        parent.kill()
    gone, alive = psutil.wait_procs(workers, timeout=20)
    assert (len(gone), alive) == (2, [])


# --------------------------------------------------------------------------------------------------- snapshots


class Interrupted(Exception):
    pass


def cell_of(strategy, *settings):
    [cell] = plan("split-digits", strategies=[strategy], seeds=[3], overrides=["training.epochs=2", *settings]).cells
    return cell


def interrupt_at(step):
    def tick(done, fraction):
        if done == step:
            raise Interrupted

    return tick


def resumed(cell, step, given=None):
    """The run of a cell that was interrupted after a step, written to a file's bytes, and gone on with elsewhere."""
    first = prepare(cell, given=given)
    with pytest.raises(Interrupted):
        first.train(interrupt_at(step))
    file = io.BytesIO()
    torch.save(first.snapshot(), file)
    torch.manual_seed(0)
    second = prepare(cell, given=given)
    second.restore(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
    second.train()
    return second


def plain(value):
    """A snapshot's content for comparison: tensors as lists; seconds, the only floats in lists, left out."""
    if isinstance(value, torch.Tensor):
        return value.tolist()
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items() if "seconds" not in str(k) and k != "elapsed"}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value if not isinstance(v, float)]
    return value


def assert_same(run, other):
    """The same trace, and the same everything else that a further step would depend on."""
    one, two = run.evaluator.trace(), other.evaluator.trace()
    for name in ("step", "kind", "experience", "score", "rows", "present"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    first, second = plain(run.snapshot()), plain(other.snapshot())
    assert [name for name in first["learner"] if first["learner"][name] != second["learner"][name]] == []
    assert first == second


# Experiences take 18 steps, two passes of 9: the snapshot falls into the second one's first and second pass.
@pytest.mark.parametrize("step", [22, 31])
@pytest.mark.parametrize("strategy", ["naive", "er", "er + ewc(strength=1)", "agem", "er_ace", "l2", "cumulative"])
def test_run_goes_on_from_a_snapshot_bit_for_bit(strategy, step):
    cell = cell_of(strategy)
    whole = prepare(cell)
    whole.train()
    assert_same(resumed(cell, step), whole)


def test_snapshot_may_fall_on_any_step_around_a_boundary():
    cell = cell_of("er + ewc(strength=1)", "training.momentum=0.9")
    whole = prepare(cell)
    whole.train()
    ends = whole.evaluator.trace()
    boundary = int(ends.step[ends.kind == 2][0])
    last = int(ends.step[-1])
    for step in (1, boundary // 2, boundary - 1, boundary, boundary + 1, last - 1, last):
        assert_same(resumed(cell, step), whole)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_snapshot_holds_dropout_buffers_momentum_and_augmentation(optimizer):
    def build(shape, n_outputs):
        layers = [torch.nn.Linear(64, 32), torch.nn.BatchNorm1d(32), torch.nn.ReLU(), torch.nn.Dropout(0.3)]
        return torch.nn.Sequential(torch.nn.Flatten(), *layers, torch.nn.Linear(32, n_outputs))

    momentum = "training.momentum=0.9" if optimizer == "sgd" else "training.lr=0.01"
    settings = (f"training.optimizer={optimizer}", momentum, "training.augment=crop-flip", "memory.admit=end")
    cell, given = cell_of("er", *settings), UserObjects(model=build)
    whole = prepare(cell, given=given)
    whole.train()
    assert_same(resumed(cell, 31, given), whole)


def test_run_that_is_rolled_back_learns_the_same_again():
    cell = cell_of("er + ewc(strength=1)", "training.momentum=0.9")
    run, whole = prepare(cell), prepare(cell)
    with pytest.raises(Interrupted):
        run.train(interrupt_at(31))
    snapshot = run.snapshot()
    run.train()
    run.restore(snapshot)
    run.train()
    whole.train()
    assert_same(run, whole)


def test_snapshot_of_another_cell_is_refused():
    run, other = prepare(cell_of("er")), prepare(cell_of("naive"))
    with pytest.raises(Refused, match=f"belongs to cell {run.cell.key}, not to {other.cell.key}"):
        other.restore(run.snapshot())


def test_long_run_keeps_a_snapshot_that_a_new_process_goes_on_from_and_removes(tmp_path):
    cell, path = cell_of("er"), tmp_path / "partial" / "KEY.pt"
    whole = prepare(cell)
    whole.train()

    with pytest.raises(Interrupted):
        Snapshots(prepare(cell), path, seconds=0).train(interrupt_at(40))
    assert path.exists()
    second, steps = prepare(cell), []
    Snapshots(second, path).train(lambda step, fraction: steps.append(step))

    assert steps[0] == 41
    assert_same(second, whole)
    assert not path.exists()


def test_snapshot_shares_no_memory_with_the_run():
    run = prepare(cell_of("er + ewc(strength=1)", "training.momentum=0.9"))
    with pytest.raises(Interrupted):
        run.train(interrupt_at(22))
    file, again = io.BytesIO(), io.BytesIO()
    snapshot = run.snapshot()
    torch.save(snapshot, file)
    with pytest.raises(Interrupted):
        run.train(interrupt_at(30))
    torch.save(snapshot, again)
    assert file.getvalue() == again.getvalue()


# --------------------------------------------------------------------------------------------------- unfit snapshots


def saved_at(step, cell, path):
    with pytest.raises(Interrupted):
        Snapshots(prepare(cell), path, seconds=0, code=code_of(cell.config)).train(interrupt_at(step))
    return path.read_bytes()


def changed(content, change):
    """A file's content with its snapshot changed, and a right checksum."""
    snapshot = torch.load(io.BytesIO(content.partition(b"\n")[2]), weights_only=True)
    change(snapshot)
    return packed(snapshot, code=json.loads(content.partition(b"\n")[0])["code"])


UNFIT = {
    "empty": lambda content: b"",
    "garbage": lambda content: b"no snapshot at all",
    "cut off": lambda content: content[:-100],
    "a flipped byte": lambda content: content[:5000] + bytes([content[5000] ^ 1]) + content[5001:],
    "of another clbench": lambda content: content.replace(b'"clbench": "', b'"clbench": "9', 1),
    "of an earlier one, without a head": lambda content: content.partition(b"\n")[2],
    "no dictionary": lambda content: packed([1, 2], code=json.loads(content.partition(b"\n")[0])["code"]),
    "a field missing": lambda content: changed(content, lambda s: s["chain"].pop("watches")),
    "a field more": lambda content: changed(content, lambda s: s["learner"].update(more=1)),
    "a buffer more": lambda content: changed(content, lambda s: s["learner"]["buffers"].append(torch.zeros(3))),
    "weights that broadcast": lambda content: changed(content, lambda s: s["learner"].update(w=torch.zeros(1))),
    "a negative step": lambda content: changed(content, lambda s: s["cursor"].update(step=-3)),
    "past the end": lambda content: changed(content, lambda s: s["cursor"].update(experience=5)),
    "another cell's": lambda content: changed(content, lambda s: s.update(key="0123456789abcdef")),
    "past the end of a pass": lambda content: changed(content, lambda s: s["cursor"].update(start=10_000)),
    "before its last evaluation": lambda content: changed(content, lambda s: s["cursor"].update(step=3)),
    "of other code": lambda content: content.replace(b'"engine": "', b'"engine": "0', 1),
    "memory of another size": lambda content: changed(
        content, lambda s: s["learner"]["memory"].update(index=torch.zeros(5, 3))
    ),
}


@pytest.mark.parametrize("damage", UNFIT)
def test_a_snapshot_that_does_not_fit_is_set_aside_by_name_and_the_cell_begins_anew(tmp_path, damage):
    cell = cell_of("er")
    path = tmp_path / "partial" / f"{cell.key}.pt"
    whole = run_cell(cell)
    content = UNFIT[damage](saved_at(40, cell, path))
    path.write_bytes(content)
    steps = []
    with pytest.warns(
        Notice, match=rf"er, seed \d: the snapshot {path} .* was moved to .*damaged/partial/{cell.key}\.pt; the cell"
    ):
        record = run_cell(cell, Options(partial=path.parent), tick=lambda step, _: steps.append(step))
    assert (record.status, steps[0]) == ("done", 1)
    np.testing.assert_array_equal(record.trace.score, whole.trace.score)
    assert (tmp_path / "damaged" / "partial" / path.name).read_bytes() == content
    assert not path.exists()


def test_a_snapshot_that_cannot_be_written_is_told_once_and_the_run_goes_on(tmp_path):
    (tmp_path / "partial").write_text("in the way")
    run, whole = prepare(cell_of("er")), prepare(cell_of("er"))
    with pytest.warns(Notice, match=r"no snapshot can be written to .*KEY\.pt \(FileExists.*the run continues") as told:
        Snapshots(run, tmp_path / "partial" / "KEY.pt", seconds=0).train()
    whole.train()
    assert len(told) == 1
    assert_same(run, whole)


def test_a_run_that_is_asked_to_stop_is_saved_first(tmp_path, monkeypatch):
    cell, path = cell_of("er"), tmp_path / "KEY.pt"
    whole, rest = prepare(cell), prepare(cell)

    def stop(step, _):
        if step == 33:
            raise snapshots.Interrupted

    with pytest.raises(snapshots.Interrupted):
        Snapshots(prepare(cell), path).train(stop)
    steps = []
    Snapshots(rest, path).train(lambda step, _: steps.append(step))
    whole.train()
    assert steps[0] == 34
    assert_same(rest, whole)


@pytest.mark.parametrize("strategy", ["sklearn:SGDClassifier(loss=log_loss)", "sklearn:GaussianNB"])
def test_what_a_guest_keeps_is_counted_alike_after_an_interruption(tmp_path, strategy):
    cell = cell_of(strategy)
    whole = run_cell(cell)
    saved_at(20, cell, tmp_path / f"{cell.key}.pt")
    assert run_cell(cell, Options(partial=tmp_path)).cost["state_bytes"] == whole.cost["state_bytes"] > 0


FULL = """
import resource, signal, warnings
from pathlib import Path
from clbench.core.notices import Notice
from clbench.running.options import Options
from clbench.running import snapshots
from clbench.running.plan import plan
from clbench.running.run_cell import run_cell
snapshots.END_SECONDS = 0.0
snapshots.SHARE = 1e9
[cell] = plan("split-digits", strategies=["er"], seeds=[3], overrides=["training.epochs=2"]).cells
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always", Notice)
    record = run_cell(cell, Options(partial=Path("out/partial"), attempts=Path("out/attempts")))
sentences = [str(each.message) for each in told if issubclass(each.category, Notice)]
print(record.status, record.trace_digest, len(sentences), sentences[0], sep="|")
"""


def test_a_full_disk_costs_the_snapshots_and_one_sentence_but_not_the_cell(tmp_path):
    done = subprocess.run([sys.executable, "-c", FULL], capture_output=True, text=True, check=True, cwd=tmp_path)
    status, digest, count, sentence = done.stdout.strip().split("|")
    assert (status, digest, count) == ("done", run_cell(cell_of("er")).trace_digest, "1")
    assert sentence.startswith("no snapshot can be written to out/partial/")
    assert "the run continues" in sentence
    assert list((tmp_path / "out" / "partial").iterdir()) == []

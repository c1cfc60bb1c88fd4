"""Ray: cells as tasks on a cluster whose nodes may be lost, with the traces of worker processes."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from command_line import call

import clbench
from clbench.core.errors import Refused
from clbench.core.trace_equality import trace_digest
from clbench.running.attempts import attempts_text
from clbench.running.executors import Notified, Started, execute, ray_cluster
from clbench.running.executors.executor_names import split_name
from clbench.running.executors.ray_executor import Flight
from clbench.running.executors.ray_node import Arrived, Departure, local, mark_path, run_on_node
from clbench.running.options import Options
from clbench.strategies import STRATEGIES

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
FAST = {"training.epochs": 1, "evaluation.every": 0}
FAST_OPTIONS = [word for name, value in FAST.items() for word in ("--set", f"{name}={value}")]
NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}
SOON = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 3}

WAITING = '''
import os, time
from dataclasses import dataclass
from pathlib import Path
import clbench

@dataclass(kw_only=True)
class Waiting(clbench.Part):
    """At its fifth step it waits until it may go on."""
    folder: str

    def after_step(self, learner, batch):
        self.state["steps"] = self.state.get("steps", 0) + 1
        if self.state["steps"] == 5:
            (Path(self.folder) / f"arrived{os.getpid()}").touch()
            until = time.monotonic() + 100
            while not (Path(self.folder) / "go").exists() and time.monotonic() < until:
                time.sleep(0.05)
'''


@pytest.fixture(scope="module")
def cluster() -> Iterator:
    """A head with one core; more nodes join it in tests."""
    folder = tempfile.mkdtemp(prefix="clb-", dir="/tmp")  # names of sockets must be short
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(), ray_cluster.own_signals():
        warnings.simplefilter("ignore")
        patch.setenv("RAY_TMPDIR", folder)
        patch.setenv("TMPDIR", folder)
        patch.setenv("RAY_worker_niceness", "0")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", ray_cluster.TOKEN)
        from ray.cluster_utils import Cluster

        patch.setattr(ray_cluster, "SILENT_SECONDS", 15.0)
        made = Cluster(initialize_head=True, head_node_args={**NODE, "_system_config": SOON})
        try:
            yield made
        finally:
            made.shutdown()
            shutil.rmtree(folder, ignore_errors=True)


def soon(condition, seconds=100.0) -> bool:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def test_a_node_that_is_lost_in_the_middle_costs_no_cell_and_changes_no_trace(cluster, tmp_path, capfd):
    (tmp_path / "waiting.py").write_text(WAITING, encoding="utf-8")
    signs, out, events = tmp_path / "signs", tmp_path / "out", []
    signs.mkdir()
    asked = {
        "strategies": f"{tmp_path}/waiting.py:Waiting(folder='{signs}')", "seeds": 2, "overrides": FAST,
        "save_predictions": True,
    }  # fmt: skip
    second = cluster.add_node(**NODE)

    def lose():
        both = soon(lambda: len(list(signs.glob("arrived*"))) == 2)
        cluster.remove_node(second, allow_graceful=False)
        (signs / "go").touch()
        signs.joinpath("both").touch() if both else None

    capfd.readouterr()
    thread = threading.Thread(target=lose)
    thread.start()
    records = clbench.run(
        "split-digits", executor=f"ray:{cluster.address}", jobs="auto", out=out, watch=events.append, **asked
    )
    thread.join()
    assert (signs / "both").exists()  # so a cell was running on the node that was lost
    assert [record.status for record in records] == ["done"] * 2
    assert capfd.readouterr().out == ""
    said = [event.sentence for event in events if isinstance(event, Notified)]
    assert len(said) == 1
    assert "its node was lost; the cell runs again on " in said[0]
    assert len(list(signs.glob("arrived*"))) == 3
    assert len([event for event in events if isinstance(event, Started)]) == 2

    assert sorted(len(record.attempts) for record in records) == [1, 2]
    usual = clbench.run("split-digits", executor="in-process", out=tmp_path / "usual", **asked)
    assert [trace_digest(record.trace) for record in records] == [trace_digest(record.trace) for record in usual]
    for record in usual:
        name = f"predictions/{record.key}.parquet"
        assert (out / name).read_bytes() == (tmp_path / "usual" / name).read_bytes()


class Small(clbench.Part):
    """A part of this program, which no node can import."""


def test_data_and_strategies_of_the_program_reach_the_nodes_and_events_come_back(cluster, small_dataset, monkeypatch):
    monkeypatch.setattr(STRATEGIES, "_added", {})
    STRATEGIES.add("small_part", Small)
    monkeypatch.setattr("clbench.running.executors.ray_node.LETTER_SECONDS", 0.0)
    events: list = []
    asked = {"strategies": "small_part", "seeds": 1, "overrides": {**FAST, "training.epochs": 3}}
    arrays = (small_dataset.train.x, small_dataset.train.y, small_dataset.test.x, small_dataset.test.y)
    [record] = clbench.run(
        "split-digits", dataset=arrays, executor=f"ray:{cluster.address}", watch=events.append, **asked
    )
    [usual] = clbench.run("split-digits", dataset=arrays, **asked)
    assert record.key == usual.key
    assert trace_digest(record.trace) == trace_digest(usual.trace)
    assert np.asarray(record.trace.score).flags.writeable == np.asarray(usual.trace.score).flags.writeable
    kinds = [type(event) for event in events]
    assert kinds[0] is Started
    assert kinds[-1] is clbench.Record


def test_ray_without_an_address_ends_after_an_interruption_with_its_cells_and_files(tmp_path):
    (tmp_path / "waiting.py").write_text(WAITING, encoding="utf-8")
    signs, files, cells = tmp_path / "signs", [], []
    signs.mkdir()
    before = set(Path("/tmp").glob("clbench-ray-*"))

    def interrupt():
        soon(lambda: list(signs.glob("arrived*")))
        cells.extend(psutil.Process(int(path.name.removeprefix("arrived"))) for path in signs.glob("arrived*"))
        files.extend(set(Path("/tmp").glob("clbench-ray-*")) - before)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        clbench.run(
            "split-digits", strategies=f"{tmp_path}/waiting.py:Waiting(folder='{signs}')", seeds=2, overrides=FAST,
            executor="ray", out=tmp_path / "out",
        )  # fmt: skip
    thread.join()
    assert len(cells) == 1  # as many as jobs
    assert soon(lambda: not cells[0].is_running() or cells[0].status() == psutil.STATUS_ZOMBIE, 15)
    assert list((tmp_path / "out" / "records").glob("*.json")) == []
    assert len(files) == 1
    assert not files[0].exists()


# ------------------------------------------------------------------------------------------- without a cluster


@pytest.fixture
def silent() -> Iterator[str]:
    """Address of a server that accepts connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_a_cluster_that_is_silent_or_missing_is_refused_after_a_while(silent, monkeypatch):
    monkeypatch.setattr(ray_cluster, "SILENT_SECONDS", 0.2)
    with pytest.raises(Refused, match=rf"no Ray cluster answers at {silent} within 0.2 seconds; start one with ray"):
        clbench.run("split-digits", strategies="naive", seeds=1, overrides=FAST, executor=f"ray:{silent}")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        closed = f"127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(Refused, match=f"no Ray cluster answers at {closed}"):
            clbench.run("split-digits", strategies="naive", seeds=1, overrides=FAST, executor=f"ray:{closed}")
    assert ray_cluster.SILENT_SECONDS == 0.2


def test_a_server_answers_if_it_sends_the_settings_of_http_2(silent):
    def serve(server, answer):
        with server.accept()[0] as connection:
            connection.recv(100)
            connection.sendall(answer)

    for answer, expected in ((bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]), True), (b"HTTP/1.1 400 Bad Request", False)):
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))
            server.listen()
            thread = threading.Thread(target=serve, args=(server, answer))
            thread.start()
            assert ray_cluster.answers(f"127.0.0.1:{server.getsockname()[1]}", 5.0) is expected
            thread.join()
    assert not ray_cluster.answers(silent, 0.1)


def test_ray_that_is_not_installed_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr(ray_cluster, "find_spec", lambda name: None)
    answer = call("run", "split-digits", "--strategies", "naive", "--executor", "ray")
    assert answer.code == 2
    assert answer.err == (
        "clbench: the executor ray needs the package ray, which is not installed: pip install 'clbench[ray]'\n"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"executor": "rai"}, "there is no executor called 'rai'; did you mean 'ray'"),
        ({"executor": "rya:10.0.0.1:6379"}, "there is no executor called 'rya'; did you mean 'ray'"),
        ({"executor": "ray:"}, "nothing follows the colon in the executor 'ray:'"),
        ({"executor": "ray:somewhere"}, "'somewhere' is no address of a Ray cluster; write ray:HOST:PORT"),
        ({"executor": "local:2"}, "the executor 'local' takes nothing after its name; write local in place of"),
        ({"executor": "ray", "gpus_per_cell": 0.2}, "gpus_per_cell = 0.2 needs a GPU as device; add --device cuda"),
        ({"executor": "ray", "device": "cuda", "gpus_per_cell": 1.5}, "gpus_per_cell = 1.5 is not possible"),
        ({"executor": "ray", "device": "cuda", "gpus_per_cell": 0}, "gpus_per_cell = 0 is not possible"),
        ({"executor": "ray", "device": "cuda:1"}, "device 'cuda:1' cannot be chosen with Ray, which assigns GPUs"),
        ({"executor": "local", "gpus_per_cell": 0.2}, "the executor local does not divide GPUs among cells"),
        ({"gpus_per_cell": 0.2}, "does not divide GPUs among cells; leave gpus_per_cell out, or use the executor ray"),
    ],
)
def test_an_executor_that_cannot_do_what_is_asked_is_refused_before_anything_runs(options, message):
    with pytest.raises(Refused, match=message):
        clbench.run("split-digits", strategies="naive", seeds=1, overrides=FAST, **options)


def test_a_node_has_room_for_as_many_cells_as_its_cores_and_gpus_allow():
    node = {"CPU": 4.0, "GPU": 1.0}
    given = [(1, 0.0), (2, 0.0), (3, 0.0), (1, 0.2), (1, 0.25), (1, 0.5), (2, 0.5), (1, 1.0), (1, 2.0), (8, 0.0)]
    room = [4, 2, 1, 4, 4, 2, 2, 1, 0, 0]
    assert [ray_cluster.room_on(node, cores, gpus) for cores, gpus in given] == room
    assert ray_cluster.room_on({"CPU": 16.0, "GPU": 0.3}, 1, 0.1) == 3  # 0.3 / 0.1 is below 3 in floating point
    assert ray_cluster.room_on({"memory": 1.0}, 1, 0.0) == 0


def test_an_executor_is_given_the_text_after_its_name():
    assert split_name("ray:10.0.0.1:6379") == ("ray", "10.0.0.1:6379")
    assert split_name("ray") == ("ray", "")
    assert split_name("mine.py:hand_out") == ("mine.py:hand_out", "")
    assert split_name("folder/mine.py:hand_out:queue 3") == ("folder/mine.py:hand_out", "queue 3")


def test_an_executor_of_a_file_receives_its_argument(tmp_path):
    source = "def hand_out(queue, options, jobs, emit, *, argument=''):\n    emit(('given', argument))\n"
    (tmp_path / "mine.py").write_text(source, encoding="utf-8")
    heard: list = []
    for written, given in ((f"{tmp_path}/mine.py:hand_out:queue 3", "queue 3"), (f"{tmp_path}/mine.py:hand_out", "")):
        heard.clear()
        execute([], Options(executor=written), jobs=1, emit=heard.append)
        assert heard == [("given", given)]


def test_a_node_keeps_checkpoints_only_where_it_reaches_the_results_of_the_driver(tmp_path):
    options = Options(partial=tmp_path / "out" / "partial")
    mark_path(tmp_path / "out").parent.mkdir(parents=True)
    mark_path(tmp_path / "out").write_text("abc", encoding="ascii")

    def of(mark, results=tmp_path / "out"):
        return local(options, Departure("", "", (), results=results, mark=mark)).partial

    assert of("abc") == options.partial
    assert of("abd") is None  # a folder of the same name on another machine
    assert of("abc", tmp_path / "elsewhere") is None
    assert of("abc", None) is None


def test_attempts_on_lost_nodes_are_told_by_the_driver_where_nodes_cannot_write_them():
    flight = Flight(None)
    assert not flight.arrive(Arrived("a", writes=False))
    assert flight.arrive(Arrived("b", writes=True))
    assert flight.arrive(Arrived("c", writes=False))  # the attempt on b is in its file
    assert [attempt["ended"] for attempt in flight.lost] == ["died: its node was lost"]
    assert attempts_text((*flight.lost, {})).startswith("2 attempts, ")


def test_a_node_with_another_version_fails_its_cell_with_a_sentence():
    with pytest.raises(Refused, match=r"has clbench .*, and the command has clbench 0.0; install the same version"):
        run_on_node(b"", None, Departure("0.0", ".", ()), None)

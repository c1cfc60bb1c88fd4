"""Connections to Ray: a Ray of this machine that ends with its matrix, or a cluster that is joined."""

from __future__ import annotations

import atexit
import logging
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from time import monotonic
from typing import Any

from clbench.core.errors import Refused

SILENT_SECONDS = 30.0
"""Seconds after which a cluster that does not answer is given up."""
PROBE_SECONDS = 5.0
"""Seconds between two checks whether the cluster answers."""
STARTS = 2
"""Attempts to start a Ray of this machine; a busy machine may be too slow for the first."""
SETTINGS: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": False}
"""Settings of every connection to Ray."""
STORE_BYTES = 200 * 2**20
"""Size of the object store of a Ray of this machine, in addition to what the program hands over."""
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""First message of an HTTP/2 client with empty settings; a server of gRPC answers with its settings."""
SETTINGS_FRAME = 4
"""Type of the HTTP/2 frame with settings."""
TOKEN = secrets.token_hex(32)
"""The secret of a Ray of this machine: one for each process, because Ray remembers it."""


def check_installed() -> None:
    """Refuse to go on if Ray is not installed.

    Raises:
        Refused: The package is missing.
    """
    if find_spec("ray") is None:
        raise Refused("the executor ray needs the package ray, which is not installed: pip install 'clbench[ray]'")


def check_address(address: str) -> None:
    """Refuse a text that is no address of a cluster.

    Raises:
        Refused: It is neither ``HOST:PORT`` nor ``auto``.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if address not in ("", "auto") and not (host and port.isdigit()):
        raise Refused(f"{address!r} is no address of a Ray cluster; write ray:HOST:PORT, such as ray:10.0.0.1:6379")


def answers(address: str, seconds: float) -> bool:
    """Return whether a server of gRPC, such as the head of a Ray cluster, answers within a time.

    Args:
        address: ``HOST:PORT``.
        seconds: The time, at least 0.
    """
    host, _, port = address.rpartition(":")
    until = monotonic() + seconds
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=max(seconds, 0.01)) as connection:
            connection.sendall(PREFACE)
            head = b""
            while len(head) < 9:  # the length of a frame's head
                connection.settimeout(max(until - monotonic(), 0.01))
                more = connection.recv(9 - len(head))
                if not more:
                    return False
                head += more
            return head[3] == SETTINGS_FRAME
    except (OSError, ValueError):
        return False


def wait_for(address: str) -> None:
    """Wait until a cluster answers.

    Raises:
        Refused: The cluster is silent.
    """
    until = monotonic() + SILENT_SECONDS
    while not answers(address, max(until - monotonic(), 0.0)):
        if monotonic() >= until:
            raise Refused(
                f"no Ray cluster answers at {address} within {SILENT_SECONDS:g} seconds; start one with ray start "
                f"--head --port={address.rpartition(':')[2]}, or use --executor ray for a Ray of this machine"
            )
        threading.Event().wait(min(0.5, max(until - monotonic(), 0.0)))


class Cluster:
    """Hold a connection to Ray.

    Args:
        ray: The module.
        address: ``HOST:PORT`` of its head.
        temporary: The folder of a Ray that ends with the matrix; ``None`` for a cluster that stays.
        joined: Whether this connection was made here, and is to be closed.
    """

    def __init__(self, ray: Any, address: str, *, temporary: Path | None, joined: bool) -> None:
        self.ray, self.address, self._temporary, self._joined = ray, address, temporary, joined
        self._heard = self._probed = monotonic()
        self.silent = False
        if joined:
            _print_messages(ray, False)

    @property
    def of_this_machine(self) -> bool:
        """Return whether this is a Ray of this machine, which ends with the matrix."""
        return self._temporary is not None

    def room(self, cores: float, gpus: float) -> int:
        """Return the number of cells that the nodes can run at a time."""
        return sum(room_on(node["Resources"], cores, gpus) for node in self.ray.nodes() if node["Alive"])

    def still_answers(self) -> None:
        """Check from time to time that the head of the cluster answers.

        Raises:
            Refused: It has been silent for too long.
        """
        now = monotonic()
        if now - self._probed < min(PROBE_SECONDS, SILENT_SECONDS / 4):
            return
        if answers(self.address, 2.0):
            self._heard = monotonic()
        elif now - self._heard >= SILENT_SECONDS:
            self.silent = True
            raise Refused(
                f"the Ray cluster at {self.address} has not answered for {SILENT_SECONDS:g} seconds; finished cells "
                "are safe, run the same command again when it is back"
            )
        self._probed = monotonic()

    def close(self) -> None:
        """Leave the cluster, or end the Ray of this machine with its files."""
        if self._joined:
            with own_signals(), quiet():
                _leave(self.ray, silent=self.silent)
            _print_messages(self.ray, True)
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)


def _leave(ray: Any, *, silent: bool) -> None:
    """Close the connection to a cluster. That to a silent one stays open, because Ray would wait for minutes."""
    if not silent:
        ray.shutdown()
        return
    with suppress(Exception):
        atexit.unregister(ray._private.worker.shutdown)
    atexit.register(_end_at_once)


def _end_at_once() -> None:
    """End the program, whose threads of Ray still wait for a silent cluster; it has failed."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(2)


def _print_messages(ray: Any, printed: bool) -> None:
    """Choose whether Ray prints what its processes report; it would be among the lines of the command."""
    worker: Any = getattr(getattr(ray, "_private", None), "worker", None)
    if hasattr(worker, "_worker_logs_enabled"):
        worker._worker_logs_enabled = printed


def room_on(resources: dict[str, float], cores: float, gpus: float) -> int:
    """Return the number of cells that fit on a node with these resources."""
    fits = int(resources.get("CPU", 0.0) / cores + 1e-9)
    return min(fits, int(resources.get("GPU", 0.0) / gpus + 1e-9)) if gpus else fits


def connect(address: str, *, cores: int, held: int) -> Cluster:
    """Join a cluster, or start a Ray of this machine.

    If the program is connected to a Ray already, this one is used and stays.

    Args:
        address: ``HOST:PORT``, ``auto`` for the cluster that runs on this machine; empty for a Ray of its own.
        cores: The number of cores that a Ray of this machine offers.
        held: The number of bytes that the program hands over to all cells.

    Raises:
        Refused: The cluster does not answer, or cannot be joined.
    """
    check_installed()
    server = address.removeprefix("ray://")
    if address not in ("", "auto"):
        wait_for(server)
    with own_signals(), quiet(), own_environment(new=not address):
        import ray

        if ray.is_initialized():
            return _connected(ray, server)
        if not address:
            return _started(ray, cores, held)
        if server.rpartition(":")[0] in ("localhost", "127.0.0.1"):  # Ray replaces it with the address of the machine
            own: Any = ray.util.get_node_ip_address
            wait_for(f"{own()}:{server.rpartition(':')[2]}")
        try:
            ray.init(address=address, **SETTINGS)
        except Exception as error:
            raise Refused(_why(error, address)) from error
        return Cluster(ray, _head(ray, server), temporary=None, joined=True)


def _started(ray: Any, cores: int, held: int) -> Cluster:
    for attempt in range(STARTS):
        temporary = Path(tempfile.mkdtemp(prefix="clbench-ray-", dir=_short_folder()))
        try:
            ray.init(
                address="local", num_cpus=cores, object_store_memory=STORE_BYTES + 2 * held, include_dashboard=False,
                _temp_dir=str(temporary), _node_ip_address="127.0.0.1", **SETTINGS,
            )  # fmt: skip
            return Cluster(ray, _head(ray, ""), temporary=temporary, joined=True)
        except BaseException as error:
            with suppress(Exception):
                ray.shutdown()
            shutil.rmtree(temporary, ignore_errors=True)
            if not isinstance(error, Exception):
                raise
            if attempt == STARTS - 1:
                raise Refused(_why(error, "")) from error
    raise AssertionError("at least one attempt")


def _connected(ray: Any, server: str) -> Cluster:
    present = _head(ray, server)
    if server not in ("", "auto", present):
        raise Refused(f"this program is connected to the Ray at {present} already; call ray.shutdown() before it "
                      f"joins {server}, or use the executor ray")  # fmt: skip
    return Cluster(ray, present, temporary=None, joined=False)


def _head(ray: Any, server: str) -> str:
    try:
        return str(ray.get_runtime_context().gcs_address)
    except Exception:  # a client of Ray, which knows only the server
        return server


def _why(error: Exception, address: str) -> str:
    said = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    if not address:
        return f"no Ray can be started on this machine: {said}"
    if address == "auto":
        return f"no Ray runs on this machine: {said}; start it with ray start, or use --executor ray"
    return (
        f"the Ray cluster at {address} cannot be joined: {said}; the command must run on a machine of the cluster "
        f"(ray start --address={address}), with the same versions of Python and Ray"
    )


def _short_folder() -> str | None:
    """Return the folder for files of Ray; names of sockets within it are limited to about 100 characters."""
    return None if len(tempfile.gettempdir()) <= 20 or not Path("/tmp").is_dir() else "/tmp"


@contextmanager
def own_signals() -> Iterator[None]:
    """Keep the handlers of signals, which Ray replaces."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in held.items():
            if handler is not None:
                signal.signal(number, handler)


@contextmanager
def own_environment(*, new: bool) -> Iterator[None]:
    """Set the environment of Ray while it starts: no usage statistics, and a secret token for a new Ray.

    With the token, other users of this machine cannot use this Ray, and Ray writes no token of its own into the home
    folder. Cells of a new Ray run with the usual priority.
    """
    settings = {"RAY_USAGE_STATS_ENABLED": "0"}
    if new:
        settings["RAY_worker_niceness"] = "0"  # as worker processes without Ray
    if new and "RAY_AUTH_MODE" not in os.environ:
        settings |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
    added = {name: value for name, value in settings.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


@contextmanager
def quiet() -> Iterator[None]:
    """Hide what Ray says while it starts and ends: about its own future, and hints for administrators."""
    logger = logging.getLogger("ray")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)

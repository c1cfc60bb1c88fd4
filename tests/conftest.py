"""What tests share: the folder of real data, a small made-up data set, one cache for the whole session."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from clbench.core.types import Dataset
from clbench.data import from_arrays

# No test asserts a time: the first example of a file may import scipy on a busy machine.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# Shells let background jobs ignore Ctrl-C, and their children inherit this; tests of signals need Python's handler.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _quiet_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One thread, no network, and a cache of decoded data that all processes of the session share."""
    import torch

    torch.set_num_threads(1)
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLBENCH_CACHE", str(shared / "clbench-cache"))
        patch.setenv("CLBENCH_OFFLINE", "1")
        patch.setenv("CLBENCH_IN_PROCESS", "1")  # a worker starts with seconds of imports; its own tests take it away
        patch.delenv("CLBENCH_DATA", raising=False)
        yield


@pytest.fixture(autouse=True)
def _width_of_pipes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Output as wide as where it goes into a pipe, whatever the terminal that started the tests."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with ``mnist/`` and ``cifar10/``; where it is missing, a failure on CI and a skip elsewhere."""
    folder = Path(os.environ.get("CLBENCH_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        message = f"no real data in {folder}; set CLBENCH_TEST_DATA to a folder with mnist/ and cifar10/"
        pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)
    return folder


@pytest.fixture(scope="session")
def _miniature_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import miniature_data

    return miniature_data.write(tmp_path_factory.mktemp("miniatures"))


@pytest.fixture
def miniatures(_miniature_files: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Miniatures of the data and weights that benchmark files for users with data name; returns the data folder."""
    import miniature_data

    miniature_data.install(monkeypatch, _miniature_files)
    return _miniature_files


@pytest.fixture(scope="session")
def small_dataset() -> Dataset:
    """200 training and 100 test images (1, 8, 8) uint8 of 10 classes that a linear model can tell apart."""
    rng = np.random.default_rng(0)
    y_train, y_test = np.arange(200) % 10, np.arange(100) % 10
    patterns = rng.integers(0, 256, (10, 8, 8))

    def images(y: np.ndarray) -> np.ndarray:
        noisy = patterns[y] + rng.normal(0, 40, (len(y), 8, 8))
        return noisy.clip(0, 255).astype(np.uint8)

    return from_arrays("small", images(y_train), y_train, images(y_test), y_test)

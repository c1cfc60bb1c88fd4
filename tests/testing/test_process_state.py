"""What surrounds a run is afterwards as it was before, whatever was done to it."""

import os
import random

import numpy as np
import pytest
import torch

from clbench.testing.process_state import PROCESS_STATE, as_found, read_process_state


def changes(tmp_path):
    return {
        "the working directory": lambda: os.chdir(tmp_path),
        "the environment variables": lambda: os.environ.update(CLBENCH_TEST_OF_STATE="1"),
        "torch's number of threads": lambda: torch.set_num_threads(3),
        "torch's default type": lambda: torch.set_default_dtype(torch.float64),
        "whether torch records gradients": lambda: torch.set_grad_enabled(False),
        "torch's deterministic algorithms": lambda: torch.use_deterministic_algorithms(True),
        "numpy's handling of errors": lambda: np.seterr(over="ignore", invalid="ignore"),
    }


def test_every_kind_of_state_is_tried_here(tmp_path):
    assert set(changes(tmp_path)) == set(PROCESS_STATE)


@pytest.mark.parametrize("name", PROCESS_STATE)
def test_a_change_is_read_and_undone(name, tmp_path):
    before = read_process_state()
    with as_found():
        within = read_process_state()
        changes(tmp_path)[name]()
        changed = read_process_state()
        assert changed[name] != within[name]
    assert read_process_state() == before


def test_what_a_part_deletes_from_the_environment_is_there_again(monkeypatch):
    monkeypatch.setenv("CLBENCH_TEST_OF_STATE", "before")
    with as_found():
        del os.environ["CLBENCH_TEST_OF_STATE"]
    assert os.environ["CLBENCH_TEST_OF_STATE"] == "before"


def test_inside_there_is_one_thread():
    with as_found():
        assert torch.get_num_threads() == 1


def test_global_generators_go_on_as_if_nothing_had_been_drawn():
    random.seed(1), np.random.seed(1), torch.manual_seed(1)  # noqa: NPY002
    expected = random.random(), np.random.random(), torch.rand(1).item()  # noqa: NPY002
    random.seed(1), np.random.seed(1), torch.manual_seed(1)  # noqa: NPY002
    with as_found():
        random.random(), np.random.random(), torch.rand(5)  # noqa: NPY002
    assert (random.random(), np.random.random(), torch.rand(1).item()) == expected  # noqa: NPY002


def test_everything_is_undone_when_the_block_raises(tmp_path):
    before = read_process_state()

    def everything():
        for change in changes(tmp_path).values():
            change()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), as_found():
        everything()
    assert read_process_state() == before

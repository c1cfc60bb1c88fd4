"""The guard for global randomness: what it restores, and that no other module keeps such states by itself."""

from __future__ import annotations

import random
import re
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch

import clbench
from clbench.core.global_rng import comparable_states, preserved, seed_globals
from clbench.core.torch_threads import torch_threads

DRAWS = {
    "random": random.random,
    "numpy": lambda: float(np.random.standard_normal()),  # noqa: NPY002 it leaves a second number behind, unused
    "torch": lambda: torch.rand(1).item(),
}


def draw():
    return [each() for each in DRAWS.values()]


def test_what_is_drawn_in_the_block_is_drawn_again_behind_it():
    seed_globals(3, "guard")
    draw()  # now NumPy holds the second of a pair of normal numbers
    with preserved():
        inside = draw()
    assert draw() == inside


def test_seeding_in_the_block_is_undone_when_the_block_raises():
    seed_globals(3, "guard")
    before = comparable_states()
    with suppress(KeyError), preserved():
        seed_globals(4, "another")
        draw()
        raise KeyError
    assert comparable_states() == before


@pytest.mark.parametrize(
    ("only", "restored"), [("torch", {"torch"}), ("python_and_numpy", {"random", "numpy"}), (None, set(DRAWS))]
)
def test_the_generators_that_were_asked_for_are_restored_and_no_others(only, restored):
    before = comparable_states()
    with preserved(only=only):
        draw()
    after = comparable_states()
    assert {name for name in DRAWS if after[name] == before[name]} == restored


@pytest.mark.parametrize("name", DRAWS)
def test_a_state_that_is_compared_tells_of_a_single_draw(name):
    with preserved():
        before = comparable_states()
        DRAWS[name]()
        after = comparable_states()
    assert {each for each in after if after[each] != before[each]} == {name}


def test_guards_within_guards_restore_what_each_of_them_met():
    seed_globals(3, "guard")
    with preserved():
        outer = draw()
        with preserved():
            inner = draw()
        assert draw() == inner
    assert draw() == outer


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_generator_of_a_gpu_is_restored_where_its_device_is_named():
    with preserved("cuda"):
        inside = torch.rand(3, device="cuda").tolist()
    assert torch.rand(3, device="cuda").tolist() == inside
    with preserved():
        inside = torch.rand(3, device="cuda").tolist()
    assert torch.rand(3, device="cuda").tolist() != inside


def test_threads_are_set_in_the_block_and_as_before_when_it_raises():
    before = torch.get_num_threads()
    with suppress(KeyError), torch_threads(before + 1):
        inside = torch.get_num_threads()
        raise KeyError
    assert (inside, torch.get_num_threads()) == (before + 1, before)


SAVED = re.compile(r"fork_rng|_rng_state|random\.(get|set)_?state")


def test_one_module_alone_saves_and_restores_global_generators():
    root = Path(clbench.__file__).parent
    users = {str(path.relative_to(root)) for path in root.rglob("*.py") if SAVED.search(path.read_text())}
    assert users == {"core/global_rng.py"}

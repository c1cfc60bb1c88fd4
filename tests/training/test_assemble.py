"""One place assembles what our loop trains, from typed sections that are handed on."""

import ast
import math
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support import SMALL, ready

import clbench
from clbench.adapters.sklearn import ContinualClassifier
from clbench.adapters.sklearn.growing_stream import Growing
from clbench.benchmark.run_settings import ModelSettings, RunSettings
from clbench.benchmark.schema import Evaluation, MemoryBudget, Training, section
from clbench.core.errors import Refused
from clbench.core.global_rng import comparable_states
from clbench.models.initial_model import initial_model
from clbench.running.plan import plan
from clbench.strategies.strategy import Strategy
from clbench.training.revealed import revealed

ROOT = Path(clbench.__file__).parent


def places_that_make(name):
    """Modules in which something of this name is called."""
    found = set()
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name:
                found.add(path.relative_to(ROOT).as_posix())
    return found


@pytest.mark.parametrize("name", ["Trainer", "Memory", "Probe"])
def test_a_trainer_its_replay_buffer_and_its_probe_are_made_in_one_place(name):
    assert places_that_make(name) == {"training/assemble.py"}


def test_cells_and_the_classifier_assemble_there():
    assert places_that_make("assemble_trainer") == {"running/prepared_run.py", "adapters/sklearn/growing_stream.py"}
    assert places_that_make("initial_model") == {
        "running/prepare.py",
        "adapters/sklearn/growing_stream.py",
        "submission/cost_checks.py",  # counts the operations of a model, and trains nothing
    }


def test_the_sections_of_a_cell_reach_the_learner():
    run = ready(
        "er", "training.batch_size=7", "training.clip_norm=0.5", "training.momentum=0.9", "evaluation.probe=3",
        "memory.admit=every_pass", "memory.policy=class_balanced",
    )  # fmt: skip
    learner, steps = run.learner, run.trainer.steps
    assert (learner.batch_size, steps.clip_norm) == (7, 0.5)
    assert steps.optimizer.param_groups[0]["momentum"] == learner.another_optimizer().param_groups[0]["momentum"] == 0.9
    assert (learner.memory.size, learner.memory.policy, learner.memory.admit_when) == (
        40,
        "class_balanced",
        "every_pass",
    )
    run.train()
    assert run.trainer.probe.steps[:3] == [1, 4, 7]


def test_iterations_add_up_where_experiences_are_merged():
    assert Training(iterations=3).over(5).iterations == 15
    assert Training(epochs=2).over(5) == Training(epochs=2)
    for strategy, experiences in (("naive", 5), ("joint", 1)):
        run = ready(strategy, "training.iterations=3", "reveal=[length]")
        assert (run.learner.total_steps, run.learner.length) == (15, experiences)
        run.train()
        assert run.learner.cost.steps == 15


def test_the_number_of_steps_of_whole_passes_is_told_where_the_length_is_revealed():
    run = ready("naive", "training.epochs=2", "training.batch_size=16", "reveal=[length]")
    steps = 2 * sum(math.ceil(len(experience) / 16) for experience in run.stream)
    assert run.learner.total_steps == steps
    run.train()
    assert run.learner.cost.steps == steps
    assert ready("naive").learner.total_steps is None


def test_settings_of_a_cell_are_read_as_sections_with_a_policy_that_no_file_may_write():
    settings = RunSettings.of(plan(SMALL, strategies=["icarl"], seeds=1).cells[0].config)
    assert settings.training == Training(**SMALL["training"])
    assert settings.evaluation == Evaluation(**SMALL["evaluation"])
    assert (settings.memory.size, settings.memory.policy) == (40, "herding")
    assert settings.model.network["name"] == "mlp"
    assert settings.model.network["hidden"] == (16,)
    assert (settings.model.heads, "heads" in settings.model.network) == ("shared", False)
    with pytest.raises(ValueError, match="policy"):
        MemoryBudget(policy="herding")


def test_what_a_run_reveals_follows_stream_and_settings():
    bare = RunSettings(Training(), MemoryBudget(), ModelSettings({"name": "mlp"}))
    stream = ready("naive").stream
    assert revealed(stream, bare) == {"boundaries", "side_tensors", "single_tasks"}
    assert revealed(ready("naive", "stream.setting=task").stream, bare) == {
        "boundaries",
        "side_tensors",
        "single_tasks",
        "task_labels",
    }
    assert revealed(stream, bare, has_weights=True) - revealed(stream, bare) == {"pretrained"}
    more = replace(bare, memory=MemoryBudget(size=3, admit="end"), reveal=frozenset({"length"}))
    assert revealed(stream, more) == {"boundaries", "memory", "length", "single_tasks"}
    chosen = MemoryBudget.model_construct(size=3, policy="herding")
    assert revealed(stream, replace(bare, memory=chosen)) == {"boundaries", "memory", "single_tasks"}


def test_initial_weights_follow_the_seed_alone_and_no_global_generator():
    def weights(seed):
        model = initial_model({"name": "mlp", "hidden": [4]}, (6,), 3, seed=seed)
        return torch.cat([w.detach().reshape(-1) for w in model.parameters()])

    before = comparable_states()
    first = weights(0)
    assert comparable_states() == before
    torch.rand(5), np.random.rand(5), random.random()  # noqa: NPY002
    assert torch.equal(weights(0), first)
    assert not torch.equal(weights(1), first)


def test_a_growing_stream_begins_with_the_weights_and_the_buffer_of_a_cell():
    cell = ready("gdumb", "model.hidden=[16]", "memory.size=8")
    settings = RunSettings(
        Training(**SMALL["training"]), MemoryBudget(size=8), ModelSettings({"name": "mlp", "hidden": [16]})
    )
    strategy = Strategy.parse("gdumb(passes=16)")
    grown = Growing(strategy=strategy, settings=settings, features=64, classes=10, seed=0)
    assert torch.equal(grown.learner.w, cell.learner.w)
    assert grown.learner.memory.policy == cell.learner.memory.policy == "greedy_balanced"


def test_a_setting_that_is_not_allowed_is_named_as_the_program_wrote_it():
    with pytest.raises(Refused, match=r"^Mine: lr = -1 is not allowed: input should be greater than 0$"):
        section(Training, "Mine", {"lr": -1})
    x, y = np.random.default_rng(0).normal(size=(8, 2)), np.arange(8) % 2
    with pytest.raises(Refused, match=r"^ContinualClassifier: memory_size = -3 is not allowed: "):
        ContinualClassifier(memory_size=-3).fit(x, y)
    with pytest.raises(Refused, match=r"^ContinualClassifier: epochs = 0 is not allowed: "):
        ContinualClassifier(epochs=0).fit(x, y)

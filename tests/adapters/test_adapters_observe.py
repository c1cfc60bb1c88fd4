"""One-method learners: a class with ``observe(x, y)`` in our loop is the same method as a part that does the same."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import observers
import pytest
import torch
from command_line import FAST, call
from support import SMALL, Stopped, ready, same_trace, train_until, trained

import clbench
from clbench.core.errors import Refused
from clbench.running.plan import plan
from clbench.running.prepare import Skip
from clbench.testing import PROPERTIES, examine
from clbench.testing.contract import Verdict

FILE = Path(observers.__file__)
RICH = ("training.epochs=2", "training.momentum=0.9", "model.dropout=0.2")


def ours(name: str) -> str:
    return f"observe:{FILE}:{name}"


def module():
    """The module of the file as clbench has imported it."""
    from clbench.core.registry import open_file

    return open_file(f"{FILE}:")


@pytest.fixture
def told():
    """What learners told while a test ran."""
    module().told.clear()
    return module().told


def assert_equal_runs(a, b):
    assert torch.equal(a.learner.w, b.learner.w)
    assert same_trace(a, b)


# --------------------------------------------------------------------------------------------------- equality


@pytest.mark.parametrize(
    "changes",
    [
        (),
        RICH,
        ("training={optimizer: adam, lr: 0.01}", "stream.output=all"),
        ("training.lr_schedule={cosine: {}}", "training.optimizer_state=reset", "training.momentum=0.9"),
        ("stream.setting=task", "training.momentum=0.9"),
        ("stream.boundaries=false", "training.augment=crop-flip"),
    ],
    ids=["plain", "momentum and dropout", "adam", "schedule and reset", "task labels", "hidden boundaries"],
)
def test_a_class_that_does_what_naive_does_is_naive_bit_for_bit(changes):
    assert_equal_runs(trained("naive", *changes), trained(ours("Plain"), *changes))


def test_er_beside_a_class_is_er_bit_for_bit():
    er, ours_too = trained("er", *RICH), trained(f"er + {ours('Plain')}", *RICH)
    assert_equal_runs(er, ours_too)
    assert er.learner.cost.replay_rows == ours_too.learner.cost.replay_rows > 0


def test_joint_beside_a_class_is_joint():
    assert_equal_runs(trained("joint"), trained(f"joint + {ours('Plain')}"))


def test_a_function_may_make_the_learner_and_parameters_reach_it():
    assert_equal_runs(trained("naive", "training.lr=0.05"), trained(f"{ours('made')}(factor=0.5)"))


def test_labels_count_as_the_scores_that_they_come_from():
    assert_equal_runs(trained("naive"), trained(ours("Labels")))


# --------------------------------------------------------------------------------------------------- what is given


def test_boundaries_are_told_with_what_was_asked_for(told):
    run = trained(ours("Telling"))
    begun = [each[1:] for each in told if each[0] == "begin"]
    experiences = [run.stream[i] for i in range(5)]
    assert begun == [(e.id, (len(e), 1, 8, 8), sorted(e.classes)) for e in experiences]
    kinds = [each[0] for each in told]
    assert kinds.count("end") == 5
    assert kinds[0] == "begin"
    assert kinds[-1] == "end"


def test_hidden_boundaries_are_not_told(told):
    trained(ours("Telling"), "stream.boundaries=false")
    assert {each[0] for each in told} == {"observe"}


def test_raw_inputs_come_before_augmentation_and_task_labels_where_they_are_revealed(told):
    run = trained(ours("Telling"), "training.augment=crop-flip", "stream.setting=task")
    _, x, y, raw, task = next(each for each in told if each[0] == "observe")
    dataset = run.stream.dataset
    own = run.stream[0].rows
    pixels = torch.from_numpy(dataset.train.x[own].astype(np.float32) * np.float32(dataset.scale))
    assert all(any(torch.equal(row, each) for each in pixels) for row in raw)
    assert not torch.equal(x, raw)
    assert set(y.tolist()) <= set(run.stream[0].classes)
    assert task.tolist() == [0] * len(x)
    told.clear()
    trained(ours("Telling"))
    assert next(each[4] for each in told if each[0] == "observe") is None


def test_a_class_that_needs_what_the_benchmark_hides_is_skipped():
    with pytest.raises(Skip, match="Rehearsing needs a replay buffer, and the benchmark's memory has size 0"):
        ready(ours("Rehearsing"), "memory.size=0")


# --------------------------------------------------------------------------------------------------- resume and looks


@pytest.mark.parametrize("name", ["Plain", "Rehearsing", "Telling"])
@pytest.mark.parametrize("schedule", ["constant", "{cosine: {}}"], ids=["constant", "cosine"])
def test_it_goes_on_from_a_file_in_the_middle_of_an_experience_bit_for_bit(name, schedule):
    changes = (*RICH, f"training.lr_schedule={schedule}", "training.optimizer_state=reset")
    whole = trained(ours(name), *changes)
    stopped = train_until(ready(ours(name), *changes), 19)
    file = io.BytesIO()
    torch.save(stopped.snapshot(), file)
    stopped.train()
    assert_equal_runs(whole, stopped)  # the same objects go on too
    torch.rand(3)
    np.random.rand(3)  # noqa: NPY002
    resumed = ready(ours(name), *changes)
    resumed.restore(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
    resumed.train()
    assert_equal_runs(whole, resumed)
    stopped.restore(torch.load(io.BytesIO(file.getvalue()), weights_only=True))  # rolled back
    stopped.train()
    assert_equal_runs(whole, stopped)


def test_what_is_saved_names_the_weights_and_does_not_copy_them():
    plain, wide = (trained(ours("Plain"), f"model.hidden=[{width}]") for width in (16, 512))
    assert wide.learner.w.numel() > 20 * plain.learner.w.numel()
    assert abs(wide.chain.bytes - plain.chain.bytes) < 16
    assert plain.chain.bytes < 4096
    assert trained(ours("Rehearsing")).chain.bytes > 40 * 64 * 4  # 40 rows of 8 x 8 floats in its own buffer


def test_looks_do_not_move_the_randomness_of_training(told):
    every, none = trained(ours("Restless")), trained(ours("Restless"), "evaluation.every=0")
    assert torch.equal(every.learner.w, none.learner.w)
    assert {each[1] for each in told} == {None}


def test_what_cannot_be_saved_is_refused_before_the_first_step():
    with pytest.raises(Refused, match=r"Locked holds something that cannot be saved \(TypeError"):
        trained(ours("Locked"))


def test_two_workers_run_it_as_one_does(tmp_path):
    benchmark = {**SMALL, "strategies": [ours("Rehearsing")], "seeds": 2}
    alone, workers = (clbench.run(benchmark, jobs=jobs) for jobs in (1, 2))
    assert [r.status for r in workers] == ["done", "done"]
    for a, b in zip(alone, workers, strict=True):
        assert np.array_equal(a.trace.score, b.trace.score, equal_nan=True)
    assert not np.array_equal(alone[0].trace.score, alone[1].trace.score, equal_nan=True)


# --------------------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("strategy", "sentence"),
    [
        (ours("Nothing"), r"Nothing has no method observe\(x, y\)"),
        (ours("Plane"), "has no 'Plane' to be a learner; did you mean 'Plain'"),
        (ours("told"), "is a list; a learner is a class, or a function that makes one"),
        (ours("Strict"), "needs a value for 'alpha'"),
        (f"{ours('Strict')}(alpha=much)", "alpha = 'much' is not allowed"),
        (f"{ours('Strict')}(alpha=1, step=2)", "no parameter 'step'; did you mean 'steps'"),
        (f"{ours('Plain')}(model=3)", "model is set by the benchmark, equally for all strategies"),
        (ours("Asks"), "observe asks for 'not_aug_inputs'.*available by name are raw_x, task, class_mask"),
        (ours("AsksLittle"), r"observe\(self, batch\) takes too few arguments"),
        (ours("WrongNeeds"), "declares to need 'boundary'; did you mean 'boundaries'"),
        (f"ewc + {ours('Plain')}", "makes its own step, which allows only parts that arrange samples"),
        (f"{ours('Plain')} + {ours('Labels')}", "makes its own step, .*Labels does more"),
        ("observe:nowhere.at.all.Plain", "nowhere.at.all does not import"),
        ("observe:collections.OrderdDict", "has no 'OrderdDict' to be a learner; did you mean 'OrderedDict'"),
        ("observe:collections.Xylophone", r"has no 'Xylophone' to be a learner; write observe:FILE\.py:NAME"),
        ("observe:Plain", r"names no module and no file; write observe:FILE\.py:NAME or observe:package\.module\.NAME"),
        ("observe:", "observe: names no module and no file"),
        ("observe:.Plain", "names no module and no file"),
        ("observe:plain.py", r"names a file without a name in it; write observe:plain\.py:NAME"),
        (ours(""), r"observers\.py is to hold a learner; write observers\.py:NAME; known: "),
        ("observe:missing.py:Plain", "cannot be read"),
    ],
)
def test_mistakes_are_refused_before_anything_runs_with_a_sentence(strategy, sentence):
    with pytest.raises(Refused, match=sentence):
        plan(SMALL, strategies=[strategy], seeds=1)


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("columns", r"float32 values of shape \(\d+, 3\)"),
        ("rows", r"values of shape \(\d+, 10\) for \d+ samples"),
        ("numbers", r"float32 values of shape \(\d+,\)"),
        ("labels", "predicts labels from 10 to 10; they are output units, from 0 to 9"),
        ("text", r"predicts what is no array of numbers \(str\); allowed are scores of shape"),
        ("nothing", r"predicts what is no array of numbers \(NoneType\)"),
    ],
)
def test_predictions_of_a_wrong_shape_are_refused(kind, sentence):
    with pytest.raises(Refused, match=sentence):
        trained(f"{ours('Shapeless')}(kind={kind})")


def test_clip_norm_and_weighted_rehearsal_and_odd_losses_are_refused():
    with pytest.raises(Refused, match=r"training\.clip_norm is for clbench's own step"):
        trained(ours("Plain"), "training.clip_norm=1")
    with pytest.raises(Refused, match=r"weights all samples equally.*use er\(loss=concat\)"):
        trained(f"er(loss=weighted) + {ours('Plain')}")
    with pytest.raises(Refused, match=r"observe returns a Tensor of shape \(2,\); return the loss, a single number"):
        trained(ours("Pair"))


def test_a_mistake_in_the_class_is_a_failed_record_with_file_and_line():
    (record,) = clbench.run({**SMALL, "strategies": [ours("Raises")], "seeds": 1})
    line = next(n for n, text in enumerate(FILE.read_text().splitlines(), 1) if "THE MISTAKE" in text)
    assert record.status == "failed"
    assert record.reason.endswith(f"(observers.py, line {line})")


@pytest.mark.parametrize("name", ["Silent", "Lost"])
def test_a_loss_or_outputs_that_are_not_finite_end_the_run_as_diverged(name):
    (record,) = clbench.run({**SMALL, "strategies": [ours(name)], "seeds": 1})
    assert record.status == "diverged"
    assert "step 1" in record.reason


# --------------------------------------------------------------------------------------------------- cells, by name


def test_another_program_in_the_file_is_another_cell(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(FILE.read_text(), encoding="utf-8")

    def key():
        return plan(SMALL, strategies=[f"observe:{file}:Plain"], seeds=1).cells[0].key

    first = key()
    assert key() == first
    file.write_text(FILE.read_text() + "\n# a comment\n", encoding="utf-8")
    assert key() == first
    file.write_text(FILE.read_text() + "\nANOTHER = 1\n", encoding="utf-8")
    assert key() != first


def test_a_class_of_an_installed_package_is_taken_by_its_import_path():
    assert_equal_runs(trained("naive"), trained("observe:observers.Plain"))


def test_show_and_list_tell_of_it():
    shown = call("show", f"{ours('Strict')}")
    assert shown.code == 0
    assert "alpha" in shown.out
    assert "needs a value" in shown.out
    assert "Has settings with types." in shown.out
    listed = call("list", "strategies").out
    assert "observe:FILE.py:NAME(alpha=0.5)" in " ".join(listed.split())


def test_run_and_check_take_it_from_the_command_line(tmp_path):
    done = call(
        "run", "split-digits", *FAST, "--strategies", f"naive, {ours('Plain')}", "--seeds", "1", "--out", tmp_path
    )
    assert done.code == 0
    frame = clbench.load(tmp_path)
    assert frame["acc"].nunique() == 1
    checked = call("check", ours("Plain"))
    assert checked.code == 0, checked.out
    assert "The contract is kept." in checked.out


def test_the_contract_is_asked_as_far_as_it_applies():
    verdicts: dict[str, Verdict] = {v.property: v for v in examine(f"{ours('Rehearsing')}(share=0.3)")}
    assert verdicts.keys() == PROPERTIES.keys()
    assert {name for name, v in verdicts.items() if v.status == "broken"} == set()
    skipped = {name: v.text for name, v in verdicts.items() if v.status == "skipped"}
    assert skipped.keys() == {"identity", "randomness", "companions", "state"}
    assert "may draw from them" in skipped["randomness"]
    assert "its answers draw from a global generator" in skipped["companions"]


def test_the_contract_finds_a_class_that_learns_at_looks(tmp_path):
    file = tmp_path / "peeking.py"
    text = FILE.read_text() + (
        "\n\nclass Peeking(Plain):\n    n = 0\n\n    def predict(self, x):\n        self.n += 1\n"
        "        return self.model(x)\n\n    def observe(self, x, y, class_mask):\n"
        "        return super().observe(x + self.n, y, class_mask)\n"
    )
    file.write_text(text, encoding="utf-8")
    broken = {v.property for v in examine(f"observe:{file}:Peeking") if v.status == "broken"}
    assert "unwatched" in broken


def test_stopping_is_not_swallowed():
    with pytest.raises(Stopped):
        ready(ours("Plain")).train(lambda *_: (_ for _ in ()).throw(Stopped()))

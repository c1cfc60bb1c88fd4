"""Early stopping: what is measured, when an experience ends, which weights it keeps, its cost, and how it resumes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support import SMALL, assert_same, everything, ready, same_trace, train_until
from torch.nn.functional import cross_entropy

import clbench
from clbench import data
from clbench.core.errors import Refused
from clbench.running.plan import plan

HELD = ("stream.dataset.validation=0.3", "training.epochs=8")
CHANGES = (*HELD, "training.stop={patience: 2}", "evaluation.every=0")


def ended(strategy="er", *changes, watch=None):
    """A run to its end, with the values that were measured after each pass and the weights of that moment."""
    run, seen = ready(strategy, *CHANGES, *changes), []
    measure = run.stopping.measure

    def noting(trainer, experience):
        value = measure(trainer, experience)
        seen.append((experience, value, trainer.learner.w.detach().clone()))
        return value

    run.stopping.measure = noting
    if watch is not None:
        run.chain.end_experience += (watch,)
    run.train()
    return run, seen


def by_experience(seen):
    return [[(value, w) for e, value, w in seen if e == experience] for experience in range(5)]


def passes_by_the_rule(values, patience, min_delta=0.0, most=8):
    """How many passes an experience gets, written down once more: stop after ``patience`` passes without a new best."""
    best, since = np.inf, 0
    for number, value in enumerate(values, 1):
        since = 0 if value < best - min_delta else since + 1
        best = min(best, value) if since == 0 else best
        if since == patience:
            return number
    return most


@pytest.mark.parametrize(
    "settings", ["{patience: 2}", "{patience: 1, min_delta: 0.02}", "{monitor: score, patience: 2}"]
)
def test_an_experience_ends_by_the_rule_with_the_weights_of_its_best_pass(settings):
    kept = []
    run, seen = ended(
        "er", "training.lr=1", f"training.stop={settings}", watch=lambda learner, _: kept.append(learner.w.clone())
    )
    stop = run.training.stop
    lengths = []
    for own, w in zip(by_experience(seen), kept, strict=True):
        values = [value for value, _ in own]
        assert len(own) == passes_by_the_rule(values, stop.patience, stop.min_delta)
        lengths.append(len(own))
        best = 0
        for number, value in enumerate(values):
            best = number if value < values[best] - stop.min_delta else best
        assert torch.equal(w, own[best][1])
    assert min(lengths) < 8, "no experience ended early, so this test shows nothing"
    per_pass = [-(-len(experience) // 16) for experience in run.stream]
    steps = run.evaluator.trace().step[-1]
    assert steps == sum(n * length for n, length in zip(per_pass, lengths, strict=True))


def test_without_restore_the_last_weights_stay():
    kept = []
    _, seen = ended("er", "training.stop={patience: 1, restore: false}", watch=lambda of, _: kept.append(of.w.clone()))
    assert all(torch.equal(w, own[-1][1]) for own, w in zip(by_experience(seen), kept, strict=True))


def test_what_is_measured_is_the_loss_on_the_held_out_samples_of_the_experiences_classes():
    run, seen = ended("naive", "training.epochs=2")
    held = data.load("digits", train_rows=300, validation=0.3, evaluate_on="validation").test
    model = run.learner.model.eval()
    met = []
    for experience, own in zip(run.stream, by_experience(seen), strict=True):
        met += experience.classes
        of_it = np.isin(held.y, experience.classes)
        x, y = torch.from_numpy(held.x[of_it]).float() / 16, torch.from_numpy(held.y[of_it])
        for value, w in own:
            with torch.no_grad():
                run.learner.w.copy_(w)
                logits = model(x).logits
            absent = [c for c in range(10) if c not in met]
            logits[:, absent] = -torch.inf
            assert value == pytest.approx(float(cross_entropy(logits, y)), rel=1e-5)


def test_measuring_changes_nothing_but_the_cost_which_counts_every_held_out_sample():
    plain = ready("er", *HELD, "training.epochs=3")
    plain.train()
    run, seen = ended("er", "training.epochs=3", "evaluation.every=1", "training.stop={patience: 9, restore: false}")
    assert len(seen) == 15
    assert_same(everything(plain), everything(run))
    assert same_trace(plain, run)
    held = data.load("digits", train_rows=300, validation=0.3, evaluate_on="validation").test
    assert run.account().extra_forward_rows == plain.account().extra_forward_rows + 3 * len(held)
    assert run.account().evaluation_rows == plain.account().evaluation_rows


@pytest.mark.parametrize("strategy", ["er", "si(strength=0.1)"])
def test_an_interrupted_run_goes_on_bit_for_bit_from_inside_a_pass_and_from_the_end_of_one(strategy):
    whole, _ = ended(strategy)
    first = -(-len(whole.stream[0]) // 16)  # steps of a pass over the first experience
    for step in (1, first, first + 1, 2 * first, 3 * first + 2, int(whole.evaluator.trace().step[-1])):
        part = train_until(ready(strategy, *CHANGES), step)
        resumed = ready(strategy, *CHANGES)
        resumed.restore(part.snapshot())
        resumed.train()
        assert_same(everything(whole), everything(resumed))
        assert same_trace(whole, resumed)
        assert whole.account().extra_forward_rows == resumed.account().extra_forward_rows


def test_running_statistics_of_the_best_pass_are_restored_too():
    from support import Disturbable

    run = ready("naive", *CHANGES, model=Disturbable)
    best = {}
    measure = run.stopping.measure

    def first_is_best(trainer, experience):
        measure(trainer, experience)
        best.setdefault(experience, [b.clone() for b in trainer.learner.model.buffers()])
        return float(len([1 for _ in best]) + trainer.learner.cost.steps)

    run.stopping.measure = first_is_best
    kept = []
    run.chain.end_experience += (lambda learner, _: kept.append([b.clone() for b in learner.model.buffers()]),)
    run.train()
    for experience, buffers in enumerate(kept):
        assert all(torch.equal(a, b) for a, b in zip(buffers, best[experience], strict=True))


@pytest.mark.parametrize(
    ("strategy", "tasks"), [("joint", [range(5)]), ("cumulative", [range(n + 1) for n in range(5)])]
)
def test_upper_bounds_are_measured_on_all_that_they_learn(strategy, tasks):
    run, measured = ready(strategy, *CHANGES, "training.epochs=2"), []
    panels = run.stopping._panels
    panel = panels.panel
    panels.panel = lambda *given: measured.append(sorted((made := panel(*given)).tasks)) or made
    run.train()
    assert measured == [list(own) for own in tasks for _ in range(2)]


@pytest.mark.parametrize(
    "changes",
    [
        ("stream.setting=task", "model.heads=separate"),
        ("stream={scenario: permuted, experiences: 3, dataset: {name: digits, train_rows: 100, validation: 0.3}}",),
        ("stream={scenario: rotated, dataset: {name: digits, train_rows: 100, validation: 0.3}}",),
        ("training.iterations=30",),
    ],
)
def test_other_streams_and_iterations_are_stopped_and_resume_too(changes):
    whole, seen = ended("er", *changes, "training.stop={patience: 1}")
    assert seen
    step = int(whole.evaluator.trace().step[-1]) // 2
    resumed = ready("er", *CHANGES, *changes, "training.stop={patience: 1}")
    resumed.restore(train_until(ready("er", *CHANGES, *changes, "training.stop={patience: 1}"), step).snapshot())
    resumed.train()
    assert_same(everything(whole), everything(resumed))


def test_numbers_are_measured_by_their_loss_and_by_r2():
    for monitor in ("loss", "score"):
        [record] = clbench.run(
            "split-diabetes", strategies="er", seeds=1,
            overrides={
                "stream.dataset.validation": 0.2, "training.stop": {"monitor": monitor}, "training.epochs": 4,
                "evaluation.schedule": "ends",
            },
        )  # fmt: skip
        assert record.status == "done", record.reason
        assert record.cost["extra_forward_rows"] > 0


def test_a_learner_with_steps_of_its_own_is_skipped_with_the_reason():
    [record] = clbench.run(
        SMALL, strategies="ncm", seeds=1,
        overrides={"stream.dataset.validation": 0.3, "training.epochs": 2, "training.stop": {}},
    )  # fmt: skip
    assert record.status == "skipped"
    assert "ncm makes steps of its own; leave stop out" in record.reason


def test_the_cell_names_every_setting_of_stop_and_none_without_it():
    with_it = plan(SMALL, overrides=[*HELD, "training.stop={patience: 4}"]).cells[0].config["training"]
    assert with_it["stop"] == {"patience": 4, "min_delta": 0.0, "monitor": "loss", "restore": True}
    assert "stop" not in plan(SMALL, overrides=HELD).cells[0].config["training"]
    one = plan(SMALL, overrides=HELD, strategies=[{"strategy": "er", "training": {"stop": {"patience": 2}}}]).cells[0]
    assert one.config["training"]["stop"]["patience"] == 2


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (("training.epochs=5",), "set stream.dataset.validation, such as 0.1"),
        ((*HELD, "stream.dataset.evaluate_on=validation"), "evaluates on the same; evaluate on test samples"),
        ((*HELD, "training.epochs=1"), "training.epochs = 1 makes one; raise it"),
        ((*HELD, "stream.boundaries=false"), "training.stop = .* depends on experiences.*; use no stop"),
        ((*HELD, "training.stop={patients: 2}"), "unknown key 'training.stop.patients'; did you mean 'patience'"),
        ((*HELD, "training.stop={patience: 0}"), r"training.stop.patience = 0 is not allowed"),
        ((*HELD, "training.stop=3"), r"training.stop is a section; write training.stop: \{patience: 3\} in a file"),
    ],
)
def test_a_stop_that_cannot_be_is_refused_before_anything_runs(changes, sentence):
    with pytest.raises(Refused, match=sentence):
        plan(SMALL, overrides=["training.stop={patience: 2}", *changes])


def test_a_stream_of_a_program_has_no_held_out_samples():
    stream = clbench.stream("split", "digits", experiences=5)
    with pytest.raises(Refused, match="a stream of a program has none"):
        clbench.run(SMALL, stream=stream, seeds=1, overrides={"training.epochs": 2, "training.stop": {}})

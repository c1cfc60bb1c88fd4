"""BiC: what is held out, the two numbers against another optimiser, and the corrected head."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from support import assert_same, everything, ready, trained
from torch.nn.functional import cross_entropy

from clbench.core.errors import Refused
from clbench.strategies import bic as module
from clbench.strategies.bic import corrected
from clbench.training.batch import ROW, Y

LARGE = "memory.size=200"

# ------------------------------------------------------------------------- what is held out


def test_held_out_samples_are_balanced_and_come_from_the_experience_and_from_exemplars():
    run, held, exemplars = ready("bic", LARGE), [], []
    part = run.chain.parts[1]

    def begin(learner, experience):
        held.append(part._held.clone())
        exemplars.append(learner.memory.all().index.clone())

    run.chain.begin_experience += (begin,)
    run.train()
    assert held[0].shape[1] == 0
    for number in range(1, 5):
        own = set(run.stream[number].classes)
        counts = Counter(held[number][Y].tolist())
        assert len(counts) == 2 * (number + 1)
        assert set(counts.values()) == {max(1, 200 // len(counts) // 10)}
        stored, rows = set(exemplars[number][ROW].tolist()), held[number][ROW].tolist()
        assert all((row in stored) == (c not in own) for row, c in zip(rows, held[number][Y].tolist(), strict=True))


def test_each_pass_learns_the_experience_and_the_exemplars_without_what_is_held_out():
    run, passes = ready("bic", LARGE, "training.epochs=2"), {}
    part, learner = run.chain.parts[1], run.learner
    expected = {}

    def begin(learner, experience):
        whole = torch.cat([experience.index, learner.memory.all().index], dim=1)[ROW].tolist()
        expected[learner.experience] = sorted(set(whole) - set(part._held[ROW].tolist()))

    run.chain.begin_experience += (begin,)
    run.chain.batch += (lambda _, batch: passes.setdefault(learner.experience, []).extend(batch.rows.tolist()),)
    run.train()
    for number, rows in passes.items():
        assert sorted(rows) == sorted(2 * expected[number]), number


def test_exemplars_are_chosen_from_all_samples_of_an_experience():
    run = ready("bic", LARGE)
    held, chosen = [], set()
    part = run.chain.parts[1]
    run.chain.begin_experience += (lambda *_: held.append(set(part._held[ROW].tolist())),)
    run.chain.end_experience += (lambda learner, _: chosen.update(learner.memory.all().index[ROW].tolist()),)
    run.train()
    assert len(run.learner.memory) == 200
    assert len(set().union(*held) & chosen) > 0


def test_a_small_memory_is_refused_in_one_sentence():
    with pytest.raises(
        Refused, match=r"memory\.size 15 leaves less than two exemplars for each of the 8 classes .* 16 "
    ):
        trained("bic", "memory.size=15")


def test_a_head_without_a_bias_is_refused():
    with pytest.raises(Refused, match=r"bic .*adds a number to the scores of single classes, .* no trained bias"):
        trained("bic", "model={name: cnn, width: 2, hidden: 4, bias: false}")


# ------------------------------------------------------------------------- the two numbers


def by_another_optimiser(logits, y, new, ridge, twice):
    """α and β by SciPy, from a loss with loops."""

    def loss(numbers):
        total = 0.0
        for row, label in zip(logits, y, strict=True):
            o = np.where(new, numbers[0] * row + numbers[1], row)
            p = np.exp(o - o.max()) / np.exp(o - o.max()).sum()
            if twice:
                p = np.exp(p) / np.exp(p).sum()
            total -= np.log(p[label])
        return total / len(y) + ridge / 2 * ((numbers[0] - 1) ** 2 + numbers[1] ** 2)

    return minimize(loss, [1.0, 0.0], tol=1e-12).x


@pytest.mark.parametrize(
    ("form", "ridge"), [("paper", 0.1), ("paper", 0.0), ("paper", 2.0), ("code", 0.1), ("code", 2.0)]
)
def test_factor_and_constant_are_those_of_another_optimiser(form, ridge):
    rng = np.random.default_rng(3)
    logits, y = rng.normal(size=(40, 6)), rng.integers(0, 6, 40)
    logits[:, 4:] += 2  # new classes are preferred
    new = np.arange(6) >= 4
    factor, constant = corrected(
        torch.from_numpy(logits), torch.from_numpy(y), torch.from_numpy(new), lambda scores: scores, ridge, form
    )
    wanted = by_another_optimiser(logits, y, new, ridge, form == "code")
    np.testing.assert_allclose([float(factor), float(constant)], wanted, rtol=1e-3, atol=2e-4)
    if form == "paper":
        assert float(constant) < -0.1


def test_classes_that_do_not_compete_change_nothing():
    rng = np.random.default_rng(4)
    logits, y = torch.from_numpy(rng.normal(size=(30, 8))), torch.from_numpy(rng.integers(0, 6, 30))
    competes, new = torch.arange(8) < 6, torch.arange(8) >= 3
    masked = corrected(logits, y, new, lambda s: s.masked_fill(~competes, -torch.inf), 0.1, "paper")
    alone = corrected(logits[:, :6], y, new[:6], lambda s: s, 0.1, "paper")
    torch.testing.assert_close(masked, alone)


def test_the_head_corrects_new_classes_alone_and_the_corrected_model_teaches():
    run, found = ready("bic", LARGE, "training.lr=0.3", "training.epochs=3"), []
    part = run.chain.parts[1]
    x = torch.rand(9, 1, 8, 8)

    def before(learner, experience):
        found.append(learner.model(x).logits.detach().clone())

    def after(learner, experience):
        was, now = found.pop(), learner.model(x).logits.detach()
        taught = learner.side_work.forward(x, **run.chain.parts[0].state["previous"]).logits
        torch.testing.assert_close(taught, now)
        if learner.experience == 0:
            assert torch.equal(was, now)
            return
        new = part.state["new"]
        assert sorted(new.nonzero()[:, 0].tolist()) == sorted(run.stream[learner.experience].classes)
        factor, constant = float(part.state["factor"]), float(part.state["constant"])
        assert abs(factor - 1) + abs(constant) > 0.01
        torch.testing.assert_close(now[:, new], factor * was[:, new] + constant, rtol=1e-4, atol=1e-5)
        assert torch.equal(now[:, ~new], was[:, ~new])

    run.chain.end_experience = (before, *run.chain.end_experience, after)
    run.train()


def test_with_factor_1_and_constant_0_it_is_its_first_stage_with_distillation(monkeypatch):
    kept = trained("bic(ridge=1e15)", LARGE)
    state = kept.chain.parts[1].state
    assert (float(state["factor"]), float(state["constant"])) == pytest.approx((1, 0), abs=1e-12)
    monkeypatch.setattr(module.BiasCorrection, "_correct", lambda *_: None)
    first_stage = trained("bic", LARGE)
    torch.testing.assert_close(kept.learner.w, first_stage.learner.w, rtol=1e-6, atol=1e-9)
    monkeypatch.undo()
    assert not torch.allclose(trained("bic", LARGE).learner.w, first_stage.learner.w, atol=1e-3)


def test_the_cross_entropy_on_held_out_samples_is_lower_after_the_correction():
    run, found = ready("bic", LARGE, "training.lr=0.3", "training.epochs=5"), []
    part = run.chain.parts[1]

    def note(learner, experience):
        if learner.experience:
            held = part.state["held"]
            held = held[:, : held[ROW].count_nonzero()]
            logits = learner.side_work.features(held).logits.masked_fill(~learner.classes.seen, -torch.inf)
            found.append(float(cross_entropy(logits, held[Y])))

    run.chain.end_experience = (note, *run.chain.end_experience, note)
    run.train()
    before, after = np.array(found).reshape(-1, 2).T
    assert len(before) == 4
    assert (after < before).all()


def test_nothing_is_corrected_where_every_class_is_in_every_experience():
    run = trained("bic", "stream.setting=domain", LARGE)
    assert "factor" not in run.chain.parts[1].state


def test_it_resumes_within_an_experience_bit_for_bit():
    run, kept = ready("bic", LARGE), []
    run.train(lambda step, _: kept.append(run.snapshot()) if step == 12 else None)
    resumed = ready("bic", LARGE)
    resumed.restore(kept[0])
    resumed.train()
    assert_same(everything(resumed), everything(run))


def test_frozen_heads_are_not_corrected():
    run = ready("bic", LARGE)
    learner = run.learner
    held = torch.zeros_like(learner.w, dtype=torch.bool)
    for name in ("head.weight", "head.bias"):
        held[learner.slices[name]] = True
    learner.freeze("test", held)
    first = learner.w.detach()[held].clone()
    run.train()
    assert torch.equal(learner.w.detach()[held], first)

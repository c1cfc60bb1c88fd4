"""WA: equal norms after alignment, the loss by a plain loop, and what is left alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from support import assert_same, everything, ready, same_trace, train_until, trained
from torch.func import functional_call

from clbench.core.errors import Refused
from clbench.training.batch import Y

# ------------------------------------------------------------------------- alignment


def at_ends(run):
    """Head, bias, old and new classes, before and after the ends of experiences."""
    kept, known = [], set()
    head = run.learner.model.head

    def note(learner, experience):
        own = set(experience.index[Y].tolist())
        kept.append(
            {
                "old": sorted(known), "new": sorted(own - known),
                "weight": head.weight.detach().double().numpy().copy(), "bias": head.bias.detach().clone(),
                "rest": torch.cat([learner.w.detach()[s] for n, s in learner.slices.items() if "head" not in n]),
            }
        )  # fmt: skip
        known.update(own)

    def before(learner, experience):
        note(learner, experience)
        known.difference_update(kept[-1]["new"])

    run.chain.end_experience = (before, *run.chain.end_experience, note)
    run.train()
    return kept[::2], kept[1::2]


@pytest.mark.parametrize("strategy", ["wa", "wa(form=code)", "er + align_norms", "icarl + align_norms"])
def test_new_classes_have_the_mean_norm_of_old_ones_and_the_first_experience_is_untouched(strategy):
    before, after = at_ends(ready(strategy, "training.lr=0.3", "training.epochs=3"))
    assert [len(each["old"]) for each in after] == [0, 2, 4, 6, 8]
    for was, now in zip(before, after, strict=True):
        old, new = now["old"], now["new"]
        assert torch.equal(was["bias"], now["bias"])
        assert torch.equal(was["rest"], now["rest"])
        if not old:
            assert np.array_equal(was["weight"], now["weight"])
            continue
        norms = np.linalg.norm(now["weight"], axis=1)
        assert abs(norms[new].mean() - norms[old].mean()) < 1e-6
        untouched = [c for c in range(10) if c not in new]
        assert np.array_equal(was["weight"][untouched], now["weight"][untouched])
        there = was["weight"][new] != 0
        factor = now["weight"][new][there] / was["weight"][new][there]
        assert factor.std() < 1e-5  # one factor for all of them
        assert abs(factor.mean() - 1) > 1e-3


def test_nothing_is_aligned_where_every_class_is_in_every_experience():
    changes = ("stream.setting=domain", "training.momentum=0.9")
    aligned, plain = trained("er + align_norms", *changes), trained("er", *changes)
    assert torch.equal(aligned.learner.w, plain.learner.w)
    assert same_trace(aligned, plain)


def test_the_head_of_the_papers_form_has_no_negative_weight_of_a_class_seen_after_any_step():
    run, least = ready("wa", "training.optimizer=adam", "training.lr=0.01", "training.weight_decay=0.1"), []
    place, rest = run.learner.slices["head.weight"], run.learner.slices["head.bias"]

    def note(learner, batch):
        seen = learner.w.detach()[place].view(10, -1)[learner.classes.seen]
        least.append(float(seen.min()))

    run.chain.after_step += (note,)
    run.train()
    assert len(least) == run.learner.cost.steps
    assert min(least) == max(least) == 0.0
    assert float(run.learner.w.detach()[rest].min()) < 0
    assert float(trained("wa(form=code)").learner.w.detach()[place].min()) < 0


def test_frozen_weights_are_not_aligned():
    run = ready("wa")
    learner = run.learner
    place = learner.slices["head.weight"]
    held = torch.zeros_like(learner.w, dtype=torch.bool)
    held[place] = True
    learner.freeze("test", held)
    first = learner.w.detach()[place].clone()
    run.train()
    assert torch.equal(learner.w.detach()[place], first)


def test_a_head_that_is_not_trained_is_refused_in_one_sentence():
    run = ready("align_norms")
    learner = run.learner
    del learner.slices["head.weight"]
    with pytest.raises(
        Refused, match=r"align_norms changes the last layer's weights .* no trained matrix with 10 rows"
    ):
        run.chain.parts[0].attach(learner)


# ------------------------------------------------------------------------- the loss


def plain_loss(logits, taught, labels, seen, old, running, temperature):
    """(1 - share) CE + share KD, sample after sample."""
    share = len(old) / (len(old) + len(running))
    entropy = distilled = 0.0
    for row, teacher, label in zip(logits.tolist(), taught.tolist(), labels.tolist(), strict=True):
        entropy -= math.log(math.exp(row[label]) / sum(math.exp(row[c]) for c in seen))
        p = [math.exp(row[c] / temperature) for c in old]
        q = [math.exp(teacher[c] / temperature) for c in old]
        distilled -= sum(b / sum(q) * math.log(a / sum(p)) for a, b in zip(p, q, strict=True))
    return ((1 - share) * entropy + share * distilled) / len(labels)


@pytest.mark.parametrize("temperature", [2.0, 3.5])
def test_the_loss_agrees_with_a_plain_loop(temperature):
    run, checked = ready(f"wa(temperature={temperature})", "training.lr=0.5", "training.epochs=2"), []
    kept = {}

    def end(learner, experience):
        kept["teacher"] = {name: p.detach().clone() for name, p in learner.model.named_parameters()}
        kept.setdefault("old", set()).update(experience.index[Y].tolist())

    def check(learner, batch, output):
        if "teacher" not in kept:
            return
        own = set(run.stream[learner.experience].classes)
        old = sorted(kept["old"] - own)
        with torch.no_grad():
            taught = functional_call(learner.model, kept["teacher"], (batch.x,)).logits
        wanted = plain_loss(output.logits, taught, batch.y, sorted(kept["old"] | own), old, own, temperature)
        checked.append((float(run.chain.objective(learner, batch, output).detach()), wanted))

    run.chain.end_experience += (end,)
    run.chain.loss += (check,)
    run.train()
    assert len(checked) > 20
    for ours, wanted in checked:
        assert ours == pytest.approx(wanted, rel=1e-4)


def test_the_teacher_is_the_aligned_model():
    run = ready("wa")
    end = []
    run.chain.end_experience += (lambda learner, _: end.append(learner.w.detach().clone()),)
    train_until(run, 12)
    assert torch.equal(run.chain.parts[0].state["previous"]["w"], end[-1])


def test_without_old_classes_it_is_replay_of_herded_exemplars():
    changes = ("stream.setting=domain", "training.epochs=2")
    run = trained("wa", *changes)
    assert run.chain.parts[0].state["share"] == 0
    assert "never distilled anything" in run.chain.parts[0].self_checks(run.learner)[0]


def test_it_resumes_within_an_experience():
    run, kept = ready("wa"), []
    run.train(lambda step, _: kept.append(run.snapshot()) if step == 9 else None)
    resumed = ready("wa")
    resumed.restore(kept[0])
    resumed.train()
    assert_same(everything(resumed), everything(run))

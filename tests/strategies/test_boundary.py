"""What acts first at a boundary: memory is filled, weights are moved, and then the model that goes on is kept."""

from __future__ import annotations

import pytest
import torch
from support import assert_same, everything, ready, trained

import clbench
from clbench.strategies.chain import Chain
from clbench.strategies.effects import WatchedHook
from clbench.strategies.mas import squared_norm
from clbench.strategies.part import CLOSES, KEEPS, MOVES
from clbench.testing.trial_runs import Blind, Stop
from clbench.training.batch import Y

FPF = "fpf(when=boundary, modules=all, iters=3, lr=0.2)"
OTHERS = ("ewc", "mas(strength=0.1)", "l2(strength=0.1)", "si(strength=0.1)", "lwf", "feat_kd(strength=1)", "icarl")
KEPT = {"ewc": "anchor", "mas(strength=0.1)": "anchor", "l2(strength=0.1)": "anchor", "lwf": "previous"}


def until_end_of(experience, strategy):
    """A run that has come to the look at the end of an experience."""
    run = ready(strategy)

    def stop(ended):
        if ended == experience:
            raise Stop

    run.evaluator = Blind(stop)
    with pytest.raises(Stop):
        run.train()
    return run


@pytest.mark.parametrize("other", OTHERS)
def test_fine_tuning_at_boundaries_acts_in_the_same_place_wherever_it_is_written(other):
    first, second = trained(f"{other} + {FPF}"), trained(f"{FPF} + {other}")
    assert_same(everything(first), everything(second))
    assert not torch.equal(first.learner.w, trained(other).learner.w)


@pytest.mark.parametrize("other", KEPT)
def test_anchors_and_teachers_are_of_the_fine_tuned_weights(other):
    run, alone = until_end_of(0, f"{other} + {FPF}"), until_end_of(0, other)
    kept = run.chain.parts[0].state[KEPT[other]]
    assert torch.equal(kept["w"] if other == "lwf" else kept, run.learner.w)
    assert not torch.equal(run.learner.w, alone.learner.w)


def test_importance_is_estimated_at_the_fine_tuned_weights():
    run = until_end_of(0, f"mas(strength=0.1) + {FPF}")
    there = run.learner.side_work.per_row(run.trainer.enter(run.stream[0]).index, squared_norm, power="absolute")
    torch.testing.assert_close(run.chain.parts[0].state["importance"], there)


def test_the_path_of_si_ends_before_the_weights_are_moved_and_its_anchor_lies_behind():
    run, alone = (until_end_of(0, f"si(strength=0.1){more}") for more in (f" + {FPF}", ""))
    assert torch.equal(run.chain.parts[0].state["importance"], alone.chain.parts[0].state["importance"])
    assert not torch.equal(run.learner.w, alone.learner.w)
    run, moved = ready(f"si(strength=0.1) + {FPF}"), {}
    run.evaluator = Blind(lambda experience: moved.setdefault(experience, run.learner.w.detach().clone()))
    anchors = {}
    run.train(lambda *_: anchors.setdefault(run.learner.experience, run.chain.parts[0].state["anchor"].clone()))
    assert all(torch.equal(anchors[n + 1], moved[n]) for n in range(4))


def test_exemplars_of_an_experience_are_in_memory_when_fine_tuning_begins():
    run, met = ready(f"{FPF} + icarl"), []
    fit = run.learner.side_work.fit
    run.learner.side_work.fit = lambda rows, **k: (met.append(set(rows.index[Y].tolist())), fit(rows, **k))[1]
    run.train()
    classes = [set(experience.classes) for experience in run.stream]
    assert met == [set().union(*classes[: n + 1]) for n in range(5)]


def test_hooks_run_by_their_end_order_and_then_as_written():
    def part(name, order=None):
        hooks = {"end_experience": lambda self, learner, experience: None}
        return type(name, (clbench.Part,), hooks | ({} if order is None else {"end_order": order}))()

    parts = [part("A"), part("B", MOVES), part("C", KEEPS), part("D", CLOSES), part("E", MOVES)]
    chain = Chain(parts, seed=0)
    owners = [hook.part if isinstance(hook, WatchedHook) else hook.__self__ for hook in chain.end_experience]
    assert [type(owner).__name__ for owner in owners] == ["D", "B", "E", "A", "C"]
    with pytest.raises(clbench.Refused, match="end_order: 7 is not allowed"):
        part("F", 7)

"""Several updates on each batch: how many, and when a plateau of active units raises them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support import assert_same, batches, everything, ready, same_trace, train_until, trained
from torch import nn

from clbench.core.errors import Refused


def updates(strategy, *changes):
    """The number of updates of each iteration of a run, and the run."""
    run = ready(strategy, *changes)
    counts = []
    for batch in batches(run):
        if batch.repetition:
            counts[-1] += 1
        else:
            counts.append(1)
    return counts, run


def test_every_batch_has_as_many_updates_as_are_asked_for():
    for high in (1, 4):
        counts, run = updates(f"er + repeats(high={high})")
        assert set(counts) == {high}
        assert run.learner.cost.steps == high * run.cursor.step


@pytest.mark.parametrize("when", ["fixed", "plateau"])
def test_one_update_is_naive_bit_for_bit(when):
    ours, naive = (
        trained(name, "training.momentum=0.9") for name in (f"repeats(high=1, when={when}, every=3)", "naive")
    )
    assert_same({name: value for name, value in everything(ours).items() if "Repeats" not in name}, everything(naive))
    assert same_trace(ours, naive)


def shares_of(run, steps):
    """The fraction of active units of the small model before these iterations, on their samples, by hand."""
    found, seen = {}, []

    def note(learner, batch):
        number = len(seen)
        seen.append(number)
        if number in steps:
            weight, bias = (learner.model.get_parameter(f"layers.0.{name}") for name in ("weight", "bias"))
            hidden = learner.raw(batch.index[:, batch.stream.span]).flatten(1) @ weight.T + bias
            found[number] = float((hidden > 0).double().mean())

    run.chain.batch = (note, *run.chain.batch)
    run.train()
    return found


def test_updates_rise_once_when_the_fraction_of_active_units_differs_by_no_more_than_the_gap():
    measured = shares_of(ready("naive"), (0, 5, 10, 15))  # one update a batch until a plateau is found
    shares = [measured[step] for step in (0, 5, 10, 15)]
    steps = np.abs(np.diff(shares))
    gap = float(steps[1:].min()) + 1e-9
    first = next(i for i, step in enumerate(steps) if step <= gap)
    counts, run = updates(f"repeats(low=1, high=3, when=plateau, every=5, gap={gap!r})")
    raised = 5 * (first + 1)
    assert counts == [1] * raised + [3] * (run.cursor.step - raised)
    assert run.chain.parts[0].state["raised"] == raised
    assert run.chain.parts[0].state["share"] == pytest.approx(shares[first + 1], abs=1e-6)


def test_measurements_are_counted_and_change_nothing():
    plain, watching = trained("er"), trained("er + repeats(low=1, high=2, when=plateau, every=5, gap=0)")
    assert torch.equal(plain.learner.w, watching.learner.w)
    looked = -(-watching.cursor.step // 5)
    assert watching.learner.cost.extra_forward_rows <= 16 * looked
    assert watching.learner.cost.extra_forward_rows > 8 * looked
    (told,) = watching.chain.parts[-1].self_checks(watching.learner)
    assert told.startswith("found no plateau")


class Linear(nn.Module):
    """Has no activation function."""

    def __init__(self, shape, n_outputs):
        super().__init__()
        self.head = nn.Linear(int(np.prod(shape)), n_outputs)

    def forward(self, x):
        return self.head(x.flatten(1))


def test_a_model_without_activation_functions_has_no_plateau_and_says_so():
    run = trained("repeats(when=plateau, every=2)", model=Linear)
    assert run.learner.cost.steps == run.cursor.step
    assert "no activation functions" in run.chain.parts[0].self_checks(run.learner)[0]


@pytest.mark.parametrize("at", [7, 12])
def test_a_run_resumes_within_an_experience_before_and_after_the_plateau(at):
    strategy = "er + repeats(low=1, high=3, when=plateau, every=5, gap=1)"
    whole, half = trained(strategy), train_until(ready(strategy), at)
    resumed = ready(strategy)
    resumed.restore(half.snapshot())
    resumed.train()
    assert_same(everything(resumed), everything(whole))


def test_replay_draws_anew_for_every_update():
    run = ready("er + repeats(high=3)")
    seen = batches(run)[-3:]
    assert len({tuple(batch.rows[batch.sources[1].span].tolist()) for batch in seen}) == 3
    assert len({tuple(batch.rows[batch.stream.span].tolist()) for batch in seen}) == 1


def test_fewer_updates_after_a_plateau_and_two_such_parts_are_refused():
    with pytest.raises(Refused, match="high = 2 is below low = 3"):
        ready("repeats(low=3, high=2)")
    with pytest.raises(Refused, match="both set the number of updates per batch"):
        ready("repeats + repeats(high=2)")
    with pytest.raises(Refused, match="high"):
        ready("repeats(high=0)")

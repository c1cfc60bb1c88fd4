"""The passes over an experience: which batches come, how much is done behind each, and where a run goes on."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain

import pytest
import torch
from support import ready

from clbench.training.batch import ROW
from clbench.training.batch_splits import BatchSplit
from clbench.training.experience_passes import Cursor, Passes


class Meeting:
    """A learner of a run in its first experience, with an order that is turned by one place in every pass."""

    def __init__(self, merged=0):
        self.trainer = ready("naive").trainer
        self.shown = self.trainer.enter(ready("naive").stream[0])
        self.merged = self.shown.index[:, :merged].clone() if merged else None

    def collect(self, passes, at):
        """Rows, stop, and fraction done of each batch, with a copy of the cursor before it."""
        at.merged, found = self.merged, []

        def arrange(rows, epoch):
            return torch.arange(rows).roll(epoch)

        before = replace(at)
        for batch, stop, done in passes.batches(self.trainer, self.shown, at, arrange):
            before.order, before.epoch, before.start = at.order, at.epoch, at.start
            found.append((before, batch.index[ROW].tolist(), stop, done))
            at.advance(stop)
            before = replace(at)
        return found


def sizes(found):
    return [len(rows) for _, rows, *_ in found]


def test_two_passes_have_the_batches_of_two_passes_and_the_fraction_done_grows_evenly_to_one():
    meeting = Meeting()
    n = len(meeting.shown)
    found = meeting.collect(Passes(2, None, BatchSplit(16)), Cursor())
    per_pass = -(-n // 16)
    assert sizes(found) == ([16] * (n // 16) + [n % 16] * (n % 16 > 0)) * 2
    assert [done for *_, done in found] == pytest.approx([(i + 1) / (2 * per_pass) for i in range(2 * per_pass)])
    index = meeting.shown.index[ROW].tolist()
    learned = list(chain.from_iterable(rows for _, rows, *_ in found))
    assert learned == [*index, index[-1], *index[:-1]]


def test_iterations_end_in_the_middle_of_a_pass_and_passes_are_repeated_until_they_are_done():
    meeting = Meeting()
    per_pass = -(-len(meeting.shown) // 16)
    found = meeting.collect(Passes(1, per_pass + 2, BatchSplit(16)), Cursor())
    assert len(found) == per_pass + 2
    assert [done for *_, done in found] == pytest.approx([(i + 1) / (per_pass + 2) for i in range(per_pass + 2)])
    assert found[per_pass][1] == [meeting.shown.index[ROW, -1].item(), *meeting.shown.index[ROW, :15].tolist()]


def test_a_batch_of_merged_rows_has_the_streams_rows_first_and_the_others_as_their_own_source():
    meeting = Meeting(merged=10)
    n = len(meeting.shown)
    batches = []
    at = Cursor(merged=meeting.merged)
    passes = Passes(1, None, BatchSplit(n + 10))
    for batch, _, _ in passes.batches(meeting.trainer, meeting.shown, at, lambda rows, _: torch.arange(rows).flip(0)):
        batches.append(batch)
    (batch,) = batches
    assert [len(source) for source in batch.sources] == [n, 10]
    assert batch.index[ROW, batch.stream.span].tolist() == meeting.shown.index[ROW].flip(0).tolist()


@pytest.mark.parametrize("passes", [Passes(2, None, BatchSplit(16)), Passes(1, 7, BatchSplit(16, drop_last=True))])
@pytest.mark.parametrize("merged", [0, 10])
def test_from_wherever_a_run_stands_the_batches_that_are_left_come(passes, merged):
    whole = Meeting(merged).collect(passes, Cursor())
    assert len(whole) >= 7
    for place, (at, *_) in enumerate(whole):
        rest = Meeting(merged).collect(passes, replace(at))
        assert [each[1:] for each in rest] == [each[1:] for each in whole[place:]]


def test_an_experience_without_a_whole_batch_ends_at_once_however_many_iterations_are_asked_for():
    meeting = Meeting()
    assert meeting.collect(Passes(1, 5, BatchSplit(len(meeting.shown) + 1, drop_last=True)), Cursor()) == []

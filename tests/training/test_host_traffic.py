"""No step waits for a GPU: 0 reads and at most one upload, for every strategy. Traffic is counted without a GPU."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from host_traffic import counted
from support import EVERY_STRATEGY, NoLooks, assert_same, everything, ready, train_until

from clbench.training.replay_buffer import MOST_WAITING

READS = {
    "binary": "reads the number of draws of its layers, which is in a buffer and seeds them",
    "cuber": "decides at the first step of an experience which earlier tasks agree with its gradient",
    "er_aml": "chooses anchors among the samples of the batch by the labels of the replay buffer",
    "fecam": "keeps a matrix for each class, and reads which classes a batch has",
    "gem": "solves a quadratic program on the host at each step that a past gradient disagrees with",
}
"""Strategies whose steps wait for a GPU, and why."""
UPLOADS = {
    "er_aml": "sends random numbers for anchors beside the draw of slots",
    "gem": "takes the samples of each earlier experience from the buffer, and sends the solution of its program",
    "k_fpf": "runs a training loop of its own inside a step",
}
"""Strategies whose steps send more than once to a GPU, and why."""
ROUNDED = {"l2m"}
"""Strategies that compute in another order on a GPU, because the order of a CPU depends on values."""
ALARM = "strategies/effects.py"
"""At a few steps of a run the alarm for hooks without effect reads whether one has acted."""


def of_others(counts: Counter[str]) -> Counter[str]:
    """The reads of a step, without those of the alarm."""
    return Counter({w: n for w, n in counts.items() if not w.startswith(ALARM)})


@pytest.mark.parametrize("name", EVERY_STRATEGY)
def test_no_step_waits_for_a_gpu_and_none_sends_more_than_once(name, monkeypatch):
    usual, run = ready(name, "training.epochs=2"), ready(name, "training.epochs=2")
    for each in (usual, run):
        each.evaluator = NoLooks()
    usual.train()
    with counted(monkeypatch) as traffic:
        run.train()
    assert len(traffic.reads) >= 38
    if name in ROUNDED:
        torch.testing.assert_close(everything(run), everything(usual), rtol=0, atol=1e-6)
    else:
        assert_same(everything(run), everything(usual))  # deferred copies change nothing
    reads = [of_others(counts) for counts in traffic.reads]
    if name in READS:
        assert any(reads), f"{name} waits no more: take it out of the list"
    else:
        assert not any(reads), [each for each in reads if each][:3]
    most = max(map(Counter.total, traffic.uploads))
    assert (most > 1) == (name in UPLOADS), traffic.uploads
    alarms = sum(n for counts in traffic.reads for w, n in counts.items() if w.startswith(ALARM))
    assert alarms <= 8, "the alarm is silent once a hook has acted"


def test_100_steps_of_er_read_nothing_and_send_one_array_each(monkeypatch):
    run = ready("er", "training.epochs=5")
    run.evaluator = NoLooks()
    with counted(monkeypatch) as traffic:
        run.train()
    assert len(traffic.reads) == 100
    assert sum(traffic.reads, Counter()) == Counter()
    sent = sum(traffic.uploads, Counter())
    assert sent.total() == 80  # a draw at each step after the first experience, with the samples admitted before
    assert {line.partition(":")[0] for line in sent} == {"training/replay_buffer.py"}


def test_the_counter_notices_reads_and_uploads(monkeypatch):
    run = ready("naive")
    run.evaluator = NoLooks()
    done = []

    def hook(_, batch):
        done.append(batch.y.max().item())
        batch.y[batch.y > 3]
        torch.from_numpy(batch.host[0].copy())

    run.chain.batch += (hook,)
    with counted(monkeypatch) as traffic:
        run.train()
    each = {(Counter.total(r), Counter.total(u)) for r, u in zip(traffic.reads, traffic.uploads, strict=True)}
    assert len(done) == 20
    assert each == {(2, 1)}


def test_samples_that_wait_for_their_slots_are_put_there_before_they_are_too_many(monkeypatch):
    usual, run = (ready("naive", "training.batch_size=2", "training.epochs=1") for _ in range(2))
    for each in (usual, run):
        each.evaluator = NoLooks()
    usual.train()
    waiting = []
    inner = run.learner.memory.admit
    run.learner.memory.admit = lambda batch: (inner(batch), waiting.append(len(run.learner.memory._waiting)))
    with counted(monkeypatch):
        run.train()
    assert max(waiting) == MOST_WAITING - 1
    assert torch.equal(run.learner.memory.index, usual.learner.memory.index)


@pytest.mark.parametrize("strategy", ["icarl", "derpp", "view_batch"])
def test_a_run_saved_while_samples_wait_continues_bit_for_bit(strategy, monkeypatch):
    usual = ready(strategy, "training.epochs=2")
    usual.train()
    with counted(monkeypatch):
        part, rest = ready(strategy, "training.epochs=2"), ready(strategy, "training.epochs=2")
        train_until(part, 11)
        rest.restore(part.snapshot())
        rest.train()
    assert_same(everything(rest), everything(usual))

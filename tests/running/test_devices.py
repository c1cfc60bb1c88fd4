"""A run goes on on another kind of device. There is none here: what a GPU would hand over is made by hand."""

from __future__ import annotations

import io
from contextlib import nullcontext

import pytest
import torch
from support import Stopped, assert_same, everything, ready, train_until

from clbench.core.global_rng import set_torch_states
from clbench.core.rng import derive
from clbench.running.snapshots import Snapshots
from clbench.testing.compare_runs import leaves

AUGMENTED = ("training={optimizer: adam, lr: 0.01, batch_size: 16, augment: crop-flip}", "model.dropout=0.2")
STATE_OF_A_GPU = torch.arange(16, dtype=torch.uint8)
"""Seed and offset: as long as the state of a generator on a GPU, and far shorter than a CPU's."""


def of_a_gpu(snapshot):
    """A snapshot as a GPU would have given it, but for where its tensors lie."""
    learner = {**snapshot["learner"], "augment": STATE_OF_A_GPU}
    learner["torch"] = [*learner["torch"], STATE_OF_A_GPU]
    return {**snapshot, "learner": learner}


@pytest.mark.parametrize("strategy", ["er + ewc + lwf", "mas(strength=0.1) + agem", "icarl", "slda", "view_batch"])
def test_what_parts_have_learned_is_put_where_the_learner_is(strategy):
    run = train_until(ready(strategy), 12)
    saved = run.chain.snapshot()
    before = {name: v for part in run.chain.parts for name, v in leaves(part.state) if isinstance(v, torch.Tensor)}
    run.chain.restore(saved, "meta")
    after = {name: v for part in run.chain.parts for name, v in leaves(part.state) if isinstance(v, torch.Tensor)}
    assert before
    assert {name: v.shape for name, v in after.items()} == {name: v.shape for name, v in before.items()}
    assert {v.device.type for v in after.values()} == {"meta"}


def test_a_file_written_on_a_gpu_is_read_and_gone_on_from_where_there_is_none(tmp_path, monkeypatch):
    path = tmp_path / "KEY.pt"
    with monkeypatch.context() as gpu:
        gpu.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
        with pytest.raises(Stopped):
            Snapshots(ready("er + ewc"), path, seconds=0).train(stop_at(12))
    with pytest.raises(RuntimeError, match="on a CUDA device"):
        torch.load(
            io.BytesIO(path.read_bytes().partition(b"\n")[2]), weights_only=True
        )  # it does say that it is a GPU's
    whole, rest = ready("er + ewc"), ready("er + ewc")
    whole.train()
    Snapshots(rest, path).train()
    assert_same(everything(rest), everything(whole))


def stop_at(step):
    def stop(done, _):
        if done == step:
            raise Stopped

    return stop


def test_a_run_of_a_gpu_goes_on_here_with_generators_that_begin_anew_and_does_so_alike_each_time():
    snapshot = of_a_gpu(train_until(ready("er", *AUGMENTED), 12).snapshot())
    ends = []
    for noise in (1, 2):
        rest = ready("er", *AUGMENTED)
        torch.manual_seed(noise)
        rest.restore(snapshot)
        rest.train()
        ends.append(everything(rest))
    assert_same(*ends)


def test_the_generator_of_augmentation_goes_on_on_its_kind_of_device_and_begins_anew_on_another():
    first, second = (ready("naive", *AUGMENTED).learner._rows for _ in range(2))
    start = torch.rand(3, generator=first.generator)
    state = first.generator.get_state()
    following = torch.rand(3, generator=first.generator)
    second.go_on(state)
    assert torch.equal(torch.rand(3, generator=second.generator), following)
    second.go_on(STATE_OF_A_GPU)
    assert torch.equal(torch.rand(3, generator=second.generator), start)


def test_a_gpu_that_was_not_there_begins_from_the_seed_of_the_run(monkeypatch):
    run = train_until(ready("naive", "model.dropout=0.2"), 3)
    states, seeds = run.trainer.snapshot()["torch"], []
    monkeypatch.setattr(torch.cuda, "device", nullcontext)
    monkeypatch.setattr(torch.cuda, "manual_seed", seeds.append)
    torch.manual_seed(1)
    set_torch_states(states, torch.device("cuda"))
    assert seeds == [derive(run.cell.seed, "dropout")]

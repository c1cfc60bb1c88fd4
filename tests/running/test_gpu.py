"""What holds on a CPU holds on a GPU: every strategy runs, evaluation is neutral, a run goes on from its snapshot."""

from __future__ import annotations

import pytest
import torch
from support import EVERY_STRATEGY, SMALL, everything, train_until

from clbench.running.plan import plan
from clbench.running.prepare import prepare
from clbench.testing.compare_runs import leaves
from clbench.training import loop

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def ready(strategy, *changes, device="cuda"):
    return prepare(plan(SMALL, strategies=[strategy], seeds=[0], overrides=changes).cells[0], device=device)


@pytest.mark.parametrize("strategy", EVERY_STRATEGY)
def test_every_strategy_runs_on_the_gpu_and_agrees_with_itself(strategy):
    runs = [ready(strategy) for _ in range(2)]
    for run in runs:
        run.train()
    assert runs[0].learner.w.device.type == "cuda"
    torch.testing.assert_close(runs[0].learner.w, runs[1].learner.w, rtol=0, atol=1e-5)


@pytest.mark.parametrize("change", ["stream.scenario=rotated", "model={name: cnn}"])
def test_other_streams_and_models_run_on_the_gpu(change):
    run = ready("er", change) if "model" in change else ready("er", "stream={scenario: rotated, dataset: digits}")
    run.train()
    assert run.evaluator.trace().score[-1].min() >= 0


def test_evaluation_on_the_gpu_does_not_change_training():
    off, on = ready("er", "evaluation.every=0", "model.dropout=0.3"), ready("er", "model.dropout=0.3")
    for run in (off, on):
        run.train()
    torch.testing.assert_close(off.learner.w, on.learner.w, rtol=0, atol=1e-5)


def test_a_run_on_the_gpu_goes_on_from_its_snapshot():
    class Stop(Exception):
        pass

    def stop(step, _):
        if step == 12:
            raise Stop

    whole, part, rest = (ready("er", "model.dropout=0.3") for _ in range(3))
    whole.train()
    with pytest.raises(Stop):
        part.train(stop)
    rest.restore(part.snapshot())
    rest.train()
    for name, value in everything(rest).items():
        torch.testing.assert_close(value, everything(whole)[name], rtol=0, atol=1e-5)


@pytest.mark.parametrize("strategy", ["er + ewc + lwf", "icarl", "view_batch"])
@pytest.mark.parametrize(("first", "then"), [("cpu", "cuda"), ("cuda", "cpu")])
def test_a_run_goes_on_from_its_snapshot_on_the_other_kind_of_device(first, then, strategy):
    whole, part, rest = ready(strategy, device=first), ready(strategy, device=first), ready(strategy, device=then)
    whole.train()
    train_until(part, 12)
    rest.restore(part.snapshot())
    rest.train()
    kept = [v for p in rest.chain.parts for _, v in leaves(p.state) if isinstance(v, torch.Tensor)]
    assert {v.device.type for v in kept} == {then}
    for name, value in everything(rest).items():
        torch.testing.assert_close(value.cpu(), everything(whole)[name].cpu(), rtol=0, atol=1e-3)


def test_a_run_with_dropout_and_augmentation_goes_on_on_the_other_kind_of_device():
    changes = ("training.augment=crop-flip", "model.dropout=0.3")
    for first, then in (("cpu", "cuda"), ("cuda", "cpu")):
        part, rest = ready("er", *changes, device=first), ready("er", *changes, device=then)
        train_until(part, 12)
        rest.restore(part.snapshot())
        rest.train()
        assert rest.cursor.step > 12


WAITING = {"binary", "cuber", "er_aml", "fecam", "gem", "k_fpf"}
"""Strategies whose steps wait, as ``tests/training/test_host_traffic.py`` says."""


@pytest.mark.parametrize("strategy", [name for name in EVERY_STRATEGY if name not in WAITING])
def test_no_step_makes_the_host_wait(strategy, monkeypatch):
    run, usual = ready(strategy), loop.iterate

    def iterate(trainer, hooks, batch, number):
        torch.cuda.set_sync_debug_mode("error" if number > 5 else "default")  # kernels are chosen in the first steps
        try:
            usual(trainer, hooks, batch, number)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(loop, "iterate", iterate)
    run.train()


@pytest.mark.parametrize("change", ["training.precision=bfloat16", "training.channels_last=true"])
def test_passes_in_other_formats_agree_with_those_of_a_cpu(change):
    on_gpu, on_cpu = (ready("er", change, "model={name: cnn}", device=device) for device in ("cuda", "cpu"))
    for run in (on_gpu, on_cpu):
        train_until(run, 3)
    torch.testing.assert_close(on_gpu.learner.w.cpu(), on_cpu.learner.w, rtol=0, atol=5e-3)


def test_a_batch_in_chunks_leads_to_the_weights_of_the_whole():
    parts, whole = ready("er", "training.accumulate=4"), ready("er")
    for run in (parts, whole):
        run.train()
    torch.testing.assert_close(parts.learner.w, whole.learner.w, rtol=0, atol=1e-4)

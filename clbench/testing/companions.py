"""The property that an answer depends on its own sample: nothing is read from the other samples of an evaluation."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from clbench.core.global_rng import preserved
from clbench.core.record import Kind
from clbench.evaluate.evaluation_samples import Panel
from clbench.running.prepared_run import Run
from clbench.testing.trial_runs import Broken, Noting, Skipped, Trial

TOLERANCE = 1e-4
"""Share of a sample's largest score by which its scores may differ: batches of other sizes sum in another order."""


def companions(trial: Trial) -> None:
    """Check that the answer to a sample does not depend on the samples beside it in an evaluation."""
    run = trial.ready()
    evaluator = run.evaluator  # a run has another one while it is observed

    def compare(experience: int) -> None:
        panel = evaluator.panels.panel(run.trainer.readout, Kind.END, experience)
        inputs, task = _samples(panel)
        every = torch.arange(len(task))
        reference = _scores(run, inputs, task, [every])
        with preserved():
            torch.rand(7)  # as after other draws
            if _unlike(reference, _scores(run, inputs, task, [every]), every, task):
                raise Skipped("its answers draw from a global generator, so those to one sample differ anyway")
        for how, batches in _companies(task):
            told = _unlike(reference, _scores(run, inputs, task, batches), torch.cat(batches), task)
            if told:
                raise Broken(
                    f"after experience {experience}, {told} {how}; compute the answer to a sample from this sample "
                    "alone, without a choice, a mean or a norm over the batch, which may tell the task in an evaluation"
                )

    trial.train(run, looks=Noting(evaluator, compare))


def _samples(panel: Panel) -> tuple[Tensor, Tensor]:
    """Return inputs (n, ...) and task labels (n,): samples of an evaluation and, if they are images, their negatives.

    Negatives differ more from samples than samples of a small data set differ among themselves.
    """
    n = len(panel.task)
    places = range(n) if panel.index is None else panel.index.tolist()
    inputs = torch.cat([panel.x[place : place + 1] for place in places])
    if not inputs.is_floating_point():
        return inputs, panel.task.clone()
    return torch.cat([inputs, inputs.min() + inputs.max() - inputs]), panel.task.repeat(2)


def _companies(task: Tensor) -> Iterator[tuple[str, list[Tensor]]]:
    """Yield how samples are put together, and the batches that this gives, for task labels (n,)."""
    samples, task = torch.arange(len(task)), task.cpu()
    yield "if the samples come in the opposite order", [samples.flip(0)]
    yield "if only samples of its own task are beside it", [samples[task == each] for each in task.unique()]
    yield "if it is evaluated alone", list(samples.split(1))


def _scores(run: Run, inputs: Tensor, task: Tensor, batches: list[Tensor]) -> Tensor:
    """Return the scores (n, C) of samples that are evaluated in given batches, in their order."""
    learner, found = run.trainer.readout, []
    learner.scratch.clear()
    with torch.inference_mode(), learner.undisturbed(training=False):
        for batch in batches:
            told = task[batch] if run.stream.task_labels else None
            found.append(learner.predict(learner.output(inputs[batch], told), told).float().cpu())
    learner.scratch.clear()
    return torch.cat(found)


def _unlike(reference: Tensor, scores: Tensor, order: Tensor, task: Tensor) -> str:
    """Return what differs between the scores (n, C) of samples and those in another order, or an empty text."""
    wanted = reference[order]
    size = wanted.nan_to_num(0, 0, 0).abs().amax(1, keepdim=True).clamp(min=1)  # (n, 1)
    far = (wanted - scores).abs() / size
    far[(wanted == scores) | (wanted.isnan() & scores.isnan())] = 0  # infinite scores too
    far = far.nan_to_num(torch.inf, torch.inf).amax(1)  # (n,)
    worst = int(far.argmax())
    if float(far[worst]) <= TOLERANCE:
        return ""
    most = float((wanted - scores)[worst].abs().max())
    return f"the scores of a sample of task {int(task[order[worst]])} change by up to {most:.2g}"

"""Properties about information barriers: what a strategy must not read, and what it must not change."""

from __future__ import annotations

import contextlib
import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from clbench.core.global_rng import comparable_states, preserved
from clbench.core.rng import Generator
from clbench.core.types import Dataset, Rows, Stream
from clbench.running import prepare as preparing
from clbench.running.plan import make_stream
from clbench.running.prepared_run import Run
from clbench.running.user_objects import UserObjects
from clbench.scenarios import merging
from clbench.testing.compare_runs import difference
from clbench.testing.process_state import read_process_state
from clbench.testing.run_properties import ask_sound
from clbench.testing.trial_runs import BENCHMARK, Blind, Broken, Halted, Skipped, Stop, Trial, ends

DRAWS = (
    (
        "random",
        random,
        ("random", "sample", "shuffle", "choice", "choices", "randint", "uniform", "randrange", "gauss"),
    ),
    (
        "numpy.random",
        np.random,
        ("rand", "randn", "randint", "permutation", "shuffle", "choice", "random", "uniform", "normal"),
    ),
    (
        "torch",
        torch,
        ("rand", "randn", "randint", "randperm", "multinomial", "bernoulli", "rand_like", "randn_like", "normal"),
    ),
)
"""Functions that draw from a global generator unless they get another one."""

OWN = "draw from self.generator"
HIDDEN = ("stream={scenario: gaussian, experiences: 2, dataset: {name: digits, train_rows: 200}}",)
"""The change to a stream of 20 steps whose classes come and go, in two experiences with a hidden boundary."""
STEPS = (5, 14)
"""Steps, one in each experience, after which the later samples are replaced."""
LAST = 1
"""The experience up to whose end later experiences must have no effect."""


def randomness(trial: Trial) -> None:
    """Check that no global generator (random, NumPy, torch) is drawn from, seeded or changed."""
    trial.skip_online_learners("may draw from them: they are seeded for it, saved, and restored when the run is over")
    run, poison = trial.ready(), _Poison()
    with _guarded():
        trial.train(run, poison)
        poison.look("the last step")
    ask_sound(trial)
    told = difference(trial.reference().kept, ends(run).kept | poison.innocent(trial))
    if told:
        raise Broken(f"the result depends on the state of a global generator: {told}; {OWN}")


def process_state(trial: Trial) -> None:
    """Check that the working directory, its files, the environment and torch's settings stay unchanged."""
    run = trial.ready()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        before = read_process_state()
        trial.train(run, looks=Blind())
        after = read_process_state()
        written = sorted(path.name for path in Path(folder).iterdir())
    for what, value in before.items():
        if after[what] != value:
            raise Broken(f"a run changes {what}; a run leaves the process as it found it")
    if written:
        raise Broken(f"a run writes {written[0]!r} into the working directory; keep what is learned in self.state")


def test_rows(trial: Trial) -> None:
    """Check that other images in the test split do not change training."""

    def change(data: Dataset) -> Dataset:
        return replace(data, test=Rows(_other(data.test.x), data.test.y))

    told = difference(trial.reference(blind=True).kept, _with(trial, change).kept)
    if told:
        raise Broken(f"training depends on the test samples: {told}; train on batch, replay buffer and experience only")


def hidden_labels(trial: Trial) -> None:
    """Check that hidden task labels do not change training."""
    if "task_labels" in trial.needs:
        raise Skipped("it declares to need task labels, so they are not hidden from it")

    def shuffled(*arguments: Any, **named: Any) -> Stream:
        stream = make_stream(*arguments, **named)
        tasks = Generator(trial.seed, "other tasks")

        def build(position: int) -> Any:
            experience = stream.build(position)
            return replace(experience, task=tasks.integers(len(experience), len(stream.tasks)))

        return replace(stream, build=build)

    with mock.patch.object(preparing, "make_stream", shuffled):
        run = trial.ready()
    trial.train(run, looks=Blind())
    told = difference(trial.reference(blind=True).kept, ends(run).kept)
    if told:
        raise Broken(
            f"training depends on hidden task labels: {told}; declare needs = frozenset({{'task_labels'}}), or "
            "do without"
        )


def future(trial: Trial) -> str | None:
    """Check that samples, classes and number of later experiences do not change what is learned before."""
    if any(part.sees == "merged" for part in trial.parts):
        raise Skipped("it is declared to see the whole stream at once")
    stream = trial.ready().stream
    later = np.concatenate([stream[i].rows for i in range(LAST + 1, len(stream))])
    later = np.setdiff1d(later, np.concatenate([stream[i].rows for i in range(LAST + 1)]))

    def change(data: Dataset) -> Dataset:
        x, y = data.train.x.copy(), data.train.y.copy()
        x[later] = _other(x[later])
        for position in range(LAST + 1, len(stream)):
            rows = np.intersect1d(stream[position].rows, later)
            y[rows] = y[rows][::-1]  # the same labels, for other samples of the same experience
        return replace(data, train=Rows(x, y))

    dataset = change(stream.dataset)
    _early(trial, trial.ready(given=UserObjects(dataset=dataset)), "samples of later experiences")
    places = [*range(LAST + 1), *range(LAST + 2, len(stream)), LAST + 1]
    _early(trial, _cut(trial, places), "the later experiences")
    if "length" in trial.needs:
        return "the length of the stream is not tested, since it declares to need it"
    _early(trial, _cut(trial, places[: LAST + 1]), "the number of later experiences")
    return None


def rows_to_come(trial: Trial) -> None:
    """Check that with hidden boundaries, later samples change nothing, also those of the running experience."""
    if any(part.sees != "stream" for part in trial.parts):
        raise Skipped("it is declared to see more of the stream than a strategy does")
    if "boundaries" in trial.needs:
        raise Skipped("it declares to need boundaries, so they are not hidden from it")
    try:
        before = _after(trial, *STEPS)
    except Halted:
        raise Skipped("it does not run with hidden boundaries, as 'needs' shows") from None
    for step in STEPS:
        try:
            with mock.patch.object(preparing, "make_stream", _with_others_to_come(make_stream, step)):
                told = difference(before[step], _after(trial, step)[step])
        except Halted as error:
            told = f"with other samples, {error}"
        if told:
            raise Broken(
                f"with hidden boundaries, the state after step {step} depends on later samples: {told}; "
                "train only on the batch and the replay buffer"
            )


def _after(trial: Trial, *steps: int) -> dict[int, dict[str, Any]]:
    """Return the results of a run with hidden boundaries after some steps; the last one ends the run."""
    found, run = {}, trial.ready(*HIDDEN)

    def note(done: int, _: float) -> None:
        if done in steps:
            found[done] = ends(run).kept
        if done == steps[-1]:
            raise Stop

    trial.train(run, note)
    return found


def _with_others_to_come(make: Callable[..., Stream], step: int) -> Callable[..., Stream]:
    """Return the same stream up to a step; later it has exchanged labels and other images."""

    def made(*arguments: Any, **named: Any) -> Stream:
        stream = make(*arguments, **named)
        later = np.concatenate([experience.rows for experience in stream])[
            int(BENCHMARK["training"]["batch_size"]) * step :
        ]
        train = stream.dataset.train
        x, y = train.x.copy(), train.y.copy()
        x[later], y[later] = _other(x[later]), y[later][::-1]
        dataset = replace(stream.dataset, train=Rows(x, y))

        def build(position: int) -> Any:
            experience = stream.build(position)
            return replace(experience, classes=tuple(np.unique(y[experience.rows]).tolist()))

        return replace(stream, dataset=dataset, build=build)

    return made


def _cut(trial: Trial, places: list[int]) -> Run:
    """Return a run that meets only some of the stream's experiences, in this order."""
    run = trial.ready()
    run.stream = merging.only(run.stream, places)
    run.trainer.go_on(run.stream, run.learner._rows)
    return run


def _early(trial: Trial, run: Run, what: str) -> None:
    """Check that a run has the weights of the unchanged run at the end of experience :data:`LAST`."""

    def stop(experience: int) -> None:
        if experience == LAST:
            raise Stop

    told, before = "", trial.reference(blind=True)
    try:
        trial.train(run, looks=Blind(stop))
    except Halted as error:
        told = f"with other ones, {error}"
    told = told or difference({"the weights": before.at[LAST]}, {"the weights": run.learner.w.detach()})
    if told:
        raise Broken(
            f"the state after experience {LAST} depends on {what}: {told}; train only on the batch, the replay "
            "buffer and the running experience"
        )


# --------------------------------------------------------------------------------------------------- global generators


class _Poison:
    """Change all global generators after every step, and detect changes in between."""

    def __init__(self) -> None:
        self._left: dict[str, Any] = {}

    def __call__(self, step: int, _: float) -> None:
        self.look(f"step {step}")
        random.seed(step)
        np.random.seed(step)  # noqa: NPY002
        torch.manual_seed(step)
        self._left = comparable_states()

    def look(self, when: str) -> None:
        """Compare with the state that was set last."""
        now = comparable_states()
        for name, state in self._left.items():
            if now[name] != state:
                raise Broken(f"{name}'s global generator is drawn from or seeded in {when}; {OWN}")

    @staticmethod
    def innocent(trial: Trial) -> dict[str, Any]:
        """Return differences that are caused by the changed generators themselves."""
        return {name: v for name, v in trial.reference().kept.items() if name.startswith("torch's generator")}


@contextmanager
def _guarded() -> Iterator[None]:
    """Make functions that draw from a global generator raise errors; restore the generators at the end."""
    with ExitStack() as stack:
        stack.enter_context(preserved())
        for module, owner, names in DRAWS:
            for name in names:
                stack.enter_context(mock.patch.object(owner, name, _guard(f"{module}.{name}", getattr(owner, name))))
        yield


def _guard(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(*arguments: Any, **named: Any) -> Any:
        if named.get("generator") is not None:
            return function(*arguments, **named)
        raise AssertionError(f"{name} draws from the global generator; {OWN}")

    return guarded


# --------------------------------------------------------------------------------------------------- what they share


def _with(trial: Trial, change: Callable[[Dataset], Dataset]) -> Any:
    run = trial.ready(given=UserObjects(dataset=change(trial.ready().stream.dataset)))
    return ends(trial.train(run, looks=Blind()))


def _other(x: Any) -> Any:
    """Return other images of the same kind and shape: the negatives."""
    return (x.max() - x).astype(x.dtype) if x.size else x

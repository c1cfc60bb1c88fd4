"""Properties of runs: they repeat, resume, need what they declare, and work in other settings."""

from __future__ import annotations

import io
import json
import pickle
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch

from clbench.core.errors import Refused
from clbench.core.trace_equality import trace_difference
from clbench.running.cell_key import Cell
from clbench.running.run_cell import run_cell
from clbench.running.user_objects import UserObjects
from clbench.strategies import STRATEGIES
from clbench.testing.compare_runs import difference, leaves
from clbench.testing.trial_runs import Blind, Broken, Ends, Halted, Question, Skipped, Trial, begun, ends

RICH = ("training.epochs=2", "training.momentum=0.9", "model.dropout=0.2", "memory.admit=every_pass")
"""Settings with everything that a snapshot might lack: passes, momentum, torch's generator, a changing replay
buffer."""

SECOND_MODEL = (
    "model={name: cnn, width: 4, hidden: 8}",
    "training={optimizer: adam, lr: 0.01, batch_size: 10, augment: crop-flip}",
    "stream.dataset.train_rows=100",
    "memory.policy=class_balanced",
)
SECOND_SCENARIO = (
    "stream={scenario: rotated, setting: domain, degrees: [0, 70], dataset: {name: digits, train_rows: 80}}",
)
TASK_LABELS = ("stream.setting=task", "model.heads=separate", "training.momentum=0.5", "training.weight_decay=0.001")

MOMENTUM = "training.momentum=0.9"

IN_STATE = "keep what is learned in self.state, as copies (learner.w.detach().clone()) and nowhere else"


def deterministic(trial: Trial) -> None:
    """Check that two runs of one cell are equal, bit for bit."""
    first = trial.reference()
    torch.rand(7)  # another process would have another state of torch's generator
    told = _unlike(first, trial.trained())
    if told:
        raise Broken(
            f"two runs of one cell are not equal: {told}; draw from self.generator, and let nothing depend on time, "
            "on the order of sets, or on what an earlier run left in a class or module"
        )


@lru_cache(maxsize=16)
def _fault(question: Question) -> tuple[bool, str]:
    try:
        deterministic(question.trial)
    except Halted as error:
        return True, f"{error.why}, as 'deterministic' shows"
    except Broken:
        return False, "two runs of it differ, as 'deterministic' shows"
    except Skipped:
        pass  # each property has its own reason for that
    return False, ""


def ask_sound(trial: Trial, *, compares: bool = True) -> None:
    """Skip a property if the strategy does not run, or if ``compares`` is set and two equal runs already differ.

    The same fault would otherwise be reported again under another name.

    Raises:
        Skipped: With the reason.
    """
    halted, why = _fault(trial.question)
    if why and (halted or compares):
        raise Skipped(why)


def resumable(trial: Trial) -> None:
    """Check that a run resumes bit for bit from a snapshot within an experience, in another process or rolled back."""
    plain = trial.needs & {"convolutions", "transformer"}  # these models have no dropout
    rich = [change for change in RICH if "dropout" not in change or not plain]
    _resumes(trial, *rich, places=(0.15, 0.65), times=2)


def unwatched(trial: Trial) -> None:
    """Check that training is bit-identical without evaluations, and with other evaluations."""
    off = trial.ready()
    trial.train(off, looks=Blind())
    others = ("evaluation.every=3", "evaluation.rows_per_task=all", "evaluation.tasks=all")
    for what, kept in (("no", ends(off).kept), ("other", trial.trained(*others).kept)):
        told = difference(trial.reference().kept, kept)
        if told:
            raise Broken(
                f"training differs with {what} evaluations: {told}; predict must change nothing that training reads, "
                "and must draw nothing: results for one evaluation belong into learner.scratch"
            )


def identity(trial: Trial) -> str | None:
    """Check that a part changes nothing at the parameters that it declares as its identity."""
    declared = [number for number, part in enumerate(trial.parts) if part.identity is not None]
    if not declared:
        raise Skipped("no part declares an identity, the parameters with which it has no effect")
    undefined = [told for number in declared if (told := _identity(trial, number))]
    if len(undefined) == len(declared):
        raise Skipped("; ".join(undefined))
    return "; ".join(undefined) or None


def _identity(trial: Trial, number: int) -> str:
    """Test one part: compare the chain with it at its identity to the chain without it; return why it cannot be
    tested."""
    part = trial.parts[number]
    neutral, title = dict(part.identity or {}), type(part).__name__
    written = f"{title}({', '.join(f'{key}={value}' for key, value in neutral.items())})"
    if any(type(other) is type(part) for other in trial.parts[number + 1 :]):
        return f"{written} cannot be compared, since without it the other {title} would draw other numbers"
    try:
        still = replace(part, **neutral)
    except TypeError as error:
        raise Broken(f"{title} declares the identity {neutral}, and cannot be made so: {error}") from None
    with_it = UserObjects(alter=lambda parts: [*parts[:number], replace(still), *parts[number + 1 :]])
    without = UserObjects(alter=lambda parts: [*parts[:number], *parts[number + 1 :]])
    ours = trial.trained(MOMENTUM, given=with_it)
    try:
        theirs = trial.trained(MOMENTUM, given=without)
    except (Broken, Refused) as error:
        return f"{written} cannot be compared, since the others do not run without it: {error}"
    told = difference({"the weights": ours.kept["the weights"]}, {"the weights": theirs.kept["the weights"]})
    if told or (told := trace_difference(ours.trace, theirs.trace)):
        look = f"multiply every term by {next(iter(neutral))}, or " if neutral else ""
        raise Broken(f"{written} is declared to have no effect and has one: {told}; {look}remove the declaration")
    return ""


def needs(trial: Trial) -> None:
    """Check that a part works without everything that it does not declare as needed: boundaries, replay buffer."""
    undeclared = {"boundaries": "stream.boundaries=false", "memory": "memory.size=0"}
    for need, change in undeclared.items():
        if need not in trial.needs:
            try:
                trial.trained(change)
            except Broken as error:
                raise Broken(
                    f"without {need}, {error}; declare needs = frozenset({{'{need}'}}), or do without"
                ) from error
    if undeclared.keys() <= trial.needs:
        raise Skipped("it declares to need boundaries and a replay buffer")


def second_model(trial: Trial) -> None:
    """Check that it works with a convolutional network, Adam and augmentation, and resumes there."""
    pretrained = (begun("cnn"),) if "pretrained" in trial.needs else ()
    _resumes(trial, *SECOND_MODEL, *pretrained, places=(0.5,))


def second_scenario(trial: Trial) -> None:
    """Check that it works on a stream in which images change instead of classes, and resumes there."""
    labels = ("stream.task_labels=true",) if "task_labels" in trial.needs else ()
    _resumes(trial, *SECOND_SCENARIO, *labels, places=(0.6,))


def task_labels(trial: Trial) -> None:
    """Check that it works with revealed task labels and a head for every task, and resumes there."""
    _resumes(trial, *TASK_LABELS, places=(0.5,))


def device(trial: Trial) -> str | None:
    """Check that the state of parts is on the device of the weights, also on a GPU if there is one."""
    name = "cuda" if torch.cuda.is_available() else "cpu"
    run = trial.train(trial.ready(device=name), looks=Blind())
    for part in run.chain.parts:
        for what, value in leaves(part.state):
            if isinstance(value, torch.Tensor) and value.device != run.learner.device:
                raise Broken(
                    f"the state of {type(part).__name__} holds {what} on {value.device}, and the weights are on "
                    f"{run.learner.device}; make tensors like learner.w.new_zeros(...) or with device=learner.device"
                )
    return None if name == "cuda" else "no GPU is available: tested only on the CPU"


def workers(trial: Trial) -> None:
    """Check that the cell runs equally after the pickling for a worker and the JSON of a record, in this process."""
    local = [entry.name for entry in STRATEGIES if entry.origin == "this program"]
    mine = next((item["name"] for item in trial.parsed.items if item["name"] in local), None)
    if mine is not None:
        raise Skipped(f"{mine!r} exists only in this program; put it into a file (FILE.py:NAME) or a package")
    reference = trial.reference()
    sent = pickle.loads(pickle.dumps(trial.cell()))
    arrived = Cell.of(json.loads(json.dumps(sent.config)), sent.label)
    if arrived.key != sent.key:
        raise Broken("the cell has another key after conversion to JSON; use plain types for parameters")
    record = run_cell(arrived)
    if record.status != "done" or record.trace is None:
        raise Broken(f"the cell runs here and is {record.status} in a worker: {record.reason}")
    told = trace_difference(reference.trace, record.trace)
    if told:
        raise Broken(f"the cell has another result in a worker: {told}")


# --------------------------------------------------------------------------------------------------- what they share


def _unlike(ours: Ends, theirs: Ends) -> str:
    told = difference(ours.kept, theirs.kept) or trace_difference(ours.trace, theirs.trace)
    return told or difference({"cost": ours.cost}, {"cost": theirs.cost})


def _resumes(trial: Trial, *changes: str, places: tuple[float, ...], times: int = 1) -> None:
    """Resume from snapshots at fractions of the stream: each is saved at once, and the last one is also kept in memory.

    The run is resumed ``times`` times from the last one.
    """
    run = trial.ready(*changes)
    saved: list[tuple[int, bytes]] = []
    kept: list[dict[str, Any]] = []

    def snap(step: int, done: float) -> None:
        if len(saved) < len(places) and done >= places[len(saved)]:
            kept[:] = [run.snapshot()]
            buffer = io.BytesIO()
            torch.save(kept[0], buffer)
            saved.append((step, buffer.getvalue()))

    trial.train(run, snap)
    whole = ends(run)
    files = [(step, torch.load(io.BytesIO(written), weights_only=True)) for step, written in saved]
    for step, snapshot in files[:-1]:
        _goes_on(trial, changes, snapshot, whole, f"from a file written after step {step}")
    step, loaded = files[-1]
    for _ in range(times):
        _goes_on(trial, changes, kept[0], whole, f"from a snapshot after step {step}")
    told = difference(dict(leaves(_plain(loaded))), dict(leaves(_plain(kept[0]))))
    if told:
        raise Broken(f"a snapshot changes while the run continues: {told}; {IN_STATE}")


def _goes_on(trial: Trial, changes: tuple[str, ...], snapshot: dict[str, Any], whole: Ends, how: str) -> None:
    torch.rand(7)
    resumed = trial.ready(*changes)
    resumed.restore(snapshot)
    trial.train(resumed)
    told = _unlike(whole, ends(resumed))
    if told:
        raise Broken(f"a run resumed {how} has another result: {told}; {IN_STATE}")


def _plain(snapshot: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in snapshot.items() if name in ("learner", "chain")}

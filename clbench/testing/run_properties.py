"""Properties of runs: that they repeat, go on from snapshots, stay within bounds, and work where they are said to."""

from __future__ import annotations

import io
import json
import pickle
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch

from clbench.core.errors import Refused
from clbench.running.cell import run_cell
from clbench.running.plan import Cell
from clbench.running.user_objects import UserObjects
from clbench.strategies import STRATEGIES
from clbench.testing.compare_runs import difference, leaves, trace_difference
from clbench.testing.trial_runs import Blind, Broken, Ends, Halted, Question, Skipped, Trial, begun, ends

RICH = ("training.epochs=2", "training.momentum=0.9", "model.dropout=0.2", "memory.admit=every_pass")
"""Whatever a snapshot might forget: passes, momentum, torch's generator, a memory that is written all the time."""

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
    """Two runs of one cell are the same, bit for bit."""
    first = trial.reference()
    torch.rand(7)  # another process would find torch's generator elsewhere
    told = _unlike(first, trial.trained())
    if told:
        raise Broken(
            f"two runs of one cell are not the same: {told}; draw from self.generator, and let nothing depend on time, "
            "on the order of sets, or on what an earlier run left in a class or module"
        )


@lru_cache(maxsize=16)
def _fault(question: Question) -> tuple[bool, str]:
    try:
        deterministic(question.trial)
    except Halted as error:
        return True, f"{error.why}, as 'deterministic' tells"
    except Broken:
        return False, "two runs of it differ, as 'deterministic' tells"
    except Skipped:
        pass  # each property has its own reason for that
    return False, ""


def ask_sound(trial: Trial, *, compares: bool = True) -> None:
    """Ask no more of a strategy that does not run, nor what ``compares`` two runs where two of a kind differ already:
    the same fault would be told again, and blamed on something else.

    Raises:
        Skipped: With the reason.
    """
    halted, why = _fault(trial.question)
    if why and (halted or compares):
        raise Skipped(why)


def resumable(trial: Trial) -> None:
    """A run goes on bit for bit from a snapshot in the middle of an experience, in another process or rolled back."""
    _resumes(trial, *RICH, places=(0.15, 0.65), times=2)


def unwatched(trial: Trial) -> None:
    """Training is bit-identical with evaluation off, and with other looks."""
    off = trial.ready()
    trial.train(off, looks=Blind())
    others = ("evaluation.every=3", "evaluation.rows_per_task=all", "evaluation.tasks=all")
    for what, kept in (("no", ends(off).kept), ("other", trial.trained(*others).kept)):
        told = difference(trial.reference().kept, kept)
        if told:
            raise Broken(
                f"training is not the same with {what} looks: {told}; predict changes nothing that training reads, and "
                "draws nothing: what is worked out for one look goes into learner.scratch"
            )


def identity(trial: Trial) -> str | None:
    """At the parameters that a part declares as its identity, it changes nothing."""
    declared = [number for number, part in enumerate(trial.parts) if part.identity is not None]
    if not declared:
        raise Skipped("no part declares an identity, the parameters at which it does nothing")
    undefined = [told for number in declared if (told := _identity(trial, number))]
    if len(undefined) == len(declared):
        raise Skipped("; ".join(undefined))
    return "; ".join(undefined) or None


def _identity(trial: Trial, number: int) -> str:
    """Ask one part: the chain with it at its identity against the chain without it. Returns why it cannot be asked."""
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
        look = f"see that every term is multiplied by {next(iter(neutral))}, or " if neutral else ""
        raise Broken(f"{written} is declared to do nothing and does: {told}; {look}take the declaration back")
    return ""


def needs(trial: Trial) -> None:
    """What a part does not declare as needed, it does without: boundaries, memory."""
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
        raise Skipped("it declares to need boundaries and a memory")


def second_model(trial: Trial) -> None:
    """It works with a convolutional network, Adam and augmentation, and resumes there."""
    pretrained = (begun("cnn"),) if "pretrained" in trial.needs else ()
    _resumes(trial, *SECOND_MODEL, *pretrained, places=(0.5,))


def second_scenario(trial: Trial) -> None:
    """It works on a stream where not classes but images change, and resumes there."""
    _resumes(trial, *SECOND_SCENARIO, places=(0.6,))


def task_labels(trial: Trial) -> None:
    """It works where task labels are shown and every task has a head of its own, and resumes there."""
    _resumes(trial, *TASK_LABELS, places=(0.5,))


def device(trial: Trial) -> str | None:
    """What a part keeps lies where the weights lie, on a GPU too where there is one."""
    name = "cuda" if torch.cuda.is_available() else "cpu"
    run = trial.train(trial.ready(device=name), looks=Blind())
    for part in run.chain.parts:
        for what, value in leaves(part.state):
            if isinstance(value, torch.Tensor) and value.device != run.learner.device:
                raise Broken(
                    f"the state of {type(part).__name__} holds {what} on {value.device}, and the weights lie on "
                    f"{run.learner.device}; make tensors like learner.w.new_zeros(...) or with device=learner.device"
                )
    return None if name == "cuda" else "there is no GPU here: seen on the CPU only"


def workers(trial: Trial) -> None:
    """The cell runs the same after the pickle that takes it to a worker, and after a record's JSON; in this process."""
    local = [entry.name for entry in STRATEGIES if entry.origin == "this program"]
    mine = next((item["name"] for item in trial.parsed.items if item["name"] in local), None)
    if mine is not None:
        raise Skipped(f"{mine!r} is known to this program alone; put it into a file (FILE.py:NAME) or a package")
    reference = trial.reference()
    sent = pickle.loads(pickle.dumps(trial.cell()))
    arrived = Cell.of(json.loads(json.dumps(sent.config)), sent.label)
    if arrived.key != sent.key:
        raise Broken("the cell has another key after a journey through JSON; give parameters plain types")
    record = run_cell(arrived)
    if record.status != "done" or record.trace is None:
        raise Broken(f"the cell runs here and is {record.status} behind a worker's door: {record.reason}")
    told = trace_difference(reference.trace, record.trace)
    if told:
        raise Broken(f"the cell gives another result behind a worker's door: {told}")


# --------------------------------------------------------------------------------------------------- what they share


def _unlike(ours: Ends, theirs: Ends) -> str:
    told = difference(ours.kept, theirs.kept) or trace_difference(ours.trace, theirs.trace)
    return told or difference({"cost": ours.cost}, {"cost": theirs.cost})


def _resumes(trial: Trial, *changes: str, places: tuple[float, ...], times: int = 1) -> None:
    """Snapshots at fractions of the stream: each is saved at once, and the last is kept in memory as well, and then
    gone on from as many ``times``."""
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
        raise Broken(f"a snapshot changes while the run goes on: {told}; {IN_STATE}")


def _goes_on(trial: Trial, changes: tuple[str, ...], snapshot: dict[str, Any], whole: Ends, how: str) -> None:
    torch.rand(7)
    resumed = trial.ready(*changes)
    resumed.restore(snapshot)
    trial.train(resumed)
    told = _unlike(whole, ends(resumed))
    if told:
        raise Broken(f"a run that goes on {how} ends elsewhere: {told}; {IN_STATE}")


def _plain(snapshot: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in snapshot.items() if name in ("learner", "chain")}

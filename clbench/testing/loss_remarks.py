"""Remarks on a strategy that breaks nothing: what its loss uses, how long its gradient is, whether it has an identity.

A method can keep its whole contract and still lead for another reason than its idea. These remarks name the two
commonest reasons, so that the comparison can be made fair: a gradient that is longer than the baseline's, and classes
that do not compete elsewhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median

from clbench.core.errors import Refused
from clbench.running.loss_measure import OLD, LossMeasure, StepForm
from clbench.running.user_objects import UserObjects
from clbench.strategies.part import Part, defines
from clbench.testing.trial_runs import Blind, Broken, Skipped, Trial

APART = 3**0.5
"""Ratio of lengths of gradients from which it is pointed out. With plain SGD a gradient k times as long is a learning
rate k times as large, and searches over learning rates usually go in steps of 3: from the square root of 3 on the
next rate is nearer than the benchmark's own."""
STEPS = 3
"""At how many steps the length of the gradient is shown."""


@dataclass(frozen=True)
class Remark:
    """Say something about a strategy that is not a broken contract.

    Args:
        text: One or two sentences.
        warns: Whether its author should act on it; otherwise it is information.
    """

    text: str
    warns: bool


def remarks(trial: Trial) -> list[Remark]:
    """Return the remarks on a strategy under test; none if it does not run, which its contract reports."""
    found = _on_losses(trial)
    if without := _without_identity(trial):
        found.append(without)
    return found


def _on_losses(trial: Trial) -> list[Remark]:
    try:
        steps = _measured(trial)
        if not steps:
            return []
        return [*_outside(trial, steps), _length(trial, steps)]
    except (Broken, Skipped, Refused):
        return []


def _measured(trial: Trial, given: UserObjects | None = None) -> list[StepForm]:
    run = trial.ready(given=given)
    measure = LossMeasure(run)
    trial.train(run, looks=Blind())
    return [step for step in measure.steps if not math.isnan(step.length)]


def _own(part: Part) -> bool:
    """Return whether a part is no part of clbench."""
    return type(part).__module__.partition(".")[0] != "clbench"


def _outside(trial: Trial, steps: list[StepForm]) -> list[Remark]:
    """Name each part whose loss uses outputs of classes that do not compete."""
    used: dict[str, set[str]] = {}
    for step in steps:
        for title, sources in step.outside.items():
            used.setdefault(title, set()).update(sources)
    found = []
    for title, sources in used.items():
        parts = _parts_of(trial, title)
        where = " and ".join(sorted(_samples(source) for source in sources))
        text = f"{_named(title, parts)} uses outputs of classes that do not compete, on {where}"
        if any(part.protocol.get("stream.output") == "all" for part in parts):
            found.append(Remark(f"{text}; its source does so too, with stream.output: all.", warns=False))
        elif any(map(_own, parts)):
            found.append(
                Remark(
                    f"{text}. Classes are then learned as wrong before they occur, which changes results by itself. "
                    "Use batch.class_mask.masked(output.logits), or compare with a baseline that does the same "
                    "(clbench ablate).",
                    warns=True,
                )
            )
        else:
            found.append(Remark(f"{text}, as its description says.", warns=False))
    return found


def _parts_of(trial: Trial, title: str) -> list[Part]:
    """Return the parts that a measured loss belongs to; for the family's own, those that set the class mask."""
    if title == "objective":
        owners = [part for part in trial.parts if defines(part, "objective")]
        return owners or [part for part in trial.parts if part.masks_classes]
    return [part for part in trial.parts if part.title == title]


def _named(title: str, parts: list[Part]) -> str:
    return title if title != "objective" else parts[0].title if parts else "the loss"


def _samples(source: str) -> str:
    return "rehearsed samples" if source == OLD else "the stream's samples"


def _length(trial: Trial, steps: list[StepForm]) -> Remark:
    """Say how long the gradient is at three steps, beside that of the mean loss on the same samples."""
    later = [step for step in steps if step.experience != 0 and (step.rehearsed or not any(s.rehearsed for s in steps))]
    chosen = later or steps
    shown = [chosen[round(k * (len(chosen) - 1) / (STEPS - 1))] for k in range(STEPS)]
    lengths = ", ".join(f"{step.length:.2g}" for step in shown)
    text = (
        f"At steps {', '.join(str(step.step) for step in shown)} its gradient is {lengths} times as long as that of "
        "the mean loss on the same samples"
    )
    usual = median(step.length for step in chosen)
    ratio = usual / _without_own(trial)
    if 1 / APART < ratio < APART or not any(map(_own, trial.parts)):
        return Remark(f"{text}.", warns=False)
    return Remark(
        f"{text}. With plain SGD this is a learning rate about {ratio:.2g} times as large: compare it with a baseline "
        "at the baseline's own best learning rate (clbench ablate).",
        warns=True,
    )


def _without_own(trial: Trial) -> float:
    """Return the length of the gradient without the user's own parts; 1 if nothing is left, or does not run."""
    if all(map(_own, trial.parts)):
        return 1.0
    without = UserObjects(alter=lambda parts: [part for part in parts if not _own(part)])
    try:
        lengths = [step.length for step in _measured(trial, without) if step.experience != 0]
    except (Broken, Skipped, Refused):
        return 1.0
    return median(lengths) if lengths and median(lengths) > 0 else 1.0


def _without_identity(trial: Trial) -> Remark | None:
    """Name the user's own parts that declare no identity."""
    names = [part.title for part in trial.parts if _own(part) and part.identity is None]
    if not names:
        return None
    declares = "declares" if len(names) == 1 else "declare"
    return Remark(
        f"{' and '.join(names)} {declares} no identity. Give the settings at which the idea has no effect, such as "
        'identity: ClassVar = {"strength": 0}: the contract then checks that this is so, and clbench ablate runs them.',
        warns=True,
    )

"""The continual hyperparameter framework: a run chooses settings of its strategy in each experience, from the samples
of this experience alone.

In each experience, from where the experience before it has ended:

1. *Plasticity.* The parts stand at their declared identity. The experience is learned with each learning rate, and the
   best accuracy A* on held-out samples of the experience is noted, with its rate.
2. *Stability.* The settings begin at their high end. The experience is learned with them and measured; while the
   accuracy is below (1 - drop) A*, the run returns to the beginning of the experience, and the settings decay.

The last try stands: with its weights, replay buffer, parts and evaluations the run goes on. Tries before it leave
nothing but their cost.

Source: De Lange et al. 2021, arXiv 1909.08383, section 4, and their code for several settings.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from clbench.adapters.run_setup import RunSetup, Skip
from clbench.benchmark.tuning_section import Tuning
from clbench.evaluate.held_out_accuracy import held_out_accuracy
from clbench.evaluate.no_evaluations import NoEvaluations
from clbench.running.cell_key import Cell
from clbench.scenarios import shows_boundaries
from clbench.scenarios.held_out_rows import HeldOutRows
from clbench.strategies.part import Part
from clbench.strategies.stability_knobs import StabilityKnob, at_identity, stability_knobs
from clbench.strategies.strategy import Declarations
from clbench.training.loop import Looks
from clbench.training.loss_check import Diverged

if TYPE_CHECKING:
    from clbench.running.prepared_run import Run

TIE = 1e-9
"""So that 0.72 is enough for 0.8 of 0.9, whose product is 0.7200000000000001."""


class Learn(Protocol):
    """Describe the training loop of a run, from its cursor on."""

    def __call__(self, *, looks: Looks, until: int | None) -> None:
        """Learn to the end of the stream, or before an experience."""


class ContinualSearch:
    """Learn a stream, and choose settings of a strategy in each experience.

    Args:
        tuning: The protocol and its numbers.
        knobs: The settings to choose.
        parts: The parts of the strategy, whose fields are set.
        held_out: Holds samples of each experience out of training.

    Attributes:
        chosen: What was chosen in each experience that has ended.
    """

    def __init__(
        self, tuning: Tuning, knobs: Sequence[StabilityKnob], parts: Sequence[Part], held_out: HeldOutRows
    ) -> None:
        self._tuning, self._knobs, self._parts, self._held_out = tuning, list(knobs), list(parts), held_out
        self._neutral = at_identity(parts, knobs)
        self._written = [(part, {name: getattr(part, name) for name in values}) for part, values in self._neutral]
        self.chosen: list[dict[str, Any]] = []
        self._spent = 0  # steps of all tries that have ended
        self._begin()

    def _begin(self) -> None:
        """Forget the experience that has ended."""
        self._base: dict[str, Any] | None = None  # the run at the beginning of the running experience
        self._rate, self._try = 0, 0  # learning rates and tries that are done
        self._best, self._lr = -math.inf, 0.0
        self._accuracies: list[float] = []

    # ------------------------------------------------------------------ learning

    def learn(self, run: Run, learn: Learn) -> None:
        """Learn the stream of a run from its cursor on.

        Args:
            run: The run; if it was interrupted in an experience, :meth:`restore` has brought back where.
            learn: Its training loop.

        Raises:
            Diverged: A loss is not finite with every learning rate, or in the last try of an experience.
        """
        while run.cursor.experience < len(run.stream):
            if self._base is None:
                self._base = run.standing()
            while self._rate < len(self._rates(run)):
                self._plasticity(run, learn)
            while not self._stability(run, learn):
                pass
            self._begin()
        learn(looks=run.evaluator, until=None)

    def _rates(self, run: Run) -> list[float]:
        return self._tuning.learning_rates or [run.training.lr]

    def _plasticity(self, run: Run, learn: Learn) -> None:
        """Learn the experience with the parts at their identity and the next learning rate, and return."""
        self.set_values(run)
        rate = self._rates(run)[self._rate]
        accuracy = self._learned(run, learn, NoEvaluations(), last=self._rate + 1 == len(self._rates(run)))
        if accuracy > self._best:
            self._best, self._lr = accuracy, rate
        self._rate += 1
        self._return(run)

    def _stability(self, run: Run, learn: Learn) -> bool:
        """Learn the experience with the settings of the next try; return whether it stands."""
        self.set_values(run)
        number, experience = self._try, run.cursor.experience
        accuracy = self._learned(run, learn, run.evaluator, last=number + 1 == self._tuning.tries)
        self._accuracies.append(accuracy)
        enough = accuracy >= (1 - self._tuning.drop) * self._best - TIE
        self._try += 1
        if not enough and self._try < self._tuning.tries:
            self._return(run)
            return False
        self.chosen.append(
            {
                "experience": experience,
                "values": self._values(number),
                "lr": self._lr,
                "best": self._best,
                "accuracies": list(self._accuracies),
                "enough": enough,
                "steps": run.cursor.step - self._standing_step(),
            }
        )
        return True

    def _learned(self, run: Run, learn: Learn, looks: Looks, *, last: bool) -> float:
        """Learn the running experience, and return the accuracy on its held-out samples; -1 if a loss is not finite.

        Raises:
            Diverged: A loss is not finite, and no other try can replace this one.
        """
        number = run.cursor.experience
        run.learner.experience = None  # as in a process that begins here
        try:
            learn(looks=looks, until=number + 1)
        except Diverged:
            self._spent += run.cursor.step - self._standing_step()
            with suppress(Diverged):
                run.trainer.losses.check()  # forget the losses of this try
            if last and (self._rate >= len(self._rates(run)) or self._best == -math.inf):
                raise
            return -1.0
        self._spent += run.cursor.step - self._standing_step()
        run.cursor.experience = number + 1
        found = held_out_accuracy(run.trainer, self._held_out.stream, self._held_out.held_out(number))
        return found if math.isfinite(found) else -1.0

    def _return(self, run: Run) -> None:
        """Return to the beginning of the experience; what was spent stays spent."""
        assert self._base is not None
        run.return_to(self._base, spent=True)

    def _standing_step(self) -> int:
        assert self._base is not None
        return int(self._base["cursor"]["step"])

    # ------------------------------------------------------------------ values

    def set_values(self, run: Run) -> None:
        """Give the parts and the optimiser the values of the phase and the try that comes next."""
        rates = self._rates(run)
        if self._rate < len(rates):
            for part, neutral in self._neutral:
                vars(part).update(neutral)
            lr = rates[self._rate]
        else:
            for part, written in self._written:
                vars(part).update(written)
            values = self._values(self._try)
            for knob in self._knobs:
                vars(self._parts[knob.part])[knob.setting] = values[knob.place]
            lr = self._lr
        if self._tuning.learning_rates:
            run.trainer.steps.use_lr(lr)

    def _values(self, number: int) -> dict[str, float]:
        """Return the values of a try, by place."""
        exponents = decays(len(self._knobs), number)
        return {
            knob.place: knob.decayed(self._tuning.decay**exponent)
            for knob, exponent in zip(self._knobs, exponents, strict=True)
        }

    # ------------------------------------------------------------------ results and checkpoints

    def fraction(self, run: Run, done: float) -> float:
        """Return the fraction of the run that is done for certain, from that of the stream: no try is left out of an
        experience that may have it."""
        experience, total = run.cursor.experience, len(run.stream)
        most = len(self._rates(run)) + self._tuning.tries
        return (experience + (self._rate + self._try + done * total - experience) / most) / total

    @property
    def provenance(self) -> dict[str, Any]:
        """Return how the settings were found, for the record; ``spent`` is the number of steps of all tries, as a
        multiple of those that stand."""
        kept = sum(each["steps"] for each in self.chosen)
        return {
            "protocol": self._tuning.protocol,
            "trials": sum(len(each["accuracies"]) for each in self.chosen),
            "spent": round(self._spent / kept, 2) if kept else 1.0,
            "chosen": self.chosen,
        }

    @property
    def state(self) -> dict[str, Any]:
        """Return where the search is, to resume bit for bit."""
        return {
            "base": self._base,
            "rate": self._rate,
            "try": self._try,
            "best": self._best,
            "lr": self._lr,
            "accuracies": list(self._accuracies),
            "chosen": [dict(each) for each in self.chosen],
            "spent": self._spent,
        }

    def restore(self, state: dict[str, Any], run: Run) -> None:
        """Return to a state, and give the parts of the run their values."""
        self._base, self._rate, self._try = state["base"], state["rate"], state["try"]
        self._best, self._lr, self._spent = state["best"], state["lr"], state["spent"]
        self._accuracies, self.chosen = list(state["accuracies"]), [dict(each) for each in state["chosen"]]
        self.set_values(run)


def search_of(cell: Cell, parts: Sequence[Part], setup: RunSetup) -> ContinualSearch | None:
    """Return the search of a cell that chooses settings itself; ``None`` for any other cell.

    Args:
        cell: The cell.
        parts: The parts of its strategy in this run.
        setup: The run's setup.

    Raises:
        Skip: The strategy has no setting to choose, another library runs it, or the stream has no boundaries, no
            classes, or nothing to hold out.
    """
    tuning, held_out = setup.settings.tuning, setup.held_out
    if tuning is None or held_out is None:
        return None
    reason = _impossible(cell, parts, held_out)
    if reason:
        raise Skip(reason)
    knobs = stability_knobs(cell.strategy, parts, cell.config["tuning"]["knobs"])
    return ContinualSearch(tuning, knobs, parts, held_out)


def _impossible(cell: Cell, parts: Sequence[Part], held_out: HeldOutRows) -> str:
    """Return why a cell cannot choose settings itself; an empty text if it can."""
    stream = held_out.stream
    engine = Declarations.of(parts).engine
    if engine:
        return f"tuning.protocol = chf needs clbench's own loop, and {cell.label} runs in that of {engine}"
    if not cell.config["tuning"]["knobs"]:
        named = cell.strategy.label.partition(" [")[0]
        return (
            f"tuning.protocol = chf has nothing to choose: no part of {named} has a number with a search range and a "
            "declared identity (of those in tuning.knobs, if these are given); leave tuning out for it"
        )
    if not shows_boundaries(stream):
        return "tuning.protocol = chf chooses settings in each experience, and this stream hides its boundaries"
    if stream.family != "classification":
        return f"tuning.protocol = chf compares accuracies, and samples of the family {stream.family} have no classes"
    for number in range(len(stream)):
        if not len(held_out.held_out(number)):
            return (
                f"tuning.protocol = chf measures held-out samples, and experience {number + 1} has no class with two "
                "samples; leave tuning out"
            )
    return ""


def decays(knobs: int, number: int) -> list[int]:
    """Return how often each setting has decayed in a try, counted from 0.

    A single setting decays after each try. Several settings decay one at a time, each from the values of the round,
    then all together, which begins the next round: (0, 0), (1, 0), (0, 1), (1, 1), (2, 1), (1, 2), (2, 2), ...

    Source: the authors' code of De Lange et al. 2021.
    """
    if knobs == 1:
        return [number]
    done, place = divmod(number - 1, knobs + 1) if number else (0, -1)
    together = place == knobs
    return [done + (together or each == place) for each in range(knobs)]

"""Forgetting-prioritised fine-tuning: a few modules of the model are trained on the replay buffer, at the end or
regularly."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from clbench.core.errors import Refused
from clbench.core.parameters import Count, NonNegative
from clbench.core.search_space import Search
from clbench.strategies.norm_statistics import norm_modes, recompute
from clbench.strategies.part import EVERY_FAMILY, MOVES, Part
from clbench.strategies.weight_change import change, snapshot

if TYPE_CHECKING:
    from torch import Tensor

    from clbench.models.weight_groups import Group
    from clbench.training.batch import Batch
    from clbench.training.learner import ExperienceView, Learner, Output

Steps = Annotated[int, Field(ge=0)]
Loss = Literal["ce", "kd"]
Statistics = Literal["update", "hold", "recompute"]
MEASURED = re.compile(r"(in)?sensitive\s*:\s*([qp])\s*=\s*(\d+(?:\.\d+)?)")


@dataclass(kw_only=True)
class FPF(Part):
    """Freeze all modules but some, take ``iters`` steps of new SGD on the replay buffer, and unfreeze.

    Arguments are as in :func:`fpf` and :func:`k_fpf`; ``loss_form`` is their ``loss``.

    Args:
        when: At the ``end`` of the stream, at every visible ``boundary``, or ``periodic``.
        k, every: If ``when`` is ``periodic``: how often, or after how many steps each time.
    """

    random_stream: ClassVar[str] = "FPF"
    families: ClassVar[frozenset[str]] = EVERY_FAMILY

    when: Literal["end", "boundary", "periodic"] = "end"
    k: Count | None = None
    every: Count | None = None
    modules: str = "head+norm"
    iters: Steps = 300
    lr: NonNegative | None = None
    batch_size: Count = 32
    loss_form: Loss = "ce"
    alpha: NonNegative | None = None
    statistics: Statistics = "update"

    needs: ClassVar[frozenset[str]] = frozenset({"memory"})
    end_order: ClassVar[int] = MOVES

    def __post_init__(self) -> None:
        measured = _measured(self.modules)
        if (self.loss_form == "kd") != (self.alpha is not None):
            raise Refused(
                f"loss = {self.loss_form} with alpha = {self.alpha}: the weight alpha of the stored logits belongs to "
                "loss = kd and has no published value; write loss=kd, alpha=..., or neither"
            )
        if self.k is not None and self.every is not None:
            raise Refused(f"k_fpf: k = {self.k} and every = {self.every} both say when; keep one of them")
        needs = {"boundaries"} if measured or self.when == "boundary" else set()
        if self.when == "periodic" and self.every is None:  # the number of experiences is revealed only with boundaries
            needs |= {"length"} if self.k is not None else {"length", "boundaries"}
        self.__dict__["needs"] = type(self).needs | needs  # needs of this instance, not of the class

    # ------------------------------------------------------------------ when

    def after_step(self, learner: Learner, batch: Batch) -> None:
        if batch.repetition:  # steps are those of the stream, as learner.total_steps counts them
            return
        state = self._account(learner)
        state["steps"] += 1
        if self.when == "periodic":
            period, most = self._period(learner)
            if state["steps"] % period == 0 and (most is None or state["steps"] < most * period):
                self._round(learner)

    def _account(self, learner: Learner) -> dict[str, Any]:
        """Return the counts of steps and rounds, the step of the last round, and the modules that it trained.

        Unknown module names are refused here, at the first step.
        """
        if "steps" not in self.state:
            modules = "" if _measured(self.modules) else "+".join(group.name for group in self._chosen(learner))
            self.state.update(steps=0, rounds=0, at=-1, modules=modules)
        return self.state

    def _period(self, learner: Learner) -> tuple[int, int | None]:
        """Return the number of steps between rounds, and the number of rounds; the last one is at the end of the
        stream."""
        if self.every is not None:
            return self.every, None
        k = self.k or learner.length or 1
        return max(1, (learner.total_steps or 1) // k), k

    def end_experience(self, learner: Learner, experience: ExperienceView) -> None:
        if _measured(self.modules):
            if "before" in self.state:
                share = change(learner, self.state["before"])[2]
                self.state["share"] = self.state.get("share", 0.0) + share
            self.state["before"] = snapshot(learner)
        if self.when == "boundary":
            self._round(learner)

    def end_stream(self, learner: Learner) -> None:
        state = self._account(learner)
        late = learner.memory.admit_when == "end"  # the last experience came later
        if self.when == "end" or (self.when == "periodic" and (late or state["at"] != state["steps"])):
            self._round(learner)

    def self_checks(self, learner: Learner) -> list[str]:
        state = self._account(learner)
        if not self.iters:
            return ["never moved the weights or running statistics: iters is 0"]
        if not state["rounds"]:
            return ["never found both samples in the replay buffer and modules to train on them"]
        if self.every is not None and self.every > state["steps"]:
            return [f"acts after every {self.every} steps, of which the stream has {state['steps']}: only at its end"]
        return []

    # ------------------------------------------------------------------ what

    def _round(self, learner: Learner) -> None:
        from clbench.models import weight_groups

        state, memory = self._account(learner), learner.memory
        chosen = self._chosen(learner) if len(memory) else ()
        if not chosen:
            return
        state["rounds"], state["at"] = state["rounds"] + 1, state["steps"]
        state["modules"] = "+".join(group.name for group in chosen)
        rows = memory.draw(len(memory), generator=self.generator)
        learner.freeze("fpf", ~weight_groups.mask(chosen, learner.w))
        try:
            if self.statistics == "recompute":
                recompute(learner, chosen, rows.index)
            with norm_modes(learner, chosen if self.statistics == "update" else ()):
                learner.side_work.fit(
                    rows,
                    steps=self.iters,
                    lr=learner.base_lr if self.lr is None else self.lr,
                    batch_size=self.batch_size,
                    generator=self.generator,
                    rate=lambda step: 0.5 * (1.0 + math.cos(math.pi * step / self.iters)),
                    loss=None if self.loss_form == "ce" else lambda batch: self._distil(learner, batch),
                )
        finally:
            learner.freeze("fpf", None)

    def _chosen(self, learner: Learner) -> tuple[Group, ...]:
        from clbench.models import weight_groups

        found = weight_groups.groups(weight_groups.layers(learner.model, learner.slices))
        measured = _measured(self.modules)
        if not measured:
            return weight_groups.select(found, self.modules)
        least, unit, amount = measured
        if "share" not in self.state:
            return ()  # no differences are known before the end of the second experience
        share = self.state["share"][: len(found)].tolist()
        ranked = sorted(range(len(found)), key=lambda i: share[i], reverse=not least)
        if unit == "p":
            sizes = [found[i].size for i in ranked]
            wanted = amount / 100 * sum(sizes)
            amount = next(n for n in range(1, len(sizes) + 1) if sum(sizes[:n]) >= wanted or n == len(sizes))
        return tuple(found[i] for i in sorted(ranked[: int(amount)]))

    def _distil(self, learner: Learner, batch: Batch) -> Tensor:
        from clbench.training.objective import task_loss

        logits = learner.run(batch).logits  # (B, C)
        distance = (logits - batch.stream.side["logits"]).square().mean()
        assert self.alpha is not None
        return task_loss(logits, batch) + self.alpha * distance


@dataclass(kw_only=True)
class KeepLogits(Part):
    """Store the logits (C,) of the step in which a sample was offered together with it in the replay buffer."""

    random_stream: ClassVar[str] = "KeepLogits"
    families: ClassVar[frozenset[str]] = EVERY_FAMILY

    memory_admit: ClassVar[str | None] = "every_pass"

    def store(self, learner: Learner, batch: Batch, output: Output) -> dict[str, Tensor]:
        return {"logits": output.logits[batch.stream.span]}


def fpf(
    *,
    modules: str = "head+norm",
    # no published values of iters, lr and alpha are known to us
    iters: Annotated[Steps, Search(30, 1000, log=True)] = 300,
    lr: Annotated[NonNegative | None, Search(1e-3, 1, log=True)] = None,
    batch_size: Count = 32,
    loss: Loss = "ce",
    alpha: Annotated[NonNegative | None, Search(0.01, 10, log=True, when=("loss", "kd"))] = None,
    statistics: Statistics = "update",
    when: Literal["end", "boundary"] = "end",
) -> list[Part]:
    """Fine-tune a few modules on the replay buffer after the stream; combines with any strategy: ``er + fpf``.

    Args:
        modules: Modules to train: names (``conv2``), kinds (``head``, ``norm``, ``conv``, ``fc``, ``attention``, ...)
            or ``all``, joined by +. Or a choice by their measured share of the change between experiences: ``sensitive:
            q=2`` for the two that change most, ``sensitive: p=10`` for those with 10 % of the weights, ``insensitive:
            ...`` from the other end.
        iters: Number of SGD steps without momentum, with a rate that falls to 0 along half a cosine. With 0, only
            ``statistics`` has an effect.
        lr: Initial learning rate; ``None`` takes the benchmark's ``training.lr`` with its schedule at that time, which
            is too small for rates of Adam.
        batch_size: Samples of the replay buffer per step.
        loss: ``ce``, or ``kd``: cross-entropy + ``alpha`` · mean (h(x) - z)², with the logits z of the step in which
            the sample was offered to the replay buffer, over all output units.
        alpha: Weight of the second term; it has no published value.
        statistics: Running statistics of batch norms in ``modules``: ``update`` trains in training mode, ``hold`` keeps
            the statistics of the stream, ``recompute`` computes those of the replay buffer before the first step. All
            other norms keep their statistics.
        when: At the ``end`` of the stream, or also at every visible ``boundary``, before other parts store importances,
            anchors or teachers.

    The modules, steps and rates of the authors are not available to us; the defaults are our choice.

    Source: Zhao et al. 2023, arXiv 2304.04158 (FPF).

    Expected:
        class: far above naive (the head favours the last classes, and balanced samples correct that); above er by less.
        task: slightly above the strategy that it is combined with; heads are balanced there without it.
        domain: training the head alone gains less than training all modules.
        recurring: near the strategy that it is combined with; replay buffer and last experience differ less.
    """
    part = FPF(
        when=when, modules=modules, iters=iters, lr=lr, batch_size=batch_size, loss_form=loss, alpha=alpha,
        statistics=statistics,
    )  # fmt: skip
    return [part, *([KeepLogits()] if loss == "kd" else [])]


def k_fpf(
    *,
    k: Count | None = None,
    every: Count | None = None,
    modules: str = "head+norm",
    iters: Annotated[Steps, Search(30, 1000, log=True)] = 300,
    lr: Annotated[NonNegative | None, Search(1e-3, 1, log=True)] = None,
    batch_size: Count = 32,
    loss: Loss = "ce",
    alpha: Annotated[NonNegative | None, Search(0.01, 10, log=True, when=("loss", "kd"))] = None,
    statistics: Statistics = "update",
) -> list[Part]:
    """Train on the stream as naive does, and fine-tune a few modules on the replay buffer k times, the last time at the
    end.

    Args:
        k: Number of times: after every floor(steps of the stream / k) steps, and at the end. ``None`` is once per
            experience of the stream on average. It needs the length of the stream.
        every: Instead of ``k``: the period in steps; it also acts at the end, and needs no length.
        modules, iters, lr, batch_size, loss, alpha, statistics: As in :func:`fpf`; ``iters`` is for each time.

    The times are counted in steps and do not depend on boundaries. Between them old classes are forgotten as with
    ``naive``, so that anytime accuracy is far below the final one.

    Source: Zhao et al. 2023, arXiv 2304.04158 (k-FPF-CE, k-FPF-KD).

    Expected:
        class: final accuracy as with fpf, well above naive; anytime accuracy near naive between its rounds.
        task: near naive, which forgets little of the head.
        domain: the head alone gains little; try modules=all.
        recurring: near naive or above; the stream itself rehearses recurring classes.
    """
    part = FPF(
        when="periodic", k=k, every=every, modules=modules, iters=iters, lr=lr, batch_size=batch_size, loss_form=loss,
        alpha=alpha, statistics=statistics,
    )  # fmt: skip
    return [part, *([KeepLogits()] if loss == "kd" else [])]


# --------------------------------------------------------------------------------------------------- details


def _measured(modules: str) -> tuple[bool, str, float] | None:
    """Return whether the least sensitive modules are chosen, by number (q) or percentage of weights (p), and how many.

    Raises:
        Refused: The text begins like such a choice and cannot be read.
    """
    found = MEASURED.fullmatch(modules.strip())
    if found is None:
        if "sensitive" in modules:
            raise Refused(f"modules = {modules!r} cannot be read; write 'sensitive: q=2' or 'insensitive: p=10'")
        return None
    amount = float(found[3])
    if amount <= 0 or (found[2] == "q" and amount != int(amount)) or (found[2] == "p" and amount > 100):
        raise Refused(f"modules = {modules!r}: q counts modules, from 1, and p is a percentage above 0")
    return bool(found[1]), found[2], amount

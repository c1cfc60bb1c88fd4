"""Dynamic sparse training: each task trains a sparse part of one network, which is rewired while it learns.

Letters: P weights, m weights that masks cover, n weights of a layer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from clbench.core.parameters import Count, Fraction
from clbench.core.search_space import Search
from clbench.strategies.bank import Bank, task_heads
from clbench.strategies.part import EVERY_FAMILY

if TYPE_CHECKING:
    from torch import Tensor

    from clbench.training.batch import Batch
    from clbench.training.learner import ExperienceView, Learner

SPARSE = ("stem", "conv", "shortcut", "fc", "query", "key", "value", "output", "up", "gate", "down")
"""Kinds of layers whose weights are masked."""
SMOOTHING = 0.9
"""Share of the running mean of gradients that stays at a step."""
NEARLY_FULL = 0.05


@dataclass(kw_only=True)
class DST(Bank):
    """Train, for each task, a sparse part of one network: a mask over the weights of convolutions and linear layers.

    Task t uses W ⊙ M_t. Weights that the mask of another task holds are used as they are and never change; all others
    in M_t are trained. Every ``every`` steps, each layer drops the share ζ of its active weights with the smallest
    magnitude, and as many others become active; ζ falls from ``rewire`` to ``rewire_end`` as a cosine over the steps of
    the experience. A dropped weight of another task leaves the mask, not the network. Biases, norm layers with their
    statistics, and the head are not masked; each task has its own.

    Args:
        density: Share of masked weights that a task uses, in (0, 1].
        init: ``uniform``, each layer has this density; ``erk``, densities in proportion to (Σ sizes) / (Π sizes) of a
            layer's dimensions, with a factor for which the whole has this density; layers above 1 are dense.
        growth: What becomes active: ``random``; ``unfired``, at random among those that were never active in this
            experience, while there are some; ``gradient``, those with the largest gradient; ``momentum``, those with
            the largest running mean of gradients (0.9). Weights of other tasks have no gradient: the last two choose
            them only if nothing else is left.
        rewire: ζ at the beginning of an experience.
        rewire_end: ζ at its end.
        every: Steps between two changes of the mask.
        form: ``paper``; ``code``: masks are drawn weight by weight, the head is masked too, and a weight that no task
            has used so far begins at 0 from the second task on, instead of its initial value.

    A weight that becomes active begins at the value that it has for other tasks, or at 0. ``state["capacity"]`` lists
    the share of masked weights that some task uses, after each experience, and ``state["free"]`` the share of a task's
    mask that it could train.

    Source: Yıldırım et al. 2024, arXiv 2308.14831; ``erk`` and ``gradient`` after Evci et al. 2020, arXiv 1911.11134;
    ``momentum`` after Dettmers and Zettlemoyer 2019, arXiv 1907.04840.

    Expected:
        class: not run; which mask a sample needs is known from its task label alone.
        task: forgetting of exactly 0; learning accuracy falls when few weights are left for new tasks.
        domain: with revealed task labels as in the task setting; not run without them.
        recurring: a task that returns trains the weights that no other task uses.
    """

    random_stream: ClassVar[str] = "DST"
    families: ClassVar[frozenset[str]] = EVERY_FAMILY

    # published: 0.2, 0.1 and 0.05 (Yıldırım et al. 2024)
    density: Annotated[float, Field(gt=0, le=1), Search(0.02, 0.5, log=True)] = 0.2
    # published: uniform, erk (Yıldırım et al. 2024)
    init: Literal["uniform", "erk"] = "uniform"
    # published: random, unfired, gradient, momentum (Yıldırım et al. 2024)
    growth: Literal["random", "unfired", "gradient", "momentum"] = "random"
    # published: 0.5 (Yıldırım et al. 2024)
    rewire: Annotated[Fraction, Search(0.05, 0.9)] = 0.5
    # published: 0.005 (authors' code)
    rewire_end: Fraction = 0.005
    # published: 100 to 400 (Yıldırım et al. 2024)
    every: Count = 400
    form: Literal["paper", "code"] = "paper"

    # ------------------------------------------------------------------ what is masked

    def _layout(self, learner: Learner) -> tuple[Tensor, list[slice], list[float]]:
        """Return the places (m,) of masked weights, the range of each layer among them, and each layer's ratio (Σ
        sizes) / (Π sizes)."""
        known: tuple[Tensor, list[slice], list[float]] | None = self.__dict__.get("_known_layout")
        if known is not None:
            return known
        import torch

        from clbench.models import weight_groups

        kinds = (*SPARSE, "head") if self.form == "code" else SPARSE
        sizes = {name: tuple(p.shape) for name, p in learner.model.named_parameters()}
        parts, ranges, ratios, start = [], [], [], 0
        for layer in weight_groups.layers(learner.model, learner.slices):
            for place in layer.places if layer.kind in kinds else ():
                if not place.bias:
                    dimensions = (place.units, *sizes[place.parameter][1:])
                    parts.append(torch.arange(place.start, place.stop, device=learner.device))
                    ranges.append(slice(start, start + place.size))
                    ratios.append(sum(dimensions) / math.prod(dimensions))
                    start += place.size
        found = torch.cat(parts) if parts else torch.zeros(0, dtype=torch.int64, device=learner.device)
        self.__dict__["_known_layout"] = found, ranges, ratios
        return found, ranges, ratios

    def private(self, learner: Learner, task: int) -> Tensor:
        import torch

        mask = torch.ones_like(learner.w, dtype=torch.bool)
        mask[self._layout(learner)[0]] = False
        return mask & (~learner.head_mask | task_heads(learner, task))

    def complete(self, learner: Learner, task: int, w: Tensor) -> None:
        w[self._layout(learner)[0]] = self.state["dense"] * self.state["masks"][task]

    # ------------------------------------------------------------------ tasks

    def attach(self, learner: Learner) -> None:
        if "dense" not in self.state:
            places, *_ = self._layout(learner)
            self.state["dense"] = learner.w.detach()[places]  # (m,) what tasks have learned, else initial weights
            self.state["masks"] = {}
            self.state.update(capacity=[], free=[], rewired=0)

    def start_task(self, learner: Learner, task: int) -> None:
        import torch

        places, ranges, ratios = self._layout(learner)
        sizes = [each.stop - each.start for each in ranges]
        wanted = [self.density] * len(sizes) if self.init == "uniform" else erk(sizes, ratios, self.density)
        drawn = torch.zeros(len(places), dtype=torch.bool)
        for each, n, share in zip(ranges, sizes, wanted, strict=True):
            if self.form == "code":
                drawn[each] = torch.from_numpy(self.generator.uniform(n) < share)
            else:
                drawn[each] = torch.from_numpy(self.generator.subset(n, round(share * n)))
        self.state["masks"][task] = drawn.to(learner.device)

    def enter_task(self, learner: Learner, experience: ExperienceView, task: int) -> None:
        import torch

        state, mask = self.state, self.state["masks"][task]
        held = torch.zeros_like(mask)  # (m,) used by other tasks
        for other, theirs in state["masks"].items():
            if other != task:
                held |= theirs
        state.update(held=held, step=0, steps=experience.steps)
        if self.growth == "unfired":
            state["fired"] = mask.clone()
        elif self.growth == "momentum":
            state["smoothed"] = torch.zeros_like(state["dense"])
        free = mask & ~held
        state["free"].append(float(free.sum() / mask.sum().clamp(min=1)))
        learner.w.data[self._layout(learner)[0]] = state["dense"] * mask
        self._freeze(learner, mask)

    def leave_task(self, learner: Learner, task: int) -> None:
        import torch

        state, mask = self.state, self.state["masks"][task]
        free, live = mask & ~state["held"], learner.w.detach()[self._layout(learner)[0]]
        state["dense"] = torch.where(free, live, state["dense"])
        used = mask | state["held"]
        if self.form == "code":
            state["dense"].masked_fill_(~used, 0.0)
        state["capacity"].append(float(used.float().mean()))

    def _freeze(self, learner: Learner, mask: Tensor) -> None:
        """Freeze masked weights that the task does not use, or that others use too."""
        import torch

        frozen = torch.zeros_like(learner.w, dtype=torch.bool)
        frozen[self._layout(learner)[0]] = ~mask | self.state["held"]
        learner.freeze(f"dst/{self.twin}", frozen)

    # ------------------------------------------------------------------ rewiring

    def after_step(self, learner: Learner, batch: Batch) -> None:
        state = self.state
        if "step" not in state:
            return
        state["step"] += 1
        if self.growth == "momentum":
            gradient = learner.g[self._layout(learner)[0]]
            state["smoothed"].mul_(SMOOTHING).add_(gradient, alpha=1 - SMOOTHING)
        if state["step"] % self.every == 0:
            self._rewire(learner)

    @property
    def share(self) -> float:
        """Return ζ, the share of active weights that a change of the mask replaces now."""
        done = min(self.state["step"] / max(self.state["steps"] or 1, 1), 1.0)
        return self.rewire_end + 0.5 * (self.rewire - self.rewire_end) * (1 + math.cos(math.pi * done))

    def _rewire(self, learner: Learner) -> None:
        """Drop the smallest active weights of each layer, and let as many others become active."""
        import torch

        state, (places, ranges, _) = self.state, self._layout(learner)
        mask, held, w = state["masks"][state["task"]], state["held"], learner.w.detach()[places]
        before = mask.clone()
        scores = None
        if self.growth in ("gradient", "momentum"):
            scores = (learner.g[places] if self.growth == "gradient" else state["smoothed"]).abs()
        for each in ranges:
            on = mask[each]  # (n,) a view, which is changed
            active, n = int(on.sum()), len(on)
            k = min(math.ceil(self.share * active), active)
            if active == n or k == 0:
                continue
            size = w[each].abs().masked_fill(~on, math.inf)
            on[size.topk(k, largest=False).indices] = False
            on[self._grown(~on, held[each], k, None if scores is None else scores[each], each)] = True
        fresh = torch.where(held, state["dense"], torch.zeros_like(w))
        learner.w.data[places] = torch.where(before & mask, w, fresh) * mask
        state["rewired"] += 1
        if self.growth == "unfired":
            state["fired"] |= mask
        self._freeze(learner, mask)

    def _grown(self, idle: Tensor, held: Tensor, k: int, scores: Tensor | None, layer: slice) -> Tensor:
        """Return the places (k,) in a layer of weights that become active, among idle ones (n,)."""
        import torch

        if scores is not None:
            first = idle & ~held
            best = scores.masked_fill(~first, -1.0).topk(min(k, int(first.sum()))).indices
        else:
            first = idle & ~self.state["fired"][layer] if self.growth == "unfired" else idle
            best = self._sampled(first, k)
        if len(best) == k:
            return best
        rest = idle.clone()
        rest[best] = False
        return torch.cat([best, self._sampled(rest, k - len(best))])

    def _sampled(self, among: Tensor, k: int) -> Tensor:
        """Return up to k places (k,) that are drawn at random where a mask (n,) is true."""
        import torch

        found = among.nonzero()[:, 0]
        drawn = self.generator.sample(len(found), min(k, len(found)))
        return found[torch.from_numpy(drawn).to(found.device)]

    def self_checks(self, learner: Learner) -> list[str]:
        told, free = [], self.state.get("free", [])
        few = [str(number) for number, share in enumerate(free) if share < NEARLY_FULL]
        if few:
            told.append(
                f"could train less than {NEARLY_FULL:.0%} of its weights in experience {', '.join(few)}, since earlier "
                "tasks use the others; a lower density leaves more for later tasks"
            )
        if free and not self.state["rewired"] and self.rewire:
            told.append(
                f"never changed a mask, since no experience has {self.every} steps; set every to a part of their number"
            )
        return told


def erk(sizes: Sequence[int], ratios: Sequence[float], density: float) -> list[float]:
    """Return the densities of layers in proportion to their ratios, at most 1, with a given density of the whole.

    Args:
        sizes: Number of weights of each layer.
        ratios: (Σ sizes) / (Π sizes) of the dimensions of each layer.
        density: Share of all weights, in (0, 1].

    Source: Evci et al. 2020, arXiv 1911.11134, section 3 (Erdős-Rényi-Kernel).
    """
    dense = [False] * len(sizes)
    while True:
        left = density * sum(sizes) - sum(n for n, full in zip(sizes, dense, strict=True) if full)
        weighed = sum(r * n for r, n, full in zip(ratios, sizes, dense, strict=True) if not full)
        factor = left / weighed if weighed else 0.0
        over = [not full and factor * r > 1 for r, full in zip(ratios, dense, strict=True)]
        if not any(over):
            return [1.0 if full else factor * r for r, full in zip(ratios, dense, strict=True)]
        dense = [full or new for full, new in zip(dense, over, strict=True)]

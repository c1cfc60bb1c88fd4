"""The steps of the weights: optimiser, learning rate, and the longest gradient. Letters: P weights."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn

from clbench.benchmark.schema import Training
from clbench.core.cost import Cost
from clbench.core.global_rng import preserved
from clbench.models.flat_weights import Flat
from clbench.training import optimizers
from clbench.training.frozen_weights import FrozenWeights
from clbench.training.lr_scale import Ranges, ScaledSteps


class WeightSteps:
    """Step the flat weights by the benchmark's optimiser.

    Args:
        flat: The flat weights.
        training: Optimiser, learning rate and longest gradient.
        frozen: The weights that no step moves.
        cost: The cost account of the run, which counts steps.

    Attributes:
        optimizer: The optimiser of the loop.
        clip_norm: Longest gradient of a step, by Euclidean norm over the weights that move; ``None`` for no limit.
        others: Optimisers over the single parameters, for a part that makes the steps itself.
    """

    def __init__(self, flat: Flat, training: Training, *, frozen: FrozenWeights, cost: Cost) -> None:
        self._whole, training = training, training.during(0)
        self._flat, self._training, self._frozen, self._cost = flat, training, frozen, cost
        self.clip_norm = training.clip_norm
        self.optimizer = optimizers.optimizer(training, [flat.w])
        self.others: list[torch.optim.Optimizer] = []
        self._followers: WeakSet[torch.optim.Optimizer] = WeakSet()  # over tensors of parts
        self._scaled: list[tuple[ScaledSteps, WeakSet[torch.optim.Optimizer]]] = []
        self._benchmark_rates = self._rates = [group["lr"] for group in self.optimizer.param_groups]

    @property
    def lr(self) -> float:
        """Return the learning rate of the next step."""
        return float(self.optimizer.param_groups[0]["lr"])

    @property
    def base_lr(self) -> float:
        """Return the learning rate before the benchmark's schedule."""
        return float(self._rates[0])

    @property
    def decays(self) -> bool:
        """Tell whether the optimiser has weight decay."""
        return any(group.get("weight_decay") for group in self.optimizer.param_groups)

    def follow(self, experience: int, *, begins: bool) -> None:
        """Step by the settings of an experience: learning rate, momentum and weight decay may differ in the first one.

        Args:
            experience: The experience, counted from 0.
            begins: Whether it begins; a run that is resumed in it has the settings of its last step already.
        """
        if self._whole.first is None:
            return
        self._training = self._whole.during(experience)
        first, later = (
            optimizers.optimizer(self._whole.during(each), [nn.Parameter(torch.zeros(1))]).param_groups
            for each in (0, 1)
        )
        made = later if experience else first
        self._benchmark_rates = self._rates = [group["lr"] for group in made]
        if not begins:
            return
        # an own optimiser may keep in its groups what it remembers, so only what the settings change is written
        changed = [
            {"lr", *(name for name in one if name != "params" and one[name] != other[name])}
            for one, other in zip(first, later, strict=True)
        ]
        for optimizer in (self.optimizer, *self.others, *self._followers):
            unchanged = {"weight_decay"} if optimizer in self._followers else set()
            for group, names, new in zip(optimizer.param_groups, changed, made, strict=True):
                group.update({name: new[name] for name in names - unchanged})

    def use_lr(self, lr: float) -> None:
        """Take another learning rate than the benchmark's from the next step on, before its schedule."""
        usual = self._training.lr
        self._rates = [lr if rate == usual else rate * (lr / usual) for rate in self._benchmark_rates]
        self.scale_lr(1.0)

    def scale_lr(self, factor: float) -> None:
        """Set the learning rate to a multiple of the benchmark's."""
        for optimizer in (self.optimizer, *self.others, *self._followers):
            for group, rate in zip(optimizer.param_groups, self._rates, strict=True):
                group["lr"] = factor * rate

    def reset(self) -> None:
        """Forget momentum and moments."""
        for optimizer in (self.optimizer, *self.others):
            optimizer.state.clear()

    def another_optimizer(self, tensors: Sequence[Tensor] | None = None) -> torch.optim.Optimizer:
        """Return a new optimiser with the benchmark's settings over the model's parameters one by one.

        Args:
            tensors: Leaves of a part to step instead, without weight decay; the part keeps them and what the optimiser
                remembers of them.
        """
        if tensors is None:
            made = optimizers.optimizer(self._training, list(self._flat.parameters))
            self.others.append(made)
            self._scale(made)
            return made
        made = optimizers.optimizer(self._training, list(tensors))
        for group, own in zip(made.param_groups, self.optimizer.param_groups, strict=True):
            group["lr"] = own["lr"]
            if "weight_decay" in group:
                group["weight_decay"] = 0.0
        self._followers.add(made)
        return made

    def drop_gradients(self) -> None:
        """Drop the gradients of tensors of parts, after a backward pass that trains only the weights."""
        for optimizer in self._followers:
            optimizer.zero_grad()

    def multiply(self, ranges: Ranges) -> None:
        """Multiply the changes that steps make to some ranges of weights, from now on; factors multiply.

        They count in all loops, :meth:`would_be_step` and the optimisers over single parameters.
        """
        if ranges:
            self._scaled.append((ScaledSteps(ranges), WeakSet()))
            for optimizer in (self.optimizer, *self.others):
                self._scale(optimizer)

    def _scale(self, optimizer: torch.optim.Optimizer) -> None:
        for scaled, known in self._scaled:
            if optimizer not in known:
                known.add(optimizer)
                scaled.attach(optimizer)

    def clip(self, longest: float) -> None:
        """Shorten the gradient if that of the weights that move is longer than this, by Euclidean norm."""
        self._clip(self._flat.g, longest)

    def _clip(self, g: Tensor, longest: float) -> None:
        frozen = self._frozen.mask
        moving = g if frozen is None else g.masked_fill(frozen, 0.0)
        g.mul_((longest / moving.norm().clamp(min=1e-12)).clamp(max=1.0))

    def step(self, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Make one step with the gradient, by default of the loop's optimiser; frozen weights do not move."""
        self._cost.steps += 1
        if self.clip_norm is not None:
            self.clip(self.clip_norm)
        if optimizer is not None:  # of a loop of a part's own
            self._scale(optimizer)
        self._frozen.step(optimizer or self.optimizer)

    def would_be_step(self) -> Tensor:
        """Return the change (P,) of the weights that :meth:`step` would make with the present gradient.

        A copy of the optimiser makes the step on a copy of the weights: weights, gradient, momentum, moments, counters
        and global generators stay as they are.
        """
        flat = self._flat
        w = nn.Parameter(flat.w.detach().clone())
        w.grad = flat.g.clone()
        if self.clip_norm is not None:
            self._clip(w.grad, self.clip_norm)
        with preserved(w.device):
            _over(self.optimizer, flat.w, w).step()
        change = w.detach() - flat.w.detach()
        frozen = self._frozen.mask
        return change if frozen is None else change.masked_fill_(frozen, 0.0)

    @property
    def state(self) -> dict[str, Any]:
        """Return momentum, moments and learning rates of all optimisers."""
        return {
            "optimizer": copy.deepcopy(self.optimizer.state_dict()),
            "others": [copy.deepcopy(other.state_dict()) for other in self.others],
        }

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))
        self.others = []
        for other in state["others"]:
            self.another_optimizer().load_state_dict(copy.deepcopy(other))


def _over(optimizer: torch.optim.Optimizer, old: nn.Parameter, new: nn.Parameter) -> torch.optim.Optimizer:
    """Return a copy of an optimiser over other weights, with copies of all that it keeps.

    ``copy.deepcopy`` of the optimiser itself would lose attributes that a class of the user's has set.
    """
    copied = type(optimizer).__new__(type(optimizer))
    vars(copied).update(copy.deepcopy(vars(optimizer), {id(old): new, id(optimizer): copied}))
    return copied

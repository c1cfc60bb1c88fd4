"""Gradients orthogonal to the inputs of finished tasks, and a scaling of old weights for each task: trgp and cuber.

Letters: n inputs of a layer, I and O its inputs and outputs, K directions that it keeps, r directions of one task.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from clbench.core.parameters import Count, Fraction, NonNegative
from clbench.core.search_space import Search
from clbench.strategies import input_bases
from clbench.strategies.bank import Bank, by_task, task_of
from clbench.strategies.part import BENDS, EVERY_FAMILY, Part
from clbench.strategies.quadratic import drawn_rows

if TYPE_CHECKING:
    from torch import Tensor, nn

    from clbench.strategies.input_bases import Matrix
    from clbench.training.batch import Batch
    from clbench.training.learner import ExperienceView, Learner, Output

FAR, NEAR, ALIGNED = 1, 2, 3
"""Regimes of an earlier task in a layer: not related; related, and its directions stay fixed; related, and its
directions are trained."""


@dataclass(frozen=True)
class Layers:
    """Hold the layers of a model.

    Args:
        modules: All modules by name.
        linear: Names of the linear layers whose inputs may be scaled in place of their weights.
        matrices: The weight matrices that are projected, by name.
    """

    modules: dict[str, nn.Module]
    linear: frozenset[str]
    matrices: dict[str, Matrix]

    def weight(self, name: str) -> Tensor:
        """Return the weights of a layer, in their own shape."""
        weight: Tensor = self.modules[name].weight  # type: ignore[assignment]
        return weight


@dataclass(kw_only=True)
class ScaledProjection(Part):
    """Keep directions of each task's inputs, project gradients away from them, and scale old weights for a new task.

    It is the base class of :class:`clbench.strategies.trgp.TRGP` and :class:`clbench.strategies.cuber.CUBER`, which say
    in which regime an earlier task is (:meth:`regime`).

    Each layer has one matrix D (I, K) of orthonormal directions, to which every task appends. The inputs of task j are
    in the span of B_j, some columns of D. The weights of a task are w~ = w + Σ_j w B_j (Q_j - 1) B_jᵀ, where j are its
    related tasks, and Q_j (r, r) are its own. They begin as the identity, and are trained beside w.

    The state holds by layer: ``directions`` D, the columns ``kept`` for good, and those ``fixed`` now, which no step
    changes. By task and layer: its ``columns``; its ``scales``, with the related ``tasks``, their ``columns`` and the
    matrices ``q``; the ``regimes`` of the earlier tasks.
    """

    random_stream: ClassVar[str] = "ScaledProjection"
    grows: ClassVar[str] = "directions of the inputs of each task, at most the fan-in of each layer, and scales"
    needs: ClassVar[frozenset[str]] = Bank.needs
    conflicts: ClassVar[dict[str, str]] = Bank.conflicts
    families: ClassVar[frozenset[str]] = EVERY_FAMILY
    owns: ClassVar[frozenset[str]] = frozenset({"projection"})
    gradient_order: ClassVar[int] = BENDS
    answers_in_training: ClassVar[bool] = True
    identity: ClassVar[Mapping[str, Any] | None] = {"threshold": 0, "growth": 0}
    protocol: ClassVar[Mapping[str, Any]] = {
        "training.optimizer": "sgd",
        "training.momentum": 0,
        "training.weight_decay": 0,
    }

    # published: 0.97 for CIFAR-100; 0.95, 0.99, 0.99 for permuted MNIST (Lin et al. 2022, as in GPM)
    threshold: Annotated[Fraction | list[Fraction], Search(0.9, 1)] = 0.97
    # published: 0.003 for CIFAR-100, 0 for permuted MNIST (Lin et al. 2022, as in GPM)
    growth: Annotated[NonNegative, Search(0, 0.01)] = 0.003
    # published: 300 for permuted MNIST; 24 to 125 by layer for CIFAR-100 (Lin et al. 2022, as in GPM)
    rows: Count = 125
    # published: 0.5 (Lin et al. 2022)
    related: Annotated[Fraction, Search(0.1, 0.9)] = 0.5
    # published: 2 (Lin et al. 2022)
    top: Count = 2
    form: Literal["paper", "code"] = "paper"

    # ------------------------------------------------------------------ what a subclass defines

    def regime(self, layer: str, earlier: int, gradient: Tensor) -> int:
        """Return the regime of an earlier task that is related, from the gradient (O, I) of a layer before training."""
        raise NotImplementedError

    def correct(self, learner: Learner, batch: Batch) -> None:
        """Read or change the gradient before it is projected."""

    def leave_task(self, learner: Learner, experience: ExperienceView) -> None:
        """Keep what is needed of the running task when its experience ends, after its directions are found."""

    # ------------------------------------------------------------------ hooks

    def attach(self, learner: Learner) -> None:
        from torch import nn

        modules = dict(learner.model.named_modules())
        shared = Counter(id(getattr(module, "weight", None)) for module in modules.values())
        linear = frozenset(n for n, m in modules.items() if type(m) is nn.Linear and shared[id(m.weight)] == 1)
        found = input_bases.matrices(learner)
        input_bases.check_thresholds(self.threshold, found, title=self.title)
        self.__dict__["_layers"] = Layers(modules, linear, {each.name: each for each in found})
        self._prepare_scales(learner)

    def begin_experience(self, learner: Learner, experience: ExperienceView) -> None:
        for name in ("directions", "kept", "columns", "scales", "regimes"):
            self.state.setdefault(name, {})
        self.state.pop("moments", None)
        task = self.state["task"] = task_of(experience, self.title)
        if task not in self.state["scales"]:
            self.state["scales"][task], self.state["regimes"][task] = {}, {}
            if self.state["columns"]:
                index = drawn_rows(experience, self.rows, generator=self.generator)
                g = learner.side_work.gradient(learner.batch(index))
                for layer in self.state["directions"]:
                    self._relate(task, layer, self.layers.matrices[layer].of(g))
        else:
            self.state["regimes"][task] = {}  # a task that returns keeps its scales, and all directions are fixed
        self.state["fixed"] = {layer: self._fixed(layer) for layer in self.state["directions"]}
        self.state["held"] = {
            layer: [
                columns,
                self.layers.matrices[layer].of(learner.w.detach()) @ self.state["directions"][layer][:, columns],
            ]
            for layer, columns in self.state["fixed"].items()
        }
        self._prepare_scales(learner)

    def answer(self, learner: Learner, x: Tensor, task: Tensor | None) -> Output:
        assert task is not None  # the cell is skipped without task labels
        return by_task(x, task, lambda own, label: self._output(learner, own, label))

    def gradient(self, learner: Learner, batch: Batch) -> None:
        scales = self.__dict__["_scales"]
        self.__dict__["_gradients"] = [q.grad for q in scales]
        for q in scales:
            q.grad = None  # backward passes from here to the step do not belong to it
        self.correct(learner, batch)
        for layer in self.state["fixed"]:
            input_bases.project_out(self.layers.matrices[layer].of(learner.g), *self._guard(layer))

    def after_step(self, learner: Learner, batch: Batch) -> None:
        scales = self.__dict__["_scales"]
        if not scales:
            return
        optimizer = self.__dict__["_optimizer"]
        for q, gradient in zip(scales, self.__dict__["_gradients"], strict=True):
            q.grad = gradient
        optimizer.step()
        optimizer.zero_grad()
        self.state["moments"] = [dict(optimizer.state.get(q, {})) for q in scales]

    def end_experience(self, learner: Learner, experience: ExperienceView) -> None:
        import torch

        for layer, (columns, held) in self.state["held"].items():
            now = self.layers.matrices[layer].of(learner.w.detach()) @ self.state["directions"][layer][:, columns]
            self.state["drift"] = max(input_bases.drift(now, held), self.state.get("drift", 0.0))
        index = drawn_rows(experience, self.rows, generator=self.generator)
        self.__dict__.update(_plain=self.form == "code", _standing={})
        try:
            inputs = input_bases.input_rows(learner, index)
        finally:
            self.__dict__.update(_plain=False, _standing=None)
        earlier = len(self.state["columns"].keys() - {self.state["task"]})
        own = self.state["columns"].setdefault(self.state["task"], {})
        for number, layer in enumerate(self.layers.matrices):
            if layer in inputs:
                columns = self._append(
                    layer, inputs[layer], input_bases.threshold_of(self.threshold, number, self.growth * earlier)
                )
                own[layer] = torch.cat([own[layer], columns]).unique() if layer in own else columns
        self.state["unread"] = [layer for layer in self.layers.matrices if layer not in inputs]
        self.leave_task(learner, experience)

    def self_checks(self, learner: Learner) -> list[str]:
        return input_bases.doubts(self.state.get("drift", 0.0), self.state.get("unread", []))

    @property
    def layers(self) -> Layers:
        """Return the layers of the model."""
        layers: Layers = self.__dict__["_layers"]
        return layers

    # ------------------------------------------------------------------ related tasks and their scales

    def _relate(self, task: int, layer: str, gradient: Tensor) -> None:
        """Find the regimes of the earlier tasks in a layer, from the gradient (O, I), and begin the scales."""
        import torch

        basis, whole = self.state["directions"][layer], float(gradient.norm())
        earlier = {j: own[layer] for j, own in self.state["columns"].items() if layer in own}
        norms = {j: float((gradient @ basis[:, columns]).norm()) for j, columns in earlier.items()}
        near = sorted((j for j, norm in norms.items() if norm > self.related * whole), key=lambda j: -norms[j])
        if self.form == "code" and len(earlier) == 2:
            near = [j for j in near if j == list(earlier)[1]]
        near = near[: self.top]
        regimes = {j: self.regime(layer, j, gradient) if j in near else FAR for j in earlier}
        self.state["regimes"][task][layer] = regimes
        if near:
            self.state["scales"][task][layer] = {
                "tasks": near,
                "columns": [earlier[j] for j in near],
                "q": [torch.eye(len(earlier[j]), dtype=basis.dtype, device=basis.device) for j in near],
            }

    def _prepare_scales(self, learner: Learner) -> None:
        """Make the running task's scales trainable, with the optimiser's memory of them after a resume."""
        running = self.state.get("scales", {}).get(self.state.get("task"), {})
        for other in self.__dict__.get("_scales", []):
            other.requires_grad_(False)
        scales = [q.requires_grad_() for relation in running.values() for q in relation["q"]]
        self.__dict__.update(_scales=scales, _gradients=[None] * len(scales), _optimizer=None)
        if not scales:
            return
        optimizer = self.__dict__["_optimizer"] = learner.another_optimizer(scales)
        for q, moments in zip(scales, self.state.get("moments", []), strict=False):
            q.grad = None
            optimizer.state[q].update(moments)

    def _output(self, learner: Learner, x: Tensor, task: int) -> Output:
        """Return the model's output under the weights of one task."""
        import torch
        from torch.func import functional_call

        scales = {} if self.__dict__.get("_plain") else self.state.get("scales", {}).get(task, {})
        output: Output
        if not scales:
            output = learner.model(x)
            return output
        modules, linear = self.layers.modules, self.layers.linear if torch.is_grad_enabled() else ()
        by_input = [name for name in scales if name in linear and len(x) < self.layers.matrices[name].rows]
        weights = {f"{name}.weight": self._weight(learner, task, name) for name in scales if name not in by_input}
        handles = [modules[name].register_forward_pre_hook(self._scaled_input(task, name)) for name in by_input]
        try:
            output = functional_call(learner.model, weights, (x,)) if weights else learner.model(x)
        finally:
            for handle in handles:
                handle.remove()
        return output

    def _weight(self, learner: Learner, task: int, layer: str) -> Tensor:
        """Return the weights w~ of a task in a layer, in their own shape; computed once while weights stand still: in
        an evaluation, and for the inputs at the end of an experience."""
        import torch

        key = f"{type(self).__name__}/{self.twin}/{task}/{layer}"
        standing = learner.scratch if torch.is_inference_mode_enabled() else self.__dict__.get("_standing")
        if standing is not None and key in standing:
            known: Tensor = standing[key]
            return known
        basis, scales = self._relation(task, layer)
        w = self.layers.weight(layer)
        rows = w.flatten(1)  # (O, I)
        made: Tensor = (rows + _change(rows @ basis, scales) @ basis.T).view_as(w)
        if standing is not None:
            standing[key] = made
        return made

    def _scaled_input(self, task: int, layer: str) -> Callable[[nn.Module, tuple[Tensor]], Tensor]:
        """Return a hook that scales the inputs x of a layer such that w x becomes w~ x, with fewer products."""
        basis, scales = self._relation(task, layer)
        turned = [q.T for q in scales]
        return lambda _, read: read[0] + _change(read[0] @ basis, turned) @ basis.T

    def _relation(self, task: int, layer: str) -> tuple[Tensor, list[Tensor]]:
        """Return the directions (I, r) of all related tasks of a task, side by side, and its matrices Q."""
        import torch

        relation = self.state["scales"][task][layer]
        known: dict[tuple[int, str], tuple[list[Tensor], Tensor]] = self.__dict__.setdefault("_related", {})
        if (task, layer) not in known or known[task, layer][0] is not relation["columns"]:
            basis = self.state["directions"][layer]
            known[task, layer] = relation["columns"], basis[:, torch.cat(relation["columns"])].contiguous()
        return known[task, layer][1], relation["q"]

    # ------------------------------------------------------------------ directions

    def _fixed(self, layer: str) -> Tensor:
        """Return the columns of a layer's directions that no step of the running task may change: all that it keeps,
        but those of aligned tasks alone."""
        import torch

        kept: Tensor = self.state["kept"][layer]
        regimes = self.state["regimes"][self.state["task"]].get(layer, {})
        spans = {j: own[layer] for j, own in self.state["columns"].items() if layer in own}
        aligned = [spans[j] for j, regime in regimes.items() if regime == ALIGNED]
        if not aligned:
            return kept
        held = [spans[j] for j in spans if regimes.get(j) != ALIGNED]
        free = torch.cat(aligned)
        free = free[~torch.isin(free, torch.cat(held))] if held else free
        return kept[~torch.isin(kept, free)]

    def _guard(self, layer: str) -> tuple[Tensor, Tensor | None]:
        """Return the directions (I, r) that are fixed in a layer and, if they are more than half, their complement."""
        fixed = self.state["fixed"][layer]
        known: dict[str, tuple[Tensor, Tensor, Tensor | None]] = self.__dict__.setdefault("_guards", {})
        if layer not in known or known[layer][0] is not fixed:
            basis = self.state["directions"][layer][:, fixed].contiguous()
            wide = 2 * basis.shape[1] > len(basis)
            known[layer] = fixed, basis, input_bases.complement(basis) if wide else None
        return known[layer][1:]

    def _append(self, layer: str, rows: Tensor, threshold: float) -> Tensor:
        """Append to the directions of a layer those that inputs (n, I) need; return the columns that span them."""
        import torch

        w = self.layers.weight(layer)
        basis = self.state["directions"].setdefault(layer, w.new_zeros(rows.shape[1], 0).detach())
        kept = self.state["kept"].setdefault(layer, torch.zeros(0, dtype=torch.int64, device=w.device))
        first = self.form == "code" and len(self.state["columns"]) == 1
        chosen, new = span(rows, basis[:, kept].to(rows.dtype), threshold, below=first)
        added = torch.arange(new.shape[1], device=w.device) + basis.shape[1]
        self.state["directions"][layer] = torch.cat([basis, new.to(basis.dtype)], dim=1)
        lost = self.form == "code" and not first  # the index of the authors' code leaves out the strongest one
        self.state["kept"][layer] = torch.cat([kept, added[1:] if lost else added])
        return torch.cat([kept[chosen], added])


def _change(coordinates: Tensor, scales: list[Tensor]) -> Tensor:
    """Return (n, r) coordinates times Q - 1, where the columns of each related task have their own matrix Q."""
    import torch

    parts = coordinates.split([len(q) for q in scales], dim=-1)
    return torch.cat([part @ q - part for part, q in zip(parts, scales, strict=True)], dim=-1)


def span(rows: Tensor, basis: Tensor, threshold: float, *, below: bool = False) -> tuple[Tensor, Tensor]:
    """Find the fewest directions that hold a share of the energy of rows, among those of a basis and new ones.

    Args:
        rows: R (n, I).
        basis: B (I, K) orthonormal. Its direction b holds |R b|². The new directions are the principal ones of
            R - R B Bᵀ.
        threshold: The share of |R|², in [0, 1].
        below: Whether to stop below the threshold, with one direction less.

    Returns:
        Places (k,) in the basis, and new directions (I, r), orthonormal and orthogonal to it; both the strongest first.
    """
    import torch

    new, energies = input_bases.directions(rows, basis if basis.shape[1] else None)
    held = torch.cat([(rows @ basis).square().sum(0), energies])
    order = torch.argsort(held, descending=True, stable=True)
    count = input_bases.leading(held[order], total=rows.square().sum(), threshold=threshold)
    chosen = order[: max(count - 1, 0) if below else count]
    old = chosen < basis.shape[1]
    return chosen[old], new[:, chosen[~old] - basis.shape[1]]

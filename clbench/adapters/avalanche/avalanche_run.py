"""Runs by avalanche-lib's own loop, with clbench's evaluator after every iteration.

The benchmark sets stream, samples, initial weights, optimiser and batch size. The library has the loop, the loaders and
the method. Its draws come from the three global generators, which are seeded here. Evaluations leave all of this
unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

from clbench.adapters.avalanche.avalanche_recipes import AvalanchePart
from clbench.adapters.avalanche.build_strategy import build
from clbench.adapters.avalanche.library import Clock, EvaluationPlugin, NCMClassifier, plugins, quiet
from clbench.adapters.avalanche.loop_listener import Listener
from clbench.adapters.avalanche.memory_use import MemoryUse, memory_use
from clbench.adapters.avalanche.slim_strategy import frozen
from clbench.adapters.avalanche.stream_experiences import Experiences, Meter
from clbench.adapters.run_setup import RunSetup
from clbench.core.cost import Cost
from clbench.core.errors import Refused
from clbench.core.global_rng import preserved, seed_globals
from clbench.core.record import Kind, Trace
from clbench.core.rng import Generator
from clbench.core.types import Experience, Stream
from clbench.evaluate.trace_alarms import of_trace
from clbench.families.class_mask import ALL, ClassMask
from clbench.models.flops import per_row
from clbench.models.output import Output
from clbench.scenarios import merging
from clbench.strategies.part import Part
from clbench.training.device_rows import Resident

BOOKKEEPERS = (EvaluationPlugin, plugins.LRSchedulerPlugin, Clock, Listener)
"""Plugins that count evaluations and change no prediction."""


class AvalancheSubject:
    """Present a strategy of avalanche-lib to an evaluator.

    Args:
        strategy: The strategy; its model is read again at every evaluation.
        stream: The stream that it learns.
        device: The device of the model.
        cost: The cost of the run.
        meter: The counter of samples; it does not count in evaluations.
    """

    def __init__(self, strategy: Any, stream: Stream, device: str, cost: Cost, meter: Meter) -> None:
        self.strategy, self.device, self.cost, self.meter = strategy, torch.device(device), cost, meter
        self.scratch: dict[str, Any] = {}
        self.n_outputs = stream.n_outputs
        self.class_mask_changes = 0  # the mask changes only with experiences, whose boundaries are visible
        self.seen = torch.zeros(stream.n_outputs, dtype=torch.bool, device=device)
        self._all = stream.output == "all"
        self._by_task: Tensor | None = None
        if stream.task_labels:
            self._by_task = torch.zeros(len(stream.tasks), stream.n_outputs, dtype=torch.bool, device=device)
            for task in stream.tasks:
                self._by_task[task.id, list(task.classes)] = True

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        """Return the modules of the current model."""
        return tuple(self.strategy.model.modules())

    @contextmanager
    def undisturbed(self, *, training: bool) -> Iterator[None]:
        """Switch to evaluation mode; restore strategy, model and generators at the end."""
        strategy, modules = self.strategy, self.modules
        attributes = dict(vars(strategy))
        held = [(module, dict(vars(module)), dict(module._buffers)) for module in modules]
        self.meter.stopped = True
        try:
            for module, _, buffers in held:
                module._buffers.update({name: b.clone() for name, b in buffers.items() if b is not None})
                module.__dict__["training"] = training and module.training
                if "looked_at" in vars(module):
                    module.__dict__["looked_at"] = True
                if isinstance(module, NCMClassifier):
                    self._know_all_classes(module)
            strategy.is_training = training
            with preserved(self.device):
                yield
        finally:
            self.meter.stopped = False
            for module, before, buffers in held:
                vars(module).clear()
                vars(module).update(before)
                module._buffers.clear()
                module._buffers.update(buffers)
            vars(strategy).clear()
            vars(strategy).update(attributes)

    def _know_all_classes(self, classifier: Any) -> None:
        """Give classes without a mean a mean of zeros, as an adaptation to an experience with all classes does."""
        classifier.class_means_dict = dict(classifier.class_means_dict)
        classifier.max_class = self.n_outputs - 1
        if classifier.class_means is not None:
            width = classifier.class_means.shape[1]
            classifier.init_missing_classes(range(self.n_outputs), width, classifier.class_means.device)

    def output(self, x: Tensor, task: Tensor | None) -> Output:
        """Return the strategy's output for inputs (B, ...), from its own ``forward`` and its plugins."""
        labels = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        self.strategy.mbatch = [x, labels, labels if task is None else task]
        self.strategy.mb_output = self.strategy.forward()
        for plugin in self.strategy.plugins:
            if not isinstance(plugin, BOOKKEEPERS):  # BiC corrects logits there, CoPE turns them into classes
                for event in ("after_eval_forward", "after_eval_iteration"):
                    getattr(plugin, event, lambda _: None)(self.strategy)
        logits = self.strategy.mb_output
        return Output(logits, logits)

    def predict(self, output: Output, task: Tensor | None) -> Tensor:
        """Return scores (B, C) of an output."""
        return output.logits

    def standing(self) -> object:
        """Return a new object each time, since only the library knows what its predictions depend on."""
        return object()

    def class_mask(self, task: Tensor) -> ClassMask:
        """Return the class mask of evaluation samples of tasks (B,)."""
        if self._by_task is not None:
            return ClassMask(self._by_task[task])
        if self._all or not bool(self.seen.any()) or bool(self.seen.all()):
            return ALL
        return ClassMask(self.seen.clone())


class AvalancheRun:
    """Run a strategy in avalanche-lib's loop.

    Args:
        parts: At most one template, plugins, and clbench's upper bounds, which change the stream.
        setup: The settings of the benchmark.
        ordered: Whether samples come in the order of clbench's loop, instead of a new order of the library's loaders;
            for comparisons step by step, with one pass over each experience.

    Raises:
        Refused: The library's loop cannot do what is requested.
    """

    resumable = False
    data = ""

    def __init__(self, parts: Sequence[Part], setup: RunSetup, *, ordered: bool = False) -> None:
        _refuse(setup, ordered)
        self.setup, self.ordered = setup, ordered
        self.stream, self.evaluator, self.share = setup.stream, setup.evaluator, setup.share
        self.iterations = setup.training.iterations
        self.cost, self.meter = Cost(), Meter()
        with preserved():
            seed_globals(setup.seed, "avalanche/init")
            with quiet():
                built = build([part for part in parts if isinstance(part, AvalanchePart)], setup)
        self.strategy = built.strategy
        setup.model.register_forward_pre_hook(self.meter)
        self.cost.weights = sum(w.numel() for w in self.strategy.model.parameters())
        self.subject = AvalancheSubject(self.strategy, self.stream, setup.device, self.cost, self.meter)
        self._experiences = Experiences(self.stream, _on_cpu(setup), self.meter, built.benchmark)
        self._order = Generator(setup.seed, "order")
        self._most, self._last = MemoryUse(), MemoryUse()
        self._tick: Callable[[int, float], Any] | None = None
        self._number = 0
        self.listener = Listener(setup.training, self.cost, self.meter, len(self.stream), self._after_step)
        self.strategy.plugins.append(self.listener)

    # ------------------------------------------------------------------ learning

    def train(self, tick: Callable[[int, float], Any] | None = None) -> None:
        """Learn the stream, and restore the global generators at the end."""
        self._tick = tick
        with preserved():
            seed_globals(self.setup.seed, "avalanche")
            with quiet():
                self._look(Kind.START, -1)
                for number in range(len(self.stream)):
                    self._learn(number)

    def _learn(self, number: int) -> None:
        experience: Experience = self.stream[number]
        self._number, self.meter.running = number, experience.id
        self.subject.seen[list(experience.classes)] = True
        self._look(Kind.SWITCH, number)
        order = torch.from_numpy(self._order.permutation(len(experience))) if self.ordered else None
        given, rows = self._experiences.make(experience, order)
        self.listener.begin(number, self.iterations)
        self.strategy.train(
            given,
            eval_streams=[],
            drop_last=self.setup.training.drop_last,
            shuffle=experience.shuffled and not self.ordered,
        )
        rows.x = None
        self.listener.check_losses()
        self.listener.settle()
        self._last = memory_use(self.strategy)
        self._most = max(self._most, self._last, key=lambda each: each.rows)
        self._look(Kind.END, number)

    def _after_step(self, fraction: float) -> None:
        self._look(Kind.STEP, self._number)
        if self._tick is not None:
            self._tick(self.cost.steps, fraction)

    def _look(self, kind: Kind, number: int) -> None:
        self.evaluator.look(self.subject, kind, number, self.cost.steps)

    def shorten(self, places: list[int], iterations: int, evaluator: Any) -> None:
        """Learn only these experiences, for a given number of iterations each, with another object as evaluator."""
        self.stream, self.evaluator = merging.only(self.stream, places), evaluator
        self.iterations, self.share, self.listener.experiences = iterations, 1, len(places)
        self._experiences.stream = self.stream

    # ------------------------------------------------------------------ afterwards

    def account(self) -> Cost:
        """Return the cost of the run, with replay buffer and statistics as they are at the end."""
        cost, setup = self.cost, self.setup
        cost.memory_bytes = self._last.rows * setup.rows.row_bytes + self._last.side_bytes
        cost.state_bytes = self._last.state_bytes
        with suppress(Exception):  # operations of a program's own model may not be countable
            cost.count_flops(*per_row(setup.model, self.stream.dataset.shape, device=setup.device))
        return cost

    def trace(self) -> Trace:
        """Return the trace."""
        return self.evaluator.trace()

    def alarms(self, *, done: bool = True) -> tuple[str, ...]:
        """Return alarms: a replay buffer above the benchmark's budget or never used, and alarms of the trace."""
        found, budget = [], self.setup.memory_size
        if self._most.rows > budget:
            found.append(
                f"it kept {self._most.rows} samples in the replay buffer, and the benchmark's budget is {budget}: "
                "budgets are not equal"
            )
        more = done and len(self.stream) > 1
        if more and self._most.from_loaders and not self.listener.drawn:
            found.append(f"its replay buffer of {self._most.from_loaders} samples was never drawn from")
        if more and any(_knows_nothing(plugin) for plugin in self.strategy.plugins):
            found.append("its importances are all 0, so that its penalty never acted: this is naive training")
        return (*found, *of_trace(self.stream, self.evaluator.trace()))

    def packed(self) -> dict[str, Any]:
        """Return the predictor for a file: the pickled strategy without its learning state, and the class mask.

        Raises:
            Refused: An object in it cannot be pickled.
        """
        subject = self.subject
        competes = subject.class_mask(torch.zeros(1, dtype=torch.int64, device=subject.device)).competes
        try:
            strategy = frozen(self.strategy)
        except Exception as error:
            raise Refused(
                f"{type(self.strategy).__name__} holds something that cannot be saved ({type(error).__name__}: {error})"
            ) from error
        return {
            "avalanche": strategy,
            "seen": subject.seen.cpu().clone(),
            "hidden": None if competes is None or self.stream.task_labels else ~competes.cpu(),
        }


def _knows_nothing(plugin: Any) -> bool:
    """Return whether it is synaptic intelligence without importances, as on CPUs: see ``docs/avalanche.md``."""
    kept = getattr(plugin, "ewc_data", None)
    return kept is not None and not any(bool(importance.data.any()) for importance in kept[1].values())


def _refuse(setup: RunSetup, ordered: bool) -> None:
    """Refuse settings of the benchmark that the library's loop does not support.

    Raises:
        Refused: Such a setting is used.
    """
    training = setup.training
    remembers = training.momentum or training.weight_decay or training.optimizer != "sgd"
    wrong = ""
    if training.augment != "none":
        wrong = f"training.augment = {training.augment}: samples cannot be augmented; use none"
    elif training.stop is not None:
        wrong = "training.stop: it would have to be between its passes; leave it out"
    elif training.first is not None:
        wrong = "training.first: it makes every experience alike; leave it out"
    elif setup.settings.evaluation.probe:
        wrong = "evaluation.probe: it would have to be inside the step; leave it out"
    elif setup.settings.model.heads == "separate" and setup.stream.task_labels and remembers:
        wrong = "model.heads = separate and an optimiser with a state; use shared heads, or plain SGD without decay"
    elif ordered and (training.epochs != 1 or training.iterations is not None):
        wrong = "the order of clbench's loop over more than one pass; set training.epochs=1 and no iterations"
    if wrong:
        raise Refused(f"avalanche-lib's loop does not support {wrong}")


def _on_cpu(setup: RunSetup) -> Resident:
    """Return the training samples on the CPU, where its loaders can collate and pin them."""
    if setup.device == "cpu":
        return setup.rows
    dataset = setup.stream.dataset
    return Resident(dataset.train, dataset, transform=setup.stream.transform)

"""Construction of avalanche-lib's strategies from a run setup: one way for most templates, and builders for those that
need a model of their own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from typing import Any

import torch
from torch import Tensor, nn

from clbench.adapters.avalanche import model_shapes
from clbench.adapters.avalanche.avalanche_recipes import MEMORIES, QUOTAS, AvalanchePart, Template
from clbench.adapters.avalanche.library import (
    BaseTemplate,
    EvaluationPlugin,
    SCRModel,
    plugins,
    storage,
    supervised,
)
from clbench.adapters.avalanche.stream_experiences import whole
from clbench.adapters.avalanche.to_avalanche import ShownBenchmark
from clbench.adapters.run_setup import RunSetup, Skip
from clbench.core.errors import Refused, did_you_mean
from clbench.training.batch_splits import OTHER_NORM, REASON, BatchSplit, fewest_rows
from clbench.training.optimizers import optimizer

EVALUATION_ROWS = 256
"""Number of samples at a time when a template passes over samples itself, for class means and herding."""
PROJECTION = 128
"""Number of units of SCR's projection, as in its paper (arXiv 2103.13885)."""


@dataclass(frozen=True, eq=False)
class Built:
    """Hold a strategy of avalanche-lib, ready to train.

    Args:
        strategy: An object of its template.
        benchmark: The whole benchmark, if its method needs it.
    """

    strategy: Any
    benchmark: ShownBenchmark | None = None


def build(parts: Sequence[AvalanchePart], setup: RunSetup) -> Built:
    """Build the template with its plugins.

    Raises:
        Refused: A constructor does not accept these parameters.
        Skip: The method cannot learn this stream.
    """
    if setup.training.lr_scale:
        raise Refused(
            "training.lr_scale is for steps of clbench's own loop, and strategies of avalanche-lib step by themselves; "
            "leave it out"
        )
    passes = {"precision", "channels_last", "accumulate", "compile"}
    if passes & set(setup.training.canonical()):
        raise Refused(
            "training.precision, channels_last, accumulate and compile are for passes of clbench's own loop, and "
            "strategies of avalanche-lib run the model by themselves; leave them out"
        )
    template = next((part for part in parts if isinstance(part, Template)), None)
    template = template or Template(name="avalanche:Naive", parameters={})
    constructor = template.constructor
    special = next((make for kind, make in SPECIAL.items() if issubclass(constructor, kind)), _usual)
    special_inputs, benchmark = special(setup)
    model = special_inputs.get("model")
    if model is None:
        model = next(v for v in special_inputs.values() if isinstance(v, nn.Module))
    weights = {id(w): w for v in special_inputs.values() if isinstance(v, nn.Module) for w in v.parameters()}
    offered = {
        "criterion": nn.CrossEntropyLoss(),
        "optimizer": optimizer(setup.training, list(weights.values())),
        "train_mb_size": setup.training.batch_size,
        "train_epochs": setup.training.epochs,
        "eval_mb_size": EVALUATION_ROWS,
        "device": setup.device,
        "plugins": [_plugin(part, setup, model) for part in parts if part is not template],
        "evaluator": EvaluationPlugin(loggers=[]),
        "eval_every": -1,
        **special_inputs,
    }
    strategy: BaseTemplate = _call(template, constructor, offered, setup)
    _refuse_endless(strategy, setup)
    _refuse_small_batches(parts, setup)
    _without_quadprog(strategy)
    return Built(strategy, benchmark)


def _plugin(part: AvalanchePart, setup: RunSetup, model: nn.Module) -> Any:
    return _call(part, part.constructor, {"model": model, "n_classes": setup.stream.n_outputs}, setup)


def _call(part: AvalanchePart, constructor: Any, offered: dict[str, Any], setup: RunSetup) -> Any:
    """Construct an object from what its constructor needs and the part's parameters."""
    asked = inspect.signature(constructor).parameters
    # a size that the user wrote has priority over the benchmark's budget
    given = {name: value for name, value in offered.items() if name in asked and part.parameters.get(name) is None}
    open_sizes = {name for name, value in part.parameters.items() if value is None and name in given}
    parameters = {n: _sized(n, value, setup) for n, value in part.parameters.items() if n not in open_sizes}
    policy = parameters.get("storage_policy")
    if isinstance(policy, str):
        parameters["storage_policy"] = _policy(policy, parameters.get("mem_size", setup.memory_size))
    try:
        with redirect_stdout(StringIO()):  # some print a greeting
            return constructor(**given, **parameters)
    except (TypeError, ValueError, AssertionError, AttributeError) as error:
        raise Refused(f"{part.name} does not accept these parameters: {type(error).__name__}: {error}") from error


def _sized(name: str, value: Any, setup: RunSetup) -> Any:
    if value is None and name in MEMORIES:
        return setup.memory_size
    if value is None and name in QUOTAS:
        return max(1, setup.memory_size // len(setup.stream))
    return value


def _policy(name: str, size: int) -> Any:
    known = {each: obj for each, obj in vars(storage).items() if each.endswith("Buffer")}
    if name not in known:
        raise Refused(f"avalanche-lib has no storage policy {name!r}; {did_you_mean(name, known)}")
    return known[name](max_size=size)


# --------------------------------------------------------------------------------------------------- what they get

Inputs = tuple[dict[str, Any], ShownBenchmark | None]


def _usual(setup: RunSetup) -> Inputs:
    return {"model": _head(setup)}, None


def _head(setup: RunSetup, *, trains_only: bool = False) -> nn.Module:
    """Return the benchmark's model with its class mask."""
    stream = setup.stream
    if stream.task_labels:
        by_task = torch.zeros(len(stream.tasks), stream.n_outputs, dtype=torch.bool)
        for task in stream.tasks:
            by_task[task.id, list(task.classes)] = True
        return model_shapes.PerTask(setup.model, by_task.to(setup.device))
    grows = stream.output == "seen"
    shared: nn.Module = model_shapes.SharedHead(setup.model, stream.n_outputs, grows=grows, trains_only=trains_only)
    return shared.to(setup.device)


def _der(setup: RunSetup) -> Inputs:
    """Return a model without a class mask in evaluation mode, in which the method computes the logits that it stores.

    A masked logit would be pulled to -1000 as soon as its class competes.
    """
    return {"model": _head(setup, trains_only=True)}, None


def _icarl(setup: RunSetup) -> Inputs:
    benchmark = whole(setup.stream)
    if benchmark is None:
        raise Skip("avalanche:ICaRL needs every class in one experience only, and classes of this stream recur")
    inputs = {
        "feature_extractor": model_shapes.Features(setup.model),
        "classifier": _last_layer(setup.model, "ICaRL"),
        "buffer_transform": None,
        "memory_size": _rounded_up(setup.memory_size, setup.stream.n_outputs),
    }
    return inputs, benchmark


def _rounded_up(budget: int, classes: int) -> int:
    """Return the largest size within a budget although its share per class, of 1 to all classes, is rounded up."""
    return min(seen * (budget // seen) for seen in range(1, classes + 1))


def _scr(setup: RunSetup) -> Inputs:
    """Return a projection of two layers, as in the paper; without augmentation, both views of a sample are equal."""
    features = model_shapes.width(setup.model, _row(setup))
    projection = nn.Sequential(nn.Linear(features, features), nn.ReLU(), nn.Linear(features, PROJECTION))
    return {"model": SCRModel(model_shapes.Features(setup.model), projection.to(setup.device))}, None


def _slda(setup: RunSetup) -> Inputs:
    inputs = {
        "slda_model": model_shapes.Features(setup.model),
        "input_size": model_shapes.width(setup.model, _row(setup)),
        "num_classes": setup.stream.n_outputs,
    }
    return inputs, None


def _cwr(setup: RunSetup) -> Inputs:
    head = _last_layer(setup.model, "CWRStar")
    name = next(name for name, module in setup.model.named_modules() if module is head)
    return {"model": _head(setup), "cwr_layer_name": f"model.{name}"}, None


def _gss(setup: RunSetup) -> Inputs:
    return {"model": _head(setup), "input_size": list(setup.stream.dataset.shape)}, None


def _metric(setup: RunSetup) -> Inputs:
    return {"model": _head(setup), "feature_extractor": model_shapes.Features(setup.model)}, None


def _prototypes(setup: RunSetup) -> Inputs:
    return {"model": _head(setup), "n_classes": setup.stream.n_outputs, "p_size": setup.stream.n_outputs}, None


SPECIAL: dict[type, Callable[[RunSetup], Inputs]] = {
    supervised.DER: _der,
    supervised.ICaRL: _icarl,
    supervised.SCR: _scr,
    supervised.StreamingLDA: _slda,
    supervised.CWRStar: _cwr,
    supervised.GSS_greedy: _gss,
    supervised.ER_AML: _metric,
    supervised.CoPE: _prototypes,
}
"""Template -> constructor arguments in addition to the benchmark's settings, by name of the parameter."""


def _row(setup: RunSetup) -> Tensor:
    return setup.rows.present(
        torch.zeros(1, dtype=torch.int64, device=setup.device), torch.zeros(1, dtype=torch.int64, device=setup.device)
    )


def _last_layer(model: nn.Module, name: str) -> nn.Module:
    head = getattr(model, "head", None)
    if not isinstance(head, nn.Linear):
        raise Refused(f"avalanche:{name} needs a model with a linear last layer called head; choose another model")
    return head


def _refuse_endless(strategy: Any, setup: RunSetup) -> None:
    """Refuse ER_AML if it would wait forever for a full batch of every class in the replay buffer."""
    share = getattr(strategy, "mem_size", 0) // setup.stream.n_outputs
    if isinstance(strategy, supervised.ER_AML) and share < setup.training.batch_size:
        raise Refused(
            f"avalanche:ER_AML would never end: it needs a batch of {setup.training.batch_size} samples of every class "
            f"in the replay buffer, which has room for {share}; raise mem_size or lower training.batch_size"
        )


def _refuse_small_batches(parts: Sequence[AvalanchePart], setup: RunSetup) -> None:
    """Refuse experiences that its loop cannot learn; samples of a replay buffer are in the same batch, and enlarge
    it."""
    training, fewest = setup.training, fewest_rows(setup.model, setup.stream.dataset.shape, setup.device)
    split = BatchSplit(training.batch_size, training.drop_last, fewest)
    sizes = [len(experience) for experience in setup.stream]
    split.check(sizes)
    rehearses = any(MEMORIES & set(inspect.signature(part.constructor).parameters) for part in parts)
    for number, rows in enumerate(sizes[:1] if rehearses else sizes):
        if fewest > 1 and not training.drop_last and rows % training.batch_size == 1:
            raise Refused(
                f"experience {number} has {rows} samples, and avalanche-lib's last batch of {training.batch_size} "
                f"would hold one: {REASON}; set training.drop_last: true, another training.batch_size, or {OTHER_NORM}"
            )


# --------------------------------------------------------------------------------------------------- GEM's solver


def _without_quadprog(strategy: Any) -> None:
    """Replace GEM's ``quadprog`` by clbench's own exact solver if it is not installed."""
    import qpsolvers

    if "quadprog" in qpsolvers.available_solvers:
        return
    for plugin in strategy.plugins:
        if isinstance(plugin, plugins.GEMPlugin):
            plugin.solve_quadprog = _Solver(plugin)


class _Solver:
    """Minimise ½ vᵀ(GGᵀ + 0.001) v + (Gg)ᵀv with v >= memory_strength; the projected gradient is g + Gᵀv."""

    def __init__(self, plugin: Any) -> None:
        self.plugin = plugin

    def __call__(self, g: Tensor) -> Tensor:
        from clbench.strategies.gem import dual

        past = self.plugin.G
        projected: Tensor = g + dual(g, past, margin=self.plugin.memory_strength, damping=1e-3) @ past
        return projected

"""Templates and plugins of avalanche-lib as recipes: ``avalanche:EWC(ewc_lambda=1) + avalanche:ReplayPlugin``.

Those that avalanche-lib exports need no import path. Others are written ``avalanche:package.module.NAME`` or
``avalanche:FILE.py:NAME``. A strategy has at most one template (``Naive`` if none) and any number of plugins.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

from clbench.adapters.avalanche.library import VERSION, BasePlugin, BaseTemplate, plugins, supervised
from clbench.adapters.constructor_recipes import find as named
from clbench.adapters.constructor_recipes import recipe_of
from clbench.core.errors import Refused
from clbench.core.parameters import Count
from clbench.core.registry import checksum
from clbench.strategies.part import Part

GIVEN = frozenset(
    {
        "model",
        "optimizer",
        "criterion",
        "train_mb_size",
        "train_epochs",
        "eval_mb_size",
        "device",
        "plugins",
        "evaluator",
        "eval_every",
        "peval_mode",
        "base_kwargs",
        "feature_extractor",
        "classifier",
        "slda_model",
        "cwr_layer_name",
        "output_layer_name",
        "input_size",
        "num_classes",
        "n_classes",
        "p_size",
        "buffer_transform",
        "augmentations",
        "verbose",
    }
)
"""Constructor parameters that clbench sets: those of the benchmark, and those that depend on its model and stream."""

MEMORIES = frozenset({"mem_size", "memory_size"})
"""Parameters for the size of the replay buffer; without a value they are the benchmark's ``memory.size``."""
QUOTAS = frozenset({"patterns_per_exp", "patterns_per_experience"})
"""Parameters for the number of samples kept per experience; without a value, the benchmark's size in equal shares."""


NOTE = (
    f"Run by the loop of avalanche-lib {VERSION}. Model, optimiser, batch size, epochs and device are the benchmark's. "
    "A replay buffer's size of None is the benchmark's memory.size, in equal shares if it is per experience."
)
"""Text that is added to the documentation of each recipe."""


@dataclass(kw_only=True)
class AvalanchePart(Part):
    """Describe a template or plugin that avalanche-lib's own loop runs.

    Args:
        name: Name in the text of strategies, such as ``avalanche:Replay``.
        parameters: Parameters of its constructor; ``None`` for the size of a replay buffer takes the benchmark's.
    """

    random_stream: ClassVar[str] = "Hosted"

    engine: ClassVar[str] = "avalanche"
    allows: ClassVar[frozenset[str]] = frozenset()

    name: str
    parameters: dict[str, Any]

    @property
    def title(self) -> str:
        """Return its name in messages."""
        return self.name

    @property
    def constructor(self) -> type:
        """Return the class."""
        return find(self.name.removeprefix("avalanche:"))

    @property
    def needs(self) -> frozenset[str]:  # type: ignore[override]
        """Require visible boundaries, since every experience is a call of ``train``, and what sizes of replay buffers
        need."""
        open_sizes = {name for name, value in self.parameters.items() if value is None}
        found = {"boundaries"}
        if open_sizes & (MEMORIES | QUOTAS):
            found.add("memory")
        if open_sizes & QUOTAS:
            found.add("length")
        return frozenset(found)


@dataclass(kw_only=True)
class Template(AvalanchePart):
    """Describe a training strategy: a subclass of avalanche-lib's ``BaseTemplate``."""

    random_stream: ClassVar[str] = "Template"

    owns: ClassVar[frozenset[str]] = frozenset({"template"})


@dataclass(kw_only=True)
class Joint(Template):
    """Describe a template that trains on all experiences at once."""

    random_stream: ClassVar[str] = "Joint"

    sees: ClassVar[str] = "merged"


@dataclass(kw_only=True)
class Accumulating(Template):
    """Describe a template that accumulates experiences itself."""

    random_stream: ClassVar[str] = "Accumulating"

    conflicts: ClassVar[dict[str, str]] = {"Accumulated": "both accumulate the stream; leave 'cumulative' out"}


@dataclass(kw_only=True)
class Plugin(AvalanchePart):
    """Describe a plugin: a subclass of avalanche-lib's ``BasePlugin``."""

    random_stream: ClassVar[str] = "Plugin"


UNUSUAL = {supervised.JointTraining: Joint, supervised.Cumulative: Accumulating}
"""Templates that change the stream."""


def recipe(rest: str) -> Callable[..., Part]:
    """Return the recipe of ``avalanche:REST``.

    Raises:
        Refused: The template or plugin does not exist.
    """
    return _recipe(rest, f"avalanche-lib {VERSION}" + (f" {checksum(rest)}" if ".py:" in rest else ""))


@cache
def _recipe(rest: str, source: str) -> Callable[..., Part]:
    name, constructor = f"avalanche:{rest}", find(rest)
    kind: type[AvalanchePart] = Plugin
    if issubclass(constructor, BaseTemplate):
        kind = next((kind for base, kind in UNUSUAL.items() if issubclass(constructor, base)), Template)

    def make(parameters: Mapping[str, Any]) -> Part:
        return kind(name=name, parameters=dict(parameters))

    made = recipe_of(name, constructor, make, source=source, leave_out=GIVEN)
    _open_sizes(made)
    made.__doc__ = f"{made.__doc__ or ''}\n\n{NOTE}"
    return made


def _open_sizes(recipe: Any) -> None:
    """Let sizes of replay buffers have no value, whatever default the constructor has for them."""
    signature = inspect.signature(recipe)
    settings = [
        each.replace(default=None, annotation=Count | None) if each.name in MEMORIES | QUOTAS else each
        for each in signature.parameters.values()
    ]
    recipe.__signature__ = signature.replace(parameters=settings)
    recipe.__annotations__ = {each.name: each.annotation for each in settings}


def find(rest: str) -> type:
    """Return the class of ``avalanche:REST``.

    Raises:
        Refused: It does not exist, or is neither a template nor a plugin.
    """
    known = shipped()
    found = known[rest] if rest in known else named("avalanche", rest, "strategy", known=known)
    if not (isinstance(found, type) and (issubclass(found, BaseTemplate | BasePlugin))):
        raise Refused(
            f"avalanche:{rest} is neither a template nor a plugin; write a subclass of avalanche-lib's BaseTemplate or "
            "SupervisedPlugin"
        )
    return found


@cache
def shipped() -> dict[str, type]:
    """Return short name -> class for every template and plugin that avalanche-lib exports.

    Plugins whose method has no template also have a name without ``Plugin``.
    """
    own = {**dict(_public(plugins, BasePlugin)), **dict(_public(supervised, BaseTemplate))}
    short = {name.removesuffix("Plugin"): obj for name, obj in own.items()}
    return dict(sorted({**short, **own}.items()))


def _public(module: Any, kind: type) -> Iterator[tuple[str, type]]:
    for name, obj in vars(module).items():
        if isinstance(obj, type) and issubclass(obj, kind) and not name.startswith("_"):
            yield name, obj

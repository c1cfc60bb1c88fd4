"""The kinds of named things, as the command line lists and shows them. None of it imports torch."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clbench.core.errors import Refused
from clbench.core.parameters import signature_text

if TYPE_CHECKING:
    from clbench.core.registry import Registry

KINDS = (
    "benchmarks", "datasets", "scenarios", "models", "strategies", "metrics", "lr_schedules", "evaluation_schedules",
    "executors",
)  # fmt: skip


def registry(kind: str) -> Registry:
    """The registry behind a kind, other than ``benchmarks``."""
    if kind == "datasets":
        from clbench.data import DATASETS

        return DATASETS
    if kind == "scenarios":
        from clbench.scenarios import SCENARIOS

        return SCENARIOS
    if kind == "models":
        from clbench.models import MODELS

        return MODELS
    if kind == "strategies":
        from clbench.strategies import STRATEGIES

        return STRATEGIES
    if kind == "lr_schedules":
        from clbench.benchmark.lr_schedules import LR_SCHEDULES

        return LR_SCHEDULES
    if kind == "evaluation_schedules":
        from clbench.benchmark.evaluation_schedules import EVALUATION_SCHEDULES

        return EVALUATION_SCHEDULES
    if kind == "executors":
        from clbench.running.executors import EXECUTORS

        return EXECUTORS
    from clbench.metrics import METRICS

    return METRICS


def names(kind: str) -> list[str]:
    """What there is of a kind; metrics in the order of boards, all else by name."""
    if kind == "benchmarks":
        from clbench.benchmark.shipped_files import shipped

        return list(shipped())
    if kind == "metrics":
        from clbench.metrics import metric_names

        return metric_names()
    return [entry.name for entry in registry(kind)]


def summary(text: str) -> str:
    """The first sentence of a docstring, on one line."""
    first = " ".join(plain(text).strip().split("\n\n")[0].split())
    return first.removesuffix(".")


def benchmark_summary(path: Path) -> str:
    """The comment at the head of a benchmark file."""
    lines = path.read_text(encoding="utf-8").splitlines()
    head = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return " ".join(line.lstrip("# ").rstrip() for line in lines[:head])


def documentation(thing: Any) -> str:
    """The docstring of what a name stands for, without markup."""
    return plain(inspect.getdoc(thing.func if isinstance(thing, partial) else thing) or "")


def plain(text: str) -> str:
    """Without the markup of docstrings: ``:class:`x``` and double backquotes."""
    return re.sub(r"(?::\w+:)?`+~?([^`]+)`+", r"\1", text)


def configurable(kind: str, thing: Any) -> Callable[..., Any] | None:
    """The callable whose keyword parameters are the settings of a named thing; ``None`` where it has none."""
    if kind == "datasets":
        from clbench import data

        return data.load
    return thing if callable(thing) and kind != "metrics" else None


def describe(kind: str, name: str) -> tuple[str, str, str]:
    """Summary, parameters and origin of an entry; a plugin that does not import says so in its summary."""
    entry = next(entry for entry in registry(kind) if entry.name == name)
    try:
        thing = registry(kind).get(name)
    except Refused as error:
        return str(error), "", entry.origin
    target = configurable(kind, thing)
    text = "" if target is None else signature_text(target)
    return entry.summary or summary(documentation(thing)), text, entry.origin

"""List and describe named objects of every kind for the command line, without torch."""

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
    "benchmarks", "datasets", "families", "scenarios", "models", "strategies", "metrics", "optimizers",
    "lr_schedules", "evaluation_schedules", "readings", "executors",
)  # fmt: skip


def registry(kind: str) -> Registry:
    """Return the registry of a kind other than ``benchmarks``."""
    if kind == "datasets":
        from clbench.data import DATASETS

        return DATASETS
    if kind == "families":
        from clbench.families import FAMILIES

        return FAMILIES
    if kind == "scenarios":
        from clbench.scenarios import SCENARIOS

        return SCENARIOS
    if kind == "models":
        from clbench.models import MODELS

        return MODELS
    if kind == "strategies":
        from clbench.strategies import STRATEGIES

        return STRATEGIES
    if kind == "optimizers":
        from clbench.benchmark.optimizer_names import OPTIMIZERS

        return OPTIMIZERS
    if kind == "lr_schedules":
        from clbench.benchmark.lr_schedules import LR_SCHEDULES

        return LR_SCHEDULES
    if kind == "evaluation_schedules":
        from clbench.benchmark.evaluation_schedules import EVALUATION_SCHEDULES

        return EVALUATION_SCHEDULES
    if kind == "readings":
        from clbench.readings import READINGS

        return READINGS
    if kind == "executors":
        from clbench.running.executors import EXECUTORS

        return EXECUTORS
    from clbench.metrics import METRICS

    return METRICS


def names(kind: str) -> list[str]:
    """Return all names of a kind; metrics in the order of leaderboards, others sorted."""
    if kind == "benchmarks":
        from clbench.benchmark.shipped_files import named

        return list(named())
    if kind == "metrics":
        from clbench.metrics import metric_names

        return metric_names()
    return [entry.name for entry in registry(kind)]


def summary(text: str) -> str:
    """Return the first paragraph of a docstring on one line."""
    first = " ".join(plain(text).strip().split("\n\n")[0].split())
    return first.removesuffix(".")


def benchmark_summary(path: Path) -> str:
    """Return the comment at the head of a benchmark file."""
    lines = path.read_text(encoding="utf-8").splitlines()
    head = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return " ".join(line.lstrip("# ").rstrip() for line in lines[:head])


def documentation(obj: Any) -> str:
    """Return the docstring of a named object, without markup."""
    return plain(inspect.getdoc(obj.func if isinstance(obj, partial) else obj) or "")


def plain(text: str) -> str:
    """Remove the markup of docstrings: ``:class:`x``` and double backquotes."""
    return re.sub(r"(?::\w+:)?`+~?([^`]+)`+", r"\1", text)


def configurable(kind: str, obj: Any) -> Callable[..., Any] | None:
    """Return the callable whose keyword parameters are the settings of a named object; ``None`` without settings."""
    if kind == "datasets":
        from clbench import data

        return data.load
    if kind == "optimizers":
        from clbench.benchmark.optimizer_names import declared

        return declared(obj)
    return obj if callable(obj) and kind not in ("families", "metrics") else None


def describe(kind: str, name: str) -> tuple[str, str, str]:
    """Return summary, parameters and origin of an entry; the summary of a broken plugin is its import error."""
    entry = next(entry for entry in registry(kind) if entry.name == name)
    try:
        obj = registry(kind).get(name)
    except Refused as error:
        return str(error), "", entry.origin
    target = configurable(kind, obj)
    text = "" if target is None else signature_text(target)
    return entry.summary or summary(documentation(obj)), text, entry.origin

"""Make the reference pages of what Python code uses: the hooks of a part with all they may ask, and the functions."""

from __future__ import annotations

import inspect
import re
from importlib import import_module

from docstrings import cell, markdown

import clbench

SURFACE = {
    "A part": ["clbench.Part"],
    "A batch and the output of the model": ["clbench.Batch", "clbench.Source", "clbench.ClassMask", "clbench.Output"],
    "The learner": ["clbench.Learner", "clbench.ExperienceView", "clbench.Family", "clbench.models.flat_weights.Flat"],
    "Classes: learner.classes": ["clbench.CompetingClasses"],
    "The replay buffer: learner.memory": ["clbench.Memory", "clbench.Draw"],
    "Computations besides the step: learner.side_work": ["clbench.SideWork"],
}
"""Heading -> what is documented below it."""
MADE_BY_THE_LOOP = {
    "clbench.Batch", "clbench.CompetingClasses", "clbench.Draw", "clbench.ExperienceView", "clbench.Learner",
    "clbench.Memory", "clbench.SideWork", "clbench.models.flat_weights.Flat",
}  # fmt: skip
"""Classes whose objects a strategy gets and never makes: how they are made is not shown."""
ORDERS = ("READS", "ADDS", "BENDS", "CLOSES", "MOVES", "KEEPS", "EVERY_FAMILY", "ROWS", "HOOKS")
TYPES = ("NonNegative", "Fraction", "Count")
FUNCTIONS = ("run", "load", "board", "plot", "stream", "numbers", "load_model", "from_avalanche", "to_avalanche")
"""The functions in the order in which the page shows them; others follow by name."""
ELSEWHERE = {
    "class": (
        "clbench.strategies.strategy.Strategy",
        "clbench.strategies.hooks.Hook",
        "clbench.strategies.hooks.Effect",
        "clbench.leaderboard.board.Board",
        "clbench.running.saved_models.predictor.Saved",
        "clbench.running.executors.Started",
        "clbench.running.executors.Progress",
        "clbench.running.scores_so_far.Scores",
        "clbench.running.weight_path.WeightPath",
        "clbench.metrics.weight_line.WeightLine",
        "clbench.core.record.Kind",
        "clbench.core.measure.Measure",
        "clbench.core.rng.Generator",
        "clbench.core.cost.Cost",
        "clbench.core.notices.Notice",
        "clbench.adapters.avalanche.to_avalanche.ShownBenchmark",
    ),
    "function": ("clbench.data.from_arrays",),
    "data": ("clbench.core.types.Rows",),
}
"""Kind -> what pages mention and what is not a public name of the package itself."""


def pages() -> dict[str, str]:
    """Return the place on the site -> the text."""
    return {"reference/plugin-surface.md": _surface(), "reference/python-api.md": _python()}


def surface_names() -> list[str]:
    """Return the public names that a strategy uses."""
    names = [name.removeprefix("clbench.") for names in SURFACE.values() for name in names]
    return [name for name in names if "." not in name]


def _surface() -> str:
    from clbench.training import loop

    lines = [
        "# The plugin surface",
        "",
        "This page lists everything that a strategy of yours may define and use. Other names may change.",
        "[Add a strategy in ten minutes](../add-a-strategy.md) leads through it. All of these are public names:",
        "",
        "```python",
        "from clbench import (",
        *(f"    {name}," for name in sorted(surface_names())),
        ")",
        "```",
        "",
        "Letters in shapes: B samples of a batch, C output units, H features, M samples in memory, P weights.",
        "",
        "## The hooks of a part",
        "",
        "A part defines the hooks that it needs. They are listed in the order of a run.",
        "",
        "| hook | when it is called and what it does | among several parts |",
        "|---|---|---|",
    ]
    from clbench.strategies.part import HOOKS, Part

    for name, hook in HOOKS.items():
        written = f"{name}{_signature(getattr(Part, name))}"
        if hook.owned:
            order = f"only one part of a strategy may own the {hook.owned}"
        else:
            order = f"by `{hook.order}`, then in the order written" if hook.order else "in the order written"
        told = f"{markdown(hook.summary)} {'It runs in clbench’s own step.' if hook.in_step else ''}"
        lines.append(f"| `{cell(written)}` | {cell(told)} | {order} |")
    lines += [
        "",
        "A hook of the step (`before_step`, `loss`, `gradient`, `after_step`) does not run if a part skips the batch",
        "or makes the step itself (`observe`). Hooks at boundaries run only if the stream shows its boundaries.",
        "",
        "## Where the loop calls them",
        "",
        "This is the training loop of this version:",
        "",
        "```python",
        *_source_of_the_loop(loop),
        "```",
        "",
    ]
    for heading, names in SURFACE.items():
        lines += [f"## {heading}", ""]
        for name in names:
            lines += _autodoc("class", name, members=name != "clbench.Output")  # a named tuple has no other members
    lines += ["## Values of declarations", ""]
    for name in ORDERS:
        lines += _autodoc("data", f"clbench.strategies.part.{name}", members=False)
    lines += ["## Types of settings", "", "A type with a range refuses other values before anything runs.", ""]
    for name in TYPES:
        lines += _autodoc("data", f"clbench.core.parameters.{name}", members=False)
    return "\n".join(lines)


def _python() -> str:
    public = sorted(name for name in clbench.__all__ if name != "__version__" and name not in surface_names())
    functions = [name for name in public if inspect.isfunction(getattr(clbench, name))]
    functions.sort(key=lambda name: (FUNCTIONS.index(name) if name in FUNCTIONS else len(FUNCTIONS), name))
    lines = [
        "# Python interface",
        "",
        "These are the functions and classes that `import clbench` offers. [The plugin surface](plugin-surface.md)",
        "has those of a strategy. [Python](../python.md) shows how they are used together.",
        "",
        "## Functions",
        "",
    ]
    for name in functions:
        lines += _autodoc("function", f"clbench.{name}", members=False)
    lines += ["## Classes", ""]
    for name in public:
        if name not in functions:
            lines += _autodoc("exception" if name == "Refused" else "class", f"clbench.{name}")
    lines += ["## Other names", "", "Arguments and results of the above. Import them from where they are.", ""]
    for kind, names in ELSEWHERE.items():
        for name in names:
            lines += _autodoc(kind, name, members=kind == "class")
    return "\n".join(lines)


def _autodoc(kind: str, name: str, *, members: bool = True) -> list[str]:
    options = ["   :members:", "   :member-order: bysource"] if members else []
    return ["```{eval-rst}", f".. auto{kind}:: {name}", *options, "```", ""]


def _signature(function: object) -> str:
    """Return the signature of a hook as it is written, without ``self``."""
    assert callable(function)
    text = str(inspect.signature(function)).replace("'", "")
    return re.sub(r"^\(self(?:, )?", "(", text)


def _source_of_the_loop(module: object) -> list[str]:
    names = ("train", "begin_run", "begin_experience", "order", "step", "end_experience")
    found = [getattr(module, name) for name in names if hasattr(module, name)]
    return "\n\n".join(inspect.getsource(each).rstrip() for each in found).splitlines()


def defined_at() -> dict[str, str]:
    """Return the full name of each documented object, by its module -> the name under which it is documented."""
    found = {f"{clbench._PUBLIC[name]}.{name}": f"clbench.{name}" for name in clbench._PUBLIC}
    for name in clbench._PUBLIC:
        obj = getattr(import_module(clbench._PUBLIC[name]), name)
        found[f"{obj.__module__}.{obj.__qualname__}"] = f"clbench.{name}"
    return found

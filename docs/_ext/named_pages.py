"""Make the reference pages of everything that has a name: strategies, scenarios, metrics, models, commands, ...

All content comes from the code: registries, signatures, types, docstrings, ``--help`` texts.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

import docstrings
from docstrings import cell, markdown

from clbench.cli import kinds
from clbench.core.parameters import range_text, settings
from clbench.core.search_space import search_text

DOCS = Path(__file__).parents[1]
PAGE_FOR_EACH = ("strategies", "scenarios", "metrics", "models", "benchmarks")
"""Kinds whose names have a page each; the others share a page of their kind."""
ORPHAN = "---\norphan: true\n---\n"
"""What a page begins with that is reached by links and has no line in the side bar."""
TITLES = {
    "lr_schedules": "Schedules of the learning rate",
    "evaluation_schedules": "Schedules of evaluations",
    "datasets": "Data sets",
    "families": "Families of tasks",
}


def pages() -> dict[str, str]:
    """Return the place on the site -> the text, of all pages about names."""
    made: dict[str, str] = {}
    for kind in kinds.KINDS:
        made |= _of_kind(kind)
    made |= _commands()
    made["reference/index.md"] = _index()
    return made


def title_of(kind: str) -> str:
    """Return the title of a kind."""
    return TITLES.get(kind, kind.replace("_", " ").capitalize())


def own_names(kind: str) -> list[str]:
    """Return the names that clbench defines, without those of plugins that happen to be installed."""
    if kind == "benchmarks":
        return kinds.names(kind)
    found = kinds.registry(kind)
    return [name for name in kinds.names(kind) if found.entry(name).origin == "clbench"]


def _index() -> str:
    lines = ["# Reference", "", "These pages are made from the code of this version.", ""]
    lines += ["```{toctree}", ":maxdepth: 1", "", "plugin-surface", "python-api", "Commands <commands/index>"]
    lines += [f"{title_of(k)} <{k}{'/index' if k in PAGE_FOR_EACH else ''}>" for k in kinds.KINDS]
    return "\n".join([*lines, "```", ""])


def _of_kind(kind: str) -> dict[str, str]:
    names = own_names(kind)
    describe = {"metrics": _metric, "benchmarks": _benchmark, "strategies": _strategy}.get(kind, _named)
    heading = [f"# {title_of(kind)}", "", f"`clbench list {kind}` prints this list; `clbench show NAME` shows one.", ""]
    if kind not in PAGE_FOR_EACH:
        bodies = [f"## {name}\n\n{describe(kind, name)}" for name in names]
        return {f"reference/{kind}.md": "\n".join([*heading, *bodies])}
    head = f"[All {title_of(kind).lower()}](index.md)"
    made = {f"reference/{kind}/{name}.md": f"{ORPHAN}# {name}\n\n{head}\n\n{describe(kind, name)}" for name in names}
    rows = [f"| [{name}]({name}.md) | {cell(_summary(kind, name))} |" for name in names]
    made[f"reference/{kind}/index.md"] = "\n".join([*heading, "| name | what |", "|---|---|", *rows, ""])
    return made


def _summary(kind: str, name: str) -> str:
    if kind == "benchmarks":
        return markdown(_first_sentence(kinds.benchmark_summary(_shipped()[name])))
    entry = kinds.registry(kind).entry(name)
    return markdown(entry.summary) or docstrings.read(kinds.registry(kind).get(name)).summary


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=[.:]) (?=[A-Z])", text)[0]


def _shipped() -> Mapping[str, Path]:
    from clbench.benchmark.shipped_files import shipped

    return shipped()


# --------------------------------------------------------------------------------------------------- settings


def settings_table(target: Callable[..., Any] | None, meanings: Mapping[str, str]) -> list[str]:
    """Return a table with a row for each setting of a callable: type, range, default, meaning."""
    rows = [] if target is None else settings(target)
    if not rows:
        return ["It has no settings.", ""]
    lines = ["| setting | type | range | default | what |", "|---|---|---|---|---|"]
    for name, kind, default in rows:
        shown = f"`{default}`" if default else "needs a value"
        search = search_text(target, name)
        meaning = " ".join(each for each in (meanings.get(name, ""), search and f"Search range: {search}.") if each)
        texts = (f"`{name}`", f"`{kind}`", range_text(target, name), shown, meaning)
        lines.append("| " + " | ".join(map(cell, texts)) + " |")
    return [*lines, ""]


def signature_line(name: str, target: Callable[..., Any] | None) -> str:
    """Return how a name is written with its settings, as in a benchmark file."""
    rows = [] if target is None else settings(target)
    inside = ", ".join(name if not default else f"{name}={default}" for name, _, default in rows)
    return f"{name}({inside})" if inside else name


def _named(kind: str, name: str) -> str:
    obj = kinds.registry(kind).get(name)
    told, target = docstrings.read(obj), kinds.configurable(kind, obj)
    lines = [told.summary, ""]
    if kind != "datasets" and target is not None:
        lines += [_code("text", signature_line(name, target)), ""]
        lines += settings_table(target, told.settings)
    for paragraph in told.body:
        lines += [paragraph, ""]
    return "\n".join([*lines, *_source(told.source)])


def _source(text: str) -> list[str]:
    return [f"**Source.** {text}", ""] if text else []


def _code(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```"


# --------------------------------------------------------------------------------------------------- strategies


def parts_of(recipe: Any) -> list[Any]:
    """Return the parts that a recipe makes, each required setting being 1; none if that is not possible."""
    needed = [name for name, each in signature(recipe).parameters.items() if each.default is Parameter.empty]
    try:
        made = recipe(**dict.fromkeys(needed, 1))
    except Exception:  # settings that do not go together
        return []
    return made if isinstance(made, list) else [made]


def _strategy(kind: str, name: str) -> str:
    from clbench.strategies.chain import families_of
    from clbench.strategies.expected_results import expected

    recipe = kinds.registry(kind).get(name)
    told, parts = docstrings.read(recipe), parts_of(recipe)
    meanings = dict(told.settings)
    for part in parts:
        meanings = docstrings.read(type(part)).settings | meanings
    for setting, own in re.findall(r"``(\w+)`` is its ``(\w+)``", inspect.getdoc(recipe) or ""):
        meanings.setdefault(setting, meanings.get(own, ""))
    lines = [told.summary, "", _code("text", signature_line(name, recipe)), ""]
    lines += settings_table(recipe, meanings)
    for paragraph in told.body:
        lines += [paragraph, ""]
    lines += _source(told.source)
    if parts:
        families = families_of(parts)
        lines += ["## What it declares", "", f"- Families of tasks: {', '.join(families) or 'all'}."]
        lines += [*_declared(parts), ""]
    found = expected(recipe)
    if found:
        lines += ["## Expected results", "", "| stream | result |", "|---|---|"]
        lines += [f"| {stream} | {cell(markdown(text))} |" for stream, text in found.items()]
        lines += [
            "",
            "*class, task, domain*: class-, task- and domain-incremental. *recurring*: classes or tasks return.",
            "",
        ]
    page = described_on().get(name)
    if page:
        lines += [f"Details, deviations and measured results: [{title_on(page)}](../../{page}).", ""]
    return "\n".join(lines)


def _declared(parts: Iterable[Any]) -> list[str]:
    """Return lines about what the parts of a strategy need, change and require."""
    from clbench.strategies.chain import needs_of
    from clbench.strategies.part import HOOKS, defines

    lines = []
    for part in parts:
        cls = type(part)
        hooks = ", ".join(f"`{name}`" for name in HOOKS if defines(part, name)) or "none"
        told = [f"`{cls.__name__}` has the hooks {hooks}"]
        needs = sorted(needs_of(part))
        told += [f"needs {', '.join(f'`{each}`' for each in needs)}"] if needs else []
        told += [f"trains on the experiences {part.sees}"] if part.sees != "stream" else []
        told += [f"requires `memory.policy: {part.memory_policy}`"] if part.memory_policy else []
        told += [f"requires `memory.admit: {part.memory_admit}`"] if part.memory_admit else []
        told += [f"expects `{key}: {value}`, as its source has it" for key, value in part.protocol.items()]
        told += ["leaves the model of the benchmark unused"] if not part.uses_model else []
        if part.identity:
            told.append("does nothing at " + ", ".join(f"`{key}={value}`" for key, value in part.identity.items()))
        lines.append(f"- {'; it '.join(told)}.")
    return lines


def described_on() -> dict[str, str]:
    """Return the name of a strategy -> the page of ``docs/`` that describes it, from the table of strategies."""
    text = (DOCS / "strategies.md").read_text(encoding="utf-8")
    links = re.findall(r"\[((?:`\w+`(?:, )?)+)\]\((strategies/\w+\.md)\)", text)
    return {name: page for names, page in links for name in re.findall(r"`(\w+)`", names)}


def title_on(page: str) -> str:
    """Return the title of a page of ``docs/``."""
    return (DOCS / page).read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")


REFERENCES = {
    "add-a-strategy.md": "plugin-surface.md",
    "strategies.md": "strategies/index.md",
    "scenarios.md": "scenarios/index.md",
    "metrics.md": "metrics/index.md",
    "benchmark-files.md": "benchmarks/index.md",
    "data.md": "datasets.md",
    "families.md": "families.md",
    "command-line.md": "commands/index.md",
    "python.md": "python-api.md",
}
"""A page of ``docs/`` -> the page of the reference that belongs to it."""


def additions() -> dict[str, str]:
    """Return the place of a page on the site -> what is added to its end: links to what the code says."""
    known, groups = set(own_names("strategies")), {}
    for name, page in described_on().items():
        if name in known:
            groups.setdefault(page, []).append(f"[{name}](../reference/strategies/{name}.md)")
    added = {
        page: f"**From the code:** settings with ranges, defaults, source, expected results of {', '.join(links)}.\n"
        for page, links in groups.items()
    }
    return added | {page: f"**From the code:** [](reference/{place}).\n" for page, place in REFERENCES.items()}


# --------------------------------------------------------------------------------------------------- metrics


def _metric(kind: str, name: str) -> str:
    from clbench.metrics import get

    metric = get(name)
    rows = {
        "title on leaderboards": markdown(metric.title),
        "formula": f"`{metric.formula}`" if "`" not in metric.formula else metric.formula,
        "range": f"{metric.range}, {metric.better}",
        "needs": markdown(metric.needs),
        "source": markdown(metric.source),
    }
    summary = _summary(kind, name)
    lines = [f"{summary[:1].upper()}{summary[1:]}.", "", "| | |", "|---|---|"]
    lines += [f"| {label} | {cell(text)} |" for label, text in rows.items()]
    if not metric.comparable:
        lines += ["", "A better value alone does not mean a better strategy, so leaderboards mark no best value."]
    if metric.reference:
        lines += ["", "It compares with joint training on the same stream: run `joint` or `cumulative` too."]
    return "\n".join([*lines, ""])


# --------------------------------------------------------------------------------------------------- benchmarks


def _benchmark(_kind: str, name: str) -> str:
    text = _shipped()[name].read_text(encoding="utf-8").rstrip("\n")
    head = kinds.benchmark_summary(_shipped()[name])
    body = re.sub(r"\A(?:#.*\n)*", "", text)
    run = f"clbench run {name} --dry-run   # the cells, the stream and a predicted time\nclbench run {name} --jobs auto"
    return "\n".join([markdown(head), "", _code("yaml", body), "", _code("sh", run), ""])


# --------------------------------------------------------------------------------------------------- commands


def commands() -> dict[str, Any]:
    """Return the words of a command line -> the command, without groups."""
    import typer

    from clbench.cli.app import app

    def leaves(words: str, command: Any) -> Iterable[tuple[str, Any]]:
        inner = getattr(command, "commands", None)
        if inner is None:
            yield words, command
            return
        for name, each in inner.items():
            yield from leaves(f"{words} {name}".strip(), each)

    return dict(leaves("", typer.main.get_command(app)))


def _commands() -> dict[str, str]:
    made, rows = {}, []
    found = commands()
    for words, command in found.items():
        place = words.replace(" ", "-")
        made[f"reference/commands/{place}.md"] = _command(words, command)
        rows.append(f"| [clbench {words}]({place}.md) | {cell(markdown(_first_paragraph(command.help)))} |")
    head = [
        "# Commands",
        "",
        "`clbench COMMAND --help` prints the same. [Command line](../../command-line.md) explains them.",
        "",
    ]
    made["reference/commands/index.md"] = "\n".join([*head, "| command | what |", "|---|---|", *rows, ""])
    return made


def _first_paragraph(text: str | None) -> str:
    return inspect.cleandoc(text or "").split("\n\n")[0]


def _command(words: str, command: Any) -> str:
    from clbench.cli.examples import example_lines

    arguments = [each for each in command.params if each.param_type_name == "argument"]
    usage = " ".join([f"clbench {words}", *map(_metavar, arguments), "[OPTIONS]"])
    lines = [f"{ORPHAN}# clbench {words}", "", "[All commands](index.md)", ""]
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(command.help or "")):
        lines += [markdown(" ".join(paragraph.split())), ""]
    lines += [_code("text", usage), ""]
    options = []
    for each in command.params:
        if each.hidden or each.name == "help":
            continue
        written = ", ".join(f"`{text}`" for text in (*each.opts, *each.secondary_opts))
        if each in arguments:
            written = f"`{_metavar(each)}`"
        elif each.metavar:
            written += f" `{each.metavar}`"
        options.append(f"| {cell(written)} | {cell(markdown(each.help or ''))} | {cell(_default(each))} |")
    if options:
        lines += ["| argument or option | what | default |", "|---|---|---|", *options, ""]
    examples = example_lines(command.epilog)
    if examples:
        body = "\n".join(f"{line}  # {what}" if what else line for line, what in examples)
        lines += ["## Examples", "", _code("sh", body), ""]
    return "\n".join(lines)


def _metavar(argument: Any) -> str:
    """Return how an argument is written in the usage line."""
    text = argument.metavar or argument.name.upper()
    return text if argument.required or text.startswith("[") else f"[{text}]"


def _default(option: Any) -> str:
    """Return the default of an option as ``--help`` shows it; empty if there is none."""
    if isinstance(option.show_default, str):
        return markdown(option.show_default)
    if option.required:
        return "needs a value"
    value = option.default
    return "" if value is None or value is False or value == () or callable(value) else f"`{value}`"

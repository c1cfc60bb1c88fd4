"""Explain wrong commands, options and arguments in one sentence that says what to write instead."""

from __future__ import annotations

import re
from typing import Any

from clbench.cli.examples import example_lines
from clbench.core.near_names import nearest, same

COMMAND = re.compile(r"No such command '(.*?)'")
EXTRA = re.compile(r"Got unexpected extra arguments?(?:\(s\))? \((.*)\)")


def explain_usage(error: Any) -> str:
    """Return one sentence about a usage error of click or typer; empty if the help was shown instead."""
    if type(error).__name__ == "NoArgsIsHelpError":
        return ""
    context = getattr(error, "ctx", None)
    called = str(getattr(context, "command_path", "clbench"))
    message = str(error.format_message()).rstrip(".")
    if hasattr(error, "possibilities"):
        return _option(called, context, str(error.option_name))
    if found := COMMAND.match(message):
        return _command(called, context, found[1])
    if found := EXTRA.match(message):
        quoted = "quote a text with spaces, like --strategies 'naive, er'"
        cure = quoted if "--strategies" in _options(context) else f"`{called} --help` shows what it takes"
        return f"{_prefix(called)}{found[1].split()[0]!r} is one word too many; {cure}"
    if type(error).__name__ == "MissingParameter":
        return f"{_prefix(called)}{_missing(error)}; write it like {_example(context)}"
    if hasattr(error, "option_name"):
        return f"{error.option_name} needs a value; add it, or leave the option out"
    text = message.replace("Value error, ", "").replace(": Input should", ": it should")
    return f"{_prefix(called)}{text[0].lower()}{text[1:]}"


def _prefix(called: str) -> str:
    name = called.removeprefix("clbench").strip()
    return f"{name}: " if name else ""


def _option(called: str, context: Any, option: str) -> str:
    """Return a sentence about an option that a command does not have; it may be a setting of the benchmark."""
    from clbench.benchmark.setting_names import setting_called

    known = _options(context)
    what = f"{_prefix(called)}there is no option {option}"
    if near := same(option, known):
        return f"{what}; did you mean {near}?"
    if "--set" in known and (setting := setting_called(option.lstrip("-"))):
        return f"{what}; settings of the benchmark are written --set {setting}=VALUE"
    if near := nearest(option, known, cutoff=0.7):
        return f"{what}; did you mean {near}?"
    return f"{what}; `{called} --help` shows all options"


def _options(context: Any) -> list[str]:
    parameters = getattr(getattr(context, "command", None), "params", [])
    return [name for each in parameters for name in each.opts if name.startswith("--")]


def _command(called: str, context: Any, name: str) -> str:
    """Return a sentence about a command that does not exist; a benchmark's name is one that lacks ``run``."""
    from clbench.cli.show_benchmark import is_benchmark

    known = sorted(context.command.commands)
    what = f"{_prefix(called)}there is no command {name!r}"
    if called == "clbench" and (is_benchmark(name) or name.endswith((".yaml", ".yml"))):
        return f"{what}; did you mean clbench run {name}?"
    near = nearest(name, [*known, "--help"])
    return f"{what}; did you mean {called} {near}?" if near else f"{what}; known: {', '.join(known)}"


def _missing(error: Any) -> str:
    parameter = error.param
    name = str(getattr(parameter, "metavar", None) or getattr(parameter, "name", "a value")).strip("[]")
    is_option = getattr(parameter, "param_type_name", "") == "option"
    name = parameter.opts[0] if is_option else name.upper()
    words = str(getattr(parameter, "help", None) or "").rstrip(".")
    return f"{name} is missing" + (f" ({words[0].lower()}{words[1:]})" if words else "")


def _example(context: Any) -> str:
    found = example_lines(getattr(getattr(context, "command", None), "epilog", None))
    return found[0][0] if found else f"{getattr(context, 'command_path', 'clbench')} --help"

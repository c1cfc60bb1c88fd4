"""The table of hooks: what it says, that everything derives from it, and what a new hook takes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support import ready

import clbench
from clbench.core.errors import Refused
from clbench.strategies.chain import Chain, check
from clbench.strategies.hooks import Effect, Hook, hook, hooks_of
from clbench.strategies.part import HOOKS, KEEPS, MOVES, ROWS, Part, defines

ROOT = Path(clbench.__file__).parents[1]


@dataclass(kw_only=True)
class Quiet(Part):
    """A part without hooks."""


def names(condition):
    return [name for name, each in HOOKS.items() if condition(each)]


def test_the_table_holds_the_hooks_of_a_run_in_their_order():
    assert list(HOOKS) == [
        "build", "attach", "begin_experience", "merge", "order", "batch", "observe", "before_step", "store",
        "objective", "loss", "gradient", "after_step", "end_experience", "end_stream", "answer", "predict",
    ]  # fmt: skip
    assert {name: HOOKS[name].owned for name in names(lambda each: each.owned)} == {
        "observe": "step", "objective": "objective", "answer": "answer",
    }  # fmt: skip
    assert names(lambda each: each.in_step) == ["before_step", "loss", "gradient", "after_step"]
    assert names(lambda each: each.arranges_rows) == ["merge", "order", "batch"] == sorted(ROWS, key=list(HOOKS).index)
    assert names(lambda each: each.prepares) == ["build", "attach", "end_experience"]
    assert names(lambda each: each.reads_out) == ["answer", "predict"]
    assert {name: HOOKS[name].order for name in names(lambda each: each.order)} == {
        "batch": "masks_classes", "gradient": "gradient_order", "after_step": "gradient_order",
        "end_experience": "end_order",
    }  # fmt: skip


def test_what_is_watched_is_what_a_hook_can_affect_and_at_ends_only_what_moves_the_model():
    quiet = Quiet()
    watched = {name: each.effect for name, each in HOOKS.items() if each.is_watched(quiet)}
    assert quiet.end_order == KEEPS
    assert watched == {
        "begin_experience": Effect.ROWS, "merge": Effect.ROWS, "order": Effect.ROWS, "batch": Effect.ROWS,
        "before_step": Effect.WEIGHTS, "loss": Effect.TERM, "gradient": Effect.GRADIENT, "after_step": Effect.ANY,
        "end_stream": Effect.MODEL,
    }  # fmt: skip
    quiet.__dict__["end_order"] = MOVES
    assert HOOKS["end_experience"].is_watched(quiet)


def test_the_page_on_strategies_lists_the_table():
    page = (ROOT / "docs" / "strategies.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.*) \| (?:`(\w+)`)? ?\|$", page.split("| hook |")[1].split("\n\n")[0], re.M)
    told = {name: (text[0].upper() + text[1:] + ".", owned) for name, text, owned in rows}
    assert told == {name: (each.summary.replace("``", "`"), each.owned) for name, each in HOOKS.items()}
    assert [name for name, *_ in rows] == list(HOOKS)


def test_every_hook_has_a_line_in_the_loop_or_is_asked_by_the_learner_or_before_it_is_made():
    loop = (ROOT / "clbench" / "training" / "loop.py").read_text(encoding="utf-8")
    called = set(re.findall(r"\bhooks\.([a-z_]+)\b", loop))
    assert called - set(HOOKS) == set()
    assert set(HOOKS) - called == {"build", "objective", "loss", "answer", "predict"}


def test_a_chain_has_an_attribute_for_every_hook_of_the_table():
    chain = ready("er").chain
    assert all(hasattr(chain, name) for name in HOOKS)
    assert len(chain.batch) == 1
    assert chain.loss == ()
    assert chain.observe is None


# --------------------------------------------------------------------------------------------------- a new hook


class Wider:
    """What declares a hook more."""

    @hook(order="gradient_order", effect=Effect.WEIGHTS, in_step=True)
    def after_look(self, learner: Any) -> None:
        """Act after
        an evaluation.

        More is told here.
        """

    @hook(owned="report")
    def report(self, learner: Any) -> str:
        """Return a report."""
        return ""

    def helper(self) -> None:
        """Help, which is no hook."""


@pytest.fixture
def wider(monkeypatch):
    for name, each in hooks_of(Wider).items():
        monkeypatch.setitem(HOOKS, name, each)
        monkeypatch.setattr(Part, name, getattr(Wider, name), raising=False)
    monkeypatch.setattr(Part, "allows", frozenset(HOOKS))


def test_a_declaration_is_read_off_its_method():
    assert hooks_of(Wider) == {
        "after_look": Hook(
            "after_look", "Act after an evaluation.", order="gradient_order", effect=Effect.WEIGHTS, in_step=True
        ),
        "report": Hook("report", "Return a report.", owned="report"),
    }


@pytest.mark.usefixtures("wider")
def test_a_new_hook_is_gathered_ordered_owned_and_watched_by_its_declaration_alone():
    @dataclass(kw_only=True)
    class Late(Part):
        gradient_order = 2

        def after_look(self, learner):
            learner.append("late")

        def report(self, learner):
            return "late"

    @dataclass(kw_only=True)
    class Early(Part):
        gradient_order = 0

        def after_look(self, learner):
            learner.append("early")

    parts = [Late(), Early()]
    check(parts)
    chain, seen = Chain(parts, seed=0), []
    for watched in chain.after_look:
        watched.hook(seen)
    assert seen == ["early", "late"]
    assert chain.report(None) == "late"
    assert [(hook.name, hook.effect, hook.declared.in_step) for hook in chain.watched] == [
        ("after_look", Effect.WEIGHTS, True)
    ] * 2
    assert defines(parts[0], "report")
    assert not defines(parts[1], "report")
    with pytest.raises(Refused, match="both set the report; keep one of them"):
        check([Late(), Late()])


@pytest.mark.usefixtures("wider")
def test_a_part_is_checked_against_a_new_hook_like_against_the_others():
    with pytest.raises(Refused, match="did you mean the hook 'after_look'"):

        @dataclass(kw_only=True)
        class Misspelled(Part):
            def after_looks(self, learner):
                """Nothing calls it."""

    with pytest.raises(TypeError, match="has a field called 'report', which is the name of a hook"):

        @dataclass(kw_only=True)
        class Hidden(Part):
            report: float = 1.0

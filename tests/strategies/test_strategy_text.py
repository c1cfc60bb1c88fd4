"""Strategies as text: what a board calls one can be read again and is the same strategy."""

from __future__ import annotations

import typing

import pytest
from support import EVERY_STRATEGY, SMALL, ready

from clbench.core.errors import Refused
from clbench.core.parameters import schema
from clbench.running.prepare import Skip
from clbench.strategies import STRATEGIES, canonical_form
from clbench.strategies.notation import calls, label
from clbench.strategies.strategy import Strategy

TEXTS = ("head", "head+norm", "sensitive: q=1", "two words", "a, b", "none", "True", "class", "it's", "1", "")


def canonical(written):
    return canonical_form.canonical(calls(written))


def kinds(annotation):
    """The types that a setting may have, and the texts of its choices."""
    inside = typing.get_args(annotation)
    if typing.get_origin(annotation) is typing.Literal:
        return set(inside)
    if not inside:
        return {annotation}
    return set().union(*(kinds(each) for each in inside if isinstance(each, type) or typing.get_args(each)))


def given(name):
    """Settings of a built-in, one at a time, with texts, choices and nothing for their values."""
    defaults = SMALL["defaults"].get(name, {})
    for setting, field in schema(STRATEGIES.get(name)).model_fields.items():
        allowed = kinds(field.annotation)
        values = [each for each in allowed if isinstance(each, str)]
        values += TEXTS if str in allowed else ()
        values += [None] if type(None) in allowed else ()
        for value in values:
            yield {**defaults, setting: value}


@pytest.mark.parametrize("name", EVERY_STRATEGY)
def test_what_a_board_calls_a_strategy_is_the_strategy(name):
    for settings in given(name):
        written = {name: settings}
        assert canonical(label(written)) == canonical(written), settings
        assert label(label(written)) == label(written)


def test_values_that_need_it_are_quoted_and_others_are_not():
    assert label("fpf(modules='sensitive: q=1', iters=5)") == "fpf(modules='sensitive: q=1', iters=5)"
    assert label({"fpf": {"modules": "head+norm"}}) == "fpf(modules='head+norm')"
    assert label("ewc( strength = 100.0,fisher=exact )") == "ewc(strength=100, fisher=exact)"
    assert label("view_batch(strong=None)") == label({"view_batch": {"strong": None}}) == "view_batch(strong=none)"
    for strength, text in ((0.123456789, "0.123456789"), (1e-5, "1e-05"), (1e30, "1e+30"), (100.0, "100")):
        assert label({"l2": {"strength": strength}}) == f"l2(strength={text})"
        assert canonical(f"l2(strength={text})")[0]["parameters"]["strength"] == strength


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("fpf(modules=sensitive: q=1, iters=5)", "a value with signs in it is quoted: modules='sensitive: q=1'"),
        ("fpf(iters=5, modules=head+norm)", "a value with signs in it is quoted: modules='head+norm'"),
        ("er(new_weight=1/k)", "a value with signs in it is quoted: new_weight='1/k'"),
        ("ewc(100)", "parameters are written name=value"),
    ],
)
def test_a_value_that_should_have_been_quoted_is_told(text, told):
    with pytest.raises(Refused) as error:
        canonical(text)
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("strategy", "sentence"),
    [
        ("er_ace + er_aml", "er_ace (Replay) and er_aml cannot be joined"),
        ("pcr + view_batch", "view_batch and pcr cannot be joined: both define the views of a sample"),
        ("gdumb(passes=1) + er", "gdumb and er cannot be joined: both set the stream coefficient"),
    ],
)
def test_messages_call_a_part_as_it_was_written(strategy, sentence):
    with pytest.raises(Refused) as error:
        Strategy.parse(strategy)
    assert sentence in str(error.value)
    with pytest.raises(Skip, match="er needs a replay buffer"):
        ready("er", "memory.size=0")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("view_batch(start_epoch=-3)", "start_epoch = -3 is not allowed: input should be greater than or equal to 0"),
        ("ewc(strength=True)", "strength = True is not allowed: it is a number"),
        ("ewc(strength=1, rows=true)", "rows = True is not allowed: it is a number"),
    ],
)
def test_a_value_without_a_meaning_is_refused_before_anything_runs(text, told):
    with pytest.raises(Refused) as error:
        canonical(text)
    assert told in str(error.value)
    assert canonical("freeze_norm(affine=true)")[0]["parameters"] == {"affine": True}

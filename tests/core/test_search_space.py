"""Search ranges: declared in types, read from text, and compared with what a setting allows."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import Field

from clbench.core.errors import Refused
from clbench.core.parameters import Count, Fraction, NonNegative, schema, settings, validate
from clbench.core.search_space import Knob, Search, check_ranges, parse_space, ranges, search_text


def method(
    *,
    strength: Annotated[NonNegative, Search(1e-3, 1e3, log=True)],
    decay: Annotated[Fraction, Search(0, 1, step=0.25)] | None = None,
    rows: Annotated[Count, Search(1, 100, log=True)] = 10,
    form: Annotated[Literal["a", "b"], Search(choices=("a", "b"))] = "a",
    weight: Annotated[NonNegative, Search(0, 2, when=("form", "b"))] = 1.0,
    budget: Count = 5,
) -> None: ...


def test_ranges_are_read_from_types_also_inside_a_union_and_other_settings_have_none():
    assert ranges(method) == {
        "strength": Search(1e-3, 1e3, log=True),
        "decay": Search(0, 1, step=0.25),
        "rows": Search(1, 100, log=True),
        "form": Search(choices=("a", "b")),
        "weight": Search(0, 2, when=("form", "b")),
    }


def test_a_range_changes_neither_what_is_allowed_nor_what_is_shown_of_a_type():
    def plain(*, strength: NonNegative, rows: Count = 10) -> None: ...

    shown = {name: (kind, default) for name, kind, default in settings(method)}
    assert {name: shown[name] for name in ("strength", "rows")} == {n: (k, d) for n, k, d in settings(plain)}
    assert validate(method, {"strength": 1e9}, where="x")["strength"] == 1e9
    assert schema(method).model_json_schema()["properties"]["strength"]["minimum"] == 0


def test_a_range_is_told_in_words():
    told = [search_text(method, name) for name in ("strength", "decay", "form", "weight", "budget")]
    assert told == ["0.001 to 1000, log", "0 to 1, step 0.25", "a | b", "0 to 2 if form = b", ""]


IMPOSSIBLE = [
    ({}, "it needs a low and a high end, or choices"),
    ({"low": 1}, "it needs a low and a high end, or choices"),
    ({"low": 2, "high": 1}, "the low end has to be below the high end"),
    ({"low": 1, "high": float("inf")}, "both finite"),
    ({"low": 0, "high": 1, "log": True}, "a range in log has to begin above 0, not at 0"),
    ({"low": 0, "high": 1, "step": 2}, "a step is above 0, at most the length of the range"),
    ({"low": 1, "high": 9, "log": True, "step": 2}, "not in log"),
    ({"choices": ("a",)}, "choices are at least two different values"),
    ({"low": 0, "high": 1, "choices": ("a", "b")}, "it has choices and a range"),
]


@pytest.mark.parametrize(("given", "words"), IMPOSSIBLE)
def test_an_impossible_range_is_refused_where_it_is_made(given, words):
    with pytest.raises(Refused, match=words):
        Search(**given)


def test_a_range_outside_of_the_type_is_refused_with_the_value_and_the_reason():
    def wrong(*, share: Annotated[Fraction, Search(0, 2)] = 0.5) -> None: ...

    def halves(*, rows: Annotated[Count, Search(choices=(8, 2.5))] = 8) -> None: ...

    def lost(*, share: Annotated[Fraction, Search(0, 1, when=("mode", "on"))] = 0.5) -> None: ...

    told = []
    for target in (wrong, halves, lost):
        with pytest.raises(Refused) as caught:
            check_ranges(target, "strategy 'mine'")
        told.append(str(caught.value))
    assert told == [
        "strategy 'mine': the search range 0 to 2 of share holds 2, which the setting does not allow: input should be "
        "less than or equal to 1",
        "strategy 'mine': the search range 8 | 2.5 of rows holds 2.5, which the setting does not allow: input should "
        "be a whole number",
        "strategy 'mine': the search range of share holds when mode = on, and there is no setting 'mode'; its settings "
        "are share",
    ]
    check_ranges(method, "x")


def test_text_gives_ranges_choices_and_steps():
    text = "ewc.strength=1e-2:1e4:log, er.rows=8|16|32, hft.fraction=0.1:1:0.3, icarl.read_out=logits|nearest_mean"
    assert parse_space(text) == {
        "ewc.strength": Search(0.01, 1e4, log=True),
        "er.rows": Search(choices=(8, 16, 32)),
        "hft.fraction": Search(0.1, 1, step=0.3),
        "icarl.read_out": Search(choices=("logits", "nearest_mean")),
    }
    assert parse_space(["fpf.lr=none|0.1", "my.py:Mine.strength=0:1"]) == {
        "fpf.lr": Search(choices=(None, 0.1)),
        "my.py:Mine.strength": Search(0, 1),
    }


UNREADABLE = [
    ("ewc", "cannot be read; write NAME.SETTING=LOW:HIGH"),
    ("strength=1:2", "cannot be read"),
    ("ewc.strength=", "cannot be read"),
    ("ewc.strength=5", "one value is no range"),
    ("ewc.strength=one:two", "it cannot be read"),
    ("ewc.strength=1:2:lin", "it cannot be read"),
    ("ewc.strength=0:1:log", "has to begin above 0"),
    ("ewc.strength=1:2,ewc.strength=1:3", "names ewc.strength twice"),
]


@pytest.mark.parametrize(("text", "words"), UNREADABLE)
def test_text_that_is_no_range_is_answered_in_one_sentence(text, words):
    with pytest.raises(Refused, match=words) as caught:
        parse_space(text)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("--space ")


def test_values_of_a_knob_stay_inside_and_are_whole_if_the_setting_is():
    rows = Knob.of("er.rows", Search(1, 100, log=True), whole=True, default=10)
    assert [rows.value(number) for number in (0.2, 9.6, 1000)] == [1, 10, 100]
    assert rows.describe == "er.rows: 1 to 100, log; default 10"
    form = Knob.of("icarl.read_out", Search(choices=("a", "b")), required=True)
    assert (form.value("b"), form.describe) == ("b", "icarl.read_out: a | b; no default")


def test_a_range_is_widened_to_the_value_of_a_benchmark_where_its_scale_allows_it():
    assert Search(0.1, 10, log=True).including(1e9) == Search(0.1, 1e9, log=True)
    assert Search(0.1, 10, log=True).including(0.01) == Search(0.01, 10, log=True)
    unchanged = Search(0.1, 10, log=True)
    assert unchanged.including(0) is unchanged.including(None) is unchanged.including(5) is unchanged


def test_a_field_of_pydantic_keeps_its_bounds_beside_a_range():
    def made(*, t: Annotated[float, Field(gt=0), Search(1, 10)] = 2.0) -> None: ...

    with pytest.raises(Refused, match="greater than 0"):
        validate(made, {"t": 0}, where="x")

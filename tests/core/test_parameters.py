"""Parameters read off signatures: what is allowed, what is filled in, and what is said of anything else."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from clbench.core.errors import Refused
from clbench.core.parameters import Count, Fraction, NonNegative, schema, settings, signature_text, validate


def scenario(data, *, experiences: Count = 5, share: Fraction = 0.5, order: Literal["given", "random"] = "given"):
    return data, experiences, share, order


def needy(*, strength: NonNegative, rows: int | None = None):
    return strength, rows


@dataclass(kw_only=True)
class Penalty:
    strength: NonNegative
    layers: list[int] = field(default_factory=lambda: [1, 2])
    name: str | None = None


class Model:
    def __init__(self, shape, *, hidden: list[int] = (100, 100), weights: str | None = None) -> None:
        self.shape, self.hidden, self.weights = shape, hidden, weights


class Partly:
    """Its training settings come from the benchmark."""

    given = ("lr",)

    def __init__(self, *, alpha: float = 0.1) -> None:
        self.alpha = alpha


def refusal(target, values, **more):
    with pytest.raises(Refused) as caught:
        validate(target, values, where="strategy 'x'", **more)
    assert str(caught.value).startswith(("strategy 'x'", "defaults for strategy 'x'"))
    assert "\n" not in str(caught.value)
    return str(caught.value), caught.value.key


def test_keyword_parameters_are_settings_and_positional_ones_are_not():
    assert list(schema(scenario).model_fields) == ["experiences", "share", "order"]
    assert list(schema(Penalty).model_fields) == ["strength", "layers", "name"]
    assert list(schema(Model).model_fields) == ["hidden", "weights"]


def test_what_is_not_given_is_filled_in_from_the_defaults():
    assert validate(scenario, {"share": 0.25}, where="scenario") == {"experiences": 5, "share": 0.25, "order": "given"}


def test_a_default_that_is_made_anew_is_another_object_every_time():
    first, second = (validate(Penalty, {"strength": 1}, where="part")["layers"] for _ in range(2))
    assert first == second == [1, 2]
    assert first is not second


def test_a_whole_number_given_for_a_float_becomes_a_float():
    found = validate(needy, {"strength": 3}, where="part")
    assert found == {"strength": 3.0, "rows": None}
    assert type(found["strength"]) is float


def test_an_unknown_name_is_answered_by_the_nearest_and_leads_to_its_line():
    text, key = refusal(scenario, {"experience": 3})
    assert "no parameter 'experience'" in text
    assert "'experiences'" in text
    assert key == "experience"


def test_a_name_like_none_is_answered_by_all():
    text, _ = refusal(needy, {"zzz": 3})
    assert "rows, strength" in text


@pytest.mark.parametrize(
    ("target", "values", "key"),
    [
        (scenario, {"experiences": 0}, "experiences"),
        (scenario, {"experiences": 2.5}, "experiences"),
        (scenario, {"share": 1.01}, "share"),
        (scenario, {"share": -0.01}, "share"),
        (scenario, {"order": "sorted"}, "order"),
        (needy, {"strength": -1}, "strength"),
        (needy, {"strength": float("nan")}, "strength"),
        (needy, {"strength": float("inf")}, "strength"),
        (needy, {"strength": "much"}, "strength"),
        (needy, {"strength": 1, "rows": "all"}, "rows"),
        (Model, {"hidden": "wide"}, "hidden"),
        (Penalty, {"strength": 1, "layers": [1, "two"]}, "layers"),
    ],
)
def test_a_value_of_a_wrong_type_or_out_of_range_is_refused_by_its_name(target, values, key):
    text, found = refusal(target, values)
    assert f"{key} = " in text
    assert found == key


@pytest.mark.parametrize(
    ("values", "key"), [({"strength": True}, "strength"), ({"strength": 1, "rows": False}, "rows")]
)
def test_a_truth_value_is_no_number(values, key):
    text, found = refusal(needy, values)
    assert "number" in text
    assert found == key


def test_a_truth_value_is_taken_where_the_type_has_truth_values():
    def switch(*, on: bool = False, either: bool | float = 0.5, anything: Any = None):
        return on, either, anything

    assert validate(switch, {"on": True, "either": True, "anything": True}, where="x") == {
        "on": True,
        "either": True,
        "anything": True,
    }


def test_a_value_that_is_needed_and_missing_says_how_to_write_it():
    text, key = refusal(needy, {})
    assert "'strength'" in text
    assert "strength=..." in text
    assert key == "strength"


def test_a_union_names_each_of_its_branches():
    def either(*, rate: Annotated[float, Field(ge=0)] | Literal["1/k"] = "1/k"):
        return rate

    assert validate(either, {"rate": 0.5}, where="x") == {"rate": 0.5}
    text, _ = refusal(either, {"rate": -1})
    assert "greater than or equal to 0" in text
    assert "'1/k'" in text


def test_a_benchmarks_defaults_fill_in_what_is_not_given_and_never_replace_what_is():
    assert validate(needy, {}, where="x", fill={"strength": 7})["strength"] == 7
    assert validate(needy, {"strength": 2}, where="x", fill={"strength": 7, "rows": 4}) == {"strength": 2, "rows": 4}


def test_a_default_of_a_benchmark_for_a_parameter_that_does_not_exist_is_refused():
    text, _ = refusal(needy, {"strength": 1}, fill={"strenght": 7})
    assert text.startswith("defaults for strategy 'x'")
    assert "'strength'" in text


def test_what_the_benchmark_gives_may_not_be_given_by_the_user():
    text, key = refusal(Partly, {"lr": 0.1})
    assert "lr" in text
    assert "benchmark" in text
    assert key == "lr"
    assert validate(Partly, {"alpha": 0.2}, where="x") == {"alpha": 0.2}


def test_nothing_of_what_was_given_is_changed():
    given = {"strength": 1}
    validate(needy, given, where="x", fill={"rows": 3})
    assert given == {"strength": 1}


def test_settings_are_name_type_and_default_and_a_needed_one_has_none():
    assert settings(needy) == [("strength", "float", ""), ("rows", "int | None", "None")]
    assert settings(Penalty) == [
        ("strength", "float", ""),
        ("layers", "list[int]", "[1, 2]"),
        ("name", "str | None", "None"),
    ]
    assert settings(scenario)[2] == ("order", "given | random", "given")


def test_a_signature_is_one_line_of_settings():
    assert signature_text(scenario) == "experiences: int = 5, share: float = 0.5, order: given | random = given"
    assert signature_text(needy) == "strength: float, rows: int | None = None"


def test_a_schema_is_read_once_for_each_target():
    assert schema(scenario) is schema(scenario)
    assert schema(scenario) is not schema(needy)

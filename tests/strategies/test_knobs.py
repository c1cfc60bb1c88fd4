"""What a tuner may turn: the ranges of the catalogue, those of a user, and a strategy at other values."""

from __future__ import annotations

import pytest

import clbench
from clbench.core.errors import Refused
from clbench.core.parameters import schema
from clbench.core.search_space import Search, check_ranges, parse_space, ranges
from clbench.running.plan import plan
from clbench.strategies import STRATEGIES, notation
from clbench.strategies.knobs import owners_of, space_of, spaces_of, with_values
from clbench.strategies.strategy import Strategy
from clbench.testing import check_strategy

OURS = [entry.name for entry in STRATEGIES if entry.origin == "clbench"]
FORMS = {
    "er": {"loss", "start"}, "er_ace": {"start", "unseen"}, "er_aml": {"start", "base_temperature"},
    "binary": {"anneal", "anchor", "read_out"},
    "ewc": {"mode", "fisher"}, "l2": {"head", "from_start"}, "si": {"negative"}, "mas": {"decay"},
    "lwf": {"softmax", "squared", "compete"}, "feat_kd": {"over_features"}, "pred_kd": {"scale"}, "icarl": {"read_out"},
    "fpf": {"modules", "loss", "statistics", "when"}, "k_fpf": {"modules", "loss", "statistics"},
    "freeze_norm": {"affine"}, "gem": {"damping"}, "hft": {"granularity", "redraw", "start_experience", "statistics"},
    "gdumb": {"when", "min_lr", "momentum", "weight_decay", "clip_norm", "cutmix", "cutmix_alpha"},
    "hpcr": {"views", "empty", "sample_pairs", "factor_min", "factor_max", "period", "form"},
    "pcr": {"views", "empty"}, "mir": {"loss", "pool", "start"}, "slda": {"features", "target"},
    "ncm": {"features", "metric"},
    "l2m": {"where", "usage_penalty"}, "clr": {"where", "norm", "form"},
    "dst": {"init", "growth", "rewire_end", "form"}, "gpm": {"form"},
    "trgp": {"form", "top"}, "cuber": {"form", "top"},
    "l2p": {"top"}, "merge": {"rule"}, "bic": {"form"}, "wa": {"form"},
    "dualprompt": {"pool", "g_blocks", "e_blocks"},
    "coda_prompt": {"pool", "length", "blocks", "form"},
    "sd_lora": {"terms", "form"},
    "inflora": {"terms", "form"},
    "podnet": {"proxies", "form", "read_out"},
    "lucir": {"hardest"}, "first_task": {"what", "concatenate"},
    "align": {"rows"}, "slca": {"rows"},
    "ranpac": {"features", "size", "ridge", "projection"}, "fecam": {"features", "shrink", "times", "form"},
    "acil": {"features", "expansion"}, "only": {"modules", "start_experience"}, "repeats": {"low", "high", "when"},
    "hypernet": {"form", "embedding", "chunk", "hidden", "lookahead"},
    "refresh": {"form", "noise", "damping", "unit", "decay", "direction"},
    "view_batch": {"views", "strong", "start_epoch", "over_classes"},
    "loss_form": {"alone", "new", "old", "new_classes", "old_classes"},
}  # fmt: skip
"""Settings without a range, because they are the form of a method or what its publication fixes."""
BUDGETS = {"rows", "candidates", "batch_size", "passes", "steps", "k", "every"}
"""Settings without a range, because they say how many samples or steps a method takes."""


@pytest.mark.parametrize("name", OURS)
def test_every_setting_of_the_catalogue_has_a_range_or_is_a_form_or_a_budget(name):
    recipe = STRATEGIES.get(name)
    check_ranges(recipe, name)
    free, fixed = set(ranges(recipe)), FORMS.get(name, set())
    assert free & fixed == set()
    assert free | fixed | BUDGETS >= set(schema(recipe).model_fields)
    assert fixed <= set(schema(recipe).model_fields)


@pytest.mark.parametrize("name", OURS)
def test_a_default_lies_inside_its_range(name):
    recipe = STRATEGIES.get(name)
    for setting, search in ranges(recipe).items():
        info = schema(recipe).model_fields[setting]
        if info.is_required() or info.default is None:
            continue
        held = info.default in search.choices if search.choices else search.low <= info.default <= search.high
        assert held, f"{name}.{setting}"


@pytest.mark.parametrize(
    ("name", "setting", "values"),
    [
        ("l2", "strength", (0.001, 0.01, 0.1, 1, 10)),
        ("ewc", "strength", (0.1, 1, 10, 100, 1000, 1e4, 1e5)),
        ("si", "strength", (0.001, 0.01, 0.1, 1, 10)),
        ("mas", "strength", (0.01, 0.1, 1, 10, 100)),
        ("lwf", "strength", (0.3, 1, 3, 10)),
        ("feat_kd", "strength", (0.5, 5)),
        ("der", "alpha", (0.1, 0.3, 1)),
        ("derpp", "alpha", (0.1, 0.5, 1)),
        ("derpp", "beta", (0.5, 1)),
        ("refresh", "strength", (1e-5, 1e-4, 1e-3)),
        ("fpf", "iters", (100, 300)),
        ("gdumb", "lr", (0.05, 0.01, 0.002)),
    ],
)
def test_values_that_published_tables_were_chosen_from_lie_inside_the_ranges(name, setting, values):
    search = ranges(STRATEGIES.get(name))[setting]
    assert all(search.low <= value <= search.high for value in values)


def test_the_space_of_a_chain_names_its_recipes_and_leaves_out_what_the_user_wrote():
    assert [knob.place for knob in space_of("er + ewc")] == ["ewc.strength"]
    assert [knob.place for knob in space_of("derpp(beta=0.5)")] == ["derpp.alpha"]
    assert [knob.place for knob in space_of("lwf + feat_kd(strength=5)")] == ["lwf.strength", "lwf.temperature"]
    assert [knob.place for knob in space_of("l2 + l2(head=true)")] == ["l2.strength", "l2#2.strength"]


def test_a_range_that_holds_under_a_condition_is_there_only_under_it():
    assert [knob.place for knob in space_of("ewc(mode=online)")] == ["ewc.strength", "ewc.gamma"]
    assert [knob.place for knob in space_of("er(loss=weighted)")] == ["er.new_weight"]
    with pytest.raises(Refused, match=r"er has no setting with a search range"):
        space_of("er")


def test_the_default_of_a_knob_is_the_users_the_benchmarks_or_the_strategys():
    benchmark = plan("split-digits").benchmark
    (knob,) = space_of("ewc", benchmark)
    assert (knob.default, knob.required, knob.low, knob.high) == (100, False, 0.1, 1e5)
    assert space_of("ewc")[0].required
    (given,) = space_of("ewc(strength=7)", benchmark, parse_space("ewc.strength=1:10"))
    assert (given.default, given.low, given.high, given.log) == (7, 1, 10, False)
    (rate,) = space_of("naive", benchmark, parse_space("training.lr=1e-3:1:log"))
    assert (rate.place, rate.default) == ("training.lr", benchmark.training.lr)
    (own,) = space_of({"strategy": "naive", "training": {"lr": 0.3}}, benchmark, parse_space("training.lr=1e-3:1:log"))
    assert own.default == 0.3


def test_a_range_reaches_the_default_of_every_shipped_benchmark():
    (knob,) = space_of("ewc(rows=10)", plan("split-mnist", overrides=["stream.setting=class"], seeds=1).benchmark)
    assert (knob.low, knob.high, knob.default) == (0.1, 1e9, 1e9)
    assert ranges(STRATEGIES.get("ewc"))["strength"] == Search(0.1, 1e5, log=True)


def test_whole_settings_are_known_as_whole():
    knobs = {knob.place: knob for knob in space_of("fpf", given=parse_space("fpf.batch_size=8|16"))}
    assert (knobs["fpf.iters"].whole, knobs["fpf.lr"].whole) == (True, False)
    assert knobs["fpf.batch_size"].choices == (8, 16)


def test_values_are_written_into_the_strategy_as_a_user_writes_it():
    assert with_values("er + ewc", {"ewc.strength": 100.0, "er.rows": 8}) == "er(rows=8) + ewc(strength=100)"
    assert with_values("l2 + l2(head=true)", {"l2.strength": 1, "l2#2.strength": 2}) == (
        "l2(strength=1) + l2(head=True, strength=2)"
    )
    assert with_values("er", {"training.lr": 0.03}) == {"strategy": "er", "training": {"lr": 0.03}}
    assert with_values({"strategy": "er", "training": {"epochs": 2}, "label": "mine"}, {"er.rows": 4}) == {
        "strategy": "er(rows=4)", "training": {"epochs": 2}, "label": "mine",
    }  # fmt: skip
    with pytest.raises(Refused, match=r"er has no setting 'ewc\.strength'; its parts are er"):
        with_values("er", {"ewc.strength": 1})


@pytest.mark.parametrize("written", ["ewc(strength=100)", "er(rows=8) + ewc(strength=0.1, fisher=exact)"])
def test_a_strategy_with_values_is_the_strategy_that_has_them(written):
    name = "ewc" if written.startswith("ewc") else "er + ewc(fisher=exact)"
    values = {"ewc.strength": 100.0} if name == "ewc" else {"ewc.strength": 0.1, "er.rows": 8}
    assert Strategy.parse(with_values(name, values)) == Strategy.parse(written)


MISTAKES = [
    ("ewc.strength=-1:10", "holds -1, which the setting does not allow: input should be greater than or equal to 0"),
    ("ewc.strenght=1:10", "strategy 'ewc' has no parameter 'strenght'; did you mean 'strength'?"),
    ("ecw.strength=1:10", "no strategy to tune is called 'ecw'; did you mean 'ewc'?"),
    ("si.strength=1:10", "no strategy to tune is called 'si'; allowed are settings of er, ewc, training"),
    ("memory.size=1:10", "no strategy to tune is called 'memory'; allowed are settings of er, ewc, training"),
    ("er.rows=1.5|2", "holds 1.5, which the setting does not allow: input should be a whole number"),
    ("training.lr=0:1", "holds 0, which the setting does not allow: input should be greater than 0"),
    ("training.lrr=1:2", "training has no setting 'lrr'; did you mean 'lr'?"),
]


@pytest.mark.parametrize(("text", "words"), MISTAKES)
def test_a_range_that_no_strategy_takes_is_answered_in_one_sentence(text, words):
    with pytest.raises(Refused) as caught:
        spaces_of(["er + ewc", "ewc"], None, parse_space(text))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_strategy_with_nothing_to_tune_is_told_what_to_do():
    with pytest.raises(Refused, match="naive has no settings of its own to tune; leave it out"):
        space_of("naive")
    with pytest.raises(Refused, match=r"agem has no setting with a search range; .* 'agem\.rows=LOW:HIGH'"):
        space_of("agem")


def test_places_are_named_by_recipes():
    assert owners_of("er + ewc") == ["er", "ewc"]
    assert owners_of({"strategy": "er + er", "training": {"lr": 1}}) == ["er", "er#2"]


MINE = """\
from dataclasses import dataclass
from typing import Annotated
import clbench
from clbench.core.parameters import Fraction

@dataclass(kw_only=True)
class Mine(clbench.Part):
    share: Annotated[Fraction, clbench.Search(0, HIGH)] = 0.5
"""


def test_check_refuses_a_range_of_a_users_part_that_its_type_does_not_allow(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(MINE.replace("HIGH", "2"), encoding="utf-8")
    with pytest.raises(Refused, match="the search range 0 to 2 of share holds 2, which the setting does not allow"):
        check_strategy(f"{file}:Mine", "deterministic")
    file = tmp_path / "good.py"
    file.write_text(MINE.replace("HIGH", "1"), encoding="utf-8")
    assert [knob.place for knob in space_of(f"{file}:Mine")] == [f"{file}:Mine.share"]
    assert with_values(f"{file}:Mine", {f"{file}:Mine.share": 1}) == f"{file}:Mine(share=1)"
    assert notation.calls(with_values(f"{file}:Mine", {})) == [(f"{file}:Mine", {})]


def test_search_is_a_public_name():
    assert clbench.Search is Search

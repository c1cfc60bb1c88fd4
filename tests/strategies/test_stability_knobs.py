"""The settings that trade stability for plasticity: where they begin, and where they do nothing."""

from __future__ import annotations

import pytest

from clbench.core.errors import Refused
from clbench.core.search_space import parse_space
from clbench.strategies.stability_knobs import at_identity, stability_knobs, starts, starts_within, with_required
from clbench.strategies.strategy import Strategy

DEFAULTS = {"ewc": {"strength": 100}}


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("ewc", {"ewc.strength": 1e5}),
        ("er + ewc(strength=7)", {"ewc.strength": 7}),
        ("derpp", {"derpp.alpha": 10, "derpp.beta": 10}),
        ("der", {"der.alpha": 10}),
        ("hft", {"hft.fraction": 0.1}),
        ("lwf", {"lwf.strength": 100}),
        ("l2 + l2(head=true)", {"l2.strength": 100, "l2#2.strength": 100}),
        ("naive", {}),
        ("er", {}),
        ("view_batch", {}),
    ],
)
def test_a_setting_begins_where_the_user_says_or_at_the_end_far_from_its_identity(written, found):
    assert starts(written, DEFAULTS, None) == found


def test_only_wanted_settings_are_chosen_with_their_own_values_to_begin_with():
    assert starts("ewc + l2", DEFAULTS, ["ewc.strength"]) == {"ewc.strength": 1e5}
    assert starts("ewc + l2", DEFAULTS, {"l2.strength": 3}) == {"l2.strength": 3}
    assert starts("ewc", DEFAULTS, ["l2.strength"]) == {}


def test_a_setting_that_needs_a_value_gets_the_one_to_begin_with():
    assert with_required("ewc", {"ewc.strength": 5}, {}) == {"ewc": {"strength": 5}}
    assert with_required("ewc", {"ewc.strength": 5}, DEFAULTS) == DEFAULTS
    assert with_required("ewc(strength=1)", {"ewc.strength": 1}, {}) == {}
    assert with_required("lwf", {"lwf.strength": 5}, {}) == {}


def test_values_move_from_the_start_to_the_identity():
    strategy = Strategy.parse("er + hft + ewc(strength=8)")
    parts = strategy.parts()
    hft, ewc = stability_knobs(strategy, parts, {"hft.fraction": 0.2, "ewc.strength": 8.0})
    assert (hft.part, hft.setting, hft.start, hft.identity) == (1, "fraction", 0.2, 1)
    assert [ewc.decayed(0.5**n) for n in range(4)] == [8, 4, 2, 1]
    assert [round(hft.decayed(0.5**n), 12) for n in range(3)] == [0.2, 0.6, 0.8]
    assert at_identity(parts, [hft, ewc]) == [(parts[1], {"fraction": 1}), (parts[2], {"strength": 0})]


def test_the_identity_of_a_part_is_all_that_it_declares():
    strategy = Strategy.parse("lwf(compete=experience)")
    parts = strategy.parts()
    knobs = stability_knobs(strategy, parts, {"lwf.strength": 100.0})
    assert at_identity(parts, knobs) == [(parts[0], {"strength": 0, "compete": "seen"})]


def test_ranges_of_the_user_give_the_value_to_begin_with():
    def within(written, text):
        return starts_within(written, DEFAULTS, parse_space(text))

    assert within("ewc", "ewc.strength=1:400:log") == {"ewc.strength": 400}
    assert within("hft", "hft.fraction=0.25:1") == {"hft.fraction": 0.25}
    assert within("ewc + l2", "l2.strength=0:3") == {"ewc.strength": 1e5, "l2.strength": 3}
    assert within("ewc", "si.strength=0:3") == {"ewc.strength": 1e5}


REFUSED = [
    ("pcr", "pcr.temperature=0.1:1", "pcr.temperature has no declared identity"),
    ("ewc", "ewc.mode=separate|online", "protocol chf needs a range of numbers, LOW:HIGH, not choices"),
    ("ewc", "training.lr=0.1:1", "learning rates to choose from are written tuning.learning_rates"),
    ("pcr", "ewc.strength=1:2", "protocol chf has nothing to choose for pcr"),
]


@pytest.mark.parametrize(("written", "text", "words"), REFUSED)
def test_what_cannot_be_chosen_is_answered_in_one_sentence(written, text, words):
    with pytest.raises(Refused) as caught:
        starts_within(written, DEFAULTS, parse_space(text))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)

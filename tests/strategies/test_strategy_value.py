"""A strategy is a value: read once, checked once, carried by its cells, and changed by nobody."""

import dataclasses
import json
import pickle
from collections import Counter

import pytest
from support import SMALL

from clbench.core.errors import Refused
from clbench.running.cell_key import Cell
from clbench.running.plan import plan
from clbench.running.prepare import prepare
from clbench.strategies import notation, strategy
from clbench.strategies.part import Part
from clbench.strategies.strategy import Declarations, Strategy


def counted(monkeypatch, *places):
    """How often functions are called from here on, by name; each place is a module and a name in it."""
    calls = Counter()

    def noting(name, function):
        def note(*arguments, **settings):
            calls[name] += 1
            return function(*arguments, **settings)

        return note

    for module, name in places:
        monkeypatch.setattr(module, name, noting(name, getattr(module, name)))
    return calls


def test_a_strategy_is_read_once_and_checked_once_for_all_seeds_and_up_to_the_end_of_its_runs(monkeypatch):
    calls = counted(monkeypatch, (notation, "calls"), (strategy, "canonical"), (strategy, "check"))
    cells = plan(SMALL, strategies=["er + ewc(strength=2)"], seeds=2).cells
    assert calls == {"calls": 1, "canonical": 1, "check": 1}
    for cell in cells:
        prepare(cell).train()
    assert calls == {"calls": 1, "canonical": 1, "check": 1}


def test_a_strategy_cannot_be_changed_not_even_through_what_it_hands_out():
    ours = Strategy.parse("ewc(strength=2)")
    with pytest.raises(dataclasses.FrozenInstanceError):
        ours.label = "er"
    before = ours.items
    ours.items[0]["parameters"]["strength"] = 3.0
    ours.parts()[0].strength = 3.0
    assert ours.items == before
    assert ours.parts()[0].strength == 2.0
    written = [{"name": "ewc", "parameters": dict(before[0]["parameters"])}]
    taken = Strategy.of(written)
    written[0]["parameters"]["strength"] = 3.0
    assert taken == ours


def test_two_ways_to_write_a_strategy_are_equal_and_hash_alike_whatever_they_are_called():
    one, other = Strategy.parse("ewc(strength=2)"), Strategy.parse({"ewc": {}}, {"ewc": {"strength": 2.0}})
    assert (one.label, other.label) == ("ewc(strength=2)", "ewc")
    assert one == other
    assert hash(one) == hash(other)
    assert len({one, other, Strategy.parse("ewc(strength=3)")}) == 2
    assert one != "ewc(strength=2)"


def test_a_strategy_comes_back_from_a_pickle_and_from_the_json_of_a_record():
    ours = plan(SMALL, strategies=["er + ewc"], seeds=1).cells[0]
    sent = pickle.loads(pickle.dumps(ours))
    read = Cell.of(json.loads(json.dumps(ours.config)), ours.label)
    assert ours.strategy == sent.strategy == read.strategy
    assert ours.key == sent.key == read.key
    assert sent.strategy.declarations == read.strategy.declarations == ours.strategy.declarations
    assert [type(part) for part in sent.strategy.parts()] == [type(part) for part in ours.strategy.parts()]


def test_every_call_makes_new_parts():
    ours = Strategy.parse("er + ewc(strength=2)")
    one, other = ours.parts(), ours.parts()
    assert not set(map(id, one)) & set(map(id, other))
    one[0].state["x"] = 1
    assert other[0].state == {}


def test_parts_declare_together_what_one_of_them_declares():
    both = Strategy.parse("l2(strength=1) + der(alpha=1)").declarations
    assert (both.memory_policy, both.memory_admit) == (None, "every_pass")
    assert both.needs == {"boundaries", "memory", "side_tensors"}
    assert Strategy.parse("gdumb(passes=1)").declarations.memory_policy == "greedy_balanced"
    assert Strategy.parse("joint").declarations.sees == "merged"
    naive = Declarations(frozenset(), "stream", None, None, "", True)
    assert Strategy.parse("naive").declarations == naive

    class Silent(Part):
        pass

    assert Declarations.of([Silent()]) == naive


def test_a_strategy_without_a_label_is_called_by_its_names_and_parameters():
    [item] = Strategy.parse("l2(strength=2)").items
    assert Strategy.of([item]).label == "l2(strength=2, head=False, from_start=False)"
    assert Strategy.parse(Strategy.of(Strategy.parse("er").items).label) == Strategy.parse("er")


def test_joined_strategies_are_checked_like_one_that_was_written_so():
    er, l2 = Strategy.parse("er"), Strategy.parse("l2(strength=2)")
    assert er.joined(l2) == Strategy.parse("er + l2(strength=2)")
    assert er.joined(l2).label == "er + l2(strength=2)"
    with pytest.raises(Refused, match="gdumb and er cannot be joined"):
        Strategy.parse("gdumb(passes=1)").joined(er)

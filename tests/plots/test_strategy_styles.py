"""The styles of strategies: fixed for shipped ones, and decided by the label for others."""

from itertools import combinations, pairwise

import numpy as np
import pytest

from clbench.plots import strategy_styles
from clbench.plots.strategy_styles import COLOURS, SHIPPED, series, styles
from clbench.strategies import STRATEGIES


def test_every_shipped_strategy_has_a_style_of_its_own_in_black_and_white():
    names = {entry.name for entry in STRATEGIES if entry.origin == "clbench"}
    assert len(names) > 30
    assert names <= set(SHIPPED)
    found = styles(SHIPPED)
    assert len({(style.dash, style.marker) for style in found.values()}) == len(SHIPPED)


@pytest.mark.parametrize(
    "together",
    [
        ("naive", "er", "agem", "joint", "cumulative"),
        ("naive", "joint", "ewc", "si", "mas", "lwf", "l2"),
        ("naive", "joint", "er", "er_ace", "er_aml", "derpp", "agem"),
        ("joint", "cumulative", "naive", "er", "derpp", "agem", "ewc", "l2", "mas"),
    ],
)
def test_strategies_that_are_often_compared_have_different_colours(together):
    assert len({SHIPPED[name] for name in together}) == len(together)


def test_a_shipped_strategy_looks_the_same_whatever_else_there_is():
    alone = styles(["agem"])["agem"]
    assert styles(["naive", "agem", "mine", "er(loss=sum)"])["agem"] == alone
    assert styles(reversed([*SHIPPED, *"abcdefgh"]))["agem"] == alone
    assert alone.colour != styles(["naive"])["naive"].colour


@pytest.mark.parametrize("label", ["ewc(strength=10, rows=500)", "ewc [training.lr=0.3]", "ewc(strength=1) [lr=0.3]"])
def test_a_strategy_with_settings_has_the_style_of_its_name_until_another_label_has_it(label):
    assert styles([label])[label] == styles(["ewc"])["ewc"]
    both = styles(["ewc", label])
    assert both["ewc"] == styles(["ewc"])["ewc"]
    assert both[label].colour != both["ewc"].colour
    assert (both[label].dash, both[label].marker) != (both["ewc"].dash, both["ewc"].marker)


def test_other_labels_have_a_style_that_neither_their_order_nor_the_process_decides():
    assert styles(["mine", "yours"]) == dict(reversed(styles(["yours", "mine"]).items()))
    assert styles(["mine"])["mine"].colour == "#b3202c"  # from a checksum of the text, so equal everywhere


def test_up_to_twelve_labels_have_different_colours():
    assert len({style.colour for style in styles(f"own{place}" for place in range(12)).values()}) == len(COLOURS) == 12


def test_a_free_colour_is_taken_before_one_that_resembles_a_used_one():
    found = styles(["er", *(f"er(rows={rows})" for rows in range(4))])
    blues = {COLOURS[place] for place in strategy_styles.ALIKE[0]}
    assert sum(style.colour in blues for style in found.values()) == 1


def test_things_that_are_no_strategies_differ_from_their_neighbours():
    made = list(series(map(str, range(30))).values())
    for one, other in pairwise(made):
        assert one.colour != other.colour
        assert one.dash != other.dash
        assert one.marker != other.marker


def test_colours_can_be_told_apart_and_read_on_white():
    def linear(colour):
        value = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
        return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)

    luminance = [float(np.array([0.2126, 0.7152, 0.0722]) @ linear(colour)) for colour in COLOURS]
    assert all(1.05 / (value + 0.05) > 2.5 for value in luminance)  # contrast with white, WCAG 2
    for one, other in combinations(COLOURS, 2):
        assert np.abs(linear(one) - linear(other)).sum() > 0.1

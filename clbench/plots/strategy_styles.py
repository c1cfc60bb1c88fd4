"""The colours, markers and dashes of strategies: the same in all pictures.

Every shipped strategy has a fixed style. Other labels take one that follows from a checksum of the label, and the next
free one if another label of the same results has it. Pictures can be read in black and white: dash and marker of a
strategy differ from those of every other one.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

# Okabe and Ito's colours with enough contrast on light and dark backgrounds, and others that fit them.
COLOURS = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#c99700", "#7a5195", "#56a4d9", "#666a70", "#2e3644", "#b3202c",
    "#6b7a1e", "#0c7c86",
)  # fmt: skip
BLUE, ORANGE, GREEN, PINK, OCHRE, PURPLE, SKY, GREY, SLATE, RED, OLIVE, TEAL = range(len(COLOURS))
ALIKE = ((BLUE, SKY, TEAL), (GREEN, OLIVE), (ORANGE, RED), (GREY, SLATE), (PINK, PURPLE))
"""Colours that are easily confused: of two that are free, one without a used neighbour is taken."""
DASHES: tuple[Any, ...] = (
    "-",
    (0, (5, 1.4)),
    (0, (1.4, 1)),
    (0, (6, 1.3, 1.4, 1.3)),
    (0, (10, 4)),
    (0, (3, 2.6)),
    (0, (6, 1.3, 1.4, 1.3, 1.4, 1.3)),
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")
SHIPPED = {
    "er": BLUE, "naive": GREY, "joint": SLATE, "agem": ORANGE, "derpp": GREEN, "er_ace": PURPLE, "ewc": PINK,
    "cumulative": OLIVE, "si": OCHRE, "lwf": TEAL, "mas": SKY, "l2": RED, "der": OCHRE, "gem": TEAL, "mir": SKY,
    "gdumb": RED, "icarl": PINK, "er_aml": RED, "pcr": PINK, "hpcr": OCHRE, "slda": GREEN, "ncm": TEAL, "frozen": GREY,
    "view_batch": OLIVE, "refresh": SKY, "group_mask": GREEN, "hft": RED, "fpf": OCHRE, "k_fpf": SKY,
    "freeze_norm": PURPLE, "feat_kd": TEAL, "pred_kd": PINK, "sensitivity": ORANGE,
    "loss_form": BLUE,
    "acil": OLIVE,
    "ranpac": BLUE,
    "l2p": GREEN,
    "fecam": ORANGE,
    "only": PURPLE,
    "clr": TEAL,
    "consolidation": PINK,
    "gpm": GREEN,
    "l2m": GREEN,
    "repeats": SKY,
    "hypernet": PURPLE,
    "binary": OCHRE,
    "trgp": BLUE, "cuber": RED,
    "dst": OCHRE,
    "merge": ORANGE,
    "sd_lora": PURPLE,
    "inflora": TEAL,
    "adapters": OCHRE,
    "lucir": GREEN,
    "first_task": BLUE,
    "align": SKY, "slca": PINK,
    "wa": BLUE, "align_norms": TEAL,
    "bic": OLIVE,
    "dualprompt": BLUE,
    "coda_prompt": PINK,
    "expand": PURPLE,
    "podnet": OCHRE,
}  # fmt: skip
"""Map each shipped strategy to its colour. Strategies that are often compared have different ones. The place in the
table determines dash and marker: append new strategies at its end."""
_COMBINATIONS = len(DASHES) * len(MARKERS)
_STEP = 11  # has no divisor in common with the number of combinations or of colours
_SINGLE = re.compile(r"([a-z_0-9]+)(\(.*\))?( \[.*\])?")


@dataclass(frozen=True)
class Style:
    """Describe how a strategy is drawn in all plots."""

    colour: str
    dash: Any
    marker: str


def series(names: Iterable[str]) -> dict[str, Style]:
    """Return a style for each name by its position, for things that are no strategies, such as tasks."""
    return {name: _style(place % len(COLOURS), place % _COMBINATIONS) for place, name in enumerate(names)}


def styles(labels: Iterable[str]) -> dict[str, Style]:
    """Return the style of each strategy; up to 70 of them differ in dash and marker alone.

    A shipped strategy under its plain name always has its own style. A label such as ``ewc(strength=10)`` has that of
    its strategy unless another label has it already. Every other label begins at a place that its text determines, and
    takes the first colour, and the first combination of dash and marker, that no other label has.

    Args:
        labels: The labels of all strategies of the results, whether they are drawn or not. Their order has no effect.
    """
    every = list(dict.fromkeys(labels))
    taken: dict[str, tuple[int, int]] = {label: _fixed(label) for label in every if label in SHIPPED}
    colours = Counter(colour for colour, _ in taken.values())
    combinations = Counter(combination for _, combination in taken.values())
    dashes, markers = (Counter(k % len(kinds) for k in combinations) for kinds in (DASHES, MARKERS))
    for label in sorted(label for label in every if label not in taken):
        start = int.from_bytes(hashlib.sha256(label.encode()).digest()[:8], "big")
        found = _SINGLE.fullmatch(label)
        own = _fixed(found[1]) if found and found[1] in SHIPPED else None
        if own is None or combinations[own[1]]:
            own = (
                min(
                    _probe(start, len(COLOURS)),
                    key=lambda colour: (colours[colour], sum(colours[other] for other in _like(colour))),
                ),
                min(
                    _probe(start, _COMBINATIONS),
                    key=lambda k: (combinations[k], dashes[k % len(DASHES)] + markers[k % len(MARKERS)]),
                ),
            )
        taken[label] = own
        colours[own[0]] += 1
        combinations[own[1]] += 1
        dashes[own[1] % len(DASHES)] += 1
        markers[own[1] % len(MARKERS)] += 1
    return {label: _style(*taken[label]) for label in every}


def _fixed(name: str) -> tuple[int, int]:
    return SHIPPED[name], list(SHIPPED).index(name)


def _probe(start: int, count: int) -> list[int]:
    """Return all places, in an order that begins at ``start``."""
    return [(start + _STEP * k) % count for k in range(count)]


def _like(colour: int) -> tuple[int, ...]:
    return next((family for family in ALIKE if colour in family), ())


def _style(colour: int, combination: int) -> Style:
    return Style(COLOURS[colour], DASHES[combination % len(DASHES)], MARKERS[combination % len(MARKERS)])

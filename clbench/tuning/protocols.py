"""The protocols of a search for settings: which samples it may see, and whether a learner could follow it.

A protocol turns a benchmark into the settings of the search's cells. It never touches test samples of the reported
stream: scores are computed on training samples that are held out of training.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from clbench.core.errors import Refused, did_you_mean

HELD_OUT = 0.1
"""Fraction of the training samples that are held out, if the benchmark holds out none."""
SEEDS = (100, 101)
"""Seeds of a search unless the user gives others; no table of the shipped benchmarks uses them."""


@dataclass(frozen=True)
class Protocol:
    """Say what a search may see.

    Args:
        name: The protocol as the user writes it, such as ``first:2``.
        kind: Its entry in :data:`PROTOCOLS`.
        experiences: K, the first experiences after which the search's stream ends; ``None`` for all of them.
        benchmark: The benchmark whose stream the search uses instead; empty for the reported one.
    """

    name: str
    kind: Kind
    experiences: int | None = None
    benchmark: str = ""

    def overrides(self, stream: Mapping[str, Any], *, ends: bool = True) -> dict[str, Any]:
        """Return the settings of the search's cells, as pairs of dotted keys and values.

        Args:
            stream: The canonical ``stream`` section of the benchmark whose stream is used.
            ends: Whether evaluations at the ends of experiences are enough. Otherwise the benchmark's own evaluations
                are kept.
        """
        made: dict[str, Any] = {"stream.dataset.evaluate_on": "validation"}
        if ends:
            made |= {"evaluation.schedule": "ends", "evaluation.rows_per_task": "all"}
        if not stream["dataset"].get("validation"):
            made["stream.dataset.validation"] = HELD_OUT
        if self.experiences is not None:
            made["stream.apply"] = [*stream.get("apply", []), {"first": {"experiences": self.experiences}}]
        return made

    def check(self, length: int, benchmark: str) -> None:
        """Refuse the protocol for a stream that is too short.

        Args:
            length: Number of experiences of the reported stream.
            benchmark: Its name, for the message.

        Raises:
            Refused: The search would see the whole stream, or more than there is.
        """
        if self.experiences is None or self.experiences < length:
            return
        allowed = "first:1" if length == 2 else f"first:1 to first:{length - 1}"
        choices = f"choose {allowed}, or end" if length > 1 else "choose end, or other:BENCHMARK"
        raise Refused(
            f"protocol {self.name} is not possible: {benchmark} has {length} experience{'s' * (length != 1)}, and the "
            f"search has to end before the stream does; {choices}"
        )


@dataclass(frozen=True)
class Kind:
    """Describe one protocol.

    Args:
        form: How users write it: ``first:K``.
        summary: What the search may see, in words.
        read: A function from the name and the text after its colon to the protocol.
        available: Whether a learner could follow it before the reported stream is over.
        searches: Whether there are trials; otherwise every run chooses its settings itself.
    """

    form: str
    summary: str
    read: Callable[[str, str], Protocol]
    available: bool = True
    searches: bool = True


def first(experiences: int) -> Protocol:
    """Return the protocol that sees held-out samples of the first K experiences."""
    return Protocol(f"first:{experiences}", PROTOCOLS["first"], experiences)


def _first(name: str, rest: str) -> Protocol:
    if not re.fullmatch(r"[1-9]\d*", rest or "1"):
        raise Refused(f"protocol {name!r} is not possible; write first:K with a number K from 1, such as first:2")
    return first(int(rest or 1))


def _other(name: str, rest: str) -> Protocol:
    if not rest:
        raise Refused("protocol 'other' needs a benchmark; write other:BENCHMARK, such as other:split-mnist")
    return Protocol(name, PROTOCOLS["other"], benchmark=rest)


def _alone(kind: str) -> Callable[[str, str], Protocol]:
    def read(name: str, rest: str) -> Protocol:
        if rest:
            raise Refused(f"protocol {name!r} is not known: {kind} stands alone; write {kind}")
        return Protocol(kind, PROTOCOLS[kind])

    return read


PROTOCOLS: dict[str, Kind] = {
    "first": Kind("first:K", "held-out samples of the first K experiences; the stream ends there", _first),
    "other": Kind("other:BENCHMARK", "held-out samples of another stream, with no class or sample in common", _other),
    "chf": Kind(
        "chf", "in every run, held-out samples of each experience while it runs", _alone("chf"), searches=False
    ),
    "end": Kind("end", "held-out samples of all experiences", _alone("end"), available=False),
}
"""All protocols by name. Sources: ``first``: Lee et al. 2024; ``other``: Chaudhry et al. 2019, Cha and Cho 2024;
``chf``: De Lange et al. 2021; ``end`` is common practice, and no learner can follow it."""


def read_protocol(written: str) -> Protocol:
    """Read a protocol, such as ``first:2`` or ``end``.

    Raises:
        Refused: There is no such protocol.
    """
    name, _, rest = written.strip().partition(":")
    kind = PROTOCOLS.get(name)
    if kind is None:
        forms = ", ".join(each.form for each in PROTOCOLS.values())
        near = did_you_mean(name, PROTOCOLS)
        hint = f"{near} write {forms}" if near.startswith("did") else f"write {forms}"
        raise Refused(f"there is no protocol {written!r}; {hint}")
    return kind.read(written.strip(), rest.strip())


def own_seeds(compared: Iterable[int]) -> tuple[int, int]:
    """Return two seeds for a search that no comparison uses.

    Args:
        compared: The seeds of the comparison.
    """
    begin = max(SEEDS[0], max(compared) + 1)
    return begin, begin + 1


def check_seeds(seeds: Iterable[int], compared: Iterable[int], benchmark: str) -> None:
    """Refuse seeds of a search that are seeds of the comparison.

    Raises:
        Refused: There are such seeds.
    """
    both = sorted({*seeds} & {*compared})
    if both:
        several, free = len(both) > 1, own_seeds(compared)
        raise Refused(
            f"seed{'s' * several} {', '.join(map(str, both))} of the search {'are' if several else 'is'} also of "
            f"{benchmark}, whose results would then depend on the choice; choose others, such as --seeds "
            f"{free[0]},{free[1]}"
        )

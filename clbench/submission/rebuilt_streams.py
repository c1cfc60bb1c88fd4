"""Make the streams of a submission again, where their data is at hand, and keep what checks compare."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from clbench.core.record import Record
from clbench.core.shown_text import shown
from clbench.core.types import Index, Mask, Stream
from clbench.data.roots import Missing, offline
from clbench.running.plan import make_stream, rows
from clbench.running.prepare import SEEN
from clbench.strategies.part import Part
from clbench.strategies.strategy import Declarations, Strategy
from clbench.submission.trusted_code import foreign_code

MOST_EXPERIENCES = 10_000
"""Longer streams are not made again."""
SCRIPT = "script:"
"""The beginning of the names of strategies that ran in scripts with ``ContinualEvaluationPlugin``."""
LARGEST_SETTING = 2_000
"""Streams with a larger number among their settings are not made again, since they may need all memory."""
MOST_ROWS = 10_000_000
"""The same for numbers of samples."""
LARGEST_IMAGE = 256
"""The same for the size in pixels to which images are scaled."""


class Impossible(str):
    """Give the reason why no run can have the settings of a cell, as a text."""

    __slots__ = ()


@dataclass(frozen=True)
class StreamFacts:
    """Hold what a stream determines in a record.

    Args:
        fingerprint: The fingerprint of the stream that the strategy sees.
        data: The checksum of the data set.
        sizes: (E,) number of training samples of each experience that the strategy sees.
        present: (E, T) whether an experience holds samples of a task, as evaluations count it.
        population: (T,) number of test samples of each task.
        shared: Whether two tasks share a test sample, so that an evaluation may pass it once for both.
        share: Number of the benchmark's experiences in one that the strategy sees: all of them, if they are merged.
        shape: Shape of one sample.
        n_outputs: Number of output units.
        tokens: Whether samples are tokens.
        row_bytes: Bytes of one sample as it is kept in a replay buffer.
    """

    fingerprint: str
    data: str
    sizes: tuple[int, ...]
    present: Mask
    population: Index
    shared: bool
    share: int
    shape: tuple[int, ...]
    n_outputs: int
    tokens: bool
    row_bytes: int


@dataclass(frozen=True)
class PartFacts:
    """Hold what the parts of a strategy declare, as far as checks use it.

    Args:
        sees: The form of the stream that it sees.
        engine: The library whose loop runs it; empty for clbench's.
        uses_model: Whether it uses the benchmark's model.
        skips: Whether a part may leave out steps or make steps of its own.
        arranges: Whether a part changes which samples an experience holds, or their order.
        at_end: Whether a part acts at the end of the stream, after which is one more evaluation.
        keeps: Whether it keeps samples in the replay buffer.
        builds: Whether a part adds to the model.
    """

    sees: str
    engine: str
    uses_model: bool
    skips: bool
    arranges: bool
    at_end: bool
    keeps: bool
    builds: bool


class Rebuilt:
    """Make streams and strategies of records again, each once.

    Args:
        data_dir: The folder of data sets. Nothing is downloaded.
    """

    def __init__(self, data_dir: str | None = None) -> None:
        self._data_dir = data_dir
        self._streams: dict[str, StreamFacts | str] = {}
        self._parts: dict[str, PartFacts | str] = {}

    def parts(self, record: Record) -> PartFacts | str:
        """Return what the parts of a strategy declare, or the reason why it is not known. No code of others runs."""
        items = record.cell.get("strategy")
        text = json.dumps(items, sort_keys=True)
        if text not in self._parts:
            self._parts[text] = _part_facts({"strategy": items})
        return self._parts[text]

    def stream(self, record: Record) -> StreamFacts | str:
        """Return what is known of a record's stream, or the reason why it cannot be made here."""
        parts = self.parts(record)
        if isinstance(parts, str):
            return parts
        if "tuning" in record.cell:
            return "the run holds samples out of its stream to choose settings"
        section = record.cell.get("stream") or {}
        text = f"{json.dumps(section, sort_keys=True)} {record.seed} {parts.sees}"
        if text not in self._streams:
            self._streams[text] = self._stream_facts(section, record.seed, parts.sees)
        return self._streams[text]

    def _stream_facts(self, section: Mapping[str, Any], seed: int, sees: str) -> StreamFacts | str:
        data = section.get("dataset") or {}
        name = str(data.get("name") if isinstance(data, Mapping) else data)
        if str(section.get("scenario")).startswith("given") or name.startswith("given"):
            return "a program handed over its stream or data, which no record contains"
        if any(foreign_code({"stream": section})):
            return "its stream uses code that is not clbench's own"
        if ":" in name:
            return "its data set is read from files that its author names"
        if "features" in (data if isinstance(data, Mapping) else {}):
            return "its samples are features of a frozen network, which are not computed again"
        large = next((each for each, number in _numbers(section) if abs(number) > _most(each)), None)
        if large is not None:
            return f"its setting {shown(large)} exceeds {_most(large):,}"
        try:
            with offline():
                whole = make_stream(section, seed, data_dir=self._data_dir)
                checksum = rows(section, data_dir=self._data_dir).checksum
            if len(whole) > MOST_EXPERIENCES:
                return f"its stream has more than {MOST_EXPERIENCES:,} experiences"
            return _facts(whole, SEEN[sees](whole), checksum)
        except Missing as error:
            return f"its data is not at hand ({_short(error)})"
        except Exception as error:  # settings of strangers may be impossible in any way
            return Impossible(f"its stream is refused ({_short(error)})")


def _facts(whole: Stream, seen: Stream, checksum: str) -> StreamFacts:
    """Return the facts of a stream and of the form in which a strategy sees it."""
    presence = whole if len(whole) == len(seen) else seen
    tasks = len(whole.tasks)
    present = np.zeros((len(presence), tasks), dtype=bool)
    for number, experience in enumerate(presence):
        present[number, list(experience.tasks)] = True
    every = np.concatenate([task.rows for task in whole.tasks]) if tasks else np.zeros(0, dtype=np.int64)
    data = whole.dataset
    return StreamFacts(
        fingerprint=seen.fingerprint,
        data=checksum,
        sizes=tuple(len(experience) for experience in seen),
        present=present,
        population=np.array([len(task.rows) for task in whole.tasks], dtype=np.int64),
        shared=len(np.unique(every)) < len(every),
        share=len(whole) // len(seen),
        shape=tuple(data.shape),
        n_outputs=whole.n_outputs,
        tokens=data.tokens,
        row_bytes=math.prod(data.shape) * data.train.x.dtype.itemsize,
    )


def _part_facts(cell: Mapping[str, Any]) -> PartFacts | str:
    if not isinstance(cell["strategy"], list) or not cell["strategy"]:
        return Impossible("its strategy has no parts")
    try:
        if any(str(item.get("name")).startswith(SCRIPT) for item in cell["strategy"]):
            return "a script of its author ran it, with another library"
        if any(foreign_code(cell)):
            return "its strategy uses code that is not clbench's own"
        parts = Strategy.of(cell["strategy"], "").parts()
        declared = Declarations.of(parts)
    except Exception as error:  # settings of strangers may be impossible in any way
        return Impossible(f"its strategy is refused ({_short(error)})")
    return PartFacts(
        sees=declared.sees,
        engine=declared.engine,
        uses_model=declared.uses_model,
        skips=any(map(_skips, parts)),
        arranges=any(_has(part, "order") or _has(part, "merge") for part in parts),
        at_end=any(_has(part, "end_stream") for part in parts),
        keeps="memory" in declared.needs,
        builds=any(_has(part, "build") for part in parts),
    )


def _short(error: Exception) -> str:
    return shown(" ".join(str(error).split()), None) or type(error).__name__


def _has(part: Part, hook: str) -> bool:
    """Return whether a part has a hook."""
    return getattr(type(part), hook, None) is not getattr(Part, hook, None)


def _skips(part: Part) -> bool:
    """Return whether a part's hook for batches may leave out steps, or another hook makes them itself."""
    code = getattr(type(part).batch, "__code__", None)
    return _has(part, "observe") or (code is not None and "skip" in code.co_names)


def _numbers(value: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """Yield all numbers of a section with the names of their settings."""
    if isinstance(value, int | float):
        yield name, value
    elif isinstance(value, Mapping):
        for inner, held in value.items():
            yield from _numbers(held, str(inner))
    elif isinstance(value, list | tuple):
        for held in value:
            yield from _numbers(held, name)


def _most(name: str) -> int:
    """Return the largest number that a setting of a stream may have here."""
    return MOST_ROWS if "rows" in name else LARGEST_IMAGE if name == "size" else LARGEST_SETTING

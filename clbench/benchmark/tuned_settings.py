"""Settings that a search chose, as a file: what ``clbench tune`` writes and ``clbench run --tuned FILE`` reads.

    benchmark: split-digits@2
    strategies:
      ewc:
        defaults: {ewc: {strength: 31.6}}
        tuning: {protocol: first:2, trials: 24, spent: 9.6, ...}

``defaults`` is a fragment as in a benchmark file, ``training`` holds settings that the strategy overrides there, and
``tuning`` says how the values were found.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clbench.benchmark.documents import plain, read
from clbench.core.errors import Refused, did_you_mean

KEYS = ("benchmark", "settings", "strategies")
"""Keys of a file."""
OF_STRATEGY = ("defaults", "training", "chosen_in_run", "tuning", "notes")
"""Keys of a strategy in it."""
HEADING = """\
# Settings that a search chose. Use them by: clbench run BENCHMARK --tuned FILE
"""


@dataclass(frozen=True)
class TunedStrategy:
    """Hold the settings of one strategy and how they were found.

    Args:
        defaults: Recipe -> setting -> value, as in ``defaults`` of a benchmark file.
        training: Settings of the section ``training`` that the strategy overrides.
        chosen_in_run: The section ``tuning`` of its cells, if every run chooses its settings itself; else empty.
        tuning: How they were found: ``protocol``, ``trials``, ``spent``, ``study``, ...
        notes: What a reader has to know of the choice.
    """

    defaults: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    chosen_in_run: Mapping[str, Any] = field(default_factory=dict)
    tuning: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def values(self) -> dict[str, Any]:
        """Return the settings by place: ``ewc.strength``, ``training.lr``."""
        own = {f"{name}.{setting}": value for name, found in self.defaults.items() for setting, value in found.items()}
        return own | {f"training.{setting}": value for setting, value in self.training.items()}


@dataclass(frozen=True)
class TunedSettings:
    """Hold the settings of some strategies on one benchmark.

    Args:
        benchmark: Name and version of the benchmark of the search, such as ``split-digits@2``.
        strategies: Each strategy as text, with its settings.
        settings: Settings of the benchmark that the search changed, by dotted key.
        source: The file, for messages.
    """

    benchmark: str
    strategies: Mapping[str, TunedStrategy]
    settings: Mapping[str, Any] = field(default_factory=dict)
    source: str = "the tuned settings"

    @property
    def text(self) -> str:
        """Return the content of a file. Equal settings give equal bytes."""
        from ruamel.yaml import YAML

        yaml = YAML(typ="safe", pure=True)
        yaml.default_flow_style = False
        yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
        yaml.width = 10**6  # one line for each note
        out = io.StringIO()
        yaml.dump(self.content, out)
        return HEADING + out.getvalue()

    @property
    def content(self) -> dict[str, Any]:
        """Return the settings as plain data."""
        made: dict[str, Any] = {"benchmark": self.benchmark}
        if self.settings:
            made["settings"] = dict(self.settings)
        made["strategies"] = {
            name: {key: plain(value) for key in OF_STRATEGY if (value := getattr(each, key))}
            for name, each in self.strategies.items()
        }
        return made


def provenance_text(tuning: Mapping[str, Any], benchmark: str = "") -> str:
    """Return how settings were found, in a few words: ``first:1 (24 trials, 4.8x)``.

    Args:
        tuning: The provenance of a strategy or of a record.
        benchmark: The benchmark of the record; that of the search is named if it is another one.
    """
    name = str(tuning.get("protocol", ""))
    searched = str(tuning.get("benchmark", ""))
    if benchmark and searched and searched.partition("@")[0] != benchmark.partition("@")[0]:
        name += f" on {searched}"
    effort = [f"{tuning['trials']} trials"] if tuning.get("trials") else []
    effort += [f"{tuning['spent']:g}x"] if isinstance(tuning.get("spent"), int | float) else []
    effort = effort or ([str(tuning["method"])] if tuning.get("method") else [])
    return f"{name} ({', '.join(effort)})" if effort else name


def read_tuned(path: str | Path) -> TunedSettings:
    """Read a file of tuned settings.

    Raises:
        Refused: It cannot be read, or is no such file.
    """
    where = Path(path).expanduser()
    if where.is_dir():
        inside = where / "tuned.yaml"
        what = f"give the file {inside} in it" if inside.is_file() else "give a file that clbench tune has written"
        raise Refused(f"--tuned {path} is a folder; {what}")
    document, _ = read(where, what="file of tuned settings")
    return as_tuned(document, where.name)


def as_tuned(document: Mapping[str, Any], name: str = "the tuned settings") -> TunedSettings:
    """Return the tuned settings of a mapping, as a file holds them.

    Args:
        document: The content.
        name: Its name in messages.

    Raises:
        Refused: A key is unknown or missing, or a value has a wrong form.
    """
    if "strategies" not in document or "benchmark" not in document:
        raise Refused(
            f"{name} holds no tuned settings: it needs benchmark and strategies; clbench tune writes such a file"
        )
    _check_keys(document, KEYS, name)
    if not isinstance(document["strategies"], Mapping) or not document["strategies"]:
        raise Refused(f"{name}: strategies has to map each strategy to its settings, like ewc: {{defaults: ...}}")
    found = {}
    for strategy, held in document["strategies"].items():
        where = f"{name}, strategy {strategy!r}"
        if not isinstance(held, Mapping):
            raise Refused(f"{where}: it has to be a mapping with {', '.join(OF_STRATEGY)}")
        _check_keys(held, OF_STRATEGY, where)
        sections = {key: held.get(key) or {} for key in OF_STRATEGY if key != "notes"}
        for key, value in sections.items():
            if not isinstance(value, Mapping):
                raise Refused(f"{where}: {key} = {value!r} is not allowed; it has to be a mapping")
        for recipe, values in sections["defaults"].items():
            if not isinstance(values, Mapping):
                raise Refused(f"{where}: defaults of {recipe} have to be a mapping, like {recipe}: {{strength: 1}}")
        if not sections["tuning"].get("protocol"):
            raise Refused(
                f"{where}: tuning names no protocol, so how the values were found is unknown (is the file cut off?). "
                "Run its clbench tune command again, or write the values without --tuned"
            )
        found[str(strategy)] = TunedStrategy(**sections, notes=tuple(map(str, held.get("notes") or ())))
    return TunedSettings(str(document["benchmark"]), found, document.get("settings") or {}, name)


def _check_keys(document: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in document:
        if key not in known:
            raise Refused(f"{where}: unknown key {key!r}; {did_you_mean(str(key), known)}")

"""The choice of records that may be compared: one benchmark with one setting, on one split of one data set.

A cell that differs from the shipped file of its name and version is named after the difference: ``split-digits@1 +
training.epochs=50``. The name also says if evaluation samples are held out of training. Records with other data,
identified by their checksum, have a table of their own.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any

from clbench import data, models, scenarios
from clbench.benchmark import documents, schema, sections
from clbench.benchmark.assignments import seeds
from clbench.benchmark.schedule_notation import SOURCE, shown
from clbench.benchmark.shipped_files import official
from clbench.comparison.record_groups import distinct
from clbench.core.errors import Refused
from clbench.core.parameters import validate
from clbench.core.public_names import public
from clbench.core.record import Record
from clbench.strategies.strategy import Strategy

SECTIONS = ("stream", "model", "training", "memory", "evaluation")
UNTOLD = ("stream.fingerprint", "stream.source", "model.checksum", "model.weights_checksum", "model.source")
"""Settings that only identify what other settings name. They are long, and other data has a table of its own."""


def tables(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Group distinct records into tables: title -> records, sorted by title."""
    found: dict[str, list[Record]] = {}
    titles: dict[tuple[str, str], str] = {}  # a title depends neither on the seed nor on results
    for record in distinct(records):
        place = record.settings, record.label
        if place not in titles:
            titles[place] = title(record.cell, record.label)
        found.setdefault(titles[place], []).append(record)
    made: dict[str, list[Record]] = {}
    for name in sorted(found):
        sets = _by_data(found[name])
        for words in sorted(sets):
            made[name + (f", {words}" if len(sets) > 1 else "")] = sets[words]
    return made


def title(cell: Mapping[str, Any], label: str) -> str:
    """Return the title of a cell's benchmark: name, version, differences from the file of that version, and the
    split."""
    name = f"{cell['benchmark']['name']}@{cell['benchmark']['version']}"
    rows = (cell.get("stream") or {}).get("dataset") or {}
    held_out = isinstance(rows, Mapping) and rows.get("evaluate_on") == "validation"
    return " + ".join([name, *deviations(cell, label)]) + (", validation samples" if held_out else "")


def deviations(cell: Mapping[str, Any], label: str) -> list[str]:
    """Return ``training.epochs=50`` for each setting that differs from the shipped file of the cell's name and version.

    Args:
        cell: A complete cell; if a section is missing, nothing is returned.
        label: The label of its strategy. Settings of training in the brackets of the label belong to the strategy.

    Returns:
        The differences; empty for a benchmark that does not come with the package. A setting that a cell lacks has its
        default: the cell is older than the setting.
    """
    benchmark = cell["benchmark"]
    usual = _official(str(benchmark["name"]), benchmark["version"])
    if usual is None or not all(isinstance(cell.get(section), Mapping) for section in SECTIONS):
        return []
    have, want = _flat(_completed(cell)), _flat(usual)
    own = _of_strategy(cell, label)
    other = {
        section
        for section, main in (("stream", "stream.scenario"), ("model", "model.name"))
        if have.get(main) != want.get(main)
    }
    told = []
    for key in dict.fromkeys([*want, *have]):
        if key not in have or have[key] == want.get(key) or key in UNTOLD:
            continue
        if any(f"{key}.".startswith(f"{name}.") for name in own):
            continue
        if key == "evaluation.every" and have.get("evaluation.schedule") != json.dumps("every"):
            continue  # the schedule includes it
        if key not in want and (key.split(".")[0] in other or have[key] in ("null", "[]", "{}")):
            continue  # settings of the other scenario or model, which its name includes
        if key not in want and have[key] == IMPLIED.get(key):
            continue
        told.append(f"{key}={_shown(have[key])}")
    return told + _other_defaults(cell, label)


IMPLIED = {f"training.stop.{name}": json.dumps(schema.Stop().model_dump()[name]) for name in ("monitor", "restore")}
IMPLIED["training.stop.min_delta"] = "0"
"""Settings of early stopping that a title leaves out at their default."""


@cache
def _official(name: str, version: Any) -> dict[str, Any] | None:
    """Return the sections of a shipped file as cells hold them; ``None`` if there is no readable file."""
    path = official(name, version) if isinstance(version, int) else None
    if path is None:
        return None
    try:
        benchmark = _file(name, version)
        source = documents.Source(path.name, {})
        made = {
            "stream": sections.stream(benchmark, source, None, None),
            "model": sections.model(benchmark, source, None),
            **{part: getattr(benchmark, part).canonical() for part in ("training", "memory", "evaluation")},
        }
    except Refused:
        return None
    if benchmark.reveal:
        made["reveal"] = sorted(set(benchmark.reveal))
    return _completed(made)


@cache
def _file(name: str, version: int) -> schema.Benchmark:
    path = official(name, version)
    assert path is not None
    return schema.check(*documents.read(path))


def _completed(cell: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sections of a cell, with defaults for settings that were introduced later, if they can be
    determined."""
    stream, model = dict(cell["stream"]), dict(cell["model"])
    rows = dict(stream.pop("dataset", None) or {})
    heads = model.pop("heads", "shared")
    with suppress(Refused):
        stream = {**stream, **scenarios.canonical(stream)}
    with suppress(Refused):
        rows = {**validate(data.load, {k: v for k, v in rows.items() if k in SETTINGS}, where="dataset"), **rows}
    with suppress(Refused):
        model = {**model, **models.completed(model)}
    told = {name: rows[name] for name in (*SETTINGS, "features") if name in rows}
    made: dict[str, Any] = {
        "stream": {**stream, "dataset": {"": rows.get("name", ""), **told}},
        "model": {**model, "heads": heads},
        "training": {**schema.Training().model_dump(), **cell["training"]},
        "memory": {**schema.MemoryBudget().model_dump(), **cell["memory"]},
        "evaluation": {**schema.Evaluation().model_dump(), **cell["evaluation"]},
    }
    training, evaluation = made["training"], made["evaluation"]
    training["optimizer"] = shown(training["optimizer"])
    if training["first"]:
        training["first"] = dict(training["first"])
    for section, name in (
        (training, "lr_schedule"),
        (training["first"] or {}, "lr_schedule"),
        (evaluation, "schedule"),
    ):
        if SOURCE in section.get(name, ()):  # of a file or a package
            section[name] = shown(section[name])
    if made["evaluation"]["schedule"] != "every":  # then no other setting of the schedule has an effect
        made["evaluation"]["every"] = 0
    elif not made["evaluation"]["every"]:  # as in a cell
        made["evaluation"]["schedule"] = "ends"
    return {**made, "reveal": list(cell.get("reveal") or [])}


SETTINGS = ("normalize", "validation", "train_rows", "size")
"""Settings of a data set that a title shows; the evaluated split is described separately."""


def _flat(settings: Mapping[str, Any], path: str = "") -> dict[str, str]:
    """Map dotted names to values as JSON; a mapping is flattened, a list is one value."""
    found: dict[str, str] = {}
    for name, value in settings.items():
        dotted = f"{path}.{name}" if path and name else path or name
        if isinstance(value, Mapping) and value:
            found |= _flat(value, dotted)
        else:
            found[dotted] = json.dumps(_number(value), sort_keys=True, default=str)
    return found


def _number(value: Any) -> Any:
    """Return whole numbers in one form, since 100 and 100.0 are one setting."""
    if isinstance(value, list | tuple):
        return [_number(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _shown(written: str) -> str:
    value = public(json.loads(written))
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _of_strategy(cell: Mapping[str, Any], label: str) -> set[str]:
    """Return the settings that belong to the strategy: those in its label's brackets, and the policy of its replay
    buffer."""
    inside = label.partition(" [")[2] if label.endswith("]") else ""
    own = {f"training.{name}" for name in re.findall(r"(\w+)=", inside)}
    usual = _parts_declare(cell, ("memory_policy", "memory_admit"))
    return own | {f"memory.{name.removeprefix('memory_')}" for name in usual}


def _parts_declare(cell: Mapping[str, Any], attributes: Sequence[str]) -> set[str]:
    try:
        declared = Strategy.of(cell["strategy"]).declarations
        return {name for name in attributes if getattr(declared, name)}
    except Exception:  # unknown strategy, or other settings today: its declaration is not available
        return set(attributes)


def _other_defaults(cell: Mapping[str, Any], label: str) -> list[str]:
    """Return ``defaults.ewc.strength=5`` for each parameter that differs from the file and is not in the label."""
    usual, told = defaults_for(cell), []
    for item in cell.get("strategy", ()):
        for name, value in usual.get(item["name"], {}).items():
            have = (item.get("parameters") or {}).get(name, value)
            if _number(have) != _number(value) and not re.search(rf"\b{re.escape(name)}=", label):
                told.append(f"defaults.{item['name']}.{name}={_shown(json.dumps(_number(have)))}")
    return told


def shipped_seeds(cell: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the seeds of the shipped file of a cell's benchmark, ascending; empty for other benchmarks."""
    name, version = str(cell["benchmark"]["name"]), cell["benchmark"]["version"]
    if _official(name, version) is None:
        return ()
    return tuple(sorted(seeds(_file(name, version).seeds)))


def defaults_for(cell: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the parameters that the shipped file of a cell's benchmark sets for its setting; empty for other
    benchmarks."""
    if _official(str(cell["benchmark"]["name"]), cell["benchmark"]["version"]) is None:
        return {}
    benchmark = _file(cell["benchmark"]["name"], cell["benchmark"]["version"])
    stream = cell.get("stream") or {}
    setting = {"setting": stream["setting"]} if "setting" in stream else {}
    return schema.defaults_of(benchmark.model_copy(update={"stream": {**benchmark.stream, **setting}}))


# --------------------------------------------------------------------------------------------------- data


def _by_data(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Group records by data set, with words for each; older records are assigned by the fingerprints of their
    streams."""
    told = [r for r in records if r.data and sees(r) == "stream"]
    usual = {
        **_usual(r for r in records if not r.data and sees(r) == "stream"),
        **{(_section(r), r.seed): r.fingerprint for r in told},
    }
    known = {(r.seed, r.fingerprint): r.data for r in told}
    data = {record.key: record.data or _guessed(record, known, usual) for record in records}
    named = sorted({each for each in data.values() if each not in ("", OTHER)})
    if len(named) == 1:  # nothing contradicts it
        data = {key: each or named[0] for key, each in data.items()}
    words = {"": "data not recorded", OTHER: OTHER}
    found: dict[str, list[Record]] = {}
    for record in records:
        each = data[record.key]
        found.setdefault(words.get(each, f"data {each[:8]}"), []).append(record)
    return found


OTHER = "other data"


def _guessed(record: Record, known: Mapping[tuple[int, str], str], usual: Mapping[tuple[str, int], str]) -> str:
    """Return the data of a record without a data checksum: empty if unknown, ``OTHER`` if its stream has other data."""
    if sees(record) != "stream" or not record.fingerprint:
        return ""
    if (record.seed, record.fingerprint) in known:
        return known[record.seed, record.fingerprint]
    return "" if usual[_section(record), record.seed] == record.fingerprint else OTHER


def _usual(records: Iterable[Record]) -> dict[tuple[str, int], str]:
    """Return the most common fingerprint: (stream section, seed) -> fingerprint."""
    counts: dict[tuple[str, int], Counter[str]] = {}
    for record in records:
        if record.fingerprint:
            counts.setdefault((_section(record), record.seed), Counter())[record.fingerprint] += 1
    return {place: each.most_common(1)[0][0] for place, each in counts.items()}


def _section(record: Record) -> str:
    if record.settings not in _SECTIONS:
        _SECTIONS[record.settings] = json.dumps(record.cell.get("stream"), sort_keys=True, default=str)
    return _SECTIONS[record.settings]


_SECTIONS: dict[str, str] = {}
_SEES: dict[str, str] = {}
"""Stream sections, and what strategies see, by the settings of cells."""


def sees(record: Record) -> str:
    """Return the part of the stream that a strategy declares to see: ``stream``, or ``merged`` or ``accumulated``."""
    if record.settings not in _SEES:
        _SEES[record.settings] = _sees(json.dumps(record.cell.get("strategy", ()), sort_keys=True, default=str))
    return _SEES[record.settings]


@cache
def _sees(written: str) -> str:
    try:
        return Strategy.of(json.loads(written)).declarations.sees
    except Exception:  # unknown strategy, or other settings today
        return "stream"

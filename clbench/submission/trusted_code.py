"""Decide which code a cell of a submission may run here: never code of the submission itself.

A submission comes from strangers, and its sources are text: nothing here imports, writes or executes them. Cells that
use clbench's own code alone can be run. Any other code (a ``FILE.py:NAME``, an installed plugin, a learner of another
library) needs two things: the verifier says ``trust``, and has code of the same digest. Then the verifier's copy runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clbench.benchmark.evaluation_schedules import EVALUATION_SCHEDULES
from clbench.benchmark.lr_schedules import LR_SCHEDULES
from clbench.benchmark.optimizer_names import OPTIMIZERS
from clbench.core.errors import Refused
from clbench.core.identity import program_text
from clbench.core.public_names import public
from clbench.core.registry import Registry
from clbench.core.user_files import found
from clbench.data.dataset_registry import DATASETS, parts
from clbench.data.torchvision_source import SPLITS
from clbench.models import MODELS, PRETRAINED
from clbench.readings import READINGS
from clbench.scenarios import SCENARIOS
from clbench.scenarios.combinators import COMBINATORS
from clbench.strategies import STRATEGIES

OWN = "clbench"
"""The origin of entries that come with the package."""
FILE = ".py:"
"""The mark of a name whose code is in a file."""
GIVEN = "given"
"""The beginning of the name of an object that a program handed over."""
READ = ("csv", "npz", "folder", "parquet")
"""Forms of data sets whose files are only read."""


@dataclass(frozen=True)
class ForeignCode:
    """Name code of a cell that is not clbench's own.

    Args:
        name: The name as the cell has it.
        source: What identifies the code; empty if the cell does not say it.
        registry: The registry that finds the name.
    """

    name: str
    source: str
    registry: Registry


class NotRunnable(Exception):
    """Report that a cell may not be run here; the message gives the reason."""


def runnable(cell: Mapping[str, Any], *, trust: bool) -> dict[str, Any]:
    """Return the configuration of a cell as it can be run here.

    Args:
        cell: The configuration in a record, from a stranger.
        trust: Whether the verifier runs code that is not clbench's own, if a copy with the same digest is here.

    Returns:
        The same configuration. A file of the verifier's takes the place of the author's path.

    Raises:
        NotRunnable: The cell needs code that is not trusted, is not here, or is another one here.
    """
    handed = [name for name in _handed_over(cell) if name]
    if handed:
        raise NotRunnable(f"a program handed over its {handed[0]}, which no record contains; it cannot be run again")
    foreign = list(foreign_code(cell))
    if foreign and not trust:
        named = ", ".join(dict.fromkeys(public(each.name) for each in foreign))
        raise NotRunnable(
            f"it uses code that is not clbench's own ({named}); if you trust this code and have it here, allow it with "
            "--trust"
        )
    here = {each.name: _here(each) for each in foreign}
    changed: dict[str, Any] = _renamed(dict(cell), {name: ours for name, ours in here.items() if name != ours})
    return changed


def _handed_over(cell: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a program handed over in place of a name: data set, stream or model."""
    stream, model = cell.get("stream") or {}, cell.get("model") or {}
    data = stream.get("dataset") or {}
    yield "stream" if str(stream.get("scenario")).startswith(GIVEN) else ""
    yield "data set" if isinstance(data, Mapping) and str(data.get("name")).startswith(GIVEN) else ""
    yield "model" if str(model.get("name")).startswith(GIVEN) else ""


def foreign_code(cell: Mapping[str, Any]) -> Iterator[ForeignCode]:
    """Yield the code of a cell that does not come with clbench. Nothing is imported for it."""
    known = list(_names(cell))
    told = {each.name for each in known}
    for each in known:
        if not _own(each):
            yield each
    for text in _texts(cell):
        if FILE in text and text not in told:
            yield ForeignCode(text, "", STRATEGIES)


def _names(cell: Mapping[str, Any]) -> Iterator[ForeignCode]:
    """Yield everything in a cell that a registry finds by its name."""
    for item in cell.get("strategy") or ():
        yield ForeignCode(str(item.get("name")), str(item.get("source") or ""), STRATEGIES)
    yield from _of_stream(cell.get("stream") or {})
    model = cell.get("model") or {}
    weights = model.get("name") == PRETRAINED  # its source says where weights are; FILE.py:NAME is found as a text
    yield ForeignCode(str(model.get("name")), "" if weights else str(model.get("source") or ""), MODELS)
    training, evaluation = cell.get("training") or {}, cell.get("evaluation") or {}
    for written, registry in (
        (training.get("optimizer"), OPTIMIZERS),
        (training.get("lr_schedule"), LR_SCHEDULES),
        ((training.get("first") or {}).get("lr_schedule"), LR_SCHEDULES),
        (evaluation.get("schedule"), EVALUATION_SCHEDULES),
        (evaluation.get("reading_schedule"), EVALUATION_SCHEDULES),
        *((reading, READINGS) for reading in evaluation.get("readings") or ()),
    ):
        yield from _of_mapping(written, registry)


def _of_stream(stream: Mapping[str, Any]) -> Iterator[ForeignCode]:
    yield ForeignCode(str(stream.get("scenario")), str(stream.get("source") or ""), SCENARIOS)
    data = stream.get("dataset")
    if isinstance(data, Mapping):
        yield ForeignCode(str(data.get("name")), str(data.get("source") or ""), DATASETS)
    for step in stream.get("apply") or ():
        for name, settings in step.items():
            held = settings or {}
            yield ForeignCode(str(name), str(held.get("source") or ""), COMBINATORS)
            if isinstance(held.get("other"), Mapping):
                yield from _of_stream(held["other"])


def _of_mapping(written: Any, registry: Registry) -> Iterator[ForeignCode]:
    """Yield the names of a schedule or optimiser: a text, or ``{name: settings, source: digest}``."""
    if isinstance(written, str):
        yield ForeignCode(written, "", registry)
    elif isinstance(written, Mapping):
        for name in written:
            if name != "source":
                yield ForeignCode(str(name), str(written.get("source") or ""), registry)


def _own(code: ForeignCode) -> bool:
    """Return whether a name is one of clbench's own code, without importing anything for it."""
    if code.source or FILE in code.name:
        return False
    if code.registry is DATASETS:
        return all(map(_own_data, parts(code.name)))
    if code.registry is MODELS and code.name.startswith("torchvision:"):
        return True
    if code.registry.scheme(code.name):
        return False
    if code.name not in code.registry:
        return True  # an unknown name runs nothing: it is refused when the cell is prepared
    return not code.registry.is_added(code.name) and code.registry.entry(code.name).origin == OWN


def _own_data(name: str) -> bool:
    form, colon, _ = name.partition(":")
    if colon:
        return form in READ and DATASETS.entry(f"{form}:PATH").origin == OWN
    if name not in DATASETS:
        return name in SPLITS or not name
    return not DATASETS.is_added(name) and DATASETS.entry(name).origin == OWN


def _texts(value: Any) -> Iterator[str]:
    """Yield all texts in a value, keys of mappings too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, held in value.items():
            yield str(name)
            yield from _texts(held)
    elif isinstance(value, list | tuple):
        for held in value:
            yield from _texts(held)


def _here(code: ForeignCode) -> str:
    """Return the name under which the verifier has the same code.

    Raises:
        NotRunnable: The code is not here, or is another one.
    """
    shown = public(code.name)
    if not code.source:
        raise NotRunnable(f"nothing in the cell identifies the code of {shown}, so that no copy here can be compared")
    name = _own_file(code) if FILE in code.name else code.name
    try:
        held = code.registry.source(name)
    except (Refused, ImportError, StopIteration) as error:
        raise NotRunnable(f"the code of {shown} is not installed here ({error})") from None
    if held != code.source:
        raise NotRunnable(
            f"the code of {shown} here is another one: its digest is {held or 'unknown'}, and the cell names "
            f"{code.source}"
        )
    return name


def _own_file(code: ForeignCode) -> str:
    """Return the name with the verifier's file: that of the path in the cell, or one of the same name in the current
    folder. It is compared by the digest of its text before it is imported."""
    before, _, attribute = code.name.rpartition(":")
    scheme = code.registry.scheme(code.name)
    written = before.removeprefix(f"{scheme}:") if scheme else before
    for path in (found(written), found(Path(written).name)):
        try:
            digest = program_text.digest(path.read_bytes())
        except OSError:
            continue
        if code.source.partition("+")[0] in (digest, digest[: len(code.source)]):
            return f"{scheme}{scheme and ':'}{path}:{attribute}"
    raise NotRunnable(
        f"no file {Path(written).name} with the digest of the cell is here; the file is looked for in this folder"
    )


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    """Return a value with some texts replaced, as keys of mappings too."""
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, Mapping):
        return {names.get(key, key): _renamed(held, names) for key, held in value.items()}
    if isinstance(value, list | tuple):
        return [_renamed(held, names) for held in value]
    return value

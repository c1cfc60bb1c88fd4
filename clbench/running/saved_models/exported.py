"""Export of saved models to one file that leaves the result directory: for clbench, plain torch, or ONNX."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from clbench.core import store
from clbench.core.errors import Refused, did_you_mean
from clbench.core.public_names import public
from clbench.running.saved_models.predictor import Saved, input_of, outline, read_out_of, unit_names

SUFFIXES = {".pt": "torch", ".pth": "torch", ".onnx": "onnx", ".pt2": "pt2"}
"""Format of a file by its suffix."""
FORMATS = tuple(dict.fromkeys(SUFFIXES.values()))


def format_of(file: Path, written: str | None = None) -> str:
    """Return the format of a file: as ``written``, or by its suffix.

    Raises:
        Refused: The format is unknown, or the file's suffix is that of another format or of none.
    """
    if written is not None and written not in FORMATS:
        raise Refused(f"there is no format {written!r} of models; {did_you_mean(written, FORMATS)}")
    found = SUFFIXES.get(file.suffix.lower())
    if found is None or written not in (None, found):
        allowed = ", ".join(f"{suffix} ({name})" for suffix, name in SUFFIXES.items() if written in (None, name))
        what = f"is no file of the format {written}" if written else "has no suffix of a model"
        raise Refused(f"{file} {what}; end its name with one of {allowed}")
    return found


def find_kept(directory: str | Path, cell: str, *, seed: int | None = None, experience: int | None = None) -> Path:
    """Return the file of a model that a run has kept.

    Args:
        directory: The result directory.
        cell: The first characters of the cell's key, or the label of its strategy.
        seed: The seed of the cell, if its strategy ran with several.
        experience: The model after this experience, from 0; by default the model at the end of the run.

    Raises:
        Refused: No cell, or several, are called so; the run did not end; or it kept no model.
    """
    directory = Path(directory).expanduser()
    records = [record for record in store.load_all(directory) if seed in (None, record.seed)]
    called = [record for record in records if record.label == cell]
    found = called or [record for record in records if record.key.startswith(cell)]
    of_seed = "" if seed is None else f" of seed {seed}"
    if not found:
        near = did_you_mean(cell, sorted({record.label for record in records}))
        raise Refused(
            f"no cell{of_seed} in {directory} has the strategy {cell!r} or a key that begins so; {near}; `clbench show "
            f"{directory}` lists all keys"
        )
    if len(found) > 1:
        some = ", ".join(f"{each.key} ({each.label}, seed {each.seed})" for each in found[:4])
        raise Refused(
            f"{cell!r} means {len(found)} cells in {directory}, and exactly one is exported: {some}"
            f"{', ...' if len(found) > 4 else ''}; add --seed N, or give the first characters of one key"
        )
    record = found[0]
    if record.status != "done":
        raise Refused(
            f"cell {record.key} ({record.label}, seed {record.seed}) is {record.status} and has no model; export a "
            "cell that is done"
        )
    path = store.model_path(record.key, directory)
    if experience is not None:
        last = record.trace.n_experiences - 1 if record.trace is not None else 0
        if not 0 <= experience <= last:
            raise Refused(f"experience {experience} does not exist; this stream has experiences 0 to {last}")
        path = store.end_path(path, experience)
    if not path.exists():
        option = "--save-model" if experience is None else "--save-model ends"
        raise Refused(
            f"the run of cell {record.key} ({record.label}, seed {record.seed}) kept no such model; repeat the command "
            f"that made {directory} with {option}, which runs the cells without a kept model again"
        )
    return path


def export_model(
    directory: str | Path,
    cell: str,
    file: str | Path,
    *,
    seed: int | None = None,
    format: str | None = None,
    experience: int | None = None,
    trust: bool = False,
) -> Path:
    """Export the model of one cell to a file that needs neither the benchmark nor its data.

    Args:
        directory: The result directory of a run with ``save_model=True`` (``--save-model``).
        cell: The first characters of the cell's key, or the label of its strategy.
        file: The file to write: ``.pt`` for :func:`clbench.load_model` and ``torch.load``, ``.onnx`` for ONNX, ``.pt2``
            for ``torch.export.load``.
        seed: The seed, if the strategy ran with several.
        format: ``torch``, ``onnx`` or ``pt2``; by default as the file's name ends.
        experience: Which model, if the run kept one after each experience; by default the last.
        trust: As in :func:`clbench.load_model`; needed for ``onnx`` and ``pt2`` if the network is foreign code.

    Returns:
        The file.

    Raises:
        Refused: There is no such model, or this format cannot hold it.
    """
    from clbench.running.saved_models.unpack import is_given, loaded, read_kept

    file = Path(file).expanduser()
    chosen, kept = format_of(file, format), find_kept(directory, cell, seed=seed, experience=experience)
    held = read_kept(kept)
    if chosen == "torch":
        store.write_or_refuse(file, torch_content(held))
        return file
    if is_given(held):
        own = str(held["cell"]["model"]["name"])
        raise Refused(
            f"the network was given in Python ({own.partition(':')[2]}), and a graph needs its code; write "
            f'clbench.load_model("{kept}", model=...).export("{file.name}")'
        )
    if held["foreign"] and not trust:
        raise Refused(
            f"{chosen} needs the code of {', '.join(held['foreign'])}, which is not clbench's; if you trust it, add "
            "--trust (trust=True in Python)"
        )
    return export(loaded(held, kept, trust=trust), file, chosen)


def export(saved: Saved, file: Path, format: str) -> Path:
    """Write a loaded model to a file of a format; errors as in :func:`export_model`."""
    from clbench.running.saved_models import prediction_graph

    writers: dict[str, Callable[[Saved], bytes]] = {
        "torch": lambda saved: torch_content(saved._held),
        "onnx": prediction_graph.onnx_model,
        "pt2": prediction_graph.exported_program,
    }
    store.write_or_refuse(file, writers[format](saved))
    return file


def torch_content(held: Mapping[str, Any]) -> bytes:
    """Return the bytes of an exported file: what :func:`clbench.load_model` reads, and a part for plain torch.

    The part for plain torch are the keys ``state_dict``, ``classes``, ``seen``, ``competing``, ``tasks``, ``input`` and
    ``read_out``. Folders of this machine are left out.
    """
    stream, hidden = outline(held), held["hidden"]
    parameters = {**held.get("model", {}).get("parameters", {}), **held.get("model", {}).get("buffers", {})}
    if "state_dict" not in held:  # of an earlier clbench, under the names of its wrapper
        wrapped = parameters and all(name.startswith("module.") for name in parameters)
        parameters = {name.removeprefix("module.") if wrapped else name: each for name, each in parameters.items()}
    content = {
        **held,
        "label": public(held["label"]),
        "cell": public(held["cell"]),
        "data": {**held["data"], "name": public(held["data"]["name"])},
        "foreign": public(held["foreign"]),
        "state_dict": held.get("state_dict", parameters),
        "classes": list(unit_names(stream)),
        "seen": held["seen"],
        "competing": torch.ones_like(held["seen"]) if hidden is None else ~hidden,
        "tasks": [
            {"name": task.name, "units": list(task.classes)} for task in (stream.tasks if stream.task_labels else ())
        ],
        "input": input_of(held),
        "read_out": read_out_of(held),
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()

"""Writing of saved models."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

import clbench
from clbench.adapters.online_learner import OnlineLearner
from clbench.adapters.run_setup import Job
from clbench.core import store
from clbench.core.errors import Refused
from clbench.core.global_rng import preserved
from clbench.core.notices import notice
from clbench.core.types import Dataset
from clbench.evaluate.predictions import Predictions
from clbench.models.blank import Blank
from clbench.models.wrap import Headed
from clbench.running.cell_key import Cell
from clbench.running.prepared_run import Run
from clbench.running.saved_models import source_weights
from clbench.strategies.part import defines
from clbench.training.batch import ROW, VIEW
from clbench.training.device_rows import Augment

FORMAT = 1
"""Version of the layout of a model's file."""

READS_OUT = ("build", "answer", "predict")
"""Hooks that make a part and its state a part of the predictor."""


def save(job: Job, cell: Cell, path: Path, *, experience: int | None = None) -> None:
    """Write the current predictor to a file, atomically.

    Args:
        job: The run.
        cell: The cell of the run.
        path: The file.
        experience: Number of the last experience; ``None`` for the end of the run.

    Raises:
        OSError: The place cannot be written; no part of the file is left behind.
    """
    buffer = io.BytesIO()
    torch.save(packed(job, cell, experience=experience), buffer)
    store.write(path, buffer.getvalue())


class Keeper:
    """Keep the requested files of a run. If a file cannot be written, a sentence reports it, and the run continues.

    Args:
        cell: The cell of the run.
        keep: The requested files, and their directory.
    """

    def __init__(self, cell: Cell, keep: store.Keep) -> None:
        self.cell, self.keep = cell, keep
        self.path = store.model_path(cell.key, keep.folder)
        self.job: Job | None = None

    def watch(self, job: Job) -> None:
        """Prepare to keep the files of this run, which has not begun."""
        self.job = job
        if self.keep.predictions:
            job.evaluator.predictions = Predictions()
        if self.keep.ends:
            job.evaluator.ended.append(lambda experience: self._end(job, experience))

    def _end(self, job: Job, experience: int) -> None:
        path = store.end_path(self.path, experience)
        self._try(f"the model after experience {experience}", lambda: save(job, self.cell, path, experience=experience))

    def finish(self) -> None:
        """Keep the files of a finished run."""
        job = self.job
        if job is None:
            return
        if self.keep.model:
            self._try("the model", lambda: save(job, self.cell, self.path))
        table = job.evaluator.predictions
        if table is not None:
            path = store.predictions_path(self.cell.key, self.keep.folder)
            self._try("the predictions", lambda: store.write(path, table.encoded()))

    def _try(self, what: str, write: Callable[[], Any]) -> None:
        try:
            write()
        except Exception as error:
            why = str(error) if isinstance(error, Refused) else f"{type(error).__name__}: {error}"
            why = (error.strerror or why) if isinstance(error, OSError) else why
            notice(
                f"{self.cell.label}, seed {self.cell.seed}: {what} could not be kept in {self.keep.folder} ({why}); "
                "the record is kept, and the same command runs the cell again for it"
            )


def packed(job: Job, cell: Cell, *, experience: int | None = None) -> dict[str, Any]:
    """Return the content of a file: tensors, numbers, texts, and lists and dicts of them."""
    stream, settings = job.stream, cell.config
    dataset = stream.dataset
    label_map = None if stream.label_map is None else torch.from_numpy(np.asarray(stream.label_map, dtype=np.int64))
    held = {
        "clbench model": FORMAT,
        "version": clbench.__version__,
        "key": cell.key,
        "label": cell.label,
        "cell": dict(settings),
        "experience": len(stream) - 1 if experience is None else experience,
        "data": {
            "name": dataset.name,
            "shape": list(dataset.shape),
            "type": str(dataset.train.x.dtype),
            "scale": float(dataset.scale),
            "mean": [float(v) for v in dataset.mean],
            "std": [float(v) for v in dataset.std],
            "class_names": list(dataset.class_names),
            **({"input_names": list(dataset.input_names)} if dataset.input_names else {}),
            **_of_targets(dataset),
        },
        "stream": {
            "name": stream.name,
            "length": len(stream),
            "n_outputs": stream.n_outputs,
            "task_labels": stream.task_labels,
            "output": stream.output,
            "tasks": [[task.name, [int(c) for c in task.classes]] for task in stream.tasks],
            "label_map": label_map,
        },
        "rows_at_a_time": job.evaluator.rows_at_a_time,
    }
    body = _packed_run(job, settings["model"]) if isinstance(job, Run) else cast(Any, job).packed()
    return {**held, "foreign": _foreign(settings, body), **body}


def _of_targets(dataset: Dataset) -> dict[str, Any]:
    """Return the content of a file for a data set whose targets are not labels, or whose inputs are tokens."""
    tokens = {"tokens": True} if dataset.tokens else {}
    if dataset.family == "classification":
        return tokens
    held = {name: list(getattr(dataset, name)) for name in ("target_names", "target_mean", "target_std")}
    return {"family": dataset.family, **held, **tokens}


def _foreign(settings: Mapping[str, Any], body: Mapping[str, Any]) -> list[str]:
    """Return the names of objects that a prediction needs and whose code is neither in clbench nor in an installed
    plugin.

    A strategy is needed only if a part of it reads out; otherwise the network alone predicts.
    """
    names = [str(item["name"]) for item in settings["strategy"]] if body.get("parts", True) else []
    found = [name for name in names if ".py:" in name or name.partition(":")[0] in ("avalanche", "sklearn", "observe")]
    model = str(settings["model"].get("name", ""))
    return found + [model] * (".py:" in model)


def _packed_run(run: Run, network: Mapping[str, Any]) -> dict[str, Any]:
    learner, parts = run.learner, run.chain.parts
    readers = [number for number, part in enumerate(parts) if any(defines(part, hook) for hook in READS_OUT)]
    task = torch.zeros(1, dtype=torch.int64, device=learner.device)
    competes = None if learner.classes.task_labels else learner.classes.mask_of_tasks(task).competes
    named: dict[str, dict[str, Tensor]] = {
        "parameters": dict(learner.model.named_parameters()),
        "buffers": dict(learner.model.named_buffers()),
    }
    outside = source_weights.left_out(learner.model, network, run.stream.dataset.shape, run.stream.n_outputs)
    tensors = {
        kind: {name: t.detach().cpu().clone() for name, t in each.items() if id(t) not in outside}
        for kind, each in named.items()
    }
    named["state_dict"] = _own_names(learner.model)
    of_source = {
        kind: {name: outside[id(t)] for name, t in each.items() if id(t) in outside} for kind, each in named.items()
    }
    return {
        "model": {"kind": "blank" if isinstance(learner.model, Blank) else "module", **tensors},
        "state_dict": _under_own_names(learner.model, {**tensors["parameters"], **tensors["buffers"]}),
        **({"of_source": of_source} if outside else {}),
        "seen": learner.classes.seen.cpu().clone(),
        "hidden": None if competes is None else ~competes.reshape(-1).cpu(),
        "running": learner.experience,
        "optimizers": len(run.trainer.steps.others),
        "probabilities": any(isinstance(part, OnlineLearner) for part in parts),
        "parts": {
            number: {"state": _on_cpu(parts[number].save()), "generator": parts[number].generator.state}
            for number in readers
        },
        "memory": _on_cpu(learner.memory.state) if readers and learner.memory.size else None,
        "rows": _rows(run) if readers else None,
    }


def _under_own_names(model: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights and buffers of the user's network, as ``load_state_dict`` of that network takes them.

    Args:
        model: The network, or our wrapper of it.
        tensors: The weights and buffers to save, by the names that ``model`` gives them; they are not copied again.
    """
    named = (*model.named_parameters(), *model.named_buffers())
    held = {id(tensor): tensors[name] for name, tensor in named if name in tensors}
    return {name: held[id(tensor)] for name, tensor in _own_names(model).items() if id(tensor) in held}


def _own_names(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights and buffers of the user's network by its own names; a shared weight has several."""
    if isinstance(model, Blank):
        return {}
    own = model.module if isinstance(model, Headed) else model
    return dict(own.state_dict(keep_vars=True))


def _rows(run: Run) -> dict[str, Tensor] | None:
    """Return the training samples that a prediction needs, as the model sees them, with those of the replay buffer.

    The result is ``None`` if predictions need none.
    """
    learner, readout, rows = run.learner, run.trainer.readout, run.learner._rows
    asked: list[Tensor] = []
    present = rows.present

    def noting(row: Tensor, view: Tensor, *, augment: Augment | None = None) -> Tensor:
        asked.append(torch.stack([row, view]))
        return present(row, view, augment=augment)

    account, scratch = dict(vars(learner.cost)), dict(learner.scratch)
    task = torch.zeros(1, dtype=torch.int64, device=learner.device) if learner.classes.task_labels else None
    kind = torch.int64 if run.stream.dataset.tokens else None
    x = torch.zeros(1, *run.stream.dataset.shape, device=learner.device, dtype=kind)
    learner.scratch.clear()
    rows.__dict__["present"] = noting
    try:
        with preserved(), learner.side_work.undisturbed(training=False), torch.inference_mode():
            readout.predict(readout.output(x, task), task)
    finally:
        del rows.__dict__["present"]
        learner.scratch.clear()
        learner.scratch.update(scratch)
        vars(learner.cost).update(account)
    if not asked:
        return None
    both = torch.cat([*asked, learner.memory.all().index[[ROW, VIEW]]], dim=1)
    both = torch.unique(both, dim=1)  # (2, n)
    with learner.side_work.undisturbed(training=False), torch.no_grad():
        shown = torch.cat([present(r, v) for r, v in zip(both[0].split(512), both[1].split(512), strict=True)])
    return {"row": both[0].cpu(), "view": both[1].cpu(), "x": shown.cpu()}


def _on_cpu(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().cpu().clone()
    if isinstance(value, dict):
        return {name: _on_cpu(each) for name, each in value.items()}
    return [_on_cpu(each) for each in value] if isinstance(value, list) else value

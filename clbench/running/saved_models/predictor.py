"""The predictor of a saved model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from clbench import families
from clbench.core.errors import Refused
from clbench.core.global_rng import preserved
from clbench.core.types import Dataset, Experience, Rows, Stream, Task
from clbench.evaluate.evaluator import outputs
from clbench.evaluate.subject import Subject
from clbench.families.class_mask import ALL, ClassMask
from clbench.strategies.part import defines
from clbench.strategies.strategy import Strategy
from clbench.training.device_rows import Resident


class Saved:
    """Predict as the run did when the model was saved.

    Samples are given as the data set stores them; scaling and normalisation are included. If the data set holds 8-bit
    images, integers are such values, 0 to 255, and floats are values in [0, 1]. If a stream presents samples in views
    (permuted, rotated), samples are given as presented.

    Attributes:
        label: Label of the strategy.
        cell: The cell's configuration.
        experience: The last experience before the model was saved, from 0.
        shape: Shape of a sample.
        classes: Name of each output unit, or of each column of numbers; classes that share a unit are joined by ``/``.
        tasks: Names of the tasks if the model gets task labels; else none.
        seen: (C,) bool, output units whose class had been met.
        input: ``shape`` and ``type`` of a sample as the data set stores it; ``scale``, by which they are
            multiplied (``None`` for tokens); ``mean`` and ``std``, which normalise them; ``features``, the settings of
            the frozen network that made the samples, or ``None``; and for a table the ``names`` of its input values.
        read_out: ``network`` if the network and the class mask alone predict; else which part of the strategy does.
    """

    def __init__(self, held: Mapping[str, Any], subject: Subject) -> None:
        self._subject, self._held = subject, held
        self._stream = outline(held)
        self.label: str = held["label"]
        self.cell: dict[str, Any] = held["cell"]
        self.experience: int = held["experience"]
        self.shape: tuple[int, ...] = self._stream.dataset.shape
        self.classes = unit_names(self._stream)
        self.tasks = tuple(task.name for task in self._stream.tasks) if self._stream.task_labels else ()
        self.seen: NDArray[np.bool_] = held["seen"].numpy().copy()
        self._own = torch.zeros(len(self._stream.tasks), self._stream.n_outputs, dtype=torch.bool)
        for task in self._stream.tasks if families.of(self._stream.dataset).has_classes else ():
            self._own[task.id, list(task.classes)] = True
        self._rows = Resident(self._stream.dataset.train, self._stream.dataset)
        self.family = self._rows.family
        self.input, self.read_out = input_of(held), read_out_of(held)

    def __repr__(self) -> str:
        benchmark = self.cell["benchmark"]
        return (
            f"Saved({self.label} on {benchmark['name']}@{benchmark['version']}, seed {self.cell['seed']}, after "
            f"experience {self.experience}; rows {self.shape}, {len(self.classes)} outputs)"
        )

    @property
    def module(self) -> nn.Module:
        """Return the network, which returns ``Output(logits, features)`` for scaled and normalised samples."""
        return self._subject.modules[0]

    def export(self, file: str | Path, format: str | None = None) -> Path:
        """Write the model to a file, as :func:`clbench.export_model` does.

        Args:
            file: The file; ``.pt`` for torch, ``.onnx`` for ONNX, ``.pt2`` for ``torch.export.load``.
            format: ``torch``, ``onnx`` or ``pt2``; by default as the file's name ends.

        Raises:
            Refused: The format cannot hold this model.
        """
        from clbench.running.saved_models import exported

        file = Path(file).expanduser()
        return exported.export(self, file, exported.format_of(file, format))

    def scores(self, x: Any, task: Any = None) -> Tensor:
        """Return scores (B, C) float32, -inf for classes that do not compete; the class with the highest is predicted.

        Args:
            x: (B, *shape) samples, a NumPy array or tensor; grey images may be (B, H, W), images (B, H, W, channels).
            task: The task of all samples, or (B,) of each, if the model gets task labels; else ``None``.

        Raises:
            Refused: Samples have another shape or range, or tasks are missing, unknown, or given where they are hidden.
        """
        scores, mask = self._read_out(x, task)
        return mask.masked(scores)

    def _read_out(self, x: Any, task: Any) -> tuple[Tensor, ClassMask]:
        """Return scores (B, C) of all classes, and the class mask."""
        rows = self._inputs(x)
        tasks, subject, size = self._tasks(task, len(rows)), self._subject, self._held["rows_at_a_time"]
        halved = self.cell["evaluation"].get("precision") == "bfloat16"
        found = [torch.zeros(0, self._stream.n_outputs)]
        subject.scratch.clear()
        with preserved(), subject.undisturbed(training=False), torch.inference_mode():
            for start in range(0, len(rows), size):
                own = None if tasks is None else tasks[start : start + size]
                output = outputs(subject, rows[start : start + size], own, halved=halved)
                found.append(subject.predict(output, own).float())
        hidden = self._held["hidden"]
        mask = ClassMask(self._own[tasks]) if tasks is not None else ALL if hidden is None else ClassMask(~hidden)
        return torch.cat(found).clone(), mask

    def predict(self, x: Any, task: Any = None) -> Any:
        """Return the output unit (B,) int64 of each sample; ``model.classes[unit]`` is its name.

        It is a tensor for a tensor, otherwise an array. Arguments are as in :meth:`scores`. A model that predicts
        numbers returns them, (B, D) in the units of the data set.
        """
        answer = self.family.answer(self.scores(x, task), ALL).numpy()
        found = self.family.readable(answer)
        return torch.from_numpy(found) if isinstance(x, Tensor) else found

    def predict_proba(self, x: Any, task: Any = None) -> Any:
        """Return probabilities (B, C) float32, 0 for classes that do not compete. Arguments are as in :meth:`predict`.

        They are the softmax of scores, as in the loss. If an estimator or another library's learner returns
        probabilities, these are used; if it returns only labels, a label has probability 1. Scores that are not logits,
        such as distances to class means, give an order without calibration.

        Raises:
            Refused: The model predicts numbers, which have no probabilities; or as in :meth:`scores`.
        """
        if not self.family.has_classes:
            raise Refused(f"this model is of the family {self.family.name!r}, which has no classes; use predict")
        scores, mask = self._read_out(x, task)
        competing = mask.masked(scores)
        found = competing.softmax(1)
        if self._held.get("probabilities"):
            told = competing.clamp(min=0.0)
            total = told.sum(1, keepdim=True)
            whole = (scores >= 0).all() and ((scores.sum(1) - 1).abs() < 1e-3).all()
            if bool(whole):
                found = torch.where(total > 0, told / total.clamp(min=1e-12), found)
        return self._as(found, x)

    @staticmethod
    def _as(values: Tensor, like: Any) -> Any:
        return values if isinstance(like, Tensor) else values.numpy()

    def _inputs(self, x: Any) -> Tensor:
        """Convert inputs to samples (B, *shape), scaled and normalised."""
        try:
            rows = torch.as_tensor(x).detach().cpu()
        except (TypeError, ValueError, RuntimeError) as error:
            raise Refused(
                f"x is no array of numbers ({error}); give samples of shape (samples, {_sizes(self.shape)})"
            ) from None
        rows = _laid_out(rows, self.shape)
        if self._stream.dataset.tokens:
            return rows.to(torch.int64)
        scale = self._stream.dataset.scale
        whole = not rows.is_floating_point()
        values = rows.to(torch.float32)
        if scale != 1.0 and not whole and len(rows) and (float(values.min()) < -1e-3 or float(values.max()) > 1.001):
            raise Refused(
                f"x holds floats from {float(values.min()):g} to {float(values.max()):g}; this data set is of 8-bit "
                "images: give whole numbers from 0 to 255 (x.astype('uint8')), or floats in [0, 1]"
            )
        if whole:
            values = values * scale
        return self._rows.normalised(values)

    def _tasks(self, task: Any, rows: int) -> Tensor | None:
        if not self._stream.task_labels:
            if task is not None:
                raise Refused("task = ... is given, and this model has no task labels; leave it out")
            return None
        last = len(self._stream.tasks) - 1
        if task is None:
            raise Refused(f"this model needs the task of each sample: give task=, 0 to {last}, for all or each")
        tasks = torch.as_tensor(task, dtype=torch.int64).expand(rows).clone()
        if rows and not 0 <= int(tasks.min()) <= int(tasks.max()) <= last:
            raise Refused(f"task = {task!r} is not known; tasks are numbered from 0 to {last}")
        return tasks


def _laid_out(rows: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Reshape samples to (B, *shape); images may come without their one channel or with channels last."""
    if rows.dim() == len(shape) + 1 and tuple(rows.shape[1:]) == shape:
        return rows
    if len(shape) == 3 and shape[0] == 1 and tuple(rows.shape[1:]) == shape[1:]:
        return rows[:, None]
    if len(shape) == 3 and rows.dim() == 4 and tuple(rows.shape[1:]) == (*shape[1:], shape[0]):
        return rows.permute(0, 3, 1, 2)
    raise Refused(f"x has shape {tuple(rows.shape)}; this model takes samples of shape (samples, {_sizes(shape)})")


def _sizes(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))


def unit_names(stream: Stream) -> tuple[str, ...]:
    """Return the name of each output unit; classes that share a unit are joined by ``/``."""
    if not families.of(stream.dataset).has_classes:
        return stream.dataset.target_names
    names = stream.dataset.class_names
    if stream.label_map is None:
        return tuple(names) + tuple(f"unit {unit}" for unit in range(len(names), stream.n_outputs))
    held = [
        [name for c, name in enumerate(names) if (stream.label_map[:, c] == unit).any()]
        for unit in range(stream.n_outputs)
    ]
    return tuple("/".join(each) if each else f"unit {unit}" for unit, each in enumerate(held))


def input_of(held: Mapping[str, Any]) -> dict[str, Any]:
    """Return how a saved model takes its samples: shape, type, scale, mean, standard deviation, features, names."""
    data = held["data"]
    whole = np.issubdtype(np.dtype(data["type"]), np.integer)
    features = held["cell"]["stream"].get("dataset", {}).get("features")
    names = data.get("input_names", ())
    return {
        "shape": list(data["shape"]),
        "type": data["type"],
        "scale": None if data.get("tokens", False) else data["scale"] if whole else 1.0,
        "mean": list(data["mean"]),
        "std": list(data["std"]),
        "features": features,
        **({"names": list(names)} if names else {}),
    }


def read_out_of(held: Mapping[str, Any]) -> str:
    """Return ``network``, or which part of the strategy reads out instead."""
    if "parts" not in held:
        return f"the strategy {held['label']} of another library predicts with its own objects"
    if not held["parts"]:
        return "network"
    if held["foreign"]:
        return f"a part of {held['label']} computes or changes the scores"
    parts = Strategy.of(held["cell"]["strategy"]).parts()
    readers = [part for number in held["parts"] if defines(part := parts[number], "answer") or defines(part, "predict")]
    if not readers:  # they only built the network
        return "network"
    return " and ".join(
        f"{part.title} {'answers instead of the network' if defines(part, 'answer') else 'changes its scores'}"
        for part in readers
    )


def outline(held: Mapping[str, Any]) -> Stream:
    """Return the stream as far as it is known: its tasks and outputs, without samples."""
    data, told = held["data"], held["stream"]
    target = np.zeros((0, len(data["target_names"])), dtype=np.float32) if "target_names" in data else None
    none = Rows(np.zeros((0, *data["shape"]), dtype=data["type"]), np.zeros(0, dtype=np.int64), target)
    dataset = Dataset(
        data["name"],
        none,
        none,
        tuple(data["class_names"]),
        data["scale"],
        "",
        tuple(data["mean"]),
        tuple(data["std"]),
        family=data.get("family", "classification"),
        tokens=data.get("tokens", False),
        **{name: tuple(data[name]) for name in ("target_names", "target_mean", "target_std") if name in data},
    )
    nothing = np.zeros(0, dtype=np.int64)
    return Stream(
        name=told["name"],
        dataset=dataset,
        tasks=tuple(Task(i, name, nothing, tuple(classes)) for i, (name, classes) in enumerate(told["tasks"])),
        length=told["length"],
        build=lambda position: Experience(position, nothing, 0, 0, ()),
        n_outputs=told["n_outputs"],
        seed=held["cell"]["seed"],
        description={},
        task_labels=told["task_labels"],
        label_map=None if told["label_map"] is None else told["label_map"].numpy(),
        output=told["output"],
    )

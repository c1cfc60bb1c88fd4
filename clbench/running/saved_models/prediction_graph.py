"""A saved model as one module without clbench's code around it: scaling, normalisation, network and class mask.

Letters: B samples, C outputs, D columns of numbers, T tasks.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from clbench.core.errors import Refused
from clbench.core.public_names import public
from clbench.families.classification import Classification
from clbench.families.regression import Regression
from clbench.models.output import Output
from clbench.models.wrap import Headed
from clbench.running.saved_models.predictor import Saved

METADATA = "clbench.json"
"""Name of the description in a file: classes, shape, tasks, and where the model comes from."""


class PredictionGraph(nn.Module):
    """Compute what a saved model answers, from samples as the data set stores them.

    Args:
        saved: A model whose network alone predicts.
    """

    mean: Tensor | None
    std: Tensor | None
    competing: Tensor | None
    unit_mean: Tensor | None
    unit_std: Tensor | None

    def __init__(self, saved: Saved) -> None:
        super().__init__()
        network = saved.module
        self.network = copy.deepcopy(network.module if isinstance(network, Headed) else network)
        for parameter in self.network.parameters():  # views of one vector become tensors of their own
            parameter.data = parameter.data.clone()
            parameter.requires_grad_(False)
        floats = np.issubdtype(np.dtype(saved.input["type"]), np.floating)
        self.scale = None if floats else saved.input["scale"]
        values = (saved.input["mean"], saved.input["std"])
        by_channel = (1, -1, *(1 for _ in saved.shape[1:]))
        mean, std = (torch.tensor(each, dtype=torch.float32).reshape(by_channel) if each else None for each in values)
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.register_buffer("competing", _competing(saved))  # (C,), or (T, C)
        units = saved.family if isinstance(saved.family, Regression) else None
        for name in ("mean", "std"):
            unit = None if units is None else torch.tensor(getattr(units, name), dtype=torch.float32)
            self.register_buffer(f"unit_{name}", unit)

    def forward(self, x: Tensor, task: Tensor | None = None) -> Tensor:
        """Return scores (B, C), -inf for classes that do not compete; or numbers (B, D) in the data set's units.

        Args:
            x: (B, *shape) samples of the type of the data set.
            task: (B,) int64 tasks, if the model has task labels.
        """
        if self.scale is not None:
            x = x.to(torch.float32) * self.scale
        if self.mean is not None and self.std is not None:
            x = (x - self.mean) / self.std
        output = self.network(x)
        logits: Tensor = output.logits if isinstance(output, Output) else output
        if self.unit_mean is not None and self.unit_std is not None:
            return logits * self.unit_std + self.unit_mean
        if self.competing is None:
            return logits
        competing = self.competing if task is None else self.competing[task]
        return torch.where(competing, logits, torch.full_like(logits, -torch.inf))


def _competing(saved: Saved) -> Tensor | None:
    """Return the class mask, (T, C) if it depends on the task; ``None`` if all outputs compete."""
    if saved.tasks:
        return saved._own.clone()
    hidden = saved._held["hidden"]
    return None if hidden is None or not bool(hidden.any()) else ~hidden


def _examples(saved: Saved) -> tuple[Tensor, ...]:
    kind = torch.from_numpy(np.zeros(0, dtype=saved.input["type"])).dtype
    x = torch.zeros(3, *saved.shape, dtype=kind)
    return (x, torch.zeros(3, dtype=torch.int64)) if saved.tasks else (x,)


def description(saved: Saved) -> dict[str, Any]:
    """Return what a program has to know to use the graph, as plain data."""
    told = saved.cell["benchmark"]
    return {
        "classes": list(saved.classes),
        "seen": saved.seen.tolist(),
        "tasks": list(saved.tasks),
        "input": {name: saved.input[name] for name in ("shape", "type", "features", "names") if name in saved.input},
        "output": "scores" if saved.family.has_classes else "numbers",
        "strategy": public(saved.label),
        "benchmark": f"{told['name']}@{told['version']}",
        "seed": saved.cell["seed"],
        "key": saved._held["key"],
        "clbench": saved._held["version"],
    }


def _program(saved: Saved, how: Callable[[nn.Module, tuple[Tensor, ...], dict[str, Any]], Any], needs: str) -> Any:
    """Trace the graph of a model for any number of samples.

    Raises:
        Refused: A part of the strategy reads out, or the network cannot be traced.
    """
    if saved.read_out != "network":
        raise Refused(
            f"{saved.label} does not predict by its network alone: {saved.read_out}; choose --format torch, "
            "which holds all that predicts"
        )
    if not isinstance(saved.family, Classification | Regression):
        raise Refused(
            f"the answers of the family {saved.family.name!r} come from code of its own; choose --format torch"
        )
    batch = torch.export.Dim("batch")
    shapes: dict[str, Any] = {"x": {0: batch}, **({"task": {0: batch}} if saved.tasks else {})}
    graph, examples = PredictionGraph(saved).eval(), _examples(saved)
    try:
        with torch.enable_grad():  # without gradients, small batches would take another kernel than large ones
            return how(graph, examples, shapes)
    except ImportError as error:
        raise Refused(f"{needs} is missing ({error}); pip install 'clbench[onnx]'") from None
    except Exception as error:
        first = next(iter(str(error).strip().splitlines()), "")
        raise Refused(
            f"the network of {saved.label} cannot be written as a graph ({type(error).__name__}: {first}); avoid "
            "Python branches on values of tensors in its forward, or choose --format torch"
        ) from error


def exported_program(saved: Saved) -> bytes:
    """Return the bytes of a ``torch.export`` program, for ``torch.export.load``."""
    import io

    program = _program(
        saved, lambda graph, x, shapes: torch.export.export(graph, x, dynamic_shapes=shapes), "torch.export"
    )
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={METADATA: json.dumps(description(saved))})
    return buffer.getvalue()


def onnx_model(saved: Saved) -> bytes:
    """Return the bytes of an ONNX model with inputs ``x`` and, with task labels, ``task``.

    Its only output is ``scores`` or ``numbers``. Its metadata holds the description under ``clbench``.

    Raises:
        Refused: The packages onnx and onnxscript are missing, or as in :func:`exported_program`.
    """
    import warnings

    out = "scores" if saved.family.has_classes else "numbers"
    names = ["x", "task"] if saved.tasks else ["x"]

    def export(graph: nn.Module, examples: tuple[Tensor, ...], shapes: dict[str, Any]) -> Any:
        import onnxscript  # noqa: F401 torch needs it

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.onnx.export(
                graph, examples, input_names=names, output_names=[out], dynamic_shapes=shapes, dynamo=True,
                verbose=False,
            )  # fmt: skip

    program = _program(saved, export, "a package for ONNX")
    import onnx

    proto = program.model_proto
    onnx.helper.set_model_props(proto, {"clbench": json.dumps(description(saved))})
    content: bytes = proto.SerializeToString()
    return content

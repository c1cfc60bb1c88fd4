"""A pickled strategy of avalanche-lib that only predicts: without its samples and its learning state."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Mapping
from typing import Any

import cloudpickle
import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from clbench.adapters.avalanche.library import AvalancheDataset, EvaluationPlugin, ExemplarsBuffer
from clbench.adapters.avalanche.loop_listener import Listener
from clbench.adapters.avalanche.memory_use import LEFT_OUT
from clbench.adapters.avalanche.stream_experiences import Experiences, Meter, Rows
from clbench.adapters.avalanche.to_avalanche import ShownBenchmark, ShownExperience
from clbench.adapters.run_setup import RunSetup
from clbench.core.types import Dataset, Stream
from clbench.evaluate import Evaluator
from clbench.training.device_rows import Resident

NOT_PREDICTING = (
    AvalancheDataset, DataLoader, Dataset, EvaluationPlugin, Evaluator, ExemplarsBuffer, Experiences, Listener,
    Optimizer, Resident, Rows, ShownBenchmark, ShownExperience, Stream, RunSetup,
)  # fmt: skip
"""Attributes that are left out of any object: samples, and the state of learning."""
EVENTS = ("after_eval_forward", "after_eval_iteration")
"""Events at which a plugin may change a prediction."""


class _Pickler(cloudpickle.Pickler):
    """Pickle without attributes that do not predict, with tensors on the CPU."""

    def persistent_id(self, obj: Any) -> Any:
        return "left out" if isinstance(obj, NOT_PREDICTING) else None

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, Tensor) and obj.device.type != "cpu":
            return obj.detach().cpu().__reduce_ex__(pickle.HIGHEST_PROTOCOL)
        return super().reducer_override(obj)


class _Unpickler(pickle.Unpickler):
    def persistent_load(self, _: Any) -> None:
        return None


def frozen(strategy: Any) -> Tensor:
    """Return the pickled predictor of a strategy, as bytes (n,) uint8.

    Raises:
        Exception: An object in it cannot be pickled.
    """
    thin = copy.copy(strategy)
    for name in (LEFT_OUT - {"model"}) & vars(thin).keys():
        setattr(thin, name, None)
    thin.plugins = [plugin for plugin in strategy.plugins if _speaks(plugin)]
    thin.device = torch.device("cpu")
    buffer = io.BytesIO()
    _Pickler(buffer).dump(thin)
    return torch.frombuffer(bytearray(buffer.getvalue()), dtype=torch.uint8)


def _speaks(plugin: Any) -> bool:
    from clbench.adapters.avalanche.avalanche_run import BOOKKEEPERS
    from clbench.adapters.avalanche.library import BasePlugin

    if isinstance(plugin, BOOKKEEPERS):
        return False
    return any(getattr(type(plugin), event, None) is not getattr(BasePlugin, event, None) for event in EVENTS)


def thawed(held: Mapping[str, Any], stream: Stream) -> Any:
    """Restore the result of :func:`frozen` for an evaluator.

    Args:
        held: The file's content.
        stream: The stream as far as it is known.
    """
    from clbench.adapters.avalanche.avalanche_run import AvalancheSubject
    from clbench.core.cost import Cost

    strategy = _Unpickler(io.BytesIO(held["avalanche"].numpy().tobytes())).load()
    subject = AvalancheSubject(strategy, stream, "cpu", Cost(), Meter())
    subject.seen.copy_(held["seen"])
    return subject

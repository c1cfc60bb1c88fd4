"""What is predicted for every evaluation sample when experiences end, if the settings ask for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from clbench.core.record import TOP
from clbench.core.types import Index


def best(scores: Tensor, chosen: Tensor) -> Tensor:
    """Return the (B, k) units with the highest scores (B, C), the ``chosen`` one (B,) first.

    It is -1 for those that do not compete (-inf). k is :data:`clbench.core.record.TOP`, or C if there are fewer.
    """
    first = scores.scatter(1, chosen[:, None], torch.inf)  # of equal scores the chosen one is first
    found = first.topk(min(TOP, scores.shape[1]), dim=1)
    return found.indices.masked_fill(found.values == -torch.inf, -1)


class Predictions:
    """Hold a table that grows by the evaluation samples of each evaluation at the end of an experience."""

    def __init__(self) -> None:
        self._looks: list[dict[str, Any]] = []

    def note(self, *, step: int, experience: int, task: Index, row: Index, label: Tensor, top: Tensor) -> None:
        """Add an evaluation.

        Args:
            step: Optimiser steps before it.
            experience: The experience that ended.
            task: (n,) task of each sample.
            row: (n,) its number in the evaluation split.
            label: (n,) its output unit.
            top: (n, k) the units with the highest scores, the predicted one first.
        """
        wide = torch.full((len(top), TOP), -1, dtype=torch.int32)
        wide[:, : top.shape[1]] = top.cpu()
        held = {
            "task": torch.from_numpy(np.ascontiguousarray(task)),
            "row": torch.from_numpy(np.ascontiguousarray(row)),
        }
        self._looks.append({"step": step, "experience": experience, **held, "label": label.cpu(), "top": wide})

    @property
    def state(self) -> list[dict[str, Any]]:
        """Return all evaluations so far, as numbers and tensors."""
        return list(self._looks)

    @state.setter
    def state(self, state: list[dict[str, Any]]) -> None:
        self._looks = list(state)

    def columns(self) -> dict[str, Any]:
        """Return name -> column, with a row for each sample of each evaluation.

        They are ``look`` (from 0), ``experience``, ``step``, ``task``, ``row``, ``label``, ``prediction``, and ``top1``
        to ``top5`` (-1 if fewer compete).
        """
        looks = self._looks
        sizes = [len(look["row"]) for look in looks]

        def repeated(values: list[int]) -> Any:
            return np.repeat(np.array(values, dtype=np.int32), sizes)

        def joined(name: str) -> Any:
            return np.concatenate(
                [np.zeros(0, dtype=np.int32), *(look[name].numpy().astype(np.int32) for look in looks)]
            )

        top = np.concatenate([np.zeros((0, TOP), dtype=np.int32), *(look["top"].numpy() for look in looks)])
        return {
            "look": repeated(list(range(len(looks)))),
            "experience": repeated([look["experience"] for look in looks]),
            "step": repeated([look["step"] for look in looks]),
            **{name: joined(name) for name in ("task", "row", "label")},
            "prediction": top[:, 0],
            **{f"top{place + 1}": top[:, place] for place in range(TOP)},
        }

    def encoded(self) -> bytes:
        """Return the table as a Parquet file."""
        import io

        import pyarrow as pa
        import pyarrow.parquet as pq

        buffer = io.BytesIO()
        pq.write_table(pa.table(self.columns()), buffer, compression="zstd")
        return buffer.getvalue()

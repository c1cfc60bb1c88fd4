"""Learners that take one batch after another: parts that own the step, whatever they are made of.

A guest is any object; it is made when its run begins, and saved by pickling it, the learner's model and weights being
named and not copied, so that a run goes on bit for bit.
"""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass
from typing import Any, ClassVar

import cloudpickle
import torch
from torch import Tensor

from clbench.adapters.globals import global_states, seed_globals, set_global_states
from clbench.batch import Batch
from clbench.learner import Learner
from clbench.parameters import Refused
from clbench.strategies.part import ROWS, Part


@dataclass(kw_only=True)
class Guest(Part):
    """A learner with a step of its own; a subclass makes it (``make``), teaches it (``observe``) and asks it
    (``answer``).

    Args:
        name: As strategies are written, such as ``sklearn:SGDClassifier``.
        parameters: Of its constructor.
    """

    owns: ClassVar[frozenset[str]] = frozenset({"step", "answer"})
    allows: ClassVar[frozenset[str]] = ROWS

    name: str
    parameters: dict[str, Any]

    def make(self, learner: Learner) -> Any:
        """The learner itself, new."""
        raise NotImplementedError

    @property
    def title(self) -> str:
        """How messages call it."""
        return self.name

    def attach(self, learner: Learner) -> None:
        """Make the guest, or go on from what was saved."""
        if learner.clip_norm is not None:
            raise Refused(
                f"{self.name} steps by itself, and training.clip_norm is for clbench's own step; leave it out"
            )
        things = (learner.model, *learner.model.modules(), *learner.model.parameters(), *learner.model.buffers())
        self._things = {id(thing): number for number, thing in enumerate(things)}
        self._by_number = things
        saved = self.__dict__.pop("_saved", None)
        if saved is None:
            seed_globals(int(self.generator.integers(1, 2**31)[0]), "guest")
            self.guest = self.make(learner)
        else:
            self.guest = _Unpickler(io.BytesIO(saved["guest"].numpy().tobytes()), things).load()
            set_global_states(saved["generators"])

    def rows(self, batch: Batch) -> Batch:
        """The batch, if its rows count alike.

        Raises:
            Refused: A part weighs sources against each other, which a guest's own loss does not know.
        """
        if any(source.coefficient is not None for source in batch.sources):
            raise Refused(
                f"{self.name} learns all rows alike, and this strategy weighs rehearsed ones; use er(loss=concat)"
            )
        return batch

    def save(self) -> dict[str, Any]:
        """The guest as pickled, and where the global generators stand."""
        if "guest" not in self.__dict__:
            return {}
        buffer = io.BytesIO()
        _Pickler(buffer, self._things).dump(self.guest)
        pickled = torch.frombuffer(bytearray(buffer.getvalue()), dtype=torch.uint8)
        return {"guest": pickled, "generators": global_states()}

    def load(self, saved: dict[str, Any]) -> None:
        """Return to what :meth:`save` gave; the guest is made of it when the run goes on."""
        if saved:
            self._saved = saved

    def scores(self, answer: Tensor, n_outputs: int) -> Tensor:
        """Scores (B, C) of an answer: the same, or 1 for each predicted output unit of (B,)."""
        if answer.dim() == 1:
            return torch.nn.functional.one_hot(answer.long(), n_outputs).float()
        if answer.shape[1:] != (n_outputs,):
            raise Refused(
                f"{self.name} predicts values of shape {tuple(answer.shape)}; allowed are scores of shape (rows, "
                f"{n_outputs}) and labels of shape (rows,)"
            )
        return answer


class _Pickler(cloudpickle.Pickler):
    """Names the learner's own things in place of copying them."""

    def __init__(self, file: io.BytesIO, things: dict[int, int]) -> None:
        super().__init__(file)
        self._things = things

    def persistent_id(self, obj: Any) -> int | None:
        return self._things.get(id(obj))


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, things: tuple[Any, ...]) -> None:
        super().__init__(file)
        self._things = things

    def persistent_load(self, number: int) -> Any:
        return self._things[number]

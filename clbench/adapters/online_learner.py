"""Online learners: parts that own the step and take one batch after another, whatever object they wrap.

The wrapped object is made when its run begins, and saved by pickling. The model, weights and optimisers of the learner
are saved by reference and not copied, so that a run resumes bit for bit.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from dataclasses import dataclass
from typing import Any, ClassVar

import cloudpickle
import numpy as np
import torch
from torch import Tensor

from clbench.core.errors import Refused
from clbench.core.global_rng import global_states, seed_others, set_global_states
from clbench.strategies.part import ROWS, Part
from clbench.training.batch import Batch
from clbench.training.learner import Learner


@dataclass(kw_only=True)
class OnlineLearner(Part):
    """Wrap a learner with a step of its own; a subclass makes it (``make``), trains it (``observe``) and queries it
    (``answer``).

    Args:
        name: Name in the text of strategies, such as ``sklearn:SGDClassifier``.
        parameters: Parameters of its constructor.
    """

    random_stream: ClassVar[str] = "Guest"

    allows: ClassVar[frozenset[str]] = ROWS

    name: str
    parameters: dict[str, Any]

    def make(self, learner: Learner) -> Any:
        """Make a new learner."""
        raise NotImplementedError

    @property
    def title(self) -> str:
        """Return its name in messages."""
        return self.name

    def attach(self, learner: Learner) -> None:
        """Make the wrapped learner, or restore it from its saved state."""
        if learner._steps.clip_norm is not None:
            raise Refused(
                f"{self.name} steps by itself, and training.clip_norm is for clbench's own step; leave it out"
            )
        saved = self.__dict__.pop("_saved", None)
        if saved is not None:
            self._references = LearnerReferences(learner)
            self.wrapped = Unpickler(saved["wrapped"], self._references).load()
            set_global_states(saved["generators"])
        elif "wrapped" not in self.__dict__:
            # the run has seeded torch's generator, so that dropout in the model draws the same as for other strategies
            seed_others(int(self.generator.integers(1, 2**31)[0]), "guest")
            self.wrapped = self.make(learner)
            self._references = LearnerReferences(learner)
            self.save()  # refuses now what cannot be saved, instead of after minutes

    def rows(self, batch: Batch) -> Batch:
        """Return the batch if its samples have equal weights.

        Raises:
            Refused: A part weights the sources of the batch differently, which the wrapped learner's own loss does not
                know.
        """
        if any(source.coefficient is not None for source in batch.sources):
            raise Refused(f"{self.name} weights all samples equally, and this strategy does not; use er(loss=concat)")
        return batch

    def save(self) -> dict[str, Any]:
        """Return the pickled learner, and the states of the global generators.

        Raises:
            Refused: An object in it cannot be pickled.
        """
        if "wrapped" not in self.__dict__:
            return {}
        buffer = io.BytesIO()
        try:
            Pickler(buffer, self._references).dump(self.wrapped)
        except Exception as error:
            raise Refused(
                f"{self.name} holds something that cannot be saved ({type(error).__name__}: {error}), so its run could "
                "not be resumed after an interruption; keep open files, iterators and locks out of its attributes"
            ) from error
        pickled = torch.frombuffer(bytearray(buffer.getvalue()), dtype=torch.uint8)
        return {"wrapped": pickled, "generators": global_states()}

    def load(self, saved: dict[str, Any], device: Any = None) -> None:
        """Return to the result of :meth:`save`; the learner is restored when the run resumes, on its device."""
        del device
        if saved:
            self._saved = saved
        else:
            self.__dict__.pop("wrapped", None)

    @property
    def state_bytes(self) -> int:
        """Return the size of the pickled learner; 0 if it can no longer be pickled.

        Texts count once, however many objects hold them, so that a resumed learner has the same size.
        """
        try:
            return size(self.save()["wrapped"].numpy().tobytes())
        except (Refused, KeyError):
            return 0

    def scores(self, told: Any, n_outputs: int, rows: int | None = None) -> Tensor:
        """Convert an answer to scores (B, C); predicted output units (B,) get score 1.

        Raises:
            Refused: It is no array of numbers or has another shape, or a label is not an output unit.
        """
        try:
            answer = torch.as_tensor(told)
        except (TypeError, ValueError, RuntimeError):
            raise Refused(
                f"{self.name} predicts what is no array of numbers ({getattr(told, 'dtype', type(told).__name__)}); "
                f"allowed are scores of shape (samples, {n_outputs}) and integer labels of shape (samples,)"
            ) from None
        right = rows in (None, len(answer)) if answer.dim() else False
        if right and answer.dim() == 1 and not answer.is_floating_point():
            if len(answer) and not 0 <= int(answer.min()) <= int(answer.max()) < n_outputs:
                raise Refused(
                    f"{self.name} predicts labels from {int(answer.min())} to {int(answer.max())}; they are output "
                    f"units, from 0 to {n_outputs - 1}"
                )
            return torch.nn.functional.one_hot(answer.long(), n_outputs).float()
        if not right or answer.dim() != 2 or answer.shape[1] != n_outputs:
            raise Refused(
                f"{self.name} predicts {str(answer.dtype).removeprefix('torch.')} values of shape "
                f"{tuple(answer.shape)}{f' for {rows} samples' if rows else ''}; allowed are scores of shape (samples, "
                f"{n_outputs}) and integer labels of shape (samples,)"
            )
        return answer.float()


def size(pickled: bytes) -> int:
    """Return the bytes of the values in a pickle: arrays, numbers, and each different text once; not their
    structure."""
    texts, rest = set[str](), 0
    for opcode, argument, _ in pickletools.genops(pickled):
        if isinstance(argument, str):
            texts.add(argument)
        elif isinstance(argument, bytes | bytearray):
            rest += len(argument)
        elif isinstance(argument, int | float) and not opcode.name.endswith(("PUT", "GET", "FRAME", "PROTO")):
            rest += 8
    return rest + sum(map(len, texts))


class LearnerReferences:
    """Map objects of the learner to references in a pickle: a number, or a view of the weights or gradients."""

    def __init__(self, learner: Learner) -> None:
        model = learner.model
        self.by_number: tuple[Any, ...] = (
            model, *model.modules(), *model.parameters(), *model.buffers(), *learner._steps.others,
        )  # fmt: skip
        self.numbers = {id(obj): number for number, obj in enumerate(self.by_number)}
        self.flat = (learner.w.detach(), learner.g)

    def reference(self, obj: Any) -> int | tuple[Any, ...] | None:
        """Return the reference of an object; ``None`` if it is not the learner's."""
        number = self.numbers.get(id(obj))
        if number is None and isinstance(obj, Tensor) and obj.layout is torch.strided:
            for place, flat in enumerate(self.flat):
                same = obj.device == flat.device and obj.dtype == flat.dtype
                if same and obj.untyped_storage().data_ptr() == flat.untyped_storage().data_ptr():
                    return place, tuple(obj.shape), obj.stride(), obj.storage_offset()
        return number

    def resolve(self, name: int | tuple[Any, ...]) -> Any:
        """Return the object of a reference."""
        if isinstance(name, int):
            return self.by_number[name]
        place, shape, stride, offset = name
        return self.flat[place].as_strided(shape, stride, offset)


class Pickler(cloudpickle.Pickler):
    """Pickle objects of the learner as references."""

    def __init__(self, file: io.BytesIO, references: LearnerReferences) -> None:
        super().__init__(file)
        self._references = references

    def persistent_id(self, obj: Any) -> Any:
        """Return the reference of an object of the learner, or of a plain dtype, which arrays share."""
        if isinstance(obj, np.dtype) and obj.isbuiltin == 1:
            return "dtype", obj.str
        return self._references.reference(obj)


class Unpickler(pickle.Unpickler):
    """Replace references by objects of the learner."""

    def __init__(self, pickled: Tensor, references: LearnerReferences) -> None:
        super().__init__(io.BytesIO(pickled.numpy().tobytes()))
        self._references = references

    def persistent_load(self, name: Any) -> Any:
        """Return the object of a reference."""
        return np.dtype(name[1]) if isinstance(name, tuple) and name[0] == "dtype" else self._references.resolve(name)

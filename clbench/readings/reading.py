"""The protocol of a reading: what it is given, and what it returns.

Letters: n samples, T tasks, H features, P weights.
"""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

from clbench.core.types import Teacher

if TYPE_CHECKING:
    from torch import Tensor, nn

Which = Literal["current", "seen", "all"]
"""The tasks whose samples a reading uses: those of the running experience, those of all experiences so far, or all. At
the start of a run, ``current`` and ``seen`` are the tasks of the first experience."""


class Samples(Protocol):
    """Describe the evaluation samples of all tasks, by task and in a fixed order.

    Attributes:
        tasks: All tasks, ascending.
        x: (u, ...) inputs.
        index: (n,) the input of each sample.
        target: (n, ...) targets.
        task: (n,) the task of each sample, ascending.
    """

    tasks: list[int]
    x: Tensor
    index: Tensor | None
    target: Tensor
    task: Tensor


class Inspected(Protocol):
    """Describe a learner as readings see it: in evaluation mode, and restored when all of them are taken.

    Attributes:
        model: The model.
        experience: Number of the running experience; -1 at the start of the run.
        step: Iterations done.
        at_end: Whether an experience ends here.
        memory: What the reading itself keeps during the run: tensors, numbers, texts, lists and mappings. It is empty
            at the first call, and a resumed run continues with it.
        teachers: The rule that gives the labels of each task, ``None`` where it is not known.
        subject: What the evaluator evaluates; of our own loop a ``clbench.training.learner_readout.Readout``.
    """

    experience: int
    step: int
    at_end: bool
    memory: MutableMapping[str, Any]
    teachers: Sequence[Teacher | None]
    subject: Any

    @property
    def model(self) -> nn.Module: ...

    @property
    def weights(self) -> Tensor:
        """Return the trainable weights (P,), a copy."""
        ...

    def tasks(self, which: Which) -> list[int]:
        """Return the numbers of some tasks, ascending."""
        ...

    def activations(self, which: Which) -> Any:
        """Return the activity of the model's units (``clbench.models.activations.Activities``) on the samples of some
        tasks."""
        ...

    def features(self, tasks: Sequence[int], *, most: int | None = None) -> Tensor:
        """Return the features (n, H) of the samples of some tasks; of each task at most ``most``, evenly chosen."""
        ...

    def gradient(self, which: Which) -> Tensor:
        """Return the gradient (P,) of the mean loss on the samples of some tasks."""
        ...


class Reads(Protocol):
    """Take a reading.

    Returns:
        A number or an array (...), with the same shape each time; NaN where there is no value. If it has several
        numbers, metrics and pictures use the first one.
    """

    def __call__(self, learner: Inspected, panel: Samples, /, **settings: Any) -> Any: ...

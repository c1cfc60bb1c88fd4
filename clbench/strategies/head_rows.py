"""The rows of the last layer, one for each output unit, among the flat weights. Letters: C output units, H features."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clbench.core.errors import Refused

if TYPE_CHECKING:
    from torch import Tensor

    from clbench.training.learner import Learner

HEAD_IS_GENERATED = "the first changes the weights of single classes in the head, and the second generates the head"
"""Why a part that changes rows of the head cannot be joined with a hypernetwork."""


def head_matrix(learner: Learner, title: str) -> slice:
    """Return the place among the flat weights of the last layer's matrix, with a row for each output unit.

    Args:
        learner: The learner with the model.
        title: The name of the part, for the message.

    Raises:
        Refused: There is none, or it is not trained.
    """
    place = _place(learner, dimensions=2)
    if place is None:
        raise Refused(
            f"{title} changes the last layer's weights of single classes, and this model's last layer has no trained "
            f"matrix with {learner.n_outputs} rows, one for each output unit; choose a model whose head is a linear "
            "layer"
        )
    return place


def head_bias(learner: Learner, title: str) -> slice:
    """Return the place of the last layer's bias; arguments as in :func:`head_matrix`.

    Raises:
        Refused: There is none, or it is not trained.
    """
    place = _place(learner, dimensions=1)
    if place is None:
        raise Refused(
            f"{title} adds a number to the scores of single classes, and this model's last layer has no trained bias; "
            "choose a model whose head has one (bias: true)"
        )
    return place


def of_classes(learner: Learner, classes: Tensor) -> Tensor:
    """Return which weights (P,) bool are those of some classes (C,) bool in the matrix of a head without constants."""
    place = learner.slices["head.weight"]
    mask = learner.w.detach().new_zeros(learner.w.shape).bool()
    mask[place] = classes.repeat_interleave((place.stop - place.start) // learner.n_outputs)
    return mask


def write(learner: Learner, place: slice, values: Tensor) -> None:
    """Set the weights of a place to values of any shape, except frozen weights, which stay."""
    old, new = learner.w.data[place], values.reshape(-1)
    old.copy_(new if learner.frozen is None else old.where(learner.frozen[place], new))


def _place(learner: Learner, *, dimensions: int) -> slice | None:
    head = learner.model.head
    own = {id(p) for p in head.parameters() if p.dim() == dimensions and p.shape[0] == learner.n_outputs}  # type: ignore[union-attr]
    for name, parameter in learner.model.named_parameters():
        if id(parameter) in own and name in learner.slices:
            return learner.slices[name]
    return None

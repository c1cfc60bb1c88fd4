"""SLCA: a body that learns slowly, a head that learns fast, and classifier alignment at each boundary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from clbench.core.parameters import Count, NonNegative
from clbench.core.search_space import Search
from clbench.strategies.align import Align, Passes, Temperature
from clbench.strategies.part import Part
from clbench.strategies.running_classes import RunningClasses

if TYPE_CHECKING:
    from clbench.training.learner import Learner

Factor = Annotated[NonNegative, Search(0.001, 1, log=True)]


@dataclass(kw_only=True)
class SlowBody(Part):
    """Multiply the steps of all weights but the head's.

    Args:
        body: The factor, at least 0. 1 changes nothing.

    Source: Zhang et al. 2023, arXiv 2303.05118 (SLCA), section 3.2.
    """

    random_stream: ClassVar[str] = "SlowBody"

    # published: 0.01 (Zhang et al. 2023)
    body: Factor = 0.01

    identity: ClassVar[Mapping[str, Any] | None] = {"body": 1}

    def attach(self, learner: Learner) -> None:
        if self.body != 1:
            learner.scale_steps({"body": self.body})


def slca(
    *,
    # published: 0.01 (Zhang et al. 2023)
    body: Factor = 0.01,
    # published: 5 (Zhang et al. 2023, authors' code)
    epochs: Annotated[Passes, Search(1, 20)] = 5,
    # published: 256 (Zhang et al. 2023, authors' code)
    rows: Count = 256,
    # published: 0.1 (Zhang et al. 2023)
    temperature: Annotated[Temperature, Search(0.02, 1, log=True)] = 0.1,
) -> list[Part]:
    """Train all weights of a pretrained network, the body a hundred times slower than the head, and align the head.

    The loss is the cross-entropy over the classes of the running experience. At each boundary but the first a copy of
    the head is aligned, as :class:`clbench.strategies.align.Align` says; it answers until the next experience begins.

    Args:
        body: The factor of the steps of all weights but the head's.
        epochs, rows, temperature: Of the alignment.

    Source: Zhang et al. 2023, arXiv 2303.05118; GengDavid/SLCA. Its setting: SGD with momentum 0.9, learning rate 0.01
    for the head, weight decay 5e-4, batches of 128, 20 epochs with a tenth of the rate from 18 on.

    Expected:
        class: far above naive fine-tuning from pretrained weights, near joint training; little from random weights.
        task: high, since a slow body forgets little.
        domain: above naive from pretrained weights.
        recurring: as in the class setting; classes that return are counted anew.
    """
    return [RunningClasses(), SlowBody(body=body), Align(epochs=epochs, rows=rows, temperature=temperature)]

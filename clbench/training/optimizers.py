"""The benchmark's optimiser over some weights, and the trial of an own one. Letters: P weights."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from clbench.benchmark.optimizer_names import OPTIMIZERS, SECTION, accepted
from clbench.benchmark.schedule_notation import SOURCE, load, split
from clbench.core.errors import Refused

if TYPE_CHECKING:
    import torch

    from clbench.benchmark.schema import Training

Weights = Sequence["torch.Tensor"]
Decay = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]


def sgd(
    weights: Weights,
    *,
    lr: float,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    dampening: Decay = 0.0,
    nesterov: bool = False,
) -> torch.optim.Optimizer:
    """Step against the gradient, with ``training.momentum`` and ``training.weight_decay``: ``torch.optim.SGD``.

    Args:
        dampening: The part of a new gradient that momentum leaves out, in [0, 1).
        nesterov: Whether momentum is Nesterov's; it needs momentum above 0.
    """
    import torch

    return torch.optim.SGD(
        weights, lr=lr, momentum=momentum, weight_decay=weight_decay, dampening=dampening, nesterov=nesterov
    )


def adam(
    weights: Weights,
    *,
    lr: float,
    weight_decay: float = 0.0,
    betas: tuple[Decay, Decay] = (0.9, 0.999),
    eps: Positive = 1e-8,
    amsgrad: bool = False,
) -> torch.optim.Optimizer:
    """Step by moments of the gradient; weight decay is added to the gradient: ``torch.optim.Adam``.

    Args:
        betas: Decay of the averages of the gradient and of its square, each in [0, 1).
        eps: Added to the denominator, above 0.
        amsgrad: Whether the largest average of the square so far is used.

    Source: Kingma and Ba 2015, arXiv 1412.6980.
    """
    import torch

    return torch.optim.Adam(weights, lr=lr, weight_decay=weight_decay, betas=betas, eps=eps, amsgrad=amsgrad)


def adamw(
    weights: Weights,
    *,
    lr: float,
    weight_decay: float = 0.0,
    betas: tuple[Decay, Decay] = (0.9, 0.999),
    eps: Positive = 1e-8,
    amsgrad: bool = False,
) -> torch.optim.Optimizer:
    """Step by moments of the gradient; weight decay shrinks the weights directly: ``torch.optim.AdamW``.

    Args:
        betas: Decay of the averages of the gradient and of its square, each in [0, 1).
        eps: Added to the denominator, above 0.
        amsgrad: Whether the largest average of the square so far is used.

    Source: Loshchilov and Hutter 2019, arXiv 1711.05101.
    """
    import torch

    return torch.optim.AdamW(weights, lr=lr, weight_decay=weight_decay, betas=betas, eps=eps, amsgrad=amsgrad)


def is_optimizer(obj: Any) -> bool:
    """Return whether an object is a class of ``torch.optim.Optimizer``."""
    import torch

    return isinstance(obj, type) and issubclass(obj, torch.optim.Optimizer)


def optimizer(training: Training, weights: Weights) -> torch.optim.Optimizer:
    """Return the benchmark's optimiser over some weights.

    Raises:
        Refused: An own optimiser cannot be made over them, or cannot be resumed.
    """
    written = training.optimizer
    name, given = split(written) or (str(written), None)
    kind = load(OPTIMIZERS, name, written)
    takes = accepted(kind)
    section = {each: getattr(training, each) for each in SECTION if each in takes}
    settings = {
        each: tuple(value) if isinstance(value, list) and isinstance(takes[each].default, tuple) else value
        for each, value in (given or {}).items()
    }
    make = partial(kind, **section, **settings)
    if isinstance(written, str) or not written.get(SOURCE):
        made: torch.optim.Optimizer = make(weights)
        return made
    try_out(make, name)
    return _made(make, weights, name)


def _made(make: Callable[..., Any], weights: Weights, name: str) -> torch.optim.Optimizer:
    import torch

    try:
        made = make(weights)
    except Refused:
        raise
    except Exception as error:
        raise Refused(
            f"optimizer {name!r} cannot be made ({type(error).__name__}: {error}); its settings have to fit, and it "
            "gets all weights as one vector, so it has to treat each alike, whatever the layer"
        ) from error
    if not isinstance(made, torch.optim.Optimizer) or any("lr" not in group for group in made.param_groups):
        raise Refused(
            f"optimizer {name!r} makes a {type(made).__name__}; allowed is a torch.optim.Optimizer with lr in its "
            "groups"
        )
    return made


STEPS = 4
"""Steps of a trial."""


def try_out(make: Callable[..., Any], name: str) -> None:
    """Refuse an own optimiser that breaks what a run relies on, by four steps on eight weights.

    It must step without a closure, change the weights in place, and continue bit for bit from its ``state_dict``.

    Raises:
        Refused: It does not.
    """
    import torch
    from torch import nn

    from clbench.core.global_rng import preserved

    def steps(optimizer: torch.optim.Optimizer, w: nn.Parameter, numbers: range) -> None:
        for number in numbers:
            torch.manual_seed(number)
            w.grad = torch.cos(torch.arange(8.0) + number)
            where = w.data_ptr()
            optimizer.step()
            if w.data_ptr() != where:
                raise Refused(
                    f"optimizer {name!r} replaces the tensor of the weights; change it in place, as p.add_(...) does"
                )

    with preserved():
        whole, halved, resumed = (nn.Parameter(torch.linspace(-1.0, 1.0, 8)) for _ in range(3))
        try:
            steps(_made(make, [whole], name), whole, range(STEPS))
            first = _made(make, [halved], name)
            steps(first, halved, range(STEPS // 2))
            resumed.data.copy_(halved.data)
            second = _made(make, [resumed], name)
            second.load_state_dict(copy.deepcopy(first.state_dict()))
            steps(second, resumed, range(STEPS // 2, STEPS))
        except Refused:
            raise
        except Exception as error:
            raise Refused(
                f"optimizer {name!r} fails in a trial of {STEPS} steps ({type(error).__name__}: {error}); step() is "
                "called without a closure, over all weights as one vector"
            ) from error
    if not torch.equal(whole, resumed):
        raise Refused(
            f"optimizer {name!r} does not continue from its state_dict; keep all that it remembers between steps in "
            "self.state[weights] or in its groups"
        )

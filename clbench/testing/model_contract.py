"""The contract of models: what a run relies on in a network, asked of one by name, of a class, or of a function."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from clbench.core.errors import Refused
from clbench.core.global_rng import preserved, seed_globals
from clbench.models import side_effects
from clbench.testing.compare_runs import leaves
from clbench.testing.contract import Verdict
from clbench.testing.trial_runs import Broken, Skipped

ROWS = 8
"""Rows of the batches that a model is tried on."""
CLOSE = 1e-4
"""How far outputs for one row may lie apart that are computed in batches of other sizes."""


@dataclass
class Subject:
    """A model under test.

    Args:
        make: Makes it as a run does, drawing from the global generators.
        shape: Of a row.
        n_outputs: C.
    """

    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    n_outputs: int

    def new(self, seed: int = 0) -> nn.Module:
        """A new one, its draws seeded; refused where it breaks the contract of outputs."""
        seed_globals(seed, "check model")
        return self.make()

    @cached_property
    def x(self) -> Tensor:
        """Rows (B, *shape) in [0, 1)."""
        return side_effects.rows(ROWS, self.shape)

    def logits(self, module: nn.Module, x: Tensor, *, seed: int = 1) -> Tensor:
        """Logits (B, C) of rows, draws seeded."""
        seed_globals(seed, "check model")
        logits: Tensor = module(x.clone()).logits
        return logits

    def step(self, module: nn.Module, *, seed: int = 1) -> Tensor:
        """One step in training mode; the gradient of all weights, (P,)."""
        module.train()
        seed_globals(seed, "check model")
        module.zero_grad()
        y = torch.arange(len(self.x)) % self.n_outputs
        nn.functional.cross_entropy(module(self.x.clone()).logits, y).backward()
        own = [p for p in module.parameters() if p.requires_grad]
        gradients = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in own])
        with torch.no_grad():
            for p in own:
                if p.grad is not None:
                    p.sub_(p.grad, alpha=0.01)
        return gradients


def outputs(subject: Subject) -> str | None:
    """It gives logits of the stream's width for rows of the stream's shape, from a layer that can be told apart."""
    module = subject.new()
    head = getattr(module, "head", None)
    name = next((name for name, each in module.named_modules() if each is head), "")
    return f"its last layer is {name.removeprefix('module.') or 'of its own kind'}"


def inputs(subject: Subject) -> str | None:
    """Rows that it is shown are not changed by it, or are copies."""
    module = subject.new()
    for mode in (module.eval(), module.train()):
        x = subject.x.clone()
        with torch.no_grad():
            mode(x)
        if not torch.equal(x, subject.x):
            raise Broken("it changes the rows that it is shown; write x = x - m in place of x -= m")
    if module._forward_pre_hooks:
        return "it changes its input in place, and is given copies, which takes time"
    return None


def deterministic(subject: Subject) -> None:
    """Two that are made and trained with the same seed are the same, bit for bit."""
    first, second = subject.new(), subject.new()
    for (name, ours), (_, theirs) in zip(first.named_parameters(), second.named_parameters(), strict=True):
        if not torch.equal(ours, theirs):
            raise Broken(f"two that are made with the same seed begin with different weights in {name!r}; {SEEDED}")
    for _ in range(2):
        if not torch.equal(subject.step(first), subject.step(second)):
            raise Broken(f"two steps with the same seed, weights and rows have different gradients; {SEEDED}")


SEEDED = "draw from torch's, numpy's or Python's global generator, which a run seeds, and from no other"


def randomness(subject: Subject) -> str | None:
    """What it draws comes from generators that a run seeds, and in evaluation mode nothing is left to chance."""
    module = subject.new()
    module.eval()
    with torch.no_grad():
        first, second = (subject.logits(module, subject.x, seed=seed) for seed in (1, 2))
    if not torch.equal(first, second):
        return "it draws in evaluation mode too, so that looks are noisy; they are seeded, and leave training alone"
    if side_effects.draws(module):
        return "it draws from numpy's or Python's generator, which are seeded for it"
    return None


def one_row(subject: Subject) -> None:
    """In evaluation mode a batch of one row gives what the row gives among others."""
    module = subject.new().eval()
    with torch.no_grad():
        whole = subject.logits(module, subject.x)
        if not torch.equal(whole, subject.logits(module, subject.x, seed=2)):
            raise Skipped("it draws in evaluation mode")
        try:
            alone = torch.cat([subject.logits(module, row[None]) for row in subject.x])
        except Exception as error:
            raise Broken(f"in evaluation mode a batch of one row fails: {type(error).__name__}: {error}") from error
    if alone.shape != whole.shape:
        raise Broken(f"eight batches of one row give logits of shape {tuple(alone.shape)}; keep the rows' dimension")
    far = float((alone - whole).abs().max())
    if far > CLOSE * max(1.0, float(whole.abs().max())):
        raise Broken(
            f"in evaluation mode what a row gives depends on the rows beside it (logits differ by {far:.2g}): use "
            "running statistics there, as batch normalisation does"
        )


def modes(subject: Subject) -> str | None:
    """It learns in training mode, and a pass in evaluation mode changes neither weights nor buffers."""
    module = subject.new().eval()
    before = {name: value.clone() for name, value in _registered(module)}
    with torch.no_grad():
        subject.logits(module, subject.x)
    moved = [name for name, value in _registered(module) if not torch.equal(value, before[name])]
    try:
        gradient = subject.step(module)
    except Exception as error:
        raise Broken(f"a step in training mode fails: {type(error).__name__}: {error}") from error
    if not bool(gradient.isfinite().all()):
        raise Broken("the gradient of a step is not finite")
    if not bool(gradient.any()):
        raise Broken("no weight has a gradient; its logits do not depend on them, or are made without gradients")
    if moved:
        return f"a pass in evaluation mode changes {moved[0]!r}, which looks put back"
    return None


def state(subject: Subject) -> None:
    """All that it keeps from one pass to the next is in parameters and buffers, which are saved with it."""
    module = subject.new().train()
    subject.step(module)
    kept_before = dict(_unregistered(module))
    for _ in range(2):
        subject.step(module)
    for name, value in _unregistered(module):
        if name not in kept_before or not _same(value, kept_before[name]):
            raise Broken(
                f"{name} changes while it learns and is neither a parameter nor a buffer, so that looks change it, and "
                "files and runs that go on are without it; use register_buffer"
            )


def copies(subject: Subject) -> None:
    """A copy has its own weights, and with the same weights gives the same."""
    module = subject.new()
    subject.step(module)
    other = copy.deepcopy(module)
    module.eval(), other.eval()
    with torch.no_grad():
        before = subject.logits(other, subject.x)
        if not torch.equal(subject.logits(module, subject.x), before):
            raise Broken("a copy with the same weights gives something else")
    subject.step(module)
    other.eval()
    with torch.no_grad():
        if not torch.equal(subject.logits(other, subject.x), before):
            raise Broken("a copy changes with the module that it was made of; keep nothing outside the module")
    fresh = subject.new(seed=2)
    fresh.load_state_dict(other.state_dict())
    fresh.eval()
    with torch.no_grad():
        if not torch.equal(subject.logits(fresh, subject.x), before):
            raise Broken(
                "another one with the same state dict gives something else: what it depends on is not in it; use "
                "register_buffer"
            )


def device(subject: Subject) -> str | None:
    """All tensors that it holds move with it to another device."""
    module = subject.new()
    subject.step(module)
    for name, value in _unregistered(module):
        if isinstance(value, Tensor) and value.numel():
            raise Broken(f"{name} is a tensor that stays where it is when the module moves; use register_buffer")
    if not torch.cuda.is_available():
        return "there is no GPU here: seen by what is registered"
    moved = subject.new().to("cuda").eval()
    with torch.no_grad():
        try:
            moved(subject.x.to("cuda"))
        except Exception as error:
            raise Broken(f"on a GPU it fails: {type(error).__name__}: {error}") from error
    return None


_ASKED = (outputs, inputs, deterministic, randomness, one_row, modes, state, copies, device)
MODEL_PROPERTIES: Mapping[str, str] = MappingProxyType(
    {ask.__name__: str(ask.__doc__).removesuffix(".") for ask in _ASKED}
)
"""Name of a property -> what it means, in a line; in the order in which they are asked."""


def examine_model(model: Any, *, shape: tuple[int, ...] = (1, 8, 8), n_outputs: int = 10) -> Iterator[Verdict]:
    """Ask a model every property, one after another.

    Args:
        model: A name or section of a benchmark file (``"mlp"``, ``{"name": "FILE.py:NAME"}``), a module, or what makes
            one of ``(shape, n_outputs)``.
        shape: Of one row.
        n_outputs: Number of output units C, at least 2.

    Raises:
        Refused: No such model.
    """
    subject = Subject(_maker(model, shape, n_outputs), shape, n_outputs)
    sound = True
    for ask in _ASKED:
        name = ask.__name__
        if not sound:
            yield Verdict(name, "skipped", "it does not run, as 'outputs' tells")
            continue
        try:
            with preserved():
                note = ask(subject)
        except Skipped as reason:
            yield Verdict(name, "skipped", str(reason))
        except Broken as error:
            yield Verdict(name, "broken", str(error))
        except Exception as error:
            told = str(error) if isinstance(error, Refused) else f"{type(error).__name__}: {error}"
            sound = name != outputs.__name__
            yield Verdict(name, "broken", told)
        else:
            yield Verdict(name, "kept", note or "")


def check_model(model: Any, *, shape: tuple[int, ...] = (1, 8, 8), n_outputs: int = 10) -> None:
    """Raise where a model breaks a property; arguments as in :func:`examine_model`.

    Raises:
        Broken: With a sentence for each property that is broken.
    """
    verdicts = examine_model(model, shape=shape, n_outputs=n_outputs)
    broken = [f"{v.property}: {v.text}" for v in verdicts if v.status == "broken"]
    if broken:
        raise Broken("\n".join(broken))


def _maker(model: Any, shape: tuple[int, ...], n_outputs: int) -> Callable[[], nn.Module]:
    from clbench import models
    from clbench.models.user_models import build

    if isinstance(model, str | Mapping):
        section = models.canonical({"name": model} if isinstance(model, str) else model)
        return lambda: models.make(section, shape, n_outputs)
    return lambda: build(model, shape, n_outputs)


def _registered(module: nn.Module) -> list[tuple[str, Tensor]]:
    return [*module.named_parameters(), *module.named_buffers()]


def _unregistered(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """Tensors, numbers, texts, and lists and dicts of them among the attributes of all modules, by name."""
    own = {id(value) for _, value in _registered(module)}
    for name, each in module.named_modules():
        for attribute, value in vars(each).items():
            if attribute in ("training", "_caught") or attribute.startswith(("_parameters", "_buffers", "_modules")):
                continue
            where = f"{type(each).__name__}.{attribute}" + (f" (in {name})" if name else "")
            for inner, leaf in leaves(value):
                if isinstance(leaf, Tensor | np.ndarray | list | int | float | str | bool) and id(leaf) not in own:
                    yield f"{where}{'' if inner in ('', '.') else f' {inner}'}", _held(leaf)


def _held(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, Tensor) else copy.copy(value)


def _same(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, Tensor) and isinstance(theirs, Tensor):
        return ours.shape == theirs.shape and bool(torch.equal(ours, theirs))
    return type(ours) is type(theirs) and bool(np.all(ours == theirs))

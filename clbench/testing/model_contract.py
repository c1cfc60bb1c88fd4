"""The contract of models: the properties that a run needs from a network, tested for names, classes and functions."""

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
from clbench.testing.contract import Verdict, meaning
from clbench.testing.trial_runs import Broken, Skipped

ROWS = 8
"""Number of samples in the batches for tests."""
CLOSE = 1e-4
"""Largest difference of outputs for one sample between batches of different sizes."""


@dataclass
class Subject:
    """Describe a model under test.

    Args:
        make: A function that makes it as a run does, drawing from the global generators.
        shape: Shape of a sample.
        n_outputs: Number of output units C.
    """

    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    n_outputs: int

    def new(self, seed: int = 0) -> nn.Module:
        """Make a new model with seeded draws; refuse one that breaks the contract of outputs."""
        seed_globals(seed, "check model")
        return self.make()

    @cached_property
    def x(self) -> Tensor:
        """Return samples (B, *shape) in [0, 1)."""
        return side_effects.rows(ROWS, self.shape)

    def logits(self, module: nn.Module, x: Tensor, *, seed: int = 1) -> Tensor:
        """Return logits (B, C) of samples, with seeded draws."""
        seed_globals(seed, "check model")
        logits: Tensor = module(x.clone()).logits
        return logits

    def step(self, module: nn.Module, *, seed: int = 1) -> Tensor:
        """Make one step in training mode, and return the gradient of all weights, (P,)."""
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
    """Check that it returns logits of the stream's width for samples of the stream's shape, from an identifiable
    layer."""
    module = subject.new()
    head = getattr(module, "head", None)
    name = next((name for name, each in module.named_modules() if each is head), "")
    return f"its last layer is {name.removeprefix('module.') or 'of its own kind'}"


def inputs(subject: Subject) -> str | None:
    """Check that it does not change its input, or receives copies."""
    module = subject.new()
    for mode in (module.eval(), module.train()):
        x = subject.x.clone()
        with torch.no_grad():
            mode(x)
        if not torch.equal(x, subject.x):
            raise Broken("it changes its input; write x = x - m instead of x -= m")
    if module._forward_pre_hooks:
        return "it changes its input in place, so it receives copies, which takes time"
    return None


def deterministic(subject: Subject) -> None:
    """Check that two models that are made and trained with one seed are equal, bit for bit."""
    first, second = subject.new(), subject.new()
    for (name, ours), (_, theirs) in zip(first.named_parameters(), second.named_parameters(), strict=True):
        if not torch.equal(ours, theirs):
            raise Broken(f"two models with the same seed begin with different weights in {name!r}; {SEEDED}")
    for _ in range(2):
        if not torch.equal(subject.step(first), subject.step(second)):
            raise Broken(f"two steps with the same seed, weights and samples have different gradients; {SEEDED}")


SEEDED = "draw from torch's, numpy's or Python's global generator, which a run seeds, and from no other"


def randomness(subject: Subject) -> str | None:
    """Check that it draws only from seeded generators, and that evaluation mode is deterministic."""
    module = subject.new()
    module.eval()
    with torch.no_grad():
        first, second = (subject.logits(module, subject.x, seed=seed) for seed in (1, 2))
    if not torch.equal(first, second):
        return "it draws in evaluation mode too: evaluations are noisy, but seeded, and do not affect training"
    if side_effects.draws(module):
        return "it draws from numpy's or Python's generator, which are seeded for it"
    return None


def one_row(subject: Subject) -> None:
    """Check that in evaluation mode a batch of one sample gives the same output as a larger batch."""
    module = subject.new().eval()
    with torch.no_grad():
        whole = subject.logits(module, subject.x)
        if not torch.equal(whole, subject.logits(module, subject.x, seed=2)):
            raise Skipped("it draws in evaluation mode")
        try:
            alone = torch.cat([subject.logits(module, row[None]) for row in subject.x])
        except Exception as error:
            raise Broken(f"in evaluation mode a batch of one sample fails: {type(error).__name__}: {error}") from error
    if alone.shape != whole.shape:
        raise Broken(f"eight batches of one sample give logits of shape {tuple(alone.shape)}; keep the batch dimension")
    far = float((alone - whole).abs().max())
    if far > CLOSE * max(1.0, float(whole.abs().max())):
        raise Broken(
            f"in evaluation mode the output for a sample depends on the other samples (logits differ by {far:.2g}): "
            "use running statistics there, as batch normalisation does"
        )


def modes(subject: Subject) -> str | None:
    """Check that it learns in training mode, and that a pass in evaluation mode changes neither weights nor buffers."""
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
        return f"a pass in evaluation mode changes {moved[0]!r}, which evaluations restore"
    return None


def state(subject: Subject) -> None:
    """Check that everything it keeps between passes is in parameters and buffers, which are saved with it."""
    module = subject.new().train()
    subject.step(module)
    kept_before = dict(_unregistered(module))
    for _ in range(2):
        subject.step(module)
    for name, value in _unregistered(module):
        if name not in kept_before or not _same(value, kept_before[name]):
            raise Broken(
                f"{name} changes in training and is neither a parameter nor a buffer, so that evaluations change it, "
                "and saved models and resumed runs lack it; use register_buffer"
            )


def copies(subject: Subject) -> None:
    """Check that a copy has its own weights, and the same output for the same weights."""
    module = subject.new()
    subject.step(module)
    other = copy.deepcopy(module)
    module.eval(), other.eval()
    with torch.no_grad():
        before = subject.logits(other, subject.x)
        if not torch.equal(subject.logits(module, subject.x), before):
            raise Broken("a copy with the same weights has another output")
    subject.step(module)
    other.eval()
    with torch.no_grad():
        if not torch.equal(subject.logits(other, subject.x), before):
            raise Broken("a copy changes together with the original; keep nothing outside the module")
    fresh = subject.new(seed=2)
    fresh.load_state_dict(other.state_dict())
    fresh.eval()
    with torch.no_grad():
        if not torch.equal(subject.logits(fresh, subject.x), before):
            raise Broken(
                "another model with the same state dict has another output: the state dict is incomplete; use "
                "register_buffer"
            )


def device(subject: Subject) -> str | None:
    """Check that all its tensors move with it to another device."""
    module = subject.new()
    subject.step(module)
    for name, value in _unregistered(module):
        if isinstance(value, Tensor) and value.numel():
            raise Broken(f"{name} is a tensor that does not move with the module; use register_buffer")
    if not torch.cuda.is_available():
        return "no GPU is available: tested by the registered tensors"
    moved = subject.new().to("cuda").eval()
    with torch.no_grad():
        try:
            moved(subject.x.to("cuda"))
        except Exception as error:
            raise Broken(f"on a GPU it fails: {type(error).__name__}: {error}") from error
    return None


_ASKED = (outputs, inputs, deterministic, randomness, one_row, modes, state, copies, device)
MODEL_PROPERTIES: Mapping[str, str] = MappingProxyType({ask.__name__: meaning(ask) for ask in _ASKED})
"""Name of a property -> its meaning in one line, in the order in which they are tested."""


def examine_model(model: Any, *, shape: tuple[int, ...] = (1, 8, 8), n_outputs: int = 10) -> Iterator[Verdict]:
    """Test every property of a model, one after another.

    Args:
        model: A name or section of a benchmark file (``"mlp"``, ``{"name": "FILE.py:NAME"}``), a module, or a callable
            that makes one from ``(shape, n_outputs)``.
        shape: Shape of one sample.
        n_outputs: Number of output units C, at least 2.

    Raises:
        Refused: The model does not exist.
    """
    subject = Subject(_maker(model, shape, n_outputs), shape, n_outputs)
    sound = True
    for ask in _ASKED:
        name = ask.__name__
        if not sound:
            yield Verdict(name, "skipped", "it does not run, as 'outputs' shows")
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
    """Raise an error if a model breaks a property; arguments are as in :func:`examine_model`.

    Raises:
        Broken: The model breaks properties; the message has a sentence for each.
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
    """Yield tensors, numbers, texts, and lists and dicts of them among the attributes of all modules, by name."""
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

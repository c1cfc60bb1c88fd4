"""Low-rank additions to the linear layers of a model, chosen for each sample from a pool by the nearest key.

Letters: B samples, M members of the pool, D values of a key, r rank, I inputs and O outputs of a layer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clbench.core import host_reads
from clbench.core.errors import Refused
from clbench.models import weight_groups
from clbench.models.weight_groups import ALIASES, ATTENTION, FEED_FORWARD, Kind

SCALE = 2.0
"""Factor of a low-rank product, alpha / rank."""
KINDS: tuple[Kind, ...] = (*ATTENTION, *FEED_FORWARD, "fc")
SEVERAL: dict[str, tuple[Kind, ...]] = {
    "attention": ALIASES["attention"],
    "mlp": (*ALIASES["mlp"], "fc"),
    "all": KINDS,
}
"""Names of several kinds of layers; the hidden layers of a network without attention (``fc``) are of ``mlp``."""


class Choice(NamedTuple):
    """Hold which member of the pool serves each sample of a forward pass.

    Args:
        member: (B,) member of each sample.
        used: (u,) the members that serve any sample; ``None`` if that was not asked for.
        own: (B, u) 1 at the member of each sample, else 0; ``None`` if all samples have the same.
    """

    member: Tensor
    used: Tensor | None
    own: Tensor | None


class Noted(NamedTuple):
    """Hold what the last forward pass with gradients has chosen.

    Args:
        x: The inputs of the pass, the object itself.
        member: (B,) member of each sample.
        cosine: (B,) cosine between its query and its key, with a graph that leads to the keys alone.
    """

    x: Any
    member: Tensor
    cosine: Tensor


class Pool(nn.Module):
    """Choose a member of the pool for each sample: the one whose key has the largest cosine with its query.

    The query is what a module of the model reads, averaged over all axes but the first and the last. In training,
    cosines c become (c + 1) / 2 · penalty.

    Args:
        size: M, members.
        width: D, values of a query.
    """

    keys: nn.Parameter
    penalty: Tensor
    given: Any
    choice: Choice | None
    noted: Noted | None

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.keys = nn.Parameter(torch.empty(size, width).uniform_(-1, 1))  # (M, D)
        self.register_buffer("penalty", torch.ones(size))  # (M,)
        self.layers = nn.ModuleList()
        self.__dict__.update(given=None, choice=None, noted=None)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what belongs to one forward pass, so that a model can be copied at any time."""
        return {**self.__dict__, "given": None, "choice": None, "noted": None}

    def begin(self, _: nn.Module, inputs: tuple[Any, ...]) -> None:
        """Note the inputs of the model, as a hook before its forward pass."""
        self.__dict__["given"] = inputs[0]

    def choose(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Choose a member for each sample, as a hook before the module whose input is the query."""
        query = query_of(inputs[0])  # (B, D)
        cosines = F.normalize(query, dim=1) @ F.normalize(self.keys, dim=1).T  # (B, M)
        score = cosines.detach()
        index = ((score + 1) / 2 * self.penalty if self.training else score).argmax(1)  # (B,)
        self.__dict__["choice"] = choice_of(index)
        noting = self.training and torch.is_grad_enabled()
        found = Noted(self.given, index, cosines.gather(1, index[:, None])[:, 0]) if noting else None
        self.__dict__.update(noted=found, given=None)

    choose.any_kernel = True  # type: ignore[attr-defined]  # see clbench.models.linear


class LowRank(nn.Module):
    """Add 2 · B_k A_k x to the output of a linear layer, k the member of each sample.

    Args:
        layer: The layer.
        pool: The pool that chooses the members.
        rank: r.
    """

    pool: Pool

    def __init__(self, layer: nn.Linear, pool: Pool, rank: int) -> None:
        super().__init__()
        size, bound = len(pool.keys), layer.in_features**-0.5  # Kaiming's uniform with a = √5, as in linear layers
        self.a = nn.Parameter(torch.empty(size, rank, layer.in_features).uniform_(-bound, bound))  # (M, r, I)
        self.b = nn.Parameter(torch.zeros(size, layer.out_features, rank))  # (M, O, r)
        self.__dict__["pool"] = pool  # not a module of this one

    def add(self, _: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """Return the output (B, ..., O) with the product, as a hook after the layer."""
        x, choice = inputs[0], self.pool.choice
        assert choice is not None  # a module before this one has chosen
        rows, member = x.shape[0], choice.member  # not len(x), which a recorded graph would take for a constant
        alike = rows == member.shape[0]
        if alike and choice.used is not None and (choice.own is None or x.dim() == 2):
            return output + SCALE * self._of_used(x, choice)
        if not alike:  # the layer sees several pieces of each sample one after the other
            member = member.repeat_interleave(rows // member.shape[0])
        a, b = self.a.index_select(0, member), self.b.index_select(0, member)  # (B, r, I), (B, O, r)
        product: Tensor = x.reshape(rows, -1, x.shape[-1]) @ a.mT @ b.mT
        return output + SCALE * product.reshape(output.shape)

    add.any_kernel = True  # type: ignore[attr-defined]  # see clbench.models.linear

    def _of_used(self, x: Tensor, choice: Choice) -> Tensor:
        """Return the product (B, ..., O) by two matrices of all members in use, without a copy for each sample."""
        assert choice.used is not None
        a, b = self.a.index_select(0, choice.used), self.b.index_select(0, choice.used)  # (u, r, I), (u, O, r)
        h = x @ a.flatten(0, 1).T  # (B, ..., u r)
        if choice.own is not None:
            h = h * choice.own.repeat_interleave(a.shape[1], dim=1)
        return h @ b.transpose(1, 2).flatten(0, 1)


def query_of(x: Tensor) -> Tensor:
    """Return the query (B, D) of inputs (B, ..., D): their mean over all axes between."""
    return x.detach().float().flatten(1, -2).mean(1) if x.dim() > 2 else x.detach().float()


def choice_of(index: Tensor) -> Choice:
    """Return which members serve which samples (B,).

    Which are in use is found only where that takes less time than it saves and may depend on values: not on a GPU,
    which would have to wait, and not while a graph is recorded or single samples are mapped.
    """
    if torch.compiler.is_compiling() or not host_reads.free(index.device) or len(index) == 1:
        return Choice(index, None, None)
    used, place = index.unique(return_inverse=True)
    return Choice(index, used, F.one_hot(place, len(used)).float() if len(used) > 1 else None)


# --------------------------------------------------------------------------------------------------- which layers


def add_pool(model: nn.Module, name: str, *, size: int, rank: int, where: str, shape: tuple[int, ...]) -> Pool:
    """Give a model a pool under a name, with low-rank additions to some of its linear layers, and return the pool.

    Args:
        model: The model, on the CPU.
        name: Name of the module that is added.
        size: M, members of the pool.
        rank: r, at most the smaller side of each layer counts.
        where: Kinds of layers, joined by +.
        shape: Shape of a sample.

    Raises:
        Refused: No linear layer is of these kinds, or a kind does not exist.
    """
    chosen = layers_of(model, where)
    asked = _query_module(model, next(iter(chosen)))
    pool = Pool(size, _width(model, asked, shape))
    for layer in chosen.values():
        added = LowRank(layer, pool, rank)
        pool.layers.append(added)
        layer.register_forward_hook(added.add)
    asked.register_forward_pre_hook(pool.choose)
    model.register_forward_pre_hook(pool.begin)
    model.add_module(name, pool)
    return pool


def layers_of(model: nn.Module, where: str) -> dict[str, nn.Linear]:
    """Return the linear layers of some kinds by name, in order of registration, without the head.

    Raises:
        Refused: There is none, or a kind does not exist.
    """
    named = [word for word in where.replace("+", " ").replace(",", " ").split() if word]
    unknown = [word for word in named if word not in (*SEVERAL, *KINDS)]
    wanted = {kind for word in named for kind in SEVERAL.get(word, (word,))}
    places: dict[str, slice] = {}
    for name, parameter in model.named_parameters():
        start = max((place.stop for place in places.values()), default=0)
        places[name] = slice(start, start + parameter.numel())
    table = weight_groups.layers(model, places)
    linear = {each.name: each.kind for each in table if type(_module(model, each.name)) is nn.Linear}
    found = {name: model.get_submodule(name) for name, kind in linear.items() if kind in wanted}
    if unknown or not found:
        there = list(dict.fromkeys(kind for kind in linear.values() if kind in KINDS))
        has = ", ".join(there) or "none (they belong to other modules)"
        raise Refused(
            f"where={where!r} names no linear layers of this model: those before its head are of the kinds {has}; "
            "write query, key, value, output, up, gate, down, fc, attention, mlp or all, joined by +"
        )
    return {name: layer for name, layer in found.items() if isinstance(layer, nn.Linear)}


def _module(model: nn.Module, name: str) -> nn.Module | None:
    try:
        return model.get_submodule(name)
    except AttributeError:
        return None


def _query_module(model: nn.Module, first: str) -> nn.Module:
    """Return the module whose input is the query: the outermost block that holds the first layer, else that layer."""
    names = first.split(".")
    for depth in range(1, len(names)):
        if isinstance(model.get_submodule(".".join(names[:depth])), (nn.ModuleList, nn.Sequential)):
            block = model.get_submodule(".".join(names[: depth + 1]))
            if not isinstance(block, (nn.ModuleList, nn.Sequential)):
                return block
    return model.get_submodule(first)


def _width(model: nn.Module, asked: nn.Module, shape: Sequence[int]) -> int:
    """Return D, the last size of what a module reads."""
    widths: list[int] = []
    handle = asked.register_forward_pre_hook(lambda _, inputs: widths.append(inputs[0].shape[-1]))
    modes = [(module, module.training) for module in model.modules()]
    try:
        for x in _samples(shape):
            try:
                with torch.no_grad():
                    model.eval()(x)
            except (RuntimeError, IndexError, TypeError):  # tokens are not of this type
                continue
            if widths:
                return widths[0]
    finally:
        handle.remove()
        for module, mode in modes:
            module.training = mode
    raise Refused("l2m found no layer that reads a sample of this model; choose another model")


def _samples(shape: Sequence[int]) -> Iterable[Tensor]:
    yield torch.zeros(1, *shape)
    yield torch.zeros(1, *shape, dtype=torch.int64)

"""The weights of a model by layer and by group, for methods that train only a part of a model.

Any module works. Attention, MLPs of transformers, convolutions, norms, embeddings and the head are recognised by type,
or by their usual names if the type is not sufficient; the rest is ``other``. Letters: P weights.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from clbench.core.errors import Refused
from clbench.models.blocks import number_blocks

Kind = Literal[
    "stem", "conv", "shortcut", "fc", "norm", "query", "key", "value", "output", "up", "gate", "down", "embedding",
    "other", "head", "bias",
]  # fmt: skip
ATTENTION: tuple[Kind, ...] = ("query", "key", "value", "output")
FEED_FORWARD: tuple[Kind, ...] = ("up", "gate", "down")
ALIASES: dict[str, tuple[Kind, ...]] = {"attention": ATTENTION, "mlp": FEED_FORWARD, "all": get_args(Kind)}
NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
NAMES: dict[Kind, str] = {
    "query": "query q q_proj to_q wq q_lin",
    "key": "key k k_proj to_k wk k_lin",
    "value": "value v v_proj to_v wv v_lin",
    "output": "output proj out_proj o_proj to_out wo out out_lin",
}
ROLES = {name: kind for kind, names in NAMES.items() for name in names.split()}
PACKED = ("qkv", "in_proj", "to_qkv", "wqkv")


@dataclass(frozen=True)
class Place:
    """Locate a tensor, or a third of a packed one, in the flat weights.

    Args:
        parameter: Name of the parameter.
        start, stop: Its range in the flat weights.
        units: Number of output units, in equal parts of the range: rows of a matrix, filters of a kernel, entries of a
            bias.
        bias: Whether it is a bias (of a layer that is not a norm).
    """

    parameter: str
    start: int
    stop: int
    units: int
    bias: bool = False

    @property
    def size(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True)
class Layer:
    """Describe the weights that belong to one layer itself.

    Args:
        name: Name of the module, as in ``named_modules``; of the parameter if it belongs to no layer.
        kind: Kind of the layer.
        block: Number of its residual or transformer block, or of the hidden layer, from 0; -1 before the first block,
            and one more than the last after it.
        stage: Number of its sequence of convolutional blocks of one width, counted in the same way; otherwise the
            block.
        places: Its tensors.
        statistics: Names of its running statistics among ``named_buffers``.
    """

    name: str
    kind: Kind
    block: int
    stage: int
    places: tuple[Place, ...]
    statistics: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Return the number of weights."""
        return sum(place.size for place in self.places)


@dataclass(frozen=True)
class Group:
    """Combine layers of one kind in one stage: a *module* in the words of Zhao et al. 2023, such as ``conv2`` or
    ``head``."""

    name: str
    kind: Kind
    layers: tuple[Layer, ...]

    @cached_property
    def places(self) -> tuple[Place, ...]:
        return tuple(place for layer in self.layers for place in layer.places)

    @property
    def size(self) -> int:
        """Return the number of weights."""
        return sum(place.size for place in self.places)

    @property
    def statistics(self) -> tuple[str, ...]:
        """Return the names of running statistics among ``named_buffers``."""
        return tuple(name for layer in self.layers for name in layer.statistics)


def layers(model: nn.Module, slices: Mapping[str, slice]) -> tuple[Layer, ...]:
    """Return all layers of a model that have trainable weights, in order of registration.

    Args:
        model: Any module; its ``head``, if it has one, is the last linear layer.
        slices: Parameter name -> its slice of the flat weights, as ``learner.slices``; other parameters are not
            trained.
    """
    found = _mark(list(_own(model, slices)), model)
    owners = {layer.name: _owner(model, layer.name) for layer in found}
    widths = {layer.name: m.out_channels for layer in found if isinstance(m := owners[layer.name], _ConvNd)}
    follows = {layer.name for layer in found if layer.kind == "norm"}
    places = number_blocks(model, [layer.name for layer in found], widths=widths, follows=follows)
    found = [replace(layer, block=places[layer.name][0], stage=places[layer.name][1]) for layer in found]
    if any(layer.kind in ATTENTION for layer in found):
        return tuple(_in_transformer(found))
    first = next((i for i, layer in enumerate(found) if layer.kind == "conv"), None)
    return tuple(replace(layer, kind="stem") if i == first else layer for i, layer in enumerate(found))


def groups(table: Iterable[Layer]) -> tuple[Group, ...]:
    """Group layers by kind and stage, in order: ``stem norm0 conv1 norm1 ... head``; shortcuts count as conv."""
    joined: dict[tuple[Kind, str], list[Layer]] = {}
    for layer in table:
        kind: Kind = "conv" if layer.kind == "shortcut" else layer.kind
        name = kind if kind in ("stem", "embedding", "head") else f"{kind}{layer.stage + 1}"
        joined.setdefault((kind, name), []).append(layer)
    return tuple(Group(name, kind, tuple(own)) for (kind, name), own in joined.items())


def select(found: Sequence[Group], text: str) -> tuple[Group, ...]:
    """Return the groups in a text, joined by +: names (``conv2``), kinds (``norm``), ``attention``, ``mlp``, ``all``.

    The kind ``bias`` is one group of the biases of all layers that are not norms, without those of other groups in the
    text.

    Raises:
        Refused: A name is no group and no kind, or the model has nothing of a kind.
    """
    wanted = [name for name in re.split(r"[+,\s]+", text.strip()) if name]
    names, kinds = {group.name for group in found}, set(get_args(Kind))
    unknown = [name for name in wanted if name not in names | kinds | set(ALIASES)]
    chosen = tuple(
        g for g in found if any(name == g.name or name == g.kind or g.kind in ALIASES.get(name, ()) for name in wanted)
    )
    if "bias" in wanted:
        chosen = (*chosen, *_biases(each for each in found if each not in chosen))
    if unknown or not chosen:
        raise Refused(
            f"{text!r} names no modules of this model; its modules are {', '.join(g.name for g in found)}; write "
            "names, kinds (norm, bias, conv, fc, attention, mlp, head) or all, joined by +"
        )
    return chosen


def _biases(found: Iterable[Group]) -> tuple[Group, ...]:
    """Return one group of the biases in some groups, or none if they have none."""
    own = [replace(layer, places=tuple(p for p in layer.places if p.bias)) for group in found for layer in group.layers]
    with_bias = tuple(replace(layer, kind="bias", statistics=()) for layer in own if layer.places)
    return (Group("bias", "bias", with_bias),) if with_bias else ()


def mask(chosen: Iterable[Group | Layer], weights: Tensor) -> Tensor:
    """Return a mask (P,) of the weights of some groups or layers, with the device of the flat ``weights`` (P,)."""
    held = torch.zeros_like(weights, dtype=torch.bool)
    for each in chosen:
        for place in each.places:
            held[place.start : place.stop] = True
    return held


def norms(model: nn.Module, chosen: Iterable[Group | Layer]) -> list[nn.Module]:
    """Return the norm layers with running statistics in some groups or layers."""
    return [model.get_submodule(name) for each in chosen for name in dict.fromkeys(_norm_names(each))]


def _norm_names(each: Group | Layer) -> list[str]:
    return [name.rpartition(".")[0] for name in each.statistics if not name.endswith("num_batches_tracked")]


# --------------------------------------------------------------------------------------------------- recognition


def _own(model: nn.Module, slices: Mapping[str, slice]) -> Iterable[Layer]:
    """Yield layers with their own tensors; block and stage are not set yet."""
    names = {id(p): name for name, p in model.named_parameters() if name in slices}
    for path, module in model.named_modules():
        own = [(name, p) for name, p in module.named_parameters(recurse=False) if id(p) in names]
        tensors = [(names.pop(id(p)), name, p) for name, p in own]  # a shared tensor belongs to its first owner
        if not tensors:
            continue
        if isinstance(module, nn.MultiheadAttention):
            yield from _multihead(path, tensors, slices)
        elif path.rpartition(".")[2] in PACKED and isinstance(module, nn.Linear):
            yield from _thirds(path, tensors, slices)
        elif isinstance(module, (_ConvNd, nn.Linear, nn.Embedding, *NORMS)):
            norm = isinstance(module, NORMS)
            places = tuple(_place(full, slices, p, bias=name == "bias" and not norm) for full, name, p in tensors)
            kind: Kind = "norm" if norm else "conv" if isinstance(module, _ConvNd) else "fc"
            kind = "embedding" if isinstance(module, nn.Embedding) else kind
            running = [
                f"{path}.{name}" for name, _ in module.named_buffers(recurse=False) if name.startswith("running")
            ]
            yield Layer(path, kind, 0, 0, places, tuple(running) if norm else ())
        else:
            for full, _, p in tensors:
                yield Layer(full, "other", 0, 0, (_place(full, slices, p),))


def _place(full: str, slices: Mapping[str, slice], p: Tensor, *, bias: bool = False) -> Place:
    return Place(full, slices[full].start, slices[full].stop, p.shape[0] if p.dim() else 1, bias)


def _thirds(path: str, tensors: Sequence[tuple[str, str, Tensor]], slices: Mapping[str, slice]) -> Iterable[Layer]:
    """Yield query, key and value from tensors that contain them one after the other."""
    for third, kind in enumerate(ATTENTION[:3]):
        places = []
        for full, name, p in tensors:
            start, size = slices[full].start, p.numel() // 3
            at = start + third * size
            places.append(Place(full, at, at + size, p.shape[0] // 3, "bias" in name))
        yield Layer(f"{path}#{kind}", kind, 0, 0, tuple(places))


def _multihead(path: str, tensors: Sequence[tuple[str, str, Tensor]], slices: Mapping[str, slice]) -> Iterable[Layer]:
    """Yield the layers of torch's own attention, whose query, key and value are one tensor, or three if widths
    differ."""
    packed = [t for t in tensors if t[1] in ("in_proj_weight", "in_proj_bias")]
    rest = [t for t in tensors if t not in packed]
    if packed:
        yield from _thirds(path, packed, slices)
    for full, name, p in rest:
        yield Layer(full, ROLES.get(name.removesuffix("_weight"), "other"), 0, 0, (_place(full, slices, p),))


def _owner(model: nn.Module, name: str) -> nn.Module | None:
    try:
        return model.get_submodule(name)
    except AttributeError:
        return None


def _mark(found: list[Layer], model: nn.Module) -> list[Layer]:
    """Set head, attention and shortcuts by the names of layers."""
    head = getattr(model, "head", None)
    own = {id(p) for p in head.parameters()} if isinstance(head, nn.Module) else set()
    heads = {name for name, p in model.named_parameters() if id(p) in own}
    roles: dict[str, set[Kind]] = {}
    for layer in found:
        parent, last = _split(layer.name)
        roles.setdefault(parent, set()).add(ROLES.get(last, layer.kind))
    return [_named(layer, heads, roles) for layer in found]


def _named(layer: Layer, heads: set[str], roles: Mapping[str, set[Kind]]) -> Layer:
    parent, last = _split(layer.name)
    if any(place.parameter in heads for place in layer.places):
        return replace(layer, kind="head")
    around = roles[parent] | roles.get(parent.rpartition(".")[0], set())
    if layer.kind == "fc" and last in ROLES and set(ATTENTION[:3]) <= around:
        return replace(layer, kind=ROLES[last])
    if layer.kind == "conv" and re.search(r"shortcut|downsample", layer.name):
        return replace(layer, kind="shortcut")
    return layer


def _split(name: str) -> tuple[str, str]:
    """Return the parent module of a layer and its own name; for packed tensors, the parent of the module with the
    tensor."""
    path, _, third = name.partition("#")
    parent, _, last = path.rpartition(".")
    return (parent, third or last) if not third or last in PACKED else (path, third)


def _in_transformer(found: Sequence[Layer]) -> Iterable[Layer]:
    """Yield feed-forward layers, embeddings and positions of a model with attention."""
    last_block = max(layer.block for layer in found if layer.kind in ATTENTION)
    attention = {_split(layer.name)[0] for layer in found if layer.kind in ATTENTION}
    inside: dict[int, list[str]] = {}
    for layer in found:
        if layer.kind == "fc" and 0 <= layer.block <= last_block:
            nested = any(layer.name.startswith(f"{path}.") for path in attention)
            inside.setdefault(layer.block, []).extend([] if nested and "mlp" in layer.name else [layer.name])
    blocks = {layer.block for layer in found if layer.kind in ATTENTION}
    for layer in found:
        names = inside.get(layer.block, [])
        if layer.kind == "fc" and layer.block in blocks and len(names) > 1 and layer.name in names:
            kind: Kind = "down" if layer.name == names[-1] else "gate" if "gate" in layer.name else "up"
            yield replace(layer, kind=kind)
        elif layer.block < 0 and layer.kind in ("conv", "fc", "other"):
            yield replace(layer, kind="embedding")
        elif layer.kind == "other" and re.search(r"pos_emb|position|class_token|cls_token", layer.name):
            yield replace(layer, kind="other" if layer.block in blocks else "embedding")
        else:
            yield layer

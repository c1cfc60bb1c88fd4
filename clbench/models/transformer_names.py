"""Names of the weights of vision transformers in the libraries that publish them, and the form that they imply.

Each library has other names for the same tensors: timm and DINOv2, torchvision, open_clip, and our own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from clbench.core.errors import Refused
from clbench.models.transformer import Form

HEAD = 64
"""Width of a head in all published vision transformers but a few; ``heads`` says another number."""

OUTSIDE = {
    "cls_token": "class", "cls": "class", "class_token": "class", "class_embedding": "class",
    "pos_embed": "places", "pp": "places", "pc": "class_place", "encoder.pos_embedding": "places",
    "positional_embedding": "places",
    "patch_embed.proj.weight": "patches", "proj.weight": "patches", "conv_proj.weight": "patches",
    "conv1.weight": "patches",
    "patch_embed.proj.bias": "embedding.bias", "proj.bias": "embedding.bias", "conv_proj.bias": "embedding.bias",
    "norm.weight": "norm.weight", "norm.bias": "norm.bias", "encoder.ln.weight": "norm.weight",
    "encoder.ln.bias": "norm.bias", "ln_post.weight": "norm.weight", "ln_post.bias": "norm.bias",
    "norm_pre.weight": "first_norm.weight", "norm_pre.bias": "first_norm.bias",
    "ln_pre.weight": "first_norm.weight", "ln_pre.bias": "first_norm.bias", "proj": "projection",
}  # fmt: skip
"""Weights outside of blocks."""

INSIDE = {
    "norm1": "attention_norm", "ln_1": "attention_norm", "norm2": "mlp_norm", "ln_2": "mlp_norm",
    "attn.qkv": "packed", "attn.in_proj": "packed", "self_attention.in_proj": "packed",
    "attn.query": "attention.query", "attn.key": "attention.key", "attn.value": "attention.value",
    "attn.proj": "attention.output", "attn.dense": "attention.output", "attn.out_proj": "attention.output",
    "self_attention.out_proj": "attention.output",
    "mlp.fc1": "up", "fc1": "up", "mlp.0": "up", "mlp.linear_1": "up", "mlp.c_fc": "up",
    "mlp.fc2": "down", "fc2": "down", "mlp.3": "down", "mlp.linear_2": "down", "mlp.c_proj": "down",
    "ls1.gamma": "attention_scale", "ls1": "attention_scale", "ls2.gamma": "mlp_scale", "ls2": "mlp_scale",
}  # fmt: skip
"""Layers inside of a block."""

DROPPED = re.compile(r"^(head|heads|head_dist|fc|mask_token|pre_logits)\b")
"""Weights that are not read: heads of other classes."""


def looks_like_a_transformer(state: Mapping[str, Any]) -> bool:
    """Return whether a state dict has the names of a vision transformer."""
    return any(re.search(r"(attn|attention)\.", name) for name in state) and any(
        key.removeprefix("visual.") in ("cls_token", "cls", "class_token", "class_embedding", "pos_embed", "positions")
        for key in state
    )


def translated(state: Mapping[str, Tensor], *, what: str, **known: Any) -> tuple[Form, dict[str, Tensor]]:
    """Return the form of a vision transformer and its weights under our names.

    Args:
        state: Its weights under the names of timm, DINOv2, torchvision, open_clip, or under ours.
        what: Name of the weights, for messages.
        **known: Fields of the form that names and shapes do not tell, such as ``heads`` and ``eps``.

    Raises:
        Refused: A name is unknown; or weights are those of a variant that is not served, such as register tokens.
    """
    if "positions" in state and "embedding.weight" in state:
        named = {name: t for name, t in state.items() if not name.startswith(("head.", "images."))}
    else:
        named = _renamed(state, what)
    return _form(named, what, known), named


def _renamed(state: Mapping[str, Tensor], what: str) -> dict[str, Tensor]:
    visual = any(name.startswith("visual.") for name in state)
    found: dict[str, Tensor] = {}
    for full, tensor in state.items():
        if visual and not full.startswith("visual."):
            continue  # the text side of CLIP
        name = full.removeprefix("visual.")
        block = re.fullmatch(r"(?:transformer\.resblocks|blocks|encoder\.layers)\.(?:encoder_layer_)?(\d+)\.(.+)", name)
        if block is not None:
            _take_block(found, int(block[1]), block[2], tensor, what)
        elif name in OUTSIDE:
            found[OUTSIDE[name]] = tensor
        elif "reg" in name.split("_")[0] or "register" in name:
            raise Refused(
                f"{what} has register tokens ({full}), which are not served; choose weights without registers"
            )
        elif not DROPPED.match(name):
            raise Refused(
                f"{what} has weights {full!r}, which no vision transformer that is served has; use FILE.py:NAME to "
                "build it"
            )
    return _joined(found, what)


def _take_block(found: dict[str, Tensor], number: int, rest: str, tensor: Tensor, what: str) -> None:
    layer, _, kind = rest.rpartition(".")
    if rest in ("ls1", "ls2", "ls1.gamma", "ls2.gamma"):
        found[f"blocks.{number}.{INSIDE[rest]}"] = tensor
        return
    if rest.endswith(("in_proj_weight", "in_proj_bias")):
        layer, kind = rest.rsplit("_", 1)
    if layer not in INSIDE:
        raise Refused(f"{what} has weights {rest!r} in its blocks, which are not served; use FILE.py:NAME to build it")
    if INSIDE[layer] == "packed":
        for part, own in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
            found[f"blocks.{number}.attention.{part}.{kind}"] = own
    else:
        found[f"blocks.{number}.{INSIDE[layer]}.{kind}"] = tensor


def _joined(found: dict[str, Tensor], what: str) -> dict[str, Tensor]:
    """Bring embedding, class token and positions into our shape."""
    if "patches" not in found or "places" not in found:
        raise Refused(f"{what} has no patch embedding or no positions; it is no vision transformer that is served")
    patches, places = found.pop("patches").float(), found.pop("places").float()
    places = places.reshape(-1, places.shape[-1])
    found["embedding.weight"] = patches.flatten(1)
    found.setdefault("embedding.bias", patches.new_zeros(len(patches)))
    if "class" in found:
        token = found.pop("class").float().flatten()
        own = found.pop("class_place").float().flatten() if "class_place" in found else None
        side = round(len(places) ** 0.5)
        if own is None and side * side != len(places):
            own, places = places[0], places[1:]
        found["class_token"] = token if own is None else token + own
    found["positions"] = places
    if "projection" in found:
        found["projection.weight"] = found.pop("projection").float().T.contiguous()
    for number in range(sum(name.endswith("attention.query.weight") for name in found)):
        for part in ("query", "key", "value"):
            name = f"blocks.{number}.attention.{part}"
            found.setdefault(f"{name}.bias", torch.zeros(len(found[f"{name}.weight"])))
    return found


def _form(named: Mapping[str, Tensor], what: str, known: Mapping[str, Any]) -> Form:
    width = named["embedding.weight"].shape[0]
    depth = sum(name.endswith("attention.query.weight") for name in named)
    places = len(named["positions"])
    side = round(places**0.5)
    patch = round((named["embedding.weight"].shape[1] / 3) ** 0.5)
    values = named["embedding.weight"].shape[1]
    if not depth or side * side != places or 3 * patch * patch != values:
        raise Refused(
            f"{what} has {depth} blocks, {places} positions and patches of {values} values; only square grids of "
            "square patches of three channels are served"
        )
    heads = known.get("heads") or max(1, width // HEAD)
    if width % heads:
        raise Refused(f"{what} has tokens of width {width}, which {heads} heads do not divide; set heads", "heads")
    return Form(
        **{
            "width": width,
            "depth": depth,
            "hidden": named["blocks.0.up.weight"].shape[0],
            "patch": patch,
            "grid": (side, side),
            "class_token": "class_token" in named,
            "layer_scale": "blocks.0.attention_scale" in named,
            "first_norm": "first_norm.weight" in named,
            "projection": len(named["projection.weight"]) if "projection.weight" in named else 0,
            **{key: value for key, value in known.items() if value is not None and key != "heads"},
            "heads": heads,
        }
    )

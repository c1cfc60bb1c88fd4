"""Weights of a pretrained source that training left as they were: a saved model names them instead of holding them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from clbench import models
from clbench.core.global_rng import preserved

Names = dict[str, str]
"""Name in a saved model -> name in the network of the source."""


def left_out(model: nn.Module, config: Mapping[str, Any], shape: tuple[int, ...], n_outputs: int) -> dict[int, str]:
    """Return the parameters and buffers that equal those of the source, bit for bit: ``id`` -> name in its network.

    Weights that are trained are not compared, nor is the new last layer.

    Args:
        model: The network of a run, with what parts added to it.
        config: The settings of the model in the cell.
        shape: (channels, height, width) of a sample.
        n_outputs: Number of output units C.

    Returns:
        The tensors; none if the model does not begin with pretrained weights, or a function of the user's makes it.
    """
    if config.get("name") != models.PRETRAINED or ".py:" in str(config["source"]):
        return {}
    source = {_content(tensor): name for name, tensor in _of_source(config, shape, n_outputs).items()}
    candidates = [p for p in model.parameters() if not p.requires_grad] + list(model.buffers())
    found = ((tensor, source.get(_content(tensor))) for tensor in candidates)
    return {id(tensor): name for tensor, name in found if name is not None}


def filled(held: dict[str, Any]) -> dict[str, Any]:
    """Return the content of a saved model with all weights, those of the source read there again.

    Raises:
        Refused: The weights of the source are not there, or are not those of the cell.
    """
    names: Mapping[str, Names] = held.get("of_source") or {}
    if not names:
        return held
    config, stream = held["cell"]["model"], held["stream"]
    source = _of_source(config, tuple(held["data"]["shape"]), stream["n_outputs"])
    kept = dict(held["model"])
    for kind in ("parameters", "buffers"):
        kept[kind] = {**kept[kind], **{name: source[own] for name, own in names[kind].items()}}
    state = {**held["state_dict"], **{name: source[own] for name, own in names["state_dict"].items()}}
    return {**{key: value for key, value in held.items() if key != "of_source"}, "model": kept, "state_dict": state}


def _of_source(config: Mapping[str, Any], shape: tuple[int, ...], n_outputs: int) -> dict[str, Tensor]:
    """Return the weights and buffers of the source's network by name, without those of the new last layer."""
    with preserved():
        network = models.make({name: value for name, value in config.items() if name != "heads"}, shape, n_outputs)
    head = getattr(network, "head", None)
    new = {id(tensor) for tensor in head.parameters()} if isinstance(head, nn.Module) else set()
    named = (*network.named_parameters(), *network.named_buffers())
    return {name: tensor.detach() for name, tensor in named if id(tensor) not in new}


def _content(tensor: Tensor) -> bytes:
    held = tensor.detach().cpu().contiguous()
    digest = hashlib.blake2b(f"{held.dtype}:{tuple(held.shape)}:".encode(), digest_size=16)
    digest.update(held.view(-1).view(torch.uint8).numpy().tobytes() if held.numel() else b"")
    return digest.digest()

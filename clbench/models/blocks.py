"""Blocks and stages of a model: groups of consecutive layers, counted from the input.

A block is an element of a list of modules (``nn.Sequential``, ``nn.ModuleList``) that consists of several layers. In a
model without such lists, every layer with its norm is a block. A stage is a sequence of convolutional blocks of one
width.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from itertools import accumulate

from torch import nn

LISTS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def number_blocks(
    model: nn.Module, names: Sequence[str], *, widths: Mapping[str, int], follows: Set[str]
) -> dict[str, tuple[int, int]]:
    """Return block and stage of each layer.

    Layers before the first block have -1, layers after the last block have one more than its number. Layers between two
    blocks belong to the second one.

    Args:
        model: Any module.
        names: Its layers, in order; text after ``#`` is ignored.
        widths: Number of output channels of the convolutions.
        follows: Layers that belong to the layer before them, such as norms.
    """
    head = _head_names(model, names)
    paths = {name: name.partition("#")[0] for name in names if name not in head}
    keys = _composite(model, paths) or _listed(model, paths, follows) or _top(paths, follows)
    order = list(dict.fromkeys(key for name in paths if (key := keys.get(name))))
    block = {key: number for number, key in enumerate(order)}
    width = {block[keys[name]]: w for name, w in widths.items() if name in keys}  # of the last convolution
    fresh = [b == 0 or b not in width or width.get(b - 1) != width[b] for b in range(len(order))]
    stage = [*(number - 1 for number in accumulate(map(int, fresh))), 0]
    outside, n_stages = -1, max(stage) + 1 if order else 0
    later = {name: block[keys[name]] for name in names if name in keys}
    left, placed = list(later.values()), dict[str, tuple[int, int]]()
    for name in names:
        if name in later:
            outside, left = left[0], left[1:]
            placed[name] = (outside, stage[outside])
        elif outside < 0 or not left:  # a stem, or layers after the blocks
            placed[name] = (-1, -1) if outside < 0 else (len(order), n_stages)
        else:  # a transition belongs to the block after it
            placed[name] = (left[0], stage[left[0]])
    return placed


def _head_names(model: nn.Module, names: Sequence[str]) -> set[str]:
    head = getattr(model, "head", None)
    own = [path for path, module in model.named_modules() if module is head]
    return {name for name in names for path in own if name == path or name.startswith(f"{path}.")}


def _composite(model: nn.Module, paths: Mapping[str, str]) -> dict[str, str]:
    """Map layers to the outermost list element around them that consists of several layers.

    The element must be next to others of its class, or contain none of its kind.
    """
    modules = dict(model.named_modules())
    candidates = {
        path: type(module)
        for path, module in modules.items()
        if path and type(modules[path.rpartition(".")[0]]) in LISTS and type(module) not in LISTS
        and any(module.children()) and not isinstance(module, nn.MultiheadAttention)
    }  # fmt: skip
    often = Counter(candidates.values())
    kept = {
        path
        for path, kind in candidates.items()
        if often[kind] > 1 or not any(other.startswith(f"{path}.") for other in candidates)
    }
    found = {}
    for name, path in paths.items():
        steps = path.split(".")
        around = [".".join(steps[:n]) for n in range(1, len(steps) + 1)]
        outer = next((path for path in around if path in kept), None)
        if outer is not None:
            found[name] = outer
    return found


def _listed(model: nn.Module, paths: Mapping[str, str], follows: Set[str]) -> dict[str, str]:
    """Map layers to their position in a list of layers; parallel lists (layers and their norms) share positions."""
    found, last = {}, ""
    for name, path in paths.items():
        parent, _, number = path.rpartition(".")
        if (not parent and type(model) is not nn.Sequential) or not number.isdigit():
            continue
        kind = type(model.get_submodule(parent))
        if kind is nn.ModuleList:
            found[name] = f"{parent.rpartition('.')[0]}:{number}"
        elif kind is nn.Sequential:
            last = last if name in follows and last else path
            found[name] = last
    return found


def _top(paths: Mapping[str, str], follows: Set[str]) -> dict[str, str]:
    """Map layers to themselves and norms to the layer before them, if only the order of layers is known."""
    found, last = {}, ""
    for name, path in paths.items():
        last = last if name in follows and last else path
        found[name] = last
    return found

"""Blocks and stages of a model: which layers stand together, counted from the input on.

A block is an element of a list of modules (``nn.Sequential``, ``nn.ModuleList``) that is made of several layers; where
there are none, every layer with its norm is one. A stage is a run of convolutional blocks of one width.
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
    """Block and stage of each layer; -1 before the first block, one more than the last behind it, and between two
    blocks those of the second.

    Args:
        model: Any module.
        names: Its layers, in order; a part behind ``#`` is not read.
        widths: Output channels of those that are convolutions.
        follows: Those that belong to the layer before them, such as norms.
    """
    head = _head_names(model, names)
    paths = {name: name.partition("#")[0] for name in names if name not in head}
    keys = _composite(model, paths) or _listed(model, paths, follows) or _top(paths, follows)
    order = list(dict.fromkeys(key for name in paths if (key := keys.get(name))))
    block = {key: number for number, key in enumerate(order)}
    width = {block[keys[name]]: w for name, w in widths.items() if name in keys}  # the last convolution's
    fresh = [b == 0 or b not in width or width.get(b - 1) != width[b] for b in range(len(order))]
    stage = [*(number - 1 for number in accumulate(map(int, fresh))), 0]
    outside, n_stages = -1, max(stage) + 1 if order else 0
    later = {name: block[keys[name]] for name in names if name in keys}
    left, placed = list(later.values()), dict[str, tuple[int, int]]()
    for name in names:
        if name in later:
            outside, left = left[0], left[1:]
            placed[name] = (outside, stage[outside])
        elif outside < 0 or not left:  # a stem, or what comes behind the blocks
            placed[name] = (-1, -1) if outside < 0 else (len(order), n_stages)
        else:  # a transition belongs to the block that it leads to
            placed[name] = (left[0], stage[left[0]])
    return placed


def _head_names(model: nn.Module, names: Sequence[str]) -> set[str]:
    head = getattr(model, "head", None)
    own = [path for path, module in model.named_modules() if module is head]
    return {name for name in names for path in own if name == path or name.startswith(f"{path}.")}


def _composite(model: nn.Module, paths: Mapping[str, str]) -> dict[str, str]:
    """Layer -> the outermost element of a list around it that is made of several layers and has others of its class
    beside it, or none of its kind inside."""
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
    """Layer -> its place in a list of layers; lists side by side (layers and their norms) share their places."""
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
    """Layer -> itself, its norm with it: the order of layers is all that is known."""
    found, last = {}, ""
    for name, path in paths.items():
        last = last if name in follows and last else path
        found[name] = last
    return found

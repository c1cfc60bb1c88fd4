"""Checksums of arrays, tensors and modules, and of functions and types of NumPy and torch."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from clbench.core.identity.module_origin import library
from clbench.core.identity.object_walk import Unidentified, Walk
from clbench.core.identity.value_identity import attributes


def array(walk: Walk, thing: Any) -> bool:
    """Add an array, a tensor, or a function or type of NumPy or torch; return False if it is none of these."""
    torch = sys.modules.get("torch")
    if isinstance(thing, np.ndarray | np.generic):
        if not walk.again(thing):
            walk.put("array", thing.dtype.str, repr(thing.dtype.descr), repr(thing.shape))
            if thing.dtype.hasobject:
                walk.feed(thing.tolist())
            else:
                walk.put(np.ascontiguousarray(thing).tobytes())
        return True
    if isinstance(thing, np.dtype):
        walk.put("dtype", thing.str, repr(thing.descr))
        return True
    if torch is None:
        return False
    if isinstance(thing, torch.dtype | torch.device | torch.layout | torch.memory_format):
        walk.put(type(thing).__name__, str(thing))
        return True
    if isinstance(thing, torch.Generator):
        walk.put("generator", str(thing.device), thing.get_state().numpy().tobytes())
        return True
    if isinstance(thing, torch.Tensor):
        if not walk.again(thing):
            tensor(walk, thing, torch)
        return True
    if type(thing).__module__ == "torch._ops":
        walk.put("operator", str(thing))
        return True
    if isinstance(thing, torch.utils.hooks.RemovableHandle):
        walk.put("handle")  # a number; the hook itself is added with the object that holds it
        return True
    if isinstance(thing, torch.jit.ScriptModule):
        raise Unidentified("a scripted module keeps its code outside of Python")
    if isinstance(thing, torch.nn.Module):
        if not walk.again(thing):
            network(walk, thing)
        return True
    return False


def tensor(walk: Walk, thing: Any, torch: Any) -> None:
    """Add the dtype, shape, attributes and values of a tensor; its device does not count."""
    if torch.nn.parameter.is_lazy(thing):
        walk.put("tensor of no shape yet", type(thing).__name__, str(thing.dtype))
        return
    walk.put("tensor", str(thing.dtype), repr(tuple(thing.shape)), str(thing.requires_grad))
    walk.feed(type(thing))
    walk.named(vars(thing))
    if thing.is_meta:
        return
    try:
        if thing.layout != torch.strided:
            walk.put(str(thing.layout))
            thing = thing.to_dense()
        flat = thing.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
        walk.put(flat.view(torch.uint8).numpy().tobytes())
    except (RuntimeError, TypeError) as error:  # sparse, quantised or nested
        raise Unidentified(f"a tensor of layout {thing.layout} cannot be read ({error})") from None


def network(walk: Walk, module: Any) -> None:
    """Add a module. Its training mode does not count. Hooks count by their order, not by their numbers."""
    walk.put("network")
    if "_orig_mod" in module._modules and library(type(module).__module__):
        walk.feed(module._orig_mod)  # a compiled module
        return
    walk.feed(type(module))
    state = {name: value for name, value in attributes(module).items() if name != "training"}
    for name, value in state.items():
        if "_hooks" in name and isinstance(value, Mapping):
            base = list(state.get(f"{name.partition('_hooks')[0]}_hooks", value))
            state[name] = [(base.index(number) if number in base else -1, each) for number, each in value.items()]
    walk.named(state)

"""Checksums of arrays, tensors and modules, and of functions and types of NumPy and torch."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from clbench.core.identity.module_origin import library
from clbench.core.identity.object_walk import Unidentified, Walk
from clbench.core.identity.value_identity import attributes


def array(walk: Walk, obj: Any) -> bool:
    """Add an array, a tensor, or a function or type of NumPy or torch; return False if it is none of these."""
    torch = sys.modules.get("torch")
    if isinstance(obj, np.ndarray | np.generic):
        if not walk.again(obj):
            walk.put("array", obj.dtype.str, repr(obj.dtype.descr), repr(obj.shape))
            if obj.dtype.hasobject:
                walk.feed(obj.tolist())
            else:
                walk.put(np.ascontiguousarray(obj).tobytes())
        return True
    if isinstance(obj, np.dtype):
        walk.put("dtype", obj.str, repr(obj.descr))
        return True
    if torch is None:
        return False
    if isinstance(obj, torch.dtype | torch.device | torch.layout | torch.memory_format):
        walk.put(type(obj).__name__, str(obj))
        return True
    if isinstance(obj, torch.Generator):
        walk.put("generator", str(obj.device), obj.get_state().numpy().tobytes())
        return True
    if isinstance(obj, torch.Tensor):
        if not walk.again(obj):
            tensor(walk, obj, torch)
        return True
    if type(obj).__module__ == "torch._ops":
        walk.put("operator", str(obj))
        return True
    if isinstance(obj, torch.utils.hooks.RemovableHandle):
        walk.put("handle")  # a number; the hook itself is added with the object that holds it
        return True
    if isinstance(obj, torch.jit.ScriptModule):
        raise Unidentified("a scripted module keeps its code outside of Python")
    if isinstance(obj, torch.nn.Module):
        if not walk.again(obj):
            network(walk, obj)
        return True
    return False


def tensor(walk: Walk, obj: Any, torch: Any) -> None:
    """Add the dtype, shape, attributes and values of a tensor; its device does not count."""
    if torch.nn.parameter.is_lazy(obj):
        walk.put("tensor of no shape yet", type(obj).__name__, str(obj.dtype))
        return
    walk.put("tensor", str(obj.dtype), repr(tuple(obj.shape)), str(obj.requires_grad))
    walk.feed(type(obj))
    walk.named(vars(obj))
    if obj.is_meta:
        return
    try:
        if obj.layout != torch.strided:
            walk.put(str(obj.layout))
            obj = obj.to_dense()
        flat = obj.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
        walk.put(flat.view(torch.uint8).numpy().tobytes())
    except (RuntimeError, TypeError) as error:  # sparse, quantised or nested
        raise Unidentified(f"a tensor of layout {obj.layout} cannot be read ({error})") from None


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

"""Models of timm with published weights: ``timm:NAME``, such as ``timm:vit_base_patch16_224.augreg_in21k``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

from clbench.core.compat import import_torchvision
from clbench.core.errors import Refused
from clbench.data.roots import may_download
from clbench.models.pretrained.loaded import Loaded, weights_checksum


class _Timm:
    def identity(self, rest: str, options: Mapping[str, Any]) -> str:
        return weights_checksum(_module(rest).state_dict())

    def load(self, rest: str, options: Mapping[str, Any]) -> Loaded:
        return of_module(_module(rest), f"timm:{rest}")


def of_module(module: Any, what: str) -> Loaded:
    """Return a module of timm as a source gives it: a vision transformer by its weights."""
    import copy

    from torch import nn

    config = module.pretrained_cfg
    told: dict[str, Any] = {"mean": tuple(config["mean"]), "std": tuple(config["std"]), "antialias": True}
    told["size"] = int(config["input_size"][-1])
    if type(module).__name__ != "VisionTransformer":
        return Loaded(what, module=copy.deepcopy(module), **told)
    first = module.blocks[0]
    activation = "gelu" if isinstance(first.mlp.act, nn.GELU) else "quick_gelu"
    if module.global_pool != "token" and module.cls_token is not None:
        raise Refused(
            f"{what} reads its features by {module.global_pool!r}, not from the class token, which is not served; "
            "build it in a file and write source: FILE.py:NAME",
            "source",
        )
    form = {"heads": first.attn.num_heads, "eps": first.norm1.eps, "activation": activation}
    return Loaded(what, state=module.state_dict(), form=form, **told)


@lru_cache(maxsize=1)
def _module(name: str) -> Any:
    if find_spec("timm") is None:
        raise Refused(
            f"source timm:{name} needs the package timm, which is not installed; pip install 'clbench[timm]'", "source"
        )
    import_torchvision()
    import timm

    if not timm.is_model(name):
        near = timm.list_models(f"*{name.partition('.')[0][:12]}*")[:5] or ["vit_base_patch16_224"]
        raise Refused(f"timm has no model {name!r}; known ones are, for example, {', '.join(near)}", "source")
    why = "" if may_download() else _absent(timm, name)
    if not why:
        try:
            return timm.create_model(name, pretrained=True).eval()
        except Exception as error:  # the hub client raises dozens of types
            why = f"they could not be loaded ({type(error).__name__}: {(str(error).splitlines() or [''])[0]})"
    raise Refused(
        f"the weights of timm:{name}: {why}; run once with a network, or save its state dict to a file and write "
        "source: file:PATH",
        "source",
    )


def _absent(timm: Any, name: str) -> str:
    """Say which file is missing while downloads are switched off; empty if it is in the cache of the hub."""
    from huggingface_hub import try_to_load_from_cache

    config = timm.get_pretrained_cfg(name)
    repository = getattr(config, "hf_hub_id", None)
    for file in ("model.safetensors", "pytorch_model.bin"):
        if repository and isinstance(try_to_load_from_cache(str(repository), file), str):
            return ""
    return (
        f"the file model.safetensors of {repository or name} is not in the cache of the hub, and downloads are "
        "switched off by CLBENCH_OFFLINE"
    )


SCHEME = _Timm()

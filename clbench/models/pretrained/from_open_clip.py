"""Image towers of CLIP with published weights: ``open_clip:MODEL/WEIGHTS``, such as ``open_clip:ViT-B-16/openai``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

from clbench.core.compat import import_torchvision
from clbench.core.errors import Refused, did_you_mean
from clbench.data.roots import may_download
from clbench.models.pretrained.loaded import Loaded, weights_checksum

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Mean and standard deviation with which CLIP's first models normalise images."""


class _OpenClip:
    def identity(self, rest: str, options: Mapping[str, Any]) -> str:
        return weights_checksum(_model(rest).state_dict())

    def load(self, rest: str, options: Mapping[str, Any]) -> Loaded:
        return of_model(_model(rest), f"open_clip:{rest}")


def of_model(model: Any, what: str) -> Loaded:
    """Return a CLIP model of open_clip as a source gives it: its image tower, with the projection to text."""
    visual = model.visual
    mean, std = getattr(visual, "image_mean", None) or MEAN, getattr(visual, "image_std", None) or STD
    if type(visual).__name__ != "VisionTransformer":
        raise Refused(
            f"{what} has no vision transformer as image tower, and others are not served; choose a ViT model", "source"
        )
    first = visual.transformer.resblocks[0]
    activation = "quick_gelu" if type(first.mlp.gelu).__name__ == "QuickGELU" else "gelu"
    form = {"heads": first.attn.num_heads, "eps": first.ln_1.eps, "activation": activation}
    size = visual.image_size[0] if isinstance(visual.image_size, tuple) else visual.image_size
    state = {f"visual.{name}": tensor for name, tensor in visual.state_dict().items()}
    return Loaded(what, state=state, form=form, size=int(size), mean=tuple(mean), std=tuple(std))


@lru_cache(maxsize=1)
def _model(name: str) -> Any:
    if find_spec("open_clip") is None:
        raise Refused(
            f"source open_clip:{name} needs the package open_clip_torch, which is not installed; pip install "
            "'clbench[open_clip]'",
            "source",
        )
    import_torchvision()
    import open_clip

    architecture, _, weights = name.rpartition("/")
    known = open_clip.list_models()
    if architecture not in known:
        raise Refused(
            f"open_clip has no model {architecture!r}; {did_you_mean(architecture, known)}, as MODEL/WEIGHTS", "source"
        )
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if weights not in tags:
        raise Refused(f"open_clip:{architecture} has no weights {weights!r}; known: {', '.join(tags)}", "source")
    why = "downloads are switched off by CLBENCH_OFFLINE" if not may_download() else ""
    try:
        if not why:
            return open_clip.create_model(architecture, pretrained=weights).eval()
    except Exception as error:  # the hub client raises dozens of types
        why = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    raise Refused(
        f"the weights of open_clip:{name} could not be loaded ({why}); run once with a network, or save the state dict "
        "of its image tower (names that begin with visual.) to a file and write source: file:PATH",
        "source",
    )


SCHEME = _OpenClip()

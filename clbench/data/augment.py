"""Augmentation: random changes of training images, drawn for all samples of a batch at once from a given generator.

torch is imported only when an augmenter is called.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clbench.core.errors import Refused, did_you_mean
from clbench.data.augment_color import brightness_jitter, jitter
from clbench.data.augment_warp import affine_cutout, resized_crop, resized_crop_flip, uniform
from clbench.data.auto_augment import auto_augment, rand_augment

if TYPE_CHECKING:
    from torch import Generator, Tensor

Augmenter = Callable[["Tensor", "Generator"], "Tensor"]


def none(x: Tensor, _generator: Generator) -> Tensor:
    """Return the batch unchanged; nothing is drawn."""
    return x


def crop(x: Tensor, generator: Generator) -> Tensor:
    """Shift each image by up to an eighth of its height along each axis, with zero padding; for digits and letters."""
    return _crop(x, generator, flip=False)


def crop_flip(x: Tensor, generator: Generator) -> Tensor:
    """Shift as in :func:`crop`, and mirror each image horizontally with probability 1/2; for natural images.

    Source: He et al. 2016, "Deep Residual Learning", section 4.2 (padding 4 at 32 pixels).
    """
    return _crop(x, generator, flip=True)


def contrastive(x: Tensor, generator: Generator) -> Tensor:
    """Augment as contrastive methods do: a resized crop, mirrored or not, with changed or removed colours.

    Source: Khosla et al. 2020, arXiv 2004.11362; see :func:`clbench.data.augment_warp.resized_crop_flip` and
    :func:`clbench.data.augment_color.jitter`.
    """
    return jitter(resized_crop_flip(x, generator), generator)


def flip(x: Tensor, generator: Generator) -> Tensor:
    """Mirror each image horizontally with probability 1/2."""
    import torch

    mirrored = uniform(generator, x, len(x)) < 0.5
    return torch.where(mirrored[:, None, None, None], x.flip(3), x)


AUGMENTERS: dict[str, Augmenter] = {
    "none": none,
    "flip": flip,
    "crop": crop,
    "crop-flip": crop_flip,
    "contrastive": contrastive,
    "affine-cutout": affine_cutout,
    "auto-augment": auto_augment,
    "rand-augment": rand_augment,
}
COLORED = frozenset({"contrastive", "auto-augment", "rand-augment"})
"""Augmenters that change brightness and colours, and therefore depend on the meaning of the channels."""


def check_augmentation(name: str) -> str:
    """Return the name of an augmentation, or several joined by ``+``, if all exist.

    Names without settings stay as they are written; ``resized-crop`` and ``brightness`` get all of their settings.

    Raises:
        Refused: One is unknown, with the nearest one in the message, or a setting is not allowed.
    """
    parts = [each.strip() for each in name.split("+")]
    written = [_canonical(each) for each in parts]
    return name if written == parts else " + ".join(written)


def _canonical(part: str) -> str:
    found = WITH_SETTINGS.fullmatch(part)
    if found is None or found["name"] not in SETTINGS:
        if part not in AUGMENTERS:
            name = part if found is None else found["name"]
            if name in AUGMENTERS:
                raise Refused(f"augment: {name} has no settings; write {name} alone", "augment")
            raise Refused(f"there is no augmentation called {name!r}; {did_you_mean(name, [*AUGMENTERS, *SETTINGS])}")
        return part
    return SETTINGS[found["name"]].canonical(found["settings"])


@dataclass(frozen=True)
class _Setting:
    """Describe an augmentation with one setting.

    Args:
        name: Its name.
        setting: The name of its setting, which may be left out.
        default: Its value if it is not given; ``None`` if it has to be.
        allowed: Whether a value is allowed.
        example: What to write, for messages.
        make: From a value to the function.
        shown: Whether the name of the setting is shown.
    """

    name: str
    setting: str
    default: Any
    allowed: Callable[[Any], bool]
    example: str
    make: Callable[[Any], Augmenter]
    shown: bool

    def value(self, settings: str | None) -> Any:
        """Return the value in some settings as they are written.

        Raises:
            Refused: It is not allowed.
        """
        text = (settings or "").strip()
        named = re.fullmatch(rf"{self.setting}\s*=(.*)", text)
        text = text if named is None else named[1].strip()
        try:
            value = ast.literal_eval(text) if text else self.default
        except (ValueError, SyntaxError):
            value = None
        if not self.allowed(value):
            raise Refused(f"augment: {self.name}({settings or ''}) is not allowed; {self.example}", "augment")
        return value

    def canonical(self, settings: str | None) -> str:
        """Return the augmentation with its setting, in one form."""
        value = self.value(settings)
        numbers = [f"{each:g}" for each in (value if isinstance(value, list | tuple) else [value])]
        text = f"[{', '.join(numbers)}]" if isinstance(value, list | tuple) else numbers[0]
        return f"{self.name}({self.setting + '=' if self.shown else ''}{text})"


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_area(value: Any) -> bool:
    pair = isinstance(value, list | tuple) and len(value) == 2 and all(map(_number, value))
    return pair and 0 < value[0] <= value[1] <= 1


SETTINGS = {
    "resized-crop": _Setting(
        "resized-crop",
        "area",
        [0.08, 1],
        _is_area,
        "write resized-crop(area=[0.05, 1]): the smallest and the largest share of the area, above 0 and at most 1",
        lambda area: lambda x, generator: resized_crop(x, generator, area=(float(area[0]), float(area[1]))),
        shown=True,
    ),
    "brightness": _Setting(
        "brightness",
        "strength",
        None,
        lambda value: _number(value) and value > 0,
        "write brightness(0.25): the largest change of the factor of all values, above 0",
        lambda strength: lambda x, generator: brightness_jitter(x, generator, strength=float(strength)),
        shown=False,
    ),
}
"""Augmentations with a setting, which is written behind them in brackets."""
WITH_SETTINGS = re.compile(r"(?P<name>[^()]*?)\s*(\((?P<settings>.*)\))?")


def _one(part: str) -> Augmenter:
    if part in AUGMENTERS:
        return AUGMENTERS[part]
    found = WITH_SETTINGS.fullmatch(part)
    assert found is not None
    each = SETTINGS[found["name"]]
    return each.make(each.value(found["settings"]))


def augmenter(name: str) -> Augmenter:
    """Return the function ``(x, generator) -> x`` for a name, or for several names joined by ``+`` and applied in
    order.

    It takes images (B, C, H, W) in [0, 1] and a torch generator, the only source of its draws. It returns new images of
    the same shape and leaves its input unchanged.

    Raises:
        Refused: The name is unknown; or, when the function is called, samples are not images.
    """
    names = [each.strip() for each in check_augmentation(name).split("+")]
    if names == ["none"]:
        return none

    functions = [_one(each) for each in names]

    def apply(x: Tensor, generator: Generator) -> Tensor:
        for each, function in zip(names, functions, strict=True):
            _check(x, each)
            x = function(x, generator)
        return x

    return apply


def _check(x: Tensor, name: str) -> None:
    if name == "none":
        return
    if x.ndim != 4:
        raise Refused(
            f"samples of shape {tuple(x.shape[1:])} are not images (C, H, W), so {name} cannot change them; set "
            "augment: none"
        )
    if name in COLORED and x.shape[1] not in (1, 3):
        raise Refused(
            f"{name} changes colours, and images of {x.shape[1]} channels are neither grey nor red, green and blue; "
            "take crop, crop-flip or affine-cutout"
        )


def _crop(x: Tensor, generator: Generator, *, flip: bool) -> Tensor:
    import torch
    from torch.nn.functional import pad

    batch, channels, height, width = x.shape
    margin = max(1, height // 8)
    home = generator.device
    offset = torch.randint(2 * margin + 1, (batch, 2), generator=generator, device=home).to(x.device)
    down = offset[:, :1] + torch.arange(height, device=x.device)  # (B, H) rows of the padded image
    across = offset[:, 1:] + torch.arange(width, device=x.device)  # (B, W) columns
    if flip:
        mirrored = torch.randint(2, (batch, 1), generator=generator, device=home).to(x.device)
        across = torch.where(mirrored == 1, across.flip(1), across)
    place = down[:, :, None] * (width + 2 * margin) + across[:, None, :]  # (B, H, W)
    padded = pad(x, [margin] * 4).flatten(2)  # (B, C, (H+2m)*(W+2m))
    index = place.flatten(1)[:, None].expand(batch, channels, height * width)
    return padded.gather(2, index).view_as(x)

"""Corruptions of images: noise, blur, contrast, ... at five severities, for a whole batch at once.

torch is imported only when a transform is applied.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clbench.core.errors import Refused, did_you_mean
from clbench.core.rng import derive

if TYPE_CHECKING:
    from torch import Tensor

CLEAN = "clean"
"""Name of the view that leaves samples unchanged, at severity 0."""

STRENGTHS: dict[str, tuple[float, float, float, float, float]] = {
    "gaussian_noise": (0.08, 0.12, 0.18, 0.26, 0.38),
    "shot_noise": (60, 25, 12, 5, 3),
    "impulse_noise": (0.03, 0.06, 0.09, 0.17, 0.27),
    "gaussian_blur": (0.5, 0.8, 1.2, 1.6, 2.0),
    "pixelate": (0.6, 0.5, 0.4, 0.3, 0.25),
    "contrast": (0.4, 0.3, 0.2, 0.1, 0.05),
    "brightness": (0.1, 0.2, 0.3, 0.4, 0.5),
    "fog": (0.5, 1.0, 1.5, 2.0, 3.0),
    "saturate": (0.3, 0.1, 2, 5, 20),
}
"""Corruption -> its parameter at severities 1 to 5.

The parameters are: standard deviation (gaussian_noise), photons per unit of light (shot_noise), share of values
(impulse_noise), standard deviation in pixels of an image 32 pixels wide (gaussian_blur), remaining share of the side
(pixelate), factor towards the mean (contrast), added light (brightness), density (fog), factor away from grey
(saturate). The values of blur and fog are our choice for small images; the others are those of ImageNet-C.
"""

COLOUR_ONLY = ("saturate",)
"""Corruptions that leave grey images unchanged."""

CHUNK_ROWS = 1024
"""Largest number of samples corrupted at a time; the noise of all evaluation samples would need many times their
memory."""


@dataclass(frozen=True, eq=False)
class Corrupt:
    """Apply one corruption at one severity in each view; values stay in [0, 1].

    Noise depends only on the sample's index and the view, so that a sample looks the same in every visit, in every
    batch and, up to float rounding, on every machine. Training sample i and test sample i share their noise, not their
    pixels.

    Args:
        views: The corruption of each view, a key of :data:`STRENGTHS` or ``clean``, and its severity, 1 to 5 (0 for
            clean).
        seed: Seed of the noise.

    Raises:
        Refused: A corruption or severity is unknown.

    Source: Hendrycks & Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions" (ImageNet-C).
    Deviations: shot noise is the normal approximation of Poisson noise; brightness is added equally to all channels
    and saturation is a blend with grey, both instead of HSV; fog is noise of two octaves instead of a plasma
    fractal.
    """

    views: Sequence[tuple[str, int]]
    seed: int

    def __post_init__(self) -> None:
        for name, severity in self.views:
            check_corruption(name)
            if severity not in ((0,) if name == CLEAN else (1, 2, 3, 4, 5)):
                raise Refused(f"severity = {severity} of {name!r} does not exist; choose 1 to 5 (and 0 for {CLEAN!r})")

    def describe(self) -> dict[str, Any]:
        """Return kind, seed of the noise, and the corruption, severity and parameter of each view."""
        views = [[name, severity, _strength(name, severity)] for name, severity in self.views]
        return {"kind": "corrupt", "seed": self.seed, "views": views}

    def apply(self, x: Tensor, view: Tensor, rows: Tensor) -> Tensor:
        """Corrupt images ``x`` (B, C, H, W) in [0, 1] by their view (B,); their ``rows`` (B,), sample indices, set the
        noise.

        Raises:
            Refused: Samples are not images.
        """
        import torch

        if x.ndim != 4:
            raise Refused(f"samples of shape {tuple(x.shape[1:])} are not images (C, H, W) and cannot be corrupted")
        present = torch.unique(view).tolist()
        if len(present) == 1:
            return self._corrupt(x, present[0], rows)
        out = torch.empty_like(x)
        for each in present:
            where = (view == each).nonzero().squeeze(1)  # (b,)
            out[where] = self._corrupt(x[where], each, rows[where])
        return out

    def _corrupt(self, x: Tensor, view: int, rows: Tensor) -> Tensor:
        import torch

        name, severity = self.views[view]
        if name == CLEAN:
            return x
        seed, act, strength = derive(self.seed, f"corrupt/{name}/{severity}"), _ACTS[name], _strength(name, severity)
        pieces = zip(x.split(CHUNK_ROWS), rows.split(CHUNK_ROWS), strict=True)
        done = [act(part, strength, Noise(seed, index)).clamp_(0, 1) for part, index in pieces]
        return done[0] if len(done) == 1 else torch.cat(done)


def check_corruption(name: str) -> None:
    """Refuse a name that is neither a corruption nor ``clean``.

    Raises:
        Refused: The name is unknown; the message suggests the nearest one.
    """
    if name != CLEAN and name not in STRENGTHS:
        raise Refused(f"there is no corruption called {name!r}; {did_you_mean(name, [*STRENGTHS, CLEAN])}")


def _strength(name: str, severity: int) -> float:
    return 0.0 if name == CLEAN else float(STRENGTHS[name][severity - 1])


# --------------------------------------------------------------------------------------------------- noise


def _signed(word: int) -> int:
    """Convert an unsigned 64-bit constant to torch's int64; products wrap around in the same way."""
    return word - (1 << 64) if word >> 63 else word


_GAMMA = _signed(0x9E3779B97F4A7C15)
_FIRST = _signed(0xBF58476D1CE4E5B9)
_SECOND = _signed(0x94D049BB133111EB)


class Noise:
    """Generate random numbers from seed, sample index and position by hashing, without a generator.

    Args:
        seed: Seed of the view.
        rows: (B,) int64 sample indices.

    Source: Steele, Lea & Flood 2014, SplitMix64: the finaliser of (sample key + position * gamma).
    """

    def __init__(self, seed: int, rows: Tensor) -> None:
        self._key = _mix(rows * _GAMMA + seed)[:, None]  # (B, 1)

    def words(self, n: int) -> Tensor:
        """Return words (B, n) int64 with 64 random bits."""
        import torch

        return _mix(self._key + torch.arange(1, n + 1, device=self._key.device) * _GAMMA)

    def uniform(self, n: int) -> Tensor:
        """Return numbers (B, n) float32 in [0, 1), on a grid of 2**-24."""
        return _fraction(self.words(n), 40)

    def normal(self, n: int) -> Tensor:
        """Return numbers (B, n) float32, standard normal by Box and Muller's method: two numbers from each word."""
        import torch

        words = self.words((n + 1) // 2)
        radius = (-2 * (1 - _fraction(words, 40)).log()).sqrt()  # 1 - u is never 0
        angle = 2 * torch.pi * _fraction(words, 16)
        return torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)[:, :n]


def _mix(z: Tensor) -> Tensor:
    """Apply SplitMix64's finaliser; int64 shifts keep the sign, hence the masks."""
    z = (z ^ ((z >> 30) & ((1 << 34) - 1))) * _FIRST
    z = (z ^ ((z >> 27) & ((1 << 37) - 1))) * _SECOND
    return z ^ ((z >> 31) & ((1 << 33) - 1))


def _fraction(words: Tensor, shift: int) -> Tensor:
    """Return 24 bits of each word from ``shift`` on, as float32 in [0, 1)."""
    import torch

    return ((words >> shift) & 0xFFFFFF).to(torch.float32) * 2.0**-24


# --------------------------------------------------------------------------------------------------- corruptions


def _gaussian_noise(x: Tensor, strength: float, noise: Noise) -> Tensor:
    return x + strength * noise.normal(x[0].numel()).view_as(x).to(x.dtype)


def _shot_noise(x: Tensor, strength: float, noise: Noise) -> Tensor:
    return x + (x / strength).sqrt() * noise.normal(x[0].numel()).view_as(x).to(x.dtype)


def _impulse_noise(x: Tensor, strength: float, noise: Noise) -> Tensor:
    import torch

    u = noise.uniform(x[0].numel()).view_as(x)
    return torch.where(u < strength, (u < strength / 2).to(x.dtype), x)


def _gaussian_blur(x: Tensor, strength: float, _noise: Noise) -> Tensor:
    """Blur by two matrix products; at the edge the remaining weights are scaled to sum 1."""
    import torch

    def weights(side: int) -> Tensor:
        place = torch.arange(side, device=x.device, dtype=x.dtype)
        w = torch.exp(-0.5 * ((place[:, None] - place) / (strength * x.shape[3] / 32)) ** 2)
        return w / w.sum(1, keepdim=True)

    return weights(x.shape[2]) @ x @ weights(x.shape[3]).T


def _pixelate(x: Tensor, strength: float, _noise: Noise) -> Tensor:
    """Replace every pixel by the mean of its block; block sides differ by at most one pixel."""
    import torch

    def weights(side: int) -> Tensor:
        block = torch.arange(side, device=x.device) * max(1, int(side * strength)) // side
        w = (block[:, None] == block).to(x.dtype)
        return w / w.sum(1, keepdim=True)

    return weights(x.shape[2]) @ x @ weights(x.shape[3]).T


def _contrast(x: Tensor, strength: float, _noise: Noise) -> Tensor:
    mean = x.mean((2, 3), keepdim=True)
    return mean + strength * (x - mean)


def _brightness(x: Tensor, strength: float, _noise: Noise) -> Tensor:
    return x + strength


def _fog(x: Tensor, strength: float, noise: Noise) -> Tensor:
    from torch.nn.functional import interpolate

    values = noise.uniform(4 * 4 + 8 * 8).to(x.dtype)
    octaves = values[:, :16].reshape(-1, 1, 4, 4), values[:, 16:].reshape(-1, 1, 8, 8)
    wide, fine = (interpolate(o, list(x.shape[2:]), mode="bilinear", align_corners=True) for o in octaves)
    return (x + strength * (2 * wide + fine) / 3) / (1 + strength)


def _saturate(x: Tensor, strength: float, _noise: Noise) -> Tensor:
    grey = x.mean(1, keepdim=True)
    return grey + strength * (x - grey)


_ACTS: dict[str, Callable[[Tensor, float, Noise], Tensor]] = {
    "gaussian_noise": _gaussian_noise,
    "shot_noise": _shot_noise,
    "impulse_noise": _impulse_noise,
    "gaussian_blur": _gaussian_blur,
    "pixelate": _pixelate,
    "contrast": _contrast,
    "brightness": _brightness,
    "fog": _fog,
    "saturate": _saturate,
}

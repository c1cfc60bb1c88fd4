"""Plots of a stream: what occurs when, how often it recurs at each lag, and samples that the learner sees.

Plots use matplotlib's object interface. torch is imported only if samples need a transform.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from clbench.core.public_names import public
from clbench.core.types import Experience, Index, Stream
from clbench.plots import COLOURS, GRID, INK, MUTED
from clbench.plots.picture_format import Format, formatted, is_narrow, points, room
from clbench.plots.style import POINTS_FOR_FIT, canvas
from clbench.scenarios.raster import By, Floats, Lags, Raster, lags, raster

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN, PER_EXPERIENCE = 8, 4
"""Number of experiences with samples, and of samples in each."""
WIDTH = 11.5
"""Usual width in inches."""
IN_NARROW = 4
"""Number of experiences with samples in a line of a narrow picture."""
NAMED_ROWS = 32
BLOCKS = " ░▒▓█"


# ------------------------------------------------------------------------------------------- samples


def _samples(stream: Stream) -> Iterator[tuple[Experience, Floats, Index]]:
    """Yield the first experiences, some samples of each as images (n, C, H, W) in [0, 1], and output units (n,)."""
    rows = stream.dataset.train
    for i in range(min(SHOWN, len(stream))):
        experience = stream.build(i)
        units = stream.labels(rows, experience.rows, experience.view)
        place = np.linspace(0, len(experience) - 1, min(PER_EXPERIENCE, len(experience))).astype(int)
        if experience.shuffled:  # their order has no meaning: show different classes
            kinds = np.unique(units)
            if len(kinds) > 1:
                kinds = kinds[np.unique(np.linspace(0, len(kinds) - 1, PER_EXPERIENCE).astype(int))]
                own = [np.flatnonzero(units == kind) for kind in kinds]
                # Under views the same samples are compared; otherwise samples that were not shown before.
                place = np.array([which[(i if stream.transform is None else 0) % len(which)] for which in own])
        view = np.broadcast_to(np.asarray(experience.view, dtype=np.int64), len(experience))[place]
        x = np.asarray(rows.x[experience.rows[place]], dtype=np.float32) * np.float32(stream.dataset.scale)
        if stream.transform is not None:
            import torch

            index = torch.from_numpy(experience.rows[place])
            x = stream.transform.apply(torch.from_numpy(x), torch.from_numpy(view.copy()), index).numpy()
        yield experience, np.clip(x, 0, 1), units[place]


def _montage(images: Floats) -> Floats:
    """Arrange images in rows of two, (H, W, 3), with a white gap between them."""
    if images.shape[1] not in (1, 3):
        images = images[:, :1]
    images = np.broadcast_to(images, (len(images), 3, *images.shape[2:]))
    gap = max(1, images.shape[3] // 14)
    padded = np.pad(images, ((0, -len(images) % 2), (0, 0), (0, gap), (0, gap)), constant_values=1.0)
    lines = [np.concatenate(list(padded[k : k + 2]), axis=2) for k in range(0, len(padded), 2)]
    return np.concatenate(lines, axis=1).transpose(1, 2, 0)[:-gap, :-gap]


# ------------------------------------------------------------------------------------------- the picture


def picture(stream: Stream, form: Format | None = None, *, by: By = "auto", samples: bool = True) -> Figure:
    """Plot what occurs when, the lags if something recurs, and samples of the first experiences.

    Args:
        stream: Any stream.
        form: Size, letters and title; by default the usual ones.
        by: See :func:`raster`.
        samples: Whether to show images; samples that are vectors are never shown.
    """
    with formatted(form or Format()):
        return _drawn(stream, by=by, samples=samples)


def _drawn(stream: Stream, *, by: By, samples: bool) -> Figure:
    recurring = lags(stream, by=by)
    shown = list(_samples(stream)) if samples and len(stream.dataset.shape) == 3 else []
    found = raster(stream, by=by)
    width = room(WIDTH)
    narrow = is_narrow(width)
    columns = IN_NARROW if narrow else max(5, len(shown))
    heights = [1.25 + 0.2 * min(max(len(found.names), 6), 22)]
    heights += [2.6] * bool(narrow and recurring)
    heights += [1.9 if width >= WIDTH else 1.3] * -(-len(shown) // columns)
    figure = canvas(
        width, 0.45 + sum(heights),
        title=f"{stream.name} of {public(stream.dataset.name)}: {len(stream)} experiences, {len(stream.tasks)} tasks",
        caption=f"seed {stream.seed}, fingerprint {stream.fingerprint}",
    )  # fmt: skip
    rows = figure.add_gridspec(len(heights), 1, height_ratios=heights)
    beside = bool(recurring) and not narrow
    above = rows[0].subgridspec(1, 1 + beside, width_ratios=[2.1, 1] if beside else [1])
    _draw_raster(figure, figure.add_subplot(above[0]), found, stream)
    if recurring is not None:
        _draw_lags(figure.add_subplot(above[1] if beside else rows[1]), recurring)
    lines = [rows[len(heights) - k].subgridspec(1, columns) for k in range(-(-len(shown) // columns), 0, -1)]
    for place, (experience, images, units) in enumerate(shown):
        axes = figure.add_subplot(lines[place // columns][place % columns])
        axes.imshow(_montage(images), interpolation="nearest")
        axes.set_axis_off()
        named = textwrap.fill(f"units {' '.join(map(str, units.tolist()))}", int(width / columns / 0.082))
        axes.set_title(f"experience {experience.id}\n{named}", fontsize=points(8.5), color=INK)
    return figure


def _draw_lags(axes: Axes, found: Lags) -> None:
    """Draw frequency against lag on logarithmic axes, and the fitted power law through lag 1, from eight lags on."""
    from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

    seen = found.frequency > 0
    axes.loglog(found.lag[seen], found.frequency[seen], "o", color=COLOURS[1], markersize=points(4.5), zorder=3)
    if np.isfinite(found.exponent) and seen.sum() >= POINTS_FOR_FIT:
        line = np.geomspace(1, max(2.0, found.lag[seen].max()), 50)
        lag = f"(lag + {found.t0:g})" if found.t0 else "lag"
        axes.loglog(
            line, ((line + found.t0) / (1 + found.t0)) ** -found.exponent,
            color=COLOURS[0], linewidth=points(1.5), label=f"fitted: {lag}$^{{{-found.exponent:.2f}}}$",
        )  # fmt: skip
        axes.legend(frameon=False, fontsize=points(9), labelcolor=INK)
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, 0.09), max(high, 1.4))
    axes.set_xlabel("lag", color=INK)
    axes.set_ylabel("frequency, relative to lag 1", color=INK)
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(color=GRID, linewidth=points(0.8))
    axes.tick_params(colors=MUTED, labelcolor=INK, which="both")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title("frequency of recurrence", loc="left", fontsize=points(10), color=INK)


def _draw_raster(figure: Figure, axes: Axes, found: Raster, stream: Stream) -> None:
    from matplotlib.colors import PowerNorm

    count = len(found.names)
    # The square root makes rare visits visible next to those that fill an experience.
    norm = PowerNorm(0.5, vmin=0, vmax=max(float(found.share.max()), 1e-9))
    mesh = axes.pcolormesh(found.edges, np.arange(count + 1), found.share, cmap="Blues", norm=norm, rasterized=True)
    every = -(-count // NAMED_ROWS)
    names = [_short(name, 22) for name in found.names[::every]]
    axes.set_yticks(np.arange(0, count, every) + 0.5, names, fontsize=points(8))
    axes.invert_yaxis()
    axes.set_ylabel({"class": "class", "task": "task", "concept": ""}[found.by], color=INK)
    axes.set_xlabel("experience", color=INK)
    axes.tick_params(colors=MUTED, labelcolor=INK, length=points(3))
    if len(stream) <= 20:
        axes.set_xticks(np.arange(len(stream)) + 0.5, [str(i) for i in range(len(stream))])
        for boundary in range(1, len(stream)):
            axes.axvline(boundary, color=MUTED, linewidth=points(0.6), linestyle=(0, (1, 2)))
    axes.set_title(f"which {found.by} occurs when", loc="left", fontsize=points(10), color=INK)
    bar: Any = figure.colorbar(mesh, ax=axes, fraction=0.03, pad=0.01)
    bar.set_label("share of samples", color=INK, fontsize=points(8.5))
    bar.ax.tick_params(labelsize=points(8), colors=MUTED, labelcolor=INK)
    bar.outline.set_visible(False)


def _short(name: str, width: int) -> str:
    return name if len(name) <= width else f"{name[: width - 1]}…"


def terminal(stream: Stream, width: int = 80, *, by: By = "auto", height: int = 20) -> str:
    """Return the raster in block characters for a terminal; darker means a larger share of samples.

    Args:
        stream: Any stream.
        width: Characters per line, at least 30.
        by: See :func:`raster`.
        height: Largest number of lines of classes or tasks; more are combined into groups of neighbours.
    """
    margin = min(16, width // 3)
    room = max(1, width - margin - 1)
    found = raster(stream, columns=room, by=by)
    groups = np.array_split(np.arange(len(found.names)), min(height, len(found.names)))
    share = np.stack([found.share[group].sum(axis=0) for group in groups])  # (R, K)
    middle = (np.arange(room) + 0.5) * len(stream) / room
    column = np.searchsorted(found.edges, middle, side="right") - 1  # (room,)
    level = np.ceil(np.sqrt(share / max(float(share.max()), 1e-9)) * (len(BLOCKS) - 1) - 1e-9).astype(int)
    lines = []
    for group, levels in zip(groups, level[:, column], strict=True):
        name = found.names[group[0]] if len(group) == 1 else f"{found.names[group[0]]}..{found.names[group[-1]]}"
        lines.append(f"{_short(name, margin):>{margin}} " + "".join(BLOCKS[k] for k in levels))
    last = str(len(stream) - 1)
    axis = " " * (margin + 1) + "0" + last.rjust(room - 1) if len(stream) > 1 else " " * (margin + 1) + "0"
    return "\n".join([*lines, axis, f"{'':{margin}} {found.by} by experience"])

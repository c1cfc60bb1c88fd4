"""Seeing a stream: what occurs when, how often it comes back after how long, and what the learner is shown.

Pictures are made with matplotlib's object interface. torch is imported only where samples need a transform. A stream of
thousands of experiences is sampled. Letters: E experiences, R rows of the raster, K columns, L lags.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from clbench.plots import COLOURS, GRID, INK, MUTED
from clbench.scenarios.lags import fitted_exponent, frequency_by_lag
from clbench.types import Experience, Index, Stream

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

By = Literal["auto", "class", "task", "concept"]
Floats = NDArray[np.float64]

COLUMNS = 200
SAMPLED = 4
"""Experiences looked at for a column, where a column stands for more."""
LAG_EXPERIENCES = 2000
"""Experiences, from the first one on, from which lags are counted."""
RECURRING = 0.1
"""A stream recurs where at least this share of its visits comes after an absence."""
SHOWN, PER_EXPERIENCE = 8, 4
"""Experiences with samples, and samples of each."""
NAMED_ROWS = 32
BLOCKS = " ░▒▓█"


@dataclass(frozen=True, eq=False)
class Raster:
    """What occurs when.

    Args:
        by: What its rows are: ``class``, ``task`` or ``concept``.
        names: One per row, R of them.
        edges: (K + 1,) where columns begin and end, in experiences.
        share: (R, K) share of the training rows of a column; columns sum to 1.
    """

    by: str
    names: tuple[str, ...]
    edges: Floats
    share: Floats


def raster(stream: Stream, *, columns: int = COLUMNS, by: By = "auto") -> Raster:
    """Which class, task or concept occurs when.

    Experiences that keep the order of their rows are cut into several columns where there is room. With more
    experiences than columns, a column is the mean over up to four experiences spread over its stretch.

    Args:
        stream: Any.
        columns: At most so many, at least 1.
        by: Rows are classes of the data set, evaluation tasks, or concepts (which label map holds). ``auto`` takes
            concepts where the world drifts, tasks where they are different views, else classes.
    """
    by = _choose(stream) if by == "auto" else by
    names = _names(stream, by)
    if len(stream) > columns:
        stops = np.linspace(0, len(stream), columns + 1).astype(np.int64)
        share = [_mean_share(stream, by, len(names), *stops[k : k + 2]) for k in range(columns)]
        return Raster(by, names, stops.astype(np.float64), np.stack(share, axis=1))
    pieces = 1 if stream[0].shuffled else columns // len(stream)
    share, edges = [], [0.0]
    for i, experience in enumerate(stream):
        parts = np.array_split(_items(stream, experience, by), max(1, min(pieces, len(experience))))
        share += [_share(part, len(names)) for part in parts]
        edges += [i + (k + 1) / len(parts) for k in range(len(parts))]
    return Raster(by, names, np.array(edges), np.stack(share, axis=1))


def _choose(stream: Stream) -> By:
    if stream.views_at is not None:
        return "concept"
    return "task" if len({task.view for task in stream.tasks}) > 1 else "class"


def _names(stream: Stream, by: str) -> tuple[str, ...]:
    if by == "class":
        return tuple(stream.dataset.class_names)
    if by == "task":
        return tuple(task.name for task in stream.tasks)
    count = 1 + max(int(np.max(stream.task_views(i))) for i in range(len(stream)))
    maps = 0 if stream.label_map is None else len(stream.label_map)
    return tuple(f"concept {i}" for i in range(max(count, maps)))


def _items(stream: Stream, experience: Experience, by: str) -> Index:
    """Row of the raster (N,) of each row of an experience."""
    if by == "class":
        return stream.dataset.train.y[experience.rows]
    return np.broadcast_to(np.asarray(experience.task if by == "task" else experience.view), len(experience))


def _share(items: Index, count: int) -> Floats:
    return np.bincount(items, minlength=count) / len(items)


def _mean_share(stream: Stream, by: str, count: int, start: int, stop: int) -> Floats:
    """Mean share (R,) over up to four experiences of a stretch."""
    chosen = np.unique(np.linspace(start, stop - 1, min(SAMPLED, stop - start)).round().astype(int))
    return np.mean([_share(_items(stream, stream.build(int(i)), by), count) for i in chosen], axis=0)


# ------------------------------------------------------------------------------------------- lags


@dataclass(frozen=True, eq=False)
class _Observed:
    """Builds like the base, and tells after what lags its classes or tasks came back."""

    base: Callable[[int], Experience]
    lags: Index  # (E, R)
    came: Index  # (E, R)

    def __call__(self, i: int) -> Experience:
        return self.base(i)

    def occasions(self) -> tuple[Index, Index]:
        return self.lags, self.came


def with_lags(stream: Stream, *, by: By = "auto") -> Stream | None:
    """The stream in a form that tells its lags to :mod:`clbench.scenarios.lags`; ``None`` where nothing recurs.

    Where the scenario does not define lags itself, the lag of a class or task is the number of experiences since it last
    had rows, over the first 2000 experiences. Nothing recurs where fewer than a tenth of the visits come after an
    absence.
    """
    if hasattr(stream.build, "occasions"):
        lags, came = stream.build.occasions()
        return stream if len(np.unique(lags[came > 0])) > 1 else None
    by = _choose(stream) if by == "auto" else by
    count = len(_names(stream, by))
    length = min(len(stream), LAG_EXPERIENCES)
    present = np.stack([_share(_items(stream, stream.build(i), by), count) > 0 for i in range(length)])  # (E, R)
    position = np.arange(length)[:, None]
    last = np.maximum.accumulate(np.where(present, position, -1), axis=0)
    lags = np.zeros_like(last)
    lags[1:] = np.where(last[:-1] >= 0, position[1:] - last[:-1], 0)
    came = present & (lags > 0)
    if (came & (lags > 1)).sum() <= RECURRING * max(1, came.sum()):
        return None
    return replace(stream, build=_Observed(stream.build, lags, came.astype(np.int64)))


def _draw_lags(axes: Axes, stream: Stream) -> None:
    """Frequency against lag in log-log, binned, and the fitted power law through lag 1."""
    lags, frequency = frequency_by_lag(stream)
    alpha, t0 = fitted_exponent(stream), float(stream.description.get("t0", 0.0))
    seen = frequency > 0
    x, y = _binned(lags[~np.isnan(frequency)], frequency[~np.isnan(frequency)])
    axes.loglog(x[y > 0], y[y > 0], "o", color=COLOURS[1], markersize=4.5, zorder=3)
    if np.isfinite(alpha) and seen.any():
        line = np.geomspace(1, max(2, lags[seen].max()), 50)
        shift = f" + {t0:g}" if t0 else ""
        label = f"(lag{shift})$^{{{-alpha:.2f}}}$" if shift else f"lag$^{{{-alpha:.2f}}}$"
        axes.loglog(line, ((line + t0) / (1 + t0)) ** -alpha, color=COLOURS[0], linewidth=1.5, label=f"fitted: {label}")
        axes.legend(frameon=False, fontsize=9, labelcolor=INK)
    axes.set_xlabel("lag", color=INK)
    axes.set_ylabel("frequency, relative to lag 1", color=INK)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_title("how often a lag comes back", loc="left", fontsize=10, color=INK)


def _binned(x: Index, y: Floats, *, bins: int = 24) -> tuple[Floats, Floats]:
    """Means in bins of equal width on a logarithmic axis; few points stay as they are."""
    if len(x) <= bins:
        return x.astype(np.float64), y
    edges = np.unique(np.geomspace(1, x.max() + 1, bins + 1).round())
    place = np.digitize(x, edges)
    used = np.unique(place)
    return (
        np.array([np.exp(np.log(x[place == b]).mean()) for b in used]),
        np.array([y[place == b].mean() for b in used]),
    )


# ------------------------------------------------------------------------------------------- samples


def _samples(stream: Stream) -> Iterator[tuple[Experience, Floats, Index]]:
    """Of the first experiences: some rows as the learner is shown them, (n, C, H, W) in [0, 1], and output units (n,)."""
    rows = stream.dataset.train
    for i in range(min(SHOWN, len(stream))):
        experience = stream.build(i)
        units = stream.labels(rows, experience.rows, experience.view)
        place = np.linspace(0, len(experience) - 1, min(PER_EXPERIENCE, len(experience))).astype(int)
        if experience.shuffled:  # their order says nothing: show different classes
            kinds, first = np.unique(units, return_index=True)
            if len(kinds) > 1:
                place = first[np.unique(np.linspace(0, len(kinds) - 1, PER_EXPERIENCE).astype(int))]
        view = np.broadcast_to(np.asarray(experience.view, dtype=np.int64), len(experience))[place]
        x = np.asarray(rows.x[experience.rows[place]], dtype=np.float32) * np.float32(stream.dataset.scale)
        if stream.transform is not None:
            import torch

            index = torch.from_numpy(experience.rows[place])
            x = stream.transform.apply(torch.from_numpy(x), torch.from_numpy(view.copy()), index).numpy()
        yield experience, np.clip(x, 0, 1), units[place]


def _montage(images: Floats) -> Floats:
    """Two images a row, (H, W, 3), a white gap between them."""
    if images.shape[1] not in (1, 3):
        images = images[:, :1]
    images = np.broadcast_to(images, (len(images), 3, *images.shape[2:]))
    gap = max(1, images.shape[3] // 14)
    padded = np.pad(images, ((0, -len(images) % 2), (0, 0), (0, gap), (0, gap)), constant_values=1.0)
    lines = [np.concatenate(list(padded[k : k + 2]), axis=2) for k in range(0, len(padded), 2)]
    return np.concatenate(lines, axis=1).transpose(1, 2, 0)[:-gap, :-gap]


# ------------------------------------------------------------------------------------------- the picture


def picture(stream: Stream, *, by: By = "auto", samples: bool = True) -> Figure:
    """What occurs when, the lags where something recurs, and samples of the first experiences.

    Args:
        stream: Any.
        by: See :func:`raster`.
        samples: Whether images are shown (rows that are vectors never are).
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    recurring = with_lags(stream, by=by)
    shown = list(_samples(stream)) if samples and len(stream.dataset.shape) == 3 else []
    found = raster(stream, by=by)
    height = 1.7 + 0.2 * min(max(len(found.names), 6), 22)
    figure = Figure(figsize=(11.5, height + 2.1 * bool(shown)), facecolor="white")
    figure.set_layout_engine(ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06))
    rows = figure.add_gridspec(1 + bool(shown), 1, height_ratios=[height, 1.9] if shown else [1])
    above = rows[0].subgridspec(1, 2 if recurring else 1, width_ratios=[2.1, 1] if recurring else [1])
    _draw_raster(figure, figure.add_subplot(above[0]), found, stream)
    if recurring is not None:
        _draw_lags(figure.add_subplot(above[1]), recurring)
    if shown:
        below = rows[1].subgridspec(1, max(5, len(shown)))
        for column, (experience, images, units) in enumerate(shown):
            axes = figure.add_subplot(below[column])
            axes.imshow(_montage(images), interpolation="nearest")
            axes.set_axis_off()
            named = " ".join(map(str, units.tolist()))
            axes.set_title(f"experience {experience.id}\nunits {named}", fontsize=8.5, color=INK)
    seed = f"seed {stream.seed}, fingerprint {stream.fingerprint}"
    figure.suptitle(
        f"{stream.name} of {stream.dataset.name}: {len(stream)} experiences, {len(stream.tasks)} tasks  ·  {seed}",
        x=0.01, ha="left", fontsize=11.5, color=INK, weight="bold",
    )  # fmt: skip
    return figure


def _draw_raster(figure: Figure, axes: Axes, found: Raster, stream: Stream) -> None:
    from matplotlib.colors import PowerNorm

    count = len(found.names)
    # The square root lets rare visits show beside the ones that fill an experience.
    norm = PowerNorm(0.5, vmin=0, vmax=max(float(found.share.max()), 1e-9))
    mesh = axes.pcolormesh(found.edges, np.arange(count + 1), found.share, cmap="Blues", norm=norm, rasterized=True)
    every = -(-count // NAMED_ROWS)
    axes.set_yticks(np.arange(0, count, every) + 0.5, [_short(name, 22) for name in found.names[::every]], fontsize=8)
    axes.invert_yaxis()
    axes.set_ylabel({"class": "class", "task": "task", "concept": ""}[found.by], color=INK)
    axes.set_xlabel("experience", color=INK)
    axes.tick_params(colors=MUTED, labelcolor=INK, length=3)
    if len(stream) <= 20:
        axes.set_xticks(np.arange(len(stream)) + 0.5, [str(i) for i in range(len(stream))])
        for boundary in range(1, len(stream)):
            axes.axvline(boundary, color=MUTED, linewidth=0.6, linestyle=(0, (1, 2)))
    axes.set_title(f"which {found.by} occurs when", loc="left", fontsize=10, color=INK)
    bar: Any = figure.colorbar(mesh, ax=axes, fraction=0.03, pad=0.01)
    bar.set_label("share of rows", color=INK, fontsize=8.5)
    bar.ax.tick_params(labelsize=8, colors=MUTED, labelcolor=INK)
    bar.outline.set_visible(False)


def _short(name: str, width: int) -> str:
    return name if len(name) <= width else f"{name[: width - 1]}…"


def terminal(stream: Stream, width: int = 80, *, by: By = "auto", height: int = 20) -> str:
    """The raster in block characters, for a terminal; the darker, the larger the share of rows.

    Args:
        stream: Any.
        width: Characters in a line, at least 30.
        by: See :func:`raster`.
        height: At most so many lines of classes or tasks; more are joined to groups of neighbours.
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

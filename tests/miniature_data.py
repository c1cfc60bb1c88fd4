"""Miniatures of data sets that a test does not have: the same columns, folders and classes, few tiny pictures."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


def png(seed: int, side: int = 8) -> bytes:
    held = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)).save(held, "PNG")
    return held.getvalue()


PICTURES = [png(i) for i in range(5)]


def parquet(file: Path, labels: list, *, label: str = "label", **more: list) -> None:
    """Write a parquet file of pictures as hubs hold them."""
    file.parent.mkdir(parents=True, exist_ok=True)
    images = pa.array(
        [{"bytes": PICTURES[i % len(PICTURES)], "path": None} for i in range(len(labels))],
        pa.struct({"bytes": pa.binary(), "path": pa.string()}),
    )
    pq.write_table(pa.table({"image": images, label: labels, **more}), file)


class HubSplit:
    """What a split of the package ``datasets`` is to a reader: features, columns by name, rows by number."""

    def __init__(self, labels: list, *, label: str = "label", names: list[str] | None = None, **more: list) -> None:
        self.columns = {"image": [{"bytes": PICTURES[i % 5]} for i in range(len(labels))], label: labels, **more}
        self.features = {name: type("Value", (), {})() for name in self.columns}
        self.features["image"] = type("Image", (), {})()
        if names is not None:
            self.features[label] = type("ClassLabel", (), {"names": names})()

    def __len__(self) -> int:
        return len(self.columns["image"])

    def __getitem__(self, key):
        return self.columns[key] if isinstance(key, str) else {name: c[key] for name, c in self.columns.items()}


def cifar100(folder: Path) -> None:
    for split, rows in (("train", 4), ("test", 1)):
        labels = np.repeat(np.arange(100), rows).tolist()
        parquet(folder / "cifar100" / f"{split}-0.parquet", labels, label="fine_label")


HUB: dict[str, Callable[[], dict[str, HubSplit]]] = {
    "zh-plus/tiny-imagenet": lambda: {
        name: HubSplit(np.repeat(np.arange(200), rows).tolist(), names=[f"n{c:08}" for c in range(200)])
        for name, rows in (("train", 2), ("valid", 1))
    },
}
"""Name on the hub -> the splits of its miniature."""
FILES: dict[str, Callable[[Path], None]] = {"cifar100": cifar100}
"""Folder of data -> a function that writes its miniature there."""

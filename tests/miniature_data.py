"""Miniatures of data sets that a test does not have: the same columns, folders and classes, few tiny pictures."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from functools import lru_cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from clbench.core.compat import import_torchvision
from clbench.models.pretrained import from_timm


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


def vtab(folder: Path) -> None:
    for split, rows in (("train", 2), ("test", 1)):
        for label in range(50):
            for row in range(rows):
                picture(folder / "vtab" / split / f"{label:02}" / f"{row}.png", row)


def imagenet(folder: Path) -> None:
    for split, rows in (("train", 2), ("val", 1)):
        for label in range(1000):
            for row in range(rows):
                picture(folder / "imagenet" / split / f"n{label:08}" / f"{row}.png", row)


def core50(folder: Path) -> None:
    """The lists that ``clbench convert core50`` writes for run 0, with one picture of each object in an experience."""
    first = {label: 0 if label < 10 else 1 + (label - 10) // 5 for label in range(50)}
    lists = {
        "ni": [(label, experience) for experience in range(8) for label in range(50)],
        "nc": [(label, first[label]) for label in range(50)],
    }
    for name, rows in lists.items():
        lines = ["path,label,split,experience"]
        for label, experience in rows:
            lines.append(f"{name}/{experience}-{label}.png,o{label + 1},train,{experience}")
            picture(folder / "core50" / name / f"{experience}-{label}.png", label)
        for label in range(50):
            lines.append(f"{name}/test-{label}.png,o{label + 1},test,")
            picture(folder / "core50" / name / f"test-{label}.png", label)
        (folder / "core50" / f"core50-{name}-run0.csv").write_text("\n".join(lines) + "\n")


def vit_s14(folder: Path) -> None:
    """A small transformer under our names, where a benchmark wants a ViT-S/14."""
    import torch

    from clbench.models.image_input import ImageInput
    from clbench.models.transformer import Form, VisionTransformer

    form = Form(width=64, depth=2, heads=1, hidden=64, patch=14, grid=(4, 4), layer_scale=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        state = VisionTransformer(form, ImageInput((0.0,) * 3, (1.0,) * 3, None), 1).state_dict()
    (folder / "vit_s14").mkdir()
    torch.save({k: v for k, v in state.items() if not k.startswith("head")}, folder / "vit_s14" / "vit_s14_fp16.pth")


def picture(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(PICTURES[number % len(PICTURES)])


def domains() -> dict[str, HubSplit]:
    labels = np.tile(np.arange(345), 6).tolist()
    groups = np.repeat(["clipart", "infograph", "painting", "quickdraw", "real", "sketch"], 345).tolist()
    return {name: HubSplit(labels, domain=groups, names=[f"c{c:03}" for c in range(345)]) for name in ("train", "test")}


def two_hundred(rows: int, *, label: str = "label", texts: bool = False) -> HubSplit:
    names, labels = [f"n{c:08}" for c in range(200)], np.repeat(np.arange(200), rows).tolist()
    if texts:
        return HubSplit([names[c] for c in labels], label=label)
    return HubSplit(labels, label=label, names=names)


HUB: dict[str, Callable[[], dict[str, HubSplit]]] = {
    "zh-plus/tiny-imagenet": lambda: {"train": two_hundred(2), "valid": two_hundred(1)},
    "axiong/imagenet-r": lambda: {"test": two_hundred(5, label="wnid", texts=True)},
    "barkermrl/imagenet-a": lambda: {"train": two_hundred(5)},
    "Donghyun99/CUB-200-2011": lambda: {"train": two_hundred(2), "test": two_hundred(1)},
    "wltjr1007/DomainNet": domains,
}
"""Name on the hub -> the splits of its miniature."""
FILES: dict[str, Callable[[Path], None]] = {
    "cifar100": cifar100,
    "vtab": vtab,
    "core50": core50,
    "imagenet": imagenet,
    "vit_s14": vit_s14,
}
"""Folder of data -> a function that writes its miniature there."""


def write(folder: Path) -> Path:
    """Write all miniatures that are files."""
    for each in FILES.values():
        each(folder)
    return folder


@lru_cache(maxsize=1)
def _small_timm(name: str) -> Any:
    import_torchvision()
    import timm
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(0)
        kinds = {"embed_dim": 12, "depth": 6, "num_heads": 2}
        return timm.create_model("vit_tiny_patch16_224", pretrained=False, **kinds).eval()


def install(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let clbench find the miniatures: files in a folder, data sets of the hub, a small network for weights of timm."""
    module = ModuleType("datasets")
    module.__spec__ = ModuleSpec("datasets", None)  # find_spec looks there
    module.__dict__["load_dataset"] = lambda name, config=None, *, revision=None: HUB[name]()
    monkeypatch.setitem(sys.modules, "datasets", module)
    monkeypatch.setattr(from_timm, "_module", _small_timm)
    monkeypatch.setenv("CLBENCH_CACHE", str(folder / "cache"))
    monkeypatch.setenv("CLBENCH_DATA", str(folder))
    monkeypatch.setenv("CLBENCH_OFFLINE", "0")

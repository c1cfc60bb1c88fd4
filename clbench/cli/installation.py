"""What may be wrong with an installation, looked at one by one, each with its cure."""

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
    """One thing looked at.

    Args:
        name: What.
        status: ``ok``; ``warning`` where something may be missed; ``broken`` where runs will fail.
        text: What was found.
        cure: What to do; empty where nothing needs doing.
    """

    name: str
    status: Status
    text: str
    cure: str = ""


def examine(data_dir: str | None = None) -> list[Check]:
    """All checks; imports torch and torchvision.

    Args:
        data_dir: Where data sets lie, in place of ``CLBENCH_DATA`` and the user's cache folder.
    """
    return [*_interpreter(), *_torch(), _torchvision(), *_packages(), *_plugins(), _cores(), *_data(data_dir), _cache()]


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
        yield Check("torch", "broken", f"does not import: {_told(error)}", "install it anew: pip install torch")
        return
    yield Check("torch", "ok", torch.__version__)
    if torch.cuda.is_available():
        count = torch.cuda.device_count()
        yield Check("gpu", "ok", ", ".join(torch.cuda.get_device_name(i) for i in range(count)))
    elif torch.backends.mps.is_available():
        yield Check("gpu", "ok", "none that clbench uses (MPS is there, clbench runs on cpu and cuda)")
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
            f"does not import: {_told(error)}; digits, folders, .npz and parquet work without it",
            "install the torchvision that belongs to this torch: pip install --force-reinstall torchvision",
        )
    mended = " (its compiled operators do not fit this torch; mended, nothing here needs them)"
    return Check("torchvision", "ok", torchvision.__version__ + (mended if compat.is_patched() else ""))


def _packages() -> Iterator[Check]:
    """Installed versions; importing them would take longer than all else together."""
    for name, loss in (
        ("scikit-learn", "the data set digits"),
        ("avalanche-lib", "running Avalanche's strategies"),
        ("wandb", "--wandb"),
    ):
        try:
            yield Check(name, "ok", version(name))
        except PackageNotFoundError:
            yield Check(name, "warning", f"not installed; without it: no {loss}", f"pip install {name}")


def _plugins() -> Iterator[Check]:
    """What other packages add, and what of it cannot be used; commands that do not name it work all the same."""
    from clbench.cli.kinds import KINDS, registry

    for found in map(registry, KINDS[1:]):
        wrong = {entry.name: text for entry, text in found.problems()}
        for entry in found:
            if entry.name in wrong:
                yield Check("plugin", "broken", wrong[entry.name], "mend or uninstall that package")
            elif entry.origin != "clbench":
                yield Check("plugin", "ok", f"{found.kind} {entry.name}, from {entry.origin}")


def _cores() -> Check:
    from clbench.running.matrix import usable_cores

    usable, there = usable_cores(), os.cpu_count() or 1
    text = f"{usable} usable" + ("" if usable == there else f" of {there}")
    return Check("cores", "ok", f"{text}; --jobs auto fills them, each cell with its benchmark's number of threads")


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
    fate = "downloaded on demand" if may_download() else "not to be had, since CLBENCH_OFFLINE is set"
    exists = "" if root.is_dir() else " (not there yet)"
    yield Check("data", "ok", f"{root}{exists}; set it with --data-dir or CLBENCH_DATA")
    yield Check("data sets", "ok", f"digits, {', '.join(there)}" if there else "digits")
    if missing:
        yield Check("not there", "ok", f"{', '.join(missing)}; {fate}")


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
        text = f"{root} cannot be written ({error.strerror}); data sets are decoded anew in every process"
        return Check("cache", "warning", text, cure)
    text = f"{root}, {free / 2**30:.1f} GiB free"
    return Check("cache", "warning" if free < LOW_DISK_BYTES else "ok", text, cure if free < LOW_DISK_BYTES else "")


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"

"""clbench: continual-learning benchmarks that look at every iteration.

The public names are loaded when they are first used; importing this package imports no torch.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PUBLIC = {
    "Dataset": "clbench.types",
    "Experience": "clbench.types",
    "Part": "clbench.strategies.part",
    "Record": "clbench.record",
    "Refused": "clbench.parameters",
    "Stream": "clbench.types",
    "Task": "clbench.types",
    "Trace": "clbench.record",
    "board": "clbench.api",
    "from_avalanche": "clbench.adapters.avalanche.taken",
    "load": "clbench.api",
    "load_model": "clbench.saved",
    "plot": "clbench.api",
    "run": "clbench.api",
    "stream": "clbench.api",
}

__version__ = "0.1.0"
__all__ = [*_PUBLIC, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"clbench has no {name!r}; public names: {', '.join(sorted(_PUBLIC))}")
    from importlib import import_module

    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)

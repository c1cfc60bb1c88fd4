"""Search the free settings of strategies under a protocol that says which samples the search may see."""

from __future__ import annotations

from clbench.tuning.run_tuning import Tuned, tune

__all__ = ["Tuned", "tune"]

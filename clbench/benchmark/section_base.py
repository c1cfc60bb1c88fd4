"""The base class of sections of a benchmark file."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Describe a section of a benchmark file; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    options: ClassVar[frozenset[str]] = frozenset()
    """Settings that a cell includes only if they differ from their default, so that older cells keep their keys."""

    def canonical(self) -> dict[str, Any]:
        """Return all settings as they enter a cell and its key, without options at their default."""
        written = self.model_dump()
        for name in self.options:
            if written[name] == type(self).model_fields[name].get_default(call_default_factory=True):
                del written[name]
        return written

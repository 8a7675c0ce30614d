"""What all sections of a configuration have in common."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """What all sections have in common: no key but those described."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False
    )

    def given(self, *leave_out: str) -> dict[str, Any]:
        """Return the keys that have a value."""
        return self.model_dump(exclude_none=True, exclude=set(leave_out))

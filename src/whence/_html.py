"""How results look in a notebook."""

from __future__ import annotations

from html import escape
from typing import Any

import polars as pl


class ShownAsText:
    """A result that a notebook shows in the sentences that printing shows."""

    def _repr_html_(self) -> str:
        said = str(self).removeprefix("<").removesuffix(">")
        return "\n".join(f"<p>{escape(line)}</p>" for line in said.splitlines())


class ShownAsTable:
    """A result that a notebook shows as one line of heading and its table, as polars shows it."""

    def _repr_html_(self) -> str:
        heading = escape(repr(self).partition("\n")[0].removeprefix("<").removesuffix(">"))
        return f"<p>{heading}</p>\n{self._shown()._repr_html_()}"

    def _shown(self) -> pl.DataFrame:
        """The table that is shown."""
        frame: Any = getattr(self, "frame", None)
        return self.to_frame() if frame is None else frame  # type: ignore[attr-defined, no-any-return]

"""What is known of a model that has forgotten, without training one afresh."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["exact", "rounding", "optimum", "audit"]


@dataclass(frozen=True)
class Certificate:
    """How near a model that has forgotten is to one that never saw the rows.

    Attributes
    ----------
    kind : {"exact", "rounding", "optimum", "audit"}
        "exact": it equals the model fitted on what is left, bit for bit. "rounding": it equals it
        but for rounding errors, of which ``residual`` is the measure. "optimum": it is at the
        optimum of the training objective of what is left, up to a gradient of the size of
        ``gradient`` training examples, and ``distance`` (relative to the norm of the parameters)
        bounds how far that is. "audit": nothing follows from how it was made; measure it
        with `Forgotten.audit`.
    figures : mapping of str to float
        Those named above and others, by name.
    """

    kind: Kind
    figures: Mapping[str, float] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The same in a sentence."""
        figures = self.figures
        if self.kind == "exact":
            return "Equal to a model fitted on what is left, bit for bit."
        if self.kind == "rounding":
            return (
                "Equal to a model fitted on what is left but for rounding errors (residual "
                f"{figures['residual']:.1e})."
            )
        if self.kind == "optimum":
            return (
                "At the optimum for what is left, but for a gradient as that of "
                f"{figures['gradient']:.1e} training examples: at most {figures['distance']:.1e} "
                "of the norm of the parameters away from it."
            )
        return "Nothing is certain without an audit: compare with a model trained on what is left."

    def __repr__(self) -> str:
        return f"Certificate({self.kind!r}: {self.text})"

"""The arguments of `explain`, checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from whence.errors import ParameterError, check_choice, check_float, check_int
from whence.explanation._maskings import Masking, parse_masking
from whence.explanation._targets import Target, parse_target

LEVELS = ("event", "feature", "cell")
METHODS = ("auto", "exact", "permutation", "kernel", "occlusion", "integrated_gradients")
BUDGET = {"recurrent": 400_000, "others": 40_000}


@dataclass(frozen=True)
class Settings:
    """What an explanation is to be; see `whence.explain`."""

    k: int
    target: Target
    level: str
    groups: Any
    masking: Masking
    method: str
    budget: int | None
    tolerance: float
    prune: float | None
    seed: int
    order: int
    n_steps: int
    cells: tuple[list[int] | None, list[str] | None] | None

    @classmethod
    def checked(
        cls,
        *,
        k: Any,
        target: Any,
        level: Any,
        groups: Any,
        masking: Any,
        method: Any,
        budget: Any,
        tolerance: Any,
        prune: Any,
        seed: Any,
        order: Any,
        n_steps: Any,
        cells: Any,
    ) -> Settings:
        """Settings from arguments.

        Raises
        ------
        ParameterError
            If one is out of its range, or two do not go together.
        """
        check_choice("level", level, LEVELS)
        check_choice("method", method, METHODS)
        if groups is not None and level != "event":
            raise ParameterError(
                f"groups puts events together, which level={level!r} takes apart; give one of them."
            )
        if prune is not None and level != "event":
            raise ParameterError("prune is for level='event'; leave it out, or give cells=.")
        if cells is not None and level != "cell":
            raise ParameterError("cells chooses cells of level='cell'; give that level.")
        return cls(
            k=check_int("k", k, minimum=1),
            target=parse_target(target),
            level=level,
            groups=groups,
            masking=parse_masking(masking),
            method=method,
            budget=None if budget is None else check_int("budget", budget, minimum=4),
            tolerance=check_float("tolerance", tolerance, minimum=0.0),
            prune=None if prune is None else check_float("prune", prune, 0.0, 1.0),
            seed=check_int("seed", seed, minimum=0),
            order=check_int("order", order, minimum=1, maximum=2),
            n_steps=check_int("n_steps", n_steps, minimum=1),
            cells=cells,
        )

"""Where training begins: at parameters drawn from a seed, or at those of a model that is there."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from whence.data import Interactions, Vocabulary
from whence.errors import DataError, NotFittedError, ParameterError

if TYPE_CHECKING:
    from whence.models.training.differentiable import DifferentiableRecommender

Arrays = dict[str, npt.NDArray[Any]]
FILE = "model.whence"
"""Of a model in the folder of a run."""
_PREFIX = "start/"


@dataclass(frozen=True, eq=False)
class Start:
    """Parameters that training begins with.

    Attributes
    ----------
    model : str
        Name of the class that they are of.
    vocabulary : Vocabulary
        Its numbers of items and sources.
    module : dict of str to ndarray
        Parameters and buffers.
    """

    model: str
    vocabulary: Vocabulary
    module: Arrays

    @classmethod
    def of(cls, given: Any) -> Start | None:
        """Read a start.

        Parameters
        ----------
        given : None, Start, fitted DifferentiableRecommender, or path
            Of a saved model, or of the folder of a run.

        Raises
        ------
        ParameterError
            If it is none of these, or the model is not trained by gradients.
        NotFittedError
            If the model has learned nothing.
        FileFormatError
            If the file is not there, or no saved model.
        """
        if given is None or isinstance(given, Start):
            return given
        if isinstance(given, (str, Path)):
            return cls._read(_file(given))
        if not hasattr(given, "module_"):
            if hasattr(type(given), "fit") and not hasattr(given, "train_"):
                raise NotFittedError(
                    f"start is a {type(given).__name__} that has learned nothing; fit it first, "
                    "or leave start out."
                )
            raise ParameterError(_unfit(given))
        return cls(type(given).__name__, given.train_.vocabulary, given._learned_state())

    @staticmethod
    def check(given: Any) -> None:
        """Refuse a start that is nowhere, without reading it; see `of`."""
        if isinstance(given, (str, Path)):
            path = _file(given)
            if not path.is_file():
                raise ParameterError(
                    f"start is {path}, which is no file; give a saved model, or the folder of a "
                    "run that was finished."
                )
        else:
            Start.of(given)

    @classmethod
    def _read(cls, path: Path) -> Start:
        from whence.models.files import read_model_file

        metadata, tables, state = read_model_file(path)
        if "record" not in metadata or "history" not in (metadata["record"] or {}):
            raise ParameterError(_unfit(path))
        ids = (tables[name].to_series() for name in ("items", "sources"))
        learned = {name: array for name, array in state.items() if not name.startswith(_PREFIX)}
        return cls(str(metadata["model"]).rpartition(".")[2], Vocabulary(*ids), learned)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the parameters: 16 hexadecimal digits."""
        content = hashlib.sha256(self.model.encode())
        for name in sorted(self.module):
            content.update(name.encode())
            content.update(np.ascontiguousarray(self.module[name]).tobytes())
        return content.hexdigest()[:16]

    @property
    def params(self) -> dict[str, str]:
        """What tells it from others."""
        return {"model": self.model, "fingerprint": self.fingerprint}

    def __repr__(self) -> str:
        return f"<Start: {self.model}, {self.fingerprint}>"

    def numbered(self, train: Interactions, *, by_user: bool) -> Interactions:
        """Training data in the numbers of the start.

        Parameters
        ----------
        train : Interactions
        by_user : bool
            Whether the model has parameters of users (or sessions), so that these must be known.

        Raises
        ------
        DataError
            If the start knows nothing of an item, or of a user.
        """
        known, own = self.vocabulary, train.vocabulary
        wanted = Vocabulary(known.items, known.sources if by_user else own.sources)
        try:
            return train.with_vocabulary(wanted)
        except DataError as error:
            raise DataError(
                f"The training data does not fit the model that it is to start from: {error} "
                "Leave such rows out, or start from a model that knows them."
            ) from error

    def load_into(self, module: nn.Module, name: str) -> None:
        """Give a module these parameters.

        Parameters
        ----------
        module : torch.nn.Module
        name : str
            Of the class of the model.

        Raises
        ------
        ParameterError
            If they are of another model, or have other shapes.
        """
        wanted = {key: tuple(value.shape) for key, value in module.state_dict().items()}
        given = {key: value.shape for key, value in self.module.items()}
        if self.model != name:
            raise ParameterError(
                f"start is a {self.model}, from which a {name} cannot be trained on; give a model "
                "of the same class."
            )
        if wanted != given:
            odd = next(key for key in [*wanted, *given] if wanted.get(key) != given.get(key))
            raise ParameterError(
                f"start does not fit this {name}: its parameter {odd!r} is "
                f"{_shape(given.get(odd))} and would have to be {_shape(wanted.get(odd))}; take "
                "the parameters that it was trained with (start.params)."
            )
        module.load_state_dict(self.tensors)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The parameters as tensors."""
        return {name: torch.from_numpy(np.array(value)) for name, value in self.module.items()}

    def packed(self) -> Arrays:
        """As arrays beside those that a model has learned."""
        return {f"{_PREFIX}{name}": value for name, value in self.module.items()}

    @staticmethod
    def unpacked(
        model: DifferentiableRecommender, state: Mapping[str, npt.NDArray[Any]]
    ) -> tuple[Arrays, Start | None]:
        """What a model has learned, and its start, from the arrays of a file."""
        parts: tuple[Arrays, Arrays] = {}, {}
        for name, value in state.items():
            parts[name.startswith(_PREFIX)][name.removeprefix(_PREFIX)] = value
        learned, began = parts
        start = Start(type(model).__name__, model.train_.vocabulary, began) if began else None
        return learned, start


def _file(path: str | Path) -> Path:
    path = Path(path).expanduser()
    return path / FILE if path.is_dir() else path


def _shape(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else " × ".join(map(str, shape)) or "a number"


def _unfit(given: Any) -> str:
    what = given if isinstance(given, Path) else type(given).__name__
    return (
        f"start is {what}, which is no model that Whence trains by gradients; give a fitted or "
        "saved one, or the folder of a run, such as of NeuMF or GRU4Rec."
    )

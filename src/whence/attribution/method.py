"""What every method of attribution is: parameters, a name, and `attribute`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from whence.engines import Run
from whence.parameters import Configurable
from whence.registry import Registry

METHODS: Registry[type[Attributor]]


class Attributor(Configurable, ABC):
    """Base of the methods that credit sources with their share of an outcome.

    A method is one class that declares its parameters as fields (see `whence.parameters`) and is
    registered under a name: ``class Mine(Attributor, name="mine", title="My values")``.

    Attributes
    ----------
    name : str
        Under which it is chosen, and which results carry as ``metadata["method"]``.
    title : str
        The values, as headings and pictures name them.
    of_training : bool
        Whether the sources are training data, rather than the events of a query.
    adds_up_over_queries : bool
        Whether a score is a mean over the queries of the evaluation set.
    """

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""
    of_training: ClassVar[bool] = True
    adds_up_over_queries: ClassVar[bool] = False

    def __init_subclass__(
        cls,
        name: str | None = None,
        title: str | None = None,
        aliases: tuple[str, ...] = (),
        **options: Any,
    ) -> None:
        super().__init_subclass__(**options)
        if title is not None:
            cls.title = title
        if name is not None:
            cls.name = name
            METHODS.add(name, cls, aliases)

    def check_model(self, model: Any) -> None:
        """Refuse a model that this method cannot credit anything for, before it is fitted.

        Parameters
        ----------
        model : recommender
            Fitted or not.

        Raises
        ------
        UnsupportedError
            In that case.
        """

    @abstractmethod
    def attribute(self, model: Any, data: Any, *, run: Run | None = None) -> Any:
        """Credit the sources of a fitted model's behaviour.

        Parameters
        ----------
        model : fitted recommender
        data : Interactions, data frame or Queries
            What the outcome is about.
        run : Run, optional
            How the work is done; the method's own seed and threads if absent.
        """


METHODS = Registry(
    "method",
    homes=("whence.valuation", "whence.influence", "whence.explanation"),
    group="whence.methods",
)
"""Methods of attribution by their names, as configurations and the command line have them."""

"""What the models of events have that know more of an event than its item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from inspect import signature
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from torch import nn

from whence.data import Interactions
from whence.errors import DataError, ParameterError, UnsupportedError, did_you_mean
from whence.evaluation.queries import Queries, positions_of_windows
from whence.models.neural._columns import are_names
from whence.models.neural._event_features import SIDES, Coding, FeatureEmbedding
from whence.models.training import DifferentiableRecommender
from whence.parameters import field

FloatArray = npt.NDArray[np.float32]


class FeaturedRecommender(DifferentiableRecommender):
    """Base of the models of sequences, whose events have features where they are wanted.

    Parameters
    ----------
    item_features, user_features, context_features : sequence of str or None, default ()
        Columns of ``train.item_table``, of ``train.user_table``, and of the interactions, whose
        values come with the items of the history: each event's embedding is the sum of that of its
        item and of those of its features. None: all that look usable, as of `WideDeep`; of the
        interactions the rating and all columns that have no other role. What is not known, as of
        items without a row in the table, or values that the training data does not have, adds
        nothing.

    The others are those of `DifferentiableRecommender`.

    Attributes
    ----------
    features_ : dict
        ``{"item": {column: kind}, "user": {...}, "context": {...}}``: the columns that are used,
        as ``"category"``, ``"bag"`` or ``"number"``.
    coding_ : Coding or None
        What their values become; None without features.
    """

    item_features: Sequence[str] | None = ()
    user_features: Sequence[str] | None = ()
    context_features: Sequence[str] | None = ()

    features_: dict[str, dict[str, str]] = field(init=False)
    coding_: Coding | None = field(init=False)

    def _check_params(self) -> None:
        super()._check_params()
        for side in SIDES:
            names = getattr(self, f"{side}_features")
            if names is not None and not are_names(names):
                raise ParameterError(
                    f"{side}_features must be a list of names of columns, not {names!r}."
                )

    def _prepare(self, train: Interactions) -> None:
        self.coding_ = self._coding(train)
        self.features_ = {} if self.coding_ is None else self.coding_.kinds
        super()._prepare(train)

    def _coding(self, train: Interactions) -> Coding | None:
        """What the values of columns become; None where there are no features."""
        wanted = {side: getattr(self, f"{side}_features") for side in SIDES}
        if not any(names is None or len(names) for names in wanted.values()):
            return None
        start = self._start()
        if start is not None:
            coding = Coding.of_state(start.module)
            for side, names in wanted.items():
                own = [] if coding is None else [column.name for column in coding.sides[side]]
                if names is not None and list(names) != own:
                    raise ParameterError(
                        f"start has learned from the {side}_features {own}, and these are "
                        f"{list(names)}; give the same, in the same order."
                    )
            return coding
        if not train.whole.is_complete and train.whole.frame is None and hasattr(self, "coding_"):
            return self.coding_  # the rows that it was learned from are gone
        return Coding.learned(train, wanted) or None

    def _built(self, train: Interactions) -> nn.Module:
        module = self._module(train)
        if self.coding_ is None:
            return module
        states: Any = module.states
        if "features" not in signature(states).parameters:
            raise UnsupportedError(
                f"{type(self).__name__} takes no features of events; leave out item_features, "
                "user_features and context_features."
            )
        embedding: Any = module.embedding
        table = embedding.weight.detach()
        # After the rest, which so has the same initial parameters as without features.
        module.features = FeatureEmbedding(
            self.coding_, self.coding_.item_rows(train), table.shape[1], float(table[:-1].std())
        )
        return module

    def _restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        self.coding_ = Coding.of_state(state)
        super()._restore(state)

    def event_rows(
        self, data: Interactions, train: Interactions | None = None
    ) -> FloatArray | None:
        """What the model knows of the event of each row of some data beside its item.

        Parameters
        ----------
        data : Interactions
        train : Interactions, optional
            What the model will be fitted on; by default what it was fitted on.

        Returns
        -------
        float32 [n_rows, width]
            In the order of ``data.frame``; None where it is nothing.

        Raises
        ------
        ColumnError
            If the data lack a column that the model has learned from.
        """
        coding = self.coding_ if train is None else self._coding(train)
        if coding is None or not coding.width("user", "context"):
            return None
        return coding.event_rows(data, self.train_ if train is None else train)

    def check_queries(self, queries: Queries) -> None:
        """Refuse queries that lack what the model knows of events beside their items.

        Raises
        ------
        DataError
            If they were made of training data, not of the model.
        """
        lack = self.coding_ is not None and self.coding_.width("user", "context") > 0
        if lack and queries.history_features is None:
            raise DataError(
                f"{type(self).__name__} has learned from features of users or events, which these "
                "queries lack; make them with whence.make_queries(model, data), of the model "
                "itself."
            )

    def event_histories(
        self, data: Interactions, sources: Sequence[int] | None = None
    ) -> dict[Any, list[Any]]:
        """Histories of users or sessions, their events with all that the model knows of them.

        Parameters
        ----------
        data : Interactions
        sources : sequence of int, optional
            Their numbers in the data; all by default.

        Returns
        -------
        dict of list
            By the ids of the users or sessions: mappings from columns to values, or item ids where
            items are all there is.

        Raises
        ------
        ColumnError
            If the data lack a column that the model has learned from.
        """
        offsets = data.sequences.offsets
        numbers = np.arange(data.n_sources) if sources is None else np.asarray(sources)
        numbers = numbers[offsets[numbers + 1] > offsets[numbers]]
        lengths = offsets[numbers + 1] - offsets[numbers]
        places = positions_of_windows(offsets[numbers], lengths)
        table = pl.DataFrame({data.columns.item: data.vocabulary.items.gather(
            data.sequences.items[places])})  # fmt: skip
        if self.coding_ is not None:
            others = self.coding_.values_of(data, self.train_, data.sequences.rows[places])
            table = table.hstack(others)
        events = table.rows(named=True) if table.width > 1 else table.to_series().to_list()
        ends = np.cumsum(lengths)
        names = data.vocabulary.sources.gather(numbers).to_list()
        return {name: events[end - length : end] for name, end, length in zip(names, ends, lengths)}

    def _training_features(self) -> FloatArray | None:
        rows = self.event_rows(self.train_)
        return None if rows is None else rows[self.train_.sequences.rows]

    def _encode(self, histories: list[list[Any]], baskets: npt.NDArray[np.int32] | None) -> Queries:
        """Histories of ids, or of mappings with what is known of each event; see `fold_in`."""
        events = [event for history in histories for event in history]
        if not any(isinstance(event, Mapping) for event in events):
            queries = super()._encode(histories, baskets)
            width = 0 if self.coding_ is None else self.coding_.width("user", "context")
            nothing = np.zeros((len(queries.history_items), width), np.float32) if width else None
            return replace(queries, history_features=nothing)
        plain = [[self.item_of(event) for event in history] for history in histories]
        queries = super()._encode(plain, baskets)
        if self.coding_ is None:
            raise DataError(
                f"{type(self).__name__} has learned from items alone, and the history holds "
                f"{next(e for e in events if isinstance(e, Mapping))!r}; give item ids, or fit it "
                "with item_features, user_features or context_features."
            )
        ids = pl.Series([item for history in plain for item in history], strict=False)
        known = np.flatnonzero(self.vocabulary.item_codes(ids) >= 0)
        rows = self.rows_of_events(queries.history_items, [events[number] for number in known])
        return replace(queries, history_features=rows)

    def item_of(self, event: Any) -> Any:
        """The item of an event, which is one itself, or a mapping that has it.

        Raises
        ------
        DataError
            If a mapping has none, or something that is no column.
        """
        if not isinstance(event, Mapping):
            return event
        name = self.train_.columns.item
        known = [] if self.coding_ is None else [column.name for column in self.coding_.columns]
        found = next((key for key in (name, "item") if key in event), None)
        if found is None:
            raise DataError(
                f"The event {dict(event)!r} has no item; give it under {name!r}, as in the "
                "training data."
            )
        for key in event:
            if key != found and key not in known:
                raise DataError(
                    f"The event {dict(event)!r} has {key!r}, which {type(self).__name__} has not "
                    f"learned from; it knows {', '.join(map(repr, known)) or 'items alone'}."
                    f"{did_you_mean(str(key), known)}"
                )
        return event[found]

    def rows_of_events(
        self, items: npt.NDArray[np.integer[Any]], events: Sequence[Any]
    ) -> FloatArray:
        """All that is known of events beside their items, float32 [n, width].

        Parameters
        ----------
        items : int [n]
            Numbers of their items.
        events : sequence of ids or mappings
            What they do not have is looked up, for the item, or not known.
        """
        assert self.coding_ is not None
        features: Any = self.module_.features
        own = features.item_rows.cpu().numpy()[items]
        others = np.zeros((len(own), self.coding_.width("user", "context")), np.float32)
        return self.coding_.given_rows(events, np.concatenate([own, others], axis=1))

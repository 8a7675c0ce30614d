"""What can be asked of a model beyond a report: without some data, why, why not, forgotten."""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from whence.config.folders import MODEL
from whence.config.ids import history_of, known_items, known_users
from whence.errors import ConfigError, DataError, WhenceError, WhenceWarning
from whence.reporting.blocks import Block, Facts, Table, Text
from whence.reporting.charts import intervals, shares
from whence.reporting.content import names_of

if TYPE_CHECKING:
    from whence.curation import Forgotten
    from whence.reporting.folders import Folder

_ASKED = 2_000
_LISTED, _K = 15, 10
_EVENTS, _SHOWN = 40, 20
_EXACT = ("exact", "rounding")
_COMMANDS = ("train", "forget", "value", "demo")


class Explorer:
    """A model and its data, to be asked.

    Parameters
    ----------
    folder : Folder
        Of a run of ``whence train`` or ``forget``, or of values whose configuration says how the
        model is fitted.

    Raises
    ------
    ConfigError
        If the folder has no model and no data that one could be fitted on, or nothing to measure.
    """

    def __init__(self, folder: Folder) -> None:
        config, parts = folder.config, folder.parts
        if folder.command not in _COMMANDS or config is None:
            raise ConfigError(
                f"{folder.path} has no model to be asked; give a folder that whence train, forget, "
                "value or demo has written."
            )
        if parts is None:
            raise ConfigError(" ".join(folder.notes) or f"{folder.path} names no data.")
        test = parts.test if parts.test is not None else parts.validation
        if test is None:
            raise ConfigError(
                f"{folder.path} has neither test nor validation data, on which the effect of a "
                "removal could be measured; train with some."
            )
        from whence.evaluation import make_queries, parse_metric
        from whence.models import load_model

        self._quiet = threading.Lock()  # one question at a time: results and warnings are shared
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", WhenceWarning)
            path = folder.path / MODEL
            self.model = (
                load_model(path) if path.is_file() else config.build_model().fit(parts.train)
            )
            how: dict[str, Any] = {
                "unknown": config.data.unknown_of_queries, "target": config.data.target,
                "protocol": config.evaluation.protocol,
            }  # fmt: skip
            asked = make_queries(self.model, test, **how)
            if asked.kind == "users" and parts.test is not None and parts.validation is not None:
                # As whence train evaluates: what is known before the test data is history.
                asked = make_queries(self.model, test, history=parts.validation, **how)
        if len(asked) > _ASKED:
            asked = asked.take(np.linspace(0, len(asked) - 1, _ASKED).astype(np.int64))
        self.asked = asked
        self.set = "test" if parts.test is not None else "validation"
        self.metric = parse_metric(
            config.metric,
            sustainable_items=parts.sustainable_items,
            sustainability_weight=config.evaluation.sustainability_weight,
            relevant=config.evaluation.relevant,
        )

    @property
    def noun(self) -> str:
        """What can be removed, in the singular."""
        train = self.model.train_
        return "user" if train.columns.user is not None else "session"

    @property
    def examples(self) -> list[str]:
        """A few ids of sources, to begin with."""
        return [str(one) for one in self.model.train_.source_ids.head(3)]

    def ask(self, question: str, **given: str) -> list[Block]:
        """Answer a question; what goes wrong is an answer, too.

        Parameters
        ----------
        question : {"remove", "why", "why-not", "forget"}
        **given : str
            As typed into the page.
        """
        ways: dict[str, Callable[..., list[Block]]] = {
            "remove": self.without, "why": self.why, "why-not": self.why_not,
            "forget": self.forgotten,
        }  # fmt: skip
        with self._quiet, warnings.catch_warnings():
            warnings.simplefilter("ignore", WhenceWarning)
            try:
                return ways[question](**given)
            except WhenceError as error:
                return [Text(_plain(str(error)), "note")]

    def without(self, sources: str = "") -> list[Block]:
        """Return what the metric and the lists are without some users or sessions."""
        forgotten = self._forget(sources)
        from whence.evaluation import compare, evaluate

        asked = self._of_others(forgotten)
        before, after = (
            evaluate(model, asked, self.metric) for model in (self.model, forgotten.model)
        )
        found = compare(after, before)
        drawn = intervals(
            f"Change of {found.metric} on {self.set} data", [f"without {sources.strip()}"],
            [found.difference], [found.low], [found.high], f"change of {found.metric}",
        )  # fmt: skip
        return [
            self._certainty(forgotten),
            Facts([
                ("with them", found.value_b), ("without them", found.value_a),
                ("change", f"{found.difference:+.5f}, 95% interval {found.low:+.5f} to "
                           f"{found.high:+.5f} (p = {found.p_value:.2g})"),
                ("rows removed", forgotten.n_rows),
                ("measured on", f"{found.n_queries:,} queries of {found.n_groups:,} sources"),
            ]),
            drawn,
            self._changed_lists(forgotten, asked),
        ]  # fmt: skip

    def why(self, who: str = "") -> list[Block]:
        """Return which of the latest events of a history its recommendations are due to."""
        explanation = self._explained(who)
        best = np.argsort(-np.abs(explanation.scores), kind="stable")[:_SHOWN]
        labels = [explanation.labels[row] for row in best]
        errors = explanation.std_errors
        return [
            *(Text(line) for line in explanation.summary().splitlines()),
            Table("Recommended", explanation.items, ids=("item",)),
            shares(
                "Because of, the strongest", labels, explanation.scores[best],
                None if errors is None else errors[best], f"share of the {explanation.target}",
                table=Table("Shares of all events", explanation.frame, ids=("item",)),
            ),
            Table("The event that carries most of each", explanation.because()),
        ]  # fmt: skip

    def why_not(self, who: str = "", item: str = "") -> list[Block]:
        """Return what keeps an item out of a list, and what would bring it in."""
        found = self._explained(who).why_not(self._item(item))
        return [
            *(Text(line) for line in str(found).split("\n")),
            shares("For and against it, beside the last item of the list", list(found.names),
                   found.shares, None, "share of the difference"),
        ]  # fmt: skip

    def forgotten(self, who: str = "") -> list[Block]:
        """Return what forgetting a user does: what is left of them, and to others."""
        forgotten = self._forget(who)
        ids = known_users(self.model, [who.strip()]) if self.noun == "user" else []
        blocks: list[Block] = [self._certainty(forgotten)]
        blocks.append(
            Facts([
                ("rows forgotten", forgotten.n_rows),
                (f"{self.noun}s of whom nothing is left", forgotten.n_sources),
                ("seconds", forgotten.seconds),
            ])
        )  # fmt: skip
        if ids and self.model.train_.kind == "sessions":
            own = self.model.user_queries(ids)
            blocks.append(self._side_by_side(forgotten, own))
        blocks.append(self._changed_lists(forgotten, self._of_others(forgotten)))
        return blocks

    # What these are made of

    def _forget(self, text: str) -> Forgotten:
        from whence.curation import forget

        ids = [one.strip() for one in re.split(r"[,;\s]+", text) if one.strip()]
        if not ids:
            raise DataError(f"Say which {self.noun}s, by their ids with commas between.")
        known = known_users(self.model, ids)
        asked: dict[str, Any] = {f"{self.noun}s": list(dict.fromkeys(known))}
        return forget(self.model, **asked)

    def _certainty(self, forgotten: Forgotten) -> Text:
        certificate = forgotten.certificate
        if certificate.kind in _EXACT:
            return Text(f"Exact. {certificate.text}")
        return Text(
            "Predicted by influence, not retrained: the model moved by what the removed data had "
            f"taught it. {certificate.text}",
            "note",
        )

    def _of_others(self, forgotten: Forgotten) -> Any:
        """Queries of those of whom nothing was removed."""
        touched = np.unique(self.model.train_.source_codes[forgotten.gone.canonical])
        if self.asked.kind == "sessions":
            return self.asked
        others = np.flatnonzero(~np.isin(self.asked.users, touched))
        if not len(others):
            raise DataError("Nobody else is left to be asked; remove fewer.")
        return self.asked.take(others)

    def _changed_lists(self, forgotten: Forgotten, asked: Any) -> Block:
        """Lists of ten that changed most."""
        before, after = (
            model.recommend_codes(asked, _K)[0] for model in (self.model, forgotten.model)
        )
        same = np.array([
            len(np.intersect1d(one[one >= 0], other[other >= 0])) / max((one >= 0).sum(), 1)
            for one, other in zip(before, after)
        ])  # fmt: skip
        moved = np.flatnonzero((before != after).any(axis=1))
        order = moved[np.argsort(same[moved], kind="stable")][:_LISTED]
        if not len(order):
            return Text(f"None of {len(asked):,} lists of {_K} changes.")
        train = self.model.train_
        rows = [
            {
                **{name: str(value) for name, value in asked.ids.row(int(q), named=True).items()},
                "in common": float(same[q]),
                "before": " · ".join(names_of(train, before[q][before[q] >= 0])),
                "after": " · ".join(names_of(train, after[q][after[q] >= 0])),
            }
            for q in order
        ]
        caption = f"{len(moved):,} of {len(asked):,} lists of {_K} change; those that change most"
        return Table(caption, pl.DataFrame(rows))

    def _side_by_side(self, forgotten: Forgotten, own: Any) -> Block:
        """What the user would be recommended, by both models, with the history that they had."""
        columns = {}
        for name, model in (("before", self.model), ("after", forgotten.model)):
            codes = model.recommend_codes(own, _K)[0][0]
            names = names_of(self.model.train_, codes[codes >= 0])
            columns[name] = names + [""] * (_K - len(names))
        ranks = pl.Series("rank", range(1, _K + 1))
        caption = "What they would be recommended, were their history shown once more"
        return Table(caption, pl.DataFrame(columns).insert_column(0, ranks))

    def _explained(self, who: str) -> Any:
        from whence.explanation import explain

        history = self._history(who)
        return explain(self.model, history[-_EVENTS:], k=5)

    def _history(self, text: str) -> Any:
        """A history: of a user or session by its id, else items with commas between."""
        text = text.strip()
        train = self.model.train_
        if not text:
            raise DataError(
                f"Say whose recommendations: the id of a {self.noun}, or items with commas between."
            )
        if "," not in text and ";" not in text:
            try:
                (code,) = self.model.vocabulary.source_codes(known_users(self.model, [text]))
            except DataError:
                return history_of(self.model, text)
            start, end = train.sequences.offsets[code : code + 2]
            items = self.model.vocabulary.items.gather(train.sequences.items[start:end]).to_list()
            baskets = train.sequences.baskets
            if baskets is None:
                return items
            numbers = baskets[start:end]
            return [
                [item for item, number in zip(items, numbers) if number == one]
                for one in dict.fromkeys(numbers.tolist())
            ]
        return history_of(self.model, text)

    def _item(self, text: str) -> Any:
        """An item by its id, or by its title."""
        text = text.strip()
        if not text:
            raise DataError("Say which item, by its id or its title.")
        titles = self.model.train_.item_titles
        if titles is not None:
            (places,) = np.nonzero((titles == text).fill_null(False).to_numpy())
            if len(places):
                return self.model.train_.item_ids[int(places[0])]
        return known_items(self.model, [text])[0]


def _plain(message: str) -> str:
    """A message without what only a command line can follow."""
    return re.sub(r", or a history with --history|; ask why with target=[^,]*, or ", "; ", message)

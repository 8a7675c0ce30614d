"""Ids as they are written on a command line or in a page, in the type that the data have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl


def typed(texts: list[str], known: pl.Series, column: str) -> list[Any]:
    """Return ids in the type of those known to the model.

    Raises
    ------
    DataError
        If one cannot be of this type, and so is unknown.
    """
    import polars as pl

    from whence.errors import DataError

    values = pl.Series(texts, dtype=pl.String)
    cast = values.cast(known.dtype, strict=False)
    if cast.null_count():
        wrong = values.filter(cast.is_null())[0]
        raise DataError(
            f"{column} {wrong!r} is unknown to the model, whose ids are {known.dtype} such as "
            f"{known[0]}."
        )
    return cast.to_list()


def history_of(model: Any, text: str) -> list[Any]:
    """Return a history, as in 'a,b,c' or of baskets 'a,b;c', in the ids of the data.

    Raises
    ------
    DataError
        If it is empty, or an item is unknown.
    """
    from whence.errors import DataError

    column, known = model.train_.columns.item, model.vocabulary.items
    baskets = [
        typed([item.strip() for item in part.split(",") if item.strip()], known, column)
        for part in text.split(";")
    ]
    flat = [item for basket in baskets for item in basket]
    _check_known(model, flat)
    if not flat:
        raise DataError(f"The history {text!r} has no items; write it as in 'a,b,c'.")
    return baskets if model.train_.kind == "baskets" else flat


def known_items(model: Any, texts: list[str]) -> list[Any]:
    """Return items of the training data, in the ids of the data.

    Raises
    ------
    DataError
        If one is unknown.
    """
    items = typed(texts, model.vocabulary.items, model.train_.columns.item)
    _check_known(model, items)
    return items


def _check_known(model: Any, items: list[Any]) -> None:
    from whence.errors import DataError

    codes = model.vocabulary.item_codes(items) if items else []
    for item, code in zip(items, codes):
        if code < 0:
            raise DataError(
                f"{model.train_.columns.item} {item!r} is unknown to the model; give items of its "
                "training data."
            )


def known_users(model: Any, texts: list[str]) -> list[Any]:
    """Return users (or sessions) of the training data, in the ids of the data.

    Raises
    ------
    DataError
        If one is unknown.
    """
    from whence.errors import DataError

    name, known = model.train_.columns.source, model.vocabulary.sources
    ids = typed(texts, known, name)
    for text, code in zip(texts, model.vocabulary.source_codes(ids)):
        if code < 0:
            raise DataError(
                f"{name} {text!r} is unknown to the model; give one of its training data, or a "
                "history with --history."
            )
    return ids

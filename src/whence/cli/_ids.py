"""Ids as they are written on a command line or in a file, in the type that the data have."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

    from whence.attribution import Attribution


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


def ids_in(path: Path, column: str) -> list[str]:
    """Return the ids in a file: lines of a .txt, else the column of that name or the only one.

    Raises
    ------
    FileFormatError
        If it cannot be read.
    """
    import polars as pl

    from whence.data.tables import read_ids
    from whence.errors import FileFormatError

    if path.suffix.lower() in (".txt", ""):
        if not path.is_file():
            raise FileFormatError(f"There is no file {path}; check the path.")
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError as error:
            raise FileFormatError(
                f"{path} is not in UTF-8; write it again in that encoding."
            ) from error
        return [line.strip() for line in lines if line.strip()]
    return read_ids(path, column).unique(maintain_order=True).cast(pl.String).to_list()


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


def histories_of(model: Any, texts: list[str] | None) -> dict[Any, Any]:
    """Return what users (or sessions) have in the training data; None: all of them.

    Raises
    ------
    DataError
        If one is unknown.
    """
    train = model.train_
    ids = model.vocabulary.sources.to_list() if texts is None else known_users(model, texts)
    offsets, baskets = train.sequences.offsets, train.sequences.baskets
    found: dict[Any, Any] = {}
    for name, code in zip(ids, model.vocabulary.source_codes(ids)):
        part = slice(offsets[code], offsets[code + 1])
        events = model.vocabulary.items.gather(train.sequences.items[part]).to_list()
        if baskets is not None:
            numbers = list(baskets[part])
            events = [
                [item for item, number in zip(events, numbers) if number == one]
                for one in dict.fromkeys(numbers)
            ]
        found[name] = events
    return found


def masking_of(text: str, items: pl.Series, column: str) -> Any:
    """Return a masking as the library takes it: item=ID is an item, in the ids of the data.

    Raises
    ------
    ConfigError
        If the item, or a number of draws, is missing.
    """
    from whence.errors import ConfigError

    name, equals, item = text.partition("=")
    if name == "marginal" and equals:
        if not item.isdecimal():
            raise ConfigError("Say how many draws: --masking marginal=16.")
        return ("marginal", int(item))
    if name != "item":
        return text
    if not item:
        raise ConfigError("Say which item takes an event's place: --masking item=ID.")
    return ("item", typed([item], items, column)[0])


def target_of(text: str, items: pl.Series, column: str) -> Any:
    """Return a target as the library takes it: mean, item=ID, versus=ID,OTHER, mrr@10=ID and so on.

    Raises
    ------
    ConfigError
        If an item is missing.
    """
    from whence.errors import ConfigError

    name, equals, item = text.partition("=")
    if name == "versus":
        both = [part.strip() for part in item.split(",") if part.strip()]
        if len(both) != 2:
            raise ConfigError("Say which two items are compared: --target versus=ID,OTHER.")
        return (name, *typed(both, items, column))
    if name != "mean" and not item:
        raise ConfigError(f"Say of which item: --target {name}=ID.")
    return (name, typed([item], items, column)[0]) if equals else text


def loaded_values(path: Path) -> Attribution:
    """Return the values in a file, or in the folder that ``whence value`` wrote."""
    from whence.attribution import Attribution

    file = path / "values.parquet" if path.is_dir() else path
    if file.suffix == ".csv" and not file.with_suffix(".json").exists():
        beside = file.with_suffix(".parquet")
        file = beside if beside.exists() else file  # whence value writes both
    return Attribution.load(file)

"""Ids in files, and words of options that have ids in them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from whence.config.ids import history_of as history_of
from whence.config.ids import known_items as known_items
from whence.config.ids import known_users as known_users
from whence.config.ids import typed as typed

if TYPE_CHECKING:
    import polars as pl

    from whence.attribution import Attribution


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


def histories_of(model: Any, texts: list[str] | None) -> dict[Any, Any]:
    """Return what users (or sessions) have in the training data; None: all of them.

    Raises
    ------
    DataError
        If one is unknown.
    """
    train = model.train_
    ids = model.vocabulary.sources.to_list() if texts is None else known_users(model, texts)
    if getattr(model, "coding_", None) is not None:  # events have more than an item
        known: dict[Any, Any] = model.event_histories(train, model.vocabulary.source_codes(ids))
        return known
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

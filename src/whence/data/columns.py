"""Which column of a table plays which role: given by name, or recognised from the usual names."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl

from whence.data._warning import warn
from whence.errors import ColumnError, check_choice, did_you_mean

KINDS = ("sessions", "baskets")

# The rank of a row in time, as in some copies of ML-1M, where there is no other time.
LAST_RESORT_TIME = "order"

# Compared without case, spaces, '_', '-' and '.'; within a role the first that is found is taken.
USUAL_NAMES: dict[str, tuple[str, ...]] = {
    "session": ("sessionid", "session", "visitid", "sid", "usersession"),
    "user": (
        "userid",
        "user",
        "customerid",
        "customer",
        "visitorid",
        "memberid",
        "uid",
        "reviewerid",
    ),
    "basket": (
        "basketid",
        "basket",
        "orderid",
        "transactionid",
        "invoiceid",
        "invoiceno",
        "receiptid",
        "tripid",
    ),
    "item": (
        "itemid",
        "item",
        "productid",
        "product",
        "movieid",
        "articleid",
        "trackid",
        "songid",
        "bookid",
        "videoid",
        "sku",
        "asin",
        "aid",
        "iid",
    ),
    "time": (
        "timestamp",
        "time",
        "ts",
        "datetime",
        "eventtime",
        "eventtimestamp",
        "unixtimestamp",
        "createdat",
        "unixreviewtime",
        "date",
        "eventdate",
        "orderdate",
        LAST_RESORT_TIME,
    ),
    "rating": ("rating", "ratings", "stars", "overall"),
    "negatives": (
        "negitems",
        "negitem",
        "negitemlist",
        "negitemids",
        "negitemidlist",
        "negitemid",
        "negatives",
        "neg",
    ),
}


@dataclass(frozen=True)
class Columns:
    """Names of the columns that play a role in an `Interactions`.

    Attributes
    ----------
    source : str
        Sessions: the session (or the user, where there is no session). Baskets: the user.
    item : str
        The item.
    time, basket, user, rating : str or None
        Timestamp, basket, user and rating. `user` equals `source` where the sources are users.
    extras : tuple of str
        All other columns, untouched, in the order of the table.
    negatives : str or None
        Lists of item ids that the item of the row is to be ranked against.
    """

    source: str
    item: str
    time: str | None = None
    basket: str | None = None
    user: str | None = None
    rating: str | None = None
    extras: tuple[str, ...] = ()
    negatives: str | None = None

    def as_arguments(self) -> dict[str, str]:
        """Return the roles as `Interactions.from_frame` takes them, to read the table again."""
        users_are_sources = self.user == self.source
        roles = {
            "session": None if users_are_sources else self.source,
            "user": self.user,
            "item": self.item,
            "time": self.time,
            "basket": self.basket,
            "rating": self.rating,
            "negatives": self.negatives,
        }
        return {role: name for role, name in roles.items() if name is not None}

    def beside(self, name: str, own: Collection[str]) -> str:
        """Name that a column of ids has in a table of results.

        Parameters
        ----------
        name : str
            Of the column in the data.
        own : collection of str
            Columns that such a table has whatever the data are, such as ``score``.

        Returns
        -------
        str
            The same name; where it would be one of `own`, the role of the column, such as
            ``session`` or ``session_id``, so that values never stand in the place of ids.
        """
        if name not in own:
            return name
        roles = self.as_arguments()
        role = next((role for role, column in roles.items() if column == name), "group")
        taken = {*own, *roles.values(), *self.extras}
        more = (f"{role}_{number}" for number in itertools.count(2))
        return next(one for one in itertools.chain((role, f"{role}_id"), more) if one not in taken)


def resolve_columns(
    names: Sequence[str], given: Mapping[str, str | None], kind: str | None
) -> tuple[str, Columns]:
    """Find the kind of a table and the role of each of its columns.

    Parameters
    ----------
    names : sequence of str
        Columns of the table.
    given : mapping
        Role (``"session"``, ``"user"``, ``"item"``, ``"time"``, ``"basket"``, ``"rating"``,
        ``"negatives"``) to the column's name, or None to have it recognised.
    kind : {"sessions", "baskets"} or None
        None: a basket column makes baskets; else a session column makes sessions; else a user
        column makes sessions with the user as source.

    Returns
    -------
    kind : str
    columns : Columns

    Raises
    ------
    ColumnError
        A named column does not exist, a needed one is not recognised, one column has two roles,
        or the kind cannot be told.
    """
    if kind is not None:
        check_choice("kind", kind, KINDS)
    for role, name in given.items():
        if name is not None and name not in names:
            raise ColumnError(
                f"There is no column {name!r} to use as {role}; the table has {_listed(names)}."
                + did_you_mean(name, names)
            )
    found = _recognise(names, given)
    kind = kind or _kind(found, given)
    source = _source(names, found, given, kind)
    if found["item"] is None:
        raise _not_recognised("item", ("item",), names, found)
    if kind == "baskets" and found["basket"] is None:
        raise _not_recognised("basket", ("basket",), names, found)
    _warn_of_near_misses(names, found, kind)
    basket = found["basket"] if kind == "baskets" else None
    roles = {
        "item": found["item"],
        "time": found["time"],
        "basket": basket,
        "rating": found["rating"],
        "negatives": found["negatives"],
    }
    user = found["user"] if kind == "baskets" or found["user"] != source else source
    _refuse_double_roles({"source": source, **roles})
    if user is not None and user != source:
        _refuse_double_roles({"user": user, **roles})
    used = {source, user, *roles.values()}
    return kind, Columns(
        source=source,
        item=found["item"],
        time=found["time"],
        basket=basket,
        user=user,
        rating=found["rating"],
        extras=tuple(name for name in names if name not in used),
        negatives=found["negatives"],
    )


def settle_by_type(
    table: pl.DataFrame, columns: Columns, given: Mapping[str, str | None]
) -> Columns:
    """Take back roles that a column has by its name alone and cannot play by its type.

    Parameters
    ----------
    table : polars.DataFrame
    columns : Columns
        As `resolve_columns` found them from the names.
    given : mapping
        As for `resolve_columns`.

    Returns
    -------
    Columns
        A recognised column of negatives that has no lists, and a text called ``order``, are extras.

    Raises
    ------
    ColumnError
        The column named as negatives has no lists.
    """
    negatives = columns.negatives
    if negatives is not None and not isinstance(table.schema[negatives], pl.List):
        if given.get("negatives") is not None:
            raise ColumnError(
                f"Column {negatives!r} has values of type {table.schema[negatives]}, "
                "and negatives must be lists of item ids."
            )
        negatives = None
    time = columns.time
    if (
        time is not None
        and given.get("time") is None
        and plain_name(time) == LAST_RESORT_TIME
        and not table.schema[time].is_numeric()
    ):
        time = None
    freed = {columns.negatives, columns.time} - {negatives, time}
    extras = tuple(name for name in table.columns if name in freed.union(columns.extras))
    return replace(columns, negatives=negatives, time=time, extras=extras)


def _recognise(names: Sequence[str], given: Mapping[str, str | None]) -> dict[str, str | None]:
    """Return role -> column, the given ones first, then the usual names among those left."""
    found: dict[str, str | None] = {role: given.get(role) for role in USUAL_NAMES}
    taken = {name for name in found.values() if name is not None}
    plain: dict[str, list[str]] = {}
    for name in names:
        if name not in taken:
            plain.setdefault(plain_name(name), []).append(name)
    for role, usual in USUAL_NAMES.items():
        if found[role] is not None:
            continue
        for candidate in usual:
            if candidate not in plain:
                continue
            if len(plain[candidate]) > 1:
                raise ColumnError(
                    f"The columns {_listed(plain[candidate])} could each be the {role}; "
                    f"say which with {role}=..."
                )
            found[role] = plain[candidate][0]
            break
    return found


def _kind(found: Mapping[str, str | None], given: Mapping[str, str | None]) -> str:
    if found["basket"] is None:
        return "sessions"
    if found["session"] is None:
        return "baskets"
    named_basket, named_session = given.get("basket") is not None, given.get("session") is not None
    if named_basket == named_session:
        raise ColumnError(
            f"The table has a session column {found['session']!r} and a basket column "
            f"{found['basket']!r}; say which it is with kind='sessions' or kind='baskets'."
        )
    return "baskets" if named_basket else "sessions"


def _source(
    names: Sequence[str],
    found: Mapping[str, str | None],
    given: Mapping[str, str | None],
    kind: str,
) -> str:
    """Return the column whose values own the rows."""
    if kind == "baskets":
        if found["user"] is None:
            raise _not_recognised("user", ("user",), names, found)
        return found["user"]
    source = found["session"] or found["user"]
    if source is None:
        raise _not_recognised("session", ("session", "user"), names, found)
    return source


def _not_recognised(
    argument: str,
    roles: Sequence[str],
    names: Sequence[str],
    found: Mapping[str, str | None],
) -> ColumnError:
    what = " or ".join(roles)
    near = _nearest(names, found, roles, cutoff=0.6)
    hint = f" Did you mean {near!r}?" if near is not None else ""
    if all(name.removeprefix("column_").isdecimal() for name in names):
        hint = " Or name all of them in their order with columns='user item rating time'."
    return ColumnError(
        f"No {what} column is recognised among {_listed(names)}; "
        f"name it with {argument}='...'.{hint}"
    )


def _warn_of_near_misses(names: Sequence[str], found: Mapping[str, str | None], kind: str) -> None:
    """Warn where an optional column seems to be there under a misspelt name."""
    missing = [("time", "the order of the rows is taken as the order in time")]
    if found["session"] is None and kind == "sessions":
        missing.append(("basket", "each user is taken as one session"))
    for role, consequence in missing:
        if found[role] is not None:
            continue
        near = _nearest(names, found, (role,), cutoff=0.85)
        if near is not None:
            warn(
                f"No {role} column is recognised, so {consequence}; "
                f"if {near!r} is the {role}, say {role}={near!r}.",
            )


def _nearest(
    names: Sequence[str],
    found: Mapping[str, str | None],
    roles: Sequence[str],
    cutoff: float,
) -> str | None:
    """Return the unused column whose name is nearest to a usual name of the roles."""
    best, best_ratio = None, cutoff
    for name in names:
        if name in found.values():
            continue
        for role in roles:
            for usual in USUAL_NAMES[role]:
                ratio = difflib.SequenceMatcher(None, plain_name(name), usual).ratio()
                if ratio > best_ratio:
                    best, best_ratio = name, ratio
    return best


def _refuse_double_roles(roles: Mapping[str, str | None]) -> None:
    seen: dict[str, str] = {}
    for role, name in roles.items():
        if name is None:
            continue
        if name in seen:
            raise ColumnError(
                f"Column {name!r} is given as {seen[name]} and as {role}; "
                "give each role its own column."
            )
        seen[name] = role


def plain_name(name: str) -> str:
    """Return a name as it is compared: without case, blanks, ``_``, ``-`` and ``.``."""
    return name.lower().translate(str.maketrans("", "", " _-."))


def is_usual_name(name: str) -> bool:
    """Whether a column of this name is recognised as anything."""
    plain = plain_name(name)
    return any(plain in usual for usual in USUAL_NAMES.values())


def _listed(names: Sequence[str], most: int = 12) -> str:
    shown = ", ".join(repr(name) for name in names[:most])
    return shown if len(names) <= most else f"{shown}, ... ({len(names)} in all)"

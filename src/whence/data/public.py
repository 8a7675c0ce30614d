"""Public data sets by name, fetched from where their publishers keep them."""

from __future__ import annotations

import importlib
import re
import shutil
import sys
import uuid
import zipfile
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from whence.data._folders import find_data
from whence.data._ties import tie_seed
from whence.data.interactions import Interactions
from whence.data.readers import read_interactions
from whence.errors import DataError, FileFormatError, UnsupportedError, check_choice

_GROUPLENS = "https://files.grouplens.org/datasets/movielens/"
_GROUPLENS_LICENCE = (
    "MovieLens data are published by GroupLens (University of Minnesota) for research; no "
    "commercial use without permission; name F. M. Harper and J. A. Konstan, The MovieLens "
    "Datasets: History and Context, ACM TiiS 5(4), 2015, in publications. The full terms are in "
    "the README of the data set."
)
_SECONDS = 60.0


@dataclass(frozen=True)
class PublicData:
    """A public data set.

    Attributes
    ----------
    name : str
    address : str
        Folder of the zip archive ``{name}.zip`` on the web, ending in ``/``.
    md5 : str or None
        Of the archive; None where it changes with time, and the publisher's own
        ``{name}.zip.md5`` is asked for.
    about : str
    licence : str
        The terms in short.
    """

    name: str
    address: str
    md5: str | None
    about: str
    licence: str


# The checksums are those that GroupLens publishes beside the archives, as {name}.zip.md5.
PUBLIC_DATA: dict[str, PublicData] = {
    data.name: data
    for data in (
        PublicData(
            "ml-100k",
            _GROUPLENS,
            "0e33842e24a9c977be4e0107933c0723",
            "100,000 ratings of 1,682 films by 943 users, 1997 and 1998",
            _GROUPLENS_LICENCE + " The data must not be handed on.",
        ),
        PublicData(
            "ml-1m",
            _GROUPLENS,
            "c4d9eecfca2ab87c1945afe126590906",
            "1,000,209 ratings of 3,706 films by 6,040 users, 2000 to 2003",
            _GROUPLENS_LICENCE + " The data must not be handed on.",
        ),
        PublicData(
            "ml-latest-small",
            _GROUPLENS,
            None,
            "about 100,000 ratings of 9,000 films by 600 users, renewed from time to time",
            _GROUPLENS_LICENCE,
        ),
    )
}


def load(
    name: str,
    *,
    cache: str | Path | None = None,
    base_url: str | None = None,
    ties: str = "order",
    seed: int = 42,
) -> Interactions:
    """Load a public data set, fetching it the first time.

    Parameters
    ----------
    name : {"ml-100k", "ml-1m", "ml-latest-small"}
        `PUBLIC_DATA` tells more of each, its licence included, which is printed when the data are
        fetched.
    cache : path, optional
        Folder where data sets are kept. Default: ``whence`` in the user's folder for caches.
        A data set that was fetched by other means is found there as ``{name}.zip`` or unpacked as
        a folder ``{name}``.
    base_url : str, optional
        Fetch ``{name}.zip`` from this address instead of the publisher's, such as a mirror.
    ties, seed
        Whether rows of equal time are in a random order; see `Interactions.from_frame`.

    Returns
    -------
    Interactions
        With tables of the items, and of the users where there is one.

    Raises
    ------
    ParameterError
        There is no data set of this name.
    DataError
        It is not in the cache and cannot be fetched.
    FileFormatError
        What was fetched is not what the publisher says, by its checksum.
    UnsupportedError
        It has to be fetched and the library pooch is not installed.
    """
    tie_seed(ties, seed)
    data = PUBLIC_DATA[check_choice("name", name, PUBLIC_DATA)]
    folder = Path(cache) if cache is not None else Path(_pooch().os_cache("whence"))
    ready = _unpacked(folder, name)
    if ready is None:
        archive = _fetch(data, folder, base_url or data.address)
        _unpack(archive, folder / name)
        ready = _unpacked(folder, name)
    if ready is None:
        raise FileFormatError(
            f"{folder / name} has no file of ratings that is known by its name; delete it and "
            f"{name}.zip beside it, and load again."
        )
    return read_interactions(ready, ties=ties, seed=seed)


def _unpacked(folder: Path, name: str) -> Path | None:
    """Return the folder that has the data, if they are there."""
    for place in (folder / name, folder / name / name):
        if place.is_dir():
            try:
                find_data(place, None)
            except FileFormatError:
                continue
            return place
    return None


def _fetch(data: PublicData, folder: Path, address: str) -> Path:
    """Return the path of the archive, fetched if it is not there, its checksum right."""
    pooch = _pooch()
    file = f"{data.name}.zip"
    url = f"{address.rstrip('/')}/{file}"
    target = folder / file
    try:
        md5 = data.md5 or _published_md5(url, target)
        if not target.is_file():
            print(f"Fetching {data.name} from {url}. {data.licence}", file=sys.stderr)
        downloader = pooch.HTTPDownloader(timeout=_SECONDS)
        known = None if md5 is None else f"md5:{md5}"
        return Path(pooch.retrieve(url, known, fname=file, path=folder, downloader=downloader))
    except ValueError as error:
        if "hash" not in str(error):
            raise _unreachable(data, url, folder, error) from error
        raise FileFormatError(
            f"What was fetched from {url} does not have the checksum md5:{md5} that its publisher "
            "gives; try again later, or fetch it from elsewhere."
        ) from error
    except (OSError, EOFError) as error:  # those of the library requests are among them
        raise _unreachable(data, url, folder, error) from error


def _published_md5(url: str, target: Path) -> str | None:
    """Return the checksum that lies beside an archive on the web; None if a copy is here anyway."""
    requests = importlib.import_module("requests")  # which pooch brings along
    try:
        answer = requests.get(f"{url}.md5", timeout=_SECONDS)
        answer.raise_for_status()
    except OSError:
        if target.is_file():
            return None
        raise
    found = re.search(r"\b[0-9a-fA-F]{32}\b", answer.text)
    if found is None:
        raise OSError(f"{url}.md5 has no checksum")
    return found[0].lower()


def _unreachable(data: PublicData, url: str, folder: Path, error: Exception) -> DataError:
    reason = type(error).__name__ if len(str(error)) > 100 else str(error)
    return DataError(
        f"{data.name} is not in {folder} and cannot be fetched ({reason}); download {url} by other "
        f"means and put it there as {data.name}.zip, or unpacked as the folder {data.name}."
    )


def _unpack(archive: Path, target: Path) -> None:
    """Unpack an archive to a folder that is whole or not there."""
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        with zipfile.ZipFile(archive) as content:
            content.extractall(temporary)
        if target.is_dir():
            shutil.rmtree(target)
        temporary.rename(target)
    except zipfile.BadZipFile as error:
        raise FileFormatError(
            f"{archive} is not a whole zip archive; delete it and load again."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _pooch() -> ModuleType:
    try:
        return importlib.import_module("pooch")
    except ImportError as error:
        raise UnsupportedError(
            "Public data sets are fetched by the library pooch, which is not installed; "
            "pip install 'whence[datasets]'."
        ) from error

"""The content of files, whatever they are compressed with."""

from __future__ import annotations

import bz2
import gzip
import importlib
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from whence.errors import FileFormatError, UnsupportedError

_MAGIC = {
    ".gz": (b"\x1f\x8b", "gzip"),
    ".bz2": (b"BZh", "bzip2"),
    ".xz": (b"\xfd7zXZ\x00", "xz"),
    ".zst": (b"\x28\xb5\x2f\xfd", "Zstandard"),
    ".zip": (b"PK\x03\x04", "zip"),
}
ENDINGS = tuple(_MAGIC)
"""Of names of compressed files."""


def read_bytes(path: Path) -> bytes:
    """Return the content of a file, decompressed as its name says; see `read_content`.

    Raises
    ------
    FileFormatError
        It cannot be read, is empty, or is not (wholly) compressed as its name says.
    UnsupportedError
        It needs a library that is not installed.
    """
    return read_content(path)[1]


def read_content(path: Path) -> tuple[Path, bytes]:
    """Return the name that says what a file is, and its content, decompressed.

    Parameters
    ----------
    path : Path
        Decompressed where its name ends in ``.gz``, ``.bz2``, ``.xz``, ``.zst`` or ``.zip``; what
        is no regular file, such as ``/dev/stdin``, where its first bytes say so.

    Returns
    -------
    name : Path
        Without the ending of the compression; of an archive the name of the file in it, where
        that tells more.
    content : bytes

    Raises
    ------
    FileFormatError
        It cannot be read, is empty, or is not (wholly) compressed as its name says, or an archive
        does not have exactly one file.
    UnsupportedError
        It needs a library that is not installed.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FileFormatError(f"{path} cannot be read ({error.strerror}).") from error
    if not content:
        raise FileFormatError(f"{path} is empty.")
    ending, name = path.suffix.lower(), path
    if ending in _MAGIC:
        magic, what = _MAGIC[ending]
        name = path.with_suffix("")
        if not content.startswith(magic):
            raise FileFormatError(
                f"{path} is not {what}-compressed although its name ends in {ending}; rename it."
            )
    elif not path.is_file():
        ending = next((end for end, (m, _) in _MAGIC.items() if content.startswith(m)), "")
    if ending == ".zip":
        name, content = _only_file(content, path, name)
    elif ending in _MAGIC:
        content = _decompressed(content, ending, path)
    if not content:
        raise FileFormatError(f"{path} is empty.")
    return name, content


def _decompressed(content: bytes, ending: str, path: Path) -> bytes:
    decompress: dict[str, Callable[[bytes], bytes]] = {
        ".gz": gzip.decompress,
        ".bz2": bz2.decompress,
        ".xz": lzma.decompress,
    }
    if ending == ".zst":
        decompress[ending] = _zstd(path)
    try:
        return decompress[ending](content)
    except Exception as error:  # each library has errors of its own
        raise FileFormatError(
            f"{path} is truncated or damaged and cannot be decompressed; fetch it again."
        ) from error


def _zstd(path: Path) -> Callable[[bytes], bytes]:
    """Return what decompresses Zstandard: the standard library's from Python 3.14, or Arrow's."""
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return importlib.import_module(name).decompress  # type: ignore[no-any-return]
        except ImportError:
            continue
    try:
        arrow = importlib.import_module("pyarrow")
    except ImportError as error:
        raise UnsupportedError(
            f"{path} is compressed with Zstandard, which needs Python 3.14 or the library pyarrow; "
            "pip install 'whence[pandas]', or decompress it first."
        ) from error

    def decompress(content: bytes) -> bytes:
        with arrow.input_stream(io.BytesIO(content), compression="zstd") as stream:
            return bytes(stream.read())

    return decompress


def _only_file(content: bytes, path: Path, name: Path) -> tuple[Path, bytes]:
    """Return the name and the content of the one file in an archive."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = [
                one.filename
                for one in archive.infolist()
                if not one.is_dir()
                and not one.filename.startswith("__MACOSX/")
                and not Path(one.filename).name.startswith(".")
            ]
            if len(names) != 1:
                listed = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
                raise FileFormatError(
                    f"{path} is an archive of {len(names)} files{': ' * bool(names)}{listed}; "
                    "unpack it and give the path of a file or folder."
                )
            inner = archive.read(names[0])
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError) as error:
        if isinstance(error, FileFormatError):
            raise
        raise FileFormatError(
            f"{path} is truncated or damaged and cannot be unpacked; fetch it again."
        ) from error
    except (RuntimeError, NotImplementedError) as error:  # encrypted, or packed in another way
        raise FileFormatError(
            f"{path} cannot be unpacked here ({error}); unpack it by other means."
        ) from error
    inside = Path(names[0])
    return (path.with_name(inside.name) if inside.suffix else name), inner

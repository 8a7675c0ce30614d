"""Files are written whole or not at all."""

from __future__ import annotations

import errno

import pytest

from whence.data.files import atomic_path
from whence.errors import OutputExistsError


def test_all_or_nothing(tmp_path):
    path = tmp_path / "folder" / "file"
    with atomic_path(path) as temporary:
        temporary.write_text("first")
        assert not path.exists()
    assert path.read_text() == "first"
    with pytest.raises(OutputExistsError, match="file exists already"), atomic_path(path):
        pass

    def broken_off(error):
        with atomic_path(path, overwrite=True) as temporary:
            temporary.write_text("second")
            raise error

    with pytest.raises(ZeroDivisionError):
        broken_off(ZeroDivisionError())
    assert path.read_text() == "first"
    assert [found.name for found in path.parent.iterdir()] == ["file"]


def test_a_full_disk_names_the_file(tmp_path):
    path = tmp_path / "file"

    def write():
        with atomic_path(path) as temporary:
            temporary.write_text("a part")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left") as caught:
        write()
    assert caught.value.filename == str(path)
    assert caught.value.errno == errno.ENOSPC
    assert not list(tmp_path.iterdir())

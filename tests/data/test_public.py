from __future__ import annotations

import hashlib
import http.server
import io
import sys
import threading
import zipfile
from functools import partial

import pytest

from whence.data import load
from whence.data.public import PUBLIC_DATA
from whence.errors import DataError, FileFormatError, ParameterError, UnsupportedError

NAME = "ml-latest-small"  # of which the checksum is asked for


def archive() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as packed:
        packed.writestr(f"{NAME}/ratings.csv", "userId,movieId,rating,timestamp\n1,2,3.5,4\n")
        packed.writestr(f"{NAME}/movies.csv", "movieId,title,genres\n2,Heat (1995),Crime|Action\n")
    return content.getvalue()


class Site:
    """A folder that is served to this machine alone, and what was asked for."""

    def __init__(self, folder):
        self.folder, self.asked = folder, []
        site = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            def log_message(self, *_):
                site.asked.append(self.path)

        self.server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), partial(Handler, directory=str(folder))
        )
        self.address = f"http://127.0.0.1:{self.server.server_port}/"

    def put(self, content, md5=None):
        (self.folder / f"{NAME}.zip").write_bytes(content)
        md5 = md5 or hashlib.md5(content).hexdigest()
        (self.folder / f"{NAME}.zip.md5").write_text(f"MD5 ({NAME}.zip) = {md5}\n")


@pytest.fixture
def site(tmp_path):
    pytest.importorskip("pooch")
    folder = tmp_path / "site"
    folder.mkdir()
    site = Site(folder)
    thread = threading.Thread(target=site.server.serve_forever, daemon=True)
    thread.start()
    yield site
    site.server.shutdown()
    site.server.server_close()
    thread.join()


def test_fetched_once_and_kept(site, tmp_path, capsys):
    site.put(archive())
    data = load(NAME, cache=tmp_path / "cache", base_url=site.address)
    assert data.frame.rows() == [(1, 2, 3.5, 4)]
    assert data.item_titles.to_list() == ["Heat (1995)"]
    assert data.by_user
    told = capsys.readouterr().err
    assert "GroupLens" in told
    assert "Harper" in told
    asked = len(site.asked)
    assert load(NAME, cache=str(tmp_path / "cache")).n_rows == 1
    assert len(site.asked) == asked
    assert "GroupLens" not in capsys.readouterr().err
    assert not [entry for entry in (tmp_path / "cache").iterdir() if ".part" in entry.name]


def test_what_is_not_as_published_is_refused(site, tmp_path):
    site.put(archive(), md5="0" * 32)
    with pytest.raises(FileFormatError, match="does not have the checksum md5:0000"):
        load(NAME, cache=tmp_path / "cache", base_url=site.address)
    site.put(archive())
    (site.folder / "ml-100k.zip").write_bytes(archive())
    with pytest.raises(FileFormatError, match=PUBLIC_DATA["ml-100k"].md5):
        load("ml-100k", cache=tmp_path / "cache", base_url=site.address)
    assert not (tmp_path / "cache" / "ml-100k").exists()
    assert load(NAME, cache=tmp_path / "cache", base_url=site.address).n_rows == 1


def test_archives_that_are_none(site, tmp_path):
    site.put(archive()[:-30])
    with pytest.raises(FileFormatError, match="is not a whole zip archive"):
        load(NAME, cache=tmp_path / "a", base_url=site.address)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as packed:
        packed.writestr("readme.txt", "nothing here")
    site.put(content.getvalue())
    with pytest.raises(FileFormatError, match="has no file of ratings"):
        load(NAME, cache=tmp_path / "b", base_url=site.address)
    (site.folder / f"{NAME}.zip.md5").write_text("none today")
    with pytest.raises(DataError, match="has no checksum"):
        load(NAME, cache=tmp_path / "c", base_url=site.address)


def test_offline_says_what_to_put_where(tmp_path):
    pytest.importorskip("pooch")
    nowhere = "http://127.0.0.1:9/"
    for name in PUBLIC_DATA:
        with pytest.raises(DataError) as error:
            load(name, cache=tmp_path / "cache", base_url=nowhere)
        assert f"download {nowhere}{name}.zip" in str(error.value)
        assert str(tmp_path / "cache") in str(error.value)
        assert "\n" not in str(error.value)


def test_what_was_fetched_by_other_means_is_found(tmp_path):
    pytest.importorskip("pooch")
    (tmp_path / f"{NAME}.zip").write_bytes(archive())
    assert load(NAME, cache=tmp_path, base_url="http://127.0.0.1:9/").n_rows == 1
    folder = tmp_path / "ml-100k"
    folder.mkdir()
    (folder / "u.data").write_text("1\t2\t3\t4\n")
    assert load("ml-100k", cache=tmp_path).n_rows == 1


def test_unknown_names():
    with pytest.raises(ParameterError, match=r"name must be one of .* Did you mean 'ml-100k'"):
        load("ml100k")


def test_pooch_is_needed_to_fetch_alone(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(UnsupportedError, match=r"pip install 'whence\[datasets\]'"):
        load("ml-1m", cache=tmp_path)
    (tmp_path / "ml-1m").mkdir()
    (tmp_path / "ml-1m" / "ratings.dat").write_text("1::2::3::4\n")
    assert load("ml-1m", cache=tmp_path).n_rows == 1


def test_each_tells_its_terms():
    for name, data in PUBLIC_DATA.items():
        assert data.name == name
        assert data.address.startswith("https://")
        assert "research" in data.licence

"""``whence recommend --all``: everybody, some at a time, as if at once."""

from __future__ import annotations

import polars as pl
import pytest
from _commands import SESSIONS, whence_, write_sessions

from whence.cli import recommend


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("everybody")
    write_sessions(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        whence_("train", *SESSIONS, "--model", "vmis", "-o", "run", "-q")
    return folder


@pytest.mark.parametrize("ending", ["parquet", "csv", "tsv", "arrow"])
def test_lists_of_all_do_not_depend_on_how_many_are_asked_at_a_time(folder, ending, monkeypatch):
    monkeypatch.chdir(folder)
    read = {"parquet": pl.read_parquet, "arrow": pl.read_ipc}.get(ending, pl.read_csv)
    options = {"separator": "\t"} if ending == "tsv" else {}
    ids = pl.read_csv("train.csv")["session_id"].unique(maintain_order=True)
    pl.DataFrame({"session_id": ids}).write_csv("ids.csv")
    whence_("recommend", "run", "--users", "ids.csv", "-k", 5, "-o", f"some.{ending}")
    monkeypatch.setattr(recommend, "_USERS_AT_A_TIME", 17)
    said = whence_("recommend", "run", "--all", "-k", 5, "-o", f"all.{ending}")
    assert f"for {len(ids):,} are in all.{ending}" in said.stdout
    everybody, some = (read(f"{name}.{ending}", **options) for name in ("all", "some"))
    keys = ["session_id", "rank"]
    assert everybody.sort(keys).equals(some.sort(keys))
    assert everybody.schema == some.schema
    assert everybody["session_id"].n_unique() <= len(ids)
    for name in ("all", "some"):
        (folder / f"{name}.{ending}").unlink()


def test_nothing_is_left_where_it_is_broken_off(folder, monkeypatch):
    monkeypatch.chdir(folder)
    before = set(folder.iterdir())
    monkeypatch.setattr(recommend, "_USERS_AT_A_TIME", 40)
    frame, asked = recommend._frame, []

    def broken(model, lists):
        asked.append(len(lists))
        if len(asked) == 3:
            raise OSError(28, "No space left on device")
        return frame(model, lists)

    monkeypatch.setattr(recommend, "_frame", broken)
    said = whence_("recommend", "run", "--all", "-o", "all.parquet", code=2)
    assert said.stderr.startswith("Error")
    assert len(said.stderr.splitlines()) == 1
    assert set(folder.iterdir()) == before

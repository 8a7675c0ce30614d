"""Files that were changed at random: each is read, or refused in one sentence."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import zipfile

import polars as pl
import pytest

from whence.data import read_interactions
from whence.errors import WhenceError

CSV = b"user_id,item_id,rating,timestamp\n1,10,5,100\n1,20,3.5,200\n2,10,4,150\n"
LINES = b"1 2 3\n4 5\n2 8 9 1\n"


def binary(write):
    target = io.BytesIO()
    write(target)
    return target.getvalue()


def archive(target):
    with zipfile.ZipFile(target, "w") as content:
        content.writestr("x.csv", CSV)


FRAME = pl.DataFrame({"user": [1, 2], "items": [[1, 2], [3]], "times": [[5, 6], [7]]})
FILES = [
    ("x.csv", CSV, {}),
    ("q.csv", b'user_id,item_id,title\n1,10,"a, b"\n1,20,"c ""d"""\n2,10,x\n', {}),
    ("d.csv", b"user;item;time\n1;2;01.02.2024 13:45\n1;3;13.02.2024 13:46\n", {}),
    ("f.csv", b"user;item;time\n1;2;01.02.2024\n", {"time_format": "%d.%m.%Y"}),
    ("x.inter", b"user_id:token\titem_id:token\ttags:token_seq\tx:float\n1\t9\ta b\t1\n", {}),
    ("r.csv", b"user_id\titem_id\ttime\tneg_items\n1\t2\t10\t[1, 3, 5]\n", {}),
    ("s.txt", LINES, {}),
    ("u.txt", LINES, {"format": "user-lines"}),
    ("u.data", b"1\t10\t5\t881250949\n1\t20\t3\t881250950\n", {}),
    ("ratings.dat", b"1::10::5::978300760\n1::20::3::978302109\n", {}),
    ("b.json", b'{"10": [[3, 4], [], [3]], "9": [[5, 5]]}', {}),
    ("l.jsonl", b'{"user": 1, "item": "a", "tags": ["x"]}\n{"user": 2, "item": "b"}\n', {}),
    ("a.json", b'[{"user": 1, "item": 7}, {"user": 2, "item": 8}]', {}),
    ("n.csv", b'A1,"B1",5.0,1370000000\nA2,B2,4.0,1371000000\n', {"columns": "user item _ time"}),
    ("x.parquet", binary(FRAME.write_parquet), {}),
    ("x.arrow", binary(FRAME.write_ipc), {}),
    ("x.csv.gz", gzip.compress(CSV, mtime=0), {}),
    ("x.csv.bz2", bz2.compress(CSV), {}),
    ("x.csv.xz", lzma.compress(CSV), {}),
    ("x.csv.zip", binary(archive), {}),
]
WORDS = [
    b"\0", b"\xff", b"\xfe\xff", b'"', b",", b"\t", b"\n", b"\r", b";", b"|", b"::", b"[", b"]",
    b"{", b"}", b"NaN", b"inf", b"-1", b"9223372036854775808", b"18446744073709551616", b"1e400",
    b"1_000", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"null", b"true", b"user", b"1/2/2010", b"[]",
    b"99/99/9999", b"9" * 400, b'{"a":{"b":1}}', b"_", b"0000-00-00", b"2020-01-01T00:00:00+99:99",
]  # fmt: skip


def mutant(content, chance):
    changed = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        start = chance.randrange(len(changed) + 1)
        end = min(len(changed), start + chance.randrange(12))
        how = chance.randrange(6)
        if how == 0:
            changed[start:end] = b""
        elif how in (1, 2):
            changed[start : end if how == 1 else start] = chance.choice(WORDS)
        elif how == 3:
            changed[start:start] = bytes(changed[start:end]) * chance.randint(1, 3)
        elif how == 4:
            changed[start:end] = bytes(chance.randrange(256) for _ in range(end - start))
        else:
            rows = bytes(changed).split(b"\n")
            chance.shuffle(rows)
            changed = bytearray(b"\n".join(rows))
    return bytes(changed)


@pytest.mark.filterwarnings("ignore::whence.errors.DataWarning")
@pytest.mark.parametrize(("name", "content", "how"), FILES, ids=[name for name, *_ in FILES])
def test_mutants_are_read_or_refused(tmp_path, name, content, how):
    path = tmp_path / name
    path.write_bytes(content)
    assert read_interactions(path, **how).n_rows
    refused = []
    for seed in range(40):
        path.write_bytes(mutant(content, random.Random(f"{name} {seed}")))
        try:
            data = read_interactions(path, **how)
            assert len(data.sequences.rows) == data.n_rows == data.describe()["rows"]
        except WhenceError as error:
            refused.append(str(error))
    assert refused
    assert [one for one in refused if one[-1] not in ".?" or "\n" in one] == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"user_id\titem_id\ttime\tneg_items\n1\t2\t10\t[1, 9223372036854775808]\n", "beyond the"),
        (b"user_id,item_id\n1,caf\xe9\n", r"Line 2 of .*x\.csv is not UTF-8"),
        (b"user_id,item_id\n1,2\n1,\x00\n", r"Line 3 of .*x\.csv has NUL bytes"),
        (b'user_id,item_id\n1,2\n1,"3\n', r"begin in line 3 of .*x\.csv do not close"),
        (b'user_id,item_id\n1,"2"\n1,"3",4\n', r"Line 3 of .*x\.csv has 3 fields"),
        (b'user_id,item_id\n1,"2"\n1\n', r"Line 3 of .*x\.csv has 1 field"),
        (b"user_id\r5,item_id\n1,2\n", "check how its lines end"),
        (b"", r"x\.csv is empty"),
        (b"\xef\xbb\xbf\n", "blank lines only"),
        (b"user_id,item_id\n", r"x\.csv: The table has no rows"),
    ],
)
def test_what_is_wrong_is_named_by_its_line(tmp_path, content, message):
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(WhenceError, match=message):
        read_interactions(tmp_path / "x.csv")

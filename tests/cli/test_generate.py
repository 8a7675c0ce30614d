"""``whence generate``."""

from __future__ import annotations

from _commands import whence_

from whence.data import generate, read_interactions


def test_what_is_generated_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = whence_("generate", "--like", "rsc15", "-n", 3000, "--seed", 3, "-o", "clicks.parquet")
    assert "3,000 rows like rsc15, all of them generated, are in clicks.parquet" in said.stdout
    assert read_interactions("clicks.parquet").frame.equals(generate("rsc15", 3000, seed=3).frame)
    whence_("generate", "--like", "clicks.parquet", "-n", 500, "-o", "more.csv")
    assert read_interactions("more.csv").n_rows == 500
    assert "--model tifu" in whence_("generate", "--like", "tafeng", "-n", 50, "-o", "b.csv").stdout
    (tmp_path / "b.csv").unlink()
    for arguments, words in (
        (("-o", "clicks.parquet"), "clicks.parquet exists already"),
        (("-o", "x.json"), "change the ending"),
        (("-o", "x.csv", "--like", "rsc16"), "Did you mean 'rsc15'"),
        (("-o", "x.csv", "--n-items", 2), "--n-items must be an integer between 10"),
        (("-o", "x.csv", "-n", 0), "-n must be"),
        (("-o", "no/such/\0.csv"), ""),
    ):
        assert words in whence_("generate", *arguments, code=2).stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clicks.parquet", "more.csv"]

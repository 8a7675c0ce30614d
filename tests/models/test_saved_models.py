"""Saved models: of one's own classes, of classes that are not there, and damaged ones."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import polars as pl
import pytest

import whence
from whence.errors import FileFormatError
from whence.models.base import Recommender
from whence.parameters import PositiveInt

CLICKS = pl.DataFrame({"session_id": [1, 1, 2, 2, 3], "item_id": list("abbcb")})


class Last(Recommender):
    """The last items again; registered nowhere."""

    window: PositiveInt = 1

    def _fit(self, train, run):
        self.n_ = train.n_items

    def score_codes(self, queries, *, threads=None):
        scores = np.zeros((len(queries), self.n_))
        for query, end in enumerate(queries.history_end):
            start = max(queries.history_start[query], end - self.window)
            scores[query, queries.history_items[start:end]] = 1.0
        return scores


def changed(path, to, change=None, drop=()):
    """A copy of a saved model with other metadata, or without a part."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(to, "w") as new:
        for name in old.namelist():
            if name in drop:
                continue
            content = old.read(name)
            if name == "model.json" and change is not None:
                content = json.dumps(change(json.loads(content)))
            new.writestr(name, content)
    return to


def test_a_class_of_ones_own(tmp_path):
    path = Last(window=2).fit(CLICKS).save(tmp_path / "last.whence")
    for model in (Last.load(path), whence.load_model(path)):
        assert type(model) is Last
        assert model.window == 2
        assert sorted(model.recommend(["a", "b"], k=3)[0].tolist()) == ["a", "b"]


def test_a_registered_class_is_found_by_its_name(tmp_path):
    class Registered(Last, name="files-registered"):
        """Found although it is local to a function."""

    path = Registered(window=3).fit(CLICKS).save(tmp_path / "model.whence")
    assert type(whence.load_model(path)) is Registered
    assert type(Last.load(path)) is Registered


MODULE = """
from whence.models.popularity import Popularity

class Elsewhere(Popularity):
    pass
"""


def test_a_class_that_is_not_there(tmp_path):
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "their_models.py").write_text(MODULE)
    path = tmp_path / "model.whence"
    program = (
        f"import sys; sys.path.insert(0, {str(folder)!r}); import polars as pl, their_models\n"
        "clicks = pl.DataFrame({'session_id': [1, 1, 2], 'item_id': ['a', 'b', 'b']})\n"
        f"their_models.Elsewhere().fit(clicks).save({str(path)!r})\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    with pytest.raises(FileFormatError) as caught:
        whence.load_model(path)
    assert str(caught.value) == (
        f"{path} holds a Elsewhere of the module their_models, which is not there; import the "
        "module that defines it, or load the file with Elsewhere.load(path)."
    )
    with pytest.raises(FileFormatError, match="their_models, which is not there"):
        whence.VMISKNN.load(path)


def test_another_class_is_refused(tmp_path):
    path = whence.Popularity().fit(CLICKS).save(tmp_path / "model.whence")
    with pytest.raises(FileFormatError, match="holds a Popularity, not a VMISKNN"):
        whence.VMISKNN.load(path)
    assert isinstance(Recommender.load(path), whence.Popularity)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: {**m, "params": [1]}, "its 'params' is"),
        (lambda m: {**m, "model": 3}, "its 'model' is 3"),
        (lambda m: {**m, "columns": None}, "its 'columns' is None"),
        (lambda m: {k: v for k, v in m.items() if k != "has_state"}, "its 'has_state' is None"),
        (lambda m: {**m, "model": "Nobody", "name": "nobody", "module": "x"}, "holds a Nobody of"),
        (lambda m: {**m, "model": "Nobody", "name": None, "module": None}, "holds a Nobody, which"),
        (lambda m: {**m, "model": "os.path", "name": None, "module": "os"}, "holds a os.path of"),
        (lambda m: {**m, "params": {"kk": 3}}, "has the parameter 'kk', which VMISKNN does not"),
        (lambda m: {**m, "params": {"k": "many"}}, "k must be an integer of at least 1"),
        (lambda m: {**m, "columns": {"session": "nobody"}}, "its training data cannot be read"),
        (lambda m: {**m, "columns": {"planet": "x"}}, "its training data cannot be read"),
        (lambda m: {**m, "kind": "stones"}, "its training data cannot be read"),
        (lambda m: {**m, "format": "another"}, "is not a model saved by Whence"),
        (lambda m: [m], "is not a model saved by Whence"),
    ],
)
def test_damaged_metadata_is_one_sentence(tmp_path, change, words):
    path = whence.VMISKNN(k=2, m=3).fit(CLICKS).save(tmp_path / "model.whence")
    broken = changed(path, tmp_path / "broken.whence", change)
    with pytest.raises(FileFormatError) as caught:
        whence.load_model(broken)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", ["model.json", "state.npz", "items.parquet", "train.parquet"])
def test_a_missing_part_is_one_sentence(tmp_path, part):
    path = whence.EASE().fit(CLICKS).save(tmp_path / "model.whence")
    broken = changed(path, tmp_path / "broken.whence", drop=(part,))
    with pytest.raises(FileFormatError) as caught:
        whence.load_model(broken)
    assert "\n" not in str(caught.value)


def test_state_of_another_model_is_one_sentence(tmp_path):
    pytest.importorskip("torch")
    likes = CLICKS.rename({"session_id": "user_id"})
    path = whence.BPRMF(epochs=1, embedding_dim=4).fit(likes).save(tmp_path / "model.whence")
    wider = changed(
        path,
        tmp_path / "wider.whence",
        lambda m: {**m, "params": {**m["params"], "embedding_dim": 5}},
    )
    with pytest.raises(FileFormatError, match="does not hold what a BPRMF has learned") as caught:
        whence.load_model(wider)
    assert "\n" not in str(caught.value)


def test_files_of_version_0_1_are_read(tmp_path):
    """They name the class alone."""

    def older(metadata):
        return {k: v for k, v in metadata.items() if k not in ("module", "name")}

    path = whence.VMISKNN(k=2, m=3).fit(CLICKS).save(tmp_path / "model.whence")
    old = changed(path, tmp_path / "old.whence", older)
    assert whence.load_model(old).params == {"k": 2, "m": 3, "idf": False}
    assert whence.VMISKNN.load(old).k == 2
    shutil.rmtree(tmp_path)

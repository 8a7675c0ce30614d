"""TracIn: what must hold of its scores, its results, and what it refuses."""

from __future__ import annotations

import copy
import dataclasses
import types

import numpy as np
import polars as pl
import pytest
from matplotlib.figure import Figure

torch = pytest.importorskip("torch")

from brute import at, close, gradients  # noqa: E402
from brute import tracin as brute_tracin  # noqa: E402

import whence  # noqa: E402
from whence import _native  # noqa: E402
from whence.engines import Run  # noqa: E402
from whence.errors import (  # noqa: E402
    ColumnError,
    DataError,
    DataWarning,
    FileFormatError,
    NotFittedError,
    OutputExistsError,
    ParameterError,
    UnsupportedError,
)
from whence.evaluation import make_queries  # noqa: E402
from whence.influence import (  # noqa: E402
    Influence,
    TracIn,
    query_examples,
    tracin,
)
from whence.influence.functions import ask  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::whence.errors.DataWarning")


@pytest.fixture
def queries(lstm, sessions):
    return query_examples(lstm, sessions[1])


# What must hold of scores


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_batches_do_not_matter(batch_size, lstm, queries):
    want = TracIn().matrix(lstm, queries)
    got = TracIn(batch_size=batch_size).matrix(lstm, queries)
    close(got, want, 1e-5)
    close(TracIn(batch_size=batch_size).attribute(lstm, queries).scores, want.sum(1), 1e-5)


@pytest.mark.parametrize("normalise", [None, "cosine"])
def test_threads_do_not_matter(normalise, lstm, queries):
    few = [TracIn(threads=n, batch_size=8, normalise=normalise) for n in (1, 3)]
    tables = [method.attribute(lstm, queries).frame for method in few]
    assert tables[0].equals(tables[1])
    np.testing.assert_array_equal(*(method.matrix(lstm, queries) for method in few))
    lists = [method.per_query(lstm, queries).state for method in few]
    assert all(np.array_equal(lists[0][name], lists[1][name]) for name in lists[0])
    assert torch.get_num_threads() >= 1


def test_order_does_not_matter(lstm, queries):
    want = TracIn(batch_size=9).matrix(lstm, queries)
    order = np.random.default_rng(0).permutation(len(lstm.examples_))

    class Shuffled:
        def __len__(self):
            return len(order)

        def batch(self, numbers, epoch=0):
            return lstm.examples_.batch(order[numbers], epoch)

    other = copy.copy(lstm)
    other.examples_ = Shuffled()
    method = TracIn(checkpoints=lstm.checkpoints_, batch_size=9)
    close(method.matrix(other, queries), want[order], 1e-5)


def test_twins_have_the_same_score(sessions):
    table = sessions[0].frame
    twin = table.filter(pl.col("session_id") == 3).with_columns(session_id=pl.lit(99))
    model = whence.LSTMRec(embedding_dim=4, hidden_dim=3, epochs=2)
    model.fit(pl.concat([table, twin], how="vertical_relaxed"), checkpoints=1)
    values = TracIn(by="session").attribute(model, sessions[1])
    by_id = dict(zip(values.ids.to_list(), values.scores))
    assert by_id[99] == pytest.approx(by_id[3], rel=1e-5)


def test_cosines_are_between_minus_one_and_one(lstm, queries):
    cosines = TracIn(normalise="cosine").matrix(lstm, queries)
    assert np.abs(cosines).max() <= 1 + 1e-5
    assert cosines.min() < 0 < cosines.max()


def test_mislabelled_examples_are_found_by_self_influence_better_than_by_loss():
    # Half of the sessions walk a circle forwards; a few of them end somewhere else.
    rng = np.random.default_rng(0)
    n, length, n_items = 300, 6, 12
    items = (rng.integers(0, n_items, (n, 1)) + np.arange(length)) % n_items
    wrong = rng.permutation(n)[:20]
    items[wrong, -1] = (items[wrong, -1] + rng.integers(2, 9, 20)) % n_items
    table = pl.DataFrame(
        {
            "session_id": np.repeat(np.arange(n), length),
            "item_id": items.ravel(),
            "timestamp": np.arange(n * length),
        }
    )
    model = whence.LSTMRec(
        embedding_dim=16, hidden_dim=16, epochs=30, batch_size=32, learning_rate=0.01, seed=1
    )
    model.fit(table, checkpoints=10)
    own = TracIn(by="session").self_influence(model)
    numbers = np.arange(len(model.examples_))
    with torch.no_grad():
        losses = model.example_loss(model.examples_.batch(numbers)).numpy()
    by_loss = np.bincount(model.examples_.sources(numbers), weights=losses)
    found = [np.isin(np.argsort(-values)[:20], wrong).mean() for values in (own.scores, by_loss)]
    assert found[0] > 0.9
    assert found[0] >= found[1]


def test_half_precision_is_near(lstm, queries):
    want = TracIn(precision="float64").matrix(lstm, queries)
    close(TracIn(precision="bfloat16").matrix(lstm, queries), want, 0.02)


def test_nothing_of_the_model_changes(lstm, queries):
    model = copy.deepcopy(lstm)
    model.module_.train()
    before = {name: p.clone() for name, p in model.module_.named_parameters()}
    model.module_.embedding.weight.grad = torch.ones_like(model.module_.embedding.weight)
    TracIn().attribute(model, queries)
    TracIn().self_influence(model)
    assert model.module_.training
    for name, p in model.module_.named_parameters():
        assert torch.equal(p, before[name])
        assert p.requires_grad
    assert (model.module_.embedding.weight.grad == 1).all()


def test_equal_to_captum(lstm, queries):
    influence = pytest.importorskip("captum.influence")

    class Scores(torch.nn.Module):
        """Scores of windows, as a module of its own."""

        def __init__(self, module):
            super().__init__()
            self.module = module

        def forward(self, items, length):
            states = self.module.states(items, length)
            return self.module.item_scores(states[torch.arange(len(items)), length - 1])

    def rows(examples):
        batch = examples.batch(np.arange(len(examples)))
        return torch.utils.data.TensorDataset(batch["items"], batch["length"], batch["target"])

    def load(net, path):
        checkpoint = lstm.checkpoints_[int(path)]
        net.module.load_state_dict(checkpoint.module)
        return checkpoint.learning_rate

    tracing = influence.TracInCP(
        Scores(at(lstm).module_),
        rows(lstm.examples_),
        ["0", "1"],
        load,
        loss_fn=torch.nn.CrossEntropyLoss(reduction="none"),
        batch_size=1,
    )
    want = tracing.influence(rows(queries).tensors).T.numpy()
    close(TracIn(precision="float64").matrix(lstm, queries), want, 1e-9)


# Results


def test_lists_are_those_of_the_sorted_matrix(lstm, queries):
    matrix = TracIn().matrix(lstm, queries)
    lists = TracIn(batch_size=8, top=5).per_query(lstm, queries)
    for query in range(len(queries)):
        for table, sign in (
            (lists.proponents(query, 5), 1),
            (lists.opponents(query, 5), -1),
        ):
            want = np.sort(-sign * matrix[:, query])[:5]
            np.testing.assert_allclose(
                -sign * table["score"].to_numpy(), want, rtol=1e-4, atol=1e-9
            )
            np.testing.assert_allclose(
                matrix[table["example"].to_numpy(), query], table["score"], rtol=1e-4, atol=1e-9
            )
    close(lists.scores, matrix.sum(1), 1e-5)
    every = TracIn(top=10**6).per_query(lstm, queries)
    assert every.state["top_examples"].shape == matrix.T.shape
    assert np.array_equal(np.sort(every.state["top_examples"], 1)[0], np.arange(len(matrix)))


def test_equal_scores_are_in_the_order_of_examples():
    best, numbers = np.full((1, 3), -np.inf), np.full((1, 3), -1)
    for first, block in ((0, [1.0, 2.0, 1.0]), (3, [2.0, 1.0, 2.0, 2.0])):
        _native.keep_largest(np.array(block)[:, None], 1.0, first, best, numbers)
    lists = tracin._ordered(
        {
            "top_scores": best, "top_examples": numbers,
            "bottom_scores": -best, "bottom_examples": numbers,
        }
    )  # fmt: skip
    assert lists["top_examples"].tolist() == [[1, 3, 5]]


def test_queries_in_blocks(lstm, queries, monkeypatch):
    want = TracIn().per_query(lstm, queries, 3)
    monkeypatch.setattr("whence.influence.comparison._QUERY_BYTES", 1)
    got = TracIn().per_query(lstm, queries, 3)
    np.testing.assert_array_equal(got.state["top_examples"], want.state["top_examples"])
    close(got.scores, want.scores, 1e-5)
    close(TracIn().matrix(lstm, queries), TracIn().matrix(lstm, queries), 1e-5)


def test_lists_on_demand(lstm, queries):
    values = TracIn().attribute(lstm, queries)
    lists = TracIn().per_query(lstm, queries, 4)
    assert isinstance(values, whence.Attribution)
    for query in (0, len(queries) - 1):
        for side in ("proponents", "opponents"):
            one, two = getattr(values, side)(query, 4), getattr(lists, side)(query, 4)
            assert one.drop("score").equals(two.drop("score"))
            np.testing.assert_allclose(one["score"], two["score"], rtol=1e-4)
    # More than was kept is computed.
    assert len(lists.proponents(0, 7)) == 7
    one = values.for_query(1)
    np.testing.assert_allclose(one.scores, values.scores_for(1))
    total = sum(values.for_query(q).scores for q in range(len(queries)))
    close(total, values.scores, 1e-4)
    with pytest.raises(ParameterError, match="query"):
        values.proponents(len(queries))


def test_the_strongest_of_a_prediction_as_a_picture(lstm, queries):
    values = TracIn().attribute(lstm, queries)
    ax = values.plot(Figure().subplots(), kind="query", query=1, n=3)
    bars = [bar.get_width() for bar in ax.patches]
    best, worst = values.proponents(1, 3), values.opponents(1, 3)
    np.testing.assert_allclose(bars, [*best["score"], *worst["score"].reverse()])
    ticks = [tick.get_text().replace("\u200e", "") for tick in ax.get_yticklabels()]
    first = best.row(0, named=True)
    assert ticks[0] == f"{first['target']} (session {first['session_id']})"
    assert values.queries()["target"][1] in ax.get_title(loc="left") + ax.get_title()
    with pytest.raises(ParameterError, match="kind"):
        values.plot(kind="rank")
    with pytest.raises(ParameterError, match="query"):
        values.plot(kind="query", query=len(queries))


def test_tables_have_titles_and_sequences(lstm, queries, sessions):
    train = sessions[0]
    values = TracIn(top=3).per_query(lstm, queries)
    table = values.proponents(0, 3)
    assert table.columns == ["rank", "score", "example", "session_id", "target", "sequence"]
    offsets, items = train.sequences.offsets, train.sequences.items
    for row in table.iter_rows(named=True):
        source = train.vocabulary.source_codes([row["session_id"]])[0]
        codes = items[offsets[source] : offsets[source + 1]]
        names = [f"Film {item}" for item in train.vocabulary.items.gather(codes)]
        window = [*row["sequence"], row["target"]]
        assert any(names[i : i + len(window)] == window for i in range(len(names)))
    asked = values.queries()
    assert asked["target"].str.starts_with("Film").all()
    assert asked.columns[:3] == ["query", "session_id", "position"]
    assert values.summary().startswith("TracIn influence of")
    assert values.plot() is not None


@pytest.mark.parametrize("by", ["session", "interaction", "item"])
def test_credit_has_one_sum(by, lstm, queries, sessions):
    plain = TracIn(precision="float64").attribute(lstm, queries)
    values = TracIn(precision="float64", by=by).attribute(lstm, queries)
    assert values.scores.sum() == pytest.approx(plain.scores.sum())
    train = sessions[0]
    wanted = {
        "session": train.source_ids,
        "item": train.item_ids,
        "interaction": pl.Series(range(train.n_rows)),
    }
    assert values.ids.to_list() == wanted[by].to_list()
    kept = values.prune(train, n=2)
    assert kept.n_rows < train.n_rows
    examples = plain.frame
    if by == "session":
        sums = examples.group_by("session_id").agg(pl.col("score").sum())
        joined = values.frame.join(sums, on="session_id")
        np.testing.assert_allclose(joined["score"], joined["score_right"])


def test_items_share_the_score_of_their_example(lstm, queries):
    plain = TracIn(precision="float64").attribute(lstm, queries)
    values = TracIn(precision="float64", by="item").attribute(lstm, queries)
    want = dict.fromkeys(lstm.train_.item_ids, 0.0)
    for number, score in enumerate(plain.scores):
        rows, _ = lstm.examples_.rows(np.array([number]))
        for item in lstm.train_.frame["item_id"][rows.tolist()]:
            want[item] += score / len(rows)
    np.testing.assert_allclose(values.scores, [want[item] for item in values.ids], atol=1e-12)


def test_users_of_sessions(sessions):
    table = sessions[0].frame.with_columns(user_id=pl.col("session_id") % 4)
    model = whence.LSTMRec(embedding_dim=4, hidden_dim=3, epochs=1).fit(table, checkpoints=1)
    values = TracIn(by="user").attribute(model, sessions[1])
    assert sorted(values.ids.to_list()) == [0, 1, 2, 3]
    by_session = TracIn(by="session").attribute(model, sessions[1]).frame
    sums = by_session.group_by(pl.col("session_id") % 4).agg(pl.col("score").sum())
    joined = values.frame.join(sums, left_on="user_id", right_on="session_id")
    np.testing.assert_allclose(joined["score"], joined["score_right"], rtol=1e-5)
    with pytest.raises(ColumnError, match="user"):
        TracIn(by="user").attribute(
            whence.LSTMRec(embedding_dim=4, hidden_dim=3, epochs=1).fit(sessions[0], checkpoints=1),
            sessions[1],
        )


def test_metadata(lstm, sessions):
    valid = whence.Interactions.from_frame(sessions[1])
    facts = TracIn(by="session").attribute(lstm, valid).metadata
    assert facts["method"] == "tracin"
    assert facts["parameters"] == [name for name, _ in lstm.module_.named_parameters()]
    assert facts["learning_rates"] == [0.05, 0.05]
    assert facts["epochs"] == [1, 2]
    assert facts["fingerprint"] == {
        "train": lstm.train_.fingerprint, "validation": valid.fingerprint,
    }  # fmt: skip


def test_saving(lstm, queries, tmp_path):
    values = TracIn(top=3).per_query(lstm, queries)
    loaded = Influence.load(values.save(tmp_path / "values.parquet"))
    assert loaded.frame.equals(values.frame)
    want = values.proponents(1, 3).select("rank", "score", "example")
    assert loaded.proponents(1, 3).equals(want)
    with pytest.raises(ParameterError, match="per_query"):
        loaded.proponents(0, 4)
    with pytest.raises(UnsupportedError, match="not at hand"):
        loaded.queries()


def test_matrix_in_a_file(lstm, queries, tmp_path):
    want = TracIn().matrix(lstm, queries)
    got = TracIn().matrix(lstm, queries, tmp_path / "scores.npy")
    assert isinstance(got, np.memmap)
    np.testing.assert_array_equal(got, want)
    assert [path.name for path in tmp_path.iterdir()] == ["scores.npy"]
    with pytest.raises(OutputExistsError, match="exists"):
        TracIn().matrix(lstm, queries, tmp_path / "scores.npy")
    with pytest.raises(ParameterError, match="npy"):
        TracIn().matrix(lstm, queries, tmp_path / "scores.csv")


# Interruptions


class BrokenError(Exception):
    pass


def breaking_off(after):
    calls = []

    def progress(done, total, message):
        calls.append(done)
        if len(calls) == after:
            raise BrokenError

    return progress


@pytest.mark.parametrize("what", ["attribute", "per_query", "matrix", "file", "self_influence"])
@pytest.mark.parametrize("after", [2, 4])
@pytest.mark.parametrize("by_block", [False, True])
def test_resumed_is_as_unbroken(what, after, by_block, lstm, queries, tmp_path, monkeypatch):
    if by_block:
        monkeypatch.setattr("whence.influence.comparison._QUERY_BYTES", 1)

    def work(run=None, **more):
        method = TracIn(batch_size=8, **more)
        if what in ("matrix", "file"):
            path = None if what == "matrix" else tmp_path / "m.npy"
            return method.matrix(lstm, queries, path, run=run)
        asked = () if what == "self_influence" else (queries,)
        return getattr(method, what)(lstm, *asked, run=run)

    folder = tmp_path / "state"
    with pytest.raises(BrokenError):
        work(Run(folder=folder, progress=breaking_off(after)))
    assert [path.name for path in folder.iterdir()] == ["unfinished"]
    with pytest.raises(OutputExistsError, match="resume=True"):
        work(Run(folder=folder))
    with pytest.raises(ParameterError, match=r"of other .*parameters"):
        work(Run(folder=folder, resume=True), weighting="adam")
    seen = []
    got = work(Run(folder=folder, resume=True, progress=lambda done, *told: seen.append(done)))
    assert seen[0] > 0
    assert not folder.exists() or not list(folder.iterdir())
    (tmp_path / "m.npy").unlink(missing_ok=True)
    want = work()
    if what in ("matrix", "file"):
        np.testing.assert_array_equal(got, want)
    else:
        assert got.frame.equals(want.frame)
        for name in want.state or {}:
            np.testing.assert_array_equal(got.state[name], want.state[name])


def test_a_damaged_state_is_told(lstm, queries, tmp_path):
    with pytest.raises(BrokenError):
        TracIn(batch_size=8).attribute(
            lstm, queries, run=Run(folder=tmp_path, progress=breaking_off(3))
        )
    (tmp_path / "unfinished" / "scores.npz").write_bytes(b"no state")
    with pytest.raises(FileFormatError, match="remove it"):
        TracIn(batch_size=8).attribute(lstm, queries, run=Run(folder=tmp_path, resume=True))


# Checkpoints


def test_checkpoints_from_everywhere(lstm, queries, sessions, tmp_path):
    model = whence.LSTMRec(**lstm.params).fit(
        sessions[0], checkpoints=1, run=whence.Run(folder=tmp_path)
    )
    want = TracIn().matrix(lstm, queries)
    for given in (model.checkpoints_, tmp_path, str(tmp_path / "checkpoints")):
        np.testing.assert_array_equal(TracIn(checkpoints=given).matrix(model, queries), want)
    parts = [TracIn(checkpoints=c).matrix(model, queries) for c in model.checkpoints_]
    close(sum(parts), want, 1e-6)
    last = TracIn(checkpoints=model.checkpoints_[-1], weighting="sgd").matrix(model, queries)
    np.testing.assert_array_equal(TracIn(checkpoints="final").matrix(model, queries), last)
    one = TracIn(checkpoints=tmp_path / "checkpoints" / "epoch-00002.pt").matrix(model, queries)
    np.testing.assert_array_equal(one, parts[-1])


@pytest.fixture
def stopped_early(sessions, tmp_path):
    """A model that was best at epoch 2 of 5, in a folder."""
    model = whence.LSTMRec(embedding_dim=4, hidden_dim=3, epochs=5, batch_size=8)
    better = iter([0.1, 0.9, 0.3, 0.2, 0.4])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "whence.evaluation.evaluate",
            lambda *_, **__: types.SimpleNamespace(scores={"mrr@10": next(better)}),
        )
        model.fit(
            sessions[0], validation=sessions[1], checkpoints=1, run=whence.Run(folder=tmp_path)
        )
    return model


def test_what_was_learned_after_the_best_epoch_does_not_count(stopped_early, queries, tmp_path):
    model = stopped_early
    assert model.best_["epoch"] == 2
    kept = model.checkpoints_
    want = TracIn(checkpoints=kept[:2]).matrix(model, queries)
    for given in (None, tmp_path, str(tmp_path / "checkpoints")):
        np.testing.assert_array_equal(TracIn(checkpoints=given).matrix(model, queries), want)
    assert TracIn().attribute(model, queries).metadata["epochs"] == [1, 2]
    every = TracIn(checkpoints=kept).matrix(model, queries)
    for given in (None, tmp_path):
        got = TracIn(checkpoints=given, until="last").matrix(model, queries)
        np.testing.assert_array_equal(got, every)
    np.testing.assert_array_equal(
        TracIn(checkpoints="final").matrix(model, queries),
        TracIn(checkpoints=kept[1], weighting="sgd").matrix(model, queries),
    )
    model.checkpoints_ = kept[3:]
    with pytest.raises(ParameterError, match="up to epoch 2, the best by validation"):
        TracIn().attribute(model, queries)


@pytest.mark.parametrize(
    ("optimizer", "weighting"),
    [("adam", "adam-factored"), ("adamw", "adam-factored"), ("sgd", "sgd"), ("adagrad", "adagrad")],
)
def test_weighting_follows_the_optimiser(optimizer, weighting, queries, sessions):
    model = whence.LSTMRec(embedding_dim=4, hidden_dim=3, max_length=5, epochs=1,
                           optimizer=optimizer).fit(sessions[0], checkpoints=1)  # fmt: skip
    found = TracIn().attribute(model, queries)
    assert found.metadata["weighting"] == weighting
    want = TracIn(weighting=weighting).attribute(model, queries)
    np.testing.assert_array_equal(found.scores, want.scores)
    if weighting == "adagrad":
        (state,) = [c.optimizer["state"] for c in model.checkpoints_]

        def scale(checkpoint):
            sums = [state[k]["sum"].double().flatten() for k in range(len(state))]
            return (1 / (torch.cat(sums).sqrt() + 1e-10)).numpy()

        want = brute_tracin(model, queries, scale=scale)
        close(TracIn(precision="float64").matrix(model, queries), want, 1e-5)


class InBatch(whence.LSTMRec):
    """The other targets of the batch are the negatives."""

    def example_loss(self, batch):
        states = self.module_.states(batch["items"], batch["length"])
        chosen = states[torch.arange(len(states)), batch["length"] - 1]
        scores = self.module_.item_scores(chosen)[:, batch["target"]]
        return torch.nn.functional.cross_entropy(
            scores, torch.arange(len(scores)), reduction="none"
        )


@pytest.mark.parametrize(
    "method",
    [TracIn(method="autograd"), TracIn(), whence.TracInRandomProjection(), whence.TRAK(),
     whence.InfluenceFunction(solver="dot")],
)  # fmt: skip
def test_a_loss_that_depends_on_the_batch_is_refused(method, sessions):
    model = InBatch(embedding_dim=4, hidden_dim=3, positions="last", epochs=1)
    model.fit(sessions[0], checkpoints=1)
    with pytest.raises(UnsupportedError, match="depends on the batch that it is in"):
        method.attribute(model, sessions[1])


def test_learning_rates_count(lstm, queries):
    parts = [TracIn(checkpoints=c).matrix(lstm, queries) for c in lstm.checkpoints_]
    got = TracIn(learning_rate=[0.1, 0.2]).matrix(lstm, queries)
    close(got, 2 * parts[0] + 4 * parts[1], 1e-6)


def test_bad_checkpoints(lstm, queries, sessions, tmp_path):
    bare = whence.LSTMRec(embedding_dim=4, hidden_dim=3, epochs=1).fit(sessions[0])
    with pytest.raises(ParameterError, match="no checkpoint; fit it with checkpoints=n"):
        TracIn().attribute(bare, queries)
    with pytest.raises(ParameterError, match="empty list"):
        TracIn(checkpoints=[]).attribute(lstm, queries)
    with pytest.raises(FileFormatError, match="no checkpoints"):
        TracIn(checkpoints=tmp_path).attribute(lstm, queries)
    other = whence.GRU4Rec(embedding_dim=4, hidden_dim=3, epochs=1).fit(sessions[0], checkpoints=1)
    with pytest.raises(ParameterError, match="GRU4Rec, but the model is LSTMRec"):
        TracIn(checkpoints=other.checkpoints_).attribute(lstm, queries)
    wider = whence.LSTMRec(embedding_dim=5, hidden_dim=3, epochs=1).fit(sessions[0], checkpoints=1)
    with pytest.raises(ParameterError, match=r"'embedding.weight' is \(13, 5\)"):
        TracIn(checkpoints=wider.checkpoints_).attribute(lstm, queries)
    changed = [dataclasses.replace(c, fingerprint="0") for c in lstm.checkpoints_]
    with pytest.raises(DataError, match="changed since the fit"):
        TracIn(checkpoints=changed).attribute(lstm, queries)
    with pytest.raises(UnsupportedError, match="optimiser's state"):
        TracIn(checkpoints="final", weighting="adam").attribute(lstm, queries)
    sgd = whence.LSTMRec(embedding_dim=4, hidden_dim=3, epochs=1, optimizer="sgd").fit(
        sessions[0], checkpoints=1
    )
    with pytest.raises(UnsupportedError, match="second moments"):
        TracIn(weighting="adam").attribute(sgd, queries)


def test_bad_input(lstm, queries, sessions):
    with pytest.raises(NotFittedError, match="fit"):
        TracIn().attribute(whence.LSTMRec(), sessions[1])
    with pytest.raises(UnsupportedError, match="VMISKNN"):
        TracIn().attribute(whence.VMISKNN().fit(sessions[0]), sessions[1])
    with pytest.raises(ParameterError, match="outputs"):
        TracIn(layers=["outputs"]).attribute(lstm, queries)
    with pytest.raises(ParameterError, match="empty"):
        TracIn(layers=[]).attribute(lstm, queries)
    for name, value in (
        ("by", "film"), ("weighting", "rmsprop"), ("precision", "half"), ("normalise", "l2"),
        ("method", "slow"), ("threads", 0), ("top", 0), ("batch_size", 0),
    ):  # fmt: skip
        with pytest.raises(ParameterError, match=name):
            TracIn(**{name: value}).attribute(lstm, queries)
    with pytest.raises(ParameterError, match="normalise"):
        TracIn(normalise="cosine").self_influence(lstm)
    with pytest.raises(UnsupportedError, match="by='interaction'"):
        TracIn().attribute(lstm, queries).prune(sessions[0], n=1)
    with pytest.raises(UnsupportedError):
        TracIn().self_influence(lstm).proponents(0)


# Queries


def test_queries_are_windows_and_their_next_items(lstm, sessions):
    asked = make_queries(lstm, sessions[1], target="next")
    examples = query_examples(lstm, asked)
    known = asked.target_items[asked.target_start] >= 0
    kept = np.flatnonzero(known & (asked.history_end > asked.history_start))
    assert len(examples) == len(kept)
    batch = examples.batch(np.arange(len(kept)))
    for row, query in enumerate(kept):
        history = asked.history_items[asked.history_start[query] : asked.history_end[query]][-5:]
        assert batch["items"][row, : len(history)].tolist() == history.tolist()
        assert batch["length"][row] == len(history)
        assert batch["target"][row] == asked.target_items[asked.target_start[query]]
        assert examples.history(row).tolist() == history.tolist() or len(history) == 5


def test_each_item_of_a_user_is_a_query(tables):
    train, validation = tables
    model = whence.LSTMRec(embedding_dim=4, hidden_dim=3, epochs=1).fit(train, checkpoints=1)
    queries = query_examples(model, validation)
    first = query_examples(model, validation, target="next")
    known = validation.filter(pl.col("item_id").is_in(train["item_id"].unique().implode()))
    assert len(queries) == len(known)
    assert len(first) <= validation["user_id"].n_unique()
    for query, (user, target) in enumerate(queries.ids.select("user_id", "target").iter_rows()):
        past = train.filter(pl.col("user_id") == user).sort("timestamp")["item_id"].to_list()
        later = known.filter(pl.col("user_id") == user).sort("timestamp")["item_id"].to_list()
        history = model.vocabulary.items.gather(queries.history(query)).to_list()
        assert history[: len(past)] == past
        earlier = history[len(past) :]
        assert later[: len(earlier)] == earlier
        assert later[len(earlier)] == target


def test_negatives_are_frozen_and_not_the_users(tables):
    train, validation = tables
    model = whence.LSTMRec(embedding_dim=4, hidden_dim=3, loss="bpr", n_negatives=3, epochs=1).fit(
        train, checkpoints=1
    )
    queries = query_examples(model, validation)
    batch = queries.batch(np.arange(len(queries)))
    again = query_examples(model, validation).batch(np.arange(1, len(queries)))
    assert torch.equal(batch["negatives"][1:], again["negatives"])
    owned = owned_items(model, train, validation)
    for query, (user,) in enumerate(queries.ids.select("user_id").iter_rows()):
        assert not owned[user] & set(batch["negatives"][query].tolist())


def owned_items(model, train, validation):
    """Numbers of the items that each user has in any of the rows."""
    rows = pl.concat([train.select("user_id", "item_id"), validation.select("user_id", "item_id")])
    rows = rows.filter(pl.col("item_id").is_in(train["item_id"].unique().implode()))
    numbers = rows.with_columns(number=model.vocabulary.item_codes(rows["item_id"]))
    return {user: set(part["number"].to_list()) for (user,), part in numbers.group_by("user_id")}


@pytest.mark.parametrize("name", ["BPRMF", "NeuMF"])
def test_every_row_of_a_user_is_an_example_of_a_model_of_users(name, tables):
    train, validation = tables
    model = getattr(whence, name)(epochs=1, n_negatives=2).fit(train, checkpoints=1)
    known = validation.filter(
        pl.col("item_id").is_in(train["item_id"].unique().implode())
        & pl.col("user_id").is_in(train["user_id"].unique().implode())
    )
    queries = query_examples(model, validation)
    want = known.sort("user_id", "item_id").select("user_id", target="item_id")
    assert queries.ids.sort("user_id", "target").select("user_id", "target").equals(want)
    question = ask(model, validation)
    assert len(question.arrays["item"]) == len(known) > len(question)
    owned = owned_items(model, train, validation)
    negatives = queries.batch(np.arange(len(queries)))["negatives"].tolist()
    for (user,), drawn in zip(queries.ids.select("user_id").iter_rows(), negatives):
        assert not owned[user] & set(drawn)


def test_queries_without_a_target(lstm, sessions):
    strange = sessions[1].with_columns(item_id=pl.col("item_id") + 100)
    with pytest.raises(DataError, match="None of the"):
        query_examples(lstm, strange)
    some = pl.concat([sessions[1], strange.with_columns(session_id=pl.col("session_id") + 50)])
    with pytest.warns(DataWarning, match="queries are left out"):
        examples = query_examples(lstm, some)
    assert examples.n_left_out > 0
    assert TracIn().attribute(lstm, examples).metadata["n_left_out"] == examples.n_left_out


def test_gradients_of_queries_are_those_of_the_models_loss(lstm, queries):
    here = at(lstm)
    vectors = gradients(here, queries, len(queries))
    assert np.linalg.norm(vectors, axis=1).min() > 0


def test_some_of_the_queries(lstm, sessions):
    queries = query_examples(lstm, sessions[1])
    some = queries.take([2, 0])
    want = TracIn(precision="float64").matrix(lstm, queries)[:, [2, 0]]
    np.testing.assert_allclose(TracIn(precision="float64").matrix(lstm, some), want, rtol=1e-12)
    np.testing.assert_array_equal(some.history(1), queries.history(0))
    assert some.ids["target"].to_list() == [queries.ids["target"][q] for q in (2, 0)]

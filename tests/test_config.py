from __future__ import annotations

import inspect
import re
from pathlib import Path

import polars as pl
import pytest
import yaml

import whence
from whence.config import (
    METHODS,
    MODELS,
    AttributionConfig,
    Config,
    load_config,
    read_parts,
)
from whence.errors import ConfigError, DataError, DataWarning, FileFormatError, SizeError
from whence.parameters import PositiveInt, Seed

SESSIONS = pl.DataFrame(
    {"session_id": [1, 1, 2, 2, 3, 3], "item_id": [7, 8, 8, 9, 7, 9], "timestamp": range(6)}
)
BASKETS = pl.DataFrame(
    {"user_id": [1, 1, 1, 2, 2], "basket_id": [0, 1, 2, 3, 4], "item_id": [7, 8, 8, 9, 7]}
)


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_every_key_is_described():
    for part in Config.model_fields.values():
        section = part.annotation
        assert section.__doc__
        for name, field in section.model_fields.items():
            assert field.description, name


def test_yaml_and_toml_say_the_same(tmp_path):
    keys = {
        "data": {"train": "train.csv", "fractions": [0.5, 0.25, 0.25]},
        "model": {"name": "tifu", "k": 50, "alpha": 0.2},
        "evaluation": {"metrics": ["ndcg@20", "st@5"]},
        "attribution": {"method": "loo", "seed": 3},
        "output": {"directory": "out"},
    }
    one = load_config(write(tmp_path, "a.yaml", yaml.safe_dump(keys)))
    text = """
        [data]
        train = "train.csv"
        fractions = [0.5, 0.25, 0.25]
        [model]
        name = "tifu"
        k = 50
        alpha = 0.2
        [evaluation]
        metrics = ["ndcg@20", "st@5"]
        [attribution]
        method = "loo"
        seed = 3
        [output]
        directory = "out"
    """
    assert load_config(write(tmp_path, "a.toml", text)) == one
    assert one.model.k == 50
    assert one.metric == "ndcg@20"
    assert one.data.train == str(tmp_path / "train.csv")
    assert one.output.directory == str(tmp_path / "out")


def test_defaults_and_overrides():
    assert load_config() == Config()
    config = load_config(
        overrides=["attribution.seed=5", "evaluation.metrics=mrr@10", "model.idf=true"]
    )
    assert (config.attribution.seed, config.metric, config.model.idf) == (5, "mrr@10", True)
    assert load_config(overrides={"model.k": 7, "attribution.metric": "st@2"}).metric == "st@2"


def test_an_override_wins_over_the_file_and_keeps_its_own_path(tmp_path):
    path = write(tmp_path, "a.yaml", "data: {train: a.csv}\nattribution: {seed: 1}\n")
    config = load_config(path, {"data.train": "b.csv"})
    assert config.data.train == "b.csv"
    assert config.attribution.seed == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("attribution: {tolerence: 0.1}", "'attribution.tolerence' in a.yaml. Did you mean 'tol"),
        ("seed: 3", "Did you mean 'attribution.seed'"),
        ("atribution: {seed: 3}", "Did you mean 'attribution'"),
        ("data: {seed: 3}", "Did you mean 'attribution.seed', .* or 'tune.seed'"),
        ("data: {path: a.csv, epochs: 3}", "Did you mean 'training.epochs'"),
        ("training: {checkpoints: often}", "training.checkpoints in a.yaml must be .*'often'"),
        ("training: {optimizer: adamm}", "Did you mean 'adam'"),
        ("split: {method: lats}", "Did you mean 'last'"),
        ("split: {fractions: 3}", "split.fractions in a.yaml must be"),
        ("data: {split: last}\nsplit: {method: rows}", "older name of split.method"),
        ("model: {name: vmis, kk: 3}", "kk is set in a.yaml, but vmis .* Did you mean 'k'"),
        ("model: {name: vmis, k: many}", "model.k in a.yaml must be a valid integer.*'many'"),
        ("model: 3", "model"),
        ("evaluation: {negatives: some}", "evaluation.negatives in a.yaml must be"),
        ("model: {name: vmiss}", "There is no model 'vmiss'. Did you mean 'vmis'"),
        ("attribution: {seed: many}", "attribution.seed in a.yaml must be a valid integer.*'many'"),
        ("attribution: 3", "attribution"),
        ("- a\n- b", "no sections"),
        ("data: {train: [", "cannot be read"),
    ],
)
def test_mistakes_are_one_sentence_with_the_nearest_name(tmp_path, text, message):
    path = write(tmp_path, "a.yaml", text)
    with pytest.raises(ConfigError, match=message) as error:
        load_config(path)
    assert "\n" not in str(error.value)


def test_unreadable_files(tmp_path):
    with pytest.raises(ConfigError, match="There is no configuration file"):
        load_config(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="--train"):
        load_config(write(tmp_path, "train.csv", "a,b\n"))
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(write(tmp_path, "a.toml", "[model\n"))
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "b.yaml")
    assert load_config(write(tmp_path, "empty.yaml", "")) == Config()


@pytest.mark.parametrize(
    "text",
    [
        "seed=3", "attribution.seed", "attribution.seed=[", "a.b=1", "data.min_rating=2001-99-99",
        "model.k=!!int ''", "model.k=!!timestamp x", "model.name=[x]", "evaluation.metrics=[]",
        "evaluation.negatives=-5", "evaluation.negatives=0", "split.seed=18446744073709551616",
        "attribution.seed=-1", "attribution.threads=0", "split.n=0", "model.k=" + "[" * 3000,
        "data.train=&a [*a]",
    ],
)  # fmt: skip
def test_wrong_overrides(text):
    with pytest.raises(ConfigError) as error:
        load_config(overrides=[text])
    assert len(str(error.value)) < 600


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model: {name: [x]}", "There is no model ['x']"),
        ("model: &a {name: *a}", "There is no model"),
        ("evaluation: {metrics: []}", "at least one entry"),
        ("evaluation: {metrics: [mrr@5], metrics: [mrr@9]}", "'metrics' is there twice"),
        ("training: {seed: 18446744073709551616}", "must fit into 64 bits"),
        ("model: {k: 99999999999999999999}", "must fit into 64 bits"),
        ("split: {at: [[99999999999999999999]]}", "must fit into 64 bits"),
        ("model: {k: 2001-99-99}", "month must be in"),
        ("model: {k: !!int ''}", "not of its form"),
        ("model: {k: !!timestamp x}", "not of its form"),
        ("model: {name: gru4rec, dropout: .nan}", "finite number"),
        ("training: {learning_rate: .inf}", "finite number"),
        ("training: {checkpoint_every: 2x}", "in c.yaml must be a number of steps, or a time"),
        ("tune: {space: {model.k: {low: 1, high: 2, step: -1}}}", "a number above 0"),
        ("1: 2", "must be a text"),
        ("model: [bpr]", "a section with keys"),
        ("model: {k: " + "[" * 3000, "nested too deeply"),
        ("model: {k: " + "[" * 400 + "]" * 400 + "}", "nested too deeply|valid integer"),
    ],
)
def test_hostile_values_are_refused_in_a_sentence(tmp_path, text, words):
    with pytest.raises(ConfigError, match=re.escape(words) if "|" not in words else words) as error:
        load_config(write(tmp_path, "c.yaml", text))
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600


def test_a_section_without_a_value_is_empty(tmp_path):
    config = load_config(write(tmp_path, "c.yaml", "model:\nevaluation:\n  metrics: mrr@5\n"))
    assert config.model.name == "vmis"
    assert load_config(write(tmp_path, "d.yaml", "model:\n"), ["model.k=7"]).model.k == 7


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("bpr", {"embedding_dim": 10**11}), ("gru4rec", {"max_length": 2**62}),
     ("als", {"factors": 10**11}), ("bpr", {"n_negatives": 10**11})],
)  # fmt: skip
def test_sizes_beyond_the_memory_are_refused(name, parameters):
    pytest.importorskip("torch")
    pytest.importorskip("implicit")
    data = whence.make_sessions(n_sessions=40, n_items=20, n_clusters=4, seed=1).train
    with pytest.raises(SizeError, match="does not fit into memory"):
        MODELS[name](**parameters).fit(data)


ILLOOMINATE = (
    '[model]\nname = "{model}"\n[hpo]\nk = 50\nm = 500\n{more}\n[metric]\nname="{metric}"\n'
)


@pytest.mark.parametrize(
    ("name", "metric"),
    [("MRR", "mrr@20"), ("ndcg", "ndcg@20"), ("ResponsibleMrr", "sustainablemrr@20")],
)
def test_illoominate_config_is_understood(tmp_path, name, metric):
    text = ILLOOMINATE.format(model="vmis", metric=name, more="alpha = 0.1") + "length=20\n"
    path = write(tmp_path, "config.toml", text)
    for file in ("train.csv", "valid.csv", "sustainable.csv"):
        write(tmp_path, file, "")
    config = load_config(path)
    assert (config.model.name, config.model.k, config.model.m) == ("vmis", 50, 500)
    assert config.metric == metric
    assert config.data.train == str(tmp_path / "train.csv")
    assert config.data.validation == str(tmp_path / "valid.csv")
    assert config.data.test is None
    assert config.data.sustainable_items == str(tmp_path / "sustainable.csv")
    assert config.data.unknown == "keep"


def test_illoominate_baskets_are_split_where_there_is_one_file(tmp_path):
    more = (
        'r_b = 0.9\nr_g = 0.7\nalpha = 0.7\n[nbr]\nvalidation_ratio=1.0\n[logging]\nlevel = "info"'
    )
    text = ILLOOMINATE.format(model="tifu", metric="ndcg", more=more) + "length=20\n"
    path = write(tmp_path, "config.toml", text)
    BASKETS.write_csv(tmp_path / "baskets.csv", separator="\t")
    config = load_config(path)
    assert (config.model.r_b, config.model.r_g, config.model.alpha) == (0.9, 0.7, 0.7)
    parts = read_parts(config)
    assert parts.validation is not None
    assert (parts.train.n_rows, parts.validation.n_rows) == (3, 2)
    write(tmp_path, "config.toml", text.replace("validation_ratio=1.0", "validation_ratio=0.5"))
    with pytest.warns(DataWarning, match=r"a share of 0\.5 of the users"):
        load_config(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[model]\nname='vmis'\n[hpo]\nkk = 3\n[metric]\nname='MRR'\nlength=20", "hpo.kk"),
        ("[hpo]\nk = 3\n[metrics]\nname='MRR'", "Did you mean 'metric'"),
        ("[hpo]\nk = 3\n[metric]\nname='MRR'", "metric.length"),
    ],
)
def test_wrong_illoominate_config(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        load_config(write(tmp_path, "config.toml", text))


def test_models_are_built_with_the_parameters_given():
    assert load_config(overrides=["model.k=5"]).model.build().params["k"] == 5
    tifu = load_config(overrides=["model.name=tifu", "model.alpha=0.1"]).model.build()
    assert (type(tifu).__name__, tifu.alpha) == ("TIFUKNN", 0.1)
    with pytest.raises(ConfigError, match=r"vmis has no such parameter; it takes k, m, idf\."):
        load_config(overrides=["model.alpha=0.1"]).model.build()


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("EASE", "ease"),
        ("ease", "ease"),
        ("VMISKNN", "vmis"),
        ("LSTMRec", "lstm"),
        ("pop", "popularity"),
        ("BPRMF", "bpr"),
        ("FunkSVD", "mf"),
    ],
)  # fmt: skip
def test_models_are_named_in_any_case_by_class_or_short_name(name, short):
    config = load_config(overrides={"model.name": name})
    assert config.model.name == short
    assert config.model.class_name == MODELS[short].__name__


def test_every_model_has_a_name():
    import whence.models

    classes = [getattr(whence.models, name) for name in whence.models.__all__ if name[0].isupper()]
    own = {
        one
        for one in classes
        if isinstance(one, type)
        and issubclass(one, whence.Recommender)
        and "adapters" not in one.__module__
    }
    concrete = {one for one in own if not inspect.isabstract(one)}
    assert concrete <= {model for _, model in MODELS.items()}


def test_arguments_of_training_go_to_the_model_that_has_them():
    pytest.importorskip("torch")
    config = load_config(
        overrides=["model.name=GRU4Rec", "training.learning_rate=1e-2", "training.epochs=3"]
    )
    model = config.build_model()
    assert (model.learning_rate, model.epochs, model.seed) == (0.01, 3, 42)
    assert config.fit_arguments(model) == {"metric": ["mrr@20"]}
    config = load_config(
        overrides=["model.name=GRU4Rec", "training.metric=ndcg@5", "training.eval_every=2"]
    )
    assert config.fit_arguments(model) == {"metric": ["ndcg@5", "mrr@20"], "eval_every": 2}
    knn = load_config(overrides=["training.epochs=3"])
    with pytest.warns(DataWarning, match=r"training\.epochs has no use for VMISKNN"):
        assert knn.build_model().params == whence.VMISKNN().params
    assert knn.fit_arguments(whence.VMISKNN()) == {}


def test_numbers_with_an_exponent_are_numbers(tmp_path):
    path = write(tmp_path, "a.yaml", "tune: {space: {training.learning_rate: [1e-3, 1E+2]}}")
    assert load_config(path).tune.space == {"training.learning_rate": [0.001, 100.0]}
    assert load_config(overrides=["model.name=ease", "model.l2=1e2"]).model.l2 == 100.0


def test_methods_are_built_with_the_parameters_given():
    method = load_config(overrides=["attribution.tolerance=0.3"]).attribution.build(
        "mrr@5", unknown="drop"
    )
    assert type(method).__name__ == "Shapley"
    assert (method.metric, method.tolerance, method.seed, method.unknown) == (
        "mrr@5",
        0.3,
        42,
        "drop",
    )
    beta = load_config(
        overrides=["attribution.method=beta-shapley", "attribution.alpha=4", "attribution.by=user"]
    ).attribution.build("mrr@5")
    assert (beta.alpha, beta.by, beta.metric) == (4, "user", "mrr@5")
    with pytest.warns(DataWarning, match=r"attribution\.tolerance has no use for loo"):
        load_config(
            overrides=["attribution.method=loo", "attribution.tolerance=0.1"]
        ).attribution.build("mrr@5")
    for name in METHODS:
        if METHODS[name].of_training:
            AttributionConfig.model_validate({"method": name}).build("mrr@5")._check_params()
    with pytest.raises(ConfigError, match=r"must be one of .*, not 'explainer'"):
        load_config(overrides=["attribution.method=explainer"])


def test_reading_parts(tmp_path):
    SESSIONS.write_csv(tmp_path / "train.csv")
    SESSIONS.rename({"session_id": "SessionId", "item_id": "ItemId"}).write_csv(
        tmp_path / "v.tsv", separator="\t"
    )
    pl.DataFrame({"item_id": [7, 9]}).write_csv(tmp_path / "good.csv")
    config = load_config(
        overrides={
            "data.train": str(tmp_path / "train.csv"),
            "data.validation": str(tmp_path / "v.tsv"),
            "data.sustainable_items": str(tmp_path / "good.csv"),
        }
    )
    parts = read_parts(config)
    assert parts.train.n_sources == 3
    assert parts.validation is not None
    assert list(parts.sustainable_items) == [7, 9]
    assert parts.test is None
    assert (
        read_parts(load_config(overrides={"data.train": str(tmp_path / "train.csv")})).test is None
    )


def test_splitting_one_file(tmp_path):
    SESSIONS.write_csv(tmp_path / "train.csv")
    keys = {"data.train": str(tmp_path / "train.csv"), "data.fractions": [1 / 3, 1 / 3, 1 / 3]}
    for split, test in (("temporal", 1), ("random", 1), ("last", None)):
        parts = read_parts(load_config(overrides={**keys, "data.split": split}))
        assert parts.validation is not None
        assert (None if parts.test is None else parts.test.describe()["sessions"]) == test


USERS = pl.DataFrame(
    {
        "user_id": [u for u in range(10) for _ in range(5)],
        "item_id": [(u * i) % 7 + 10 for u in range(10) for i in range(5)],
        "rating": [1 + (u + i) % 5 for u in range(10) for i in range(5)],
        "timestamp": range(50),
    }
)


@pytest.mark.parametrize(
    ("frame", "method", "sizes"),
    [
        (USERS, "leave-one-out", (30, 10, 10)),
        (USERS.drop("timestamp"), "rows", (30, 10, 10)),
        (USERS.rename({"user_id": "session_id"}), "temporal", (40, 5, 5)),
        (USERS.rename({"timestamp": "basket_id"}), "leave-one-out", (30, 10, 10)),
    ],
)
def test_one_file_is_split_in_the_way_that_suits_it(tmp_path, frame, method, sizes):
    frame.write_csv(tmp_path / "all.csv")
    parts = read_parts(
        load_config(overrides={"data.path": str(tmp_path / "all.csv"), "model.name": "popularity"})
    )
    assert parts.split == method
    assert (parts.train.n_rows, parts.validation.n_rows, parts.test.n_rows) == sizes


@pytest.mark.parametrize(
    ("method", "more", "sizes"),
    [
        ("rows", {"split.per_user": False}, (40, 5, 5)),
        ("time", {}, (40, 5, 5)),
        ("time", {"split.at": [10, 20]}, (10, 10, 30)),
        ("temporal", {"split.at": [6, 20]}, (5, 15, 30)),
        ("random", {"split.fractions": [0.5, 0.5]}, (25, 25, None)),
        ("last", {"split.n": 2}, (30, 20, None)),
    ],
)
def test_every_way_of_splitting(tmp_path, method, more, sizes):
    USERS.write_csv(tmp_path / "all.csv")
    keys = {"data.path": str(tmp_path / "all.csv"), "split.method": method, "split.seed": 1}
    parts = read_parts(load_config(overrides={**keys, **more, "model.name": "ease"}))
    test = None if parts.test is None else parts.test.n_rows
    assert (parts.train.n_rows, parts.validation.n_rows, test) == sizes


def test_rows_are_dropped_before_splitting(tmp_path):
    USERS.write_csv(tmp_path / "all.csv")
    keys = {"data.path": str(tmp_path / "all.csv"), "model.name": "ease", "split.method": "rows"}

    def kept(**bounds):
        parts = read_parts(load_config(overrides={**keys, **bounds}))
        frames = [parts.train.frame, parts.validation.frame, parts.test.frame]
        return pl.concat(frames), parts.notes

    rated, _ = kept(**{"data.min_rating": 2, "data.max_rating": 4})
    assert rated["rating"].unique().sort().to_list() == [2, 3, 4]
    core, notes = kept(**{"data.min_per_item": 4, "data.min_per_user": 3})
    assert core["item_id"].value_counts()["count"].min() >= 4
    assert core["user_id"].value_counts()["count"].min() >= 3
    assert notes[0].startswith("3 rows per user_id, 4 per item: Dropped")
    whole, notes = kept(**{"data.min_length": 5, "data.max_length": 5})
    assert whole.height == 50
    assert notes == ("Length 5 to 5: Dropped 0 of 50 rows, 0 of 10 sources and 0 of 7 items.",)


def test_tables_of_items_come_along(tmp_path):
    USERS.write_csv(tmp_path / "all.csv")
    pl.DataFrame({"item_id": [10, 11], "title": ["Tea", "Cup"]}).write_csv(tmp_path / "items.csv")
    text = "data: {path: all.csv, item_table: items.csv}\nmodel: {name: ease}\n"
    parts = read_parts(load_config(write(tmp_path, "a.yaml", text)))
    assert parts.train.item_titles.drop_nulls().to_list() == ["Tea", "Cup"]


def test_public_data_sets_are_named(tmp_path, monkeypatch):
    import whence.data.public

    loaded = whence.Interactions.from_frame(USERS)
    monkeypatch.setattr(whence.data.public, "load", lambda name, **order: loaded)
    config = load_config(write(tmp_path, "a.yaml", "data: {path: ml-100k}\nmodel: {name: ease}"))
    assert config.data.path == "ml-100k"
    monkeypatch.chdir(tmp_path)
    assert read_parts(config).train.n_rows == 30
    item = load_config(overrides={"data.path": "ml-100k", "data.item": "rating"})
    assert read_parts(item).train.n_items == 5


def test_the_model_and_the_data_must_fit(tmp_path):
    SESSIONS.write_csv(tmp_path / "s.csv")
    BASKETS.write_csv(tmp_path / "b.csv")
    for file, model, other in (("s.csv", "tifu", "vmis"), ("b.csv", "vmis", "tifu")):
        config = load_config(overrides={"data.train": str(tmp_path / file), "model.name": model})
        with pytest.raises(DataError, match=f"--model {other}"):
            read_parts(config)
    both = SESSIONS.with_columns(basket_id=1, user_id=pl.col("session_id"))
    both.write_csv(tmp_path / "both.csv")
    for model, kind in (("vmis", "sessions"), ("tifu", "baskets")):
        keys = {"data.train": str(tmp_path / "both.csv"), "model.name": model}
        assert read_parts(load_config(overrides=keys)).train.kind == kind


def test_missing_files_are_named():
    with pytest.raises(ConfigError, match="--train"):
        read_parts(Config())
    with pytest.raises(FileFormatError, match="nowhere"):
        read_parts(load_config(overrides={"data.train": "nowhere.csv"}))


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[1] / "examples").rglob("*.yaml")))
@pytest.mark.filterwarnings("ignore::whence.errors.DataWarning")
def test_the_examples_can_be_read(path):
    pytest.importorskip("torch")
    config = load_config(path)
    if "name" in config.model.model_fields_set:
        model = config.build_model()
        assert "metric" in config.fit_arguments(model)


def test_the_older_name_of_the_threads_of_torch_is_understood():
    with pytest.warns(DataWarning, match=r"is called training\.torch_threads now"):
        config = load_config(overrides=["model.name=GRU4Rec", "training.threads=2"])
    assert config.training.torch_threads == 2


def test_models_of_others_are_configured_by_their_fields():
    class FromOutside(whence.Popularity, name="from-outside"):
        window: PositiveInt = 3
        epochs: PositiveInt = 2
        seed: Seed = 42

    config = load_config(
        overrides=["model.name=from-outside", "model.window=4", "training.epochs=7"]
    )
    model = config.build_model()
    assert type(model) is FromOutside
    assert (model.window, model.epochs, model.seed) == (4, 7, 42)
    assert load_config(overrides=["model.name=FromOutside"]).model.name == "from-outside"
    with pytest.raises(ConfigError, match=r"model\.window in the options must be greater"):
        load_config(overrides=["model.name=from-outside", "model.window=0"])
    with pytest.raises(ConfigError, match=r"Did you mean 'window'"):
        load_config(overrides=["model.name=from-outside", "model.windw=1"])
    with pytest.raises(ConfigError, match=r"write training\.epochs"):
        load_config(overrides=["model.name=from-outside", "model.epochs=1"])
    with pytest.raises(ConfigError, match=r"Did you mean 'from-outside'"):
        load_config(overrides=["model.name=from-outsid"])

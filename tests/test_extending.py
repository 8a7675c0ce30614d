"""What CONTRIBUTING shows of extending Whence works, from a package of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

GUIDE = Path(__file__).resolve().parents[1] / "CONTRIBUTING.md"
BLOCK = re.compile(r"```(?:python|toml)\n# theirs/([\w.]+)[^\n]*\n(.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """A folder to be imported from, with the package of the guide, as if it were installed."""
    folder = tmp_path_factory.mktemp("installed")
    package, info = folder / "theirs", folder / "theirs-1.0.dist-info"
    package.mkdir()
    info.mkdir()
    (package / "__init__.py").touch()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    found = dict(BLOCK.findall(GUIDE.read_text(encoding="utf-8")))
    assert found.keys() == {
        "pyproject.toml", "again.py", "middle.py", "rbp.py", "arrows.py", "mean.py",
    }  # fmt: skip
    points = re.sub(r'\[project\.entry-points\."(.*?)"\]', r"[\1]", found.pop("pyproject.toml"))
    (info / "entry_points.txt").write_text(points.replace('"', ""))
    for name, text in found.items():
        (package / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def clicks(tmp_path_factory, theirs):
    """Clicks in a file of their format."""
    run_python(
        theirs,
        tmp := tmp_path_factory.mktemp("clicks"),
        """
        import whence
        data = whence.make_sessions(n_sessions=120, seed=1)
        for name, part in (("train", data.train), ("valid", data.validation)):
            whence.write_interactions(part.frame.select("session_id", "item_id"), name + ".arrows")
        """,
    )
    return tmp


def run(theirs, folder, *command):
    """Run a command in which the package can be imported; what it printed."""
    paths = [str(theirs), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run_python(theirs, folder, code):
    lines = code.strip("\n").split("\n")
    indent = len(lines[0]) - len(lines[0].lstrip())
    return run(theirs, folder, sys.executable, "-c", "\n".join(line[indent:] for line in lines))


def run_whence(theirs, folder, *arguments):
    main = "import sys; from whence.cli import main; sys.argv[0] = 'whence'; main()"
    return run(theirs, folder, sys.executable, "-c", main, *map(str, arguments))


def test_from_python_with_the_suites(theirs, clicks):
    run_python(
        theirs,
        clicks,
        """
        from theirs.again import Again
        from theirs.middle import Middle
        from whence.testing import check_attributor, check_recommender
        check_recommender(Again(window=3))
        check_attributor(Middle("mrr@3"))
        """,
    )


def test_their_format_is_read_and_written(theirs, clicks):
    first = (clicks / "train.arrows").read_text().splitlines()[0]
    assert re.fullmatch(r"\d+->\d+", first)
    code = "import whence; print(whence.read_interactions('train.arrows').n_rows)"
    n_rows = int(run_python(theirs, clicks, code))
    assert n_rows == len((clicks / "train.arrows").read_text().splitlines())


def test_their_metric_is_the_definition(theirs, clicks):
    code = """
        import whence
        from theirs.again import Again
        train, valid = (whence.read_interactions(n + ".arrows") for n in ("train", "valid"))
        model = Again().fit(train)
        queries = whence.make_queries(model, valid)
        print(float(whence.evaluate(model, queries, "rbp@5")))
        whence.evaluate(model, queries, "mrr@1")
        total = 0
        lists, _ = model.recommend(queries, k=5)
        items = model.vocabulary.items.to_list()
        for q, found in enumerate(lists):
            codes = queries.target_items[queries.target_start[q] : queries.target_end[q]]
            targets = [items[c] if c >= 0 else None for c in codes]
            total += 0.2 * sum(0.8**r for r, i in enumerate(found) if i in targets)
        print(total / len(queries))
        """
    found, wanted = map(float, run_python(theirs, clicks, code).split())
    assert found == pytest.approx(wanted, rel=1e-12)
    assert found > 0


def test_from_a_configuration_through_train_save_and_load(theirs, clicks, tmp_path):
    (clicks / "again.yaml").write_text(
        "data: {train: train.arrows, validation: valid.arrows}\n"
        "model: {name: again, window: 3}\n"
        "evaluation: {metrics: [rbp@5, mrr@5]}\n"
    )
    run_whence(theirs, clicks, "train", "again.yaml", "--output", tmp_path / "run")
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert "rbp@5" in json.dumps(metrics)
    code = f"import whence; print(whence.load_model({str(tmp_path / 'run' / 'model.whence')!r}))"
    assert run_python(theirs, clicks, code).startswith("<Again(window=3) fitted on")


def test_their_semivalue_on_the_command_line(theirs, clicks, tmp_path):
    output = tmp_path / "values"
    run_whence(
        theirs, clicks, "value", "--train", "train.arrows", "--valid", "valid.arrows",
        "--model", "vmis", "--method", "middle", "--metric", "mrr@5",
        "--set", "attribution.max_permutations=20", "--output", output,
    )  # fmt: skip
    assert pl.read_parquet(output / "values.parquet")["score"].abs().sum() > 0
    code = (
        f"import whence; print(whence.Attribution.load({str(output / 'values.parquet')!r}).title)"
    )
    assert run_python(theirs, clicks, code) == "Middle values\n"


def test_their_layer_rule_is_the_gradient(theirs, clicks, tmp_path):
    """The factors of the rule give the scores of autograd, and `whence trace` uses it."""
    code = """
        import numpy as np, whence
        from theirs.mean import Mean
        data = whence.make_sessions(n_sessions=40, seed=1)
        model = Mean(embedding_dim=4, epochs=2).fit(data.train, checkpoints=1)
        found, wanted = (
            whence.TracIn(method=method, precision="float64").attribute(model, data.validation)
            for method in ("factors", "autograd")
        )
        print(np.abs(found.scores - wanted.scores).max() / np.abs(wanted.scores).max())
        """
    assert float(run_python(theirs, clicks, code)) < 1e-9
    run_whence(
        theirs, clicks, "train", "--train", "train.arrows", "--valid", "valid.arrows",
        "--test", "valid.arrows", "--model", "mean", "--set", "training.epochs=2",
        "--set", "training.checkpoints=1", "--output", tmp_path / "run",
    )  # fmt: skip
    said = run_whence(theirs, clicks, "trace", tmp_path / "run")
    assert said.startswith("TracIn influence of 120 examples, Mean(")

"""What is written in several places of the packaging is the same in all of them."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import yaml

import whence

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

REPOSITORY = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))
CONDA = (REPOSITORY / "conda" / "meta.yaml").read_text("utf-8")
OTHER_NAMES = {
    "matplotlib": "matplotlib-base",
    "lazy-loader": "lazy_loader",
    "typing-extensions": "typing_extensions",
}


def test_one_version():
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text("utf-8"))
    found = re.search(r'set version = "(.*?)"', CONDA)
    assert found is not None
    versions = {PROJECT["project"]["version"], str(citation["version"]), found[1]}
    assert versions == {whence.__version__}


def test_conda_needs_what_pip_needs():
    run = CONDA.partition("  run:\n")[2].partition("  #")[0]
    conda = dict(re.findall(r"- (\S+) >=(\S+)", run))
    assert conda.pop("python") == PROJECT["project"]["requires-python"].removeprefix(">=")
    pip = {}
    for requirement in PROJECT["project"]["dependencies"]:
        found = re.match(r"([\w-]+)>=([\d.]+)", requirement)
        assert found is not None
        pip[OTHER_NAMES.get(found[1], found[1])] = found[2]
    assert conda == pip
    assert PROJECT["project"]["description"] in CONDA
    host = CONDA.partition("  host:\n")[2].partition("  run:")[0]
    for requirement in PROJECT["build-system"]["requires"]:
        assert f"- {requirement.replace('>=', ' >=')}\n" in host


def test_all_five_uses_are_named():
    text = PROJECT["project"]["description"] + " ".join(PROJECT["project"]["keywords"])
    for word in ("evaluat", "valu", "influence", "expla", "withh"):
        assert word in text


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "README.md"])
def test_files_that_are_named_exist(name):
    text = (REPOSITORY / name).read_text("utf-8")
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    linked = {target.partition("#")[0] for target in re.findall(r"\]\(([^)]+)\)", text)}
    linked = {target for target in linked if target and "://" not in target}
    quoted = re.findall(r"`((?:\.ci|docs|tests|benchmarks|examples|src|conda)/[\w./-]*)`", text)
    missing = [path for path in [*linked, *quoted] if not (REPOSITORY / path).exists()]
    assert linked or quoted
    assert missing == []


@pytest.mark.parametrize(
    "path", sorted(REPOSITORY.glob(".github/**/*.yml")), ids=lambda path: path.name
)
def test_files_for_public_hosting_are_read(path):
    content = yaml.safe_load(path.read_text("utf-8"))
    assert isinstance(content, dict)
    if path.parent.name == "workflows":
        assert set(content) >= {"name", "jobs"}

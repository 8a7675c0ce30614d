"""The examples of adapters run, and print what they say."""

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "adapters"
# The library that an example needs, and the beginnings of lines that it prints.
EXPECTED = {
    "any_object.py": ("whence", ["After [", "Evaluation(", "  recall@20"]),
    "cornac_model.py": ("cornac", ["Cornac's BPR recommends", "BPR: {", "Popularity: {"]),
    "implicit_model.py": ("implicit", ["Cosine: {", "BPR: {", "BPR recommends to user"]),
    "recbole_model.py": ("recbole", ["BPR: {", "RecBole's BPR recommends", "Losses of"]),
    "torch_module.py": ("torch", ["Trained here: {", "Trained elsewhere: {", "Hardest to predict"]),
}


def test_all_examples_are_run():
    assert sorted(path.name for path in EXAMPLES.glob("*.py")) == sorted(EXPECTED)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_example(name, capsys):
    library, beginnings = EXPECTED[name]
    pytest.importorskip(library)
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    for beginning in beginnings:
        assert any(line.startswith(beginning) for line in lines)

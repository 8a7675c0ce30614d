"""Registries: names, aliases, doubles, entry points of other packages."""

import subprocess
import sys
from importlib import metadata

import pytest

from whence.errors import ParameterError, UnsupportedError
from whence.registry import Registry


def make(name, module="here"):
    return type(name, (), {"__module__": module, "__qualname__": name})


def test_names_and_aliases_in_any_case():
    registry = Registry("thing")
    entry = registry.add("One-Two", make("A"), aliases=("both",))
    assert registry["one-two"] is entry
    assert registry[" BOTH "] is entry
    assert registry.names() == ["one-two"]
    assert registry.name_of(entry) == "one-two"
    assert registry.plain("Both") == "one-two"
    assert registry.plain(7) == 7
    assert "three" not in registry


def test_unknown_names_are_met_with_the_nearest():
    registry = Registry("thing")
    registry.add("shapley", make("A"))
    with pytest.raises(ParameterError, match=r"no thing 'shaply'\. Did you mean 'shapley'"):
        registry["shaply"]


def test_a_name_stands_for_one_thing():
    registry = Registry("thing")
    registry.add("a", make("A"), aliases=("b",))
    with pytest.raises(
        ParameterError, match=r"There is a thing 'b' already, here\.A; register here\.B"
    ):
        registry.add("b", make("B"))
    again = make("A")
    assert registry.add("a", again) is again  # defined again, as in a notebook
    assert registry["a"] is again


def test_modules_are_imported_when_an_entry_is_asked_for(tmp_path, monkeypatch):
    home = tmp_path / "homes_of_things"
    home.mkdir()
    (home / "__init__.py").write_text(
        "from whence.registry import Registry\n"
        "THINGS = Registry('thing', homes=('homes_of_things',))\n"
    )
    for name in ("first", "second"):
        (home / f"{name}.py").write_text(
            f"from homes_of_things import THINGS\nTHINGS.add('{name}', type('{name}', (), {{}}))\n"
        )
    (home / "third.py").write_text("import torch_that_is_not_there\n")
    monkeypatch.syspath_prepend(tmp_path)
    from homes_of_things import THINGS

    assert THINGS["second"].__name__ == "second"
    assert "homes_of_things.first" not in sys.modules
    assert THINGS.names() == ["first", "second"]
    with pytest.raises(ParameterError, match="Others need torch_that_is_not_there"):
        THINGS["third"]


def test_entry_points_of_other_packages(tmp_path, monkeypatch):
    info = tmp_path / "their_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[whence.things]\ngood = their_module:Good\nbad = their_module_that_fails:Bad\n"
    )
    (tmp_path / "their_module.py").write_text("class Good: pass\n")
    (tmp_path / "their_module_that_fails.py").write_text("raise RuntimeError('broken')\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert [one.name for one in metadata.entry_points(group="whence.things")] == ["good", "bad"]
    registry = Registry("thing", group="whence.things")
    assert registry.names() == ["good", "bad"]
    assert registry["good"].__name__ == "Good"
    with pytest.raises(UnsupportedError) as caught:
        registry["bad"]
    assert str(caught.value) == (
        "The thing 'bad' of the package their-package cannot be loaded: RuntimeError: broken. "
        "Update or remove that package."
    )


def test_the_name_of_a_class_is_one_of_the_entry_unless_another_has_it():
    things = Registry("thing")
    entry = things.add("small", make("Thing"), by_class="Thing")
    assert things["thing"] is entry
    assert things.plain("THING") == "small"
    other = make("Other")
    things.add("thing", other)
    assert things["thing"] is other


def test_a_name_of_whence_is_taken_before_its_module_is_imported():
    program = (
        "import whence\n"
        "try:\n"
        "    class Mine(whence.Popularity, name='markov'): pass\n"
        "except whence.errors.ParameterError as error:\n"
        "    print(error)\n"
        "class EASE(whence.Popularity, name='my-ease'): pass\n"
        "print(whence.models.MODELS['ease'].__module__, whence.models.MODELS['my-ease'] is EASE)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == (
        "There is a model 'markov' already, whence.models.markov.MarkovChain; register "
        "__main__.Mine under another name.\nwhence.models.matrix.ease True\n"
    )

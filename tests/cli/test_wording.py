"""Messages of the library as the command line says them."""

from __future__ import annotations

import logging
import warnings

import pytest

from whence.cli._terminal import Wording, complain, counted, heading, say, table, terminal
from whence.errors import DataWarning

WORDING = Wording(
    {
        "by": "--by", "k": "--neighbours", "session": "--session-column", "n": "-n",
        "query": "--query", "max_query": "--max-query",
    },
    {"resume": ("--resume", ""), "calibrate": ("--calibrate", "--no-calibrate")},
)  # fmt: skip


@pytest.fixture(autouse=True)
def _talkative(monkeypatch):
    """As a command before may have been quiet."""
    monkeypatch.setattr(terminal, "quiet", False)
    monkeypatch.setattr(terminal, "verbose", False)


@pytest.mark.parametrize(
    ("python", "said"),
    [
        ("by='shop' is no column.", "--by shop is no column."),
        ("name the session with session='…'.", "name the session with --session-column ...."),
        ("go on with resume=True, or not.", "go on with --resume, or not."),
        ("ask with calibrate=False.", "ask with --no-calibrate."),
        ("use query= or by= for fewer", "use --query ... or --by ... for fewer"),
        ("say cells= and the rest", "say cells and the rest"),
        ("k must be at least 1, not 0.", "--neighbours must be at least 1, not 0."),
        ("query must be at least 0.", "--query must be at least 0."),
        ("take optimizer='adam'.", "take --set training.optimizer=adam."),
        ("say loss='bpr' for this.", "say --set model.loss=bpr for this."),
        ("EASE(l2=3, k=4) has no k=3.", "EASE(l2=3, k=4) has no --neighbours 3."),
        ("set training.k=3 or model.k.", "set training.k=3 or model.k."),
        ("Choose a smaller max_query.", "Choose a smaller --max-query."),
        ("Say --masking item=ID or by=ID.", "Say --masking item=ID or by=ID."),
        ("k is not a word here: ask.", "--neighbours is not a word here: ask."),
        (
            "User 3 is unknown to the model; ask for users of the training data, or for a new one "
            "through model.fold_in([history]).",
            "User 3 is unknown to the model; ask for users of the training data.",
        ),
        (
            "Ids are Int64; cast them to the same type, e.g. .cast(pl.Int64) in polars.",
            "Ids are Int64; cast them to the same type.",
        ),
        ("This has not been fitted; call model.fit(train) first.", "This has not been fitted."),
        ("It is in 'a.csv': see whence train run.", "It is in 'a.csv': see whence train run."),
    ],
)  # fmt: skip
def test_arguments_become_options_and_python_is_left_out(python, said):
    assert WORDING.spoken(python) == said


def test_without_a_command_nothing_is_changed_but_python():
    assert Wording().spoken("by='shop' is no column.") == "by='shop' is no column."


def test_a_note_is_told_once(capsys):
    terminal.start()
    for message in ("one", "one", "two"):
        terminal.warned(DataWarning(message), DataWarning, "file", 1)
    assert capsys.readouterr().err == "Note: one\nNote: two\n"
    terminal.start()
    terminal.quiet = True
    terminal.note("three")
    terminal.quiet = False
    assert capsys.readouterr().err == ""


def test_other_warnings_stay_what_they_are(capsys):
    with warnings.catch_warnings():
        terminal.warned(UserWarning("odd"), UserWarning, "file", 1)
    assert "UserWarning: odd" in capsys.readouterr().err


def test_what_is_logged_is_shown_on_request(capsys):
    terminal.verbose = True
    terminal.start()
    logging.getLogger("whence.models").info("Epoch 1 ended.")
    terminal.verbose = False
    terminal.start()
    logging.getLogger("whence.models").info("Epoch 2 ended.")
    assert capsys.readouterr().err == "Epoch 1 ended.\n"


@pytest.mark.parametrize(
    ("number", "noun", "said"),
    [
        (1, "session", "1 session"), (2, "query", "2 queries"), (1, "query", "1 query"),
        (1200, "day", "1,200 days"), (0, "user", "0 users"),
    ],
)  # fmt: skip
def test_counted(number, noun, said):
    assert counted(number, noun) == said


def test_ids_do_not_command_the_terminal(capsys):
    terminal.start()
    strange = "\x1b[2J\x1b[31mred\x07\u202egpj\x9b1m"
    say(strange)
    heading(strange)
    complain(strange)
    terminal.note(strange)
    table(["id\x1b[1m", "n"], [[f"{strange}\nnext", 1]])
    said = "".join(capsys.readouterr())
    assert not set(said) & set("\x1b\x07\u202e\x9b")
    assert said.count(r"\x1b[2J\x1b[31mred\x07\u202egpj\x9b1m") == 5
    assert len(said.splitlines()) == 6


def test_a_list_that_is_read_from_a_file():
    wording = Wording({"sustainable_items": "--sustainable", "metric": "--metric"})
    assert wording.spoken("Give sustainable_items=[…], please.") == (
        "Give --sustainable FILE, please."
    )
    assert wording.spoken("Give metric=[…], please.") == "Give --metric ..., please."

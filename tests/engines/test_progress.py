"""Progress: a bar, lines with numbers, or the caller's function."""

from whence.engines import part_of, progress, reporter


def test_lines_have_numbers_where_standard_error_is_no_terminal(capsys, monkeypatch):
    now = iter([0.0, 1.0, 11.0, 12.0, 25.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))
    with reporter(True, "Valuing") as report:
        report(1, 10, "first round")
        report(2, 10, "first round")
        report(3, 10, "first round")
        report(10, 10, "standard error 3%")
    assert capsys.readouterr().err.splitlines() == [
        "Valuing, 20% after 11 s, first round",
        "Valuing, 100% after 25 s, standard error 3%",
    ]


def test_silent_and_callable(capsys):
    seen = []
    with reporter(False) as report:
        report(1, 2, "a")
    with reporter(lambda *told: seen.append(told)) as report:
        report(1, 2, "a")
    assert seen == [(1, 2, "a")]
    assert capsys.readouterr().err == ""


def test_a_part_of_several():
    seen = []
    part_of(lambda *told: seen.append(told), 2, 5)(1, 4, "x")
    assert seen == [(2.25, 5, "x")]


def test_a_bar_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with reporter(True, "Valuing") as report:
        report(1, 2, "half")
        report(2, 2, "whole")

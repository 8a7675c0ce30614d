"""Progress: a bar, lines with numbers, or the caller's function."""

from whence.engines import part_of, progress, reporter


class Moments:
    """In place of the event that ends the lines: wakes as often as it is told to."""

    def __init__(self, number, told):
        self.left, self.told = number, told

    def wait(self, seconds):
        self.told.append(seconds)
        self.left -= 1
        return self.left < 0

    def set(self):
        """Nothing waits."""


def test_lines_have_numbers_where_standard_error_is_no_terminal(capsys, monkeypatch):
    now, waits = iter([0.0, 11.0, 25.0]), []
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))
    monkeypatch.setattr(progress.threading, "Event", lambda: Moments(2, waits))
    # Told at once, where the thread begins: what is reported comes first.
    monkeypatch.setattr(progress.threading, "Thread", Later)
    with reporter(True, "Valuing") as report:
        report(1, 10, "first round")
        report(2, 10, "standard error 3%")
    assert capsys.readouterr().err.splitlines() == [
        "Valuing, 20% after 11 s, standard error 3%",
        "Valuing, 20% after 25 s, standard error 3%",
    ]
    assert waits == [10.0] * 3


class Later:
    """In place of a thread: it runs when it is joined."""

    def __init__(self, target, daemon):
        self.target = target

    def start(self):
        """It runs later."""

    def join(self):
        self.target()


def test_work_that_reports_nothing_is_not_silent(capsys, monkeypatch):
    monkeypatch.setattr(progress.threading, "Event", lambda: Moments(1, []))
    monkeypatch.setattr(progress.threading, "Thread", Later)
    with progress.lines("Evaluating"):
        pass
    assert capsys.readouterr().err == "Evaluating, after 0 s\n"


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

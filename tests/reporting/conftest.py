"""Folders of results with hostile titles, and a browser to look at reports of them."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from whence.cli import app

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "cli"))
from _commands import SESSIONS, write_ratings, write_sessions
from hostile_titles import HOSTILE


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """A folder with runs of most commands, on tiny data."""
    folder = tmp_path_factory.mktemp("runs")
    before = os.getcwd()
    os.chdir(folder)
    try:
        write_sessions(folder)
        write_ratings(folder / "ratings.csv")
        titles = pl.read_csv("titles.csv")
        names = [*HOSTILE, *titles["title"].to_list()[len(HOSTILE) :]]
        # The hostile titles are those of the most popular items, so that they are seen.
        popular = pl.read_csv("ratings.csv")["item_id"].value_counts(sort=True)["item_id"]
        order = [*popular, *(set(titles["item_id"]) - set(popular))]
        kinds = ["one" if number % 2 else "two" for number in range(len(order))]
        pl.DataFrame({"item_id": order, "title": names, "kind": kinds}).write_csv("titles.csv")
        ratings = ("--data", "ratings.csv", "--set", "data.item_table=titles.csv")
        for line in (
            ("train", *SESSIONS, "--model", "vmis", "--metric", "mrr@5", "-o", "run"),
            ("value", *SESSIONS[:4], "--metric", "mrr@5", "-o", "values"),
            ("train", *ratings, "--model", "ease", "-o", "films"),
            ("forget", "films", "--user", "3", "--audit", "-o", "forgot"),
            ("explain", "films", "--user", "1", "--user", "2", "-k", "3", "-o", "why"),
            ("train", *ratings, "--model", "popularity", "-o", "popular"),
            ("evaluate", "films", "popular", "-o", "compared"),
        ):
            result = CliRunner().invoke(app, [*line, "-q"])
            assert result.exit_code == 0, (line, result.output, result.exception)
    finally:
        os.chdir(before)
    return folder


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium that asks nothing of the net."""
    sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = next((path for name in ("chromium", "chromium-browser", "google-chrome")
                  if (path := shutil.which(name))), None)  # fmt: skip
    if found is None:
        pytest.skip("there is no Chromium; on Debian: apt-get install chromium")
    with sync.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def look(browser):
    """``look(address)`` opens a page and gives it, with what it complained of and asked for."""

    def look(address, width=1280, dark=False):
        scheme = "dark" if dark else "light"
        page = browser.new_page(
            viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce"
        )
        page.complaints, page.asked = [], []
        page.on("console", lambda message: page.complaints.append(message.text)
                if message.type in ("error", "warning") else None)  # fmt: skip
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto(str(address))
        page.wait_for_selector("html[data-complete]", state="attached", timeout=60_000)
        return page

    return look

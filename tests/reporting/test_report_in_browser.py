"""Reports in a browser: charts are drawn, tables sort and filter, texts stay texts."""

from __future__ import annotations

import itertools

import pytest
from hostile_titles import HOSTILE

import whence


@pytest.fixture(scope="module")
def address(folders, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    return whence.report(folders / "films", folders / "why", output=path).as_uri()


@pytest.fixture(scope="module")
def page(look, address):
    """The report as it is when it was opened; the first test of it looks at all that happened."""
    return look(address)


def test_nothing_is_complained_of_or_asked_for(page, address):
    assert page.complaints == []
    assert [url for url in page.asked if not url.startswith("blob:")] == [address]
    plots = page.locator(".plot")
    assert plots.count() > 8
    assert page.locator(".plot:has(.main-svg)").count() == plots.count()
    assert page.locator(".plot .point, .plot .bars path").count() > plots.count()
    assert page.evaluate("window.hacked") is None


def test_by_keyboard_and_screen_reader(page):
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    for role in ("banner", "main", "contentinfo"):
        assert page.get_by_role(role).count() == 1
    assert page.get_by_role("navigation", name="Sections").count() == 1
    assert page.locator("html").get_attribute("lang") == "en"
    unnamed = """() => [...document.querySelectorAll(".plot")].filter((one) =>
        one.getAttribute("role") !== "img" || !one.getAttribute("aria-label")).length"""
    assert page.evaluate(unnamed) == 0
    assert page.locator("table:not(:has(caption))").count() == 0
    assert page.locator("img:not([alt])").count() == 0
    levels = page.evaluate(
        "[...document.querySelectorAll('h1,h2,h3')].map((one) => Number(one.tagName[1]))"
    )
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_tables_sort_by_number_and_filter(page):
    table = page.locator("table", has=page.locator("caption", has_text="Most popular items"))
    names = [text.strip() for text in table.locator("thead th").all_inner_texts()]
    column = names.index("rows")

    def shown(number):
        return table.locator(f"tbody tr td:nth-child({number + 1})").all_inner_texts()

    head = table.locator("thead th").nth(column)
    for order in ("ascending", "descending"):
        head.locator(".dt-column-order").click()
        page.wait_for_function(
            "([one, order]) => one.ariaSort === order", arg=[head.element_handle(), order]
        )
        found = [float(text.replace(",", "")) for text in shown(column)]
        assert found == sorted(found, reverse=order == "descending")
        assert len(set(found)) > 1
    wanted = shown(names.index("title"))[0]
    page.locator(".dt-container", has=table).locator("input[type=search]").fill(wanted)
    page.wait_for_function("(one) => one.tBodies[0].rows.length === 1", arg=table.element_handle())
    assert shown(names.index("title")) == [wanted]


def test_texts_stay_texts(page):
    opened = "document.querySelectorAll('details').forEach((one) => { one.open = true })"
    page.evaluate(opened)
    cells = {" ".join(text.split()) for text in page.locator("td").all_text_contents()}
    for text in HOSTILE:
        assert " ".join(text.split()) in cells
    ticks = page.locator(".ytick text").all_text_contents()
    assert any(text.startswith(HOSTILE[0]) for text in ticks)
    assert page.evaluate("window.hacked") is None
    assert page.complaints == []


def contrast(page, selector):
    """Contrast of a text with what is behind it, as WCAG 2 defines it."""
    return page.evaluate(
        """(selector) => {
          const light = (colour) => {
            const parts = colour.match(/[0-9.]+/g).slice(0, 3).map((v) => v / 255)
              .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
            return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
          };
          const one = light(getComputedStyle(document.querySelector(selector)).color);
          const other = light(getComputedStyle(document.body).backgroundColor);
          return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
        }""",
        selector,
    )


READ = ("p", "nav a", ".about", "dt", "summary", "td")


def test_on_a_phone_in_the_dark_and_on_paper(look, address):
    page = look(address, width=390, dark=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for selector in READ:
        assert contrast(page, selector) > 4.5
    button = page.get_by_role("button", name="Light")
    button.click()
    assert not page.evaluate("document.documentElement.classList.contains('dark')")
    for selector in READ:
        assert contrast(page, selector) > 4.5
    page.emulate_media(media="print")
    assert not page.locator("body > nav").is_visible()
    assert page.locator("main").is_visible()
    assert page.complaints == []

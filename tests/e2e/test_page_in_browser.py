"""The HTML report in a real browser: nothing breaks, overflows, loads, runs or is hard to read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from session_repair.health.page import with_banner
from session_repair.repair.report import Day
from session_repair.reporting.html import report_page
from tests.e2e.browser import chromium
from tests.unit.test_page import REPORTS

pytestmark = pytest.mark.needs("browser")

ENOUGH = 4.5  # WCAG 2, level AA, for text of any size

# The least contrast of a text with what is painted behind it, and that text.
LEAST_CONTRAST = """() => {
  const rgb = color => color.match(/[\\d.]+/g).map(Number)
  const light = color => {
    const [r, g, b] = rgb(color).slice(0, 3).map(it => it / 255).map(
      it => it <= 0.04045 ? it / 12.92 : ((it + 0.055) / 1.055) ** 2.4)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }
  const behind = element => {
    for (let it = element; it; it = it.parentElement) {
      const color = rgb(getComputedStyle(it).backgroundColor)
      if (color.length === 3 || color[3] === 1) return getComputedStyle(it).backgroundColor
    }
    throw new Error('nothing is painted behind it')
  }
  let least = [99, '', 0]
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  for (let number = 1; texts.nextNode(); number++) {
    const element = texts.currentNode.parentElement, style = getComputedStyle(element)
    if (!texts.currentNode.data.trim()) continue
    const color = element instanceof SVGElement ? style.fill : style.color
    const [one, other] = [light(color), light(behind(element))].sort((a, b) => b - a)
    const contrast = (one + 0.05) / (other + 0.05)
    if (contrast < least[0]) least = [contrast, texts.currentNode.data, number]
    else least[2] = number
  }
  return least
}"""


# What holds more than it shows.
CUT_OFF = "all => all.filter(it => it.scrollWidth > it.clientWidth).map(it => it.textContent)"
# The texts of pictures that their picture cuts off, or that run into another.
LABELS_OUTSIDE = """all => {
  const box = it => it.getBoundingClientRect()
  const meet = (one, other) => one.top < other.bottom && other.top < one.bottom
    && one.left < other.right && other.left < one.right
  return all.filter(it => {
    const text = box(it), picture = box(it.ownerSVGElement)
    return text.left < picture.left || text.right > picture.right || text.top < picture.top
      || text.bottom > picture.bottom || all.some(one => one !== it && meet(box(one), text))
  }).map(it => it.textContent)
}"""


def in_file(folder: Path, page: str) -> Path:
    path = folder / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for this file; where it cannot be installed, the tests fail."""
    with chromium() as started:
        yield started


@pytest.fixture(scope="module", params=[*REPORTS, "health"])
def file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if request.param == "health":
        page = with_banner(report_page(REPORTS["many"]), "degraded", "No run has ended yet. " * 9)
    else:
        page = report_page(REPORTS[request.param])
    return in_file(tmp_path_factory.mktemp("page"), page)


def opened(
    browser: Browser, file: Path, width: int = 1280, **options: Any
) -> tuple[Page, list[str]]:
    """The page, and what it complained of or asked the network for."""
    page = browser.new_page(viewport={"width": width, "height": 800}, **options)
    told: list[str] = []
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("request", lambda request: told.append(request.url))
    page.goto(file.as_uri())
    assert told.pop(0) == file.as_uri()
    return page, told


@pytest.mark.parametrize("width", [320, 390, 760, 1280])
def test_it_loads_nothing_complains_of_nothing_and_fits(
    browser: Browser, file: Path, width: int
) -> None:
    page, told = opened(browser, file, width)
    page.locator("details").evaluate_all("all => all.forEach(it => it.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("h1, p, td, tbody th, dd, li, caption").evaluate_all(CUT_OFF) == []
    assert page.locator("svg:visible text").evaluate_all(LABELS_OUTSIDE) == []
    heights = page.locator("svg:visible text").evaluate_all(
        "all => all.map(it => it.getBoundingClientRect().height)"
    )
    assert all(height >= 9 for height in heights)
    assert told == []
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_is_easy_to_read(browser: Browser, file: Path, scheme: Any) -> None:
    page, _ = opened(browser, file, color_scheme=scheme)
    contrast, text, texts = page.evaluate(LEAST_CONTRAST)
    assert texts > 20
    assert contrast >= ENOUGH, text
    brightness = page.evaluate(
        "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]"
    )
    assert (brightness < 128) == (scheme == "dark")
    page.close()


def test_it_prints_in_dark_on_white(browser: Browser, file: Path) -> None:
    page, told = opened(browser, file, color_scheme="dark")
    assert page.pdf(format="A4").startswith(b"%PDF-")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    contrast, text, _ = page.evaluate(LEAST_CONTRAST)
    assert contrast >= ENOUGH, text
    assert told == []
    page.close()


def test_no_value_of_the_database_becomes_markup_or_runs(browser: Browser, file: Path) -> None:
    page, told = opened(browser, file)
    page.wait_for_timeout(200)
    assert page.evaluate("window.hurt") is None
    assert page.locator("script, img, iframe, object, link").count() == 0
    assert told == []
    page.close()


def test_a_reader_of_the_screen_hears_the_verdict_the_charts_and_the_tables(
    browser: Browser, tmp_path: Path
) -> None:
    path = in_file(tmp_path, report_page(REPORTS["partial"]))
    for width in (375, 1280):
        page, _ = opened(browser, path, width)
        assert page.get_by_role("heading", level=1).inner_text() == (
            "Repaired: 12,540 of 12,545 sessions"
        )
        labels = [it.get_attribute("aria-label") or "" for it in page.get_by_role("img").all()]
        assert [label.partition(" ")[0] for label in labels] == ["Sessions"]
        found = page.get_by_role("row", name="empty_pages").first
        assert found.get_by_role("link").inner_text().startswith("empty_pages")
        assert found.get_by_role("cell").all_inner_texts() == ["12,552", "12,545", "7"]
        row = page.get_by_role("row", name="skipped_gone").last
        assert row.get_by_role("rowheader").inner_text() == "68e33b8e7b61f174166a0002"
        assert row.get_by_role("cell").first.inner_text() == "skipped_gone"
        page.close()


@pytest.mark.parametrize("width", [320, 390, 760, 1280])
def test_no_label_of_the_axes_is_cut_off_whatever_the_span(browser: Browser, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 800})
    for span in (1, 2, 5, 7, 8, 15, 22, 29, 32, 61, 92, 180, 366, 800, 4000):
        last = date(2025, 12, 1)
        days = (last - timedelta(days=span - 1), last)
        counted = tuple(Day(f"{day}", 123_456 * span, 0, {}) for day in sorted(set(days)))
        page.set_content(report_page(replace(REPORTS["broken"], days=counted)))
        labels = page.locator("svg:visible text")
        assert labels.count() > 2
        assert labels.evaluate_all(LABELS_OUTSIDE) == [], span
        assert page.locator("svg:visible").count() == 1
    page.close()


def test_a_bar_leads_to_its_section_by_mouse_and_by_keyboard(
    browser: Browser, tmp_path: Path
) -> None:
    path = in_file(tmp_path, report_page(REPORTS["many"]))
    page, told = opened(browser, path, 390)
    page.locator(".bar").nth(3).click()
    code = page.locator(".kind code").nth(3).inner_text()
    assert page.evaluate("document.querySelector(':target').innerText") == code
    assert page.locator(f"#{code}").evaluate("it => it.getBoundingClientRect().top") < 800
    page.keyboard.press("Tab")
    page.locator(".kind").first.focus()
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    assert told == []
    page.close()


@pytest.mark.parametrize(
    ("name", "badge", "color"),
    [
        ("clean", "Clean exit 0", "rgb(26, 127, 75)"),
        ("broken", "Not clean exit 3", "rgb(168, 67, 0)"),
        ("partial", "Partial exit 5", "rgb(168, 67, 0)"),
    ],
)
def test_the_badge_stands_first_and_says_by_word_and_colour_how_it_ended(
    browser: Browser, name: str, badge: str, color: str
) -> None:
    page = browser.new_page(color_scheme="light")
    page.set_content(report_page(REPORTS[name]))
    shown = page.locator(".badge")
    assert shown.inner_text() == badge
    painted = "it => getComputedStyle(it).backgroundColor"
    assert shown.evaluate(painted) == color
    top = "it => it.getBoundingClientRect().top"
    assert shown.evaluate(top) < page.locator("h1").evaluate(top)
    page.emulate_media(media="print")
    assert shown.evaluate(painted) == "rgba(0, 0, 0, 0)"
    assert shown.evaluate("it => getComputedStyle(it).borderStyle") == "solid"
    page.close()
